/* SPDX-License-Identifier: MIT */
/*
 * Needs: what a TEST requires of the machine, as words separated by spaces, read by the harness
 * from the ELF (struct test, needs) to choose a machine, and by the runtime to skip where the
 * machine lacks it. The list is closed; a word not in it is an ERROR.
 *
 *	pci           PCI configuration mechanism 1 answers
 *	mmio          virtio-mmio slots are announced on the command line
 *	smp>=N        N processors
 *	mem>=N        N MiB of RAM in all
 *	modern        virtio devices are driven by their modern interface (interface=legacy is not
 *said) disk:ata      a disk on PIIX3's IDE disk:virtio   a virtio-blk disk, on whatever transport
 *the machine has net:virtio    a virtio-net device pci-testdev   QEMU's PCI test device (1b36:0005)
 *	rtc           the CMOS clock
 *	pit           the 8254
 *	pic           the two 8259As
 *	ioapic        the 82093AA
 *	acpi          ACPI tables and the PM timer
 *	uart2         COM2, when it is not the control port
 *	ctl           a host that answers on the control port
 *	probe         Assay's probe device
 *	module        at least one module (-initrd)
 *	multiboot     entered by Multiboot
 *	pvh           entered by PVH
 *	efi           entered by UEFI
 *	life          may run with a save or migration at a checkpoint
 *	exact         the engine is a whole processor at CPL 0, not an interpreter of a part of it
 *	tells         the harness says exact=0 where the engine is not `exact`: the TEST skips then
 *	insn:NAME     the processor executes it at CPL 0: int, int3, sse, x87, popcnt, ...; iret32
 *is IRETD in 32-bit mode, without which no 32-bit kernel runs
 *
 * The runtime checks pci, mmio, modern, smp, mem, pit, acpi, ctl, module, multiboot, pvh, efi and
 *pci-testdev itself; the rest is the harness's to provide, and a TEST that does not find its device
 *calls SKIP().
 */
#ifndef ASSAY_RUNTIME_NEEDS_H
#define ASSAY_RUNTIME_NEEDS_H

#define NEEDS(words) .needs = (words)

/* NULL if the machine has all, else the word it lacks (*unknown: a word not in the list). */
const char *needs_missing(const char *words, int *unknown);

#endif
