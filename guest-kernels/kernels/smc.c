/* SPDX-License-Identifier: MIT */
/*
 * Kernel smc: code that changes (Intel SDM volume 3, 8.1.3 and 11.6). A store to code by the same
 * linear address is seen by the next instruction; by another address or by a device after a
 * serializing instruction; after a change of the page tables when the translation is invalidated.
 *
 * Left out: code that another processor changes, and string instructions that overwrite themselves.
 */
#include "drivers/ata.h"
#include "runtime/io.h"
#include "runtime/memory.h"
#include "runtime/paging.h"
#include "runtime/test.h"
#include "runtime/user.h"
#include "virtio-drivers/blk.h"

typedef uint32_t code_fn(void);

/* mov eax, value; ret */
static void put_return(volatile uint8_t *at, uint32_t value)
{
	at[0] = 0xb8;
	memcpy((void *)(at + 1), &value, 4);
	at[5] = 0xc3;
}

static uint32_t call(const volatile void *at)
{
	return ((code_fn *)at)();
}

static void serialize(void)
{
	cpuid(0, 0);
}

static uint8_t *code_pages(unsigned count)
{
	return arena_alloc(count * 4096ul, 4096);
}

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
	static const uint8_t bytes[] = {
		0xc6,
		0x05,
		1,
		0,
		0,
		0,
		0x5a, /* mov byte [rip + 1], 0x5a */
		0xb8,
		0,
		0,
		0,
		0, /* mov eax, 0 */
		0xc3,
	};
	uint8_t *code = code_pages(1);

	memcpy(code, bytes, sizeof(bytes));
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
	static const uint8_t bytes[] = {
		0x31,
		0xc0, /* xor eax, eax */
		0xc6,
		0x05,
		0,
		0,
		0,
		0,
		0x3c, /* mov byte [rip], 0x3c: the opcode behind */
		0x0c,
		0x01, /* or al, 1; becomes cmp al, 1 */
		0x40,
		0xb6,
		0x07, /* mov sil, 7 */
		0x66,
		0xc7,
		0x05,
		0,
		0,
		0,
		0,
		0x90,
		0x90, /* mov word [rip], 0x9090 */
		0x04,
		0x10, /* add al, 0x10; becomes nop; nop */
		0xc3,
	};
	uint8_t *code = code_pages(1);

	memcpy(code, bytes, sizeof(bytes));
	EXPECT_EQ(call(code), 0);
	EXPECT_EQ(code[9], 0x3c);
	EXPECT_EQ(code[23], 0x90);
}

/* Each turn adds one to the number that the first instruction loads. */
TEST(store_to_own_loop, "", "a loop that counts in its own immediate sees each count")
{
	static const uint8_t bytes[] = {
		0x31,
		0xd2, /* xor edx, edx */
		0xb9,
		50,
		0,
		0,
		0, /* mov ecx, 50 */
		0xb8,
		1,
		0,
		0,
		0, /* again: mov eax, 1 */
		0x01,
		0xc2, /* add edx, eax */
		0xff,
		0x05,
		0xf4,
		0xff,
		0xff,
		0xff, /* inc dword [rip - 12]: the immediate */
		0xff,
		0xc9, /* dec ecx */
		0x75,
		0xef, /* jnz again */
		0x89,
		0xd0, /* mov eax, edx */
		0xc3,
	};
	uint8_t *code = code_pages(1);

	memcpy(code, bytes, sizeof(bytes));
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
	static const uint8_t bytes[] = {
		0x48,
		0x8d,
		0x3d,
		9,
		0,
		0,
		0, /* lea rdi, [rip + 9] */
		0xb9,
		5,
		0,
		0,
		0, /* mov ecx, 5 */
		0xb0,
		0x90, /* mov al, 0x90 */
		0xf3,
		0xaa, /* rep stosb */
		0xb8,
		1,
		2,
		3,
		4, /* mov eax, 0x04030201: gone */
		0x0f,
		0xb6,
		0xc0, /* movzx eax, al */
		0xc3,
	};
	uint8_t *code = code_pages(1);

	memcpy(code, bytes, sizeof(bytes));
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

TEST(store_by_alias, "",
	"a store by another linear address is seen after a serializing instruction")
{
	uint8_t *code = code_pages(1);
	volatile uint8_t *alias = (void *)PAGING_WINDOW;

	paging_map(PAGING_WINDOW, (uint64_t)code, PAGE_PRESENT | PAGE_WRITE);
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
	paging_map(PAGING_WINDOW, (uint64_t)code, PAGE_PRESENT);
	EXPECT_EQ(((uint64_t(*)(void))code)(), (uint64_t)code);
	EXPECT_EQ(((uint64_t(*)(void))PAGING_WINDOW)(), PAGING_WINDOW);
	EXPECT_EQ(((uint64_t(*)(void))code)(), (uint64_t)code);
}

TEST(page_is_remapped, "", "another page at the same address is executed after INVLPG or MOV CR3")
{
	uint8_t *code = code_pages(3);
	volatile uint64_t *entry;

	for (unsigned i = 0; i < 3; i++)
		put_return(code + i * 4096, 0x100 + i);
	entry = paging_map(PAGING_WINDOW, (uint64_t)code, PAGE_PRESENT);
	EXPECT_EQ(call((void *)PAGING_WINDOW), 0x100);
	*entry = (uint64_t)(code + 4096) | PAGE_PRESENT;
	invlpg((void *)PAGING_WINDOW);
	EXPECT_EQ(call((void *)PAGING_WINDOW), 0x101);
	*entry = (uint64_t)(code + 8192) | PAGE_PRESENT;
	write_cr3(read_cr3());
	EXPECT_EQ(call((void *)PAGING_WINDOW), 0x102);
}

TEST(second_page_is_remapped, "",
	"an instruction over two pages takes its second half from the page that is mapped now")
{
	uint8_t *code = code_pages(3);
	volatile uint8_t *at = (void *)(PAGING_WINDOW + 4096 - 3);
	volatile uint64_t *second;

	put_return(code + 4096 - 3, 0x11111111);
	memcpy(code + 8192, code + 4096, 16);
	code[8192] = 0x22;
	paging_map(PAGING_WINDOW, (uint64_t)code, PAGE_PRESENT);
	second = paging_map(PAGING_WINDOW + 4096, (uint64_t)code + 4096, PAGE_PRESENT);
	EXPECT_EQ(call(at), 0x11111111);
	*second = (uint64_t)(code + 8192) | PAGE_PRESENT;
	invlpg((void *)(PAGING_WINDOW + 4096));
	EXPECT_EQ(call(at), 0x11221111);
	*second = 0;
	invlpg((void *)(PAGING_WINDOW + 4096));
	EXPECT_TRAP(TRAP_PF, call(at));
	EXPECT_EQ(trap_last.cr2, PAGING_WINDOW + 4096);
	EXPECT_EQ(trap_last.rip, PAGING_WINDOW + 4096 - 3);
}

TEST(page_is_taken_away, "", "code on a page that is not present any more faults at the fetch")
{
	uint8_t *code = code_pages(1);
	volatile uint64_t *entry;

	put_return(code, 5);
	entry = paging_map(PAGING_WINDOW, (uint64_t)code, PAGE_PRESENT);
	EXPECT_EQ(call((void *)PAGING_WINDOW), 5);
	*entry &= ~PAGE_PRESENT;
	invlpg((void *)PAGING_WINDOW);
	EXPECT_TRAP(TRAP_PF, call((void *)PAGING_WINDOW));
	EXPECT_EQ(trap_last.cr2, PAGING_WINDOW);
	EXPECT_EQ(trap_last.rip, PAGING_WINDOW);
	EXPECT_EQ(trap_last.error & ~0x10ull, 0);
	*entry |= PAGE_PRESENT;
	EXPECT_EQ(call((void *)PAGING_WINDOW), 5);
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
	entry = paging_map(PAGING_WINDOW, (uint64_t)code, PAGE_PRESENT | PAGE_WRITE);
	EXPECT_EQ(call((void *)PAGING_WINDOW), 5);
	*entry |= 1ull << 63;
	invlpg((void *)PAGING_WINDOW);
	put_return((void *)PAGING_WINDOW, 6);
	EXPECT_TRAP(TRAP_PF, call((void *)PAGING_WINDOW));
	EXPECT_EQ(trap_last.error, 0x11); /* present, fetch */
	EXPECT_EQ(trap_last.cr2, PAGING_WINDOW);
	*entry &= ~(1ull << 63);
	invlpg((void *)PAGING_WINDOW);
	EXPECT_EQ(call((void *)PAGING_WINDOW), 6);
	*entry = 0;
	wrmsr(0xc0000080, efer);
}

TEST(page_becomes_read_only, "",
	"a store to code on a page made read-only faults and changes nothing; the code still runs")
{
	uint8_t *code = code_pages(1);
	volatile uint64_t *entry;

	put_return(code, 5);
	entry = paging_map(PAGING_WINDOW, (uint64_t)code, PAGE_PRESENT | PAGE_WRITE);
	EXPECT_EQ(call((void *)PAGING_WINDOW), 5);
	put_return((void *)PAGING_WINDOW, 6);
	EXPECT_EQ(call((void *)PAGING_WINDOW), 6);
	*entry &= ~PAGE_WRITE;
	invlpg((void *)PAGING_WINDOW);
	EXPECT_TRAP(TRAP_PF, put_return((void *)PAGING_WINDOW, 7));
	EXPECT_EQ(trap_last.error, 3); /* present, write */
	EXPECT_EQ(call((void *)PAGING_WINDOW), 6);
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
	entry = paging_map(PAGING_WINDOW, (uint64_t)code, PAGE_PRESENT | PAGE_USER);
	EXPECT_EQ(user_call(just_call, (void *)PAGING_WINDOW), 9);
	*entry &= ~PAGE_USER;
	invlpg((void *)PAGING_WINDOW);
	EXPECT_TRAP(TRAP_PF, user_call(just_call, (void *)PAGING_WINDOW));
	EXPECT_EQ(trap_last.error & ~0x10ull, 5); /* present, user */
	EXPECT_EQ(call((void *)PAGING_WINDOW), 9);
}

TEST(jump_into_an_instruction, "",
	"bytes entered in the middle of an instruction are the instructions that begin there")
{
	static const uint8_t bytes[] = {
		0x31,
		0xc0, /* xor eax, eax */
		0xa9,
		0xb0,
		0x21,
		0xeb,
		0x02, /* test eax, 0x02eb21b0; or mov al, 0x21; jmp +2 */
		0x0c,
		0x40, /* or al, 0x40 */
		0xc3,
	};
	uint8_t *code = code_pages(1);

	memcpy(code, bytes, sizeof(bytes));
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
	static const uint8_t bytes[] = {
		0xb9,
		0xe8,
		3,
		0,
		0, /* mov ecx, 1000 */
		0xff,
		0x05,
		0xf5,
		0,
		0,
		0, /* again: inc dword [rip + 0xf5]: at 256 */
		0xff,
		0xc9, /* dec ecx */
		0x75,
		0xf6, /* jnz again */
		0x8b,
		0x05,
		0xeb,
		0,
		0,
		0, /* mov eax, [rip + 0xeb] */
		0xc3,
	};
	uint8_t *code = code_pages(1);

	memcpy(code, bytes, sizeof(bytes));
	EXPECT_EQ(call(code), 1000);
	EXPECT_EQ(call(code), 2000);
}

static void fill_sector(uint8_t *sector, uint32_t value)
{
	memset(sector, 0xcc, 512);
	put_return(sector, value);
}

TEST(ata_dma_into_code, "", "code that an IDE disk's DMA writes is what runs next",
	NEEDS("disk:ata pci"))
{
	static struct ata_disk disk;
	uint8_t *code, *out;

	if (!ata_disk_init(&disk, 0, 0))
		SKIP("no disk");
	code = code_pages(1);
	out = code_pages(1);
	for (uint32_t i = 1; i <= 3; i++) {
		fill_sector(out, 0xd0 + i);
		ASSERT_EQ(ata_dma_write(&disk, 100 + i, 1, out), 0);
	}
	put_return(code, 1);
	EXPECT_EQ(call(code), 1);
	for (uint32_t i = 1; i <= 3; i++) {
		ASSERT_EQ(ata_dma_read(&disk, 100 + i, 1, code), 0);
		serialize();
		EXPECT_EQ(call(code), 0xd0 + i);
	}
}

TEST(ata_pio_into_code, "", "code that REP INSW reads from an IDE disk is what runs next",
	NEEDS("disk:ata"))
{
	static struct ata_disk disk;
	uint8_t *code, *out;

	if (!ata_disk_init(&disk, 0, 0))
		SKIP("no disk");
	code = code_pages(1);
	out = code_pages(1);
	put_return(code, 1);
	EXPECT_EQ(call(code), 1);
	fill_sector(out, 0xa5a5a5);
	ASSERT_EQ(ata_pio_write(&disk, 200, 1, out), 0);
	ASSERT_EQ(ata_pio_read(&disk, 200, 1, code), 0);
	EXPECT_EQ(call(code), 0xa5a5a5);
}

TEST(virtio_into_code, "", "code that a virtio disk writes is what runs next", NEEDS("disk:virtio"))
{
	static struct virtio_blk disk;
	uint8_t *code, *out;

	if (!virtio_blk_open(&disk, &(struct virtio_blk_options){.depth = 4, .polling = true}))
		SKIP("no disk");
	code = code_pages(1);
	out = code_pages(1);
	for (uint32_t i = 1; i <= 3; i++) {
		fill_sector(out, 0xe0 + i);
		ASSERT_EQ(virtio_blk_write(&disk, 100 + i, out, 512), 0);
	}
	put_return(code, 1);
	EXPECT_EQ(call(code), 1);
	for (uint32_t i = 1; i <= 3; i++) {
		ASSERT_EQ(virtio_blk_read(&disk, 100 + i, code, 512), 0);
		serialize();
		EXPECT_EQ(call(code), 0xe0 + i);
	}
}
