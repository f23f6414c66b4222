/* SPDX-License-Identifier: MIT */
/*
 * Kernel paging: control registers that govern it (Intel SDM volume 3, 2.5, 4.1, 4.10, 11.12),
 * PCID.
 */
#include "kernels/paging/tables.h"
#include "runtime/boot.h"
#include "runtime/memory.h"

#define CR0_NW	 (1ull << 29)
#define CR0_CD	 (1ull << 30)
#define CR0_PG	 (1ull << 31)
#define CR0_PE	 1ull
#define CR4_PAE	 (1ull << 5)
#define MSR_PAT	 0x277
#define EFER_LME 0x100ull

/* QEMU's TCG takes anything into its control registers, and does not survive it. */
static void need_strict(void)
{
	if (cmdline_number("strict", 0) == 0)
		SKIP("only where strict=1 says that the processor is ours");
}

TEST(cr0_refuses, "",
	"PG without PE, NW without CD, and the upper half of CR0 are #GP, CR0 unchanged",
	NEEDS("exact"))
{
	uint64_t cr0 = read_cr0();

	need_strict();
	EXPECT_TRAP(TRAP_GP, write_cr0(cr0 & ~CR0_PE));
	EXPECT_TRAP(TRAP_GP, write_cr0((cr0 | CR0_NW) & ~CR0_CD));
	EXPECT_TRAP(TRAP_GP, write_cr0(cr0 | 1ull << 32));
	EXPECT_TRAP(TRAP_GP, write_cr0(cr0 | 1ull << 63));
	EXPECT_EQ(trap_last.error, 0);
	EXPECT_EQ(read_cr0(), cr0);
}

TEST(long_mode_keeps_paging, "",
	"in 64-bit mode PG and PAE cannot be cleared, nor LME changed: #GP")
{
	uint64_t efer = rdmsr(EFER);

	need_strict();
	EXPECT_TRAP(TRAP_GP, write_cr0(read_cr0() & ~CR0_PG));
	EXPECT_TRAP(TRAP_GP, write_cr4(read_cr4() & ~CR4_PAE));
	EXPECT_TRAP(TRAP_GP, wrmsr(EFER, efer & ~EFER_LME));
	EXPECT_EQ(rdmsr(EFER), efer);
}

TEST(cr3_reserved_bits, "", "an address bit of CR3 beyond MAXPHYADDR is #GP, CR3 unchanged")
{
	unsigned width = cpuid(0x80000008, 0).eax & 0xff;
	uint64_t cr3 = read_cr3();

	need_strict();
	EXPECT_TRAP(TRAP_GP, write_cr3(cr3 | 1ull << 63));
	if (width < 52) {
		EXPECT_TRAP(TRAP_GP, write_cr3(cr3 | 1ull << width));
		EXPECT_TRAP(TRAP_GP, write_cr3(cr3 | 1ull << 51));
	}
	EXPECT_EQ(read_cr3(), cr3);
}

TEST(cr4_reserved_bits, "", "bits of CR4 that no feature offers are #GP, CR4 unchanged",
	NEEDS("exact"))
{
	uint64_t cr4 = read_cr4();

	need_strict();
	EXPECT_TRAP(TRAP_GP, write_cr4(cr4 | 1ull << 63));
	EXPECT_TRAP(TRAP_GP, write_cr4(cr4 | 1ull << 32));
	EXPECT_TRAP(TRAP_GP, write_cr4(cr4 | 1ull << 15));
	if (!has_feature_7(7))
		EXPECT_TRAP(TRAP_GP, write_cr4(cr4 | CR4_SMEP));
	if (!has_feature_7(20))
		EXPECT_TRAP(TRAP_GP, write_cr4(cr4 | CR4_SMAP));
	if (!has_feature_7(0))
		EXPECT_TRAP(TRAP_GP, write_cr4(cr4 | 1ull << 16));
	if (!(cpuid(1, 0).ecx >> 17 & 1))
		EXPECT_TRAP(TRAP_GP, write_cr4(cr4 | CR4_PCIDE));
	EXPECT_EQ(read_cr4(), cr4);
}

TEST(cr2_is_a_register, "", "CR2 keeps what is written, and only page faults change it")
{
	__asm__ volatile("mov %0, %%cr2" : : "r"(0x123456789abcdefull));
	EXPECT_EQ(read_cr2(), 0x123456789abcdef);
	EXPECT_TRAP(TRAP_UD, __asm__ volatile("ud2"));
	EXPECT_TRAP(TRAP_GP, mmio_read8((void *)0x8000000000000000));
	EXPECT_EQ(read_cr2(), 0x123456789abcdef);
}

static void pat_refuses(uint64_t pat, unsigned shift, uint64_t type)
{
	EXPECT_TRAP(TRAP_GP, wrmsr(MSR_PAT, (pat & ~(0xffull << shift)) | type << shift));
	EXPECT_EQ(rdmsr(MSR_PAT), pat);
}

TEST(pat_types, "",
	"IA32_PAT takes the memory types 0, 1, 4 to 7 in each of its fields, and no other",
	NEEDS("exact"))
{
	uint64_t pat = rdmsr(MSR_PAT);

	EXPECT_EQ(pat, 0x0007040600070406);
	for (unsigned field = 0; field < 8; field++) {
		static const uint8_t bad[] = {2, 3, 8, 0x10, 0x80, 0xff};

		for (unsigned i = 0; i < sizeof(bad); i++)
			pat_refuses(pat, field * 8, bad[i]);
	}
	wrmsr(MSR_PAT, 0x0001040506070406);
	EXPECT_EQ(rdmsr(MSR_PAT), 0x0001040506070406);
	wrmsr(MSR_PAT, pat);
}

/* --- PCID --- */

static void need_pcid(void)
{
	if (!(cpuid(1, 0).ecx >> 17 & 1))
		SKIP("the processor has no PCID");
}

TEST(pcid_enable, "", "CR4.PCIDE is set only while CR3's low twelve bits are 0, else #GP")
{
	uint64_t cr3 = read_cr3();

	walk_make();
	need_pcid();
	write_cr3(cr3 | 8); /* PWT */
	EXPECT_TRAP(TRAP_GP, write_cr4(read_cr4() | CR4_PCIDE));
	write_cr3(cr3);
	write_cr4(read_cr4() | CR4_PCIDE);
	EXPECT_EQ(read_cr4() & CR4_PCIDE, CR4_PCIDE);
	write_cr3(cr3 | 1ull << 63 | 5);
	EXPECT_EQ(read_cr3(), cr3 | 5);
	write_cr3(cr3);
}

TEST(pcid_spaces, "", "translations of one PCID are not used in another")
{
	struct walk w = walk_make();
	uint64_t cr3 = read_cr3(), *second = arena_alloc(4096, 4096);
	volatile uint64_t *table = arena_alloc(4096, 4096);
	uint64_t other;

	need_pcid();
	/* The same tables but for the window's. */
	memcpy(second, (void *)(cr3 & ~0xfffull), 4096);
	other = second[AT >> 39 & 511] = phys(table) | ALL;
	table[0] = phys(w.page); /* absent */
	w.page[9] = 1;
	write_cr4(read_cr4() | CR4_PCIDE);
	write_cr3(cr3 | 1);
	EXPECT_EQ(mmio_read8((void *)(AT + 9)), 1);
	write_cr3(phys(second) | 2);
	EXPECT_EQ(attempt(READ, false, AT + 9), 0);
	write_cr3(cr3 | 1 | 1ull << 63);
	EXPECT_EQ(mmio_read8((void *)(AT + 9)), 1);
	write_cr3(phys(second) | 2 | 1ull << 63);
	EXPECT_EQ(attempt(READ, false, AT + 9), 0);
	EXPECT_EQ(second[AT >> 39 & 511] | PAGE_ACCESSED, other | PAGE_ACCESSED);
	write_cr3(cr3);
}

struct invpcid {
	uint64_t pcid, address;
};

static void invpcid(uint64_t type, uint64_t pcid, uint64_t address)
{
	struct invpcid descriptor = {pcid, address};

	__asm__ volatile("invpcid %1, %0" : : "r"(type), "m"(descriptor) : "memory");
}

TEST(invpcid_forgets, "", "INVPCID of each type forgets the translations that it names")
{
	struct walk w = walk_make();

	if (!has_feature_7(10))
		SKIP("the processor has no INVPCID");
	w.page[9] = 1;
	w.next[9] = 2;
	for (unsigned type = 0; type < 4; type++) {
		*w.level[0] = phys(w.page) | ALL;
		flush();
		EXPECT_EQ(mmio_read8((void *)(AT + 9)), 1);
		*w.level[0] = phys(w.next) | ALL;
		invpcid(type, 0, AT);
		EXPECT_EQ(mmio_read8((void *)(AT + 9)), 2);
	}
}

TEST(invpcid_refuses, "",
	"INVPCID of another type, with reserved bits, a PCID without CR4.PCIDE or a non-canonical "
	"address is #GP")
{
	if (!has_feature_7(10))
		SKIP("the processor has no INVPCID");
	EXPECT_TRAP(TRAP_GP, invpcid(4, 0, 0));
	EXPECT_TRAP(TRAP_GP, invpcid(1ull << 32, 0, 0));
	EXPECT_TRAP(TRAP_GP, invpcid(0, 0x1000, 0));
	EXPECT_TRAP(TRAP_GP, invpcid(1, 1, 0));
	EXPECT_TRAP(TRAP_GP, invpcid(0, 0, 0x8000000000000000));
	EXPECT_EQ(trap_last.error, 0);
}
