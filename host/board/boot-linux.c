/* SPDX-License-Identifier: MIT */
/*
 * Linux's own boot protocol for x86 (Documentation/arch/x86/boot.rst), the part behind its 16-bit
 * setup code: RSI points to the boot parameters ("zero page") with the setup header of the file,
 * the memory map, the command line and the initial RAM disk.  A kernel of protocol 2.12 with a
 * 64-bit entry starts in long mode with the first 4 GiB mapped as they are, an older one at its
 * 32-bit entry.  The 16-bit entry, which needs a BIOS, is left out; so are kernels before 2.06.
 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/fault.h"
#include "board/boot-image.h"

#define PAGE 4096u

/* setup header: offsets in the file and in the boot parameters alike */
#define HEADER_START	0x1f1
#define SETUP_SECTS	0x1f1 /* u8; 0 means 4 */
#define BOOT_FLAG	0x1fe /* u16: 0xaa55 */
#define JUMP		0x201 /* u8: the header ends at 0x202 + this */
#define MAGIC		0x202 /* "HdrS" */
#define VERSION		0x206 /* u16 */
#define TYPE_OF_LOADER	0x210 /* u8 */
#define LOADFLAGS	0x211 /* u8 */
#define CODE32_START	0x214 /* u32 */
#define RAMDISK_IMAGE	0x218 /* u32 */
#define RAMDISK_SIZE	0x21c /* u32 */
#define HEAP_END	0x224 /* u16 */
#define CMD_LINE_PTR	0x228 /* u32 */
#define INITRD_ADDR_MAX 0x22c /* u32: the last byte it may have */
#define KERNEL_ALIGN	0x230 /* u32 */
#define RELOCATABLE	0x234 /* u8 */
#define XLOADFLAGS	0x236 /* u16 */
#define CMDLINE_SIZE	0x238 /* u32: without the terminating zero */
#define PREF_ADDRESS	0x258 /* u64 */
#define INIT_SIZE	0x260 /* u32 */

/* of the boot parameters only */
#define ACPI_RSDP_ADDR 0x070 /* u64 */
#define E820_ENTRIES   0x1e8 /* u8 */
#define E820_TABLE     0x2d0 /* of 20 bytes each */
#define E820_MAX       128

#define LOADED_HIGH    1    /* loadflags */
#define XLF_KERNEL_64  1    /* xloadflags: a 64-bit entry at 0x200 */
#define LOADER_UNKNOWN 0xff /* "unassigned" */
#define OLDEST	       0x206
#define ENTRY64	       0x200
#define SELECTORS      4
#define TABLE_PAGES    6 /* PML4, PDPT, four page directories of 2 MiB pages */

struct e820_entry {
	uint64_t address, length;
	uint32_t type;
} __attribute__((packed));

/* What the kernel needs of memory besides itself, in one piece; the command line follows. */
struct tables {
	uint64_t page_table[TABLE_PAGES][PAGE / 8];
	uint8_t params[PAGE];
	uint64_t gdt[SELECTORS];
};

struct linux_image {
	const struct boot_file *file;
	uint8_t header[PAGE / 4]; /* of the file: boot sector and setup header */
	uint64_t code;		  /* offset of the protected-mode code in the file */
	uint64_t address;	  /* where it goes */
	bool entry64;
};

bool linux_is(const uint8_t *header, uint64_t size)
{
	return size > HEADER_START + 0x80 && get_le16(header + BOOT_FLAG) == 0xaa55 &&
	       !memcmp(header + MAGIC, "HdrS", 4);
}

static int parse(struct linux_image *image, struct error *err)
{
	const uint8_t *header = image->header;
	unsigned version, sectors;
	int rc = boot_file_read(image->file, 0, image->header, sizeof(image->header), err);

	if (rc)
		return rc;
	version = get_le16(header + VERSION);
	if (version < OLDEST)
		return error_set(err, ENOTSUP,
			"a Linux kernel of boot protocol %u.%02u; 2.06 is the oldest taken",
			version >> 8, version & 0xff);
	if (!(header[LOADFLAGS] & LOADED_HIGH))
		return error_set(err, ENOTSUP, "a Linux zImage, which wants to lie below 1 MiB");
	sectors = header[SETUP_SECTS] ? header[SETUP_SECTS] : 4;
	image->code = (sectors + 1) * 512u;
	if (image->code >= image->file->size)
		return error_set(err, EINVAL, "truncated: nothing follows the setup code");
	image->address = get_le32(header + CODE32_START);
	if (version >= 0x20a && header[RELOCATABLE])
		memcpy(&image->address, header + PREF_ADDRESS, sizeof(image->address));
	image->entry64 = version >= 0x20c && get_le16(header + XLOADFLAGS) & XLF_KERNEL_64;
	return 0;
}

/* The kernel unpacks itself within init_size bytes: those are taken, too. */
static int load_kernel(
	struct boot_layout *layout, const struct linux_image *image, struct error *err)
{
	uint64_t length = image->file->size - image->code, whole = length;

	if (get_le16(image->header + VERSION) >= 0x20a &&
		get_le32(image->header + INIT_SIZE) > whole)
		whole = get_le32(image->header + INIT_SIZE);
	return boot_load_file(layout, image->file, image->code, length, image->address, whole, err);
}

static int load_initrd(
	struct boot_layout *layout, const char *path, uint8_t *params, struct error *err)
{
	struct boot_file file;
	uint64_t at;
	int rc = boot_file_open(&file, path, "initial ram disk", err);

	if (rc)
		return error_prefix(err, rc, "-initrd: ");
	at = boot_place_top(layout, file.size, (uint64_t)get_le32(params + INITRD_ADDR_MAX) + 1);
	if (!at)
		rc = error_set(err, ENOMEM, "no room for its %llu bytes in guest memory",
			(unsigned long long)file.size);
	else
		rc = boot_load_file(layout, &file, 0, file.size, at, file.size, err);
	put_le32(params + RAMDISK_IMAGE, at);
	put_le32(params + RAMDISK_SIZE, file.size);
	boot_file_close(&file);
	return error_prefix(err, rc, "-initrd %s: ", path);
}

static void fill_e820(const struct guest_memory *mem, uint8_t *params)
{
	struct memmap_entry map[MEMMAP_MAX];
	unsigned count = memmap_build(mem, map);

	_Static_assert(MEMMAP_MAX <= E820_MAX, "the boot parameters have room for so many");
	for (unsigned i = 0; i < count; i++) {
		struct e820_entry entry = {map[i].address, map[i].length, map[i].type};

		memcpy(params + E820_TABLE + i * sizeof(entry), &entry, sizeof(entry));
	}
	params[E820_ENTRIES] = count;
}

static void fill_params(
	uint8_t *params, const struct linux_image *image, uint64_t rsdp, uint64_t command_line)
{
	unsigned end = MAGIC + image->header[JUMP];

	memcpy(params + HEADER_START, image->header + HEADER_START, end - HEADER_START);
	params[TYPE_OF_LOADER] = LOADER_UNKNOWN;
	put_le32(params + CMD_LINE_PTR, command_line);
	put_le32(params + CODE32_START, image->address);
	put_le64(params + ACPI_RSDP_ADDR, rsdp);
}

/* Present, writable; 2 MiB pages. */
static void fill_tables(struct tables *tables, uint64_t at)
{
	uint64_t *pages = tables->page_table[2];

	tables->page_table[0][0] = (at + PAGE) | 3;
	for (unsigned i = 0; i < 4; i++)
		tables->page_table[1][i] = (at + (2 + i) * PAGE) | 3;
	for (uint64_t i = 0; i < 4 * (PAGE / 8); i++)
		pages[i] = i << 21 | 0x83;
	tables->gdt[2] = 0x00af9b000000ffff; /* __BOOT_CS: 64-bit code */
	tables->gdt[3] = 0x00cf93000000ffff; /* __BOOT_DS */
}

static int load_tables(struct boot_layout *layout, const struct linux_image *image,
	const struct board_config *config, uint64_t rsdp, struct boot_entry *out, struct error *err)
{
	const char *append = config->append ? config->append : "";
	size_t size = sizeof(struct tables) + strlen(append) + 1;
	uint64_t at = boot_place_tables(layout, size);
	struct tables *tables;
	int rc = 0;

	if (strlen(append) > get_le32(image->header + CMDLINE_SIZE))
		return error_set(err, E2BIG, "its command line has at most %u bytes, not %zu",
			get_le32(image->header + CMDLINE_SIZE), strlen(append));
	if (!at)
		return error_set(err, ENOMEM, "no room for the boot parameters");
	tables = calloc(1, size);
	if (!tables)
		return error_set(err, ENOMEM, "out of memory");
	fill_params(tables->params, image, rsdp, at + sizeof(*tables));
	fill_e820(&layout->machine->memory, tables->params);
	fill_tables(tables, at);
	strcpy((char *)(tables + 1), append);
	fault_table("cmdline", tables + 1, strlen(append) + 1);
	if (config->initrd)
		rc = load_initrd(layout, config->initrd, tables->params, err);
	if (!rc)
		rc = boot_load_bytes(layout, tables, size, at, err);
	free(tables);
	*out = (struct boot_entry){
		.rip = image->address + (image->entry64 ? ENTRY64 : 0),
		.esi = at + offsetof(struct tables, params),
		.mode = image->entry64 ? BOOT_LONG64 : BOOT_PROTECTED32,
		.page_table = at,
		.gdt = at + offsetof(struct tables, gdt),
		.gdt_limit = SELECTORS * 8 - 1,
	};
	return rc;
}

int linux_load(struct boot_layout *layout, const struct boot_file *file,
	const struct board_config *config, uint64_t rsdp, struct boot_entry *out, struct error *err)
{
	struct linux_image image = {.file = file};
	int rc = parse(&image, err);

	if (!rc)
		rc = load_kernel(layout, &image, err);
	return rc ? rc : load_tables(layout, &image, config, rsdp, out, err);
}
