/* SPDX-License-Identifier: MIT */
/*
 * Kernel exceptions, debug exceptions (Intel SDM volume 3, 17.2 and 17.3) and what holds them and
 * interrupts back for one instruction (6.8.3).
 */
#include "kernels/exceptions/exceptions.h"
#include "runtime/irq.h"
#include "runtime/memory.h"
#include "runtime/time.h"
#include "runtime/user.h"

#define DR6_BD (1ull << 13)
#define DR6_BS (1ull << 14)
#define DR7_GD (1ull << 13)
#define CR4_DE (1ull << 3)

enum { ON_EXECUTE, ON_WRITE, ON_PORT, ON_ACCESS };
enum { LENGTH_1, LENGTH_2, LENGTH_8, LENGTH_4 };

#define WRITE_DR(n, value) __asm__ volatile("mov %0, %%dr" #n : : "r"((uint64_t)(value)) : "memory")
#define READ_DR(n)                                                               \
	({                                                                       \
		uint64_t dr_;                                                    \
		__asm__ volatile("mov %%dr" #n ", %0" : "=r"(dr_) : : "memory"); \
		dr_;                                                             \
	})

static uint64_t dr7_of(unsigned n, unsigned kind, unsigned length)
{
	return 1ull << (n * 2 + 1) | (uint64_t)(kind | length << 2) << (16 + n * 4);
}

static void nothing_armed(void *opaque)
{
	WRITE_DR(7, 0x400);
	WRITE_DR(6, 0xffff0ff0);
	write_cr4(read_cr4() & ~CR4_DE);
}

static void begin(void)
{
	static struct test_reset_hook hook = {.reset = nothing_armed};

	test_reset_hook(&hook);
	nothing_armed(NULL);
	see(true);
}

#define TF_ON  "pushfq; orq $0x100, (%%rsp); popfq; "
#define TF_OFF "pushfq; andq $~0x100, (%%rsp); popfq; "

TEST(single_step, "", "with TF each instruction but the one that set it traps behind it, with BS")
{
	begin();
	__asm__ volatile("leaq 1f(%%rip), %%rax; movq %%rax, mark(%%rip);" TF_ON
			 "1: nop; nop; inc %%edx;" TF_OFF
			 :
			 :
			 : "rax", "rdx", "cc", "memory");
	ASSERT_EQ(seen_count, 6); /* the popfq that clears TF traps, too */
	EXPECT_EQ(seen[0].frame.vector, TRAP_DB);
	EXPECT_EQ(seen[0].frame.rip, mark + 1);
	EXPECT_EQ(seen[1].frame.rip, mark + 2);
	EXPECT_EQ(seen[2].frame.rip, mark + 4);
	EXPECT_EQ(seen[0].dr6 & (DR6_BS | 0xf), DR6_BS);
	EXPECT_EQ(seen[0].frame.rflags & FLAG_TF, FLAG_TF);
	EXPECT_EQ(seen[0].rflags & FLAG_TF, 0);
}

TEST(single_step_of_rep, "", "a repeated string instruction is stepped by each iteration",
	NEEDS("exact"))
{
	uint8_t *to = arena_alloc(64, 64);
	uint64_t count = 3;

	begin();
	__asm__ volatile(TF_ON "leaq 1f(%%rip), %%rax; 1: rep stosb; 2:" TF_OFF
			 : "+c"(count), "+D"(to)
			 :
			 : "rax", "cc", "memory");
	/* lea, three iterations, pushfq, and, popfq */
	ASSERT_EQ(seen_count, 7);
	EXPECT_EQ(seen[1].frame.rip, seen[0].frame.rip);
	EXPECT_EQ(seen[1].frame.rcx, 2);
	EXPECT_EQ(seen[2].frame.rip, seen[0].frame.rip);
	EXPECT_EQ(seen[2].frame.rcx, 1);
	EXPECT_EQ(seen[3].frame.rip, seen[0].frame.rip + 2);
	EXPECT_EQ(seen[3].frame.rcx, 0);
	EXPECT_EQ(seen[1].dr6 & (DR6_BS | 0xf), DR6_BS);
}

TEST(single_step_and_mov_ss, "", "the trap behind MOV SS is lost, the next instruction's comes",
	NEEDS("exact"))
{
	begin();
	__asm__ volatile("mov %%ss, %%edx; leaq 1f(%%rip), %%rax; movq %%rax, mark(%%rip);" TF_ON
			 "1: mov %%edx, %%ss; nop; 2:" TF_OFF
			 :
			 :
			 : "rax", "rdx", "cc", "memory");
	ASSERT_GE(seen_count, 1);
	EXPECT_EQ(seen[0].frame.rip, mark + 3);
	EXPECT_EQ(seen[0].dr6 & (DR6_BS | 0xf), DR6_BS);
}

TEST(single_step_and_int_n, "", "INT n is not stepped into: its handler is not trapped",
	NEEDS("insn:int3"))
{
	begin();
	__asm__ volatile("leaq 1f(%%rip), %%rax; movq %%rax, mark(%%rip);" TF_ON
			 "1: int3; nop;" TF_OFF
			 :
			 :
			 : "rax", "cc", "memory");
	ASSERT_GE(seen_count, 2);
	EXPECT_EQ(seen[0].frame.vector, TRAP_BP);
	EXPECT_EQ(seen[0].frame.rip, mark + 1);
	EXPECT_EQ(seen[1].frame.vector, TRAP_DB);
	EXPECT_EQ(seen[1].frame.rip, mark + 2);
	EXPECT_EQ(seen[1].dr6 & (DR6_BS | 0xf), DR6_BS);
}

TEST(breakpoint_on_instruction, "",
	"a breakpoint on an instruction faults before it, once: RF lets it through")
{
	uint64_t result = 1;

	begin();
	__asm__ volatile("leaq 1f(%%rip), %%rax; movq %%rax, mark(%%rip); mov %%rax, %%dr0;"
			 "mov %1, %%dr7; nop; 1: add $2, %0; nop; xor %%eax, %%eax;"
			 "or $0x400, %%eax; mov %%rax, %%dr7"
			 : "+r"(result)
			 : "r"(0x402ull)
			 : "rax", "cc", "memory");
	ASSERT_EQ(seen_count, 1);
	EXPECT_EQ(seen[0].frame.vector, TRAP_DB);
	EXPECT_EQ(seen[0].frame.rip, mark);
	EXPECT_EQ(seen[0].dr6 & (DR6_BS | 0xf), 1);
	EXPECT_EQ(result, 3);
}

TEST(breakpoint_saves_rf_clear, "",
	"a breakpoint on an instruction saves RF clear, so that a handler must set it")
{
	begin();
	__asm__ volatile("leaq 1f(%%rip), %%rax; mov %%rax, %%dr2; mov %0, %%dr7; nop; 1: nop; nop;"
			 "mov $0x400, %%eax; mov %%rax, %%dr7"
			 :
			 : "r"(0x420ull)
			 : "rax", "cc", "memory");
	ASSERT_EQ(seen_count, 1);
	EXPECT_EQ(seen[0].frame.rflags & FLAG_RF, 0);
	EXPECT_EQ(seen[0].dr6 & 0xf, 4);
}

TEST(breakpoint_behind_mov_ss, "", "a breakpoint on the instruction behind MOV SS is not met",
	NEEDS("exact"))
{
	begin();
	__asm__ volatile("mov %%ss, %%edx; leaq 1f(%%rip), %%rax; mov %%rax, %%dr0; mov %0, %%dr7;"
			 "nop; mov %%edx, %%ss; 1: nop; nop; mov $0x400, %%eax; mov %%rax, %%dr7"
			 :
			 : "r"(0x402ull)
			 : "rax", "rdx", "cc", "memory");
	EXPECT_EQ(seen_count, 0);
}

TEST(breakpoint_on_write, "", "a breakpoint on writes traps behind a write, and not for a read",
	NEEDS("exact"))
{
	volatile uint64_t *at = arena_alloc(64, 64);
	uint64_t value = 5;

	begin();
	WRITE_DR(1, phys(at));
	WRITE_DR(7, dr7_of(1, ON_WRITE, LENGTH_8));
	__asm__ volatile("mov (%1), %0;" MARK "mov %2, (%1); nop"
			 : "=&r"(value)
			 : "r"(at), "d"(7ull)
			 : "rax", "memory");
	WRITE_DR(7, 0x400);
	ASSERT_EQ(seen_count, 1);
	EXPECT_EQ(seen[0].frame.rip, mark + 3);
	EXPECT_EQ(seen[0].dr6 & (DR6_BS | 0xf), 2);
	EXPECT_EQ(value, 0);
	EXPECT_EQ(*at, 7);
}

TEST(breakpoint_on_access, "",
	"a breakpoint on reads and writes traps for each, and not for a fetch", NEEDS("exact"))
{
	uint8_t *at = arena_alloc(64, 64);

	begin();
	at[0] = 0xc3;
	WRITE_DR(3, phys(at));
	WRITE_DR(7, dr7_of(3, ON_ACCESS, LENGTH_1));
	__asm__ volatile("call *%0" : : "r"(at) : "memory");
	EXPECT_EQ(seen_count, 0);
	__asm__ volatile("movb (%0), %%dl; nop; movb %%dl, (%0); nop"
			 :
			 : "r"(at)
			 : "rdx", "memory");
	WRITE_DR(7, 0x400);
	EXPECT_EQ(seen_count, 2);
	EXPECT_EQ(seen[1].dr6 & 0xf, 8);
}

TEST(breakpoint_lengths, "", "a breakpoint on data covers its length, aligned, and no byte more",
	NEEDS("exact"))
{
	static const uint8_t bytes[] = {
		[LENGTH_1] = 1, [LENGTH_2] = 2, [LENGTH_8] = 8, [LENGTH_4] = 4};
	uint8_t *at = arena_alloc(64, 64);

	begin();
	for (unsigned length = 0; length < 4; length++) {
		WRITE_DR(0, phys(at) + 16);
		WRITE_DR(7, dr7_of(0, ON_WRITE, length));
		for (unsigned off = 8; off < 32; off++) {
			bool meets = off >= 16 && off < 16u + bytes[length];

			seen_count = 0;
			mmio_write8(at + off, 1);
			__asm__ volatile("nop");
			if (seen_count != meets)
				note("length %u, byte %u", bytes[length], off - 16);
			EXPECT_EQ(seen_count, meets);
		}
		/* One that begins before and ends within. */
		seen_count = 0;
		mmio_write32(at + 13, 1);
		__asm__ volatile("nop");
		EXPECT_EQ(seen_count, 1);
	}
}

TEST(breakpoints_together, "",
	"two breakpoints met by one instruction are both in DR6, in one trap", NEEDS("exact"))
{
	uint8_t *at = arena_alloc(64, 64);

	begin();
	WRITE_DR(0, phys(at));
	WRITE_DR(2, phys(at) + 2);
	WRITE_DR(7, dr7_of(0, ON_WRITE, LENGTH_1) | dr7_of(2, ON_ACCESS, LENGTH_2));
	mmio_write32(at, 0);
	__asm__ volatile("nop");
	WRITE_DR(7, 0x400);
	EXPECT_EQ(seen_count, 1);
	EXPECT_EQ(seen[0].dr6 & 0xf, 5);
}

TEST(breakpoint_and_step, "",
	"a breakpoint on data and a single step are one trap with both in DR6", NEEDS("exact"))
{
	uint8_t *at = arena_alloc(64, 64);

	begin();
	WRITE_DR(1, phys(at));
	WRITE_DR(7, dr7_of(1, ON_WRITE, LENGTH_1));
	__asm__ volatile(TF_ON "movb $1, (%0);" TF_OFF : : "r"(at) : "cc", "memory");
	WRITE_DR(7, 0x400);
	ASSERT_GE(seen_count, 1);
	EXPECT_EQ(seen[0].dr6 & (DR6_BS | 0xf), DR6_BS | 2);
	EXPECT_EQ(seen[1].dr6 & DR6_BS, DR6_BS);
}

TEST(breakpoint_not_enabled, "", "a breakpoint that DR7 does not enable is never met",
	NEEDS("exact"))
{
	uint8_t *at = arena_alloc(64, 64);

	begin();
	WRITE_DR(0, phys(at));
	WRITE_DR(7, dr7_of(0, ON_WRITE, LENGTH_1) & ~3ull);
	mmio_write8(at, 1);
	__asm__ volatile("nop");
	EXPECT_EQ(seen_count, 0);
	WRITE_DR(7, (dr7_of(0, ON_WRITE, LENGTH_1) & ~3ull) | 1); /* L0 */
	mmio_write8(at, 1);
	__asm__ volatile("nop");
	EXPECT_EQ(seen_count, 1);
}

TEST(breakpoint_in_rep, "",
	"a breakpoint on data stops a repeated instruction behind that iteration", NEEDS("exact"))
{
	uint8_t *at = arena_alloc(64, 64);
	void *to = at;
	uint64_t count = 8;

	begin();
	WRITE_DR(0, phys(at) + 3);
	WRITE_DR(7, dr7_of(0, ON_WRITE, LENGTH_1));
	__asm__ volatile(MARK "rep stosb; nop" : "+c"(count), "+D"(to) : : "rax", "memory");
	WRITE_DR(7, 0x400);
	EXPECT_EQ(seen_count, 1);
	EXPECT_EQ(seen[0].frame.rip, mark);
	EXPECT_EQ(seen[0].frame.rcx, 4);
	EXPECT_EQ(seen[0].dr6 & 0xf, 1);
	EXPECT_EQ(count, 0);
}

/* Stores the index into 64 places, over and over. */
static __attribute__((noinline)) void store_round(uint64_t *at, uint64_t rounds)
{
	__asm__ volatile("1: xor %%ecx, %%ecx;"
			 "2: mov %%rcx, (%0, %%rcx, 8); inc %%rcx; cmp $64, %%rcx; jne 2b;"
			 "dec %1; jnz 1b"
			 : "+r"(at), "+r"(rounds)
			 :
			 : "rcx", "cc", "memory");
}

TEST(breakpoint_in_a_hot_loop, "",
	"breakpoints are met in code that ran ten thousand times before they were armed",
	NEEDS("exact"))
{
	uint64_t *at = arena_alloc(512, 64);

	begin();
	store_round(at, 10000);
	EXPECT_EQ(seen_count, 0);
	WRITE_DR(0, phys(&at[40]));
	WRITE_DR(7, dr7_of(0, ON_WRITE, LENGTH_8));
	store_round(at, 3);
	WRITE_DR(7, 0x400);
	EXPECT_EQ(seen_count, 3);
	EXPECT_EQ(seen[2].frame.rcx, 40); /* behind the store, before the increment */
	store_round(at, 100);
	EXPECT_EQ(seen_count, 3);
	WRITE_DR(1, seen[0].frame.rip + 9); /* behind inc, cmp and jne: once a round */
	WRITE_DR(7, dr7_of(1, ON_EXECUTE, LENGTH_1));
	seen_count = 0;
	store_round(at, 5);
	WRITE_DR(7, 0x400);
	EXPECT_EQ(seen_count, 5);
	EXPECT_EQ(seen[4].frame.rip, seen[0].frame.rip);
	EXPECT_EQ(seen[4].frame.rcx, 64);
}

TEST(breakpoint_on_port, "", "with CR4.DE a breakpoint on a port traps behind IN and OUT",
	NEEDS("exact"))
{
	begin();
	write_cr4(read_cr4() | CR4_DE);
	WRITE_DR(0, 0x80);
	WRITE_DR(7, dr7_of(0, ON_PORT, LENGTH_1));
	__asm__ volatile(MARK "outb %%al, $0x80; nop; inb $0x80, %%al; nop; inb $0x84, %%al; nop"
			 :
			 :
			 : "rax", "memory");
	WRITE_DR(7, 0x400);
	EXPECT_EQ(seen_count, 2);
	EXPECT_EQ(seen[0].frame.rip, mark + 2);
	EXPECT_EQ(seen[1].frame.rip, mark + 5);
	EXPECT_EQ(seen[0].dr6 & 0xf, 1);
}

TEST(mov_ss_holds_a_breakpoint_back, "",
	"what MOV SS meets by reading its operand is trapped behind the next instruction",
	NEEDS("exact"))
{
	uint16_t *at = arena_alloc(64, 64);

	begin();
	*at = SEL_DATA;
	WRITE_DR(0, phys(at));
	WRITE_DR(7, dr7_of(0, ON_ACCESS, LENGTH_2));
	__asm__ volatile(MARK "mov (%0), %%ss; nop; nop" : : "d"(at) : "rax", "memory");
	WRITE_DR(7, 0x400);
	ASSERT_EQ(seen_count, 1);
	EXPECT_EQ(seen[0].frame.rip, mark + 3);
	EXPECT_EQ(seen[0].dr6 & 0xf, 1);
}

TEST(general_detect, "",
	"with DR7.GD a MOV of a debug register faults with BD, and GD is clear in the handler")
{
	begin();
	WRITE_DR(7, 0x400 | DR7_GD);
	__asm__ volatile(MARK "mov %%dr3, %%rdx" : : : "rax", "rdx", "memory");
	ASSERT_EQ(seen_count, 1); /* not by the handler's own, and not again: GD is clear */
	EXPECT_EQ(seen[0].frame.vector, TRAP_DB);
	EXPECT_EQ(seen[0].frame.rip, mark);
	EXPECT_EQ(seen[0].dr6 & DR6_BD, DR6_BD);
	EXPECT_EQ(READ_DR(7), 0x400);
}

TEST(dr4_and_dr5, "", "DR4 and DR5 are DR6 and DR7 without CR4.DE, and #UD with it")
{
	begin();
	WRITE_DR(7, 0x400);
	__asm__ volatile("mov %0, %%dr5" : : "r"(0x401ull));
	EXPECT_EQ(READ_DR(7), 0x401);
	EXPECT_EQ(READ_DR(4), READ_DR(6));
	write_cr4(read_cr4() | CR4_DE);
	EXPECT_FAULT(TRAP_UD, 0, __asm__ volatile(MARK "mov %%dr4, %%rdx" : : : "rax", "rdx"));
	EXPECT_FAULT(TRAP_UD, 0,
		__asm__ volatile(MARK "mov %%rdx, %%dr5"
				 :
				 : "d"(0x400ull)
				 : "rax"));
}

TEST(debug_register_bits, "",
	"fixed bits of DR6 and DR7 stay, their upper halves are #GP, DR0 keeps 64 bits")
{
	begin();
	WRITE_DR(0, 0x123456789abcdef0);
	EXPECT_EQ(READ_DR(0), 0x123456789abcdef0);
	WRITE_DR(6, 0);
	EXPECT_EQ(READ_DR(6) & 0xffff1ff0, 0xffff0ff0);
	WRITE_DR(7, 0);
	EXPECT_EQ(READ_DR(7), 0x400);
	EXPECT_FAULT(TRAP_GP, 0,
		__asm__ volatile(MARK "mov %%rdx, %%dr6"
				 :
				 : "d"(1ull << 32)
				 : "rax"));
	EXPECT_FAULT(TRAP_GP, 0,
		__asm__ volatile(MARK "mov %%rdx, %%dr7"
				 :
				 : "d"(1ull << 63)
				 : "rax"));
}

/* --- interrupts held back --- */

TEST(sti_shadow, "", "an interrupt that waits is taken behind the instruction that follows STI",
	NEEDS("exact"))
{
	unsigned vector = irq_vector();
	uint64_t before = 0, after = 0;

	irq_disable();
	lapic_self_ipi(vector);
	ASSERT_TRUE(WAIT_UNTIL(lapic_requested(vector), SOON_US));
	__asm__ volatile("sti; mov (%2), %k0; nop; mov (%2), %k1"
			 : "=&r"(before), "=&r"(after)
			 : "r"(&irq_counts[vector])
			 : "memory");
	EXPECT_EQ((uint32_t)before, 0);
	EXPECT_EQ((uint32_t)after, 1);
}

TEST(popf_has_no_shadow, "", "an interrupt that waits is taken right behind POPF that sets IF",
	NEEDS("exact"))
{
	unsigned vector = irq_vector();
	uint64_t count = 0;

	irq_disable();
	lapic_self_ipi(vector);
	ASSERT_TRUE(WAIT_UNTIL(lapic_requested(vector), SOON_US));
	__asm__ volatile("pushfq; orq $0x200, (%%rsp); popfq; mov (%1), %k0"
			 : "=&r"(count)
			 : "r"(&irq_counts[vector])
			 : "memory", "cc");
	EXPECT_EQ((uint32_t)count, 1);
}

static volatile unsigned nmis, nmis_inside;

static bool take_nmi(struct trap_frame *frame)
{
	if (frame->vector != TRAP_NMI)
		return false;
	if (++nmis == 1) {
		lapic_write(LAPIC_ICR_LOW, 0x40400); /* another, to this processor */
		for (unsigned i = 0; i < 200; i++)
			lapic_read(LAPIC_VERSION);
		nmis_inside = nmis;
	}
	return true;
}

TEST(nmi_waits_for_iret, "", "an NMI in the handler of an NMI comes behind its IRET, once")
{
	nmis = nmis_inside = 0;
	trap_hook(take_nmi);
	lapic_write(LAPIC_ICR_LOW, 0x40400);
	WAIT_UNTIL(nmis >= 2, SOON_US);
	EXPECT_EQ(nmis_inside, 1);
	EXPECT_EQ(nmis, 2);
}

static bool fault_inside(struct trap_frame *frame)
{
	if (frame->vector == TRAP_UD) {
		frame->rip += 2;
		return true;
	}
	if (frame->vector != TRAP_NMI)
		return false;
	if (++nmis == 1) {
		lapic_write(LAPIC_ICR_LOW, 0x40400);
		__asm__ volatile("ud2" : : : "memory");
		for (unsigned i = 0; i < 200 && nmis == 1; i++)
			lapic_read(LAPIC_VERSION);
		nmis_inside = nmis;
	}
	return true;
}

TEST(nmi_let_in_by_any_iret, "",
	"the IRET of an exception within the handler of an NMI lets the next NMI in",
	NEEDS("exact"))
{
	struct gate *gates = own_idt(4095);

	gates[TRAP_NMI].ist = 0; /* they nest */
	nmis = nmis_inside = 0;
	trap_hook(fault_inside);
	lapic_write(LAPIC_ICR_LOW, 0x40400);
	WAIT_UNTIL(nmis >= 2, SOON_US);
	EXPECT_EQ(nmis, 2);
	EXPECT_EQ(nmis_inside, 2);
}
