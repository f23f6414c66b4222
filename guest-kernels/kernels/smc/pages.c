/* SPDX-License-Identifier: MIT */
/* Kernel smc, pages: code at several addresses, pages that are remapped or lose a right, and stores
 * at another privilege. */
#include "kernels/smc/smc.h"
#include "runtime/paging.h"
#include "runtime/user.h"

/* Where no page of the kernel's own has the same place in a TLB of 256 entries or more: what an
 * INVLPG was to forget is still there if it does not. */
#define WINDOW (PAGING_WINDOW + 0xf0000)

TEST(store_by_alias, "",
	"a store by another linear address is seen after a serializing instruction")
{
	uint8_t *code = code_pages(1);
	volatile uint8_t *alias = (void *)WINDOW;

	paging_map(WINDOW, (uint64_t)code, PAGE_PRESENT | PAGE_WRITE);
	for (uint32_t i = 1; i <= 4; i++) {
		put_return(alias, i);
		serialize();
		EXPECT_EQ(call(code), i);
		put_return(code, i << 8);
		serialize();
		EXPECT_EQ(call(alias), i << 8);
	}
}

TEST(one_page_at_two_addresses, "",
	"code that reads its own address gives both, whichever address ran first")
{
	static const uint8_t bytes[] = {0x48, 0x8d, 0x05, 0xf9, 0xff, 0xff, 0xff, 0xc3};
	uint8_t *code = code_pages(1); /* lea rax, [rip - 7]; ret */

	memcpy(code, bytes, sizeof(bytes));
	paging_map(WINDOW, (uint64_t)code, PAGE_PRESENT);
	EXPECT_EQ(((uint64_t(*)(void))code)(), (uint64_t)code);
	EXPECT_EQ(((uint64_t(*)(void))WINDOW)(), WINDOW);
	EXPECT_EQ(((uint64_t(*)(void))code)(), (uint64_t)code);
}

TEST(page_is_remapped, "", "another page at the same address is executed after INVLPG or MOV CR3")
{
	uint8_t *code = code_pages(3);
	volatile uint64_t *entry;

	for (unsigned i = 0; i < 3; i++)
		put_return(code + i * 4096, 0x100 + i);
	entry = paging_map(WINDOW, (uint64_t)code, PAGE_PRESENT);
	EXPECT_EQ(call((void *)WINDOW), 0x100);
	*entry = (uint64_t)(code + 4096) | PAGE_PRESENT;
	invlpg((void *)WINDOW);
	EXPECT_EQ(call((void *)WINDOW), 0x101);
	*entry = (uint64_t)(code + 8192) | PAGE_PRESENT;
	write_cr3(read_cr3());
	EXPECT_EQ(call((void *)WINDOW), 0x102);
}

TEST(second_page_is_remapped, "",
	"an instruction over two pages takes its second half from the page that is mapped now")
{
	uint8_t *code = code_pages(3);
	volatile uint8_t *at = (void *)(WINDOW + 4096 - 3);
	volatile uint64_t *second;

	put_return(code + 4096 - 3, 0x11111111);
	memcpy(code + 8192, code + 4096, 16);
	code[8192] = 0x22;
	paging_map(WINDOW, (uint64_t)code, PAGE_PRESENT);
	second = paging_map(WINDOW + 4096, (uint64_t)code + 4096, PAGE_PRESENT);
	EXPECT_EQ(call(at), 0x11111111);
	*second = (uint64_t)(code + 8192) | PAGE_PRESENT;
	invlpg((void *)(WINDOW + 4096));
	EXPECT_EQ(call(at), 0x11221111);
	*second = 0;
	invlpg((void *)(WINDOW + 4096));
	EXPECT_TRAP(TRAP_PF, call(at));
	EXPECT_EQ(trap_last.cr2, WINDOW + 4096);
	EXPECT_EQ(trap_last.rip, WINDOW + 4096 - 3);
}

TEST(page_is_taken_away, "", "code on a page that is not present any more faults at the fetch")
{
	uint8_t *code = code_pages(1);
	volatile uint64_t *entry;

	put_return(code, 5);
	entry = paging_map(WINDOW, (uint64_t)code, PAGE_PRESENT);
	EXPECT_EQ(call((void *)WINDOW), 5);
	*entry &= ~PAGE_PRESENT;
	invlpg((void *)WINDOW);
	EXPECT_TRAP(TRAP_PF, call((void *)WINDOW));
	EXPECT_EQ(trap_last.cr2, WINDOW);
	EXPECT_EQ(trap_last.rip, WINDOW);
	EXPECT_EQ(trap_last.error & ~0x10ull, 0);
	*entry |= PAGE_PRESENT;
	EXPECT_EQ(call((void *)WINDOW), 5);
}

TEST(page_becomes_no_execute, "",
	"code that ran faults at the fetch when its page is made no-execute, and runs again when "
	"that is taken back")
{
	uint8_t *code = code_pages(1);
	uint64_t efer = rdmsr(0xc0000080);
	volatile uint64_t *entry;

	if (!(cpuid(0x80000001, 0).edx >> 20 & 1))
		SKIP("the processor has no NX");
	wrmsr(0xc0000080, efer | 0x800);
	put_return(code, 5);
	entry = paging_map(WINDOW, (uint64_t)code, PAGE_PRESENT | PAGE_WRITE);
	EXPECT_EQ(call((void *)WINDOW), 5);
	*entry |= 1ull << 63;
	invlpg((void *)WINDOW);
	put_return((void *)WINDOW, 6);
	EXPECT_TRAP(TRAP_PF, call((void *)WINDOW));
	EXPECT_EQ(trap_last.error, 0x11); /* present, fetch */
	EXPECT_EQ(trap_last.cr2, WINDOW);
	*entry &= ~(1ull << 63);
	invlpg((void *)WINDOW);
	EXPECT_EQ(call((void *)WINDOW), 6);
	*entry = 0;
	wrmsr(0xc0000080, efer);
}

TEST(page_becomes_read_only, "",
	"a store to code on a page made read-only faults and changes nothing; the code still runs")
{
	uint8_t *code = code_pages(1);
	volatile uint64_t *entry;

	put_return(code, 5);
	entry = paging_map(WINDOW, (uint64_t)code, PAGE_PRESENT | PAGE_WRITE);
	EXPECT_EQ(call((void *)WINDOW), 5);
	put_return((void *)WINDOW, 6);
	EXPECT_EQ(call((void *)WINDOW), 6);
	*entry &= ~PAGE_WRITE;
	invlpg((void *)WINDOW);
	EXPECT_TRAP(TRAP_PF, put_return((void *)WINDOW, 7));
	EXPECT_EQ(trap_last.error, 3); /* present, write */
	EXPECT_EQ(call((void *)WINDOW), 6);
}

/* At CPL 3: the argument is a page with code, which is called, changed and called again. */
static uint64_t change_and_call(void *arg)
{
	uint64_t first = call(arg);

	put_return(arg, 0x77);
	return first << 32 | call(arg);
}

TEST(store_by_user_code, "", "code that code of privilege 3 changes is what both levels execute")
{
	uint8_t *code = code_pages(1);

	put_return(code, 0x66);
	EXPECT_EQ(call(code), 0x66);
	EXPECT_EQ(user_call(change_and_call, code), 0x6600000077);
	EXPECT_EQ(call(code), 0x77);
}

static uint64_t just_call(void *arg)
{
	return call(arg);
}

TEST(page_becomes_privileged, "",
	"code that ran at privilege 3 faults there when its page becomes the supervisor's, not at "
	"0")
{
	uint8_t *code = code_pages(1);
	volatile uint64_t *entry;

	put_return(code, 9);
	entry = paging_map(WINDOW, (uint64_t)code, PAGE_PRESENT | PAGE_USER);
	EXPECT_EQ(user_call(just_call, (void *)WINDOW), 9);
	*entry &= ~PAGE_USER;
	invlpg((void *)WINDOW);
	EXPECT_TRAP(TRAP_PF, user_call(just_call, (void *)WINDOW));
	EXPECT_EQ(trap_last.error & ~0x10ull, 5); /* present, user */
	EXPECT_EQ(call((void *)WINDOW), 9);
}
