/* SPDX-License-Identifier: MIT */
/*
 * What the tests of MMX, SSE and x87 share: one instruction on the host's processor and one on the
 * software processor, from the same state.  An exception on the host is caught as SIGFPE.
 */
#ifndef NATIVE_HELP_H
#define NATIVE_HELP_H

#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <Zydis/Zydis.h>

#include "soft-help.h"

#define DATA	  0x20000u /* of the guest: the memory operand's page */
#define DATA_SIZE 256

struct native_state {
	_Alignas(16) uint8_t xmm[16][16];
	uint64_t mm[8];
	uint64_t gpr[8]; /* RAX RCX RDX -, -, -, RSI -: RBX points to the data */
	uint64_t flags;
	uint64_t data;
	uint32_t mxcsr, host_mxcsr;
	_Alignas(16) uint8_t memory[DATA_SIZE];
};

static uint64_t seed = 1;
static uint8_t *host_code;
static volatile bool host_faulted;
static volatile uint64_t host_after;
static volatile uint32_t host_faulted_mxcsr;

static inline uint64_t random64(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

/* The instruction did not complete: go on behind it. */
static inline void on_fpe(int signal, siginfo_t *info, void *context)
{
	ucontext_t *u = context;

	host_faulted = true;
	host_faulted_mxcsr = u->uc_mcontext.fpregs->mxcsr;
	u->uc_mcontext.fpregs->mxcsr = 0x1f80;
	u->uc_mcontext.gregs[REG_RIP] = host_after;
}

/* At the beginning of a test: cmocka has a handler of its own. */
static inline void catch_fpe(void)
{
	struct sigaction action = {.sa_sigaction = on_fpe, .sa_flags = SA_SIGINFO};

	assert_int_equal(sigaction(SIGFPE, &action, NULL), 0);
}

static inline int start_native(void **state)
{
	host_code = mmap(
		NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (host_code == MAP_FAILED)
		return -1;
	return start_soft(state);
}

static inline void put32(uint8_t *to, uint32_t value)
{
	memcpy(to, &value, sizeof(value));
}

static inline void emit(uint8_t **at, const void *bytes, size_t length)
{
	memcpy(*at, bytes, length);
	*at += length;
}

/* The runner around the instruction, R15 pointing to the state: loads, the bytes, stores. */
static inline void host_build(const uint8_t *bytes, size_t length)
{
	static const uint8_t gprs[] = {0, 1, 2, 6};
	uint8_t *at = host_code;

	emit(&at, "\x53\x41\x57\x49\x89\xff", 6); /* push rbx; push r15; mov r15, rdi */
	for (unsigned n = 0; n < 16; n++) {
		uint8_t load[] = {0x41 | n >> 3 << 2, 0x0f, 0x10, 0x87 | (n & 7) << 3, 0, 0, 0, 0};

		put32(&load[4], offsetof(struct native_state, xmm) + 16 * n);
		emit(&at, load, 8);
	}
	for (unsigned n = 0; n < 8; n++) {
		uint8_t load[] = {0x41, 0x0f, 0x6f, 0x87 | n << 3, 0, 0, 0, 0};

		put32(&load[4], offsetof(struct native_state, mm) + 8 * n);
		emit(&at, load, 8);
	}
	for (unsigned n = 0; n < 4; n++) {
		uint8_t load[] = {0x49, 0x8b, 0x87 | gprs[n] << 3, 0, 0, 0, 0};

		put32(&load[3], offsetof(struct native_state, gpr) + 8 * gprs[n]);
		emit(&at, load, 7);
	}
	{
		uint8_t load[] = {0x49, 0x8b, 0x9f, 0, 0, 0, 0};	/* mov rbx, [r15 + data] */
		uint8_t flags[] = {0x41, 0xff, 0xb7, 0, 0, 0, 0, 0x9d}; /* push; popfq */
		uint8_t mxcsr[] = {0x41, 0x0f, 0xae, 0x97, 0, 0, 0, 0}; /* ldmxcsr */

		put32(&load[3], offsetof(struct native_state, data));
		put32(&flags[3], offsetof(struct native_state, flags));
		put32(&mxcsr[4], offsetof(struct native_state, mxcsr));
		emit(&at, load, 7);
		emit(&at, flags, 8);
		emit(&at, mxcsr, 8);
	}
	emit(&at, bytes, length);
	host_after = (uintptr_t)at;
	{
		uint8_t flags[] = {0x9c, 0x41, 0x8f, 0x87, 0, 0, 0, 0}; /* pushfq; pop */
		uint8_t out[] = {0x41, 0x0f, 0xae, 0x9f, 0, 0, 0, 0};	/* stmxcsr */
		uint8_t back[] = {0x41, 0x0f, 0xae, 0x97, 0, 0, 0, 0};	/* ldmxcsr */

		put32(&flags[4], offsetof(struct native_state, flags));
		put32(&out[4], offsetof(struct native_state, mxcsr));
		put32(&back[4], offsetof(struct native_state, host_mxcsr));
		emit(&at, flags, 8);
		emit(&at, out, 8);
		emit(&at, back, 8);
	}
	for (unsigned n = 0; n < 16; n++) {
		uint8_t store[] = {0x41 | n >> 3 << 2, 0x0f, 0x11, 0x87 | (n & 7) << 3, 0, 0, 0, 0};

		put32(&store[4], offsetof(struct native_state, xmm) + 16 * n);
		emit(&at, store, 8);
	}
	for (unsigned n = 0; n < 8; n++) {
		uint8_t store[] = {0x41, 0x0f, 0x7f, 0x87 | n << 3, 0, 0, 0, 0};

		put32(&store[4], offsetof(struct native_state, mm) + 8 * n);
		emit(&at, store, 8);
	}
	for (unsigned n = 0; n < 4; n++) {
		uint8_t store[] = {0x49, 0x89, 0x87 | gprs[n] << 3, 0, 0, 0, 0};

		put32(&store[3], offsetof(struct native_state, gpr) + 8 * gprs[n]);
		emit(&at, store, 7);
	}
	emit(&at, "\x0f\x77\x41\x5f\x5b\xc3", 6); /* emms; pop r15; pop rbx; ret */
}

/* Returns whether it raised #XM. */
static inline bool host_run(struct native_state *s, const uint8_t *bytes, size_t length)
{
	void (*run)(struct native_state * s);

	host_build(bytes, length);
	memcpy(&run, &host_code, sizeof(run));
	host_faulted = false;
	s->host_mxcsr = 0x1f80;
	s->data = (uintptr_t)s->memory;
	run(s);
	/* The handler kept MXCSR; the runner stored the one it went on with. */
	if (host_faulted)
		s->mxcsr = host_faulted_mxcsr;
	return host_faulted;
}

/* One instruction here, faults caught: the vector, or -1. */
static inline int soft_step(const uint8_t *bytes, size_t length)
{
	const struct soft_block *block;

	memcpy(ram + CODE, bytes, length);
	ram[CODE + length] = 0xf4;
	soft_code_written(soft, CODE, 16);
	cpu->rip = CODE;
	if (setjmp(cpu->escape))
		return cpu->fault_vector;
	block = soft_block_at(cpu);
	cpu->next_rip = cpu->rip + block->insns[0].length;
	block->insns[0].run(cpu, &block->insns[0]);
	cpu->rip = cpu->next_rip;
	return -1;
}

#endif
