/* SPDX-License-Identifier: MIT */
/*
 * Finding ACPI tables. Addresses come from the machine, so the walk is bounded and keeps below 4
 * GiB.
 */
#include "runtime/acpi.h"
#include "runtime/boot.h"
#include "runtime/io.h"
#include "runtime/memory.h"

uint8_t acpi_sum(const void *at, uint32_t length)
{
	const uint8_t *byte = at;
	uint8_t sum = 0;

	while (length--)
		sum += *byte++;
	return sum;
}

static const struct acpi_rsdp *search(uint64_t from, uint64_t to)
{
	for (; from + 20 <= to; from += 16) {
		const struct acpi_rsdp *rsdp = (void *)from;

		if (*(const volatile uint64_t *)from == 0x2052545020445352ull &&
			acpi_sum(rsdp, 20) == 0) /* "RSD PTR " */
			return rsdp;
	}
	return NULL;
}

const struct acpi_rsdp *acpi_rsdp_in_low_memory(void)
{
	uint64_t ebda = (uint64_t)mmio_read16((void *)0x40e) << 4;
	const struct acpi_rsdp *rsdp = NULL;

	if (ebda >= 0x80000 && ebda < 0xa0000)
		rsdp = search(ebda, ebda + 1024);
	return rsdp ? rsdp : search(0xe0000, 0x100000);
}

const struct acpi_rsdp *acpi_rsdp(void)
{
	static const struct acpi_rsdp *found;
	static bool searched;

	if (!searched) {
		searched = true;
		if (boot_info.rsdp && boot_info.rsdp < 1ull << 32)
			found = (void *)boot_info.rsdp;
		else if (boot_info.protocol != BOOT_UEFI)
			found = acpi_rsdp_in_low_memory();
	}
	return found;
}

static const struct acpi_header *root(unsigned *entry_size)
{
	const struct acpi_rsdp *rsdp = acpi_rsdp();

	if (!rsdp)
		return NULL;
	*entry_size = rsdp->revision >= 2 && rsdp->xsdt ? 8 : 4;
	return (void *)(*entry_size == 8 ? rsdp->xsdt : (uint64_t)rsdp->rsdt);
}

unsigned acpi_table_count(void)
{
	unsigned size = 4;
	const struct acpi_header *table = root(&size);

	return table && table->length >= sizeof(*table) ? (table->length - sizeof(*table)) / size
							: 0;
}

const struct acpi_header *acpi_table_nth(unsigned n)
{
	unsigned size = 4;
	const struct acpi_header *table = root(&size);
	uint64_t at = 0;

	if (n >= acpi_table_count())
		return NULL;
	memcpy(&at, (const char *)(table + 1) + n * size, size);
	return at < 1ull << 32 ? (void *)at : NULL;
}

const struct acpi_header *acpi_table(const char *signature)
{
	for (unsigned i = 0; i < acpi_table_count() && i < 64; i++) {
		const struct acpi_header *table = acpi_table_nth(i);

		if (!table)
			continue;
		if (strncmp(table->signature, signature, 4) == 0)
			return table;
		if (strncmp(signature, "DSDT", 4) == 0 && strncmp(table->signature, "FACP", 4) == 0)
			return (void *)(uint64_t)acpi_u32(table, 40);
	}
	return NULL;
}

uint16_t acpi_pm_timer(void)
{
	const struct acpi_header *fadt = acpi_table("FACP");

	return fadt ? acpi_u32(fadt, 76) : 0;
}
