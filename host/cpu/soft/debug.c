/* SPDX-License-Identifier: MIT */
/*
 * Debug registers (SDM 3B, 17.2 and 17.3): breakpoints on instructions, data and ports, general
 * detect, single steps, the T flag of a task.
 *
 * Nothing is asked of an instruction while no breakpoint is armed.  With one on an instruction,
 * blocks are of one instruction; pages with one on data get no direct tags in the TLB, so that each
 * access to them comes through soft_load_slow() and soft_store_slow().
 *
 * Left out: accesses of the processor's own (descriptor tables, the frames of exceptions) meet no
 * breakpoint; exact and inexact (LE, GE) are one.
 */
#include "base/fault.h"
#include "cpu/soft/soft.h"

#define DR7_LOCAL    0x155u /* L0 to L3, LE */
#define DR7_GD	     (1u << 13)
#define DR7_WRITABLE 0xffff23ffu
#define DR7_ONES     0x400u
#define DR6_HITS     0xfu
#define DR6_BD	     (1u << 13)
#define DR6_BS	     (1u << 14)
#define DR6_WRITABLE 0xe00fu
#define DR6_ONES     0xffff0ff0u

enum { ON_EXECUTE, ON_WRITE, ON_PORT, ON_ACCESS };

/* What breakpoint n is for, or -1 while it is not armed. */
static int armed_for(const struct soft_cpu *c, unsigned n)
{
	unsigned kind = c->dr[7] >> (16 + n * 4) & 3;

	if (!(c->dr[7] >> (n * 2) & 3))
		return -1;
	/* Without CR4.DE the pattern of ports is undefined: it never matches. */
	return kind == ON_PORT && !(c->cr4 & CR4_DE) ? -1 : (int)kind;
}

static unsigned length_of(const struct soft_cpu *c, unsigned n)
{
	static const uint8_t lengths[] = {1, 2, 8, 4};

	return lengths[c->dr[7] >> (18 + n * 4) & 3];
}

static void look_at_points(struct soft_cpu *c)
{
	c->debug_execute = soft_break_armed(c, false);
	c->debug_own_data = c->debug_ports = false;
	for (unsigned n = 0; n < 4; n++) {
		int kind = armed_for(c, n);

		c->debug_execute |= kind == ON_EXECUTE;
		c->debug_own_data |= kind == ON_WRITE || kind == ON_ACCESS;
		c->debug_ports |= kind == ON_PORT;
	}
	c->debug_data = c->debug_own_data || soft_break_armed(c, true);
	c->break_block = true;
}

void soft_debug_changed(struct soft_cpu *c)
{
	bool had_data = c->debug_own_data;

	look_at_points(c);
	if (had_data || c->debug_own_data)
		soft_tlb_flush(c, true); /* direct tags come and go with breakpoints */
}

void soft_points_changed(struct soft_cpu *c)
{
	bool had_data = c->debug_data;

	look_at_points(c);
	if (had_data || c->debug_data)
		soft_tlb_look_again(c);
}

bool soft_debug_watches(const struct soft_cpu *c, uint64_t page)
{
	for (unsigned n = 0; n < 4; n++) {
		int kind = armed_for(c, n);

		if ((kind == ON_WRITE || kind == ON_ACCESS) && soft_page(c->dr[n]) == page)
			return true;
	}
	return soft_break_watches(c, page);
}

/* Breakpoint n and [at, at + size) have a byte in common; its address is aligned to its length. */
static bool meets(const struct soft_cpu *c, unsigned n, uint64_t at, unsigned size)
{
	unsigned length = length_of(c, n);
	uint64_t first = c->dr[n] & ~(uint64_t)(length - 1);

	return at - first < length || first - at < size;
}

static void hit(struct soft_cpu *c, unsigned n)
{
	c->debug_hits |= 1u << n;
	c->break_block = true;
}

void soft_debug_access(struct soft_cpu *c, uint64_t linear, unsigned size, bool write)
{
	for (unsigned n = 0; n < 4; n++) {
		int kind = armed_for(c, n);

		if ((kind == ON_ACCESS || (kind == ON_WRITE && write)) && meets(c, n, linear, size))
			hit(c, n);
	}
	soft_break_access(c, linear, size, write);
}

void soft_debug_port(struct soft_cpu *c, uint16_t port, unsigned size)
{
	for (unsigned n = 0; n < 4; n++)
		if (armed_for(c, n) == ON_PORT && meets(c, n, port, size))
			hit(c, n);
}

/* What a debug exception says of itself: its breakpoints alone, the rest is added (17.2.3). */
static void note(struct soft_cpu *c, uint64_t bits)
{
	fault_cpu("dr6", 6, &bits);
	c->dr[6] = (c->dr[6] & ~(uint64_t)DR6_HITS) | bits;
}

void soft_debug_fetch(struct soft_cpu *c)
{
	uint64_t linear = c->long_mode ? c->rip : (uint32_t)(c->seg[SEG_CS].base + c->rip);
	uint32_t hits = 0;

	for (unsigned n = 0; n < 4; n++)
		if (armed_for(c, n) == ON_EXECUTE && c->dr[n] == linear)
			hits |= 1u << n;
	if (!hits)
		return;
	note(c, hits);
	soft_fault(c, V_DB, NO_ERROR_CODE);
}

void soft_debug_trap(struct soft_cpu *c, bool step)
{
	/* MOV SS and POP SS hold back what they met for one instruction, and lose the step (6.8.3).
	 */
	if (c->inhibit == INHIBIT_SS)
		return;
	if (!step && !c->debug_hits)
		return;
	note(c, c->debug_hits | (step ? DR6_BS : 0));
	c->debug_hits = 0;
	soft_post_trap(c, V_DB);
}

void soft_debug_entered(struct soft_cpu *c)
{
	c->dr[7] &= ~(uint64_t)DR7_GD;
}

void soft_debug_new_task(struct soft_cpu *c, bool trap)
{
	if (c->dr[7] & DR7_LOCAL) {
		c->dr[7] &= ~(uint64_t)DR7_LOCAL;
		soft_debug_changed(c);
	}
	if (trap)
		c->debug_hits |= DR6_BT;
}

/* DR4 and DR5 are DR6 and DR7 unless CR4.DE is set. */
static unsigned number_of(struct soft_cpu *c, unsigned n)
{
	if (n > 7 || ((n == 4 || n == 5) && c->cr4 & CR4_DE))
		soft_fault(c, V_UD, NO_ERROR_CODE);
	if (c->dr[7] & DR7_GD) {
		note(c, DR6_BD);
		soft_fault(c, V_DB, NO_ERROR_CODE);
	}
	return n == 4 || n == 5 ? n + 2 : n;
}

uint64_t soft_read_debug(struct soft_cpu *c, unsigned n)
{
	return c->dr[number_of(c, n)];
}

void soft_write_debug(struct soft_cpu *c, unsigned n, uint64_t value)
{
	n = number_of(c, n);
	fault_cpu("write-dr", n, &value);
	if (n >= 6 && value >> 32)
		soft_fault(c, V_GP, 0);
	if (n == 6)
		value = (value & DR6_WRITABLE) | DR6_ONES;
	else if (n == 7)
		value = (value & DR7_WRITABLE) | DR7_ONES;
	c->dr[n] = value;
	if (n != 6)
		soft_debug_changed(c);
}
