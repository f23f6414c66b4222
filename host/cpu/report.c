/* SPDX-License-Identifier: MIT */
/*
 * Where a processor stopped (report.h): page tables are walked here and not by an engine, because
 * what KVM_TRANSLATE says after a triple fault is not the guest's state on every host.
 *
 * Paging: SDM volume 3A, sections 4.3 to 4.5; five levels are not there.
 */
#include "cpu/report.h"

#include <errno.h>
#include <stdio.h>

#include "base/log.h"

#define CR0_PG	   0x80000000
#define CR4_PSE	   (1u << 4)
#define CR4_PAE	   (1u << 5)
#define EFER_LMA   (1u << 10)
#define PRESENT	   1
#define LARGE	   (1u << 7)
#define FRAME_MASK 0x000ffffffffff000
#define INSN_MAX   15

/* One level: the entry for `linear` in the table at `table`. */
static int entry_at(
	struct guest_memory *mem, uint64_t table, unsigned index, unsigned size, uint64_t *entry)
{
	*entry = 0;
	if (guest_peek(mem, table + (uint64_t)index * size, entry, size) < 0 || !(*entry & PRESENT))
		return -EFAULT;
	return 0;
}

static int walk32(struct guest_memory *mem, const struct cpu_state *state, uint32_t linear,
	uint64_t *physical)
{
	uint64_t entry;
	int rc = entry_at(mem, state->cr3 & 0xfffff000, linear >> 22, 4, &entry);

	if (rc)
		return rc;
	if (entry & LARGE && state->cr4 & CR4_PSE) {
		/* PSE-36: bits 13 to 20 are 32 to 39 of the address. */
		*physical = (entry & 0xffc00000) | (entry & 0x1fe000) << 19 | (linear & 0x3fffff);
		return 0;
	}
	rc = entry_at(mem, entry & 0xfffff000, linear >> 12 & 0x3ff, 4, &entry);
	*physical = (entry & 0xfffff000) | (linear & 0xfff);
	return rc;
}

/* PAE (3 levels) and 4 levels. */
static int walk64(struct guest_memory *mem, const struct cpu_state *state, uint64_t linear,
	uint64_t *physical)
{
	bool is_long = state->efer & EFER_LMA;
	uint64_t table = state->cr3 & (is_long ? FRAME_MASK : 0xffffffe0), entry;

	for (unsigned level = is_long ? 4 : 3; level; level--) {
		unsigned shift = 3 + 9 * level;
		unsigned index = linear >> shift & (is_long || level < 3 ? 0x1ff : 3);
		uint64_t in_page = (UINT64_C(1) << shift) - 1;

		if (entry_at(mem, table, index, 8, &entry))
			return -EFAULT;
		if (level == 1 || (entry & LARGE && (level == 2 || (level == 3 && is_long)))) {
			*physical = (entry & FRAME_MASK & ~in_page) | (linear & in_page);
			return 0;
		}
		table = entry & FRAME_MASK;
	}
	return -EFAULT;
}

int cpu_translate(struct guest_memory *mem, const struct cpu_state *state, uint64_t linear,
	uint64_t *physical)
{
	if (!(state->efer & EFER_LMA))
		linear = (uint32_t)linear;
	if (!(state->cr0 & CR0_PG)) {
		*physical = linear;
		return 0;
	}
	if (!(state->cr4 & CR4_PAE))
		return walk32(mem, state, (uint32_t)linear, physical);
	return walk64(mem, state, linear, physical);
}

/* As many bytes of code as there are: an instruction may end a page before a hole. */
static unsigned read_code(
	struct guest_memory *mem, const struct cpu_state *state, uint8_t bytes[INSN_MAX])
{
	unsigned count = 0;
	uint64_t physical;

	while (count < INSN_MAX &&
		!cpu_translate(mem, state, state->cs.base + state->rip + count, &physical) &&
		!guest_peek(mem, physical, &bytes[count], 1))
		count++;
	return count;
}

void cpu_report(
	struct guest_memory *mem, unsigned cpu, const struct cpu_state *state, const char *what)
{
	char hex[3 * INSN_MAX + 8] = "", code[160];
	uint8_t bytes[INSN_MAX] = {0};
	unsigned count = read_code(mem, state, bytes), length;

	length = cpu_disassemble(state, state->rip, bytes, count, code, sizeof(code));
	if (count)
		snprintf(hex, sizeof(hex), " bytes");
	/* The instruction's own bytes, or all if no instruction begins with them. */
	for (unsigned i = 0; i < (length ? length : count); i++)
		snprintf(hex + 6 + (size_t)3 * i, 4, " %02x", bytes[i]);
	log_error("%s on vCPU %u: CS:RIP %04x:%016llx CR0 %llx CR2 %llx CR3 %llx%s%s%s", what, cpu,
		state->cs.selector, (unsigned long long)state->rip, (unsigned long long)state->cr0,
		(unsigned long long)state->cr2, (unsigned long long)state->cr3, hex,
		length ? ": " : "", code);
}
