/* SPDX-License-Identifier: MIT */
/* IN and OUT (SDM 2; SDM 1, chapter 19), and the rights to them, which string.c asks for, too. */
#include <Zydis/Mnemonic.h>

#include "cpu/soft/soft.h"

void soft_check_io(struct soft_cpu *c, uint16_t port, unsigned size)
{
	const struct soft_segment *tr = &c->seg[SEG_TR];
	uint32_t map, bits;

	if (!(c->cr0 & CR0_PE) || (soft_iopl_allows(c) && !(c->flags & F_VM)))
		return;
	/* The bitmap of a 32- or 64-bit TSS (SDM 1, 19.5.2). */
	if (!(tr->rights & 8) || tr->limit < 103)
		soft_fault(c, V_GP, 0);
	map = soft_system_load(c, tr->base + 102, 2);
	if (map + port / 8 + 1 > tr->limit)
		soft_fault(c, V_GP, 0);
	bits = soft_system_load(c, tr->base + map + port / 8, 2);
	if (bits >> (port & 7) & ((1u << size) - 1))
		soft_fault(c, V_GP, 0);
}

uint64_t soft_port_read(struct soft_cpu *c, uint16_t port, unsigned size)
{
	uint64_t value;

	c->counters.exits++;
	c->counters.port_exits++;
	if (c->debug_ports)
		soft_debug_port(c, port, size);
	value = space_read(&c->engine->engine.machine->ports, port, size);
	soft_after_access(c);
	return value;
}

void soft_port_write(struct soft_cpu *c, uint16_t port, uint64_t value, unsigned size)
{
	struct machine *machine = c->engine->engine.machine;

	c->counters.exits++;
	c->counters.port_exits++;
	if (c->debug_ports)
		soft_debug_port(c, port, size);
	space_write(&machine->ports, port, value, size);
	soft_after_access(c);
}

static void op_in(struct soft_cpu *c, const struct soft_insn *i)
{
	unsigned size = i->op[0].size;
	uint16_t port = i->op[1].kind == O_IMM ? (uint8_t)i->immediate : c->gpr[RDX];

	soft_check_io(c, port, size);
	soft_set_reg(c, RAX, soft_port_read(c, port, size), size);
}

static void op_out(struct soft_cpu *c, const struct soft_insn *i)
{
	unsigned size = i->op[1].size;
	uint16_t port = i->op[0].kind == O_IMM ? (uint8_t)i->immediate : c->gpr[RDX];

	soft_check_io(c, port, size);
	soft_port_write(c, port, c->gpr[RAX] & soft_mask(size), size);
}

#define SAME(name)                     \
	{                              \
		name, name, name, name \
	}

const struct soft_handlers soft_port_handlers[] = {
	{ZYDIS_MNEMONIC_IN, SAME(op_in)},
	{ZYDIS_MNEMONIC_OUT, SAME(op_out)},
	{0},
};
