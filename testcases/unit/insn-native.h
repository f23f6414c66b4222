/* SPDX-License-Identifier: MIT */
/*
 * Runs guest code on this computer's own processor: loads all registers, jumps to the code, and
 * takes it back at its end (a jump that does not touch a register) or when it faults (a signal).
 * 64-bit code at privilege 3; 32 and 16-bit code by a far jump into a segment of that size.
 */
#ifndef INSN_NATIVE_H
#define INSN_NATIVE_H

#include <signal.h>
#include <sys/auxv.h>
#include <ucontext.h>

#include "insn-arena.h"
#include "insn-forms.h"

#define CONTEXT 0x0e000000
#define CONTEXT_STUB                                                                 \
	0x0e001000 /* 64-bit code where the far jump out of 32 and 16-bit code lands \
		    */

#define LINUX_CS64 0x33
#define LINUX_CS32 0x23
#define LINUX_DS   0x2b

/* At a fixed address, so that no register is needed to reach it. */
struct native_context {
	uint64_t gpr[16];
	uint64_t flags;	      /* 0x80 */
	uint64_t entry, exit; /* 0x88 */
	uint64_t host_rsp, host_fs, host_gs;
	uint64_t fs_base, gs_base; /* 0xb0; 64-bit code only */
	uint32_t far_offset;	   /* 0xc0 */
	uint16_t far_selector;
	uint16_t compatible; /* 0xc6: 32 or 16-bit code */
	uint16_t ds, es, ss, fs, gs, unused[3];
	uint32_t with_fpu, active; /* 0xd8 */
	uint64_t rip;		   /* 0xe0 */
	int64_t vector;		   /* -1: came to its end */
	uint64_t error, cr2;
	_Alignas(64) uint8_t fpu[512]; /* 0x100: FXSAVE's layout, before and after */
};

_Static_assert(offsetof(struct native_context, entry) == 0x88, "as the assembler has it");
_Static_assert(offsetof(struct native_context, fs_base) == 0xb0, "as the assembler has it");
_Static_assert(offsetof(struct native_context, compatible) == 0xc6, "as the assembler has it");
_Static_assert(offsetof(struct native_context, with_fpu) == 0xd8, "as the assembler has it");
_Static_assert(offsetof(struct native_context, fpu) == 0x100, "as the assembler has it");

static struct native_context *const native = (struct native_context *)CONTEXT;

void native_enter(void);
extern const char native_far[], native_exit[], native_out[];

#define C(offset) "0x0e000000+" #offset

__asm__(".pushsection .text\n"
	".globl native_enter, native_far, native_exit, native_out\n"
	"native_enter:\n"
	"	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
	"	mov %rsp, " C(0x98) "\n"
				    "	rdfsbase %rax; mov %rax, " C(0xa0) "\n"
									   "	rdgsbase %rax; mov "
									   "%rax, " C(
										   0xa8) "\n"
											 "	cmp"
											 "l $0, " C(
												 0xd8) "; je 1f\n"
												       "	fxrstor64 " C(
													       0x100) "\n"
														      "1:	cmpw $0, " C(0xc6) "; je 2f\n"
																		   "	movw " C(
																			   0xc8) ", %ds; movw " C(0xca) ", %es; movw " C(0xcc) ", %ss\n"
																									       "	movw " C(0xce) ", %fs; movw " C(0xd0) ", %gs\n"
																															      "	jmp 3f\n"
																															      "2:	mov " C(0xb0) ", %rax; wrfsbase %rax\n"
																																		      "	mov " C(0xb8) ", %rax; wrgsbase %rax\n"
																																				      "3:	mov $" C(0x80) ", %rsp; popfq\n"
																																							       "	mov " C(
																																								       0x00) ", %rax; mov " C(0x08) ", %rcx\n"
																																												    "	mov " C(0x10) ", %rdx; mov " C(
																																													    0x18) ", %rbx\n"
																																														  "	mov " C(
																																															  0x20) ", %rsp; mov " C(0x28) ", %rbp\n"
																																																		       "	mov " C(0x30) ", %rsi; mov " C(0x38) ", %rdi\n"
																																																								     "	mov " C(
																																																									     0x40) ", %r8;  mov " C(0x48) ", %r9\n"
																																																													  "	mov " C(
																																																														  0x50) ", %r10; mov " C(0x58) ", %r11\n"
																																																																	       "	mov " C(0x60) ", %r12; mov " C(0x68) ", %r13\n"
																																																																							     "	mov " C(
																																																																								     0x70) ", %r14; mov " C(0x78) ", %r15\n"
																																																																												  "	jmp *" C(0x88) "\n"
																																																																														       "native_far:\n"
																																																																														       "	ljmpl *" C(
																																																																															       0xc0) "\n"
																																																																																     "native_exit:\n"
																																																																																     "	mov %rax, " C(0x00) "; mov %rcx, " C(
																																																																																	     0x08) "\n"
																																																																																		   "	mov %rdx, " C(0x10) "; mov %rbx, " C(
																																																																																			   0x18) "\n"
																																																																																				 "	mov %rsp, " C(0x20) "; mov %rbp, " C(
																																																																																					 0x28) "\n"
																																																																																					       "	mov %rsi, " C(0x30) "; mov %rdi, " C(
																																																																																						       0x38) "\n"
																																																																																							     "	mov %r8,  " C(
																																																																																								     0x40) "; mov %r9,  " C(0x48) "\n"
																																																																																												  "	mov %r10, " C(0x50) "; mov %r11, " C(0x58) "\n"
																																																																																																		   "	mov %r12, " C(0x60) "; mov %r13, " C(0x68) "\n"
																																																																																																								   "	mov %r14, " C(0x70) "; mov %r15, " C(0x78) "\n"
																																																																																																														   "	mov " C(
																																																																																																															   0x98) ", %rsp\n"
																																																																																																																 "	pushfq; popq " C(
																																																																																																																	 0x80) "\n"
																																																																																																																	       "	pushq $0x202; popfq\n"
																																																																																																																	       "native_out:\n"
																																																																																																																	       "	cmpl $0, " C(0xd8) "; je 1f\n"
																																																																																																																					   "	fxsave64 " C(
																																																																																																																						   0x100) "; fninit\n"
																																																																																																																							  "	movl $0x1f80, -8(%rsp); ldmxcsr -8(%rsp)\n"
																																																																																																																							  "1:	cmpw $0, " C(0xc6) "; jne 2f\n"
																																																																																																																										   "	rdfsbase %rax; mov %rax, " C(
																																																																																																																											   0xb0) "\n"
																																																																																																																												 "	rdgsbase %rax; mov %rax, " C(0xb8) "\n"
																																																																																																																																	   "	jmp 3f\n"
																																																																																																																																	   "2:	xor %eax, %eax; mov %eax, %ds; mov %eax, %es; mov %eax, %fs; mov %eax, %gs\n"
																																																																																																																																	   "	mov $0x2b, %eax; mov %eax, %ss\n"
																																																																																																																																	   "3:	mov " C(
																																																																																																																																		   0xa0) ", %rax; wrfsbase %rax\n"
																																																																																																																																			 "	mov " C(
																																																																																																																																				 0xa8) ", %rax; wrgsbase %rax\n"
																																																																																																																																				       "	pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
																																																																																																																																				       "	ret\n"
																																																																																																																																				       ".popsection\n");

/*
 * The guest's flags and FS are still in force here: no alignment check may be on, and nothing that
 * lives in thread-local storage may be touched.
 */
__attribute__((no_sanitize("address", "undefined"), optimize("no-stack-protector"))) static void
on_signal(int number, siginfo_t *info, void *opaque)
{
	ucontext_t *u = opaque;
	greg_t *g = u->uc_mcontext.gregs;
	static const int order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI,
		REG_RDI, REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

	__asm__ volatile("pushfq; andl $~0x40400, (%%rsp); popfq" ::: "memory", "cc");
	if (!native->active) {
		signal(number, SIG_DFL);
		return;
	}
	native->active = 0;
	for (unsigned n = 0; n < 16; n++)
		native->gpr[n] = g[order[n]];
	native->rip = g[REG_RIP];
	native->flags = g[REG_EFL];
	native->vector = g[REG_TRAPNO];
	native->error = g[REG_ERR];
	native->cr2 = g[REG_CR2];
	g[REG_RIP] = (greg_t)(uintptr_t)native_out;
	g[REG_RSP] = native->host_rsp;
	g[REG_EFL] = 0x202;
	g[REG_CSGSFS] = (g[REG_CSGSFS] & 0x0000ffffffff0000) | LINUX_CS64 | (greg_t)LINUX_DS << 48;
}

/* The faults of guest code.  In the test itself: cmocka takes these signals before each. */
static inline bool native_catch(void)
{
	static const int numbers[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
	static uint8_t stack[1 << 16];
	stack_t alternate = {.ss_sp = stack, .ss_size = sizeof(stack)};
	struct sigaction action = {
		.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};

	if (sigaltstack(&alternate, NULL) < 0)
		return false;
	for (unsigned n = 0; n < sizeof(numbers) / sizeof(numbers[0]); n++)
		if (sigaction(numbers[n], &action, NULL) < 0)
			return false;
	return true;
}

/* False: this host cannot (FSGSBASE is for the kernel only, or the place is taken). */
static inline bool native_start(void)
{
	static const uint8_t stub[] = {0xff, 0x24, 0x25, 0x90, 0x00, 0x00, 0x0e};

	if (!(getauxval(AT_HWCAP2) & 2) ||
		mmap((void *)CONTEXT, 2 * PAGE_BYTES, PROT_READ | PROT_WRITE | PROT_EXEC,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED)
		return false;
	memcpy((void *)CONTEXT_STUB, stub, sizeof(stub));
	native->exit = (uint64_t)(uintptr_t)native_exit;
	return true;
}

/* What stands behind an instruction here: the way out.  Returns its length. */
static inline unsigned native_tail(uint8_t *to, unsigned mode)
{
	static const uint8_t tails[3][8] = {
		[MODE_16] = {0x66, 0xea, 0x00, 0x10, 0x00, 0x0e, LINUX_CS64, 0},
		[MODE_32] = {0xea, 0x00, 0x10, 0x00, 0x0e, LINUX_CS64, 0},
		[MODE_64] = {0xff, 0x24, 0x25, 0x90, 0x00, 0x00, 0x0e},
	};
	unsigned length = mode == MODE_16 ? 8 : 7;

	memcpy(to, tails[mode], length);
	return length;
}

#endif
