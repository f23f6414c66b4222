/* SPDX-License-Identifier: MIT */
/*
 * Kernel guest32: what a 32-bit guest needs of its processor. Here is what is claimed; the bodies
 * run outside of long mode and are in 32/.
 */
#include "runtime/stage32.h"

STAGED(enters_and_leaves, "the stage is entered in 32-bit protected mode and left again")
STAGED(frame_without_error,
	"an exception within a privilege pushes EFLAGS, CS and EIP of the instruction, RF set")
STAGED(frame_with_error, "the error code of a bad selector is pushed below EIP")
STAGED(frame_from_user, "from CPL 3 the stack is the TSS's, with SS and ESP saved on it")
STAGED(int_gate_clears_if,
	"an interrupt gate clears IF, a trap gate keeps it; both clear NT and TF; IRET restores")
STAGED(int_checks_the_gate,
	"INT n, INT3 and INTO at CPL 3 need a gate of DPL 3, else #GP(vector * 8 + 2)")
STAGED(bad_gates,
	"gates that are absent, of a wrong type, or lead nowhere fault with their error codes")
STAGED(external_bit, "a fault in delivering an exception has EXT in its error code")
STAGED(sixteen_bit_gate, "a 16-bit gate pushes words and takes 16 bits of the offset")
STAGED(double_fault_by_task,
	"a double fault switches to the task of its gate, with the old state in the old TSS")
STAGED(benign_then_contributory,
	"#NP while #UD is delivered is #NP, while #DE is delivered a double fault")
STAGED(alignment_check, "#AC(0) comes at CPL 3 with CR0.AM and EFLAGS.AC, and not without")
STAGED(privileged_instructions, "privileged instructions at CPL 3 are #GP(0)")
STAGED(iopl_at_user, "POPF at CPL 3 changes IF by IOPL and never IOPL; CLI and STI need IOPL")
STAGED(io_bitmap, "at CPL 3 above IOPL a port needs its bits in the TSS's bitmap, within the limit")
STAGED(sysenter_32,
	"SYSENTER goes to the flat segments and addresses of its MSRs, and is #GP(0) without")
STAGED(sysexit_32, "SYSEXIT goes to CPL 3 with the selectors behind SYSENTER_CS")
STAGED(single_step, "TF traps behind the instruction after POPF")
STAGED(limit_of_data, "an access over a data segment's limit is #GP(0), with any part of it")
STAGED(expand_down,
	"an expand-down segment begins above its limit and ends at 4 GiB or 64 KiB by B")
STAGED(rights_of_types,
	"writes to read-only and code segments are #GP(0), loads of wrong types #GP(selector)")
STAGED(null_segment, "a null selector can be loaded but not used; SS never")
STAGED(load_errors,
	"segment loads fault with #GP, #NP, #SS and the selector, and leave the register")
STAGED(accessed_bit,
	"loading sets the accessed bit, LAR does not; a loaded segment is not read again")
STAGED(stack_faults, "over the limit by SS is #SS(0)")
STAGED(stack_16_bits, "with SS.B clear the stack pointer is SP, and wraps")
STAGED(code_limit, "an instruction over the code segment's limit, or a jump beyond it, is #GP(0)")
STAGED(local_table, "selectors with TI are the LDT's, entry 0 too; LLDT checks what it loads")
STAGED(lar_of_types,
	"LAR knows the valid types and gives their rights, else ZF is clear and nothing changes")
STAGED(lsl_of_types, "LSL knows the valid types and gives the limit in bytes")
STAGED(verr_and_verw, "VERR and VERW answer by type and privilege")
STAGED(arpl, "ARPL raises RPL to the operand's and says so in ZF")
STAGED(far_pointers, "LES, LFS, LGS, LDS load the pair, or fault and load nothing")
STAGED(decimal_adjust, "DAA and DAS adjust as the SDM's operation says")
STAGED(ascii_adjust, "AAA, AAS, AAM and AAD adjust as the SDM's operation says; AAM 0 is #DE")
STAGED(bound_and_into, "BOUND faults outside of its range, INTO traps with OF")
STAGED(push_and_pop_all, "PUSHA pushes eight registers with the old ESP, POPA skips ESP")
STAGED(short_forms, "the one-byte forms that 64-bit mode does not have work")
STAGED(prefixes, "operand and address prefixes make 16-bit operands and addresses")
STAGED(enter_nests, "ENTER with a level copies the display")
STAGED(no_long_mode_instructions, "SYSCALL without SCE and SWAPGS are #UD")
