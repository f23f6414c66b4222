/* SPDX-License-Identifier: MIT */
/*
 * Needs that a kernel can see for itself.
 */
#include "runtime/needs.h"
#include "runtime/acpi.h"
#include "runtime/boot.h"
#include "runtime/ctl.h"
#include "runtime/memory.h"
#include "runtime/pci.h"
#include "runtime/processors.h"

static bool has_pci(uint64_t n)
{
	(void)n;
	return pci_present();
}

static bool has_mmio(uint64_t n)
{
	(void)n;
	return cmdline_get("virtio_mmio.device") != NULL;
}

static bool by_modern_interface(uint64_t n)
{
	const char *wish = cmdline_get("interface");

	(void)n;
	return !wish || strcmp(wish, "legacy") != 0;
}

static bool has_processors(uint64_t n)
{
	return processors()->count >= n;
}

static bool has_mem(uint64_t n)
{
	return boot_ram() >=
	       (n << 20) - (1 << 20); /* the map lacks what firmware keeps of the first MiB */
}

static bool has_acpi(uint64_t n)
{
	(void)n;
	return acpi_rsdp() != NULL;
}

static bool has_ctl(uint64_t n)
{
	(void)n;
	return ctl_present();
}

static bool has_module(uint64_t n)
{
	(void)n;
	return boot_info.module_count > 0;
}

static bool by_pvh(uint64_t n)
{
	(void)n;
	return boot_info.protocol == BOOT_PVH;
}

static bool by_multiboot(uint64_t n)
{
	(void)n;
	return boot_info.protocol == BOOT_MULTIBOOT;
}

static bool by_efi(uint64_t n)
{
	(void)n;
	return boot_info.protocol == BOOT_UEFI;
}

static bool has_testdev(uint64_t n)
{
	(void)n;
	return pci_present() && pci_find(0x1b36, 0x0005, 0);
}

/* The channel-2 gate of an 8254 reads back on port 0x61; where nothing is, all bits are ones. */
static bool has_pit(uint64_t n)
{
	(void)n;
	return inb(0x61) != 0xff;
}

/* A word ends at its own end or, with a value, at '='. check NULL: for the harness to provide. */
static const struct need {
	const char *word;
	bool (*check)(uint64_t value);
} needs[] = {
	{"pci", has_pci},
	{"mmio", has_mmio},
	{"modern", by_modern_interface},
	{"smp>", has_processors},
	{"mem>", has_mem},
	{"disk:", NULL},
	{"net:", NULL},
	{"pci-testdev", has_testdev},
	{"rtc", NULL},
	{"pit", has_pit},
	{"pic", NULL},
	{"ioapic", NULL},
	{"acpi", has_acpi},
	{"uart2", NULL},
	{"ctl", has_ctl},
	{"probe", NULL},
	{"module", has_module},
	{"multiboot", by_multiboot},
	{"pvh", by_pvh},
	{"efi", by_efi},
	{"life", NULL},
	{"exact", NULL},
	{"tells", NULL},
	{"insn:", NULL},
};

static const struct need *find(const char *word, size_t length)
{
	for (unsigned i = 0; i < sizeof(needs) / sizeof(needs[0]); i++) {
		size_t n = strlen(needs[i].word);
		bool open = needs[i].word[n - 1] == ':' || needs[i].word[n - 1] == '>';

		if ((open ? length > n : length == n) && strncmp(word, needs[i].word, n) == 0)
			return &needs[i];
	}
	return NULL;
}

const char *needs_missing(const char *words, int *unknown)
{
	static char word[32];

	while (words && *words) {
		const struct need *need;
		size_t length = 0;

		while (words[length] && words[length] != ' ')
			length++;
		if (length == 0) {
			words++;
			continue;
		}
		need = find(words, length);
		if (!need ||
			(need->check &&
				!need->check(
					words[strlen(need->word)] == '='
						? parse_number(words + strlen(need->word) + 1, NULL)
						: 0))) {
			*unknown = !need;
			if (length >= sizeof(word))
				length = sizeof(word) - 1;
			memcpy(word, words, length);
			word[length] = 0;
			return word;
		}
		words += length;
	}
	return NULL;
}
