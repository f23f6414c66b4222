/* SPDX-License-Identifier: MIT */
/*
 * IDENTIFY DEVICE: ATA/ATAPI-6 8.15 and table 27; words 106, 117 and 217 are ATA8-ACS's, 105 and
 * 169 (TRIM) ACS-2's.  Words that are obsolete or reserved are 0, except where drivers look.
 */
#include "devices/storage/ide.h"

#include <string.h>

/* Two characters a word, the first in the upper byte, padded with spaces (8.15.8). */
static void put_string(uint16_t *words, unsigned count, const char *text)
{
	size_t length = strlen(text);

	for (unsigned i = 0; i < count * 2; i++) {
		uint8_t c = i < length ? (uint8_t)text[i] : ' ';

		if (i % 2)
			words[i / 2] |= c;
		else
			words[i / 2] = c << 8;
	}
}

static void put_number(uint16_t *words, unsigned count, uint64_t value)
{
	for (unsigned i = 0; i < count; i++)
		words[i] = value >> (i * 16);
}

static void put_geometry(const struct ide_drive *drive, uint16_t *w)
{
	uint32_t capacity =
		(uint32_t)drive->current_cylinders * drive->current_heads * drive->current_track;
	uint64_t sectors = drive->sectors;

	w[1] = drive->cylinders;
	w[3] = drive->heads;
	w[6] = drive->track;
	w[54] = drive->current_cylinders;
	w[55] = drive->current_heads;
	w[56] = drive->current_track;
	put_number(w + 57, 2, capacity);
	put_number(w + 60, 2, sectors > IDE_LBA28_MAX ? IDE_LBA28_MAX : sectors);
	put_number(w + 100, 4, sectors);
	if (drive->physical_exponent)
		w[106] = 0x6000 | drive->physical_exponent;
}

static void put_modes(const struct ide_drive *drive, uint16_t *w)
{
	uint8_t mode = drive->transfer_mode, n = mode & 7;

	w[53] = 0x0007; /* words 54 to 58, 64 to 70 and 88 are valid */
	w[63] = 0x0007 | (mode >> 3 == 4 ? 0x100 << n : 0);
	w[64] = 0x0003; /* PIO 3 and 4 */
	w[65] = w[66] = w[67] = w[68] = 120;
	w[88] = 0x003f | (mode >> 3 == 8 ? 0x100 << n : 0);
	/* Who found what at reset: number by jumper, diagnostics passed, 80-conductor cable. */
	w[93] = drive->unit ? 0x6300 : 0x600b;
}

static void put_features(const struct ide_drive *drive, uint16_t *w)
{
	w[80] = 0x0270; /* ATA/ATAPI-4 to -6, and ACS-2 for TRIM */
	w[82] = 0x4068; /* NOP, look-ahead, write cache, power management */
	w[83] = 0x7400; /* FLUSH CACHE and EXT, 48-bit addresses */
	w[84] = 0x4040; /* the FUA commands */
	w[85] = 0x4008 | (drive->look_ahead ? 0x40 : 0) | (drive->write_cache ? 0x20 : 0);
	w[86] = 0x3400;
	if (drive->wwn) {
		w[84] |= 0x0100;
		for (unsigned i = 0; i < 4; i++)
			w[108 + i] = drive->wwn >> (48 - i * 16);
	}
	w[87] = w[84];
	w[105] = drive->can_trim ? IDE_TRIM_BLOCKS : 0;
	w[169] = drive->can_trim ? 0x0001 : 0;
	w[217] = drive->rotation_rate;
}

void ide_identify(struct ide_drive *drive, uint16_t w[256])
{
	uint8_t sum = 0;

	memset(w, 0, 512);
	w[0] = 0x0040; /* an ATA disk, not removable */
	w[2] = 0xc837; /* complete without a spin-up command */
	put_string(w + 10, 10, drive->serial);
	put_string(w + 23, 4, drive->version);
	put_string(w + 27, 20, drive->model);
	w[47] = 0x8000 | IDE_MULTIPLE_MAX;
	w[49] = 0x2b00; /* standby timer, IORDY, LBA, DMA */
	w[50] = 0x4000;
	w[51] = 0x0200; /* obsolete: PIO mode 2 for drivers that know no word 64 */
	w[59] = drive->multiple ? 0x0100 | drive->multiple : 0;
	put_geometry(drive, w);
	put_modes(drive, w);
	put_features(drive, w);

	w[255] = 0x00a5;
	for (unsigned i = 0; i < 256; i++)
		sum += (w[i] & 0xff) + (w[i] >> 8);
	w[255] |= (uint8_t)-sum << 8;
}
