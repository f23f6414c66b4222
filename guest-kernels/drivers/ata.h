/* SPDX-License-Identifier: MIT */
/*
 * ATA disks on a PIIX3 (8086:7010), ISA addresses: ATA/ATAPI-6 for the registers and protocols,
 * "Bus Master IDE Controller" 1.0 (SFF-8038i) for DMA.
 *
 * The short way, all of it polled by interrupt count:
 *
 *	static struct ata_disk disk;
 *	if (!ata_disk_init(&disk, 0, 0))
 *		SKIP("no disk");
 *	ata_pio_read(&disk, lba, count, buffer);
 *	ata_dma_submit(&disk, ATA_READ, lba, count, buffer);
 *	ata_dma_wait(&disk);
 *
 * TESTs that look at single registers use the lower half.
 */
#ifndef ASSAY_DRIVERS_ATA_H
#define ASSAY_DRIVERS_ATA_H

#include "runtime/io.h"

/* Command block, from the channel's base. */
enum {
	ATA_DATA,
	ATA_ERROR,
	ATA_COUNT,
	ATA_LOW,
	ATA_MID,
	ATA_HIGH,
	ATA_DEVICE,
	ATA_STATUS,
	ATA_FEATURE = ATA_ERROR,
	ATA_COMMAND = ATA_STATUS,
};

#define ATA_BSY	 0x80
#define ATA_DRDY 0x40
#define ATA_DF	 0x20
#define ATA_DRQ	 0x08
#define ATA_ERR	 0x01

#define ATA_UNC	 0x40
#define ATA_IDNF 0x10
#define ATA_ABRT 0x04

#define ATA_LBA 0x40 /* device register */
#define ATA_DEV 0x10

#define ATA_HOB	 0x80 /* device control */
#define ATA_SRST 0x04
#define ATA_NIEN 0x02

enum {
	ATA_CMD_NOP = 0x00,
	ATA_CMD_TRIM = 0x06,
	ATA_CMD_DEVICE_RESET = 0x08,
	ATA_CMD_READ = 0x20,
	ATA_CMD_READ_EXT = 0x24,
	ATA_CMD_READ_DMA_EXT = 0x25,
	ATA_CMD_NATIVE_MAX_EXT = 0x27,
	ATA_CMD_READ_MULTIPLE_EXT = 0x29,
	ATA_CMD_WRITE = 0x30,
	ATA_CMD_WRITE_EXT = 0x34,
	ATA_CMD_WRITE_DMA_EXT = 0x35,
	ATA_CMD_WRITE_MULTIPLE_EXT = 0x39,
	ATA_CMD_WRITE_DMA_FUA = 0x3d,
	ATA_CMD_VERIFY = 0x40,
	ATA_CMD_VERIFY_EXT = 0x42,
	ATA_CMD_SEEK = 0x70,
	ATA_CMD_DIAGNOSTIC = 0x90,
	ATA_CMD_INIT_PARAMETERS = 0x91,
	ATA_CMD_IDENTIFY_PACKET = 0xa1,
	ATA_CMD_READ_MULTIPLE = 0xc4,
	ATA_CMD_WRITE_MULTIPLE = 0xc5,
	ATA_CMD_SET_MULTIPLE = 0xc6,
	ATA_CMD_READ_DMA = 0xc8,
	ATA_CMD_WRITE_DMA = 0xca,
	ATA_CMD_STANDBY_NOW = 0xe0,
	ATA_CMD_IDLE_NOW = 0xe1,
	ATA_CMD_CHECK_POWER = 0xe5,
	ATA_CMD_FLUSH = 0xe7,
	ATA_CMD_FLUSH_EXT = 0xea,
	ATA_CMD_IDENTIFY = 0xec,
	ATA_CMD_SET_FEATURES = 0xef,
	ATA_CMD_NATIVE_MAX = 0xf8,
};

/* Bus master registers, from the channel's half of BAR 4. */
enum { BM_COMMAND = 0, BM_STATUS = 2, BM_TABLE = 4 };
#define BM_START     0x01
#define BM_TO_MEMORY 0x08
#define BM_ACTIVE    0x01
#define BM_ERROR     0x02
#define BM_INTR	     0x04
#define BM_CAPABLE   0x60

struct ata_prd {
	uint32_t address;
	uint16_t bytes; /* 0: 64 KiB */
	uint16_t flags;
};
#define PRD_END 0x8000

/* How long the slowest command may take, microseconds. */
#define ATA_LIMIT 5000000

enum ata_direction { ATA_READ, ATA_WRITE };

struct ata_channel {
	uint16_t base, control, bm; /* bm 0: no bus master found */
	unsigned irq, vector;
	uint32_t irqs_seen; /* of irq_count(vector): what ata_irq() has waited for */
};

struct ata_disk {
	struct ata_channel *channel;
	uint8_t device; /* DEV bit and LBA */
	uint16_t identify[256];
	uint64_t sectors;
	bool lba48;
	uint8_t multiple; /* sectors a block; 1: SET MULTIPLE was not done */
	bool no_ext;	  /* 28-bit commands where the address allows */
};

/* A result: 0, or status << 8 | error, or ATA_TIMEOUT. */
#define ATA_TIMEOUT (-1)

/* ---- registers ---- */

static inline uint8_t ata_in(const struct ata_channel *c, unsigned reg)
{
	return inb(c->base + reg);
}

static inline void ata_out(const struct ata_channel *c, unsigned reg, uint8_t value)
{
	outb(c->base + reg, value);
}

static inline uint8_t ata_alternate(const struct ata_channel *c)
{
	return inb(c->control);
}

static inline void ata_control(const struct ata_channel *c, uint8_t value)
{
	outb(c->control, value);
}

/*
 * Channel 0 or 1: software reset, bus master stopped, its interrupt routed (edge) to a fresh
 * vector. To be called in each TEST, as the vectors are given anew.
 */
struct ata_channel *ata_channel(unsigned number);
/* SRST for 5 us and more, and the wait for BSY of drive 0 to clear.  False: it stays busy. */
bool ata_soft_reset(struct ata_channel *c);
void ata_select(struct ata_channel *c, uint8_t device);
/* Waits for BSY = 0 by the alternate status, so that no interrupt is lost; returns it. */
uint8_t ata_wait(struct ata_channel *c);
/* Waits for one more interrupt than it has waited for so far; false after `us` without. */
bool ata_irq(struct ata_channel *c, uint64_t us);
/* Interrupts since the channel was set up. */
uint32_t ata_irqs(const struct ata_channel *c);
/* Writes the registers for `count` sectors at `lba`: 28 bits, or 48 with the upper bytes first. */
void ata_address(struct ata_disk *disk, uint64_t lba, uint32_t count, bool ext);
/* A command without data: registers but the command are set; waits for the interrupt. */
int ata_plain(struct ata_disk *disk, uint8_t command);
/* The result that the registers show now; reads the status, so it clears the interrupt. */
int ata_result(const struct ata_channel *c);

/* ---- disks ---- */

/* False: no ATA disk there (nothing, or ATAPI). */
bool ata_disk_init(struct ata_disk *disk, unsigned channel, unsigned unit);
int ata_identify(struct ata_disk *disk, uint16_t words[256]);
int ata_set_multiple(struct ata_disk *disk, uint8_t sectors);
/* count: 1 to 256, or 65536 with 48 bits; one command each. */
int ata_pio_read(struct ata_disk *disk, uint64_t lba, uint32_t count, void *to);
int ata_pio_write(struct ata_disk *disk, uint64_t lba, uint32_t count, const void *from);
int ata_flush(struct ata_disk *disk);

/* ---- DMA (ata-dma.c) ---- */

#define ATA_PRDS 512 /* of the channel's own table: 32 MiB in one command */

/* One command into or from one buffer below 4 GiB; then wait for it. */
void ata_dma_submit(struct ata_disk *disk, enum ata_direction direction, uint64_t lba,
	uint32_t count, void *buffer);
int ata_dma_wait(struct ata_disk *disk);
int ata_dma_read(struct ata_disk *disk, uint64_t lba, uint32_t count, void *to);
int ata_dma_write(struct ata_disk *disk, uint64_t lba, uint32_t count, const void *from);

/* The same with a table of one's own: arms the bus master, issues the command, starts. */
void ata_dma_table(
	struct ata_channel *c, const struct ata_prd *table, enum ata_direction direction);
void ata_dma_command(
	struct ata_disk *disk, enum ata_direction direction, uint64_t lba, uint32_t count);
void ata_dma_start(struct ata_channel *c, enum ata_direction direction);
void ata_dma_stop(struct ata_channel *c);

static inline uint8_t ata_bm_status(const struct ata_channel *c)
{
	return inb(c->bm + BM_STATUS);
}

#endif
