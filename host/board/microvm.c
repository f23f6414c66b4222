/* SPDX-License-Identifier: MIT */
/*
 * Machine `microvm`: no PCI and no ACPI, but an MP table; virtio-mmio slots, as QEMU's microvm with
 * acpi=off.
 *
 * It is the machine that starts fast, so its PIC, IOAPIC and PIT are ours: the kernel's take tens
 * of milliseconds to go away when the VM ends (docs/performance.md).
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "board/mptable.h"
#include "board/pc.h"
#include "virtio/mmio.h"

#define MIB (1ULL << 20)

/* The slots, where QEMU 7.2 has them with acpi=off. */
#define SLOTS	   8
#define SLOTS_BASE 0xfeb00000
#define SLOTS_GSI  5

static int microvm_build(
	struct machine *machine, const struct board_config *config, struct error *err)
{
	return virtio_mmio_create(machine, SLOTS, SLOTS_BASE, SLOTS_GSI, err);
}

static int microvm_load(struct machine *machine, const struct board_config *config, uint64_t *rsdp,
	struct error *err)
{
	return mptable_load(machine, &config->smp, err);
}

/* Says where the slots in use are, as Linux's virtio-mmio driver reads it; highest slot first. */
static int microvm_append(struct machine *machine, const struct board_config *config, char *to,
	size_t size, struct error *err)
{
	const char *wanted =
		config->machine_kv ? keyvals_get(config->machine_kv, "auto-kernel-cmdline") : NULL;
	uint64_t base[SLOTS];
	unsigned gsi[SLOTS], count = 0;
	size_t used = 0;

	if (wanted && strcmp(wanted, "off") == 0)
		return 0;
	while (count < SLOTS && virtio_mmio_used(machine, count, &base[count], &gsi[count]))
		count++;
	while (count-- && used < size)
		used += snprintf(to + used, size - used, " virtio_mmio.device=%d@0x%llx:%u",
			VIRTIO_MMIO_SIZE, (unsigned long long)base[count], gsi[count]);
	return used < size ? 0 : error_set(err, ENOSPC, "the kernel command line is full");
}

const struct board_type board_microvm = {
	.name = "microvm",
	.description = "microvm (i386)",
	.default_memory = 128 * MIB,
	.default_drive = "virtio",
	.max_cpus = CPUS_MAX,
	.build = microvm_build,
	.load = microvm_load,
	.append = microvm_append,
};
