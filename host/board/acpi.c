/* SPDX-License-Identifier: MIT */
/*
 * ACPI tables (ACPI 6.4, chapter 5.2) for machine `pc`: RSDP, RSDT, XSDT, FADT of revision 3,
 * FACS, MADT, DSDT.  They lie in the BIOS area below 1 MiB, which the memory map reserves and in
 * which a kernel looks for the RSDP by itself.
 */
#include "board/acpi.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "board/memmap.h"

#define AREA	  MEMMAP_BIOS_START
#define AREA_SIZE (MEMMAP_BIOS_END - MEMMAP_BIOS_START - 0x1000) /* the reset vector's page */

#define SCI_IRQ	   9
#define SMI_CMD	   0xb2
#define PM_BASE	   0x600 /* where SeaBIOS puts it, too */
#define GPE_BASE   0xafe0
#define RESET_PORT 0xcf9

struct header {
	char signature[4];
	uint32_t length;
	uint8_t revision, checksum;
	char oem_id[6], oem_table_id[8];
	uint32_t oem_revision;
	char creator_id[4];
	uint32_t creator_revision;
} __attribute__((packed));

struct generic_address {
	uint8_t space, width, offset, access;
	uint64_t address;
} __attribute__((packed));

struct fadt {
	struct header header;
	uint32_t facs, dsdt;
	uint8_t reserved1, profile;
	uint16_t sci;
	uint32_t smi_command;
	uint8_t acpi_enable, acpi_disable, s4bios, pstate;
	uint32_t pm1a_event, pm1b_event, pm1a_control, pm1b_control, pm2_control, pm_timer;
	uint32_t gpe0, gpe1;
	uint8_t pm1_event_length, pm1_control_length, pm2_control_length, pm_timer_length;
	uint8_t gpe0_length, gpe1_length, gpe1_base, cst_control;
	uint16_t c2_latency, c3_latency, flush_size, flush_stride;
	uint8_t duty_offset, duty_width, day_alarm, month_alarm, century;
	uint16_t boot_arch;
	uint8_t reserved2;
	uint32_t flags;
	struct generic_address reset;
	uint8_t reset_value;
	uint16_t arm_boot;
	uint8_t minor;
	uint64_t x_facs, x_dsdt;
	struct generic_address x_pm1a_event, x_pm1b_event, x_pm1a_control, x_pm1b_control;
	struct generic_address x_pm2_control, x_pm_timer, x_gpe0, x_gpe1;
} __attribute__((packed));

_Static_assert(sizeof(struct header) == 36, "table header");
_Static_assert(sizeof(struct fadt) == 244, "FADT, revision 3");

#define BOOT_LEGACY 0x0001 /* ISA devices are there */
#define BOOT_NO_VGA 0x0004

#define FLAG_WBINVD	     0x00001
#define FLAG_C1		     0x00004
#define FLAG_NO_SLEEP_BUTTON 0x00020
#define FLAG_NO_RTC_WAKE     0x00040
#define FLAG_RESET	     0x00400

struct rsdp {
	char signature[8];
	uint8_t checksum;
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt, length;
	uint64_t xsdt;
	uint8_t extended_checksum, reserved[3];
} __attribute__((packed));

_Static_assert(sizeof(struct rsdp) == 36, "RSDP, revision 2");

struct facs {
	char signature[4];
	uint32_t length, hardware_signature, waking_vector, global_lock, flags;
	uint64_t x_waking_vector;
	uint8_t version, reserved[31];
} __attribute__((packed));

_Static_assert(sizeof(struct facs) == 64, "FACS");

/* The tables as they will lie at AREA. */
struct area {
	uint8_t *data;
	size_t used;
};

static void *allocate(struct area *area, size_t size, size_t align)
{
	size_t at = (area->used + align - 1) & ~(align - 1);

	if (size > AREA_SIZE || at > AREA_SIZE - size)
		return NULL;
	area->used = at + size;
	return area->data + at;
}

static uint32_t address_of(const struct area *area, const void *table)
{
	return AREA + (uint32_t)((const uint8_t *)table - area->data);
}

static uint8_t checksum(const void *bytes, size_t length)
{
	const uint8_t *at = bytes;
	uint8_t sum = 0;

	while (length--)
		sum += *at++;
	return -sum;
}

static void finish(struct header *header, const char *signature, uint8_t revision, uint32_t length)
{
	char name[] = "acpi:XXXX", sum[] = "acpi-sum:XXXX";

	memcpy(header->signature, signature, 4);
	header->length = length;
	header->revision = revision;
	memcpy(header->oem_id, "ASSAY ", 6);
	memcpy(header->oem_table_id, "ASSAYPC ", 8);
	header->oem_revision = 1;
	memcpy(header->creator_id, "ASAY", 4);
	header->creator_revision = 1;
	header->checksum = 0;
	memcpy(name + 5, signature, 4);
	fault_table(name, header, length);
	header->checksum = checksum(header, length);
	memcpy(sum + 9, signature, 4);
	fault_table(sum, header, length);
}

static struct generic_address io(uint16_t port, uint8_t width)
{
	return (struct generic_address){.space = 1, .width = width, .address = port};
}

static void fill_fadt(struct fadt *fadt, uint32_t facs, uint32_t dsdt)
{
	fadt->facs = facs;
	fadt->dsdt = dsdt;
	fadt->x_dsdt = dsdt;
	fadt->profile = 1; /* desktop */
	fadt->sci = SCI_IRQ;
	fadt->smi_command = SMI_CMD;
	fadt->acpi_enable = 0xf1;
	fadt->acpi_disable = 0xf0;
	fadt->pm1a_event = PM_BASE;
	fadt->pm1a_control = PM_BASE + 4;
	fadt->pm_timer = PM_BASE + 8;
	fadt->gpe0 = GPE_BASE;
	fadt->pm1_event_length = 4;
	fadt->pm1_control_length = 2;
	fadt->pm_timer_length = 4;
	fadt->gpe0_length = 4;
	fadt->c2_latency = 0xfff; /* no C2, no C3 */
	fadt->c3_latency = 0xfff;
	fadt->century = 0x32;
	fadt->boot_arch = BOOT_LEGACY | BOOT_NO_VGA;
	fadt->flags = FLAG_WBINVD | FLAG_C1 | FLAG_NO_SLEEP_BUTTON | FLAG_NO_RTC_WAKE | FLAG_RESET;
	fadt->reset = io(RESET_PORT, 8);
	fadt->reset_value = 0x06;
	fadt->x_pm1a_event = io(PM_BASE, 32);
	fadt->x_pm1a_control = io(PM_BASE + 4, 16);
	fadt->x_pm_timer = io(PM_BASE + 8, 32);
	fadt->x_gpe0 = io(GPE_BASE, 32);
	finish(&fadt->header, "FACP", 3, sizeof(*fadt));
}

static void put(uint8_t **at, uint64_t value, unsigned size)
{
	for (unsigned i = 0; i < size; i++)
		*(*at)++ = value >> i * 8;
}

static void interrupt_override(uint8_t **at, uint8_t irq, uint32_t gsi, uint16_t flags)
{
	put(at, 2, 1);
	put(at, 10, 1);
	put(at, 0, 1); /* ISA */
	put(at, irq, 1);
	put(at, gsi, 4);
	put(at, flags, 2);
}

/* Local APICs, the IOAPIC, where ISA interrupts go, and the NMI (5.2.12). */
static struct header *build_madt(struct area *area, const struct cpu_topology *smp)
{
	static const uint8_t level_irqs[] = {5, SCI_IRQ, 10, 11}; /* PIRQs and SCI: level, high */
	size_t size = sizeof(struct header) + 8 + smp->cpus * 8 + 12 + 5 * 10 + 6;
	struct header *madt = allocate(area, size, 16);
	uint8_t *at;

	if (!madt)
		return NULL;
	at = (uint8_t *)(madt + 1);
	put(&at, 0xfee00000, 4);
	put(&at, 1, 4); /* the two 8259A are there as well */
	for (unsigned i = 0; i < smp->cpus; i++) {
		put(&at, 0, 1);
		put(&at, 8, 1);
		put(&at, i, 1);
		put(&at, topology_apic_id(smp, i), 1);
		put(&at, 1, 4);
	}
	put(&at, 1, 1);
	put(&at, 12, 1);
	put(&at, 0, 2);
	put(&at, 0xfec00000, 4);
	put(&at, 0, 4);
	interrupt_override(&at, 0, 2, 0);
	for (unsigned i = 0; i < sizeof(level_irqs); i++)
		interrupt_override(&at, level_irqs[i], level_irqs[i], 0x0d);
	put(&at, 4, 1);
	put(&at, 6, 1);
	put(&at, 0xff, 1); /* every processor: NMI at LINT1 */
	put(&at, 0, 2);
	put(&at, 1, 1);
	finish(madt, "APIC", 1, size);
	return madt;
}

static struct header *build_dsdt(struct area *area, const struct acpi_config *config)
{
	struct header *dsdt = allocate(area, sizeof(*dsdt), 16);
	size_t length;

	if (!dsdt)
		return NULL;
	length = acpi_dsdt(config, (uint8_t *)(dsdt + 1), AREA_SIZE - area->used);
	area->used += length;
	if (!length)
		return NULL;
	finish(dsdt, "DSDT", 2, sizeof(*dsdt) + length);
	return dsdt;
}

/* RSDT or XSDT: a header and addresses of `size` bytes. */
static struct header *build_root(struct area *area, const char *signature, unsigned size,
	const uint32_t *tables, unsigned count)
{
	struct header *root = allocate(area, sizeof(*root) + count * size, 16);
	uint8_t *at;

	if (!root)
		return NULL;
	at = (uint8_t *)(root + 1);
	for (unsigned i = 0; i < count; i++)
		put(&at, tables[i], size);
	finish(root, signature, 1, sizeof(*root) + count * size);
	return root;
}

static void fill_rsdp(struct rsdp *rsdp, uint32_t rsdt, uint32_t xsdt)
{
	memcpy(rsdp->signature, "RSD PTR ", 8);
	memcpy(rsdp->oem_id, "ASSAY ", 6);
	rsdp->revision = 2;
	rsdp->rsdt = rsdt;
	rsdp->length = sizeof(*rsdp);
	rsdp->xsdt = xsdt;
	rsdp->checksum = checksum(rsdp, 20);
	rsdp->extended_checksum = checksum(rsdp, sizeof(*rsdp));
	fault_table("acpi:RSDP", rsdp, sizeof(*rsdp));
}

static bool build(struct area *area, const struct acpi_config *config)
{
	struct rsdp *rsdp = allocate(area, sizeof(*rsdp), 16);
	struct facs *facs = allocate(area, sizeof(*facs), 64);
	struct fadt *fadt = allocate(area, sizeof(*fadt), 16);
	struct header *madt = build_madt(area, &config->smp);
	struct header *dsdt = build_dsdt(area, config);
	struct header *rsdt, *xsdt;
	uint32_t tables[2];

	if (!rsdp || !facs || !fadt || !madt || !dsdt)
		return false;
	memcpy(facs->signature, "FACS", 4);
	facs->length = sizeof(*facs);
	facs->version = 1;
	fill_fadt(fadt, address_of(area, facs), address_of(area, dsdt));
	tables[0] = address_of(area, fadt);
	tables[1] = address_of(area, madt);
	rsdt = build_root(area, "RSDT", 4, tables, 2);
	xsdt = build_root(area, "XSDT", 8, tables, 2);
	if (!rsdt || !xsdt)
		return false;
	fill_rsdp(rsdp, address_of(area, rsdt), address_of(area, xsdt));
	return true;
}

uint8_t *acpi_tables(const struct acpi_config *config, size_t *length, struct error *err)
{
	struct area area = {.data = calloc(1, AREA_SIZE)};

	if (!area.data) {
		error_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	if (config->smp.cpus > CPUS_MAX || !build(&area, config)) {
		error_set(err, ENOSPC, "the ACPI tables do not fit below 1 MiB");
		free(area.data);
		return NULL;
	}
	*length = area.used;
	return area.data;
}

int acpi_build(struct machine *machine, const struct acpi_config *config, uint64_t *rsdp,
	struct error *err)
{
	size_t length = 0;
	uint8_t *tables = acpi_tables(config, &length, err);
	int rc = tables ? 0 : -ENOSPC;

	if (tables && guest_load(&machine->memory, AREA, tables, length))
		rc = error_set(err, EFAULT, "-m: no memory below 1 MiB for the ACPI tables");
	*rsdp = AREA;
	free(tables);
	return rc;
}
