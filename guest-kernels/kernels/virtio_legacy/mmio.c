/* SPDX-License-Identifier: MIT */
/* Version 1 of virtio-mmio (virtio 1.4, 4.2.4): page size, alignment, page number. */
#include "virtio_legacy.h"

#define get(d, reg)	   mmio_read32((d)->dev.mmio + (reg))
#define set(d, reg, value) mmio_write32((d)->dev.mmio + (reg), (value))

TEST(version_1, "", "magic value and version are those of a legacy device", MMIO_DISK)
{
	struct raw_disk *d = legacy_find();

	EXPECT_EQ(get(d, MMIO_MAGIC), MMIO_MAGIC_VALUE);
	EXPECT_EQ(get(d, MMIO_VERSION), 1);
	EXPECT_EQ(get(d, MMIO_DEVICE_ID), VIRTIO_ID_BLOCK);
}

TEST(one_word_of_features, "", "feature words beyond the first read 0", MMIO_DISK)
{
	struct raw_disk *d = legacy_find();

	EXPECT_NE(d->dev.transport->device_feature(&d->dev, 0), 0);
	EXPECT_EQ(d->dev.transport->device_feature(&d->dev, 1), 0);
	EXPECT_EQ(d->dev.transport->device_feature(&d->dev, 2), 0);
}

/* A ring of `size` entries with that alignment of its used part, in pages of that size. */
static void serves_with(struct raw_disk *d, unsigned size, uint32_t page, uint32_t align)
{
	struct raw_ring *r = &d->ring;
	uint8_t *piece =
		arena_alloc(RING_LEGACY_BYTES(size, align) + page, page > align ? page : align);

	ASSERT_TRUE(virtio_negotiate(&d->dev, LEGACY_DEFAULT));
	memset(r, 0, sizeof(*r));
	r->dev = &d->dev;
	r->size = size;
	r->descriptors = (void *)piece;
	r->avail = (void *)(piece + RING_DESCRIPTORS_BYTES(size));
	r->used = (void *)(piece + RING_LEGACY_USED(size, align));
	set(d, MMIO_GUEST_PAGE_SIZE, page);
	set(d, MMIO_QUEUE_SEL, 0);
	set(d, MMIO_QUEUE_SIZE, size);
	set(d, MMIO_QUEUE_ALIGN, align);
	set(d, MMIO_QUEUE_PFN, phys(piece) / page);
	EXPECT_EQ(get(d, MMIO_QUEUE_PFN), phys(piece) / page);
	virtio_driver_ok(&d->dev);
	legacy_reads(d);
	EXPECT_EQ(r->used->idx, 1);
}

TEST(page_sizes, "", "the page number counts in pages of the size that the guest told", MMIO_DISK)
{
	static const uint32_t pages[] = {4096, 16384, 1024};
	struct raw_disk *d = legacy_find();

	for (unsigned i = 0; i < 3; i++)
		serves_with(d, 16, pages[i], 4096);
}

TEST(used_alignment, "", "the used part begins at a multiple of QueueAlign", MMIO_DISK)
{
	static const uint32_t alignments[] = {4096, 64, 8192};
	struct raw_disk *d = legacy_find();

	for (unsigned i = 0; i < 3; i++)
		serves_with(d, 16, 4096, alignments[i]);
}

TEST(used_alignment_of_4, "",
	"with the least alignment used_event still stands before the used part (2.7.2)", MMIO_DISK)
{
	struct raw_disk *d = legacy_find();

	/* 16 entries: 4 + 2 * 16 is a multiple of 4, and used_event comes behind. */
	serves_with(d, 16, 4096, 4);
}

TEST(queue_size_is_the_drivers, "", "a queue runs with each power of two up to its maximum",
	MMIO_DISK)
{
	struct raw_disk *d = legacy_find();
	uint32_t max = d->dev.transport->queue_max(&d->dev, 0);

	for (unsigned size = 4; size <= max; size *= 8)
		serves_with(d, size, 4096, 4096);
	serves_with(d, max, 4096, 4096);
}

TEST(legacy_interrupt_status, "",
	"the status is 1 from the used buffer until the acknowledgement, and then 0", MMIO_DISK)
{
	struct raw_disk *d = legacy_find();

	virtio_interrupts(&d->dev, VIRTIO_IRQ_NONE);
	ioapic_mask(d->dev.pin);
	ASSERT_TRUE(raw_disk_start(d, LEGACY_DEFAULT, 0));
	EXPECT_EQ(get(d, MMIO_INTERRUPT_STATUS), 0);
	legacy_reads(d);
	EXPECT_TRUE(WAIT_UNTIL(get(d, MMIO_INTERRUPT_STATUS) != 0, RAW_ANSWER_US));
	for (int i = 0; i < 4; i++)
		EXPECT_EQ(get(d, MMIO_INTERRUPT_STATUS), 1);
	set(d, MMIO_INTERRUPT_ACK, 1);
	EXPECT_EQ(get(d, MMIO_INTERRUPT_STATUS), 0);
}

TEST(legacy_line, "", "each request raises the slot's interrupt once, and acknowledging ends it",
	MMIO_DISK)
{
	struct raw_disk *d = legacy_disk(LEGACY_DEFAULT);

	for (unsigned i = 1; i <= 3; i++) {
		legacy_reads(d);
		EXPECT_TRUE(WAIT_UNTIL(virtio_queue_interrupts(&d->dev, 0) == i, RAW_ANSWER_US));
	}
	EXPECT_EQ(get(d, MMIO_INTERRUPT_STATUS), 0);
}

TEST(no_registers_of_version_2, "", "registers that only version 2 has read 0 and do nothing",
	MMIO_DISK)
{
	static const uint16_t regs[] = {MMIO_QUEUE_READY, MMIO_QUEUE_DESC, MMIO_QUEUE_DRIVER,
		MMIO_QUEUE_DEVICE, MMIO_QUEUE_RESET, MMIO_GENERATION};
	struct raw_disk *d = legacy_disk(LEGACY_DEFAULT);

	if (!raw_strict())
		SKIP("the text says nothing of registers that are not there");
	for (unsigned i = 0; i < sizeof(regs) / sizeof(regs[0]); i++) {
		set(d, regs[i], 1);
		EXPECT_EQ(get(d, regs[i]), 0);
	}
	legacy_reads(d);
}

TEST(page_number_before_page_size, "",
	"a page number in pages of no size, and sizes that are no powers of two, are not taken",
	MMIO_DISK)
{
	struct raw_disk *d = legacy_find();

	if (!raw_strict())
		SKIP("the text says nothing of drivers that do so");
	virtio_set_status(&d->dev, 3);
	set(d, MMIO_GUEST_PAGE_SIZE, 4096);
	set(d, MMIO_GUEST_PAGE_SIZE, 3000);
	set(d, MMIO_QUEUE_SEL, 0);
	set(d, MMIO_QUEUE_SIZE, 16);
	set(d, MMIO_QUEUE_ALIGN, 4096);
	set(d, MMIO_QUEUE_ALIGN, 48);
	set(d, MMIO_QUEUE_PFN, 0x4000);
	EXPECT_EQ(get(d, MMIO_QUEUE_PFN), 0x4000);
	EXPECT_EQ(virtio_status(&d->dev), 3);
	raw_recovers(d);
}
