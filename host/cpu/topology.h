/* SPDX-License-Identifier: MIT */
/*
 * -smp: how many processors there are and how they sit in cores, dies and sockets, the APIC ids
 * that follow, and what CPUID says of it (Intel SDM 3A, 8.9; QEMU's rules where it leaves freedom).
 */
#ifndef CPU_TOPOLOGY_H
#define CPU_TOPOLOGY_H

#include <stdbool.h>
#include <stdint.h>

#define CPUS_MAX 16

struct cpu_topology {
	unsigned cpus; /* the product of the others; all are at least 1 */
	unsigned sockets, dies, cores, threads;
};

/* Where a processor sits, each number within the one above. */
struct cpu_place {
	unsigned socket, die, core, thread;
};

struct cpu_place topology_place(const struct cpu_topology *t, unsigned cpu);

/* Each level has its own bits, so ids have gaps where a count is no power of two. */
uint32_t topology_apic_id(const struct cpu_topology *t, unsigned cpu);

/* Changes what a CPUID leaf says (EAX, EBX, ECX, EDX) to this processor's place; other leaves
 * stay.  amd: the vendor has the legacy multi-core bits instead of leaf 4. */
void topology_cpuid(const struct cpu_topology *t, unsigned cpu, uint32_t leaf, uint32_t subleaf,
	bool amd, uint32_t regs[4]);

#endif
