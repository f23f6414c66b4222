/* SPDX-License-Identifier: MIT */
/* Kernel paging: tables.h. */
#include "kernels/paging/tables.h"
#include "runtime/memory.h"
#include "runtime/user.h"

extern volatile uint64_t pml4[512];
uint64_t walk_cr2, walk_rip;

static uint64_t first_cr0, first_cr3, first_cr4, first_efer, first_pml4;

static void state_back(void *opaque)
{
	if (read_cr4() != first_cr4) {
		write_cr3(first_cr3);
		write_cr4(first_cr4);
	}
	if (read_cr0() != first_cr0)
		write_cr0(first_cr0);
	if (rdmsr(EFER) != first_efer)
		wrmsr(EFER, first_efer);
	pml4[0] = first_pml4;
	write_cr3(first_cr3);
}

static void remember(void)
{
	static struct test_reset_hook hook = {.reset = state_back};

	if (!first_cr0) {
		first_cr0 = read_cr0();
		first_cr3 = read_cr3();
		first_cr4 = read_cr4();
		first_efer = rdmsr(EFER);
		first_pml4 = pml4[0];
	}
	test_reset_hook(&hook);
}

void flush(void)
{
	write_cr3(read_cr3());
}

struct walk walk_make(void)
{
	struct walk w;

	remember();
	w.page = arena_alloc(8192, 4096);
	w.next = w.page + 4096;
	w.level[3] = &pml4[AT >> 39 & 511];
	for (unsigned i = 3; i > 0; i--) {
		volatile uint64_t *table = arena_alloc(4096, 4096);

		*w.level[i] = phys(table) | ALL;
		w.level[i - 1] = &table[AT >> (12 + 9 * (i - 1)) & 511];
	}
	w.level[0][0] = phys(w.page) | ALL;
	w.level[0][1] = phys(w.next) | ALL;
	w.page[0] = w.next[0] = 0xc3;
	flush();
	return w;
}

struct request {
	enum access access;
	uint64_t at;
};

static uint64_t do_access(void *arg)
{
	const struct request *r = arg;
	uint8_t byte = 0xc3;

	switch (r->access) {
	case READ: __asm__ volatile("movb (%1), %0" : "=q"(byte) : "r"(r->at) : "memory"); break;
	case WRITE: __asm__ volatile("movb %0, (%1)" : : "q"(byte), "r"(r->at) : "memory"); break;
	case FETCH: __asm__ volatile("call *%0" : : "r"(r->at) : "memory"); break;
	}
	return 0;
}

unsigned attempt(enum access access, bool user, uint64_t at)
{
	struct request request = {access, at};
	bool trapped;

	if (user)
		trapped = TRAPS(user_call(do_access, &request));
	else
		trapped = TRAPS(do_access(&request));
	walk_cr2 = trap_last.cr2;
	walk_rip = trap_last.rip;
	if (!trapped)
		return NO_FAULT;
	return trap_last.vector == TRAP_PF ? trap_last.error : OTHER + trap_last.vector;
}

bool has_nx(void)
{
	return cpuid(0x80000001, 0).edx >> 20 & 1;
}

bool has_feature_7(unsigned bit)
{
	return cpuid(0, 0).eax >= 7 && cpuid(7, 0).ebx >> bit & 1;
}

void supervisor_only(void)
{
	pml4[0] = first_pml4 & ~PAGE_USER;
	flush();
}
