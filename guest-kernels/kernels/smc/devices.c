/* SPDX-License-Identifier: MIT */
/* Kernel smc, devices: code that a disk's DMA, or REP INSW, writes. */
#include "drivers/ata.h"
#include "kernels/smc/smc.h"
#include "virtio-drivers/blk.h"

static void fill_sector(uint8_t *sector, uint32_t value)
{
	memset(sector, 0xcc, 512);
	put_return(sector, value);
}

TEST(ata_dma_into_code, "", "code that an IDE disk's DMA writes is what runs next",
	NEEDS("disk:ata pci"))
{
	static struct ata_disk disk;
	uint8_t *code, *out;

	if (!ata_disk_init(&disk, 0, 0))
		SKIP("no disk");
	code = code_pages(1);
	out = code_pages(1);
	for (uint32_t i = 1; i <= 3; i++) {
		fill_sector(out, 0xd0 + i);
		ASSERT_EQ(ata_dma_write(&disk, 100 + i, 1, out), 0);
	}
	put_return(code, 1);
	EXPECT_EQ(call(code), 1);
	for (uint32_t i = 1; i <= 3; i++) {
		ASSERT_EQ(ata_dma_read(&disk, 100 + i, 1, code), 0);
		serialize();
		EXPECT_EQ(call(code), 0xd0 + i);
	}
}

TEST(ata_pio_into_code, "", "code that REP INSW reads from an IDE disk is what runs next",
	NEEDS("disk:ata"))
{
	static struct ata_disk disk;
	uint8_t *code, *out;

	if (!ata_disk_init(&disk, 0, 0))
		SKIP("no disk");
	code = code_pages(1);
	out = code_pages(1);
	put_return(code, 1);
	EXPECT_EQ(call(code), 1);
	fill_sector(out, 0xa5a5a5);
	ASSERT_EQ(ata_pio_write(&disk, 200, 1, out), 0);
	ASSERT_EQ(ata_pio_read(&disk, 200, 1, code), 0);
	EXPECT_EQ(call(code), 0xa5a5a5);
}

TEST(virtio_into_code, "", "code that a virtio disk writes is what runs next", NEEDS("disk:virtio"))
{
	static struct virtio_blk disk;
	uint8_t *code, *out;

	if (!virtio_blk_open(&disk, &(struct virtio_blk_options){.depth = 4, .polling = true}))
		SKIP("no disk");
	code = code_pages(1);
	out = code_pages(1);
	for (uint32_t i = 1; i <= 3; i++) {
		fill_sector(out, 0xe0 + i);
		ASSERT_EQ(virtio_blk_write(&disk, 100 + i, out, 512), 0);
	}
	put_return(code, 1);
	EXPECT_EQ(call(code), 1);
	for (uint32_t i = 1; i <= 3; i++) {
		ASSERT_EQ(virtio_blk_read(&disk, 100 + i, code, 512), 0);
		serialize();
		EXPECT_EQ(call(code), 0xe0 + i);
	}
}
