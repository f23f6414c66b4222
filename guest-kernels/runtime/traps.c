/* SPDX-License-Identifier: MIT */
/*
 * What happens on a trap: a hook sees it first, then an EXPECT_TRAP in force, else the TEST has
 * failed.
 */
#include "runtime/traps.h"
#include "runtime/io.h"
#include "runtime/run.h"
#include "runtime/test.h"

struct trap trap_last;
struct context trap_context;
static bool trap_catching, trap_caught;
static trap_hook_fn *hook;
trap_hook_fn *trap_elsewhere;

static const char *const names[32] = {
	[TRAP_DE] = "divide error",
	[TRAP_DB] = "debug",
	[TRAP_NMI] = "NMI",
	[TRAP_BP] = "breakpoint",
	[TRAP_UD] = "invalid opcode",
	[TRAP_NM] = "no FPU",
	[TRAP_DF] = "double fault",
	[TRAP_TS] = "invalid TSS",
	[TRAP_NP] = "segment not present",
	[TRAP_SS] = "stack fault",
	[TRAP_GP] = "general protection",
	[TRAP_PF] = "page fault",
	[TRAP_AC] = "alignment check",
	[TRAP_MC] = "machine check",
};

void trap_catch_begin(void)
{
	trap_caught = false;
	trap_catching = true;
}

bool trap_catch_end(void)
{
	trap_catching = false;
	return trap_caught;
}

void trap_hook(trap_hook_fn *new_hook)
{
	hook = new_hook;
}

/* By IRET, not by a jump: only that lets the next NMI in, and it leaves CPL 3 too. */
static void resume_at(struct trap_frame *frame, struct context *context, int value)
{
	frame->rip = (uint64_t)context_resume;
	frame->rdi = (uint64_t)context;
	frame->rsi = value;
	frame->rsp = context->rsp - 8;
	frame->cs = 0x08;
	frame->ss = 0x10;
	frame->rflags = frame->rflags & 0x200 ? 0x202 : 0x2;
}

void trap_dispatch(struct trap_frame *frame)
{
	struct trap trap = {
		frame->vector, frame->error, frame->rip, read_cr2(), frame->cs, frame->rflags};
	const char *name = trap.vector < 32 && names[trap.vector] ? names[trap.vector] : "trap";

	if (trap_elsewhere && trap_elsewhere(frame))
		return;
	if (hook && hook(frame))
		return;
	trap_last = trap;
	if (trap_catching && trap.vector != TRAP_NMI) {
		trap_catching = false;
		trap_caught = true;
		resume_at(frame, &trap_context, 1);
		return;
	}
	trap_catching = false;
	print("# trap %u (%s) error 0x%lx rip 0x%lx cr2 0x%lx cs 0x%lx rsp 0x%lx\n",
		(unsigned)trap.vector, name, trap.error, trap.rip, trap.cr2, trap.cs, frame->rsp);
	if (!test_running) {
		print("Bail out! trap outside of a test\n");
		machine_exit(1);
	}
	test_verdict(VERDICT_FAIL, "trap %u (%s) at 0x%lx", (unsigned)trap.vector, name, trap.rip);
	resume_at(frame, &test_context, 1);
}
