/* SPDX-License-Identifier: MIT */
/*
 * The configuration of the block device (virtio 1.4, 5.2.4 and 5.2.5).
 */
#include "disk.h"
#include "runtime/boot.h"
#include "runtime/ctl.h"

TEST(configuration_padding_is_zero, "BLK-DEV-03", "the padding bytes of the configuration are zero",
	DISK)
{
	struct disk *d = disk_find(false);

	EXPECT_EQ(virtio_config8(&d->dev, BLK_C_UNUSED0), 0);
	for (unsigned i = 0; i < 3; i++)
		EXPECT_EQ(virtio_config8(&d->dev, BLK_C_UNUSED1 + i), 0);
}

TEST(configuration_is_plausible, "CFG-DEV-01",
	"capacity, block size, topology and limits fit each other", DISK)
{
	struct disk *d = disk_open(DISK_FEATURES | VIRTIO_BIT(BLK_F_TOPOLOGY));
	uint32_t block = virtio_config32(&d->dev, BLK_C_BLK_SIZE);

	EXPECT_GE(d->capacity, 1024);
	if (virtio_has(&d->dev, BLK_F_BLK_SIZE)) {
		EXPECT_GE(block, 512);
		EXPECT_EQ(block & (block - 1), 0);
		EXPECT_EQ(d->capacity % (block / 512), 0);
	}
	if (virtio_has(&d->dev, BLK_F_DISCARD)) {
		EXPECT_GE(virtio_config32(&d->dev, BLK_C_DISCARD_MAX), 1);
		EXPECT_GE(virtio_config32(&d->dev, BLK_C_DISCARD_SEGS), 1);
	}
	if (virtio_has(&d->dev, BLK_F_WRITE_ZEROES)) {
		EXPECT_GE(virtio_config32(&d->dev, BLK_C_ZEROES_MAX), 1);
		EXPECT_GE(virtio_config32(&d->dev, BLK_C_ZEROES_SEGS), 1);
	}
	if (virtio_has(&d->dev, BLK_F_SEG_MAX))
		EXPECT_GE(virtio_config32(&d->dev, BLK_C_SEG_MAX), 1);
	if (virtio_has(&d->dev, BLK_F_TOPOLOGY)) {
		EXPECT_LE(virtio_config8(&d->dev, BLK_C_PHYSICAL_EXP), 16);
		EXPECT_LE(virtio_config8(&d->dev, BLK_C_ALIGNMENT),
			virtio_config8(&d->dev, BLK_C_PHYSICAL_EXP)
				? (1u << virtio_config8(&d->dev, BLK_C_PHYSICAL_EXP)) - 1
				: 0);
	}
}

TEST(flush_is_offered, "BLK-DEV-01a BLK-DEV-01b", "the device offers FLUSH", DISK)
{
	struct disk *d = disk_find(false);

	if (!(virtio_offered(&d->dev) >> BLK_F_FLUSH & 1))
		DEVIATES("FLUSH is not offered");
}

TEST(zoned_is_not_offered, "BLK-DEV-04 BLK-DEV-05",
	"a disk without zones does not offer ZONED, on either interface", DISK)
{
	struct disk *d = disk_find(false);
	uint64_t offered = virtio_offered(&d->dev);

	if (offered & VIRTIO_BIT(BLK_F_ZONED))
		DEVIATES("ZONED is offered");
	EXPECT_NE(offered, 0);
}

TEST(barrier_and_scsi_are_not_offered, "",
	"the bits of BARRIER and SCSI, which only legacy devices had, are clear", DISK)
{
	struct disk *d = disk_find(false);
	uint64_t offered = virtio_offered(&d->dev), bits = VIRTIO_BIT(0) | VIRTIO_BIT(7);

	if (d->dev.legacy && !disk_strict())
		SKIP("a legacy device may have them");
	EXPECT_EQ(offered & bits, 0);
	EXPECT_NE(offered, 0);
}

TEST(lifetime_is_not_offered, "BLK-DEV-32",
	"a disk without a wear of its own does not offer LIFETIME", DISK)
{
	struct disk *d = disk_find(false);
	uint64_t offered = virtio_offered(&d->dev);

	if (cmdline_get("wear"))
		SKIP("this disk reports its wear");
	EXPECT_EQ(offered & VIRTIO_BIT(BLK_F_LIFETIME), 0);
	EXPECT_NE(offered, 0);
}

TEST(lifetime_values, "BLK-DEV-31 BLK-DEV-33",
	"GET_LIFETIME gives three values, none of them reserved, and writes no more than those",
	DISK)
{
	struct disk *d = disk_that(VIRTIO_BIT(BLK_F_LIFETIME));
	uint16_t *values = (uint16_t *)d->data;

	memset(d->data, 0xee, 16);
	EXPECT_EQ(disk_do(d, BLK_T_GET_LIFETIME, 0, d->data, 8), BLK_S_OK);
	EXPECT_EQ(d->used_length, 6); /* the status comes behind a gap */
	EXPECT_LE(values[0], 3);
	EXPECT_LE(values[1], 11);
	EXPECT_LE(values[2], 11);
	EXPECT_EQ(values[0], cmdline_number("wear", values[0]));
	EXPECT_EQ(values[3], 0xeeee);
	memset(d->data, 0xee, 16);
	EXPECT_EQ(disk_do(d, BLK_T_GET_LIFETIME, 0, d->data, 6), BLK_S_OK);
	EXPECT_EQ(d->used_length, 7);
}

/* By the command line's unmap=: whether the disk's file can lose sectors. */
TEST(may_unmap_tells_the_truth, "BLK-DEV-26",
	"write_zeroes_may_unmap is 1 if and only if zeroing may deallocate", DISK)
{
	struct disk *d = disk_that(VIRTIO_BIT(BLK_F_WRITE_ZEROES));
	uint8_t says = virtio_config8(&d->dev, BLK_C_ZEROES_UNMAP);
	uint64_t truth = cmdline_number("unmap", 0);

	EXPECT_LE(says, 1);
	if (says != truth)
		DEVIATES("write_zeroes_may_unmap is %u, and %lu would be true", says, truth);
}

TEST(resize_is_notified, "BLK-DEV-19 PCI-DEV-17 MMIO-DEV-06",
	"when the host changes the size the generation moves, the new capacity shows, and a "
	"configuration interrupt comes",
	NEEDS("disk:virtio ctl"))
{
	struct disk *d = disk_open(DISK_FEATURES);
	uint64_t before = d->capacity, after = before + 2048;
	uint32_t generation = d->dev.transport->generation(&d->dev);
	uint32_t interrupts = virtio_config_interrupts(&d->dev);

	if (!ctl_request("resize", "disk0 %lu", after * 512))
		SKIP("the host cannot resize: %s", ctl_reason());
	EXPECT_TRUE(WAIT_UNTIL(virtio_config64(&d->dev, BLK_C_CAPACITY) == after, DISK_ANSWER_US));
	if (!d->dev.legacy) /* it has no generation */
		EXPECT_NE(d->dev.transport->generation(&d->dev), generation);
	if (!WAIT_UNTIL(virtio_config_interrupts(&d->dev) > interrupts, DISK_ANSWER_US))
		DEVIATES("no configuration interrupt");
	disk_fill(d, after - 1, 1, 122);
	disk_verify(d, after - 1, 1, 122);
	ASSERT_TRUE(ctl_request("resize", "disk0 %lu", before * 512) != NULL);
	EXPECT_TRUE(WAIT_UNTIL(virtio_config64(&d->dev, BLK_C_CAPACITY) == before, DISK_ANSWER_US));
	disk_refuses(d, BLK_T_IN, after - 1, 512);
}
