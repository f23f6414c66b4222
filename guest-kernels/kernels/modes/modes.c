/* SPDX-License-Identifier: MIT */
/*
 * Kernel modes: real mode, 16-bit and virtual-8086 mode, and the same bytes in all of them. What
 * leaves 64-bit mode is in 32/.
 */
#include "runtime/memory.h"
#include "runtime/stage32.h"

STAGED(real_state, "in real mode PE is clear, operands, addresses and the stack have 16 bits")
STAGED(real_segments, "in real mode a segment's base is 16 times its selector")
STAGED(real_interrupt, "INT n in real mode takes its vector from the table, pushes 6 bytes, clears "
		       "IF; IRET undoes")
STAGED(real_exceptions, "exceptions in real mode push no error code")
STAGED(real_limits, "an access over FFFF in real mode is exception 13, or 12 by SS")
STAGED(real_has_no_descriptors, "LLDT, STR, LAR and ARPL are #UD in real mode")
STAGED(real_stack_wraps, "the stack pointer goes round at 64 KiB")
STAGED(real_strings_wrap, "a string with 16-bit addresses goes round at 64 KiB")
STAGED(real_far_calls, "far calls in real mode push four bytes, or eight with a 32-bit operand")
STAGED(unreal_mode, "a limit loaded in protected mode stays in real mode, and over loads there")
STAGED(real_table_bases, "LGDT with a 16-bit operand takes 24 bits of the base")
STAGED(lmsw_sets_only, "LMSW sets PE and cannot clear it, MOV CR0 can")
STAGED(jumps_wrap, "a near jump of 16 bits goes round at 64 KiB")
STAGED(code_does_not_wrap, "code that runs over FFFF in real mode is exception 13")
STAGED(protected_16, "in 16-bit protected mode operands, addresses and the stack have 16 bits")
STAGED(protected_16_faults, "faults of 16-bit code go through 32-bit gates with all of EIP")
STAGED(a20_gate, "with A20 off by port 92h bit 20 of each address is 0")
STAGED(real_above_1m, "in real mode FFF0:0600 is memory above 1 MiB while A20 is on")
STAGED(long_mode_activation,
	"LMA is set by paging with LME and PAE, and cleared with it; wrong orders are #GP(0)")
STAGED(v86_enters_and_leaves,
	"IRET enters virtual-8086 mode, a trap leaves it with all segments saved and nulled")
STAGED(v86_iopl_0, "with IOPL below 3 CLI, STI, PUSHF, POPF, INT n and IRET are #GP(0) there")
STAGED(v86_iopl_3, "with IOPL 3 they work, and IOPL and VM stay")
STAGED(v86_interrupts, "INT n there goes to CPL 0 through a gate of DPL 3, else #GP")
STAGED(v86_is_level_3, "privileged instructions there are #GP(0)")
STAGED(v86_has_no_descriptors, "LLDT, LTR, LAR and ARPL are #UD there")
STAGED(v86_limits, "segments there end at FFFF; far returns load as in real mode")
STAGED(v86_ports, "ports there are allowed by the bitmap alone")
STAGED(v86_extensions,
	"with CR4.VME interrupts are held by VIF, and CPUID says whether there is such a bit")

#define BYTES 0x5f800ul

static uint32_t call_bytes(void)
{
	uint32_t (*volatile code)(void) = (void *)BYTES;

	return code();
}

TEST(same_bytes, "",
	"the same bytes are other instructions in 64-, 32- and 16-bit code, again and again",
	NEEDS("insn:iret32"))
{
	static const uint8_t bytes[] = {0x31, 0xc0, 0x40, 0x90, 0x05, 1, 0, 0, 0, 0xc3};

	memcpy((void *)BYTES, bytes, sizeof(bytes));
	EXPECT_EQ(call_bytes(), 1);
	stage32_run("same_bytes");
	EXPECT_EQ(call_bytes(), 3);
	memcpy((void *)BYTES, bytes, sizeof(bytes));
	EXPECT_EQ(call_bytes(), 1);
	stage32_run("same_bytes");
}
