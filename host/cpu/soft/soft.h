/* SPDX-License-Identifier: MIT */
/*
 * The software processor, private to cpu/soft: x86-64 as the Intel SDM describes it, interpreted
 * from cached, decoded blocks.  It runs on the main loop, a slice of instructions at a time, so it
 * needs no lock of its own.
 *
 * A fault leaves an instruction by longjmp (soft_fault), back to the slice's loop, with the
 * registers as they were when the instruction began; handlers change registers last.
 */
#ifndef CPU_SOFT_SOFT_H
#define CPU_SOFT_SOFT_H

#include <setjmp.h>
#include <stdatomic.h>
#include <string.h>

#include "cpu/engine.h"
#include "cpu/model.h"
#include "cpu/soft/insn.h"
#include "cpu/soft/registers.h"

/* A segment register with its descriptor cache. */
struct soft_segment {
	uint64_t base;
	uint32_t limit;	 /* bytes, granularity applied */
	uint32_t rights; /* descriptor bits 8..23 of the second dword: type, S, DPL, P, AVL, L, D, G
			  */
	uint16_t selector;
	bool unusable; /* a null selector was loaded */
};

#define TLB_BITS    9
#define TLB_ENTRIES (1 << TLB_BITS)
#define TLB_INVALID UINT64_MAX

/* One page of linear addresses for one privilege; a tag is the page's address, or TLB_INVALID. */
struct tlb_entry {
	uint64_t read, write, execute; /* RAM that may be accessed so, directly */
	uint64_t offset;	       /* host address - linear address */
	uint64_t physical;	       /* of the page */
	uint64_t checked_read, checked_write, checked_execute; /* rights were found to allow this */
	bool global;
	uint8_t large; /* this is a part of a page of 2^large bytes; 0: a page of 4 KiB */
};

/* The same for host code (translate.c), 32 bytes: minus the page's address where RAM may be
 * accessed so, else minus one that no address of the entry has. */
struct fast_page {
	uint64_t minus_read, minus_write;
	uint64_t host; /* of the page */
	uint64_t unused;
};

/* Where a computed jump to `rip` goes in host code, while the generation is that. */
#define SOFT_JUMPS 1024
struct soft_jump {
	uint64_t rip;
	const void *code;
	uint64_t generation, unused;
};

/* x87, MMX and SSE.  FXSAVE's image of it: soft_fpu_save(), soft_fpu_load(). */
struct soft_fpu {
	_Alignas(16) uint8_t xmm[16][16];
	/* R0..R7, not ST(0)..ST(7): MMn, and ST(i) at (TOP + i) & 7.  The last six bytes are 0. */
	uint8_t st[8][16];
	uint64_t fip, fdp; /* of the last x87 instruction that is no control instruction */
	uint32_t mxcsr;
	uint16_t cw, sw, fop;
	uint8_t valid; /* one bit a register: it is not empty (FXSAVE's tag byte) */
};

struct soft_lapic;
struct soft_translator;

/* What is being delivered between two instructions: a fault, a trap, an interrupt. */
struct soft_event {
	bool active;
	bool fault; /* an exception: table 6-5 applies to faults of its delivery */
	int vector;
	int64_t error;
	uint64_t rsp; /* as before the delivery */
	uint32_t flags;
};

enum { INHIBIT_NONE, INHIBIT_STI, INHIBIT_SS /* debug exceptions, too */ };
enum {
	AFTER_STEP_BY_RESULT = 1, /* single step by the new TF: INT n, SYSCALL, SYSRET */
	AFTER_KEEPS_RF = 2,	  /* RF is a result: IRET, a task switch, REP that goes on */
	AFTER_UNFINISHED = 4,	  /* REP that goes on: not counted yet */
};

struct soft_cpu {
	uint64_t gpr[16]; /* by enum cpu_register */
	uint64_t rip, next_rip;
	uint32_t flags;
	uint8_t cpl;
	bool long_mode;	   /* EFER.LMA and CS.L: 64-bit code */
	bool user;	   /* cpl == 3: which TLB */
	uint8_t code_size; /* default operand size: 2, 4, 4 in 64-bit mode */
	bool break_block;  /* the block must not go on: code changed, mode changed, attention */
	bool implicit;	   /* an access of the processor's own: SMAP has no exception for it */
	uint8_t inhibit;   /* INHIBIT_x: what is held back for one instruction */
	uint8_t after;	   /* AFTER_x: what the instruction says of its end */
	bool debug_execute, debug_data, debug_ports; /* breakpoints of that kind are armed */
	bool debug_own_data; /* the guest has those on data, not the debugger */
	bool debug_step;     /* the debugger's (breakpoints.c) */
	uint64_t watch_hit;  /* address of the debugger's watchpoint, with SOFT_WATCH_HIT */
	uint32_t debug_hits; /* bits of DR6 that wait for the end of the instruction */
	bool halted, waits_for_sipi;
	bool init_pending;		  /* INIT from itself: behind this instruction */
	bool yielded;			  /* PAUSE: let the loop turn */
	atomic_bool attention;		  /* look at interrupts, NMI, stop before the next block */
	uint64_t instructions, slice_end; /* executed; where the turn ends or rests */
	uint64_t stop_at; /* a debugger's step under rr= ends there; else UINT64_MAX */

	/* translate.c; while host code runs, gpr, rip, flags and instructions are partly there */
	int64_t budget;		 /* instructions left of the turn */
	uint16_t host_flags;	 /* LAHF's byte in the high half, OF in the low one */
	uint32_t generation;	 /* new when addresses, rights or code may have changed */
	uint32_t generations[2]; /* by user */
	uint64_t jump_target;

	struct tlb_entry tlb[2][TLB_ENTRIES]; /* by user */
	struct fast_page fast[2][TLB_ENTRIES];
	struct soft_jump jumps[SOFT_JUMPS];
	struct soft_segment seg[SEGMENTS];
	struct cpu_table gdt, idt;
	uint64_t cr0, cr2, cr3, cr4, cr8, efer, xcr0;
	uint64_t pdpte[4]; /* PAE's top entries, read when CR3 is loaded */
	uint64_t dr[8];
	uint64_t star, lstar, cstar, fmask, kernel_gs_base, tsc_aux, tsc_offset, tsc_deadline;
	uint64_t sysenter_cs, sysenter_esp, sysenter_eip, pat, misc_enable, apic_base;
	uint64_t mtrr_def_type, mtrr_fixed[11], mtrr_var[16];
	struct soft_fpu fpu;
	uint32_t cpuid_features[FEATURE_WORDS];
	uint32_t asked_features[FEATURE_WORDS]; /* by -cpu */

	unsigned index;
	bool nmi_pending, nmi_blocked;
	int fault_vector; /* what soft_fault() carries over the longjmp */
	int64_t fault_error;
	struct soft_event event;
	jmp_buf escape; /* into soft_run() */
	struct soft_engine *engine;
	struct engine_counters counters;
	struct soft_lapic *lapic;

	/* What led here, two rings: numbers of what was written count up (trail.c). */
	struct cpu_trail_event trail_events[CPU_TRAIL];
	uint64_t trail_blocks[CPU_TRAIL];
	unsigned trail_event, trail_block;
};

struct soft_time {
	bool is_virtual; /* else VM time is the host's */
	unsigned shift;	 /* an instruction is 2^shift ns */
	int64_t base;	 /* ns when the turn began */
	struct soft_cpu *running;
	uint64_t began; /* its instructions then */
	uint64_t end;	/* where the turn ends by itself, if it does not rest before */
	bool paused;	/* the next turn is the rest of one, of `left` instructions */
	uint64_t left;
	uint64_t turns;	       /* that ended, and skips of idle time */
	uint64_t trail;	       /* a hash of how each turn ended, under rr= */
	uint64_t instructions; /* of all vCPUs, when the turn began */
	uint64_t hashed;       /* the same when the hash was printed last */
	uint64_t random;       /* of its own: what a guest draws (RDRAND) does not move its turns */
	struct vm_clock_source source;
	bool idle_sleeps;
	struct loop_timer wake; /* the end of such a sleep */
	bool slept;		/* it has come */
};

struct soft_engine {
	struct cpu_engine engine;
	struct soft_time time;
	struct soft_cpu *cpus;
	struct soft_cpu *current; /* whose turn it is; NULL between turns */
	struct memory_listener memory_listener;
	bool running, held;
	const struct cpu_goal *goal; /* of soft_run_until(); or NULL */
	bool in_turns;		     /* run_turns() is at work: it goes on by itself */
	unsigned turn;		     /* the vCPU that is next */
	struct loop_task slice_task;
	struct list routes;	   /* of message routes under watch (route.c) */
	bool intr;		   /* the PIC's INTR */
	uint64_t a20_closed;	   /* bit 20 while address line 20 is held low, else 0 */
	struct soft_block *blocks; /* hash table */
	struct soft_insn *arena;   /* of decoded instructions */
	size_t arena_used, arena_size;
	uint8_t *code_pages;	/* one bit a guest page below 64 GiB: it holds decoded code */
	atomic_bool code_stale; /* a thread wrote to a code page: forget all blocks */
	void *zydis;
	struct soft_translator *translator; /* NULL: nothing is translated yet, or ever */
	bool translates;		    /* the host allows it, as far as is known */
	uint32_t hot;			    /* executions after which a block is translated */
	uint32_t generation;		    /* the last one given */
};

#include "cpu/soft/lapic.h"

/* --- run.c --- */
/* Executes `count` instructions, or fewer: until the vCPU halts, PAUSE, or a request of the
 * machine. Main loop, under the lock. */
void soft_run(struct soft_cpu *c, uint64_t count);
void soft_post(struct soft_engine *soft); /* turns go on, if the machine runs */
void soft_run_turns(void *opaque); /* the engine; as many as come between two looks outside */

void soft_attend(struct soft_cpu *c); /* something may be pending: wake and look */

/* --- route.c --- */
extern const struct irq_chip_ops soft_irq_ops;	   /* opaque: the engine */
void soft_take_messages(struct soft_engine *soft); /* that other threads have sent: they arrive */
void soft_routes_drop(struct soft_engine *soft);   /* all, at the engine's end */

/* --- time.c: virtual time and turns --- */
void soft_time_init(struct soft_engine *soft, const struct engine_config *config);
/* How many instructions `c` may execute now. */
uint64_t soft_turn_begin(struct soft_engine *soft, struct soft_cpu *c);
void soft_turn_end(struct soft_engine *soft); /* timers that are due expire */
/* Does the turn rest: is it only interrupted, by who must not be seen? */
bool soft_turn_rests(const struct soft_engine *soft, const struct soft_cpu *c);
/* Then: what is left of it comes with the next soft_turn_begin(). */
void soft_turn_pause(struct soft_engine *soft);
/* An instruction has reached a device: requests to the machine and work for the loop come first. */
void soft_after_access(struct soft_cpu *c);
/* Nothing can execute: on to the next timer, at once or after a sleep.  True: turns may go on. */
bool soft_idle(struct soft_engine *soft);
void soft_time_stop(struct soft_engine *soft); /* wakes nobody any more */

/* --- hash.c: -d hash --- */
uint64_t soft_hash_due(const struct soft_engine *soft); /* after how many instructions; 0: now */
void soft_hash_print(struct soft_engine *soft);
uint64_t soft_hash_cpu(const struct soft_cpu *c);

/* --- rewind.c: the engine's operations to go back --- */
void *soft_remember(struct cpu_engine *engine);
void soft_recall(struct cpu_engine *engine, const void *memory);
int soft_run_until(struct cpu_engine *engine, const struct cpu_goal *goal);
bool soft_goal_reached(const struct soft_engine *soft); /* no goal: no */

/* --- replay.c: recording and replaying --- */
void soft_replay_init(struct soft_engine *soft); /* in virtual time */
bool soft_replay_rules(void);			 /* one of the two */
void soft_replay_turn_ended(struct soft_engine *soft, const struct soft_cpu *c);
uint64_t soft_replay_due(const struct soft_cpu *c); /* after how many instructions it rests */
/* Before a turn: nothing waits on the loop afterwards, what the log has here is done.  False: no
 * turn now. */
bool soft_replay_settle(struct soft_engine *soft);

/* --- state.c: the engine's get_state and set_state --- */
int soft_set_state(struct cpu_engine *engine, unsigned cpu, const struct cpu_state *state);
int soft_get_state(struct cpu_engine *engine, unsigned cpu, struct cpu_state *state);

/* --- context.c: the engine's get_context and set_context --- */
int soft_get_context(
	struct cpu_engine *engine, unsigned cpu, struct cpu_context *context, struct error *err);
int soft_set_context(struct cpu_engine *engine, unsigned cpu, const struct cpu_context *context,
	struct error *err);

/* --- trail.c --- */
void soft_trail_note(struct soft_cpu *c, unsigned vector, int64_t error, bool interrupt);
void soft_trail(const struct cpu_engine *engine, unsigned cpu, struct cpu_trail *out);

/* --- trace.c: -d int, in_asm, cpu_reset --- */
void soft_trace_interrupt(
	const struct soft_cpu *c, unsigned vector, bool software, int64_t error, uint64_t rip);
void soft_trace_block(const struct soft_cpu *c, const struct soft_block *b); /* at c->rip */
void soft_trace_reset(const struct soft_cpu *c);

/* --- fault.c: exceptions and interrupts --- */
_Noreturn void soft_fault(struct soft_cpu *c, enum vector vector, int64_t error);
_Noreturn void soft_page_fault(struct soft_cpu *c, uint64_t linear, uint32_t error);
/* What soft_fault() left behind: it becomes c->event, or, with the one that was being delivered,
 * a double or triple fault. */
void soft_take_fault(struct soft_cpu *c);
void soft_post_interrupt(struct soft_cpu *c, unsigned vector); /* from outside: into c->event */
void soft_post_trap(struct soft_cpu *c, enum vector vector);   /* behind an instruction: the same */
void soft_deliver(struct soft_cpu *c); /* c->event, between two instructions; may fault */

/* --- gate.c: through the IDT --- */
/* To the handler, with its frame; software: by INT n, checked by the privilege of the gate. */
void soft_through_gate(struct soft_cpu *c, unsigned vector, bool software, int64_t error,
	bool has_error, uint64_t return_rip);
/* INT n, INT3, INTO, INT1: at once.  checked: by the privilege of the gate. */
void soft_interrupt(struct soft_cpu *c, unsigned vector, bool checked);

/* --- iret.c --- */
void soft_iret(struct soft_cpu *c, unsigned size);
/* Segments that the level returned to may not have become null. */
void soft_drop_inner_segments(struct soft_cpu *c);

/* --- debug.c --- */
#define DR6_BT (1u << 15)
void soft_debug_changed(struct soft_cpu *c);  /* after DR0 to DR3, DR7 or CR4.DE changed */
void soft_points_changed(struct soft_cpu *c); /* after the debugger's changed */
/* Of an armed breakpoint: is this page watched; an access to it; a port; the instruction at RIP
 * (faults). */
bool soft_debug_watches(const struct soft_cpu *c, uint64_t page);
void soft_debug_access(struct soft_cpu *c, uint64_t linear, unsigned size, bool write);
void soft_debug_port(struct soft_cpu *c, uint16_t port, unsigned size);
void soft_debug_fetch(struct soft_cpu *c);
/* Behind an instruction: posts what was met, and the single step. */
void soft_debug_trap(struct soft_cpu *c, bool step);
void soft_debug_entered(struct soft_cpu *c); /* #DB was delivered */
void soft_debug_new_task(struct soft_cpu *c, bool trap);
uint64_t soft_read_debug(struct soft_cpu *c, unsigned n); /* MOV from and to DRn; fault */
void soft_write_debug(struct soft_cpu *c, unsigned n, uint64_t value);

/* --- breakpoints.c: the debugger's, whatever the guest does with its debug registers --- */
#define SOFT_WATCH_HIT (1u << 31) /* in debug_hits */
int soft_set_debug(struct cpu_engine *engine, const struct cpu_debug *debug);
bool soft_break_armed(const struct soft_cpu *c, bool data); /* on data, on instructions */
bool soft_break_watches(const struct soft_cpu *c, uint64_t page);
void soft_break_access(struct soft_cpu *c, uint64_t linear, unsigned size, bool write);
bool soft_break_fetch(struct soft_cpu *c); /* a breakpoint is at RIP: the vCPU stops before it */
/* Behind an instruction, or a delivery that took the place of one. */
void soft_break_behind(struct soft_cpu *c);
void soft_break_stepped(struct soft_cpu *c); /* behind a part of a turn: was it c->stop_at? */

/* --- privileges --- */
static inline void soft_need_level0(struct soft_cpu *c)
{
	if (c->cpl != 0)
		soft_fault(c, V_GP, 0);
}

static inline bool soft_iopl_allows(const struct soft_cpu *c)
{
	return c->cpl <= (c->flags & F_IOPL) >> 12;
}

static inline void soft_check_umip(struct soft_cpu *c)
{
	if (c->cr4 & CR4_UMIP && c->cpl)
		soft_fault(c, V_GP, 0);
}

/* Real mode, or virtual-8086 mode. */
static inline bool soft_is_real(const struct soft_cpu *c)
{
	return !(c->cr0 & CR0_PE) || c->flags & F_VM;
}

static inline void soft_clear_segment(struct soft_segment *s)
{
	*s = (struct soft_segment){.unusable = true};
}

/* --- segment.c, far.c, task.c, control.c --- */
void soft_load_segment(struct soft_cpu *c, unsigned segment, uint16_t selector); /* MOV, POP, LxS */
/* Reads a descriptor: false when the selector is outside of its table. */
bool soft_descriptor(struct soft_cpu *c, uint16_t selector, uint64_t *raw);
/* Bits 32 to 63 of what a system descriptor has: 16 bytes in long mode, else 0.  Faults. */
uint64_t soft_upper_base(struct soft_cpu *c, uint16_t selector);
void soft_unpack(struct soft_segment *s, uint16_t selector, uint64_t raw);
void soft_set_cs(struct soft_cpu *c, const struct soft_segment *s, unsigned cpl);
void soft_far_jump(struct soft_cpu *c, uint16_t selector, uint64_t offset, unsigned size);
void soft_far_call(struct soft_cpu *c, uint16_t selector, uint64_t offset, unsigned size);
void soft_far_return(struct soft_cpu *c, unsigned size, unsigned release);
void soft_load_ldt(struct soft_cpu *c, uint16_t selector);
void soft_load_tr(struct soft_cpu *c, uint16_t selector);
enum task_reason { TASK_JUMP, TASK_CALL, TASK_IRET, TASK_INTERRUPT };
void soft_task_switch(struct soft_cpu *c, uint16_t selector, uint64_t raw, enum task_reason reason);
void soft_mode_changed(struct soft_cpu *c); /* after CR0, EFER, CS or CPL changed */
void soft_set_cr0(struct soft_cpu *c, uint64_t value);
void soft_set_cr3(struct soft_cpu *c, uint64_t value);
void soft_set_cr4(struct soft_cpu *c, uint64_t value);
void soft_set_flags(struct soft_cpu *c, uint32_t value, uint32_t changeable);

/* --- fxsave.c: the state of x87, MMX and SSE as a whole --- */
#define FXSAVE_SIZE    512
#define MXCSR_MASK     0xffffu
#define MXCSR_RESET    0x1f80u
#define FEATURE_NO_FCS (1u << 13)	 /* CPUID.7.0:EBX: FCS and FDS are always 0 */
void soft_fpu_reset(struct soft_cpu *c); /* as at power-on */
/* The image FXSAVE64 writes, reserved bytes 0; and what FXRSTOR64 takes.  load: -EINVAL, and
 * nothing changed, when MXCSR has a reserved bit. */
void soft_fpu_save(const struct soft_cpu *c, uint8_t image[FXSAVE_SIZE]);
int soft_fpu_load(struct soft_cpu *c, const uint8_t image[FXSAVE_SIZE]);

/* --- features.c: what CPUID offers --- */
void soft_set_features(struct soft_cpu *c, const struct cpu_choice *choice);
void soft_warn_features(const struct cpu_choice *choice); /* of what it asks for in vain */
/* Has the guest's CPUID the feature that an instruction set of Zydis belongs to?  otherwise: what
 * to say of a set that has no feature. */
bool soft_offers(const struct soft_cpu *c, unsigned isa_set, bool otherwise);
uint64_t soft_cr4_bits(const struct soft_cpu *c); /* that may be set */
static inline bool soft_has(const struct soft_cpu *c, enum feature_word word, unsigned bit)
{
	return c->cpuid_features[word] >> bit & 1;
}

/* --- port.c, msr.c, control.c, system.c --- */
void soft_check_io(
	struct soft_cpu *c, uint16_t port, unsigned size); /* IOPL and the bitmap; faults */
uint64_t soft_port_read(struct soft_cpu *c, uint16_t port, unsigned size);
void soft_port_write(struct soft_cpu *c, uint16_t port, uint64_t value, unsigned size);
bool soft_rdmsr(struct soft_cpu *c, uint32_t msr, uint64_t *value);
bool soft_wrmsr(struct soft_cpu *c, uint32_t msr, uint64_t value);
void soft_move_control(struct soft_cpu *c, const struct soft_insn *i); /* MOV CRn, DRn */
uint64_t soft_tsc(const struct soft_cpu *c);
void soft_cpuid(const struct soft_cpu *c, uint32_t leaf, uint32_t subleaf, uint32_t out[4]);

#include "cpu/soft/mmu.h"
/* operands, stack and arithmetic flags of handlers */
#include "cpu/soft/operand.h"

#endif
