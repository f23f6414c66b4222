/* SPDX-License-Identifier: MIT */
/* ATA disks by PIO: ATA/ATAPI-6 clauses 7 (registers), 8 (commands), 9 (protocols). */
#include "drivers/ata.h"
#include "runtime/irq.h"
#include "runtime/memory.h"
#include "runtime/pci.h"
#include "runtime/test.h"
#include "runtime/time.h"

static struct ata_channel channels[2] = {
	{.base = 0x1f0, .control = 0x3f6, .irq = 14},
	{.base = 0x170, .control = 0x376, .irq = 15},
};

static struct pci_function *ide_function(void)
{
	return pci_present() ? pci_find(0x8086, 0x7010, 0) : NULL;
}

struct ata_channel *ata_channel(unsigned number)
{
	struct ata_channel *c = &channels[number];
	struct pci_function *f = ide_function();

	if (f) {
		pci_enable(f);
		c->bm = pci_bar_io(f, 4) + number * 8;
		outb(c->bm + BM_COMMAND, 0);
		outb(c->bm + BM_STATUS, BM_ERROR | BM_INTR | BM_CAPABLE);
	}
	ata_soft_reset(c);
	/* INTRQ is low now; whatever edge comes from here on is this TEST's. */
	c->vector = irq_vector();
	c->irqs_seen = 0;
	ioapic_route(ioapic_isa_pin(c->irq), c->vector, IOAPIC_EDGE);
	return c;
}

/* Some VMMs carry out the reset only a while later, and are not busy until then: what shows that it
 * is over is the signature, so the register that shows it gets another value first. */
bool ata_soft_reset(struct ata_channel *c)
{
	ata_out(c, ATA_LOW, 0xaa);
	ata_control(c, ATA_SRST);
	delay_us(5);
	ata_control(c, 0);
	if (!WAIT_UNTIL(!(ata_alternate(c) & ATA_BSY), ATA_LIMIT))
		return false;
	return WAIT_UNTIL(ata_in(c, ATA_LOW) == 1, 20000);
}

uint8_t ata_wait(struct ata_channel *c)
{
	uint8_t status = 0;

	WAIT_UNTIL(!((status = ata_alternate(c)) & ATA_BSY), ATA_LIMIT);
	return status;
}

void ata_select(struct ata_channel *c, uint8_t device)
{
	ata_out(c, ATA_DEVICE, device);
	/* 400 ns until the status is the other drive's: one read takes longer than that. */
	ata_alternate(c);
}

bool ata_irq(struct ata_channel *c, uint64_t us)
{
	uint32_t seen = c->irqs_seen;

	if (!WAIT_UNTIL(irq_count(c->vector) != seen, us))
		return false;
	c->irqs_seen = seen + 1;
	return true;
}

uint32_t ata_irqs(const struct ata_channel *c)
{
	return irq_count(c->vector);
}

void ata_address(struct ata_disk *disk, uint64_t lba, uint32_t count, bool ext)
{
	struct ata_channel *c = disk->channel;

	if (ext) {
		ata_out(c, ATA_COUNT, count >> 8);
		ata_out(c, ATA_LOW, lba >> 24);
		ata_out(c, ATA_MID, lba >> 32);
		ata_out(c, ATA_HIGH, lba >> 40);
	}
	ata_out(c, ATA_COUNT, count);
	ata_out(c, ATA_LOW, lba);
	ata_out(c, ATA_MID, lba >> 8);
	ata_out(c, ATA_HIGH, lba >> 16);
	ata_out(c, ATA_DEVICE, disk->device | (ext ? 0 : lba >> 24 & 0x0f));
}

int ata_result(const struct ata_channel *c)
{
	uint8_t status = ata_in(c, ATA_STATUS);

	if (status & (ATA_ERR | ATA_DF | ATA_BSY))
		return status << 8 | ata_in(c, ATA_ERROR);
	return 0;
}

int ata_plain(struct ata_disk *disk, uint8_t command)
{
	ata_out(disk->channel, ATA_COMMAND, command);
	if (!ata_irq(disk->channel, ATA_LIMIT))
		return ATA_TIMEOUT;
	return ata_result(disk->channel);
}

int ata_identify(struct ata_disk *disk, uint16_t words[256])
{
	struct ata_channel *c = disk->channel;
	int result;

	ata_select(c, disk->device);
	result = ata_plain(disk, ATA_CMD_IDENTIFY);
	if (result == 0)
		insw(c->base, words, 256);
	return result;
}

bool ata_disk_init(struct ata_disk *disk, unsigned channel, unsigned unit)
{
	struct ata_channel *c = ata_channel(channel);

	memset(disk, 0, sizeof(*disk));
	disk->channel = c;
	disk->device = ATA_LBA | (unit ? ATA_DEV : 0);
	disk->multiple = 1;
	ata_select(c, disk->device);
	/* Nothing there reads as 0 or floats; ATAPI has another signature. */
	if (!(ata_wait(c) & ATA_DRDY) || ata_in(c, ATA_STATUS) == 0xff || ata_in(c, ATA_MID) ||
		ata_in(c, ATA_HIGH))
		return false;
	if (ata_identify(disk, disk->identify) != 0)
		return false;
	disk->lba48 = disk->identify[83] & 0x400;
	disk->sectors = disk->identify[60] | (uint32_t)disk->identify[61] << 16;
	if (disk->lba48)
		memcpy(&disk->sectors, disk->identify + 100, 8);
	return true;
}

int ata_set_multiple(struct ata_disk *disk, uint8_t sectors)
{
	int result;

	ata_select(disk->channel, disk->device);
	ata_out(disk->channel, ATA_COUNT, sectors);
	result = ata_plain(disk, ATA_CMD_SET_MULTIPLE);
	if (result == 0)
		disk->multiple = sectors ? sectors : 1;
	return result;
}

static bool wants_ext(const struct ata_disk *disk, uint64_t lba, uint32_t count)
{
	return disk->lba48 && !(disk->no_ext && count <= 256 && lba + count <= 0x10000000);
}

/* Every block is announced by an interrupt (9.5). */
int ata_pio_read(struct ata_disk *disk, uint64_t lba, uint32_t count, void *to)
{
	struct ata_channel *c = disk->channel;
	bool ext = wants_ext(disk, lba, count);
	uint8_t *at = to;

	ata_address(disk, lba, count, ext);
	if (disk->multiple > 1)
		ata_out(c, ATA_COMMAND, ext ? ATA_CMD_READ_MULTIPLE_EXT : ATA_CMD_READ_MULTIPLE);
	else
		ata_out(c, ATA_COMMAND, ext ? ATA_CMD_READ_EXT : ATA_CMD_READ);
	while (count) {
		uint32_t block = count < disk->multiple ? count : disk->multiple;
		int result;

		if (!ata_irq(c, ATA_LIMIT))
			return ATA_TIMEOUT;
		result = ata_result(c);
		if (result)
			return result;
		insl(c->base, at, block * 128);
		at += block * 512;
		count -= block;
	}
	return 0;
}

/* The first block is not announced, and the end is (9.6). */
int ata_pio_write(struct ata_disk *disk, uint64_t lba, uint32_t count, const void *from)
{
	struct ata_channel *c = disk->channel;
	bool ext = wants_ext(disk, lba, count);
	const uint8_t *at = from;

	ata_address(disk, lba, count, ext);
	if (disk->multiple > 1)
		ata_out(c, ATA_COMMAND, ext ? ATA_CMD_WRITE_MULTIPLE_EXT : ATA_CMD_WRITE_MULTIPLE);
	else
		ata_out(c, ATA_COMMAND, ext ? ATA_CMD_WRITE_EXT : ATA_CMD_WRITE);
	if (!(ata_wait(c) & ATA_DRQ))
		return ata_irq(c, ATA_LIMIT) ? ata_result(c) : ATA_TIMEOUT;
	while (count) {
		uint32_t block = count < disk->multiple ? count : disk->multiple;
		int result;

		outsl(c->base, at, block * 128);
		if (!ata_irq(c, ATA_LIMIT))
			return ATA_TIMEOUT;
		result = ata_result(c);
		if (result)
			return result;
		at += block * 512;
		count -= block;
	}
	return 0;
}

int ata_flush(struct ata_disk *disk)
{
	ata_select(disk->channel, disk->device);
	return ata_plain(disk, disk->lba48 ? ATA_CMD_FLUSH_EXT : ATA_CMD_FLUSH);
}
