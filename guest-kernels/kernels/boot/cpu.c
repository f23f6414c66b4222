/* SPDX-License-Identifier: MIT */
/*
 * Kernel boot, third part: what a processor owes whatever runs on it (Intel SDM volume 3: 2, 4, 6;
 * volume 4). No device is behind these, so no fault of a device seam breaks them: they judge the
 * engine.
 */
#include "runtime/boot.h"
#include "runtime/io.h"
#include "runtime/irq.h"
#include "runtime/memory.h"
#include "runtime/paging.h"
#include "runtime/test.h"
#include "runtime/time.h"
#include "runtime/user.h"

#define EFER	  0xc0000080
#define EFER_SCE  0x001
#define EFER_LME  0x100
#define EFER_LMA  0x400
#define EFER_NXE  0x800
#define MSR_TSC	  0x10
#define APIC_BASE 0x1b

TEST(divide_error, "", "a division by zero raises #DE at the instruction")
{
	EXPECT_TRAP(TRAP_DE, __asm__ volatile("div %%ecx" : : "a"(1), "d"(0), "c"(0) : "cc"));
	EXPECT_EQ(*(const uint8_t *)trap_last.rip, 0xf7);
}

TEST(divide_overflow, "", "a quotient that does not fit raises #DE")
{
	EXPECT_TRAP(TRAP_DE, __asm__ volatile("div %%ecx" : : "a"(0), "d"(5), "c"(5) : "cc"));
}

TEST(invalid_opcode, "", "UD2 raises #UD with RIP at it")
{
	EXPECT_TRAP(TRAP_UD, __asm__ volatile("ud2"));
	EXPECT_EQ(*(const uint16_t *)trap_last.rip, 0x0b0f);
}

TEST(breakpoint_is_a_trap, "", "INT3 raises #BP with RIP behind it", NEEDS("insn:int3"))
{
	if (cmdline_number("int3", 1) == 0)
		SKIP("this processor does not execute INT3 at CPL 0");
	EXPECT_TRAP(TRAP_BP, __asm__ volatile("int3"));
	EXPECT_EQ(((const uint8_t *)trap_last.rip)[-1], 0xcc);
}

TEST(protection_noncanonical, "",
	"an access to a non-canonical address raises #GP with error code 0")
{
	EXPECT_TRAP(TRAP_GP, mmio_read8((void *)0x8000000000000000ull));
	EXPECT_EQ(trap_last.error, 0);
}

TEST(protection_bad_selector, "",
	"loading a selector beyond the GDT raises #GP with that selector as error code")
{
	EXPECT_TRAP(TRAP_GP, __asm__ volatile("mov %w0, %%es" : : "r"(0x1230)));
	EXPECT_EQ(trap_last.error, 0x1230);
}

TEST(fault_not_present, "",
	"a read of an unmapped page raises #PF with error code 0 and the address in CR2")
{
	EXPECT_TRAP(TRAP_PF, mmio_read8((void *)(PAGING_WINDOW + 0x123456)));
	EXPECT_EQ(trap_last.error, 0);
	EXPECT_EQ(trap_last.cr2, PAGING_WINDOW + 0x123456);
}

TEST(fault_write_not_present, "", "a write to an unmapped page raises #PF with W set")
{
	EXPECT_TRAP(TRAP_PF, mmio_write8((void *)(PAGING_WINDOW + 0x7ff), 1));
	EXPECT_EQ(trap_last.error, 2);
	EXPECT_EQ(trap_last.cr2, PAGING_WINDOW + 0x7ff);
}

TEST(fault_read_only, "",
	"a write to a read-only page raises #PF with P and W set while CR0.WP is set")
{
	uint64_t *page = arena_alloc(4096, 4096);

	paging_map(PAGING_WINDOW, phys(page), PAGE_PRESENT);
	EXPECT_EQ(mmio_read64((void *)PAGING_WINDOW), 0);
	EXPECT_TRAP(TRAP_PF, mmio_write64((void *)PAGING_WINDOW, 1));
	EXPECT_EQ(trap_last.error, 3);
	EXPECT_EQ(page[0], 0);
}

static uint64_t read_window(void *arg)
{
	return mmio_read64((void *)PAGING_WINDOW);
}

TEST(fault_supervisor_page, "", "a read of a supervisor page at CPL 3 raises #PF with P and U set")
{
	uint64_t *page = arena_alloc(4096, 4096);

	page[0] = 0x77;
	paging_map(PAGING_WINDOW, phys(page), PAGE_PRESENT | PAGE_USER);
	EXPECT_EQ(user_call(read_window, NULL), 0x77);
	paging_map(PAGING_WINDOW, phys(page), PAGE_PRESENT);
	EXPECT_TRAP(TRAP_PF, user_call(read_window, NULL));
	EXPECT_EQ(trap_last.error, 5);
}

TEST(fault_no_execute, "", "a fetch from a page with XD raises #PF with I/D set")
{
	uint8_t *page = arena_alloc(4096, 4096);
	void (*code)(void) = (void (*)(void))PAGING_WINDOW;

	if (!(cpuid(0x80000001, 0).edx >> 20 & 1))
		SKIP("the processor has no XD");
	page[0] = 0xc3;
	paging_map(PAGING_WINDOW, phys(page), PAGE_PRESENT);
	code();
	wrmsr(EFER, rdmsr(EFER) | EFER_NXE);
	paging_map(PAGING_WINDOW, phys(page), PAGE_PRESENT | 1ull << 63);
	EXPECT_TRAP(TRAP_PF, code());
	EXPECT_EQ(trap_last.error & 0x11, 0x11);
	EXPECT_EQ(trap_last.cr2, PAGING_WINDOW);
}

TEST(accessed_and_dirty, "",
	"a read sets A, a write sets D in the entry of the page, and nothing clears them")
{
	uint64_t *page = arena_alloc(4096, 4096);
	volatile uint64_t *entry = paging_map(PAGING_WINDOW, phys(page), PAGE_PRESENT | PAGE_WRITE);

	EXPECT_EQ(*entry & (PAGE_ACCESSED | PAGE_DIRTY), 0);
	mmio_read64((void *)PAGING_WINDOW);
	EXPECT_EQ(*entry & (PAGE_ACCESSED | PAGE_DIRTY), PAGE_ACCESSED);
	mmio_write64((void *)PAGING_WINDOW, 1);
	EXPECT_EQ(*entry & (PAGE_ACCESSED | PAGE_DIRTY), PAGE_ACCESSED | PAGE_DIRTY);
}

TEST(invlpg_forgets_translation, "",
	"after its entry is changed and INVLPG a page is read at the new place")
{
	uint64_t *first = arena_alloc(4096, 4096), *second = arena_alloc(4096, 4096);
	volatile uint64_t *entry =
		paging_map(PAGING_WINDOW, phys(first), PAGE_PRESENT | PAGE_WRITE);

	first[0] = 1;
	second[0] = 2;
	EXPECT_EQ(mmio_read64((void *)PAGING_WINDOW), 1);
	*entry = phys(second) | PAGE_PRESENT | PAGE_WRITE;
	invlpg((void *)PAGING_WINDOW);
	EXPECT_EQ(mmio_read64((void *)PAGING_WINDOW), 2);
	*entry = 0;
	write_cr3(read_cr3());
	EXPECT_TRAP(TRAP_PF, mmio_read64((void *)PAGING_WINDOW));
}

TEST(cpuid_baseline, "",
	"CPUID says 64-bit mode, TSC, MSR, APIC, PAE, PGE or not, and a sane address width")
{
	uint32_t features = cpuid(1, 0).edx, width;

	EXPECT_GE(cpuid(0, 0).eax, 1);
	EXPECT_EQ(features >> 4 & 1, 1); /* TSC */
	EXPECT_EQ(features >> 5 & 1, 1); /* MSR */
	EXPECT_EQ(features >> 6 & 1, 1); /* PAE */
	EXPECT_EQ(features >> 9 & 1, 1); /* APIC */
	ASSERT_GE(cpuid(0x80000000, 0).eax, 0x80000008);
	EXPECT_EQ(cpuid(0x80000001, 0).edx >> 29 & 1, 1); /* long mode */
	width = cpuid(0x80000008, 0).eax;
	EXPECT_GE(width & 0xff, 32);
	EXPECT_LE(width & 0xff, 52);
	EXPECT_GE(width >> 8 & 0xff, 48);
}

TEST(cpuid_apic_id, "", "the initial APIC id of CPUID is the local APIC's id")
{
	EXPECT_EQ(cpuid(1, 0).ebx >> 24, lapic_id());
}

TEST(efer_reads_true, "", "EFER shows LME and LMA in 64-bit mode and SCE as written")
{
	uint64_t efer = rdmsr(EFER);

	EXPECT_EQ(efer & (EFER_LME | EFER_LMA), EFER_LME | EFER_LMA);
	wrmsr(EFER, efer | EFER_SCE);
	EXPECT_EQ(rdmsr(EFER) & EFER_SCE, EFER_SCE);
	wrmsr(EFER, efer & ~(uint64_t)EFER_SCE);
	EXPECT_EQ(rdmsr(EFER) & EFER_SCE, 0);
	wrmsr(EFER, efer);
}

TEST(efer_reserved_bits, "", "setting a reserved bit of EFER raises #GP and EFER stays")
{
	uint64_t efer = rdmsr(EFER);

	EXPECT_TRAP(TRAP_GP, wrmsr(EFER, efer | 1ull << 40));
	EXPECT_EQ(rdmsr(EFER), efer);
}

TEST(msr_unknown, "", "RDMSR of a number that no processor has raises #GP")
{
	EXPECT_TRAP(TRAP_GP, rdmsr(0x4badbad0));
	EXPECT_EQ(trap_last.error, 0);
}

TEST(apic_base_is_enabled, "",
	"IA32_APIC_BASE has the local APIC at 0xfee00000, enabled, on the bootstrap processor")
{
	uint64_t base = rdmsr(APIC_BASE);

	EXPECT_EQ(base & 0xffffff000ull, LAPIC_BASE);
	EXPECT_EQ(base & 0x900, 0x900);
}

TEST(tsc_is_monotonic, "", "the TSC never goes back, over exits too")
{
	uint64_t last = rdtsc();

	for (int i = 0; i < 100; i++) {
		uint64_t now;

		if (i % 10 == 0)
			inb(0x80);
		now = rdtsc();
		if (!EXPECT_GE(now, last))
			break;
		last = now;
	}
}

TEST(tsc_msr_agrees, "", "RDTSC and IA32_TIME_STAMP_COUNTER read one counter")
{
	uint64_t before = rdtsc(), middle = rdmsr(MSR_TSC), after = rdtsc();

	EXPECT_GE(middle, before);
	EXPECT_GE(after, middle);
}

TEST(string_io_counts, "", "REP INSB moves as many bytes as RCX said, upwards, and leaves RCX 0")
{
	uint8_t *bytes = guarded_alloc(8);
	void *to = bytes;
	uint64_t count = 8;

	memset(bytes, 0x11, 8);
	__asm__ volatile("rep insb"
			 : "+D"(to), "+c"(count)
			 : "d"(0x3ff)
			 : "memory"); /* COM1's scratch register */
	EXPECT_EQ(count, 0);
	EXPECT_EQ(to, bytes + 8);
	EXPECT_TRUE(memory_is(bytes, inb(0x3ff), 8, NULL));
}
