/* SPDX-License-Identifier: MIT */
/*
 * Kernel boot, first part: what a loader owes a kernel. Entry state and start info (Xen's x86/HVM
 * direct boot ABI; Multiboot 1 chapter 3), memory map, modules, command line, and the RAM that the
 * map promises.
 *
 * On the command line: echo=WORD repeats a word that the TEST knows, ram=N the size given to -m.
 */
#include "runtime/boot.h"
#include "runtime/io.h"
#include "runtime/memory.h"
#include "runtime/paging.h"
#include "runtime/test.h"
#include "runtime/user.h"

#define EFLAGS_TF (1u << 8)
#define EFLAGS_IF (1u << 9)
#define EFLAGS_VM (1u << 17)

TEST(pvh_control_registers, "",
	"PVH enters in protected mode with every other bit of CR0 and all of CR4 clear",
	NEEDS("pvh"))
{
	EXPECT_EQ(entry_state.cr0 & ~0x10u, 1); /* ET is fixed to 1 on many processors */
	EXPECT_EQ(entry_state.cr4, 0);
	EXPECT_EQ(entry_state.efer & 0x500, 0);
}

TEST(pvh_flags, "", "PVH enters with IF, TF and VM clear", NEEDS("pvh"))
{
	EXPECT_EQ(entry_state.eflags & (EFLAGS_IF | EFLAGS_TF | EFLAGS_VM), 0);
}

TEST(pvh_start_info, "", "EBX points at an hvm_start_info of version 1 or later that lies in RAM",
	NEEDS("pvh"))
{
	const struct hvm_start_info *info = (void *)(uint64_t)entry_state.ebx;

	EXPECT_EQ(info->magic, HVM_START_MAGIC);
	EXPECT_GE(info->version, 1);
	EXPECT_EQ(info->flags, 0);
	EXPECT_NE(info->cmdline, 0);
	EXPECT_NE(info->memmap, 0);
	EXPECT_GE(info->memmap_entries, 2);
	EXPECT_EQ(info->module_count != 0, info->modules != 0);
}

TEST(multiboot_registers, "",
	"Multiboot enters with its magic in EAX, PE set, paging off and interrupts off",
	NEEDS("multiboot"))
{
	EXPECT_EQ(entry_state.eax, 0x2badb002);
	EXPECT_EQ(entry_state.cr0 & 0x80000001, 1);
	EXPECT_EQ(entry_state.eflags & (EFLAGS_IF | EFLAGS_VM), 0);
}

TEST(multiboot_info_flags, "",
	"the Multiboot information has memory sizes, command line and memory map as asked",
	NEEDS("multiboot"))
{
	const uint32_t *info = boot_info.start_info;

	EXPECT_EQ(info[0] & 0x45, 0x45); /* flags: mem, cmdline, mmap */
	EXPECT_GE(info[1], 512);	 /* mem_lower, KiB */
	EXPECT_LE(info[1], 640);
	EXPECT_GE(info[2], 15 * 1024); /* mem_upper, KiB from 1 MiB */
}

TEST(map_has_no_overlap, "", "ranges of the memory map do not overlap and do not wrap")
{
	ASSERT_GE(boot_info.range_count, 2);
	for (unsigned i = 0; i < boot_info.range_count; i++) {
		const struct memory_range *a = &boot_info.ranges[i];

		EXPECT_GE(a->base + a->size, a->base);
		for (unsigned j = i + 1; j < boot_info.range_count; j++) {
			const struct memory_range *b = &boot_info.ranges[j];

			EXPECT_TRUE(a->base + a->size <= b->base || b->base + b->size <= a->base);
		}
	}
}

static const struct memory_range *range_of(uint64_t address)
{
	for (unsigned i = 0; i < boot_info.range_count; i++) {
		const struct memory_range *range = &boot_info.ranges[i];

		if (address >= range->base && address - range->base < range->size)
			return range;
	}
	return NULL;
}

static bool is_ram(uint64_t address)
{
	const struct memory_range *range = range_of(address);

	return range && range->type == MEMORY_RAM;
}

TEST(map_covers_kernel, "",
	"the kernel, low memory and the first MiB above 1 MiB are RAM in the map")
{
	if (boot_info.protocol == BOOT_UEFI)
		SKIP("UEFI places the kernel and keeps what it likes");
	EXPECT_TRUE(is_ram((uint64_t)kernel_start));
	EXPECT_TRUE(is_ram((uint64_t)kernel_end - 1));
	EXPECT_TRUE(is_ram(0x1000));
	EXPECT_TRUE(is_ram(0x7fff));
	EXPECT_TRUE(is_ram(0x100000));
	EXPECT_TRUE(is_ram(0x1fffff));
}

TEST(map_keeps_devices_out, "", "video memory and the APICs' registers are not RAM in the map")
{
	EXPECT_FALSE(is_ram(0xa0000));
	EXPECT_FALSE(is_ram(0xb8000));
	EXPECT_FALSE(is_ram(0xfec00000));
	EXPECT_FALSE(is_ram(0xfee00000));
}

TEST(map_has_all_memory, "",
	"the RAM of the map is what -m gave, less at most 2 MiB kept by firmware")
{
	uint64_t given = cmdline_number("ram", 0), seen = boot_ram();

	if (!given)
		SKIP("no ram= on the command line");
	if (boot_info.protocol == BOOT_UEFI)
		SKIP("firmware keeps what it likes");
	EXPECT_LE(seen, given);
	EXPECT_GE(seen, given - 0x200000);
}

/* Writes a value that names the place and reads it back after all places are written: no aliases.
 */
#define PLACES 64

static unsigned add_place(uint64_t *places, unsigned count, uint64_t at)
{
	bool own = at + 8 > (uint64_t)kernel_start && at < (uint64_t)kernel_end;

	if (count < PLACES && is_ram(at) && is_ram(at + 7) && !own)
		places[count++] = at;
	return count;
}

static void check_places(const uint64_t *places, unsigned count)
{
	uint64_t *old = arena_alloc(PLACES * sizeof(*old), 8);

	for (unsigned i = 0; i < count; i++) {
		old[i] = mmio_read64((void *)places[i]);
		mmio_write64((void *)places[i], ~places[i]);
	}
	for (unsigned i = 0; i < count; i++)
		EXPECT_EQ(mmio_read64((void *)places[i]), ~places[i]);
	for (unsigned i = count; i-- > 0;)
		mmio_write64((void *)places[i], old[i]);
}

TEST(ram_at_edges, "",
	"the first and last 8 bytes of every RAM range below 4 GiB hold what is written, without "
	"aliases")
{
	uint64_t places[PLACES];
	unsigned count = 0;

	if (boot_info.protocol == BOOT_UEFI)
		SKIP("the map has ranges in use");
	for (unsigned i = 0; i < boot_info.range_count; i++) {
		const struct memory_range *range = &boot_info.ranges[i];
		uint64_t last = (range->base + range->size - 8) & ~7ull;

		if (range->type != MEMORY_RAM || last >= 1ull << 32)
			continue;
		count = add_place(places, count, range->base ? (range->base + 7) & ~7ull : 0x600);
		count = add_place(places, count, last);
	}
	EXPECT_GE(count, 3);
	check_places(places, count);
}

TEST(ram_every_power_of_two, "",
	"RAM at each power of two and 8 bytes before it is distinct: no address line is dropped")
{
	uint64_t places[PLACES];
	unsigned count = 0;

	if (boot_info.protocol == BOOT_UEFI)
		SKIP("the map has ranges in use");
	for (unsigned bit = 12; bit < 32; bit++) {
		count = add_place(places, count, (1ull << bit) - 8);
		count = add_place(places, count, 1ull << bit);
	}
	EXPECT_GE(count, 8);
	check_places(places, count);
}

TEST(ram_page_across_slots, "",
	"4 KiB written across the 1 MiB edge's first pages read back byte for byte")
{
	uint8_t *at = arena_alloc_raw(0x3000, 4096);

	user_fill(at, 0x3000, test_random() | 1);
	user_memcpy(at + 0x1000 - 3, at, 0x800); /* unaligned, over a page edge */
	EXPECT_EQ(user_memcmp(at + 0x1000 - 3, at, 0x800), 0);
	EXPECT_EQ(user_crc32c(0, at, 0x800), user_crc32c(0, at + 0x1000 - 3, 0x800));
}

TEST(ram_above_4g, "", "RAM above 4 GiB holds what is written and is not an alias of RAM below",
	NEEDS("mem>=4608"))
{
	uint64_t base = 0, last = 0, *low = arena_alloc(8, 8);

	for (unsigned i = 0; i < boot_info.range_count; i++) {
		const struct memory_range *range = &boot_info.ranges[i];

		if (range->type == MEMORY_RAM && range->base >= 1ull << 32) {
			base = range->base;
			last = range->base + range->size - 8;
		}
	}
	ASSERT_NE(base, 0);
	paging_identity(base, 0x200000);
	paging_identity(last & ~0x1fffffull, 0x200000);
	*low = 0x5555;
	mmio_write64((void *)base, ~base);
	mmio_write64((void *)last, ~last);
	EXPECT_EQ(mmio_read64((void *)base), ~base);
	EXPECT_EQ(mmio_read64((void *)last), ~last);
	EXPECT_EQ(*low, 0x5555);
}

TEST(a20_is_open, "", "addresses 1 MiB apart are distinct: the A20 gate is open")
{
	uint64_t low = 0x7000, high = 0x107000, old_low, old_high;

	if (!is_ram(low) || !is_ram(high) || boot_info.protocol == BOOT_UEFI)
		SKIP("not both are RAM");
	old_low = mmio_read64((void *)low);
	old_high = mmio_read64((void *)high);
	mmio_write64((void *)low, 0x1111);
	mmio_write64((void *)high, 0x2222);
	EXPECT_EQ(mmio_read64((void *)low), 0x1111);
	mmio_write64((void *)low, old_low);
	mmio_write64((void *)high, old_high);
}

/* No text asks for this, but kernels start other processors there, so our loaders keep out of it.
 */
TEST(low_pages_are_free, "",
	"the first 64 KiB, where other processors are started, hold no loader data")
{
	const uint64_t end = 0x10000;
	uint64_t line = (uint64_t)boot_info.cmdline, modules = 0;

	if (boot_info.protocol == BOOT_UEFI)
		SKIP("UEFI keeps what it likes");
	if (boot_info.protocol == BOOT_PVH)
		modules = ((const struct hvm_start_info *)boot_info.start_info)->modules;
	if (entry_state.ebx < end)
		DEVIATES("the loader's structure is at 0x%x", entry_state.ebx);
	if (line < end)
		DEVIATES("the command line is at 0x%lx", line);
	if (modules && modules < end)
		DEVIATES("the list of modules is at 0x%lx", modules);
	EXPECT_TRUE(is_ram(0x1000));
	EXPECT_TRUE(is_ram(end - 1));
}

TEST(command_line_is_whole, "", "the command line arrives as given, to its last character")
{
	const char *echo = cmdline_get("echo");
	size_t length = strlen(boot_info.cmdline);

	if (!echo)
		SKIP("no echo= on the command line");
	EXPECT_EQ(strcmp(echo, "The-quick-brown-fox/jumps.over_13_lazy-dogs"), 0);
	EXPECT_LT(length, 4096);
}

TEST(module_is_placed, "", "a module lies in RAM, clear of the kernel and of the first 64 KiB",
	NEEDS("module"))
{
	for (unsigned i = 0; i < boot_info.module_count; i++) {
		const struct boot_module *module = &boot_info.modules[i];

		EXPECT_NE(module->size, 0);
		EXPECT_TRUE(is_ram(module->base));
		EXPECT_TRUE(is_ram(module->base + module->size - 1));
		EXPECT_GE(module->base, 0x10000);
		EXPECT_TRUE(module->base >= (uint64_t)kernel_end ||
			    module->base + module->size <= (uint64_t)kernel_start);
		for (unsigned j = 0; j < i; j++)
			EXPECT_NE(module->base, boot_info.modules[j].base);
		if (boot_info.protocol == BOOT_MULTIBOOT)
			EXPECT_EQ(module->base & 0xfff, 0);
	}
}

static uint64_t first_difference(void *arg)
{
	const struct boot_module *module = arg;
	const uint8_t *bytes = (void *)module->base;
	uint64_t at = 0;

	while (at < module->size && bytes[at] == (uint8_t)(at * 7))
		at++;
	return at;
}

TEST(module_has_its_bytes, "",
	"byte i of the first module is i * 7 modulo 256, as in the harness's file", NEEDS("module"))
{
	EXPECT_EQ(user_call(first_difference, &boot_info.modules[0]), boot_info.modules[0].size);
}
