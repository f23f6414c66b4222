/* SPDX-License-Identifier: MIT */
/* What the tests of the software processor share: one vCPU and a megabyte of memory. */
#ifndef SOFT_HELP_H
#define SOFT_HELP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cpu/soft/soft.h"

#define RAM_SIZE (1u << 20)
#define CODE	 0x1000u

static struct machine machine;
static struct soft_engine *soft;
static struct soft_cpu *cpu;
static uint8_t *ram;

static inline int start_soft(void **state)
{
	struct error err = {0};
	/* Nobody runs the loop here: time is not the turns'. */
	struct engine_config config = {.cpu = "max", .smp = {1, 1, 1, 1, 1}, .host_clock = true};
	struct loop *loop = loop_create("main", &err);

	if (!loop || machine_init(&machine, loop, &err) < 0 ||
		memory_add(&machine.memory, "ram", 0, RAM_SIZE, false, &err) < 0 ||
		soft_engine_ops.create(&machine, &config, &err) < 0)
		return -1;
	soft = container_of(machine.engine, struct soft_engine, engine);
	cpu = &soft->cpus[0];
	ram = machine.memory.blocks[0].host;
	soft->running = true;
	return 0;
}

static inline int end_soft(void **state)
{
	struct loop *loop = machine.loop;

	soft->running = false;
	machine.engine->ops->destroy(machine.engine);
	machine_destroy(&machine);
	loop_destroy(loop);
	return 0;
}

/* 64-bit code at CODE.  Without paging, which no real processor has; this one does not mind. */
static inline void reset_flat64(void)
{
	struct cpu_state state;

	cpu_state_flat32(&state, CODE);
	state.cs.l = true;
	state.cs.db = false;
	state.efer = EFER_LMA | EFER_LME;
	state.gpr[RSP] = 0x8000;
	soft_engine_ops.set_state(machine.engine, 0, &state);
	cpu->halted = false;
}

/* Runs the bytes and the HLT behind them. */
static inline void run_bytes(const uint8_t *bytes, size_t length)
{
	memcpy(ram + CODE, bytes, length);
	ram[CODE + length] = 0xf4;
	soft_code_written(soft, CODE, length + 1);
	cpu->rip = CODE;
	cpu->halted = false;
	soft_run(cpu, 100);
	assert_true(cpu->halted);
	assert_int_equal(cpu->rip, CODE + length + 1);
}

#endif
