/* SPDX-License-Identifier: MIT */
/* Devices in the middle of something: UART, clock, disks, PCI, virtio, fw_cfg. */
#include "drivers/ata.h"
#include "state.h"
#include "runtime/acpi.h"
#include "runtime/pci.h"
#include "virtio-drivers/blk.h"

#define COM3	0x3e8
#define CMOS	0x70
#define FW_CFG	0x510
#define SCRATCH 1000 /* sectors from here on are written */

/* --- UART: COM3, in loopback --- */

static void loopback(void)
{
	outb(COM3 + 7, 0x5a);
	if (inb(COM3 + 7) != 0x5a)
		SKIP("no COM3");
	outb(COM3 + 3, 0x80);
	outb(COM3 + 0, 12);
	outb(COM3 + 1, 0);
	outb(COM3 + 3, 0x03);
	outb(COM3 + 1, 0);
	outb(COM3 + 2, 0x07); /* FIFOs on and empty, trigger 1 */
	outb(COM3 + 4, 0x10);
	inb(COM3 + 5);
	inb(COM3 + 6);
}

TEST(uart_fifo_half_full, "", "characters in the receiver FIFO stay, in their order", CTL)
{
	loopback();
	for (unsigned i = 0; i < 9; i++)
		outb(COM3, 'a' + i);
	inb(COM3); /* the ring does not begin at its start */
	cut();
	for (unsigned i = 1; i < 9; i++) {
		EXPECT_EQ(inb(COM3 + 5) & 1, 1);
		EXPECT_EQ(inb(COM3), 'a' + i);
	}
	EXPECT_EQ(inb(COM3 + 5) & 1, 0);
}

TEST(uart_overrun, "", "an overrun that nobody has seen yet is still to be seen", CTL)
{
	loopback();
	for (unsigned i = 0; i < 17; i++)
		outb(COM3, i);
	cut();
	EXPECT_EQ(inb(COM3 + 5) & 3, 3);
	EXPECT_EQ(inb(COM3 + 5) & 3, 1);
	EXPECT_EQ(inb(COM3), 0);
}

TEST(uart_registers, "", "divisor, line and modem control, enables and scratch stay", CTL)
{
	loopback();
	outb(COM3 + 3, 0x80);
	outb(COM3 + 0, 0x34);
	outb(COM3 + 1, 0x12);
	outb(COM3 + 3, 0x1b);
	outb(COM3 + 1, 0x0d);
	outb(COM3 + 4, 0x13);
	outb(COM3 + 7, 0xc6);
	cut();
	EXPECT_EQ(inb(COM3 + 3), 0x1b);
	EXPECT_EQ(inb(COM3 + 1), 0x0d);
	EXPECT_EQ(inb(COM3 + 4), 0x13);
	EXPECT_EQ(inb(COM3 + 7), 0xc6);
	EXPECT_EQ(inb(COM3 + 2) & 0xc0, 0xc0);
	outb(COM3 + 3, 0x9b);
	EXPECT_EQ(inb(COM3 + 0), 0x34);
	EXPECT_EQ(inb(COM3 + 1), 0x12);
	outb(COM3 + 3, 0x03);
	outb(COM3 + 1, 0);
}

TEST(uart_interrupt_waits, "", "a cause that was identified last stays the cause", CTL)
{
	loopback();
	outb(COM3 + 1, 0x01);
	outb(COM3, 'x');
	cut();
	EXPECT_EQ(inb(COM3 + 2) & 0x0f, 0x04);
	EXPECT_EQ(inb(COM3), 'x');
	EXPECT_EQ(inb(COM3 + 2) & 0x0f, 0x01);
	outb(COM3 + 1, 0);
}

/* --- clock --- */

#define PC NEEDS("ctl pci")

static uint8_t cmos(unsigned index)
{
	outb(CMOS, index);
	return inb(CMOS + 1);
}

static unsigned seconds(void)
{
	uint8_t b = cmos(0);

	return (b >> 4) * 10 + (b & 15) + 60 * ((cmos(2) >> 4) * 10 + (cmos(2) & 15));
}

TEST(clock_goes_on, "", "the time of day goes on, and CMOS memory and its index stay", PC)
{
	unsigned before, after;
	uint8_t kept = cmos(0x52);

	outb(CMOS, 0x52);
	outb(CMOS + 1, 0x9d);
	before = seconds();
	outb(CMOS, 0x52);
	cut();
	EXPECT_EQ(inb(CMOS + 1), 0x9d);
	after = seconds();
	EXPECT_LT((after + 3600 - before) % 3600, 120);
	outb(CMOS, 0x52);
	outb(CMOS + 1, kept);
}

TEST(clock_periodic, "", "the clock's periodic interrupt keeps coming", PC)
{
	unsigned vector = irq_vector();
	uint8_t a = cmos(0x0a), b = cmos(0x0b);

	ioapic_route(8, vector, IOAPIC_EDGE);
	outb(CMOS, 0x0a);
	outb(CMOS + 1, (a & 0x70) | 8); /* 256 Hz */
	outb(CMOS, 0x0b);
	outb(CMOS + 1, b | 0x40);
	cmos(0x0c);
	cut();
	EXPECT_EQ(cmos(0x0a) & 0x7f, (a & 0x70) | 8);
	for (unsigned i = 0; i < 3; i++) {
		uint32_t seen = irq_count(vector);

		cmos(0x0c);
		EXPECT_TRUE(WAIT_UNTIL(irq_count(vector) > seen, SOON_US));
	}
	outb(CMOS, 0x0b);
	outb(CMOS + 1, b);
	outb(CMOS, 0x0a);
	outb(CMOS + 1, a);
	cmos(0x0c);
}

TEST(pm_timer_goes_on, "", "the PM timer goes on and does not begin anew", NEEDS("ctl acpi pci"))
{
	uint32_t before, after;

	delay_us(2000);
	before = inl(acpi_pm_timer()) & 0xffffff;
	cut();
	after = inl(acpi_pm_timer()) & 0xffffff;
	/* 4.7 s around. */
	EXPECT_LT((after - before) & 0xffffff, 0xc00000);
}

/* --- PCI and fw_cfg --- */

TEST(pci_configuration, "", "what was written to configuration space stays, and the address", PC)
{
	struct pci_function *ide = pci_find(0x8086, 0x7010, 0);
	uint8_t line;

	if (!ide)
		SKIP("no PIIX3 IDE function");
	line = pci_read8(ide, PCI_INTERRUPT_LINE);
	pci_write8(ide, PCI_INTERRUPT_LINE, 0xb7);
	outl(0xcf8, 0x80000000 | ide->slot << 11 | ide->fn << 8 | 0x3c);
	cut();
	EXPECT_EQ(inl(0xcf8), 0x80000000 | ide->slot << 11 | ide->fn << 8 | 0x3c);
	EXPECT_EQ(inb(0xcfc), 0xb7);
	EXPECT_EQ(pci_read16(ide, PCI_DEVICE), 0x7010);
	pci_write8(ide, PCI_INTERRUPT_LINE, line);
}

TEST(fw_cfg_position, "", "reading an item of fw_cfg goes on where it was", PC)
{
	outw(FW_CFG, 0);
	if (inb(FW_CFG + 1) != 'Q' || inb(FW_CFG + 1) != 'E')
		SKIP("no fw_cfg");
	cut();
	EXPECT_EQ(inb(FW_CFG + 1), 'M');
	EXPECT_EQ(inb(FW_CFG + 1), 'U');
}

/* --- ATA --- */

#define ATA NEEDS("ctl pci disk:ata")

static struct ata_disk disk;

static struct ata_channel *open_disk(void)
{
	if (!ata_disk_init(&disk, 0, 0))
		SKIP("no ATA disk");
	return disk.channel;
}

static bool is_sector(const uint64_t *words, uint64_t lba)
{
	return words[0] == lba && words[1] == lba && words[63] == lba;
}

TEST(ata_read_half_way, "", "a PIO read goes on at the word where it stood", ATA)
{
	struct ata_channel *c = open_disk();
	uint16_t *data = arena_alloc(3 * 512, 16);

	ata_address(&disk, 7, 3, false);
	ata_out(c, ATA_COMMAND, ATA_CMD_READ);
	for (unsigned sector = 0; sector < 3; sector++) {
		ASSERT_TRUE(ata_irq(c, ATA_LIMIT));
		ata_in(c, ATA_STATUS);
		insw(c->base, data + sector * 256, 100);
		if (sector == 1)
			cut();
		insw(c->base, data + sector * 256 + 100, 156);
	}
	for (unsigned sector = 0; sector < 3; sector++)
		EXPECT_TRUE(is_sector((uint64_t *)(data + sector * 256), 7 + sector));
	EXPECT_EQ(ata_wait(c) & (ATA_BSY | ATA_DRQ | ATA_ERR), 0);
}

TEST(ata_write_half_way, "", "a PIO write goes on at the word where it stood", ATA)
{
	struct ata_channel *c = open_disk();
	uint64_t *data = arena_alloc(512, 16), *back = arena_alloc(512, 16);

	for (unsigned i = 0; i < 64; i++)
		data[i] = 0x1000000000000001ull * (i + 3);
	ata_address(&disk, SCRATCH, 1, false);
	ata_out(c, ATA_COMMAND, ATA_CMD_WRITE);
	ASSERT_TRUE(WAIT_UNTIL(ata_alternate(c) & ATA_DRQ, SOON_US));
	outsw(c->base, data, 77);
	cut();
	outsw(c->base, (uint16_t *)data + 77, 256 - 77);
	ASSERT_TRUE(ata_irq(c, ATA_LIMIT));
	EXPECT_EQ(ata_result(c), 0);
	EXPECT_EQ(ata_pio_read(&disk, SCRATCH, 1, back), 0);
	EXPECT_MEM(back, data, 512);
}

TEST(ata_dma_not_started, "", "a DMA command waits for the bus master, whose table stays", ATA)
{
	struct ata_channel *c = open_disk();
	uint64_t *data = arena_alloc(1024, 4096);
	struct ata_prd *table = arena_alloc(sizeof(*table), 64);

	if (!c->bm)
		SKIP("no bus master");
	*table = (struct ata_prd){phys(data), 1024, PRD_END};
	ata_dma_table(c, table, ATA_READ);
	ata_dma_command(&disk, ATA_READ, 21, 2);
	cut();
	ata_dma_start(c, ATA_READ);
	EXPECT_EQ(ata_dma_wait(&disk), 0);
	EXPECT_TRUE(is_sector(data, 21));
	EXPECT_TRUE(is_sector(data + 64, 22));
}

TEST(ata_dma_interrupt_waits, "", "a DMA transfer that was begun ends, and its interrupt bit waits",
	ATA)
{
	struct ata_channel *c = open_disk();
	uint64_t *data = arena_alloc(8 * 512, 4096);

	if (!c->bm)
		SKIP("no bus master");
	ata_dma_submit(&disk, ATA_READ, 40, 8, data);
	cut();
	ASSERT_TRUE(WAIT_UNTIL(ata_bm_status(c) & BM_INTR, SOON_US));
	EXPECT_EQ(ata_dma_wait(&disk), 0);
	for (unsigned i = 0; i < 8; i++)
		EXPECT_TRUE(is_sector(data + 64 * i, 40 + i));
}

TEST(ata_settings, "", "SET MULTIPLE's count and the task file stay", ATA)
{
	struct ata_channel *c = open_disk();
	uint16_t *words = arena_alloc(512, 16);

	EXPECT_EQ(ata_set_multiple(&disk, 8), 0);
	ata_out(c, ATA_COUNT, 0x12);
	ata_out(c, ATA_LOW, 0x34);
	ata_out(c, ATA_MID, 0x56);
	ata_out(c, ATA_HIGH, 0x78);
	cut();
	EXPECT_EQ(ata_in(c, ATA_COUNT), 0x12);
	EXPECT_EQ(ata_in(c, ATA_LOW), 0x34);
	EXPECT_EQ(ata_in(c, ATA_MID), 0x56);
	EXPECT_EQ(ata_in(c, ATA_HIGH), 0x78);
	EXPECT_EQ(ata_identify(&disk, words), 0);
	EXPECT_EQ(words[59], 0x108);
}

/* --- virtio --- */

#define VIRTIO	 NEEDS("ctl disk:virtio")
#define REQUESTS 6

static struct virtio_blk vdisk;

static void open_virtio(enum virtio_irq irq)
{
	struct virtio_blk_options options = {
		.irq = irq, .polling = irq == VIRTIO_IRQ_NONE, .depth = 8, .queue_size = 64};

	if (!virtio_blk_open(&vdisk, &options))
		SKIP("no virtio disk");
}

static void reap_all(uint8_t *data, unsigned wanted)
{
	struct virtio_blk_done done[REQUESTS];
	unsigned seen = 0;

	EXPECT_TRUE(WAIT_UNTIL(
		(seen += virtio_blk_reap(&vdisk, done, REQUESTS - seen)) == wanted, SOON_US));
	for (unsigned i = 0; i < wanted; i++)
		EXPECT_TRUE(is_sector((uint64_t *)(data + 512 * i), 3 * i));
}

TEST(virtio_not_kicked, "", "requests that nobody was told of stay in the ring until the doorbell",
	VIRTIO)
{
	uint8_t *data = arena_alloc(512 * REQUESTS, 16);

	open_virtio(VIRTIO_IRQ_NONE);
	for (unsigned i = 0; i < REQUESTS; i++)
		virtio_blk_submit(&vdisk, 3 * i, data + 512 * i, 512, false, NULL);
	cut();
	virtio_blk_kick(&vdisk);
	reap_all(data, REQUESTS);
	EXPECT_EQ(virtio_status(&vdisk.dev), VIRTIO_S_RUNNING);
}

TEST(virtio_kicked, "", "requests that were notified complete once each", VIRTIO)
{
	uint8_t *data = arena_alloc(512 * REQUESTS, 16);
	struct virtio_blk_done done;

	open_virtio(VIRTIO_IRQ_NONE);
	/* So that the indices are not those of a new queue. */
	for (unsigned i = 0; i < 5; i++)
		EXPECT_EQ(virtio_blk_read(&vdisk, i, data, 512), BLK_S_OK);
	for (unsigned i = 0; i < REQUESTS; i++)
		virtio_blk_submit(&vdisk, 3 * i, data + 512 * i, 512, false, NULL);
	virtio_blk_kick(&vdisk);
	cut();
	reap_all(data, REQUESTS);
	EXPECT_EQ(virtio_blk_read(&vdisk, 9, data, 512), BLK_S_OK);
	EXPECT_TRUE(is_sector((uint64_t *)data, 9));
	EXPECT_EQ(virtio_blk_reap(&vdisk, &done, 1), 0);
	EXPECT_EQ(vdisk.vq.used->idx, 5 + REQUESTS + 1);
}

static void read_by_interrupt(uint64_t sector)
{
	uint8_t *data = arena_alloc(512, 16);
	uint32_t before = virtio_queue_interrupts(&vdisk.dev, 0);
	struct virtio_blk_done done;

	virtqueue_interrupts(&vdisk.vq, true);
	virtio_blk_submit(&vdisk, sector, data, 512, false, NULL);
	virtio_blk_kick(&vdisk);
	EXPECT_TRUE(WAIT_UNTIL(virtio_queue_interrupts(&vdisk.dev, 0) > before, SOON_US));
	EXPECT_EQ(virtio_blk_reap(&vdisk, &done, 1), 1);
	EXPECT_TRUE(is_sector((uint64_t *)data, sector));
}

TEST(virtio_interrupts_go_on, "", "a device's interrupts reach the driver as before", VIRTIO)
{
	open_virtio(VIRTIO_IRQ_BEST);
	read_by_interrupt(1);
	cut();
	read_by_interrupt(2);
	read_by_interrupt(3);
}

TEST(virtio_masked_vector, "", "a message that waits for its mask comes when it is unmasked",
	NEEDS("ctl pci disk:virtio"))
{
	uint8_t *data = arena_alloc(512, 16);
	struct virtio_blk_done done;
	uint32_t before;

	open_virtio(VIRTIO_IRQ_MSIX);
	if (!vdisk.dev.is_pci || !vdisk.dev.pci->msix)
		SKIP("no MSI-X");
	pci_msix_mask(vdisk.dev.pci, 1, true);
	before = virtio_queue_interrupts(&vdisk.dev, 0);
	virtqueue_interrupts(&vdisk.vq, true);
	virtio_blk_submit(&vdisk, 5, data, 512, false, NULL);
	virtio_blk_kick(&vdisk);
	EXPECT_TRUE(WAIT_UNTIL(pci_msix_pending(vdisk.dev.pci, 1), SOON_US));
	cut();
	EXPECT_TRUE(pci_msix_pending(vdisk.dev.pci, 1));
	EXPECT_EQ(virtio_queue_interrupts(&vdisk.dev, 0), before);
	pci_msix_mask(vdisk.dev.pci, 1, false);
	EXPECT_TRUE(WAIT_UNTIL(virtio_queue_interrupts(&vdisk.dev, 0) == before + 1, SOON_US));
	EXPECT_EQ(virtio_blk_reap(&vdisk, &done, 1), 1);
	EXPECT_TRUE(is_sector((uint64_t *)data, 5));
}

TEST(virtio_half_negotiated, "", "a negotiation goes on at the step where it stood", VIRTIO)
{
	struct virtio_device dev;
	uint64_t wanted;

	if (!virtio_find(&dev, VIRTIO_TRANSPORT_ANY, VIRTIO_ID_BLOCK, 0))
		SKIP("no virtio disk");
	virtio_reset(&dev);
	virtio_set_status(&dev, VIRTIO_S_ACKNOWLEDGE | VIRTIO_S_DRIVER);
	wanted = virtio_offered(&dev) & (VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(BLK_F_FLUSH));
	virtio_accept(&dev, wanted);
	cut();
	EXPECT_EQ(virtio_status(&dev), VIRTIO_S_ACKNOWLEDGE | VIRTIO_S_DRIVER);
	virtio_set_status(&dev, VIRTIO_S_ACKNOWLEDGE | VIRTIO_S_DRIVER | VIRTIO_S_FEATURES_OK);
	EXPECT_TRUE(virtio_status(&dev) & VIRTIO_S_FEATURES_OK);
	virtio_reset(&dev);
}
