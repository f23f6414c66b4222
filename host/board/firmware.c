/* SPDX-License-Identifier: MIT */
/*
 * fw_cfg's items under the keys QEMU uses (docs/specs/fw_cfg.rst there), -fw_cfg's own files, ACPI,
 * and the wall clock of -rtc.
 */
#include "board/firmware.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "board/acpi-loader.h"
#include "board/acpi.h"
#include "board/bios.h"
#include "board/boot-order.h"
#include "board/memmap.h"
#include "devices/chipset/fw-cfg.h"
#include "devices/devices.h"
#include "machine/outside.h"

#define FW_CFG_FILE_LIMIT (64u << 20)
#define NS		  1000000000ll

static int parse_date(const char *text, int64_t *seconds)
{
	struct tm tm = {0};
	const char *end = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);

	if (!end)
		end = strptime(text, "%Y-%m-%d", &tm);
	if (!end || *end)
		return -EINVAL;
	*seconds = timegm(&tm);
	return 0;
}

/* With clock=host the calendar does not stand still while the VM does. */
struct wall_clock {
	struct machine_observer observer;
	struct machine *machine;
};

static int64_t wall_less_vm(const struct machine *machine)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec * NS + ts.tv_nsec - vm_clock_now(&machine->clock);
}

static void follow_host(void *opaque, const char *event, enum shutdown_cause cause)
{
	struct wall_clock *wall = opaque;
	struct vm_clock *clock = &wall->machine->clock;
	int64_t slept = wall_less_vm(wall->machine) - clock->wall_ahead;

	if (strcmp(event, "RESUME") == 0 && outside_mode() == OUTSIDE_LIVE)
		clock->rtc_offset =
			clock->rtc_start + (slept + (slept < 0 ? -NS / 2 : NS / 2)) / NS;
}

/* -rtc's other words: clock=host|rt|vm, driftfix=none|slew (no interrupt is lost here). */
static int check_clock(const struct board_config *config, bool *host, struct error *err)
{
	const char *clock = config->rtc ? keyvals_get(config->rtc, "clock") : NULL;
	const char *driftfix = config->rtc ? keyvals_get(config->rtc, "driftfix") : NULL;

	*host = !clock || strcmp(clock, "host") == 0;
	if (clock && !*host && strcmp(clock, "rt") != 0 && strcmp(clock, "vm") != 0)
		return error_set(err, EINVAL, "-rtc: invalid option value 'clock=%s'", clock);
	if (driftfix && strcmp(driftfix, "none") != 0 && strcmp(driftfix, "slew") != 0)
		return error_set(err, EINVAL, "-rtc: invalid option value 'driftfix=%s'", driftfix);
	return 0;
}

int firmware_set_clock(
	struct machine *machine, const struct board_config *config, struct error *err)
{
	static struct wall_clock wall;
	const char *base = config->rtc ? keyvals_get(config->rtc, "base") : NULL;
	int64_t now = time(NULL);
	struct tm local;
	bool host;
	int rc = check_clock(config, &host, err);

	if (rc < 0)
		return rc;
	if (base && strcmp(base, "localtime") == 0) {
		localtime_r(&now, &local);
		now += local.tm_gmtoff;
	} else if (base && strcmp(base, "utc") != 0 && parse_date(base, &now) < 0) {
		return error_set(err, EINVAL, "-rtc base=%s: invalid datetime format", base);
	}
	machine->clock.rtc_offset = now - vm_clock_now(&machine->clock) / NS;
	machine->clock.rtc_start = machine->clock.rtc_offset;
	machine->clock.wall_ahead = wall_less_vm(machine);
	if (host) {
		wall = (struct wall_clock){
			.observer = {.event = follow_host, .opaque = &wall},
			.machine = machine,
		};
		machine_observe(machine, &wall.observer);
	}
	return 0;
}

static struct device *find_fw_cfg(struct machine *machine)
{
	struct list *pos;

	list_for_each (pos, &machine->devices) {
		struct device *dev = container_of(pos, struct device, link);

		if (dev->type == &fw_cfg_type)
			return dev;
	}
	return NULL;
}

int firmware_create(struct machine *machine, struct error *err)
{
	return device_create(machine, &fw_cfg_type, NULL, NULL, err) ? 0 : -EINVAL;
}

/* What firmware is told: where RAM is as far as it can matter to it; it makes a map of that with
 * what it keeps for itself. */
static unsigned raw_map(const struct guest_memory *mem, struct memmap_entry map[MEMMAP_MAX])
{
	unsigned count = 0;
	uint64_t low = 0;

	for (unsigned i = 0; i < mem->count; i++) {
		const struct ram_block *block = &mem->blocks[i];

		if (block->readonly)
			continue;
		if (block->address >> 32)
			map[++count] =
				(struct memmap_entry){block->address, block->size, MEMMAP_RAM};
		else
			low = block->address + block->size;
	}
	map[0] = (struct memmap_entry){0, low, MEMMAP_RAM};
	/* KVM's identity map and task state segment, in RAM or not. */
	map[++count] = (struct memmap_entry){0xfeffc000, 0x4000, MEMMAP_RESERVED};
	return count + 1;
}

static int add_e820(struct device *fw_cfg, const struct board_config *config, struct error *err)
{
	const struct guest_memory *mem = &fw_cfg->machine->memory;
	struct memmap_entry map[MEMMAP_MAX];
	unsigned count = bios_wanted(config) ? raw_map(mem, map) : memmap_build(mem, map);
	uint8_t table[MEMMAP_MAX * 20];

	for (unsigned i = 0; i < count; i++) {
		memcpy(table + i * 20, &map[i].address, 8);
		memcpy(table + i * 20 + 8, &map[i].length, 8);
		memcpy(table + i * 20 + 16, &map[i].type, 4);
	}
	return fw_cfg_add_file(fw_cfg, "etc/e820", table, count * 20, err);
}

/* A whole file as an item; 0 or -errno with a sentence. */
static int add_path(struct device *fw_cfg, const char *name, const char *path, struct error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *data = NULL;
	int rc;

	if (fd < 0)
		return error_set_errno(err, errno, "can't load %s", path);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > FW_CFG_FILE_LIMIT) {
		rc = error_set(err, EINVAL, "can't load %s: not a file of at most 64 MiB", path);
	} else if (!(data = malloc(st.st_size + 1))) {
		rc = error_set(err, ENOMEM, "out of memory");
	} else if (pread(fd, data, st.st_size, 0) != st.st_size) {
		rc = error_set(err, EIO, "can't load %s: short read", path);
	} else {
		rc = fw_cfg_add_file(fw_cfg, name, data, st.st_size, err);
	}
	free(data);
	close(fd);
	return rc;
}

/* -fw_cfg [name=]NAME,file=PATH|string=TEXT */
static int add_option(struct device *fw_cfg, struct keyvals *kv, struct error *err)
{
	const char *name = keyvals_get(kv, "name");
	const char *path = keyvals_get(kv, "file");
	const char *text = keyvals_get(kv, "string");

	if (!name || !*name)
		return error_set(err, EINVAL, "name= is missing");
	if (strlen(name) > FW_CFG_NAME_MAX)
		return error_set(
			err, EINVAL, "name too long (max. %d characters)", FW_CFG_NAME_MAX);
	if (!path == !text)
		return error_set(err, EINVAL, "one of file= and string= is needed");
	return path ? add_path(fw_cfg, name, path, err)
		    : fw_cfg_add_file(fw_cfg, name, text, strlen(text), err);
}

static int add_options(struct device *fw_cfg, const struct board_config *config, struct error *err)
{
	struct list *pos;

	list_for_each (pos, &config->fw_cfg) {
		struct keyvals *kv = container_of(pos, struct keyvals, link);
		int rc = add_option(fw_cfg, kv, err);

		if (rc < 0)
			return error_prefix(err, rc, "%s: ", kv->origin);
	}
	return 0;
}

/* The bytes of a boot file and their number.  A file that cannot be read is the boot loader's to
 * complain about, in its own words. */
static int add_boot_file(struct device *fw_cfg, const char *path, uint16_t size_key,
	uint16_t data_key, struct error *err)
{
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
	struct stat st;
	int rc;

	if (fd < 0)
		return fw_cfg_add_number(fw_cfg, size_key, 0, 4, err);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > UINT32_MAX) {
		close(fd);
		return fw_cfg_add_number(fw_cfg, size_key, 0, 4, err);
	}
	rc = fw_cfg_add_number(fw_cfg, size_key, st.st_size, 4, err);
	if (rc < 0) {
		close(fd);
		return rc;
	}
	return fw_cfg_add_host_file(fw_cfg, data_key, fd, st.st_size, err);
}

static int add_kernel(struct device *fw_cfg, const struct board_config *config, struct error *err)
{
	const char *append = config->append ? config->append : "";
	size_t length = config->kernel ? strlen(append) + 1 : 0;
	int rc = fw_cfg_add_number(fw_cfg, FW_CFG_CMDLINE_SIZE, length, 4, err);

	if (rc == 0 && length)
		rc = fw_cfg_add(fw_cfg, FW_CFG_CMDLINE_DATA, append, length, err);
	if (rc == 0)
		rc = add_boot_file(
			fw_cfg, config->kernel, FW_CFG_KERNEL_SIZE, FW_CFG_KERNEL_DATA, err);
	/* Several modules (multiboot) are not one initrd. */
	if (rc == 0)
		rc = add_boot_file(fw_cfg,
			config->initrd && !strchr(config->initrd, ',') ? config->initrd : NULL,
			FW_CFG_INITRD_SIZE, FW_CFG_INITRD_DATA, err);
	return rc;
}

static int add_numbers(struct device *fw_cfg, const struct board_config *config, struct error *err)
{
	const struct guest_memory *mem = &fw_cfg->machine->memory;
	uint64_t memory = 0;
	const struct {
		uint16_t key;
		uint64_t value;
		unsigned size;
	} numbers[] = {
		{FW_CFG_NOGRAPHIC, 1, 2},
		{FW_CFG_NB_CPUS, config->smp.cpus, 2},
		{FW_CFG_MAX_CPUS, config->smp.cpus, 2},
		{FW_CFG_IRQ0_OVERRIDE, 1, 4},
	};
	int rc = 0;

	/* What -m said: the VGA window is no RAM here, but no loss to the guest's account. */
	for (unsigned i = 0; i < mem->count; i++) {
		uint64_t end = mem->blocks[i].address + mem->blocks[i].size;

		if (mem->blocks[i].readonly)
			continue;

		memory = end <= 1ull << 32 ? end : memory + mem->blocks[i].size;
	}
	rc = fw_cfg_add_number(fw_cfg, FW_CFG_RAM_SIZE, memory, 8, err);
	for (unsigned i = 0; i < sizeof(numbers) / sizeof(numbers[0]) && rc == 0; i++)
		rc = fw_cfg_add_number(
			fw_cfg, numbers[i].key, numbers[i].value, numbers[i].size, err);
	return rc;
}

int firmware_add_acpi(struct machine *machine, const struct acpi_config *config, struct error *err)
{
	struct device *fw_cfg = find_fw_cfg(machine);
	struct acpi_loader loader;
	size_t length = 0;
	uint8_t *tables = acpi_tables(config, &length, err);
	int rc = tables ? acpi_loader_make(tables, length, &loader, err) : -EINVAL;

	free(tables);
	if (rc < 0)
		return rc;
	rc = fw_cfg_add_file(fw_cfg, ACPI_LOADER_RSDP, loader.rsdp, sizeof(loader.rsdp), err);
	if (rc == 0)
		rc = fw_cfg_add_file(
			fw_cfg, ACPI_LOADER_TABLES, loader.tables, loader.tables_length, err);
	if (rc == 0)
		rc = fw_cfg_add_file(
			fw_cfg, ACPI_LOADER_SCRIPT, loader.script, loader.script_length, err);
	acpi_loader_free(&loader);
	return rc;
}

int firmware_load(struct machine *machine, const struct board_config *config, uint64_t *rsdp,
	struct error *err)
{
	struct device *fw_cfg = find_fw_cfg(machine);
	int rc = add_numbers(fw_cfg, config, err);

	if (rc == 0)
		rc = add_e820(fw_cfg, config, err);
	if (rc == 0)
		rc = add_kernel(fw_cfg, config, err);
	if (rc == 0)
		rc = boot_order_load(machine, fw_cfg, config, err);
	if (rc == 0)
		rc = add_options(fw_cfg, config, err);
	return rc;
}
