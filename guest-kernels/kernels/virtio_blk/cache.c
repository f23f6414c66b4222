/* SPDX-License-Identifier: MIT */
/*
 * The cache of the block device: flush, writeback (virtio 1.4, 5.2.5 and 5.2.6.2).
 */
#include "disk.h"

TEST(flush_request, "BLK-DRV-14 BLK-DEV-29",
	"a flush succeeds after writes, and what was written is read after it", DISK)
{
	struct disk *d = disk_open(DISK_FEATURES);

	disk_fill(d, DISK_SCRATCH, 4, 109);
	EXPECT_EQ(disk_do(d, BLK_T_FLUSH, 0, NULL, 0), BLK_S_OK);
	disk_verify(d, DISK_SCRATCH, 4, 109);
}

TEST(writeback_can_be_switched, "BLK-DRV-22",
	"with CONFIG_WCE the writeback field reads back 0 and 1, and writes are kept either way",
	DISK)
{
	struct disk *d = disk_find(false);

	if (!(virtio_offered(&d->dev) & VIRTIO_BIT(BLK_F_CONFIG_WCE)))
		SKIP("CONFIG_WCE is not offered");
	ASSERT_TRUE(disk_start(d, DISK_FEATURES | VIRTIO_BIT(BLK_F_CONFIG_WCE)));
	for (uint8_t value = 0; value <= 1; value++) {
		virtio_config_write8(&d->dev, BLK_C_WRITEBACK, value);
		EXPECT_EQ(virtio_config8(&d->dev, BLK_C_WRITEBACK), value);
		disk_serves(d);
	}
}

TEST(writeback_without_flush, "BLK-DEV-02",
	"with CONFIG_WCE and without FLUSH writeback starts as 0; by the legacy interface features "
	"leave it alone",
	DISK)
{
	struct disk *d = disk_find(false);
	uint64_t set = VIRTIO_RING_FEATURES | VIRTIO_BIT(BLK_F_CONFIG_WCE);

	if (!(virtio_offered(&d->dev) & VIRTIO_BIT(BLK_F_CONFIG_WCE)))
		SKIP("CONFIG_WCE is not offered");
	ASSERT_TRUE(disk_start(d, set));
	EXPECT_EQ(virtio_config8(&d->dev, BLK_C_WRITEBACK), d->dev.legacy);
	disk_serves(d);
}

TEST(writeback_after_reset, "BLK-DRV-22",
	"what a driver made of the writeback field is gone after a reset", DISK)
{
	struct disk *d = disk_find(false);
	uint64_t set = DISK_FEATURES | VIRTIO_BIT(BLK_F_CONFIG_WCE);
	uint8_t first;

	if (!(virtio_offered(&d->dev) & VIRTIO_BIT(BLK_F_CONFIG_WCE)))
		SKIP("CONFIG_WCE is not offered");
	ASSERT_TRUE(disk_start(d, set));
	first = virtio_config8(&d->dev, BLK_C_WRITEBACK);
	virtio_config_write8(&d->dev, BLK_C_WRITEBACK, !first);
	EXPECT_EQ(virtio_config8(&d->dev, BLK_C_WRITEBACK), !first);
	ASSERT_TRUE(virtio_reset(&d->dev));
	ASSERT_TRUE(disk_start(d, set));
	EXPECT_EQ(virtio_config8(&d->dev, BLK_C_WRITEBACK), first);
}

TEST(writeback_without_its_feature, "BLK-DRV-22",
	"without CONFIG_WCE a write to the writeback field, or to any other, changes nothing", DISK)
{
	struct disk *d = disk_open(DISK_FEATURES);
	uint8_t before = virtio_config8(&d->dev, BLK_C_WRITEBACK);
	uint64_t capacity = virtio_config64(&d->dev, BLK_C_CAPACITY);

	if (disk_strict()) { /* the text says nothing of that write */
		virtio_config_write8(&d->dev, BLK_C_WRITEBACK, !before);
		EXPECT_EQ(virtio_config8(&d->dev, BLK_C_WRITEBACK), before);
	}
	virtio_config_write32(&d->dev, BLK_C_CAPACITY, 1);
	EXPECT_EQ(virtio_config64(&d->dev, BLK_C_CAPACITY), capacity);
	disk_serves(d);
}
