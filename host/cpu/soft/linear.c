/* SPDX-License-Identifier: MIT */
/* From a segment and an offset to a linear address (SDM 3A, 5.3 to 5.5): limits, rights, canonical
 * addresses; and the stack. */
#include "cpu/soft/soft.h"

/* The rights of a segment for an access of `size` bytes at `offset` (SDM 3A, 5.3 to 5.5). */
static bool segment_allows(const struct soft_segment *s, uint64_t offset, unsigned size, bool write)
{
	uint64_t last = offset + size - 1, top = s->rights & R_D ? 0xffffffff : 0xffff;

	if (s->unusable)
		return false;
	if (s->rights & R_CODE ? write || !(s->rights & R_WRITE) : write && !(s->rights & R_WRITE))
		return false;
	if (!(s->rights & R_CODE) && s->rights & R_DOWN)
		return offset > s->limit && last <= top;
	return last <= s->limit && last >= offset;
}

bool soft_span_allowed(
	struct soft_cpu *c, unsigned segment, uint64_t offset, unsigned size, bool write)
{
	return c->long_mode || segment_allows(&c->seg[segment], offset, size, write);
}

uint64_t soft_linear(
	struct soft_cpu *c, unsigned segment, uint64_t offset, unsigned size, bool write)
{
	const struct soft_segment *s = &c->seg[segment];
	uint64_t linear;

	if (!c->long_mode) {
		/* Real mode has limits only: even CS may be written (SDM 3A, table 9-1). */
		if (!segment_allows(s, offset, size, write && c->cr0 & CR0_PE))
			soft_fault(c, segment == SEG_SS ? V_SS : V_GP, 0);
		return (s->base + offset) & 0xffffffff;
	}
	linear = segment >= SEG_FS ? s->base + offset : offset;
	if (!soft_canonical(linear, size))
		soft_fault(c, segment == SEG_SS ? V_SS : V_GP, 0);
	return linear;
}

void soft_push(struct soft_cpu *c, uint64_t value, unsigned size)
{
	uint64_t mask = soft_mask(soft_stack_size(c));
	uint64_t sp = (c->gpr[RSP] - size) & mask;
	uint64_t linear = soft_linear(c, SEG_SS, sp, size, true);

	soft_store(c, linear, value & soft_mask(size), size);
	c->gpr[RSP] = (c->gpr[RSP] & ~mask) | sp;
}

uint64_t soft_pop(struct soft_cpu *c, unsigned size)
{
	uint64_t mask = soft_mask(soft_stack_size(c)), sp = c->gpr[RSP] & mask;
	uint64_t value = soft_load(c, soft_linear(c, SEG_SS, sp, size, false), size);

	c->gpr[RSP] = (c->gpr[RSP] & ~mask) | ((sp + size) & mask);
	return value;
}
