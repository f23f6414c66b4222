/* SPDX-License-Identifier: MIT */
/*
 * -d hash: one line each million instructions of virtual time and whenever vCPUs stop, with a hash
 * of all registers, of memory and of what the serial ports sent.  Runs that are the same print the
 * same lines, on any host; where they part, the first line that differs tells within a million.
 */
#include <string.h>
#include <xxhash.h>

#include "base/log.h"
#include "cpu/soft/soft.h"

#define INTERVAL 1000000

/* Numbers one by one: a structure's gaps hold anything. */
static void add(XXH3_state_t *hash, uint64_t number)
{
	XXH3_64bits_update(hash, &number, sizeof(number));
}

static void add_cpu(XXH3_state_t *hash, const struct soft_cpu *c)
{
	const uint64_t registers[] = {c->rip, c->flags, c->cr0, c->cr2, c->cr3, c->cr4, c->efer,
		c->xcr0, c->star, c->lstar, c->cstar, c->fmask, c->kernel_gs_base, c->tsc_aux,
		c->tsc_offset, c->tsc_deadline, c->sysenter_cs, c->sysenter_esp, c->sysenter_eip,
		c->pat, c->misc_enable, c->apic_base, c->gdt.base, c->gdt.limit, c->idt.base,
		c->idt.limit, soft_lapic_tpr(c), c->cpl, c->halted, c->waits_for_sipi,
		c->instructions, c->fpu.fip, c->fpu.fdp, c->fpu.mxcsr, c->fpu.cw, c->fpu.sw,
		c->fpu.fop, c->fpu.valid};

	XXH3_64bits_update(hash, c->gpr, sizeof(c->gpr));
	XXH3_64bits_update(hash, registers, sizeof(registers));
	XXH3_64bits_update(hash, c->dr, sizeof(c->dr));
	XXH3_64bits_update(hash, c->fpu.xmm, sizeof(c->fpu.xmm));
	XXH3_64bits_update(hash, c->fpu.st, sizeof(c->fpu.st));
	for (unsigned i = 0; i < SEGMENTS; i++) {
		add(hash, c->seg[i].selector);
		add(hash, c->seg[i].base);
		add(hash, c->seg[i].limit);
		add(hash, c->seg[i].rights);
		add(hash, c->seg[i].unusable);
	}
}

uint64_t soft_hash_cpu(const struct soft_cpu *c)
{
	XXH3_state_t *hash = XXH3_createState();
	uint64_t digest = 0;

	if (!hash)
		return 0;
	XXH3_64bits_reset(hash);
	add_cpu(hash, c);
	digest = XXH3_64bits_digest(hash);
	XXH3_freeState(hash);
	return digest;
}

static void add_memory(XXH3_state_t *hash, const struct guest_memory *memory)
{
	for (unsigned i = 0; i < memory->count; i++) {
		add(hash, memory->blocks[i].address);
		XXH3_64bits_update(hash, memory->blocks[i].host, memory->blocks[i].size);
	}
}

uint64_t soft_hash_due(const struct soft_engine *soft)
{
	if (!log_wants(LOG_HASH) || !soft->time.is_virtual)
		return UINT64_MAX;
	if (soft->time.instructions % INTERVAL)
		return INTERVAL - soft->time.instructions % INTERVAL;
	return soft->time.instructions == soft->time.hashed ? INTERVAL : 0;
}

void soft_hash_print(struct soft_engine *soft)
{
	struct machine *machine = soft->engine.machine;
	XXH3_state_t *hash;

	if (!log_wants(LOG_HASH) || !soft->time.is_virtual)
		return;
	hash = XXH3_createState();
	if (!hash)
		return;
	XXH3_64bits_reset(hash);
	for (unsigned i = 0; i < soft->engine.cpus; i++)
		add_cpu(hash, &soft->cpus[i]);
	add_memory(hash, &machine->memory);
	add(hash, machine->output_hash);
	add(hash, vm_clock_now(&machine->clock));
	log_line("hash %llu %016llx", (unsigned long long)soft->time.instructions,
		(unsigned long long)XXH3_64bits_digest(hash));
	XXH3_freeState(hash);
	soft->time.hashed = soft->time.instructions;
}
