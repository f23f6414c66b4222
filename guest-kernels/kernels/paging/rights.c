/* SPDX-License-Identifier: MIT */
/* Kernel paging, rights (Intel SDM volume 3, 4.6 and 4.7): who may do what, and what the fault
 * says. */
#include "kernels/paging/tables.h"
#include "runtime/memory.h"
#include "runtime/user.h"

static void nx_on(void)
{
	wrmsr(EFER, rdmsr(EFER) | EFER_NXE);
}

TEST(all_rights, "", "a page with all rights at each level lets everyone read, write and fetch")
{
	walk_make();
	for (unsigned access = READ; access <= FETCH; access++)
		for (unsigned user = 0; user < 2; user++)
			EXPECT_EQ(attempt(access, user, AT), NO_FAULT);
}

TEST(write_right_of_each_level, "",
	"W clear at any level: a write at CPL 3 is #PF with P, W, U; at CPL 0 with CR0.WP P, W")
{
	struct walk w = walk_make();

	for (unsigned level = 0; level < 4; level++) {
		*w.level[level] &= ~PAGE_WRITE;
		flush();
		EXPECT_EQ(attempt(WRITE, true, AT + 1), PF_PRESENT | PF_WRITE | PF_USER);
		EXPECT_EQ(attempt(WRITE, false, AT + 2), PF_PRESENT | PF_WRITE);
		EXPECT_EQ(walk_cr2, AT + 2);
		EXPECT_EQ(attempt(READ, true, AT), NO_FAULT);
		EXPECT_EQ(attempt(FETCH, false, AT), NO_FAULT);
		*w.level[level] |= PAGE_WRITE;
	}
}

TEST(user_right_of_each_level, "",
	"U clear at any level: each access at CPL 3 is #PF with P and U, none at CPL 0")
{
	struct walk w = walk_make();

	for (unsigned level = 0; level < 4; level++) {
		*w.level[level] &= ~PAGE_USER;
		flush();
		EXPECT_EQ(attempt(READ, true, AT), PF_PRESENT | PF_USER);
		EXPECT_EQ(attempt(WRITE, true, AT), PF_PRESENT | PF_USER | PF_WRITE);
		EXPECT_EQ(attempt(READ, false, AT), NO_FAULT);
		EXPECT_EQ(attempt(WRITE, false, AT), NO_FAULT);
		EXPECT_EQ(attempt(FETCH, false, AT), NO_FAULT);
		*w.level[level] |= PAGE_USER;
	}
}

TEST(nx_of_each_level, "", "XD set at any level: a fetch is #PF with P and I/D, no other access is")
{
	struct walk w = walk_make();

	if (!has_nx())
		SKIP("the processor has no XD");
	nx_on();
	for (unsigned level = 0; level < 4; level++) {
		*w.level[level] |= PAGE_NX;
		flush();
		EXPECT_EQ(attempt(FETCH, false, AT), PF_PRESENT | PF_FETCH);
		EXPECT_EQ(walk_cr2, AT);
		EXPECT_EQ(walk_rip, AT);
		EXPECT_EQ(attempt(FETCH, true, AT), PF_PRESENT | PF_FETCH | PF_USER);
		EXPECT_EQ(attempt(READ, true, AT), NO_FAULT);
		EXPECT_EQ(attempt(WRITE, false, AT), NO_FAULT);
		*w.level[level] &= ~PAGE_NX;
	}
}

TEST(write_protect_off, "",
	"without CR0.WP the supervisor writes to any page, and CPL 3 still does not")
{
	struct walk w = walk_make();

	*w.level[0] &= ~PAGE_WRITE;
	write_cr0(read_cr0() & ~CR0_WP);
	flush();
	EXPECT_EQ(attempt(WRITE, false, AT), NO_FAULT);
	EXPECT_EQ(attempt(WRITE, true, AT), PF_PRESENT | PF_WRITE | PF_USER);
	*w.level[0] &= ~PAGE_USER;
	flush();
	EXPECT_EQ(attempt(WRITE, false, AT), NO_FAULT);
	write_cr0(read_cr0() | CR0_WP);
	EXPECT_EQ(attempt(WRITE, false, AT), PF_PRESENT | PF_WRITE);
}

TEST(not_present_at_each_level, "",
	"P clear at any level: #PF without P, with W and U of the access, CR2 its very address")
{
	struct walk w = walk_make();

	for (unsigned level = 0; level < 4; level++) {
		*w.level[level] &= ~PAGE_PRESENT;
		flush();
		EXPECT_EQ(attempt(READ, false, AT + 0x123), 0);
		EXPECT_EQ(walk_cr2, AT + 0x123);
		EXPECT_EQ(attempt(WRITE, false, AT + 0xfff), PF_WRITE);
		EXPECT_EQ(walk_cr2, AT + 0xfff);
		EXPECT_EQ(attempt(WRITE, true, AT), PF_WRITE | PF_USER);
		EXPECT_EQ(attempt(READ, true, AT), PF_USER);
		*w.level[level] |= PAGE_PRESENT;
	}
}

TEST(fetch_bit_needs_nx_or_smep, "",
	"without EFER.NXE and CR4.SMEP a fetch's error code has no I/D, with NXE it has")
{
	struct walk w = walk_make();

	*w.level[0] = 0;
	flush();
	wrmsr(EFER, rdmsr(EFER) & ~EFER_NXE);
	EXPECT_EQ(attempt(FETCH, false, AT), 0);
	if (!has_nx())
		return;
	nx_on();
	EXPECT_EQ(attempt(FETCH, false, AT), PF_FETCH);
	EXPECT_EQ(attempt(FETCH, true, AT), PF_FETCH | PF_USER);
}

/* What the manual's rules say of four entries. */
static unsigned rule(const struct walk *w, enum access access, bool user)
{
	uint64_t all = ALL, nx = 0;
	unsigned code = (access == WRITE ? PF_WRITE : 0) | (user ? PF_USER : 0) |
			(access == FETCH ? PF_FETCH : 0);
	bool good;

	for (unsigned level = 0; level < 4; level++) {
		all &= *w->level[level];
		nx |= *w->level[level] & PAGE_NX;
	}
	if (!(all & PAGE_PRESENT))
		return code;
	good = !(user && !(all & PAGE_USER)) && !(access == FETCH && nx) &&
	       !(access == WRITE && !(all & PAGE_WRITE) && (user || read_cr0() & CR0_WP));
	return good ? NO_FAULT : code | PF_PRESENT;
}

TEST(rights_of_any_four_levels, "",
	"of random rights at all four levels each access has the outcome that the rules give")
{
	struct walk w = walk_make();

	if (!has_nx())
		SKIP("the processor has no XD");
	nx_on();
	for (unsigned i = 0; i < 60; i++) {
		uint64_t bits = test_random();

		for (unsigned level = 0; level < 4; level++, bits >>= 8) {
			uint64_t entry = *w.level[level] & ~(ALL | PAGE_NX);

			/* Each right is there three times of four, presence seven of eight. */
			entry |= bits & 7 ? PAGE_PRESENT : 0;
			entry |= bits >> 3 & 3 ? PAGE_WRITE : 0;
			entry |= bits >> 5 & 3 ? PAGE_USER : 0;
			entry |= bits >> 7 & 1 && level == i % 4 ? PAGE_NX : 0;
			*w.level[level] = entry;
		}
		write_cr0(bits & 1 ? read_cr0() | CR0_WP : read_cr0() & ~CR0_WP);
		flush();
		for (unsigned access = READ; access <= FETCH; access++)
			for (unsigned user = 0; user < 2; user++)
				EXPECT_EQ(attempt(access, user, AT), rule(&w, access, user));
	}
}

/* --- reserved bits (4.5, table 4-19) --- */

TEST(reserved_address_bits, "",
	"an address bit beyond MAXPHYADDR in an entry of any level is #PF with P and RSVD")
{
	unsigned width = cpuid(0x80000008, 0).eax & 0xff;
	struct walk w = walk_make();

	if (width >= 52)
		SKIP("all 52 address bits are there");
	for (unsigned level = 0; level < 4; level++) {
		*w.level[level] |= 1ull << 51;
		flush();
		EXPECT_EQ(attempt(READ, false, AT), PF_PRESENT | PF_RESERVED);
		EXPECT_EQ(attempt(WRITE, true, AT + 8),
			PF_PRESENT | PF_RESERVED | PF_WRITE | PF_USER);
		EXPECT_EQ(walk_cr2, AT + 8);
		*w.level[level] ^= 1ull << 51 | 1ull << width;
		flush();
		EXPECT_EQ(attempt(READ, false, AT), PF_PRESENT | PF_RESERVED);
		*w.level[level] &= ~(1ull << width);
	}
}

TEST(reserved_size_bit, "", "bit 7 of a PML4 entry is reserved")
{
	struct walk w = walk_make();

	*w.level[3] |= PAGE_LARGE;
	flush();
	EXPECT_EQ(attempt(READ, false, AT), PF_PRESENT | PF_RESERVED);
}

TEST(reserved_nx, "", "bit 63 is reserved while EFER.NXE is clear")
{
	struct walk w = walk_make();

	wrmsr(EFER, rdmsr(EFER) & ~EFER_NXE);
	for (unsigned level = 0; level < 4; level++) {
		*w.level[level] |= PAGE_NX;
		flush();
		EXPECT_EQ(attempt(READ, false, AT), PF_PRESENT | PF_RESERVED);
		*w.level[level] &= ~PAGE_NX;
	}
}

TEST(reserved_bits_of_large_pages, "", "bits 13 to 20 of a 2 MiB page's entry are reserved")
{
	struct walk w = walk_make();

	*w.level[1] = ALL | PAGE_LARGE;
	flush();
	EXPECT_EQ(attempt(READ, false, AT), NO_FAULT);
	for (unsigned bit = 13; bit <= 20; bit++) {
		*w.level[1] = ALL | PAGE_LARGE | 1ull << bit;
		flush();
		EXPECT_EQ(attempt(READ, false, AT), PF_PRESENT | PF_RESERVED);
	}
}

TEST(absent_entries_reserve_nothing, "", "an entry that is not present may have any other bits")
{
	struct walk w = walk_make();

	for (unsigned level = 0; level < 4; level++) {
		uint64_t entry = *w.level[level];

		*w.level[level] = ~PAGE_PRESENT;
		flush();
		EXPECT_EQ(attempt(READ, false, AT), 0);
		*w.level[level] = entry;
	}
}

/* --- SMEP, SMAP --- */

TEST(smep, "", "with CR4.SMEP a fetch at CPL 0 from a user page is #PF with P and I/D")
{
	struct walk w = walk_make();

	if (!has_feature_7(7))
		SKIP("the processor has no SMEP");
	supervisor_only();
	EXPECT_EQ(attempt(FETCH, false, AT), NO_FAULT);
	write_cr4(read_cr4() | CR4_SMEP);
	EXPECT_EQ(attempt(FETCH, false, AT), PF_PRESENT | PF_FETCH);
	EXPECT_EQ(attempt(READ, false, AT), NO_FAULT);
	EXPECT_EQ(attempt(WRITE, false, AT), NO_FAULT);
	*w.level[2] &= ~PAGE_USER; /* user pages are so at all levels */
	flush();
	EXPECT_EQ(attempt(FETCH, false, AT), NO_FAULT);
}

static inline void set_ac(bool on)
{
	if (on)
		__asm__ volatile("stac" : : : "memory", "cc");
	else
		__asm__ volatile("clac" : : : "memory", "cc");
}

TEST(smap, "", "with CR4.SMAP data of a user page at CPL 0 is #PF while AC is clear",
	NEEDS("insn:stac"))
{
	struct walk w = walk_make();

	if (!has_feature_7(20))
		SKIP("the processor has no SMAP");
	supervisor_only();
	write_cr4(read_cr4() | CR4_SMAP);
	set_ac(false);
	EXPECT_EQ(attempt(READ, false, AT), PF_PRESENT);
	EXPECT_EQ(attempt(WRITE, false, AT), PF_PRESENT | PF_WRITE);
	EXPECT_EQ(attempt(FETCH, false, AT), NO_FAULT);
	set_ac(true);
	EXPECT_EQ(attempt(READ, false, AT), NO_FAULT);
	EXPECT_EQ(attempt(WRITE, false, AT), NO_FAULT);
	set_ac(false);
	EXPECT_EQ(attempt(READ, false, AT), PF_PRESENT);
	*w.level[1] &= ~PAGE_USER;
	flush();
	EXPECT_EQ(attempt(READ, false, AT), NO_FAULT);
}

TEST(smap_implicit, "",
	"AC excuses no access of the processor's own: a descriptor on a user page is #PF with SMAP",
	NEEDS("insn:stac"))
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) before, pointer;
	uint64_t *gdt = arena_alloc(256, 64);
	struct walk w = walk_make();

	if (!has_feature_7(20))
		SKIP("the processor has no SMAP");
	__asm__ volatile("sgdt %0" : "=m"(before));
	memcpy(gdt, (void *)before.base, before.limit + 1u);
	gdt[16] = 0x000082000000000full | (AT & 0xffffff) << 16 | (AT >> 24 & 0xff) << 56;
	gdt[17] = AT >> 32;
	pointer.limit = 255;
	pointer.base = phys(gdt);
	*(uint64_t *)w.page = 0x00cf93000000ffff;
	__asm__ volatile("lgdt %0; lldt %w1" : : "m"(pointer), "r"(16 * 8) : "memory");
	supervisor_only();
	write_cr4(read_cr4() | CR4_SMAP);
	set_ac(true);
	EXPECT_TRAP(TRAP_PF, __asm__ volatile("mov %0, %%es" : : "r"(4) : "memory"));
	set_ac(false);
	EXPECT_EQ(trap_last.error, PF_PRESENT);
	EXPECT_EQ(trap_last.cr2, AT);
	write_cr4(read_cr4() & ~CR4_SMAP);
	__asm__ volatile("lldt %w0; lgdt %1" : : "r"(0), "m"(before) : "memory");
}

static uint64_t do_stac(void *arg)
{
	__asm__ volatile("stac");
	return 0;
}

TEST(stac_at_level_3, "", "STAC and CLAC at CPL 3 are #UD", NEEDS("insn:stac"))
{
	if (!has_feature_7(20))
		SKIP("the processor has no SMAP");
	EXPECT_TRAP(TRAP_UD, user_call(do_stac, NULL));
}
