/* SPDX-License-Identifier: MIT */
/* Finding the processors (processors.h): ACPI 6, 5.2.12; MP specification 1.4, chapter 4. */
#include "runtime/processors.h"
#include "runtime/acpi.h"
#include "runtime/boot.h"
#include "runtime/io.h"
#include "runtime/irq.h"

#define MADT_ENTRIES 44
#define MADT_LOCAL   0
#define MADT_X2APIC  9
#define ENABLED	     1

#define MP_FLOATING  0x5f504d5fu /* "_MP_" */
#define MP_CONFIG    0x504d4350u /* "PCMP" */
#define MP_ENTRIES   44
#define MP_PROCESSOR 0

static void add(struct processors *all, uint32_t id)
{
	for (unsigned i = 0; i < all->count; i++)
		if (all->apic_id[i] == id)
			return;
	if (all->count < PROCESSORS_MAX)
		all->apic_id[all->count++] = id;
}

static bool from_madt(struct processors *all)
{
	const struct acpi_header *madt = acpi_table("APIC");
	const uint8_t *table = (const uint8_t *)madt;

	if (!madt)
		return false;
	for (uint32_t at = MADT_ENTRIES; at + 2 <= madt->length && table[at + 1];
		at += table[at + 1]) {
		if (table[at] == MADT_LOCAL && acpi_u32(table, at + 4) & ENABLED)
			add(all, table[at + 3]);
		else if (table[at] == MADT_X2APIC && acpi_u32(table, at + 8) & ENABLED)
			add(all, acpi_u32(table, at + 4));
	}
	return true;
}

static const uint8_t *find_floating(uint64_t from, uint64_t size)
{
	for (uint64_t at = from; at + 16 <= from + size; at += 16)
		if (mmio_read32((void *)at) == MP_FLOATING && acpi_sum((void *)at, 16) == 0)
			return (const uint8_t *)at;
	return NULL;
}

/* The first KiB of the EBDA, the last of base memory, the BIOS ROM (MP 1.4, 4.1). */
static const uint8_t *mp_floating(void)
{
	uint64_t ebda = (uint64_t)mmio_read16((void *)0x40e) << 4;
	const uint8_t *found = NULL;

	if (ebda >= 0x80000 && ebda < 0xa0000)
		found = find_floating(ebda, 1024);
	if (!found)
		found = find_floating(0x9fc00, 1024);
	return found ? found : find_floating(0xf0000, 0x10000);
}

static bool from_mp_table(struct processors *all)
{
	const uint8_t *floating = boot_info.protocol == BOOT_UEFI ? NULL : mp_floating();
	const uint8_t *table = floating ? (void *)(uint64_t)acpi_u32(floating, 4) : NULL;
	uint32_t length, at = MP_ENTRIES;

	if (!table || acpi_u32(table, 0) != MP_CONFIG)
		return false;
	length = acpi_u32(table, 4) & 0xffff;
	if (acpi_sum(table, length))
		return false;
	for (; at < length; at += table[at] == MP_PROCESSOR ? 20 : 8)
		if (table[at] == MP_PROCESSOR && table[at + 3] & ENABLED)
			add(all, table[at + 1]);
	return true;
}

const struct processors *processors(void)
{
	static struct processors all;

	if (all.count)
		return &all;
	add(&all, lapic_id());
	all.source = from_madt(&all) ? "MADT" : from_mp_table(&all) ? "MP table" : "none";
	return &all;
}
