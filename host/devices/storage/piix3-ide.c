/* SPDX-License-Identifier: MIT */
/*
 * The IDE function of the PIIX3 (Intel 82371SB, 8086:7010): two ATA channels at the ISA addresses
 * with IRQ 14 and 15, timing registers, and the bus master behind BAR 4.
 *
 * The decode bits of IDETIM (bit 15 of 0x40 and 0x42) and the command register's I/O bit are kept
 * for the guest to read, but the ISA addresses always decode, as in QEMU: a kernel that starts
 * without firmware finds its disks where a PC has them.  For the same reason IDETIM comes out of
 * reset enabled, which the datasheet leaves to the BIOS.  Timings have no effect.
 */
#include <errno.h>

#include "bus/pci.h"
#include "devices/devices.h"
#include "devices/storage/ide.h"

#define PIIX3_IDETIM   0x40
#define PIIX3_SIDETIM  0x44
#define IDETIM_DECODE  0x8000
#define BAR_BUS_MASTER 4

struct piix3_ide {
	struct pci_device pci;
	struct ide_channel channels[2];
	struct region bmdma;
};

static const struct {
	uint16_t command, control;
	unsigned irq;
} isa[2] = {{0x1f0, 0x3f6, 14}, {0x170, 0x376, 15}};

static struct piix3_ide *from_device(struct device *dev)
{
	return container_of(dev, struct piix3_ide, pci.dev);
}

static uint64_t bmdma_read(void *opaque, uint64_t offset, unsigned size)
{
	struct piix3_ide *ide = opaque;
	uint64_t value = 0;

	for (unsigned i = 0; i < size; i++) {
		unsigned at = offset + i;
		uint8_t byte = ide_dma_read(&ide->channels[at / BM_LENGTH], at % BM_LENGTH);

		value |= (uint64_t)byte << (i * 8);
	}
	return value;
}

/* From the highest byte down: the command comes after what it acts on. */
static void bmdma_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct piix3_ide *ide = opaque;

	for (unsigned i = size; i-- > 0;) {
		unsigned at = offset + i;

		ide_dma_write(&ide->channels[at / BM_LENGTH], at % BM_LENGTH, value >> (i * 8));
	}
}

static const struct region_ops bmdma_ops = {.read = bmdma_read, .write = bmdma_write};

static bool is_master(void *opaque)
{
	return pci_is_master(opaque);
}

/* A transfer may have waited for the bus master bit. */
static void config_written(struct pci_device *pci, unsigned offset, unsigned size)
{
	struct piix3_ide *ide = container_of(pci, struct piix3_ide, pci);

	for (unsigned i = 0; i < 2 && offset <= PCI_COMMAND + 1; i++)
		ide_dma_run(&ide->channels[i]);
}

static void put_timing(struct pci_device *pci)
{
	for (unsigned i = 0; i < 2; i++) {
		pci->config[PIIX3_IDETIM + i * 2] = 0;
		pci->config[PIIX3_IDETIM + i * 2 + 1] = IDETIM_DECODE >> 8;
	}
	pci->config[PIIX3_SIDETIM] = 0;
}

static void piix3_ide_unrealize(struct device *dev)
{
	struct piix3_ide *ide = from_device(dev);

	for (unsigned i = 0; i < 2; i++) {
		ide_channel_unmap(&ide->channels[i]);
		ide_dma_destroy(&ide->channels[i]);
		bus_unregister(&ide->channels[i].bus);
	}
}

static int piix3_ide_realize(struct device *dev, struct error *err)
{
	struct piix3_ide *ide = from_device(dev);
	struct pci_device *pci = &ide->pci;

	pci_set_ids(pci, 0x8086, 0x7010, 0x010180, 0);
	pci->config[PCI_STATUS] = 0x80; /* fast back-to-back, medium DEVSEL */
	pci->config[PCI_STATUS + 1] = 0x02;
	for (unsigned i = PIIX3_IDETIM; i <= PIIX3_SIDETIM; i++)
		pci->writable[i] = 0xff;
	pci->config_written = config_written;
	put_timing(pci);

	ide->bmdma = (struct region){
		.name = "bmdma",
		.length = 2 * BM_LENGTH,
		.ops = &bmdma_ops,
		.opaque = ide,
	};
	for (unsigned i = 0; i < 2; i++)
		if (ide_dma_init(&ide->channels[i], err) < 0) {
			ide_dma_destroy(&ide->channels[0]);
			return -ENOMEM;
		}
	pci_register_bar(pci, BAR_BUS_MASTER, PCI_BAR_IO, false, 2 * BM_LENGTH, &ide->bmdma);
	for (unsigned i = 0; i < 2; i++) {
		struct ide_channel *channel = &ide->channels[i];

		ide_channel_init(channel, dev->machine, i);
		channel->irq = dev->machine->gsi[isa[i].irq];
		channel->is_master = is_master;
		channel->opaque = pci;
		ide_channel_map(channel, isa[i].command, isa[i].control);
	}
	return 0;
}

static void piix3_ide_reset(struct device *dev)
{
	struct piix3_ide *ide = from_device(dev);

	put_timing(&ide->pci);
	for (unsigned i = 0; i < 2; i++)
		ide_channel_reset(&ide->channels[i]);
}

static const struct state_field state_fields[] = {
	STATE_PART(struct piix3_ide, pci, pci_state_table),
	STATE_PARTS(struct piix3_ide, channels, ide_channel_table),
	STATE_END,
};

static const struct state_table state = {.name = "piix3-ide", .version = 1, .fields = state_fields};

const struct device_type piix3_ide_type = {
	.name = "piix3-ide",
	.bus = "PCI",
	.description = "Intel PIIX3 IDE controller",
	.category = "Storage",
	.more_properties = pci_properties,
	.size = sizeof(struct piix3_ide),
	.internal = true,
	.realize = piix3_ide_realize,
	.reset = piix3_ide_reset,
	.state = &state,
	.unrealize = piix3_ide_unrealize,
};
