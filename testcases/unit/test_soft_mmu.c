/* SPDX-License-Identifier: MIT */
/* Rights of pages (SDM 3A, 4.6 and 4.7) as a table, accessed and dirty bits, and code that writes
 * to code. */
#include "soft-help.h"

#define P  0x001ULL
#define W  0x002ULL
#define U  0x004ULL
#define A  0x020ULL
#define D  0x040ULL
#define NX (1ULL << 63)

#define PML4   0x10000u
#define PDPT   0x11000u
#define PD     0x12000u
#define PT     0x13000u
#define PAGE   0x20000u
#define CALLER 0x3000u
#define LINEAR 0x40000000u /* the first page of the second PDPT entry */

enum access { READ, STORE, FETCH };

#define OK (-1)

struct row {
	uint64_t upper, leaf; /* rights of the page directory entry and of the page */
	bool user;
	enum access access;
	uint64_t cr0, cr4; /* beside PG, PE and PAE */
	uint32_t flags;
	int error; /* of the page fault, or OK */
};

static const struct row rows[] = {
	/* supervisor */
	{P | W, P | W, false, READ, 0, 0, 0, OK},
	{P | W, P | W, false, STORE, 0, 0, 0, OK},
	{P | W, P | W, false, FETCH, 0, 0, 0, OK},
	{P | W, P, false, STORE, 0, 0, 0, OK},
	{P | W, P, false, STORE, CR0_WP, 0, 0, 0x3},
	{P, P | W, false, STORE, CR0_WP, 0, 0, 0x3},
	{P | W, P | W | NX, false, FETCH, 0, 0, 0, 0x11},
	{P | W | NX, P | W, false, FETCH, 0, 0, 0, 0x11},
	{P | W | NX, P | W, false, READ, 0, 0, 0, OK},
	{P | W, 0, false, READ, 0, 0, 0, 0x0},
	{P | W, 0, false, STORE, 0, 0, 0, 0x2},
	{0, P | W, false, FETCH, 0, 0, 0, 0x10},
	/* user */
	{P | W | U, P | W | U, true, STORE, 0, 0, 0, OK},
	{P | W | U, P | W | U, true, FETCH, 0, 0, 0, OK},
	{P | W | U, P | W, true, READ, 0, 0, 0, 0x5},
	{P | W, P | W | U, true, READ, 0, 0, 0, 0x5},
	{P | W | U, P | U, true, STORE, 0, 0, 0, 0x7},
	{P | W | U, 0, true, STORE, 0, 0, 0, 0x6},
	{P | W | U, P | U | NX, true, FETCH, 0, 0, 0, 0x15},
	/* supervisor on user pages */
	{P | W | U, P | W | U, false, STORE, 0, 0, 0, OK},
	{P | W | U, P | W | U, false, FETCH, 0, CR4_SMEP, 0, 0x11},
	{P | W | U, P | W, false, FETCH, 0, CR4_SMEP, 0, OK},
	{P | W | U, P | W | U, false, READ, 0, CR4_SMAP, 0, 0x1},
	{P | W | U, P | W | U, false, STORE, 0, CR4_SMAP, 0, 0x3},
	{P | W | U, P | W | U, false, READ, 0, CR4_SMAP, F_AC, OK},
	{P | W | U, P | W | U, true, READ, 0, CR4_SMAP | CR4_SMEP, 0, OK},
	/* reserved: address bits above the processor's */
	{P | W | U, P | W | U | 1ULL << 51, false, READ, 0, 0, 0, 0x9},
	{P | W | U, P | W | U | 1ULL << 51, true, STORE, 0, 0, 0, 0xf},
};

static void store64(uint32_t at, uint64_t value)
{
	memcpy(ram + at, &value, sizeof(value));
}

static uint64_t load64(uint32_t at)
{
	uint64_t value;

	memcpy(&value, ram + at, sizeof(value));
	return value;
}

static void page_in(const struct row *row)
{
	reset_flat64();
	store64(PML4, PDPT | P | W | U);
	store64(PDPT + 8, PD | P | W | U);
	store64(PD, row->upper ? PT | row->upper : 0);
	store64(PT, row->leaf ? PAGE | row->leaf : 0);
	cpu->cr3 = PML4;
	cpu->cr0 |= CR0_PG | row->cr0;
	cpu->cr4 = CR4_PAE | row->cr4;
	cpu->efer |= EFER_NXE;
	cpu->flags = 2 | row->flags;
	cpu->user = row->user;
	soft_tlb_flush(cpu, true);
}

static int error_of(struct soft_cpu *c, enum access access)
{
	if (setjmp(c->escape))
		return c->fault_vector == V_PF ? (int)c->fault_error : 1000 + c->fault_vector;
	if (access == READ)
		soft_load(c, LINEAR + 8, 4);
	else if (access == STORE)
		soft_store(c, LINEAR + 8, 1, 4);
	else
		soft_fetch(c, LINEAR + 8);
	return OK;
}

static void rights(void **state)
{
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		/* Twice: by the tables, then by what the TLB kept. */
		page_in(&rows[i]);
		for (unsigned turn = 0; turn < 2; turn++) {
			int error = error_of(cpu, rows[i].access);

			if (error != rows[i].error)
				fail_msg("row %u, turn %u: error %x", i, turn, error);
			if (error != OK)
				assert_int_equal(cpu->cr2, LINEAR + 8);
		}
	}
}

static void accessed_and_dirty(void **state)
{
	static const struct row row = {P | W, P | W, false, READ, 0, 0, 0, OK};

	page_in(&row);
	assert_int_equal(error_of(cpu, READ), OK);
	assert_int_equal(load64(PD) & 0xfff, P | W | A);
	assert_int_equal(load64(PT) & 0xfff, P | W | A);
	/* The translation is cached by now; a store must mark it all the same. */
	assert_int_equal(error_of(cpu, STORE), OK);
	assert_int_equal(load64(PD) & 0xfff, P | W | A);
	assert_int_equal(load64(PT) & 0xfff, P | W | A | D);
}

static void a_refused_access_marks_nothing(void **state)
{
	static const struct row row = {P | W, P, false, STORE, CR0_WP, 0, 0, 3};

	page_in(&row);
	assert_int_equal(error_of(cpu, STORE), 3);
	assert_int_equal(load64(PT) & 0xfff, P);
}

/* The instruction that is written stands in the same block as the one that writes. */
static void code_that_changes_itself(void **state)
{
	static const uint8_t bytes[] = {
		0xc6, 0x05, 0x01, 0x00, 0x00, 0x00, 0x07, /* mov byte [rip + 1], 7 */
		0xb0, 0x01,				  /* mov al, 1 */
	};

	reset_flat64();
	run_bytes(bytes, sizeof(bytes));
	assert_int_equal(cpu->gpr[RAX] & 0xff, 7);
}

static void run_again(void)
{
	cpu->rip = CODE;
	cpu->halted = false;
	soft_run(cpu, 100);
	assert_true(cpu->halted);
}

static void code_that_others_write(void **state)
{
	static const uint8_t bytes[] = {0xb0, 0x01}; /* mov al, 1 */
	uint8_t two = 2;

	reset_flat64();
	run_bytes(bytes, sizeof(bytes));
	assert_int_equal(cpu->gpr[RAX] & 0xff, 1);
	/* a device */
	assert_int_equal(guest_write(&machine.memory, CODE + 1, &two, 1), 0);
	run_again();
	assert_int_equal(cpu->gpr[RAX] & 0xff, 2);
	/* the guest, from other code */
	soft_store(cpu, CODE + 1, 3, 1);
	run_again();
	assert_int_equal(cpu->gpr[RAX] & 0xff, 3);
}

static void run_from(uint64_t rip)
{
	cpu->rip = rip;
	cpu->halted = false;
	soft_run(cpu, 10000);
	assert_true(cpu->halted);
}

/* Host code goes on to host code of blocks that others have pushed out of their place. */
static void code_that_was_pushed_out(void **state)
{
	static const uint8_t loop[] = {
		0xe8,
		0xfb,
		0xdf,
		0xff,
		0xff, /* call CODE */
		0xff,
		0xc9,
		0x75,
		0xf7, /* dec ecx; jnz to the start */
		0xf4,
	};
	static const uint8_t called[] = {0xb8, 0x01, 0x00, 0x00, 0x00, 0xc3}; /* mov eax, 1; ret */
	uint64_t other = 0x10000;
	struct soft_block *block;

	reset_flat64();
	memcpy(ram + CALLER, loop, sizeof(loop));
	memcpy(ram + CODE, called, sizeof(called));
	memset(ram + other, 0xf4, RAM_SIZE - other);
	soft_code_written(soft, 0, RAM_SIZE);
	cpu->gpr[RCX] = 1000;
	run_from(CALLER);
	cpu->rip = CODE;
	block = soft_block_at(cpu);
	while (block->host == ram + CODE && other < RAM_SIZE)
		run_from(other++);
	assert_int_not_equal(other, RAM_SIZE);
	soft_store(cpu, CODE + 1, 2, 1);
	cpu->gpr[RCX] = 3;
	run_from(CALLER);
	assert_int_equal(cpu->gpr[RAX], 2);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(rights),
		cmocka_unit_test(accessed_and_dirty),
		cmocka_unit_test(a_refused_access_marks_nothing),
		cmocka_unit_test(code_that_changes_itself),
		cmocka_unit_test(code_that_others_write),
		cmocka_unit_test(code_that_was_pushed_out),
	};

	return cmocka_run_group_tests(tests, start_soft, end_soft);
}
