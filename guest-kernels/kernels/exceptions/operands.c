/* SPDX-License-Identifier: MIT */
/*
 * Kernel exceptions, operands (Intel SDM volume 3, 6.15): selectors, addresses that are not
 * canonical, alignment.
 */
#include "kernels/exceptions/exceptions.h"
#include "runtime/memory.h"
#include "runtime/paging.h"
#include "runtime/user.h"

#define CR0_AM (1ull << 18)

/* --- selectors --- */

#define LOAD(segment, selector)                      \
	__asm__ volatile(MARK "mov %w0, %%" segment  \
			 :                           \
			 : "d"((uint32_t)(selector)) \
			 : "rax", "memor"            \
				  "y")

TEST(np_of_a_data_segment, "", "a data segment that is not present is #NP with its selector")
{
	uint64_t *own = own_descriptors();

	own[0] = DESCRIPTOR_DATA & ~(1ull << 47);
	EXPECT_FAULT(TRAP_NP, SEL_OWN, LOAD("es", SEL_OWN | 3 * 0));
	EXPECT_FAULT(TRAP_NP, SEL_OWN, LOAD("fs", SEL_OWN));
}

TEST(ss_of_a_stack_segment, "", "a stack segment that is not present is #SS with its selector")
{
	uint64_t *own = own_descriptors();

	own[0] = DESCRIPTOR_DATA & ~(1ull << 47);
	EXPECT_FAULT(TRAP_SS, SEL_OWN, LOAD("ss", SEL_OWN));
}

TEST(gp_of_selectors, "",
	"a selector beyond its table, of a wrong type or privilege is #GP with that selector")
{
	uint64_t *own = own_descriptors();

	own[0] = DESCRIPTOR_CODE & ~(1ull << 41); /* not readable */
	own[1] = DESCRIPTOR_DATA & ~(1ull << 41); /* not writable */
	own[2] = 0x0000890000000067;		  /* a TSS */
	own[3] = DESCRIPTOR_DATA | 3ull << 45;
	EXPECT_FAULT(TRAP_GP, SEL_OWN, LOAD("es", SEL_OWN));
	EXPECT_FAULT(TRAP_GP, SEL_OWN, LOAD("ss", SEL_OWN));
	EXPECT_FAULT(TRAP_GP, SEL_OWN + 8, LOAD("ss", SEL_OWN + 8));
	EXPECT_FAULT(TRAP_GP, SEL_OWN + 16, LOAD("ds", SEL_OWN + 16));
	EXPECT_FAULT(TRAP_GP, SEL_OWN + 24, LOAD("ss", SEL_OWN + 24));
	EXPECT_FAULT(TRAP_GP, SEL_DATA, LOAD("es", SEL_DATA | 3));
	EXPECT_FAULT(TRAP_GP, 0x2000, LOAD("gs", 0x2000));
	EXPECT_FAULT(TRAP_GP, 0x44, LOAD("es", 0x44)); /* no LDT */
	EXPECT_FAULT(TRAP_GP, 0, LOAD("ss", 3));
	__asm__ volatile("mov %0, %%ss" : : "r"(SEL_DATA));
}

TEST(ldt_selectors, "", "a selector with TI is of the LDT, in error codes too")
{
	uint64_t *own = own_descriptors(), *ldt = arena_alloc(64, 64);
	uint64_t base = phys(ldt);

	own[0] = 0x0000820000000000 | (base & 0xffffff) << 16 | 31;
	own[1] = 0;
	ldt[0] = DESCRIPTOR_DATA;
	ldt[1] = DESCRIPTOR_DATA & ~(1ull << 47);
	__asm__ volatile("lldt %w0" : : "r"(SEL_OWN));
	__asm__ volatile("mov %w0, %%es" : : "r"(4));
	EXPECT_FAULT(TRAP_NP, 0xc, LOAD("es", 0xc));
	EXPECT_FAULT(TRAP_GP, 0x14, LOAD("es", 0x14));
	EXPECT_FAULT(TRAP_GP, 0x24, LOAD("es", 0x24));
	__asm__ volatile("mov %w0, %%es" : : "r"(SEL_DATA));
}

TEST(accessed_bit_of_a_descriptor, "", "loading a selector sets the accessed bit of its descriptor")
{
	volatile uint64_t *own = own_descriptors();

	own[0] = DESCRIPTOR_DATA & ~(1ull << 40);
	__asm__ volatile("mov %w0, %%es" : : "r"(SEL_OWN) : "memory");
	EXPECT_EQ(own[0], DESCRIPTOR_DATA);
	__asm__ volatile("mov %w0, %%es" : : "r"(SEL_DATA));
}

TEST(lldt_and_ltr, "",
	"LLDT and LTR refuse what is no LDT, no available TSS, or not present, and LTR sets busy")
{
	volatile uint64_t *own = own_descriptors();

	own[0] = 0x0000020000000067;		       /* LDT, not present */
	own[2] = 0x0000090000000067 | phys(tss) << 16; /* TSS, not present */
	own[4] = 0x00008b0000000067 | phys(tss) << 16; /* busy */
	own[6] = 0x0000890000000067 | (phys(tss) & 0xffffff) << 16;
	EXPECT_FAULT(TRAP_NP, SEL_OWN, __asm__ volatile(MARK "lldt %w0" : : "d"(SEL_OWN) : "rax"));
	EXPECT_FAULT(TRAP_GP, SEL_DATA,
		__asm__ volatile(MARK "lldt %w0"
				 :
				 : "d"(SEL_DATA)
				 : "rax"));
	EXPECT_FAULT(TRAP_NP, SEL_OWN + 16,
		__asm__ volatile(MARK "ltr %w0"
				 :
				 : "d"(SEL_OWN + 16)
				 : "rax"));
	EXPECT_FAULT(TRAP_GP, SEL_OWN + 32,
		__asm__ volatile(MARK "ltr %w0"
				 :
				 : "d"(SEL_OWN + 32)
				 : "rax"));
	EXPECT_FAULT(TRAP_GP, 0, __asm__ volatile(MARK "ltr %w0" : : "d"(0) : "rax"));
	__asm__ volatile("ltr %w0" : : "r"(SEL_OWN + 48) : "memory");
	EXPECT_EQ(own[6] >> 40 & 0xff, 0x8b);
}

/* --- addresses --- */

TEST(noncanonical_by_segment, "",
	"a non-canonical address is #SS(0) through the stack segment, else #GP(0)", NEEDS("exact"))
{
	const uint64_t bad = 0x0000800000000000;
	struct gate *gates = own_idt(4095);
	uint8_t *stack = arena_alloc(4096, 4096);

	own_descriptors();
	ist_set(2, phys(stack) + 4096);
	gates[TRAP_SS].ist = 2; /* the stack itself is what is wrong */
	EXPECT_FAULT(TRAP_GP, 0,
		__asm__ volatile(MARK "mov (%0), %%al"
				 :
				 : "b"(bad)
				 : "rax", "memory"));
	EXPECT_FAULT(TRAP_GP, 0,
		__asm__ volatile(MARK "mov %%al, (%0)"
				 :
				 : "b"(bad)
				 : "rax", "memory"));
	EXPECT_FAULT(TRAP_GP, 0,
		__asm__ volatile(MARK "mov -7(%0), %%rax"
				 :
				 : "b"(bad)
				 : "rax", "memory"));
	EXPECT_FAULT(TRAP_SS, 0,
		__asm__ volatile("push %%rbp; mov %0, %%rbp; " MARK "mov (%%rbp), %%al; pop %%rbp"
				 :
				 : "b"(bad)
				 : "rax", "memory"));
	EXPECT_FAULT(TRAP_SS, 0,
		__asm__ volatile("mov %%rsp, %%rcx; lea 64(%0), %%rsp; " MARK
				 "push %%rax; mov %%rcx, %%rsp"
				 :
				 : "b"(bad)
				 : "rax", "rcx", "memory"));
	EXPECT_FAULT(TRAP_GP, 0,
		__asm__ volatile(MARK "fs; mov (%0), %%al"
				 :
				 : "b"(bad)
				 : "rax", "memory"));
}

TEST(noncanonical_targets, "",
	"a jump, call or return to a non-canonical address is #GP(0) at itself, RSP unchanged")
{
	const uint64_t bad = 0xffff000000000000;
	uint64_t rsp;

	EXPECT_FAULT(TRAP_GP, 0, __asm__ volatile(MARK "jmp *%0" : : "b"(bad) : "rax", "memory"));
	EXPECT_FAULT(TRAP_GP, 0,
		__asm__ volatile("mov %%rsp, %0; " MARK "call *%1"
				 : "=m"(rsp)
				 : "b"(bad)
				 : "rax", "memory"));
	EXPECT_EQ(seen[0].frame.rsp, rsp);
	EXPECT_FAULT(TRAP_GP, 0,
		__asm__ volatile("push %0; mov %%rsp, %%rcx; " MARK "ret"
				 :
				 : "b"(bad)
				 : "rax", "rcx", "memory"));
	EXPECT_EQ(seen[0].frame.rsp, seen[0].frame.rcx);
}

TEST(wrmsr_addresses, "", "WRMSR of a non-canonical base or target address is #GP(0)",
	NEEDS("exact"))
{
	static const uint32_t msrs[] = {
		0xc0000082, 0xc0000083, 0xc0000100, 0xc0000101, 0xc0000102, 0x175, 0x176};

	for (unsigned i = 0; i < sizeof(msrs) / sizeof(msrs[0]); i++) {
		uint64_t before = rdmsr(msrs[i]);

		see(false);
		EXPECT_TRAP(TRAP_GP, wrmsr(msrs[i], 0x800000000000));
		EXPECT_EQ(seen[0].frame.error, 0);
		EXPECT_EQ(rdmsr(msrs[i]), before);
	}
}

/* --- alignment --- */

struct access {
	uint64_t at, size;
	bool write;
};

static uint64_t access_aligned(void *arg)
{
	const struct access *a = arg;
	uint64_t value = 0;

	__asm__ volatile("pushfq; orq $0x40000, (%%rsp); popfq" : : : "memory", "cc");
	switch (a->size + a->write) {
	case 2:
		__asm__ volatile(MARK "mov (%1), %w0" : "+d"(value) : "r"(a->at) : "rax", "memory");
		break;
	case 3:
		__asm__ volatile(MARK "mov %w0, (%1)" : "+d"(value) : "r"(a->at) : "rax", "memory");
		break;
	case 4:
		__asm__ volatile(MARK "mov (%1), %k0" : "+d"(value) : "r"(a->at) : "rax", "memory");
		break;
	case 5:
		__asm__ volatile(MARK "mov %k0, (%1)" : "+d"(value) : "r"(a->at) : "rax", "memory");
		break;
	case 8:
		__asm__ volatile(MARK "mov (%1), %0" : "+d"(value) : "r"(a->at) : "rax", "memory");
		break;
	case 9:
		__asm__ volatile(MARK "mov %0, (%1)" : "+d"(value) : "r"(a->at) : "rax", "memory");
		break;
	}
	__asm__ volatile("pushfq; andq $~0x40000, (%%rsp); popfq" : : : "memory", "cc");
	return value;
}

TEST(ac_at_level_3, "",
	"with CR0.AM and RFLAGS.AC a misaligned access at CPL 3 is #AC(0), an aligned one is not")
{
	uint64_t cr0 = read_cr0(), buffer = phys(arena_alloc(64, 64));
	static const uint8_t sizes[] = {2, 4, 8};

	write_cr0(cr0 | CR0_AM);
	for (unsigned n = 0; n < 6; n++) {
		struct access a = {buffer, sizes[n / 2], n & 1};

		see(false);
		EXPECT_FALSE(TRAPS(user_call(access_aligned, &a)));
		a.at = buffer + a.size / 2;
		EXPECT_FAULT(TRAP_AC, 0, user_call(access_aligned, &a));
		/* The same page again: not only the first access is looked at. */
		a.at = buffer + 1;
		EXPECT_FAULT(TRAP_AC, 0, user_call(access_aligned, &a));
	}
	write_cr0(cr0);
}

/* Reads 8 bytes at 64 places of a page, the last one misaligned in the last round alone. */
static uint64_t read_hot(void *arg)
{
	uint64_t at = (uint64_t)arg, rounds = 5000;

	__asm__ volatile("pushfq; orq $0x40000, (%%rsp); popfq;"
			 "1: mov $63, %%ecx; 2: mov (%0, %%rcx, 8), %%rdx; dec %%ecx; jnz 2b;"
			 "dec %1; jnz 1b; inc %0;" MARK "mov 8(%0), %%rdx;"
			 "pushfq; andq $~0x40000, (%%rsp); popfq"
			 : "+r"(at), "+r"(rounds)
			 :
			 : "rax", "rcx", "rdx", "cc", "memory");
	return at;
}

TEST(ac_in_hot_code, "", "the first misaligned access is #AC after many aligned ones to its page",
	NEEDS("exact"))
{
	uint64_t cr0 = read_cr0();
	uint8_t *page = arena_alloc(4096, 4096);

	write_cr0(cr0 | CR0_AM);
	EXPECT_FAULT(TRAP_AC, 0, user_call(read_hot, page));
	write_cr0(cr0);
}

TEST(ac_nowhere_else, "",
	"without CR0.AM, without RFLAGS.AC, or at CPL 0 a misaligned access is none",
	NEEDS("exact"))
{
	uint64_t cr0 = read_cr0(), buffer = phys(arena_alloc(64, 64));
	struct access a = {buffer + 1, 8, true};

	see(false);
	EXPECT_FALSE(TRAPS(user_call(access_aligned, &a)));
	write_cr0(cr0 | CR0_AM);
	EXPECT_FALSE(TRAPS(access_aligned(&a)));
	write_cr0(cr0);
}
