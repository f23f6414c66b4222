/* SPDX-License-Identifier: MIT */
/*
 * Kernel paging: accessed and dirty flags, page sizes, what may be kept of a translation
 * (Intel SDM volume 3, 4.5, 4.8 to 4.10), accesses over two pages.
 */
#include "kernels/paging/tables.h"
#include "runtime/memory.h"
#include "runtime/user.h"

#define AD (PAGE_ACCESSED | PAGE_DIRTY)

TEST(accessed_at_each_level, "", "a read sets A at all four levels and D at none")
{
	struct walk w = walk_make();

	EXPECT_EQ(attempt(READ, false, AT), NO_FAULT);
	for (unsigned level = 0; level < 4; level++)
		EXPECT_EQ(*w.level[level] & AD, PAGE_ACCESSED);
	EXPECT_EQ(w.level[0][1] & AD, 0);
}

TEST(dirty_in_the_leaf, "",
	"a write sets D in the entry that maps the page, although it was read before")
{
	struct walk w = walk_make();

	EXPECT_EQ(attempt(READ, true, AT), NO_FAULT);
	EXPECT_EQ(*w.level[0] & AD, PAGE_ACCESSED);
	EXPECT_EQ(attempt(WRITE, true, AT), NO_FAULT);
	EXPECT_EQ(*w.level[0] & AD, AD);
	/* Cleared and flushed it is set again. */
	*w.level[0] &= ~AD;
	flush();
	EXPECT_EQ(attempt(WRITE, false, AT), NO_FAULT);
	EXPECT_EQ(*w.level[0] & AD, AD);
}

TEST(refused_access_sets_no_dirty, "", "a write that faults sets no D")
{
	struct walk w = walk_make();

	*w.level[0] &= ~PAGE_WRITE;
	flush();
	EXPECT_EQ(attempt(WRITE, false, AT), PF_PRESENT | PF_WRITE);
	EXPECT_EQ(*w.level[0] & PAGE_DIRTY, 0);
	EXPECT_EQ(attempt(READ, false, AT), NO_FAULT);
	EXPECT_EQ(*w.level[0] & AD, PAGE_ACCESSED);
}

TEST(fetch_sets_accessed, "", "a fetch sets A and not D")
{
	struct walk w = walk_make();

	EXPECT_EQ(attempt(FETCH, false, AT + 4096), NO_FAULT);
	EXPECT_EQ(w.level[0][1] & AD, PAGE_ACCESSED);
	EXPECT_EQ(w.level[0][0] & AD, 0);
}

/* --- page sizes --- */

TEST(page_of_2_mib, "", "a 2 MiB page maps all its offsets, with A and D in the directory's entry")
{
	uint8_t *memory = arena_alloc_raw(4 << 20, 4096);
	uint64_t base = (phys(memory) + 0x1fffff) & ~0x1fffffull;
	struct walk w = walk_make();

	*w.level[1] = base | ALL | PAGE_LARGE;
	flush();
	for (uint64_t at = 0x1000; at < 0x200000; at = at * 2 + 0x18) {
		*(volatile uint64_t *)(base + at) = at ^ 0x5a5a;
		EXPECT_EQ(mmio_read64((void *)(AT + at)), at ^ 0x5a5a);
	}
	EXPECT_EQ(*w.level[1] & AD, PAGE_ACCESSED);
	mmio_write64((void *)(AT + 0x1ffff8), 77);
	EXPECT_EQ(*(volatile uint64_t *)(base + 0x1ffff8), 77);
	EXPECT_EQ(*w.level[1] & AD, AD);
	*w.level[1] &= ~PAGE_WRITE;
	flush();
	EXPECT_EQ(attempt(WRITE, false, AT + 0x100000), PF_PRESENT | PF_WRITE);
}

TEST(page_of_1_gib, "",
	"a 1 GiB page maps all its offsets; without the feature its bit is reserved")
{
	struct walk w = walk_make();

	*w.level[2] = ALL | PAGE_LARGE; /* the first GiB of memory */
	flush();
	if (!(cpuid(0x80000001, 0).edx >> 26 & 1)) {
		EXPECT_EQ(attempt(READ, false, AT + 0x1000), PF_PRESENT | PF_RESERVED);
		return;
	}
	w.page[5] = 0x66;
	w.next[6] = 0x77;
	EXPECT_EQ(mmio_read8((void *)(AT + phys(w.page) + 5)), 0x66);
	EXPECT_EQ(mmio_read8((void *)(AT + phys(w.next) + 6)), 0x77);
	EXPECT_EQ(*w.level[2] & AD, PAGE_ACCESSED);
	mmio_write8((void *)(AT + phys(w.page) + 5), 1);
	EXPECT_EQ(*w.level[2] & AD, AD);
	*w.level[2] = ALL | PAGE_LARGE | 1 << 13;
	flush();
	EXPECT_EQ(attempt(READ, false, AT), PF_PRESENT | PF_RESERVED);
}

/* --- what may be kept --- */

static uint8_t read_at(uint64_t at)
{
	return mmio_read8((void *)at);
}

TEST(invlpg_is_of_one_page, "", "INVLPG with any address of a page forgets what was known of it")
{
	struct walk w = walk_make();

	w.page[9] = 1;
	w.next[9] = 2;
	EXPECT_EQ(read_at(AT + 9), 1);
	*w.level[0] = phys(w.next) | ALL;
	invlpg((void *)(AT + 0xabc));
	EXPECT_EQ(read_at(AT + 9), 2);
}

TEST(invlpg_of_a_large_page, "", "INVLPG with an address within a large page forgets all of it")
{
	struct walk w = walk_make();
	uint64_t small = *w.level[1];

	w.page[9] = 1;
	*w.level[1] = ALL | PAGE_LARGE; /* memory from 0 on */
	flush();
	read_at(AT);
	read_at(AT + 0x5000);
	*w.level[1] = small;
	invlpg((void *)(AT + 0x5000));
	EXPECT_EQ(read_at(AT + 9), 1);
}

/* Who keeps in a translation whether the page holds code, renews it when the code is gone. */
TEST(invlpg_of_a_large_page_that_held_code, "",
	"a large page whose code was executed and written over is still forgotten as a whole")
{
	uint8_t *memory = arena_alloc_raw(4 << 20, 4096);
	uint64_t base = (phys(memory) + 0x1fffff) & ~0x1fffffull;
	struct walk w = walk_make();
	uint64_t small = *w.level[1];

	w.page[9] = 1;
	*w.level[1] = base | ALL | PAGE_LARGE;
	flush();
	mmio_write8((void *)AT, 0xc3); /* RET */
	EXPECT_EQ(attempt(FETCH, false, AT), NO_FAULT);
	read_at(AT);
	for (unsigned i = 0; i < 3; i++)
		mmio_write8((void *)(AT + 9), 2);
	EXPECT_EQ(read_at(AT + 9), 2);
	*w.level[1] = small;
	invlpg((void *)(AT + 0x5000));
	EXPECT_EQ(read_at(AT + 9), 1);
}

TEST(invlpg_not_canonical, "", "INVLPG of a non-canonical address does nothing, and does not trap")
{
	struct walk w = walk_make();

	EXPECT_FALSE(TRAPS(invlpg((void *)0x8000000000000000)));
	EXPECT_EQ(attempt(READ, false, AT), NO_FAULT);
	EXPECT_EQ(*w.level[0] & AD, PAGE_ACCESSED);
}

TEST(cr3_forgets, "", "loading CR3 forgets every translation of a page that is not global")
{
	struct walk w = walk_make();

	w.page[9] = 1;
	w.next[9] = 2;
	EXPECT_EQ(read_at(AT + 9), 1);
	EXPECT_EQ(read_at(AT + 4096 + 9), 2);
	w.level[0][0] = phys(w.next) | ALL;
	w.level[0][1] = phys(w.page) | ALL;
	flush();
	EXPECT_EQ(read_at(AT + 9), 2);
	EXPECT_EQ(read_at(AT + 4096 + 9), 1);
}

TEST(global_pages, "", "INVLPG forgets a global page, and so does a change of CR4.PGE")
{
	struct walk w = walk_make();

	w.page[9] = 1;
	w.next[9] = 2;
	write_cr4(read_cr4() | CR4_PGE);
	*w.level[0] = phys(w.page) | ALL | PAGE_GLOBAL;
	invlpg((void *)AT);
	EXPECT_EQ(read_at(AT + 9), 1);
	*w.level[0] = phys(w.next) | ALL | PAGE_GLOBAL;
	invlpg((void *)AT);
	EXPECT_EQ(read_at(AT + 9), 2);
	*w.level[0] = phys(w.page) | ALL | PAGE_GLOBAL;
	write_cr4(read_cr4() & ~CR4_PGE);
	EXPECT_EQ(read_at(AT + 9), 1);
}

TEST(absence_is_not_kept, "",
	"a page that faulted because it was absent is there as soon as its entry is, at each level")
{
	struct walk w = walk_make();

	for (unsigned level = 0; level < 4; level++) {
		*w.level[level] &= ~PAGE_PRESENT;
		flush();
		EXPECT_EQ(attempt(READ, false, AT), 0);
		EXPECT_EQ(attempt(WRITE, false, AT), PF_WRITE);
		*w.level[level] |= PAGE_PRESENT;
		EXPECT_EQ(attempt(READ, false, AT), NO_FAULT);
	}
}

TEST(fault_forgets, "",
	"rights that were given after a fault hold at the next access without INVLPG")
{
	struct walk w = walk_make();

	*w.level[0] &= ~PAGE_WRITE;
	flush();
	EXPECT_EQ(attempt(READ, false, AT), NO_FAULT);
	EXPECT_EQ(attempt(WRITE, false, AT), PF_PRESENT | PF_WRITE);
	*w.level[0] |= PAGE_WRITE;
	EXPECT_EQ(attempt(WRITE, false, AT), NO_FAULT);
	*w.level[0] &= ~PAGE_USER;
	flush();
	EXPECT_EQ(attempt(READ, true, AT), PF_PRESENT | PF_USER);
	*w.level[0] |= PAGE_USER;
	EXPECT_EQ(attempt(READ, true, AT), NO_FAULT);
}

TEST(rights_go_with_invlpg, "", "rights taken away hold after INVLPG, for CPL 0 and 3")
{
	struct walk w = walk_make();

	EXPECT_EQ(attempt(WRITE, false, AT), NO_FAULT);
	EXPECT_EQ(attempt(WRITE, true, AT), NO_FAULT);
	*w.level[0] &= ~PAGE_WRITE;
	invlpg((void *)AT);
	EXPECT_EQ(attempt(WRITE, false, AT), PF_PRESENT | PF_WRITE);
	EXPECT_EQ(attempt(WRITE, true, AT), PF_PRESENT | PF_WRITE | PF_USER);
	EXPECT_EQ(attempt(READ, true, AT), NO_FAULT);
}

/* --- over two pages --- */

TEST(crossing_write_is_whole, "",
	"a write over two pages whose second may not be written changes nothing; CR2 is the second",
	NEEDS("exact"))
{
	struct walk w = walk_make();

	memset(w.page + 4088, 0x11, 8);
	memset(w.next, 0x11, 8);
	w.level[0][1] &= ~PAGE_WRITE;
	flush();
	for (unsigned over = 1; over < 8; over++) {
		EXPECT_TRAP(TRAP_PF, mmio_write64((void *)(AT + 4088 + over), 0));
		EXPECT_EQ(trap_last.error, PF_PRESENT | PF_WRITE);
		EXPECT_EQ(trap_last.cr2, AT + 4096);
	}
	EXPECT_TRUE(memory_is(w.page + 4088, 0x11, 8, NULL));
	EXPECT_TRUE(memory_is(w.next, 0x11, 8, NULL));
	w.level[0][0] &= ~PAGE_PRESENT;
	flush();
	EXPECT_TRAP(TRAP_PF, mmio_write64((void *)(AT + 4091), 0));
	EXPECT_EQ(trap_last.error, PF_WRITE);
	EXPECT_EQ(trap_last.cr2, AT + 4091);
}

TEST(crossing_read, "", "a read over two pages faults with the address of the absent one")
{
	struct walk w = walk_make();

	memcpy(w.page + 4092, "\1\2\3\4", 4);
	memcpy(w.next, "\5\6\7\10", 4);
	EXPECT_EQ(mmio_read64((void *)(AT + 4092)), 0x0807060504030201);
	w.level[0][1] = 0;
	flush();
	EXPECT_TRAP(TRAP_PF, mmio_read64((void *)(AT + 4092)));
	EXPECT_EQ(trap_last.error, 0);
	EXPECT_EQ(trap_last.cr2, AT + 4096);
}

TEST(crossing_fetch, "",
	"an instruction whose end is on an absent page faults at its beginning with the page in "
	"CR2")
{
	struct walk w = walk_make();

	memcpy(w.page + 4094, "\x48\xb8", 2); /* mov rax, imm64 */
	w.level[0][1] = 0;
	flush();
	EXPECT_EQ(attempt(FETCH, false, AT + 4094) & ~PF_FETCH, 0);
	EXPECT_EQ(walk_cr2, AT + 4096);
	EXPECT_EQ(walk_rip, AT + 4094);
	/* One that ends at the page's end needs nothing of the next. */
	w.page[4095] = 0xc3;
	EXPECT_EQ(attempt(FETCH, false, AT + 4095), NO_FAULT);
}

TEST(string_stops_where_it_faults, "",
	"a repeated copy that meets an absent page has done what came before, and goes on from "
	"there")
{
	struct walk w = walk_make();
	uint8_t *from = arena_alloc(4096, 4096);
	uint64_t source, target, left;

	memset(from, 0x42, 256);
	w.level[0][1] &= ~PAGE_PRESENT;
	flush();
	EXPECT_TRAP(TRAP_PF, __asm__ volatile("mov %0, %%rsi; mov %1, %%rdi; mov $64, %%ecx;"
					      "rep movsb"
					      :
					      : "r"(from), "r"(AT + 4096 - 24)
					      : "rsi", "rdi", "rcx", "memory"));
	EXPECT_EQ(trap_last.cr2, AT + 4096);
	EXPECT_EQ(trap_last.error, PF_WRITE);
	EXPECT_TRUE(memory_is(w.page + 4096 - 24, 0x42, 24, NULL));
	source = phys(from) + 24;
	target = AT + 4096;
	left = 40;
	w.level[0][1] |= PAGE_PRESENT;
	__asm__ volatile("rep movsb" : "+S"(source), "+D"(target), "+c"(left) : : "memory");
	EXPECT_EQ(left, 0);
	EXPECT_TRUE(memory_is(w.next, 0x42, 40, NULL));
}

TEST(compare_is_a_write, "",
	"CMPXCHG on a page without W faults as a write although it would not store")
{
	struct walk w = walk_make();
	uint32_t value = 5;

	*w.level[0] &= ~PAGE_WRITE;
	flush();
	EXPECT_TRAP(TRAP_PF, __asm__ volatile("lock; cmpxchgl %1, (%2)"
					      : "+a"(value)
					      : "r"(1), "r"(AT + 16)
					      : "memory", "cc"));
	EXPECT_EQ(trap_last.error, PF_PRESENT | PF_WRITE);
	EXPECT_TRAP(TRAP_PF, __asm__ volatile("addl $0, (%0)" : : "r"(AT + 16) : "memory", "cc"));
	EXPECT_EQ(trap_last.error, PF_PRESENT | PF_WRITE);
}

static uint64_t push_at_window(void *arg)
{
	__asm__ volatile("mov %%rsp, %%rcx; mov %0, %%rsp; push %%rax; mov %%rcx, %%rsp"
			 :
			 : "r"(AT + 4096 + 4)
			 : "rcx", "memory");
	return 0;
}

TEST(push_over_two_pages, "", "a PUSH that faults leaves RSP; CR2 is the page that was missing")
{
	struct walk w = walk_make();

	*w.level[0] &= ~PAGE_PRESENT;
	flush();
	EXPECT_TRAP(TRAP_PF, user_call(push_at_window, NULL));
	EXPECT_EQ(trap_last.error, PF_WRITE | PF_USER);
	EXPECT_EQ(trap_last.cr2, AT + 4096 - 4);
	EXPECT_TRUE(memory_is(w.next + 1, 0, 16, NULL));
}
