/* SPDX-License-Identifier: MIT */
/* Kernel smc, stores: the processor's own, of every kind, to code at the address where it runs. */
#include "kernels/smc/smc.h"
#include "runtime/paging.h"

TEST(store_then_call, "", "a function that was called and then overwritten is the new one")
{
	uint8_t *code = code_pages(1);

	for (uint32_t i = 1; i <= 20; i++) {
		put_return(code, i * 0x01010101);
		EXPECT_EQ(call(code), i * 0x01010101);
	}
}

TEST(store_to_next_instruction, "",
	"a store to the instruction right behind it is seen by that instruction")
{
	static const char bytes[] = "\xc6\x05\x01\x00\x00\x00\x5a" /* mov byte [rip + 1], 0x5a */
				    "\xb8\x00\x00\x00\x00"	   /* mov eax, 0 */
				    "\xc3";
	uint8_t *code = code_pages(1);

	memcpy(code, bytes, sizeof(bytes) - 1);
	EXPECT_EQ(call(code), 0x5a);
	EXPECT_EQ(code[8], 0x5a);
	/* Now decoded already, the same again with another byte. */
	code[6] = 0x33;
	EXPECT_EQ(call(code), 0x33);
	code[8] = 0;
	code[6] = 0x44;
	EXPECT_EQ(call(code), 0x44);
}

TEST(store_changes_length, "",
	"a store that makes the next instruction shorter or longer is seen as a whole")
{
	static const char bytes[] =
		"\x31\xc0"			       /* xor eax, eax */
		"\xc6\x05\x00\x00\x00\x00\x3c"	       /* mov byte [rip], 0x3c: the opcode behind */
		"\x0c\x01"			       /* or al, 1; becomes cmp al, 1 */
		"\x40\xb6\x07"			       /* mov sil, 7 */
		"\x66\xc7\x05\x00\x00\x00\x00\x90\x90" /* mov word [rip], 0x9090 */
		"\x04\x10"			       /* add al, 0x10; becomes nop; nop */
		"\xc3";
	uint8_t *code = code_pages(1);

	memcpy(code, bytes, sizeof(bytes) - 1);
	EXPECT_EQ(call(code), 0);
	EXPECT_EQ(code[9], 0x3c);
	EXPECT_EQ(code[23], 0x90);
}

/* Each turn adds one to the number that the first instruction loads. */
TEST(store_to_own_loop, "", "a loop that counts in its own immediate sees each count")
{
	static const char bytes[] =
		"\x31\xd2"		   /* xor edx, edx */
		"\xb9\x32\x00\x00\x00"	   /* mov ecx, 50 */
		"\xb8\x01\x00\x00\x00"	   /* again: mov eax, 1 */
		"\x01\xc2"		   /* add edx, eax */
		"\xff\x05\xf4\xff\xff\xff" /* inc dword [rip - 12]: the immediate */
		"\xff\xc9"		   /* dec ecx */
		"\x75\xef"		   /* jnz again */
		"\x89\xd0"		   /* mov eax, edx */
		"\xc3";
	uint8_t *code = code_pages(1);

	memcpy(code, bytes, sizeof(bytes) - 1);
	EXPECT_EQ(call(code), 50 * 51 / 2);
	EXPECT_EQ(code[8], 51);
}

TEST(instruction_on_two_pages, "",
	"an instruction over the end of a page follows stores to either page")
{
	uint8_t *code = code_pages(2), *at = code + 4096 - 3;

	put_return(at, 0x11223344);
	EXPECT_EQ(call(at), 0x11223344);
	code[4096] = 0x77; /* byte 2 of the immediate */
	EXPECT_EQ(call(at), 0x11773344);
	code[4094] = 0x55; /* byte 0 */
	EXPECT_EQ(call(at), 0x11773355);
}

TEST(store_across_pages, "", "one store over the end of a page changes the code on both")
{
	uint8_t *code = code_pages(2), *first = code + 4096 - 6, *second = code + 4096;

	put_return(first, 0x11111111);
	put_return(second, 0x22222222);
	EXPECT_EQ(call(first), 0x11111111);
	EXPECT_EQ(call(second), 0x22222222);
	/* Three bytes of the one's immediate, its RET, MOV and three bytes of the other's. */
	*(volatile uint64_t *)(first + 2) = 0x445566b8c3778899;
	EXPECT_EQ(call(first), 0x77889911);
	EXPECT_EQ(call(second), 0x22445566);
}

TEST(string_move_over_code, "", "REP MOVS over two pages of code replaces all of it")
{
	uint8_t *code = code_pages(2), *other = code_pages(2);

	for (unsigned at = 0; at < 8192; at += 1024) {
		put_return(code + at, at);
		put_return(other + at, at | 0x80000000);
	}
	for (unsigned at = 0; at < 8192; at += 1024)
		EXPECT_EQ(call(code + at), at);
	memcpy(code, other, 8192);
	for (unsigned at = 0; at < 8192; at += 1024)
		EXPECT_EQ(call(code + at), at | 0x80000000);
}

TEST(string_store_reaches_code_ahead, "",
	"REP STOS that fills the instructions right behind it with NOPs takes them away")
{
	static const char bytes[] = "\x48\x8d\x3d\x09\x00\x00\x00" /* lea rdi, [rip + 9] */
				    "\xb9\x05\x00\x00\x00"	   /* mov ecx, 5 */
				    "\xb0\x90"			   /* mov al, 0x90 */
				    "\xf3\xaa"			   /* rep stosb */
				    "\xb8\x01\x02\x03\x04"	   /* mov eax, 0x04030201: gone */
				    "\x0f\xb6\xc0"		   /* movzx eax, al */
				    "\xc3";
	uint8_t *code = code_pages(1);

	memcpy(code, bytes, sizeof(bytes) - 1);
	EXPECT_EQ(call(code), 0x90);
}

TEST(push_into_code, "", "pushes, exchanges and additions into a code page are stores like others")
{
	uint8_t *code = code_pages(1);
	uint64_t new = 0x9090c300000007b8; /* mov eax, 7; ret; nop; nop */

	put_return(code + 64, 1);
	EXPECT_EQ(call(code + 64), 1);
	__asm__ volatile("mov %%rsp, %%rbx; mov %0, %%rsp; push %1; mov %%rbx, %%rsp"
			 :
			 : "r"(code + 72), "r"(new)
			 : "rbx", "memory");
	EXPECT_EQ(call(code + 64), 7);
	__asm__ volatile("xchg %0, %1" : "+r"(new), "+m"(*(uint64_t *)(code + 64)));
	__asm__ volatile("lock; addl $0x100, %0" : "+m"(*(uint32_t *)(code + 64)));
	EXPECT_EQ(call(code + 64), 8);
	__asm__ volatile("lock; incb %0" : "+m"(code[65]));
	EXPECT_EQ(call(code + 64), 9);
	__asm__ volatile("btsl $12, %0" : "+m"(*(uint32_t *)(code + 64)));
	EXPECT_EQ(call(code + 64), 0x19);
}

struct table_pointer {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

/*
 * SGDT stores limit and base: an immediate of 16 bits and, because the table was moved to an
 * address that ends with C3, a RET behind it.
 */
TEST(descriptor_table_stored_into_code, "", "what SGDT stores over code is code")
{
	static const uint8_t bytes[] = {0x31, 0xc0, 0x66, 0xb8, 0, 0, 0xc3}; /* xor; mov ax; ret */
	uint8_t *code = code_pages(2), *table = code + 4096 + 0xc3;
	struct table_pointer was, moved;

	memcpy(code, bytes, sizeof(bytes));
	EXPECT_EQ(call(code), 0);
	irq_disable();
	__asm__ volatile("sgdt %0" : "=m"(was));
	memcpy(table, (void *)was.base, was.limit + 1);
	moved = (struct table_pointer){was.limit, (uint64_t)table};
	__asm__ volatile("lgdt %0" : : "m"(moved));
	__asm__ volatile("sgdt %0" : "=m"(*(struct table_pointer *)(code + 4)));
	__asm__ volatile("lgdt %0" : : "m"(was));
	irq_enable();
	EXPECT_EQ(call(code), was.limit);
}

/*
 * A page table as code: B8 is the top byte of one entry, the entry behind it is the immediate,
 * whose upper half is ADD [RAX], AL twice (into the page itself), and the next begins with RET.
 */
TEST(accessed_bits_stored_into_code, "",
	"the accessed and dirty bits that the processor sets change code in the same page")
{
	uint8_t *page = code_pages(1);
	volatile uint64_t *entry =
		paging_map(PAGING_WINDOW + 0x1000, (uint64_t)page, PAGE_PRESENT | PAGE_WRITE);
	uint8_t *code = (uint8_t *)entry - 1;

	entry[-1] = 0xb8ull << 56;
	entry[1] = 0xc3;
	EXPECT_EQ(call(code), (uint32_t)(uint64_t)page | 3);
	(void)*(volatile uint8_t *)(PAGING_WINDOW + 0x1000);
	EXPECT_EQ(call(code), (uint32_t)(uint64_t)page | 3 | PAGE_ACCESSED);
	*(volatile uint8_t *)(PAGING_WINDOW + 0x1000) = 1;
	EXPECT_EQ(call(code), (uint32_t)(uint64_t)page | 3 | PAGE_ACCESSED | PAGE_DIRTY);
}

TEST(jump_into_an_instruction, "",
	"bytes entered in the middle of an instruction are the instructions that begin there")
{
	static const char bytes[] =
		"\x31\xc0"	       /* xor eax, eax */
		"\xa9\xb0\x21\xeb\x02" /* test eax, 0x02eb21b0; or mov al, 0x21; jmp +2 */
		"\x0c\x40"	       /* or al, 0x40 */
		"\xc3";
	uint8_t *code = code_pages(1);

	memcpy(code, bytes, sizeof(bytes) - 1);
	EXPECT_EQ(call(code), 0x40);
	EXPECT_EQ(((code_fn *)(code + 3))() & 0xff, 0x21);
	EXPECT_EQ(call(code), 0x40);
	code[4] = 0x35;
	EXPECT_EQ(((code_fn *)(code + 3))() & 0xff, 0x35);
	EXPECT_EQ(call(code), 0x40);
}

TEST(many_pages_of_code, "",
	"code on a hundred pages, each changed after it ran, is always the latest")
{
	const unsigned count = 100;
	uint8_t *code = arena_alloc_raw(count * 4096ul, 4096);

	for (uint32_t turn = 1; turn <= 3; turn++) {
		unsigned wrong = 0;

		for (unsigned i = 0; i < count; i++)
			put_return(code + i * 4096ul + i * 8, turn << 16 | i);
		for (unsigned i = 0; i < count; i++)
			wrong += call(code + i * 4096ul + i * 8) != (turn << 16 | i);
		EXPECT_EQ(wrong, 0);
	}
}

TEST(data_beside_code, "", "data on the page of the code that changes it is exact")
{
	static const char bytes[] =
		"\xb9\xe8\x03\x00\x00"	   /* mov ecx, 1000 */
		"\xff\x05\xf5\x00\x00\x00" /* again: inc dword [rip + 0xf5]: at 256 */
		"\xff\xc9"		   /* dec ecx */
		"\x75\xf6"		   /* jnz again */
		"\x8b\x05\xeb\x00\x00\x00" /* mov eax, [rip + 0xeb] */
		"\xc3";
	uint8_t *code = code_pages(1);

	memcpy(code, bytes, sizeof(bytes) - 1);
	EXPECT_EQ(call(code), 1000);
	EXPECT_EQ(call(code), 2000);
}
