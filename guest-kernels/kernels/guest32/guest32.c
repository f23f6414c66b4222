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
STAGED(gate_copies_parameters,
	"a call through a gate changes the stack, copies the parameters, and RET n releases both")
STAGED(gate_of_16_bits, "a 16-bit call gate pushes and copies words")
STAGED(gate_checks, "gates and their targets are checked: #GP and #NP with the selector at fault")
STAGED(gate_within_a_level,
	"a gate to the same level copies nothing and ignores the offset of the call")
STAGED(conforming_code,
	"conforming code runs at the caller's level; other inner code cannot be called")
STAGED(far_return_outward,
	"a far return outward nulls inner data segments and releases on both stacks")
STAGED(returns_are_checked, "RET and IRET do not go inward, and check selectors and stacks")
STAGED(stacks_of_the_tss,
	"an inner stack that does not fit is #TS with its selector, one that is absent #SS")
STAGED(task_by_jump, "JMP to a TSS saves and loads all registers, moves the busy bit, sets CR0.TS")
STAGED(task_by_call, "CALL to a TSS sets link and NT, IRET goes back and clears both")
STAGED(task_by_gates, "task gates in GDT and IDT switch tasks")
STAGED(task_gets_error_code,
	"an exception through a task gate pushes its error code on the new stack")
STAGED(task_switch_checks,
	"busy, short and absent TSSes, and bad links, are refused with #GP, #TS, #NP")
STAGED(invalid_tasks, "bad segments in a new TSS are #TS, #NP, #SS of the new task")
STAGED(task_trap_bit, "the T bit of a TSS is #DB before the new task's first instruction")
STAGED(task_in_v86, "a TSS with VM in EFLAGS starts a task in virtual-8086 mode")
STAGED(pages_of_4k, "32-bit paging translates, faults with the right code and CR2, marks A and D")
STAGED(rights_32, "U and W of both levels and CR0.WP decide")
STAGED(pages_of_4m, "4-MiB pages have rights, A and D, and a reserved bit")
STAGED(no_pse_no_4m, "without CR4.PSE there are no 4-MiB pages")
STAGED(pae_translates, "PAE paging translates with four pointers and marks A and D below them")
STAGED(pae_pointers_are_loaded, "the pointers are those that MOV CR3 read, not those in memory")
STAGED(pae_reserved_bits, "reserved bits are #GP in a pointer, #PF with RSVD in an entry")
STAGED(pae_no_execute, "NX at either level of PAE paging is a fault of the fetch")
STAGED(pae_switched_while_paging,
	"MOV CR4 that turns PAE on reads the pointers and is #GP with reserved bits in them")
