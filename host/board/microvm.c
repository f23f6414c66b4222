/* SPDX-License-Identifier: MIT */
/*
 * Machine `microvm`: no PCI and no ACPI; virtio-mmio slots, as QEMU's microvm with acpi=off.
 *
 * It is the machine that starts fast, so its PIC, IOAPIC and PIT are ours: the kernel's take tens of
 * milliseconds to go away when the VM ends (docs/performance.md).
 */
#include "board/irq-models.h"
#include "board/pc.h"

#define MIB (1ULL << 20)

static int microvm_build(struct machine *machine, const struct board_config *config,
	struct error *err)
{
	return irq_models_create(machine, err);
}

static int microvm_load(struct machine *machine, const struct board_config *config,
	uint64_t *rsdp, struct error *err)
{
	return 0;
}

const struct board_type board_microvm = {
	.name = "microvm",
	.description = "microvm (i386)",
	.default_memory = 128 * MIB,
	.default_drive = "virtio",
	.max_cpus = 1,
	.build = microvm_build,
	.load = microvm_load,
};
