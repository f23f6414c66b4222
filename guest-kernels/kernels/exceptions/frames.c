/* SPDX-License-Identifier: MIT */
/*
 * Kernel exceptions, delivery (Intel SDM volume 3, 6.8 to 6.14): what is saved where, gates and
 * their checks, stacks, faults of a delivery and what two make.
 */
#include "kernels/exceptions/exceptions.h"
#include "runtime/memory.h"
#include "runtime/paging.h"
#include "runtime/user.h"

#define UD2    __asm__ volatile(MARK "ud2" : : : "rax", "memory")
#define DIVIDE __asm__ volatile(MARK "div %%ecx" : : "c"(0), "d"(0) : "rax", "cc", "memory")

TEST(fault_saves_its_instruction, "",
	"a fault saves RIP of its instruction, CS, SS, RSP, the flags as they were, and RF set")
{
	uint64_t flags = 0, rsp = 0;

	see(false);
	EXPECT_TRAP(TRAP_DE,
		__asm__ volatile("movq %%rsp, %1; stc; std; pushfq; popq %0; " MARK "div %%ecx; cld"
				 : "=m"(flags), "=m"(rsp)
				 : "c"(0), "d"(0)
				 : "rax", "cc", "memory"));
	__asm__ volatile("cld");
	EXPECT_EQ(seen[0].frame.rip, mark);
	EXPECT_EQ(seen[0].frame.cs, SEL_CODE);
	EXPECT_EQ(seen[0].frame.ss, SEL_DATA);
	EXPECT_EQ(seen[0].frame.rsp, rsp);
	EXPECT_EQ(flags & 0x401, 0x401);
	EXPECT_EQ(seen[0].frame.rflags, flags | FLAG_RF);
}

TEST(trap_saves_what_follows, "", "INT3 saves RIP behind it, and RF clear", NEEDS("insn:int3"))
{
	see(false);
	EXPECT_TRAP(TRAP_BP, __asm__ volatile(MARK "int3" : : : "rax", "memory"));
	EXPECT_EQ(seen[0].frame.rip, mark + 1);
	EXPECT_EQ(seen[0].frame.rflags & FLAG_RF, 0);
}

TEST(int_n_arrives, "", "INT n comes through gate n with RIP behind it", NEEDS("insn:int"))
{
	see(false);
	EXPECT_TRAP(15, __asm__ volatile(MARK "int $15" : : : "rax", "memory"));
	EXPECT_EQ(seen[0].frame.rip, mark + 2);
	EXPECT_EQ(seen[0].frame.rflags & FLAG_RF, 0);
}

TEST(int_n_pushes_no_error_code, "",
	"INT 13 pushes no error code, although the exception of that vector does",
	NEEDS("insn:int"))
{
	see(false);
	/* Its frame is a word short, and what comes back is written one further: room for that. */
	EXPECT_TRAP(13, __asm__ volatile("sub $128, %%rsp; " MARK "int $13; add $128, %%rsp"
					 :
					 :
					 : "rax", "memory"));
	EXPECT_EQ(seen[0].frame.error, mark + 2);
	EXPECT_EQ(seen[0].frame.rip, SEL_CODE);
}

TEST(frame_is_aligned, "",
	"in 64-bit mode the frame begins at a multiple of 16 below RSP, and RSP is saved as it was")
{
	for (unsigned off = 0; off < 16; off++) {
		see(false);
		EXPECT_TRAP(TRAP_UD, __asm__ volatile("sub %0, %%rsp; movq %%rsp, mark(%%rip); ud2"
						      :
						      : "r"((uint64_t)(64 + off))
						      : "memory"));
		EXPECT_EQ(seen[0].frame.rsp, mark);
		EXPECT_EQ(seen[0].at, mark & ~15ull);
	}
}

TEST(error_code_takes_a_word, "", "with an error code the frame has six words, aligned as well")
{
	uint64_t rsp = 0;

	see(false);
	EXPECT_TRAP(TRAP_GP, __asm__ volatile("mov %%rsp, %0; mov %w1, %%es"
					      : "=m"(rsp)
					      : "r"(0x1230)
					      : "memory"));
	EXPECT_EQ(seen[0].frame.error, 0x1230);
	EXPECT_EQ(seen[0].frame.cs, SEL_CODE);
	EXPECT_EQ(seen[0].at, rsp & ~15ull);
}

TEST(ist_is_used, "", "a gate with IST n switches to that stack at the same level, for each n")
{
	struct gate *gates = own_idt(4095);

	own_descriptors(); /* for the hook that clears what is set here */
	for (unsigned n = 2; n <= 7; n++) {
		uint8_t *stack = arena_alloc(4096, 4096);

		ist_set(n, phys(stack) + 4096 - 8);
		gates[TRAP_UD].ist = n;
		EXPECT_TRAP(TRAP_UD, ({
			see(false);
			UD2;
		}));
		EXPECT_EQ(seen[0].at, phys(stack) + 4096 - 16);
		EXPECT_EQ(seen[0].frame.ss, SEL_DATA);
	}
}

static uint64_t do_ud(void *arg)
{
	UD2;
	return 0;
}

TEST(inner_stack_comes_from_the_tss, "",
	"from CPL 3 the frame stands at RSP0, SS is null in the handler and saved as it was")
{
	uint64_t rsp0;

	EXPECT_TRAP(TRAP_UD, ({
		see(false);
		user_call(do_ud, NULL);
	}));
	memcpy(&rsp0, tss + 4, 8);
	EXPECT_EQ(seen[0].at, rsp0);
	EXPECT_EQ(seen[0].ss, 0);
	EXPECT_EQ(seen[0].frame.ss, SEL_USER_DATA);
	EXPECT_EQ(seen[0].frame.cs, SEL_USER_CODE);
	EXPECT_EQ(seen[0].frame.rip, mark);
}

TEST(gates_and_the_flags, "",
	"an interrupt gate clears IF, a trap gate keeps it; TF, NT and RF are clear in both")
{
	struct gate *gates = own_idt(4095);

	for (unsigned trap = 0; trap < 2; trap++) {
		gates[TRAP_UD].type = trap ? GATE_TRAP : GATE_INTERRUPT;
		see(false);
		EXPECT_TRAP(
			TRAP_UD, __asm__ volatile("sti; pushfq; orq $0x4000, (%%rsp); popfq; ud2"
						  :
						  :
						  : "memory", "cc"));
		EXPECT_EQ(seen[0].frame.rflags & FLAG_NT, FLAG_NT);
		EXPECT_EQ(seen[0].rflags & (FLAG_IF | FLAG_NT | FLAG_TF | FLAG_RF),
			trap ? FLAG_IF : 0);
	}
}

static uint64_t do_int_9(void *arg)
{
	__asm__ volatile(MARK "int $9" : : : "rax", "memory");
	return 0;
}

TEST(int_n_needs_the_gates_privilege, "",
	"INT n at CPL 3 through a gate of DPL 0 is #GP with n * 8 + 2; with DPL 3 it goes through",
	NEEDS("insn:int"))
{
	struct gate *gates = own_idt(4095);

	EXPECT_FAULT(TRAP_GP, 9 * 8 + 2, user_call(do_int_9, NULL));
	gates[9].type = GATE_INTERRUPT | GATE_DPL3;
	see(false);
	EXPECT_TRAP(9, user_call(do_int_9, NULL));
	EXPECT_EQ(seen[0].frame.rip, mark + 2);
	EXPECT_EQ(seen[0].frame.cs, SEL_USER_CODE);
}

TEST(exceptions_ask_no_privilege, "", "an exception at CPL 3 goes through a gate of DPL 0")
{
	EXPECT_FAULT(TRAP_UD, 0, user_call(do_ud, NULL));
}

TEST(gate_not_present, "",
	"an exception through a gate that is not present is #NP with its vector, IDT and EXT set",
	NEEDS("exact"))
{
	struct gate *gates = own_idt(4095);

	gates[TRAP_UD].type = GATE_INTERRUPT & 0x7f;
	EXPECT_FAULT(TRAP_NP, TRAP_UD * 8 + 3, UD2);
}

TEST(int_n_gate_not_present, "",
	"INT n through a gate that is not present is #NP with its vector and IDT, EXT clear",
	NEEDS("insn:int"))
{
	struct gate *gates = own_idt(4095);

	gates[9].type = GATE_INTERRUPT & 0x7f;
	EXPECT_FAULT(TRAP_NP, 9 * 8 + 2, do_int_9(NULL));
}

TEST(gate_of_a_wrong_type, "",
	"a gate that is neither interrupt nor trap gate of 64 bits is #GP with its vector",
	NEEDS("exact"))
{
	static const uint8_t types[] = {0x80, 0x82, 0x85, 0x86, 0x87, 0x89, 0x8b, 0x8c, 0x9e};
	struct gate *gates = own_idt(4095);

	for (unsigned i = 0; i < sizeof(types); i++) {
		gates[TRAP_UD].type = types[i];
		EXPECT_FAULT(TRAP_GP, TRAP_UD * 8 + 3, UD2);
	}
}

TEST(vector_beyond_the_idt, "", "a vector beyond the IDT's limit is #GP with that vector",
	NEEDS("insn:int"))
{
	own_idt(20 * 16 + 14);
	EXPECT_FAULT(TRAP_GP, 20 * 8 + 2, __asm__ volatile(MARK "int $20" : : : "rax", "memory"));
	own_idt(20 * 16 + 15);
	see(false);
	EXPECT_TRAP(20, __asm__ volatile(MARK "int $20" : : : "rax", "memory"));
}

TEST(handler_selector, "",
	"a gate's selector that is null, of data, of 32-bit code, or not present is #GP or #NP",
	NEEDS("exact"))
{
	struct gate *gates = own_idt(4095);
	uint64_t *own = own_descriptors();
	static const struct {
		uint64_t descriptor;
		uint16_t selector;
		uint8_t vector;
		uint16_t error;
	} cases[] = {
		{0, 0, TRAP_GP, 1},
		{0, 3, TRAP_GP, 1},
		{0, 0x2000, TRAP_GP, 0x2001},
		{DESCRIPTOR_DATA, SEL_OWN, TRAP_GP, SEL_OWN + 1},
		{0x00cf9b000000ffff, SEL_OWN, TRAP_GP, SEL_OWN + 1},
		{0x00ef9b000000ffff, SEL_OWN, TRAP_GP, SEL_OWN + 1},
		{DESCRIPTOR_CODE | 3ull << 45, SEL_OWN, TRAP_GP, SEL_OWN + 1},
		{DESCRIPTOR_CODE & ~(1ull << 47), SEL_OWN, TRAP_NP, SEL_OWN + 1},
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		own[0] = cases[i].descriptor;
		gates[TRAP_UD].selector = cases[i].selector;
		EXPECT_FAULT(cases[i].vector, cases[i].error, UD2);
	}
}

TEST(handler_not_canonical, "", "a gate whose offset is not canonical is #GP with EXT",
	NEEDS("exact"))
{
	struct gate *gates = own_idt(4095);

	gates[TRAP_UD].high = 0x8000;
	EXPECT_FAULT(TRAP_GP, 1, UD2);
}

TEST(ist_not_canonical, "", "an IST pointer that is not canonical is #SS with EXT", NEEDS("exact"))
{
	struct gate *gates = own_idt(4095);

	own_descriptors();
	ist_set(3, 0x800000000000);
	gates[TRAP_UD].ist = 3;
	EXPECT_FAULT(TRAP_SS, 1, UD2);
}

/* --- two at once (table 6-5) --- */

TEST(double_fault_contributory, "",
	"a contributory fault in the delivery of a contributory one is #DF with error code 0")
{
	struct gate *gates = own_idt(4095);

	gates[TRAP_DE].type = 0;
	see(false);
	EXPECT_TRAP(TRAP_DF, DIVIDE);
	EXPECT_EQ(seen[0].frame.error, 0);
	gates[TRAP_GP].type &= 0x7f;
	see(false);
	EXPECT_TRAP(TRAP_DF, mmio_read8((void *)0x8000000000000000ull));
	EXPECT_EQ(seen[0].frame.error, 0);
}

TEST(double_fault_page, "",
	"a contributory fault or a page fault in the delivery of a page fault is #DF",
	NEEDS("exact"))
{
	struct gate *gates = own_idt(4095);

	own_descriptors();
	gates[TRAP_PF].type &= 0x7f;
	see(false);
	EXPECT_TRAP(TRAP_DF, mmio_read8((void *)(PAGING_WINDOW + 0x5678)));
	EXPECT_EQ(seen[0].cr2, PAGING_WINDOW + 0x5678);
	gates[TRAP_PF].type |= 0x80;
	gates[TRAP_PF].ist = 2;
	ist_set(2, PAGING_WINDOW + 0x100000);
	see(false);
	EXPECT_TRAP(TRAP_DF, mmio_read8((void *)(PAGING_WINDOW + 0x5678)));
	EXPECT_EQ(seen[0].cr2, PAGING_WINDOW + 0xffff8);
}

TEST(serial_benign, "", "a fault in the delivery of a benign exception is delivered in its place",
	NEEDS("exact"))
{
	struct gate *gates = own_idt(4095);

	own_descriptors();
	gates[TRAP_UD].ist = 2;
	ist_set(2, PAGING_WINDOW + 0x100000);
	see(false);
	EXPECT_TRAP(TRAP_PF, UD2);
	EXPECT_EQ(seen[0].frame.error, 2);
	EXPECT_EQ(seen[0].cr2, PAGING_WINDOW + 0xffff8);
	EXPECT_EQ(seen[0].frame.rip, mark);
}

TEST(serial_page_fault, "",
	"a page fault in the delivery of a contributory exception is delivered in its place",
	NEEDS("exact"))
{
	struct gate *gates = own_idt(4095);

	own_descriptors();
	gates[TRAP_DE].ist = 2;
	ist_set(2, PAGING_WINDOW + 0x100000);
	see(false);
	EXPECT_TRAP(TRAP_PF, DIVIDE);
	EXPECT_EQ(seen[0].frame.error, 2);
	EXPECT_EQ(seen[0].frame.rip, mark);
}

TEST(nothing_changes_by_a_failed_delivery, "",
	"a delivery that faults leaves RSP, RFLAGS and SS as the instruction had them",
	NEEDS("exact"))
{
	struct gate *gates = own_idt(4095);
	uint64_t rsp = 0;

	own_descriptors();
	gates[TRAP_UD].ist = 2;
	ist_set(2, PAGING_WINDOW + 0x100000);
	see(false);
	EXPECT_TRAP(TRAP_PF, __asm__ volatile("sti; mov %%rsp, %0; " MARK "ud2"
					      : "=m"(rsp)
					      :
					      : "rax", "memory"));
	EXPECT_EQ(seen[0].frame.rsp, rsp);
	EXPECT_EQ(seen[0].frame.ss, SEL_DATA);
	EXPECT_EQ(seen[0].frame.rflags & FLAG_IF, FLAG_IF);
}
