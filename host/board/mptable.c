/* SPDX-License-Identifier: MIT */
/*
 * The MultiProcessor table (Intel MultiProcessor Specification 1.4, chapter 4): how a guest without
 * ACPI learns of processors, IOAPIC and ISA interrupts.  In the EBDA, where QEMU's firmware for
 * microvm leaves it.
 */
#include "board/mptable.h"

#include <errno.h>
#include <string.h>

#include "base/fault.h"

#define FLOATING_AT  0x9fc00 /* the last KiB of base memory */
#define TABLE_AT     (FLOATING_AT + 16)
#define HEADER_SIZE  44
#define TABLE_MAX    1008
#define LOCAL_APIC   0xfee00000
#define IOAPIC	     0xfec00000
#define APIC_VERSION 0x14
#define ISA_LINES    16
#define CASCADE	     2
#define TIMER_PIN    2
#define EVERY_APIC   0xff

enum { ENTRY_PROCESSOR, ENTRY_BUS, ENTRY_IOAPIC, ENTRY_INTERRUPT, ENTRY_LOCAL };
enum { TYPE_INT, TYPE_NMI, TYPE_SMI, TYPE_EXTINT };

struct writer {
	uint8_t bytes[TABLE_MAX];
	size_t used;
	unsigned entries;
};

static void put(struct writer *w, uint64_t value, unsigned size)
{
	for (unsigned i = 0; i < size; i++)
		w->bytes[w->used++] = value >> i * 8;
}

static void text(struct writer *w, const char *string, unsigned size)
{
	memcpy(w->bytes + w->used, string, size);
	w->used += size;
}

static void processors(struct writer *w, const struct cpu_topology *smp)
{
	for (unsigned i = 0; i < smp->cpus; i++, w->entries++) {
		put(w, ENTRY_PROCESSOR, 1);
		put(w, topology_apic_id(smp, i), 1);
		put(w, APIC_VERSION, 1);
		put(w, i == 0 ? 3 : 1, 1); /* enabled; the first is the boot processor */
		put(w, 0x00060fb1, 4);	   /* signature and features as CPUID 1 says */
		put(w, 0x178bfbff, 4);
		put(w, 0, 8);
	}
}

/* A line of the ISA bus to a pin of the IOAPIC; or, local, to LINT0 or LINT1. */
static void interrupt(
	struct writer *w, unsigned entry, unsigned type, unsigned irq, unsigned apic, unsigned pin)
{
	put(w, entry, 1);
	put(w, type, 1);
	put(w, 0, 2); /* as the bus has it: edge, high */
	put(w, 0, 1);
	put(w, irq, 1);
	put(w, apic, 1);
	put(w, pin, 1);
	w->entries++;
}

static void interrupts(struct writer *w)
{
	put(w, ENTRY_BUS, 1);
	put(w, 0, 1);
	text(w, "ISA   ", 6);
	put(w, ENTRY_IOAPIC, 1);
	put(w, 0, 1); /* what its id register says */
	put(w, APIC_VERSION, 1);
	put(w, 1, 1);
	put(w, IOAPIC, 4);
	w->entries += 2;
	for (unsigned irq = 0; irq < ISA_LINES; irq++)
		if (irq != CASCADE)
			interrupt(w, ENTRY_INTERRUPT, TYPE_INT, irq, 0, irq ? irq : TIMER_PIN);
	interrupt(w, ENTRY_LOCAL, TYPE_EXTINT, 0, 0, 0);
	interrupt(w, ENTRY_LOCAL, TYPE_NMI, 0, EVERY_APIC, 1);
}

static uint8_t checksum(const uint8_t *bytes, size_t size)
{
	uint8_t sum = 0;

	while (size--)
		sum += *bytes++;
	return -sum;
}

static void header(struct writer *w, size_t length, unsigned entries)
{
	text(w, "PCMP", 4);
	put(w, length, 2);
	put(w, 4, 1);
	put(w, 0, 1); /* the sum */
	text(w, "ASSAY   ", 8);
	text(w, "MICROVM     ", 12);
	put(w, 0, 6); /* no OEM table */
	put(w, entries, 2);
	put(w, LOCAL_APIC, 4);
	put(w, 0, 4);
}

int mptable_load(struct machine *machine, const struct cpu_topology *smp, struct error *err)
{
	struct writer table = {.used = HEADER_SIZE}, head = {0}, floating = {0};

	_Static_assert(HEADER_SIZE + CPUS_MAX * 20 + 16 + 17 * 8 <= TABLE_MAX, "it fits the EBDA");
	processors(&table, smp);
	interrupts(&table);
	header(&head, table.used, table.entries);
	memcpy(table.bytes, head.bytes, HEADER_SIZE);
	table.bytes[7] = checksum(table.bytes, table.used);
	fault_table("mptable", table.bytes, table.used);
	text(&floating, "_MP_", 4);
	put(&floating, TABLE_AT, 4);
	put(&floating, 1, 1);
	put(&floating, 4, 1);
	put(&floating, 0, 6);
	floating.bytes[10] = checksum(floating.bytes, 16);
	if (guest_load(&machine->memory, FLOATING_AT, floating.bytes, 16) ||
		guest_load(&machine->memory, TABLE_AT, table.bytes, table.used))
		return error_set(err, EFAULT, "-m: no memory below 1 MiB for the MP table");
	return 0;
}
