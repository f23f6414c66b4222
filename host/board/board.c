/* SPDX-License-Identifier: MIT */
/*
 * From the command line's wishes to a machine (board.h): memory, engine, the board's own devices,
 * serial ports, drives, -device, kernel.
 */
#include "board/board.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "block/block.h"
#include "block/iothread.h"
#include "board/bios.h"
#include "board/boot.h"
#include "board/counters.h"
#include "board/drive.h"
#include "board/irq-models.h"
#include "board/pc.h"
#include "board/virtual-time.h"
#include "bus/isa.h"
#include "chardev/chardev.h"
#include "cpu/engine.h"
#include "devices/devices.h"
#include "machine/outside.h"

#define GIB	     (1ULL << 30)
#define LOW_END	     0xa0000ULL	   /* above: the VGA window */
#define UPPER_START  0xc0000ULL	   /* option ROMs and firmware on a PC; RAM here */
#define PCI_HOLE     0xe0000000ULL /* lowest address that devices may need, as QEMU has it */
#define LOW_WHEN_BIG 0xc0000000ULL
#define APPEND_ROOM  1024 /* bytes for what a board adds to the command line */

const struct board_type *const board_types[] = {&board_pc, &board_microvm, NULL};

const struct board_type *board_find(const char *name)
{
	for (unsigned i = 0; board_types[i]; i++) {
		const struct board_type *type = board_types[i];

		if (strcmp(type->name, name) == 0 ||
			(type->alias && strcmp(type->alias, name) == 0))
			return type;
	}
	return NULL;
}

static int add_ram(
	struct guest_memory *mem, const char *name, uint64_t from, uint64_t to, struct error *err)
{
	return from < to ? memory_add(mem, name, from, to - from, false, err) : 0;
}

static int add_memory(struct machine *machine, uint64_t size, struct error *err)
{
	struct guest_memory *mem = &machine->memory;
	uint64_t low = size >= PCI_HOLE ? LOW_WHEN_BIG : size;
	int rc = 0;

	rc = add_ram(mem, "low", 0, low < LOW_END ? low : LOW_END, err);
	if (rc == 0)
		rc = add_ram(mem, "ram", UPPER_START, low, err);
	if (rc == 0)
		rc = add_ram(mem, "above-4g", 4 * GIB, 4 * GIB + (size - low), err);
	return rc < 0 ? error_prefix(err, rc, "-m %lluM: ", (unsigned long long)size >> 20) : 0;
}

static int start_engine(struct machine *machine, const struct board_type *type,
	const struct board_config *config, struct error *err)
{
	struct engine_config wanted = {
		.cpu = config->cpu,
		.smp = config->smp,
		.chips = type->engine_chips,
		.host_clock = config->host_clock,
		.icount_shift = config->icount_shift,
		.idle_sleeps = config->icount_sleep,
		.seed = config->seed,
	};
	const char *by_default = config->has_icount ? "soft" : "kvm:soft";
	char *names = strdup(config->accels ? config->accels : by_default);
	char *rest = names, *name;
	int rc = -ENODEV;

	if (!names)
		return error_set(err, ENOMEM, "out of memory");
	while (rc < 0 && (name = strsep(&rest, ":"))) {
		const struct cpu_engine_ops *ops = engine_find(name);

		if (!ops) {
			rc = error_set(
				err, EINVAL, "-accel %s: invalid accelerator %s", name, name);
			continue;
		}
		rc = config->has_icount && ops != &soft_engine_ops
			     ? error_set(err, EINVAL,
				       "-icount is not allowed with hardware virtualization")
			     : ops->probe(err);
		if (rc < 0) {
			error_prefix(err, rc, "-accel %s: ", name);
			continue;
		}
		rc = ops->create(machine, &wanted, err);
		if (rc < 0) {
			error_prefix(err, rc, "-accel %s: ", name);
			break;
		}
	}
	free(names);
	return rc;
}

static int add_serial(struct machine *machine, unsigned index, const char *text, struct error *err)
{
	char id[24], number[12];
	struct keyvals *kv;
	struct device *dev;

	snprintf(id, sizeof(id), "serial%u", index);
	snprintf(number, sizeof(number), "%u", index);
	err->text[0] = '\0';
	if (!chardev_find(id) && !chardev_create_short(machine->loop, id, text, err))
		return err->text[0] ? error_prefix(err, -EINVAL, "-serial %s: ", text) : 0;
	kv = keyvals_new("-serial");
	if (!kv)
		return error_set(err, ENOMEM, "out of memory");
	keyvals_set(kv, "chardev", strncmp(text, "chardev:", 8) == 0 ? text + 8 : id);
	keyvals_set(kv, "index", number);
	dev = device_create(machine, &isa_serial_type, NULL, kv, err);
	keyvals_free(kv);
	return dev ? 0 : error_prefix(err, -EINVAL, "-serial %s: ", text);
}

static int add_serials(
	struct machine *machine, const struct board_config *config, struct error *err)
{
	for (unsigned i = 0; i < config->serial_count; i++) {
		int rc = config->serial[i] ? add_serial(machine, i, config->serial[i], err) : 0;

		if (rc < 0)
			return rc;
	}
	return 0;
}

static int add_device(struct machine *machine, struct keyvals *kv, struct error *err)
{
	const char *driver = keyvals_take(kv, "driver");
	const struct device_type *type = driver ? device_type_find(driver) : NULL;
	int rc = 0;

	if (!driver)
		rc = error_set(err, EINVAL, "Parameter 'driver' is missing");
	else if (!type)
		rc = error_set(err, ENODEV, "'%s' is not a valid device model name", driver);
	else if (type->internal)
		rc = error_set(
			err, EINVAL, "'%s' is a part of the board and cannot be added", driver);
	else if (!device_create(machine, type, NULL, kv, err))
		rc = -EINVAL;
	return rc < 0 ? error_prefix(err, rc, "%s: ", kv->origin) : 0;
}

static int add_devices(struct machine *machine, struct board_config *config, struct error *err)
{
	struct list *pos;

	list_for_each (pos, &config->devices) {
		int rc = add_device(machine, container_of(pos, struct keyvals, link), err);

		if (rc < 0)
			return rc;
	}
	return 0;
}

/* The last part of a board, needed again at each system reset. */
struct reload {
	struct machine *machine;
	const struct board_type *type;
	const struct board_config *config;
};

/* Without a kernel a PC finds nothing to boot and stops: CLI, HLT, in a loop. */
static void halt_state(struct machine *machine, struct cpu_state *state)
{
	static const uint8_t halt[] = {0xfa, 0xf4, 0xeb, 0xfd};

	guest_load(&machine->memory, 0xffff0, halt, sizeof(halt));
	cpu_state_reset(state);
	state->cs.base = 0xf0000;
}

/* boot_load() with the command line that the board completes. */
static int load_kernel(struct machine *machine, const struct reload *reload, uint64_t rsdp,
	struct boot_entry *entry, struct error *err)
{
	struct board_config config = *reload->config;
	const char *given = config.append ? config.append : "";
	size_t size = strlen(given) + APPEND_ROOM;
	char *line = malloc(size);
	int rc = 0;

	if (!line)
		return error_set(err, ENOMEM, "out of memory");
	strcpy(line, given);
	if (reload->type->append)
		rc = reload->type->append(machine, &config, line + strlen(given), APPEND_ROOM, err);
	config.append = line;
	if (rc == 0)
		rc = boot_load(machine, &config, rsdp, entry, err);
	free(line);
	return rc;
}

static int load(struct machine *machine, const struct reload *reload, struct error *err)
{
	const struct board_config *config = reload->config;
	struct boot_entry entry = {0};
	struct cpu_state state;
	uint64_t rsdp = 0;
	int rc = reload->type->load(machine, config, &rsdp, err);

	if (rc < 0)
		return rc;
	if (bios_wanted(config)) {
		rc = bios_load(machine, err);
		if (rc < 0)
			return rc;
		cpu_state_reset(&state);
	} else if (!config->kernel) {
		halt_state(machine, &state);
	} else {
		rc = load_kernel(machine, reload, rsdp, &entry, err);
		if (rc < 0)
			return rc;
		machine->kernel_file = config->kernel;
		cpu_state_flat32(&state, entry.rip);
		if (entry.mode == BOOT_LONG64)
			cpu_state_long64(&state, entry.page_table,
				(struct cpu_table){entry.gdt, entry.gdt_limit});
		state.gpr[RAX] = entry.eax;
		state.gpr[RBX] = entry.ebx;
		state.gpr[RSI] = entry.esi;
	}
	rc = machine->engine->ops->set_state(machine->engine, 0, &state);
	return rc < 0 ? error_set_errno(err, -rc, "cannot set the first vCPU's registers") : 0;
}

/* The files were readable at start; if they are gone now, the guest stays halted and we say so. */
static void reload_after_reset(void *opaque)
{
	struct reload *reload = opaque;
	struct error err = {0};

	if (load(reload->machine, reload, &err) < 0)
		machine_fail(reload->machine, err.text);
}

/* A request that is held wants a VM that does not wait for it: werror=stop and its like. */
static void drive_failed(void *opaque, const struct block_failure *failure)
{
	struct machine *machine = opaque;

	/* Replayed: what became of it then stands in the log, at this very place. */
	if (failure->action == ON_ERROR_STOP && machine->state == RUN_STATE_RUNNING &&
		outside_mode() != OUTSIDE_REPLAY)
		machine_stop(machine, RUN_STATE_IO_ERROR);
}

static int retry(void *opaque, const uint8_t *payload, size_t length)
{
	block_retry_all();
	return 0;
}

static struct outside_source retries = {.name = "retry", .apply = retry};

/* A stop is not seen by the guest, but that a request is tried again is. */
static void machine_changed(void *opaque, const char *name, enum shutdown_cause cause)
{
	if (strcmp(name, "RESUME") != 0)
		return;
	if (outside_mode() != OUTSIDE_LIVE &&
		(!block_holds_any() || !outside_enter(&retries, NULL, 0)))
		return;
	block_retry_all();
}

static void watch_drives(struct machine *machine)
{
	static struct block_observer drives = {.failed = drive_failed};
	static struct machine_observer observer = {.event = machine_changed};

	outside_add(&retries);
	drives.opaque = machine;
	block_observe(machine->loop, &drives);
	machine_observe(machine, &observer);
}

int board_create(struct machine *machine, struct board_config *config, struct error *err)
{
	static struct reload reload;
	static struct bus isa;
	const struct board_type *type = board_find(config->machine ? config->machine : "pc");
	int rc;

	if (!type)
		return error_set(
			err, EINVAL, "-machine %s: unsupported machine type", config->machine);
	if (config->smp.cpus > type->max_cpus)
		return error_set(err, EINVAL,
			"-smp: Invalid SMP CPUs %u. The max CPUs supported by machine '%s' is %u",
			config->smp.cpus, type->name, type->max_cpus);
	if (config->smp.dies > 1 && !type->dies)
		return error_set(
			err, EINVAL, "-smp: dies not supported by this machine's CPU topology");
	machine->board = type->name;
	machine->cpus = config->smp.cpus;
	machine->no_reboot = config->no_reboot;
	machine->no_shutdown = config->no_shutdown;
	watch_drives(machine);
	rc = add_memory(machine, config->memory ? config->memory : type->default_memory, err);
	if (rc == 0)
		rc = bios_create(machine, config, err);
	if (rc == 0)
		rc = start_engine(machine, type, config, err);
	/* Software processors are one thread, devices and all: to wake another costs more than
	 * what it would do. */
	if (rc == 0 && machine->engine->ops == &soft_engine_ops)
		iothread_map_to(machine->loop);
	if (rc == 0)
		virtual_time_arrange(machine, config->seed);
	if (rc == 0 && log_wants(LOG_HASH) && !machine->clock.source)
		rc = error_set(err, EINVAL, "-d hash needs -accel soft with clock=virtual");
	isa_bus_init(&isa, machine);
	if (rc == 0 && !machine->irq_chip.ops->set_gsi)
		rc = irq_models_create(machine, err);
	if (rc == 0)
		rc = type->build(machine, config, err);
	if (rc == 0)
		rc = counters_add_probe(machine, err);
	if (rc == 0)
		rc = add_serials(machine, config, err);
	if (rc == 0)
		rc = drives_create(machine, config, type->default_drive, err);
	if (rc == 0)
		rc = add_devices(machine, config, err);
	if (rc < 0)
		return rc;
	reload = (struct reload){machine, type, config};
	machine->reload_opaque = &reload;
	machine->reload = reload_after_reset;
	return load(machine, &reload, err);
}
