/* SPDX-License-Identifier: MIT */
/*
 * Kernel boot, second part: the ACPI tables (ACPI 6, chapter 5): found both ways, sound, and true
 * about the hardware that a kernel finds without AML.
 */
#include "runtime/acpi.h"
#include "runtime/boot.h"
#include "runtime/irq.h"
#include "runtime/memory.h"
#include "runtime/test.h"

/* Offsets in the FADT (5.2.9). */
enum {
	FADT_FACS = 36,
	FADT_DSDT = 40,
	FADT_SCI = 46,
	FADT_SMI = 48,
	FADT_ACPI_ENABLE = 52,
	FADT_PM1A_EVENT = 56,
	FADT_PM1A_CONTROL = 64,
	FADT_PM_TIMER = 76,
	FADT_PM1_EVENT_LENGTH = 88,
	FADT_PM1_CONTROL_LENGTH = 89,
	FADT_PM_TIMER_LENGTH = 91,
	FADT_FLAGS = 112,
};

static uint8_t byte_of(const void *table, unsigned offset)
{
	return ((const uint8_t *)table)[offset];
}

TEST(rsdp_of_start_info, "",
	"the RSDP named by the start info has its signature and good checksums",
	NEEDS("pvh pci acpi"))
{
	const struct acpi_rsdp *rsdp = (void *)boot_info.rsdp;

	ASSERT_NE(boot_info.rsdp, 0);
	EXPECT_EQ(memcmp(rsdp->signature, "RSD PTR ", 8), 0);
	EXPECT_EQ(acpi_sum(rsdp, 20), 0);
	if (rsdp->revision >= 2)
		EXPECT_EQ(acpi_sum(rsdp, rsdp->length), 0);
	EXPECT_NE(rsdp->rsdt | rsdp->xsdt, 0);
}

TEST(rsdp_in_low_memory, "",
	"an RSDP stands on a 16-byte boundary in the EBDA or 0xe0000 to 0xfffff and names the same "
	"tables",
	NEEDS("pci acpi"))
{
	const struct acpi_rsdp *low, *given;

	if (boot_info.protocol == BOOT_UEFI)
		SKIP("UEFI hands it over in its system table");
	low = acpi_rsdp_in_low_memory();
	given = acpi_rsdp();
	ASSERT_TRUE(low != NULL);
	EXPECT_EQ((uint64_t)low & 15, 0);
	EXPECT_EQ(low->rsdt, given->rsdt);
}

TEST(tables_have_good_sums, "", "every table that RSDT or XSDT lists, and the DSDT, sums to zero",
	NEEDS("acpi"))
{
	unsigned count = acpi_table_count();
	const struct acpi_header *dsdt = acpi_table("DSDT");

	ASSERT_GE(count, 2);
	ASSERT_LE(count, 32);
	for (unsigned i = 0; i < count; i++) {
		const struct acpi_header *table = acpi_table_nth(i);

		ASSERT_TRUE(table != NULL);
		ASSERT_GE(table->length, sizeof(*table));
		ASSERT_LE(table->length, 0x100000);
		if (memcmp(table->signature, "FACS", 4) != 0 &&
			!EXPECT_EQ(acpi_sum(table, table->length), 0))
			note("table %.4s", table->signature);
	}
	ASSERT_TRUE(dsdt != NULL);
	EXPECT_EQ(memcmp(dsdt->signature, "DSDT", 4), 0);
	EXPECT_GT(dsdt->length, sizeof(*dsdt));
}

TEST(fadt_names_hardware, "",
	"the FADT names the PM timer, PM1 control and event blocks, the SCI and a DSDT",
	NEEDS("pci acpi"))
{
	const struct acpi_header *fadt = acpi_table("FACP");

	ASSERT_TRUE(fadt != NULL);
	EXPECT_GE(fadt->length, 116);
	EXPECT_NE(acpi_u32(fadt, FADT_PM_TIMER), 0);
	EXPECT_EQ(byte_of(fadt, FADT_PM_TIMER_LENGTH), 4);
	EXPECT_NE(acpi_u32(fadt, FADT_PM1A_EVENT), 0);
	EXPECT_EQ(byte_of(fadt, FADT_PM1_EVENT_LENGTH), 4);
	EXPECT_NE(acpi_u32(fadt, FADT_PM1A_CONTROL), 0);
	EXPECT_EQ(byte_of(fadt, FADT_PM1_CONTROL_LENGTH), 2);
	EXPECT_EQ(byte_of(fadt, FADT_SCI), 9); /* PIIX4's is wired to IRQ 9 */
	EXPECT_EQ(acpi_u32(fadt, FADT_DSDT), (uint64_t)acpi_table("DSDT"));
}

TEST(facs_is_aligned, "", "the FACS stands on a 64-byte boundary with its signature and length",
	NEEDS("pci acpi"))
{
	const struct acpi_header *fadt = acpi_table("FACP");
	uint64_t facs;

	ASSERT_TRUE(fadt != NULL);
	facs = acpi_u32(fadt, FADT_FACS);
	ASSERT_NE(facs, 0);
	EXPECT_EQ(facs & 63, 0);
	EXPECT_EQ(memcmp((void *)facs, "FACS", 4), 0);
	EXPECT_GE(acpi_u32((void *)facs, 4), 64);
}

/* Calls visit() for each structure of the MADT (5.2.12). */
static void madt_each(void (*visit)(const uint8_t *entry))
{
	const struct acpi_header *madt = acpi_table("APIC");
	unsigned at = 44;

	ASSERT_TRUE(madt != NULL);
	while (at + 2 <= madt->length) {
		const uint8_t *entry = (const uint8_t *)madt + at;

		ASSERT_GE(entry[1], 2);
		ASSERT_LE(at + entry[1], madt->length);
		visit(entry);
		at += entry[1];
	}
	EXPECT_EQ(at, madt->length);
}

static unsigned enabled_processors, this_processor, ioapics, timer_overrides, level_overrides;

static void visit_madt(const uint8_t *entry)
{
	if (entry[0] == 0 && entry[4] & 1) {
		enabled_processors++;
		this_processor += entry[3] == lapic_id();
	} else if (entry[0] == 1) {
		ioapics++;
		EXPECT_EQ(acpi_u32(entry, 4), IOAPIC_BASE);
		EXPECT_EQ(acpi_u32(entry, 8), 0); /* first GSI */
	} else if (entry[0] == 2 && entry[3] == 0) {
		timer_overrides++;
		EXPECT_EQ(acpi_u32(entry, 4), 2);
	} else if (entry[0] == 2 && entry[3] >= 9 && entry[3] <= 11) {
		level_overrides++;
		EXPECT_EQ(entry[8] & 0xf, 0xd); /* active high, level: PIIX3's PIRQs and the SCI */
		EXPECT_EQ(acpi_u32(entry, 4), entry[3]);
	}
}

TEST(madt_lists_apics, "",
	"the MADT lists this processor, one I/O APIC from GSI 0 and the timer's override to pin 2",
	NEEDS("pci acpi"))
{
	const struct acpi_header *madt = acpi_table("APIC");

	enabled_processors = this_processor = ioapics = timer_overrides = level_overrides = 0;
	madt_each(visit_madt);
	EXPECT_EQ(acpi_u32(madt, 36), LAPIC_BASE);
	EXPECT_GE(enabled_processors, 1);
	EXPECT_EQ(this_processor, 1);
	EXPECT_EQ(ioapics, 1);
	EXPECT_EQ(timer_overrides, 1);
	EXPECT_GE(level_overrides, 3);
}

TEST(acpi_is_enabled, "",
	"SCI_EN of PM1 control is set, or is after ACPI_ENABLE is written to the SMI command port",
	NEEDS("pci acpi"))
{
	const struct acpi_header *fadt = acpi_table("FACP");
	uint16_t control;

	ASSERT_TRUE(fadt != NULL);
	control = acpi_u32(fadt, FADT_PM1A_CONTROL);
	if (!(inw(control) & 1) && acpi_u32(fadt, FADT_SMI))
		outb(acpi_u32(fadt, FADT_SMI), byte_of(fadt, FADT_ACPI_ENABLE));
	EXPECT_EQ(inw(control) & 1, 1);
	EXPECT_EQ(inw(control) & 0x2000, 0); /* SLP_EN reads 0 (4.8.3.2.1) */
}
