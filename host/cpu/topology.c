/* SPDX-License-Identifier: MIT */
/* Places, APIC ids and CPUID leaves (topology.h). */
#include "cpu/topology.h"

#define LEVEL_THREAD 1
#define LEVEL_CORE   2
#define LEVEL_DIE    5

struct cpu_place topology_place(const struct cpu_topology *t, unsigned cpu)
{
	return (struct cpu_place){
		.thread = cpu % t->threads,
		.core = cpu / t->threads % t->cores,
		.die = cpu / (t->threads * t->cores) % t->dies,
		.socket = cpu / (t->threads * t->cores * t->dies),
	};
}

/* Bits that `count` ids need. */
static unsigned width(unsigned count)
{
	return count > 1 ? 32 - __builtin_clz(count - 1) : 0;
}

uint32_t topology_apic_id(const struct cpu_topology *t, unsigned cpu)
{
	struct cpu_place place = topology_place(t, cpu);
	uint32_t id = place.socket;

	id = id << width(t->dies) | place.die;
	id = id << width(t->cores) | place.core;
	return id << width(t->threads) | place.thread;
}

/* Leaf 0xB and 0x1F: how far to shift the id for the next level, processors at this one. */
static void levels(
	const struct cpu_topology *t, uint32_t subleaf, bool dies, uint32_t id, uint32_t regs[4])
{
	unsigned core_shift = width(t->threads), package_shift = core_shift + width(t->cores);
	unsigned threads = t->threads * t->cores;

	if (!dies) {
		package_shift += width(t->dies);
		threads *= t->dies;
	}
	regs[0] = regs[1] = 0;
	regs[2] = subleaf & 0xff;
	regs[3] = id;
	if (subleaf == 0) {
		regs[0] = core_shift;
		regs[1] = t->threads;
		regs[2] |= LEVEL_THREAD << 8;
	} else if (subleaf == 1) {
		regs[0] = package_shift;
		regs[1] = threads;
		regs[2] |= LEVEL_CORE << 8;
	} else if (subleaf == 2 && dies) {
		regs[0] = package_shift + width(t->dies);
		regs[1] = threads * t->dies;
		regs[2] |= LEVEL_DIE << 8;
	}
}

/* EAX: ids that share this cache in bits 14 to 25, cores of the package in 26 to 31, both less 1.
 */
static void cache(const struct cpu_topology *t, uint32_t regs[4])
{
	unsigned level = regs[0] >> 5 & 7, package = t->cores * t->threads * t->dies;
	unsigned sharing = level < 3 ? t->threads : package;

	if (!(regs[0] & 0x1f))
		return;
	regs[0] = (regs[0] & 0x3fff) | (sharing - 1) << 14 | (t->cores * t->dies - 1) << 26;
}

void topology_cpuid(const struct cpu_topology *t, unsigned cpu, uint32_t leaf, uint32_t subleaf,
	bool amd, uint32_t regs[4])
{
	unsigned package = t->dies * t->cores * t->threads;
	uint32_t id = topology_apic_id(t, cpu);

	switch (leaf) {
	case 1:
		regs[1] = (regs[1] & 0xffff) | package << 16 | id << 24;
		regs[3] = package > 1 ? regs[3] | 1u << 28 : regs[3] & ~(1u << 28);
		break;
	case 4: cache(t, regs); break;
	case 0xb: levels(t, subleaf, false, id, regs); break;
	case 0x1f: levels(t, subleaf, true, id, regs); break;
	case 0x80000001: /* CmpLegacy */
		regs[2] = amd && package > 1 ? regs[2] | 2 : regs[2] & ~2u;
		break;
	case 0x80000008: regs[2] = amd ? package - 1 : 0; break;
	default: break;
	}
}
