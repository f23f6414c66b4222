/* SPDX-License-Identifier: MIT */
/*
 * The DSDT of machine `pc`: what a kernel cannot find by itself.  Processors, the PCI root bridge
 * with its windows and interrupt routing through PIIX3's links (82371SB, PIRQRC), the ISA devices,
 * fw_cfg (QEMU0002), and soft-off.
 */
#include "board/acpi.h"
#include "board/aml.h"

#define PIRQS	       4
#define PIRQ_OFF       0x80
#define STA_PRESENT    0x09 /* present and working, not enabled */
#define STA_ENABLED    0x0b
#define SLOTS	       32
#define PCI_MEMORY_END 0xfebfffffu
#define SLP_TYPE_S5    0

static const struct {
	uint16_t base;
	uint8_t irq;
} coms[ACPI_COMS] = {{0x3f8, 4}, {0x2f8, 3}, {0x3e8, 4}, {0x2e8, 3}};

static const char *const link_names[PIRQS] = {"LNKA", "LNKB", "LNKC", "LNKD"};
static const char *const register_names[PIRQS] = {"PRQ0", "PRQ1", "PRQ2", "PRQ3"};

static void crs(struct aml *aml, struct aml_resources *r)
{
	aml_name(aml, "_CRS");
	aml_buffer(aml, r);
}

static void processors(struct aml *aml, unsigned cpus)
{
	for (unsigned i = 0; i < cpus; i++) {
		char name[5] = {'C', "0123456789ABCDEF"[i >> 8 & 15],
			"0123456789ABCDEF"[i >> 4 & 15], "0123456789ABCDEF"[i & 15], 0};
		size_t device = aml_open_device(aml, name);

		aml_name(aml, "_HID");
		aml_string(aml, "ACPI0007");
		aml_name_integer(aml, "_UID", i);
		aml_close(aml, device);
	}
}

/* Everything in I/O space that belongs to the board itself. */
static void board_resources(struct aml *aml)
{
	struct aml_resources r = {0};
	size_t device = aml_open_device(aml, "SYSR");

	aml_name(aml, "_HID");
	aml_eisa_id(aml, "PNP0C02");
	aml_resource_io(&r, 0x92, 1);
	aml_resource_io(&r, 0xb2, 2);
	aml_resource_io(&r, 0x600, 64);
	aml_resource_io(&r, 0xafe0, 4);
	crs(aml, &r);
	aml_close(aml, device);
}

static void isa_device(struct aml *aml, const char *name, const char *id, unsigned uid,
	uint16_t base, uint8_t length, unsigned irq)
{
	struct aml_resources r = {0};
	size_t device = aml_open_device(aml, name);

	aml_name(aml, "_HID");
	aml_eisa_id(aml, id);
	if (uid)
		aml_name_integer(aml, "_UID", uid);
	aml_resource_io(&r, base, length);
	aml_resource_irq(&r, irq);
	crs(aml, &r);
	aml_close(aml, device);
}

static void isa_bridge(struct aml *aml, const struct acpi_config *config)
{
	size_t device = aml_open_device(aml, "ISA_");

	aml_name_integer(aml, "_ADR", 0x00010000);
	aml_byte(aml, AML_EXT); /* OperationRegion (P40C, PCI_Config, 0x60, 4): PIRQRC */
	aml_byte(aml, AML_EXT_REGION);
	aml_path(aml, "P40C");
	aml_byte(aml, AML_REGION_PCI_CONFIG);
	aml_integer(aml, 0x60);
	aml_integer(aml, PIRQS);
	isa_device(aml, "RTC_", "PNP0B00", 0, 0x70, 2, 8);
	for (unsigned i = 0; i < ACPI_COMS; i++) {
		char name[5] = {'C', 'O', 'M', '1' + i, 0};

		if (config->coms[i])
			isa_device(aml, name, "PNP0501", i + 1, coms[i].base, 8, coms[i].irq);
	}
	aml_close(aml, device);
}

static void fw_cfg(struct aml *aml)
{
	struct aml_resources r = {0};
	size_t device = aml_open_device(aml, "FWCF");

	aml_name(aml, "_HID");
	aml_string(aml, "QEMU0002");
	aml_name_integer(aml, "_STA", 0x0b);
	aml_resource_io(&r, 0x510, 12);
	crs(aml, &r);
	aml_close(aml, device);
}

/* PIRQ = slot - 1 + pin, modulo four.  Slot 1's INTA is power management's: the SCI, no PIRQ. */
static void interrupt_routing(struct aml *aml)
{
	size_t table;

	aml_name(aml, "_PRT");
	table = aml_open_package(aml, (SLOTS - 1) * 4 - 1);
	for (unsigned slot = 1; slot < SLOTS; slot++) {
		for (unsigned pin = 0; pin < 4; pin++) {
			size_t entry;

			if (slot == 1 && pin == 0)
				continue;
			entry = aml_open_package(aml, 4);
			aml_integer(aml, slot << 16 | 0xffff);
			aml_integer(aml, pin);
			aml_path(aml, link_names[(slot - 1 + pin) % PIRQS]);
			aml_integer(aml, 0);
			aml_close(aml, entry);
		}
	}
	aml_close(aml, table);
}

static void pci_root(struct aml *aml, const struct acpi_config *config)
{
	struct aml_resources r = {0};
	size_t device = aml_open_device(aml, "PCI0");

	aml_name(aml, "_HID");
	aml_eisa_id(aml, "PNP0A03");
	aml_name_integer(aml, "_UID", 0);
	aml_resource_word(&r, AML_RESOURCE_BUS, 0, 0xff);
	aml_resource_io(&r, 0xcf8, 8);
	aml_resource_word(&r, AML_RESOURCE_IO, 0, 0xcf7);
	aml_resource_word(&r, AML_RESOURCE_IO, 0xd00, 0xffff);
	aml_resource_memory(&r, 0xa0000, 0xbffff);
	aml_resource_memory(&r, config->pci_memory_start, PCI_MEMORY_END);
	crs(aml, &r);
	interrupt_routing(aml);
	isa_bridge(aml, config);
	board_resources(aml);
	fw_cfg(aml);
	aml_close(aml, device);
}

static void link_registers(struct aml *aml)
{
	size_t open;

	aml_byte(aml, AML_EXT); /* Field (PCI0.ISA.P40C, ByteAcc, NoLock, Preserve) */
	aml_byte(aml, AML_EXT_FIELD);
	open = aml->length;
	aml_path(aml, "PCI0.ISA_.P40C");
	aml_byte(aml, 0x01);
	for (unsigned i = 0; i < PIRQS; i++) {
		aml_path(aml, register_names[i]);
		aml_byte(aml, 8); /* bits: below 64 the length is one byte */
	}
	aml_close(aml, open);
}

static void link_current(struct aml *aml, const char *reg)
{
	static const uint32_t none[] = {0};
	struct aml_resources r = {0};
	size_t method = aml_open_method(aml, "_CRS", 0, true);

	aml_resource_interrupts(&r, none, 1);
	aml_name(aml, "BUF0");
	aml_buffer(aml, &r);
	aml_byte(aml, AML_CREATE_DWORD_FIELD);
	aml_path(aml, "BUF0");
	aml_integer(aml, 5);
	aml_path(aml, "IRQW");
	aml_byte(aml, AML_AND); /* IRQW = reg & 15 */
	aml_path(aml, reg);
	aml_integer(aml, 0x0f);
	aml_path(aml, "IRQW");
	aml_return(aml);
	aml_path(aml, "BUF0");
	aml_close(aml, method);
}

static void link_set(struct aml *aml, const char *reg)
{
	size_t method = aml_open_method(aml, "_SRS", 1, true);

	aml_byte(aml, AML_CREATE_DWORD_FIELD);
	aml_byte(aml, AML_ARG0);
	aml_integer(aml, 5);
	aml_path(aml, "IRQW");
	aml_byte(aml, AML_STORE);
	aml_path(aml, "IRQW");
	aml_path(aml, reg);
	aml_close(aml, method);
}

static void link_status(struct aml *aml, const char *reg)
{
	size_t method = aml_open_method(aml, "_STA", 0, false);
	size_t condition = aml_open_if(aml);

	aml_byte(aml, AML_AND);
	aml_path(aml, reg);
	aml_integer(aml, PIRQ_OFF);
	aml_byte(aml, AML_NULL_TARGET);
	aml_return(aml);
	aml_integer(aml, STA_PRESENT);
	aml_close(aml, condition);
	aml_return(aml);
	aml_integer(aml, STA_ENABLED);
	aml_close(aml, method);
}

static void link_disable(struct aml *aml, const char *reg)
{
	size_t method = aml_open_method(aml, "_DIS", 0, false);

	aml_byte(aml, AML_OR);
	aml_path(aml, reg);
	aml_integer(aml, PIRQ_OFF);
	aml_path(aml, reg);
	aml_close(aml, method);
}

static void interrupt_link(struct aml *aml, unsigned index)
{
	static const uint32_t possible[] = {5, 10, 11};
	const char *reg = register_names[index];
	struct aml_resources r = {0};
	size_t device = aml_open_device(aml, link_names[index]);

	aml_name(aml, "_HID");
	aml_eisa_id(aml, "PNP0C0F");
	aml_name_integer(aml, "_UID", index + 1);
	aml_resource_interrupts(&r, possible, 3);
	aml_name(aml, "_PRS");
	aml_buffer(aml, &r);
	link_status(aml, reg);
	link_disable(aml, reg);
	link_current(aml, reg);
	link_set(aml, reg);
	aml_close(aml, device);
}

static void soft_off(struct aml *aml)
{
	size_t package;

	aml_name(aml, "\\_S5_");
	package = aml_open_package(aml, 4);
	aml_integer(aml, SLP_TYPE_S5);
	aml_integer(aml, SLP_TYPE_S5);
	aml_integer(aml, 0);
	aml_integer(aml, 0);
	aml_close(aml, package);
}

size_t acpi_dsdt(const struct acpi_config *config, uint8_t *to, size_t capacity)
{
	struct aml aml = {.data = to, .capacity = capacity};
	size_t scope;

	soft_off(&aml);
	scope = aml_open_scope(&aml, "\\_SB_");
	processors(&aml, config->smp.cpus);
	pci_root(&aml, config);
	link_registers(&aml);
	for (unsigned i = 0; i < PIRQS; i++)
		interrupt_link(&aml, i);
	aml_close(&aml, scope);
	return aml.full ? 0 : aml.length;
}
