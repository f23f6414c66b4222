/* SPDX-License-Identifier: MIT */
/*
 * The parts of the IDE controller among themselves: a channel with its command block and control
 * block registers (ide.c), the commands (ide-command.c, ide-identify.c), data by PIO
 * (ide-transfer.c) and by the bus master (ide-dma.c), the disk as a device (ide-hd.c) and the PCI
 * function (piix3-ide.c).
 *
 * ATA/ATAPI-6 (T13/1410D); section numbers in these files are its.  SFF-8038i for the bus master.
 *
 * All of it runs under the machine lock, on vCPU threads and on the main loop, where the block
 * requests complete.  One request is in flight for a drive at most.  A reset waits for it (the
 * memory of its data is the guest's again afterwards) and forgets its outcome.
 */
#ifndef DEVICES_STORAGE_IDE_H
#define DEVICES_STORAGE_IDE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "block/block.h"
#include "machine/device.h"
#include "machine/irq.h"
#include "machine/machine.h"
#include "machine/memory.h"
#include "machine/space.h"

/* Status (7.15) */
#define ATA_BSY	 0x80
#define ATA_DRDY 0x40
#define ATA_DF	 0x20
#define ATA_DSC	 0x10
#define ATA_DRQ	 0x08
#define ATA_ERR	 0x01

/* Error (7.9) */
#define ATA_UNC	 0x40
#define ATA_IDNF 0x10
#define ATA_ABRT 0x04

/* Device (7.7) and Device Control (7.8) */
#define ATA_DEVICE_LBA	 0x40
#define ATA_DEVICE_DEV	 0x10
#define ATA_DEVICE_HEAD	 0x0f
#define ATA_CONTROL_HOB	 0x80
#define ATA_CONTROL_SRST 0x04
#define ATA_CONTROL_NIEN 0x02

/* Bus master registers of a channel (SFF-8038i, 2) */
#define BM_COMMAND	  0
#define BM_COMMAND_START  0x01
#define BM_COMMAND_READ	  0x08 /* the bus master writes to memory */
#define BM_STATUS	  2
#define BM_STATUS_ACTIVE  0x01
#define BM_STATUS_ERROR	  0x02
#define BM_STATUS_INTR	  0x04
#define BM_STATUS_CAPABLE 0x60
#define BM_TABLE	  4
#define BM_LENGTH	  8

#define IDE_SECTOR	   512
#define IDE_BUFFER_SECTORS 128
#define IDE_MULTIPLE_MAX   16 /* and the block of READ and WRITE MULTIPLE after a reset */
#define IDE_LBA28_MAX	   0x0fffffffULL
#define IDE_TRIM_BLOCKS	   8

#define IDE_PRD_ENTRIES 8192 /* of 8 bytes in the 64 KiB that a table must not leave */
#define IDE_DMA_SPANS	384
#define IDE_DMA_IOVS	1024

struct ide_channel;
struct ide_drive;

/* The command block as the host writes it; index 1 is the previous content (6.20, HOB). */
struct ide_task {
	uint8_t feature[2], count[2], lba_low[2], lba_mid[2], lba_high[2];
	uint8_t device;
	uint8_t status, error;
};

enum ide_power { IDE_STANDBY = 0x00, IDE_IDLE = 0x80, IDE_ACTIVE = 0xff };

struct ide_command {
	void (*run)(struct ide_drive *drive);
	bool ext, write, multiple, fua, dma;
};

/* A data transfer in progress. */
struct ide_transfer {
	uint64_t lba;
	uint32_t left;	    /* sectors still to go */
	uint32_t per_block; /* sectors between two interrupts (PIO) */
	uint32_t chunk;	    /* sectors of the request in flight */
	uint32_t buffered;  /* sectors of `buffer` read and not yet taken (PIO in); `lba` is where
			       the buffer begins */
	uint32_t taken;	    /* sectors of `buffer` in front of those */
	bool single;	    /* a longer read failed: sector by sector from here on */
	bool dma;	    /* the drive asks for DMA until `left` is 0 */
	bool trim;	    /* DMA into `buffer`, then ranges of it one by one */
	uint32_t range;	    /* next range of TRIM */
};

struct ide_drive {
	struct ide_channel *channel;
	unsigned unit;
	struct block_backend *blk;
	struct block_user user;
	const char *serial, *model, *version;
	uint64_t wwn;
	uint16_t rotation_rate;
	bool can_trim;
	uint8_t physical_exponent; /* log2 of logical sectors in a physical one */

	uint64_t sectors;
	uint16_t cylinders, heads, track;			  /* default geometry */
	uint16_t current_cylinders, current_heads, current_track; /* INITIALIZE DEVICE PARAMETERS */

	struct ide_task task;
	const struct ide_command *command; /* in progress */
	bool intrq;			   /* interrupt pending (5.2.9) */
	uint8_t multiple;		   /* sectors a block of READ/WRITE MULTIPLE, 0: disabled */
	uint8_t transfer_mode;		   /* SET FEATURES 03h: 0x20 | n or 0x40 | n; 0: PIO */
	bool write_cache, write_cache_default;
	bool look_ahead, keep_settings;
	bool asleep;
	enum ide_power power;

	/* The data port: what is left of the DRQ block, and what follows its last word. */
	uint8_t *at, *end;
	void (*block_done)(struct ide_drive *drive);

	struct ide_transfer transfer;
	uint8_t *buffer; /* IDE_BUFFER_SECTORS */

	struct { /* what stands for pointers in a saved state */
		uint16_t opcode;
		uint8_t step;
		uint32_t at, left; /* bytes of `buffer` */
	} saved;

	struct block_request request;
	struct iovec iov;
	bool in_flight, disowned;
	void (*done)(struct ide_drive *drive, int result);
};

/* The bus master of one channel: registers, and how far the walk through the table got. */
struct ide_bmdma {
	uint8_t command, status;
	uint32_t table;

	uint32_t next, entries_left;  /* the entry to read next */
	uint32_t address, bytes_left; /* of the entry read last */
	bool last;		      /* that entry had the end mark */
	bool stopping;		      /* the host stops: no further request */
	bool failed;		      /* memory could not be reached */
	bool starved;		      /* the table named less than was wanted */

	struct span *spans; /* IDE_DMA_SPANS */
	struct iovec *iov;  /* IDE_DMA_IOVS */
	unsigned span_count, iov_count;
	bool to_memory;
};

struct ide_channel {
	struct bus bus;
	struct machine *machine;
	unsigned number;
	struct ide_drive *drives[2];
	unsigned selected;
	uint8_t control;
	struct irq_line irq;
	bool level;
	struct ide_bmdma bm;
	/* May the function reach memory?  (PCI command register) */
	bool (*is_master)(void *opaque);
	void *opaque;
	struct region command_region, control_region;
	char command_name[16], control_name[16];
};

/* A device on the bus "IDE" begins with this; `unit` UINT32_MAX takes the next free place. */
struct ide_device {
	struct device dev;
	uint32_t unit;
	struct ide_drive drive;
};

/* ide.c */
void ide_channel_init(struct ide_channel *channel, struct machine *machine, unsigned number);
void ide_channel_map(struct ide_channel *channel, uint16_t command, uint16_t control);
void ide_channel_unmap(struct ide_channel *channel);
void ide_channel_reset(struct ide_channel *channel); /* power on or RESET- */
void ide_raise(struct ide_drive *drive);	     /* the drive asserts INTRQ */
void ide_update_irq(struct ide_channel *channel);
void ide_drive_init(struct ide_drive *drive); /* power-on settings */
void ide_signature(struct ide_drive *drive);  /* 9.12 */
void ide_diagnose(struct ide_channel *channel);
/* Waits for the request in flight and takes back what the command had begun. */
void ide_abandon(struct ide_drive *drive);

/* ide-command.c */
void ide_command(struct ide_drive *drive, uint8_t opcode);
void ide_complete(struct ide_drive *drive); /* good status and an interrupt */
void ide_fail(struct ide_drive *drive, uint8_t error);
/* The same for a sector: its address goes to the registers (9.4). */
void ide_fail_at(struct ide_drive *drive, uint8_t error, uint64_t lba);
void ide_set_transfer_mode_default(struct ide_drive *drive);

const struct ide_command *ide_command_find(uint8_t opcode); /* NULL: not a command */
uint8_t ide_command_opcode(const struct ide_command *command);

/* ide-identify.c */
void ide_identify(struct ide_drive *drive, uint16_t words[256]);

/* ide-transfer.c: begin, with transfer.lba and .left set and checked, status BSY */
void ide_pio_in(struct ide_drive *drive);
void ide_pio_out(struct ide_drive *drive);
void ide_verify(struct ide_drive *drive);
void ide_flush(struct ide_drive *drive);
void ide_trim(struct ide_drive *drive); /* `buffer` holds transfer.taken blocks of ranges */
/* Offers `bytes` of `buffer` from `from` at the data port; `then` runs after the last. */
void ide_offer(struct ide_drive *drive, uint8_t *from, uint32_t bytes,
	void (*then)(struct ide_drive *drive));
/* Hands a request to the backend; `done` is not called when the drive was reset meanwhile. */
void ide_submit(struct ide_drive *drive, enum block_operation operation, uint64_t lba,
	uint32_t sectors, const struct iovec *iov, int iov_count,
	void (*done)(struct ide_drive *drive, int result));

/* What follows the last word of a block: drive->block_done as a number. */
enum ide_step { IDE_STEP_OFFERED, IDE_STEP_TAKEN, IDE_STEP_GIVEN, IDE_STEPS };
enum ide_step ide_step(const struct ide_drive *drive);
void ide_set_step(struct ide_drive *drive, enum ide_step step);

/* ide-state.c */
extern const struct state_table ide_channel_table, ide_drive_table;
unsigned ide_saved_bytes(const void *state); /* of the buffer */

/* ide-dma.c */
int ide_dma_init(struct ide_channel *channel, struct error *err);
void ide_dma_destroy(struct ide_channel *channel);
void ide_dma_reset(struct ide_channel *channel);
void ide_dma_begin(struct ide_drive *drive);	   /* as ide_pio_in() */
void ide_dma_run(struct ide_channel *channel);	   /* something it waits for may have come */
void ide_dma_release(struct ide_channel *channel); /* the memory of the last part */
uint8_t ide_dma_read(struct ide_channel *channel, unsigned offset);
void ide_dma_write(struct ide_channel *channel, unsigned offset, uint8_t value);

#endif
