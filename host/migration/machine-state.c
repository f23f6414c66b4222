/* SPDX-License-Identifier: MIT */
/*
 * The sections of a saved machine, in their order: the machine itself and its clock, memory,
 * devices in the order in which they were made, interrupt controllers and timer, processors.
 *
 * A device is known by its type and a number among those of its type.  What devices do to
 * interrupt lines while they load is overwritten by the controllers' and the processors' state,
 * which therefore come last.
 */
#include "migration/machine-state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/engine.h"
#include "migration/fields.h"

#define MAGIC	       "ASSAYVM\x1a"
#define MAGIC_LENGTH   8
#define FORMAT_VERSION 1
#define VM_TIME_MAX    INT64_C(0x0fffffffffffffff)
#define RTC_OFFSET_MAX (INT64_C(1) << 40)

enum { SECTION_END, SECTION_STATE, SECTION_RAM };

/* --- what is the machine's own --- */

struct general {
	uint64_t random_state;
	int64_t vm_time, rtc_offset;
	bool running;
	int64_t rtc_start, wall_ahead; /* struct vm_clock's */
};

static bool valid_wall(const void *state, uint64_t value)
{
	return (int64_t)value >= -VM_TIME_MAX * 4 && (int64_t)value <= VM_TIME_MAX * 4;
}

static bool valid_time(const void *state, uint64_t value)
{
	return (int64_t)value >= 0 && (int64_t)value <= VM_TIME_MAX;
}

static bool valid_offset(const void *state, uint64_t value)
{
	return (int64_t)value >= -RTC_OFFSET_MAX && (int64_t)value <= RTC_OFFSET_MAX;
}

static const struct state_field general_fields[] = {
	STATE_UINT(struct general, random_state),
	STATE_UINT(struct general, vm_time, .valid = valid_time),
	STATE_UINT(struct general, rtc_offset, .valid = valid_offset),
	STATE_BOOL(struct general, running),
	STATE_UINT(struct general, rtc_start, .since = 2, .valid = valid_offset),
	STATE_UINT(struct general, wall_ahead, .since = 2, .valid = valid_wall),
	STATE_END,
};

static const struct state_table general_table = {
	.name = "machine", .version = 2, .fields = general_fields};

static void set_clock(struct machine *machine, const struct general *general)
{
	machine->random_state = general->random_state;
	vm_clock_set(&machine->clock, general->vm_time);
	machine->clock.rtc_offset = general->rtc_offset;
	machine->clock.rtc_start = general->rtc_start;
	machine->clock.wall_ahead = general->wall_ahead;
}

/* --- save --- */

static void save_section(struct stream *s, const char *name, uint32_t instance,
	const struct state_table *table, void *state)
{
	stream_put(s, SECTION_STATE, 1);
	stream_put_name(s, name);
	stream_put(s, instance, 4);
	stream_put(s, table->version, 4);
	stream_body_begin(s);
	fields_save(s, table, state);
	stream_body_end(s);
}

static void save_header(struct stream *s, const struct machine *machine)
{
	stream_write(s, MAGIC, MAGIC_LENGTH);
	stream_put(s, FORMAT_VERSION, 4);
	stream_put_name(s, machine->board);
	stream_put(s, machine->engine->cpus, 4);
	stream_put(s, machine->memory.count, 4);
	for (unsigned i = 0; i < machine->memory.count; i++) {
		stream_put(s, machine->memory.blocks[i].address, 8);
		stream_put(s, machine->memory.blocks[i].size, 8);
	}
}

static void save_memory(
	struct stream *s, const struct guest_memory *mem, struct migration_counts *counts)
{
	for (unsigned i = 0; i < mem->count; i++) {
		stream_put(s, SECTION_RAM, 1);
		stream_put(s, i, 4);
		ram_save(s, &mem->blocks[i], counts);
	}
}

/* Its number among those of its type. */
static unsigned instance_of(const struct machine *machine, const struct device *dev)
{
	unsigned instance = 0;
	struct list *pos;

	list_for_each (pos, &machine->devices) {
		const struct device *other = container_of(pos, struct device, link);

		if (other == dev)
			break;
		instance += strcmp(other->type->name, dev->type->name) == 0;
	}
	return instance;
}

/* Twice: what the first round ended may have left an interrupt for the second to see. */
static void prepare_devices(struct machine *machine)
{
	struct list *pos;

	for (unsigned round = 0; round < 2; round++)
		list_for_each (pos, &machine->devices) {
			struct device *dev = container_of(pos, struct device, link);

			fields_prepare(dev->type->state, dev);
		}
}

static void save_devices(struct stream *s, struct machine *machine)
{
	struct list *pos;

	list_for_each (pos, &machine->devices) {
		struct device *dev = container_of(pos, struct device, link);

		if (dev->type->state != &state_nothing)
			save_section(s, dev->type->name, instance_of(machine, dev),
				dev->type->state, dev);
	}
}

static int save_chips(struct stream *s, struct machine *machine, struct error *err)
{
	struct chips_state chips = {0};
	int rc = machine->chips.get(machine->chips.opaque, &chips, err);

	if (rc < 0)
		return error_prefix(err, rc, "section chips: ");
	save_section(s, chips_state_table.name, 0, &chips_state_table, &chips);
	return 0;
}

static int save_cpu(struct stream *s, struct machine *machine, unsigned cpu, struct error *err)
{
	struct cpu_context context = {0};
	int rc = machine->engine->ops->get_context(machine->engine, cpu, &context, err);

	if (rc < 0)
		return error_prefix(err, rc, "section cpu/%u: ", cpu);
	save_section(s, cpu_context_table.name, cpu, &cpu_context_table, &context);
	return 0;
}

/* Whoever brings processors or chips may not be able to. */
static int check_able(const struct machine *machine, struct error *err)
{
	const struct cpu_engine_ops *ops = machine->engine->ops;

	if (ops->get_context && ops->set_context && machine->chips.get)
		return 0;
	return error_set(err, ENOTSUP, "states are not there under %s on this machine", ops->name);
}

int machine_save(struct machine *machine, struct stream *s, bool running,
	struct migration_counts *counts, struct error *err)
{
	struct general general = {
		.vm_time = vm_clock_now(&machine->clock),
		.rtc_offset = machine->clock.rtc_offset,
		.running = running,
		.rtc_start = machine->clock.rtc_start,
		.wall_ahead = machine->clock.wall_ahead,
	};
	int rc = check_able(machine, err);

	if (rc < 0)
		return rc;
	/* Ends what is in flight, which may write memory: before it is read. */
	prepare_devices(machine);
	general.random_state = machine->random_state;
	save_header(s, machine);
	save_section(s, general_table.name, 0, &general_table, &general);
	if (counts)
		save_memory(s, &machine->memory, counts);
	save_devices(s, machine);
	rc = save_chips(s, machine, err);
	for (unsigned i = 0; i < machine->engine->cpus && rc == 0; i++)
		rc = save_cpu(s, machine, i, err);
	if (rc < 0)
		return rc;
	stream_put(s, SECTION_END, 1);
	stream_put(s, s->crc, 4);
	if (stream_flush(s) < 0)
		return error_set(err, -s->rc, "%s", s->err.text);
	return 0;
}

/* --- load --- */

/* What a section name stands for, and whether it has come. */
struct place {
	const char *name;
	uint32_t instance;
	const struct state_table *table;
	void *state;
	bool loaded;
};

struct load {
	struct machine *machine;
	struct stream *s;
	struct general general;
	struct chips_state chips;
	struct cpu_context *cpus;
	bool without_memory, ram_loaded[RAM_BLOCKS_MAX];
	struct place *places;
	unsigned count;
};

static void load_header(struct stream *s, const struct machine *machine)
{
	const struct guest_memory *mem = &machine->memory;
	char magic[MAGIC_LENGTH], board[STREAM_NAME_MAX + 1];
	uint64_t size = 0, ours = 0;
	uint32_t number;

	stream_read(s, magic, MAGIC_LENGTH);
	if (!s->rc && memcmp(magic, MAGIC, MAGIC_LENGTH) != 0)
		stream_fail(s, EINVAL, "not a saved state of assay");
	number = stream_get(s, 4);
	if (number != FORMAT_VERSION)
		stream_fail(s, ENOTSUP, "format version %u is not known here", number);
	stream_get_name(s, board);
	if (!s->rc && strcmp(board, machine->board) != 0)
		stream_fail(s, EINVAL, "-machine: saved on %s, this is %s", board, machine->board);
	number = stream_get(s, 4);
	if (number != machine->engine->cpus)
		stream_fail(s, EINVAL, "-smp: saved with %u, this has %u", number,
			machine->engine->cpus);
	number = stream_get(s, 4);
	if (number > RAM_BLOCKS_MAX)
		stream_fail(s, EINVAL, "%u blocks of memory", number);
	for (unsigned i = 0; i < mem->count; i++)
		ours += mem->blocks[i].size;
	for (unsigned i = 0; i < number && !s->rc; i++) {
		uint64_t address = stream_get(s, 8), bytes = stream_get(s, 8);

		size += bytes;
		if (i < mem->count && address == mem->blocks[i].address &&
			bytes == mem->blocks[i].size)
			continue;
		/* Tell the sizes when the blocks differ only by them. */
		while (++i < number)
			size += (stream_get(s, 8), stream_get(s, 8));
		stream_fail(s, EINVAL, "-m: saved with %llu KiB of memory, this has %llu",
			(unsigned long long)size >> 10, (unsigned long long)ours >> 10);
	}
	if (number != mem->count)
		stream_fail(s, EINVAL, "-m: saved with %u blocks of memory, this has %u", number,
			mem->count);
}

static void add_place(struct load *load, const char *name, uint32_t instance,
	const struct state_table *table, void *state)
{
	load->places[load->count++] = (struct place){name, instance, table, state, false};
}

static int make_places(struct load *load, struct error *err)
{
	struct machine *machine = load->machine;
	unsigned cpus = machine->engine->cpus, devices = 0;
	struct list *pos;

	list_for_each (pos, &machine->devices)
		devices++;
	load->places = calloc(devices + cpus + 2, sizeof(*load->places));
	load->cpus = calloc(cpus, sizeof(*load->cpus));
	if (!load->places || !load->cpus)
		return error_set(err, ENOMEM, "out of memory");
	add_place(load, general_table.name, 0, &general_table, &load->general);
	list_for_each (pos, &machine->devices) {
		struct device *dev = container_of(pos, struct device, link);

		if (dev->type->state != &state_nothing)
			add_place(load, dev->type->name, instance_of(machine, dev),
				dev->type->state, dev);
	}
	add_place(load, chips_state_table.name, 0, &chips_state_table, &load->chips);
	for (unsigned i = 0; i < cpus; i++)
		add_place(load, cpu_context_table.name, i, &cpu_context_table, &load->cpus[i]);
	return 0;
}

static void prefix(struct stream *s, const char *name, uint32_t instance)
{
	if (s->rc)
		error_prefix(&s->err, s->rc, "section %s/%u: ", name, instance);
}

static void load_state(struct load *load)
{
	struct stream *s = load->s;
	char name[STREAM_NAME_MAX + 1];
	struct place *place = NULL;
	uint32_t instance, version;
	uint64_t length;

	stream_get_name(s, name);
	instance = stream_get(s, 4);
	version = stream_get(s, 4);
	length = stream_get(s, 4);
	if (s->rc)
		return;
	for (unsigned i = 0; i < load->count && !place; i++)
		if (load->places[i].instance == instance && !strcmp(load->places[i].name, name))
			place = &load->places[i];
	s->limit = s->position + length;
	s->section = name;
	if (!place)
		stream_fail(s, ENODEV, "this machine has no such device");
	else if (place->loaded)
		stream_fail(s, EINVAL, "it came before");
	else
		fields_load(s, place->table, place->state, version);
	s->section = NULL;
	s->limit = UINT64_MAX;
	prefix(s, name, instance);
	if (s->rc || !place)
		return;
	place->loaded = true;
	/* Deadlines and times of devices are judged against it. */
	if (place->state == &load->general)
		set_clock(load->machine, &load->general);
}

static void load_ram(struct load *load)
{
	struct stream *s = load->s;
	struct guest_memory *mem = &load->machine->memory;
	uint32_t block = stream_get(s, 4);

	if (s->rc)
		return;
	if (block >= mem->count || load->ram_loaded[block])
		stream_fail(s, EINVAL, "no such block of memory, or it came before");
	else
		ram_load(s, mem, &mem->blocks[block]);
	prefix(s, "ram", block);
	if (!s->rc)
		load->ram_loaded[block] = true;
}

static void load_sections(struct load *load)
{
	struct stream *s = load->s;

	while (!s->rc) {
		unsigned kind = stream_get(s, 1);

		if (s->rc || kind == SECTION_END)
			return;
		if (kind == SECTION_STATE)
			load_state(load);
		else if (kind == SECTION_RAM)
			load_ram(load);
		else
			stream_fail(s, EINVAL, "a section of kind %u", kind);
	}
}

static void load_end(struct load *load)
{
	struct stream *s = load->s;
	uint32_t crc = s->crc, saved = stream_get(s, 4);

	if (!s->rc && saved != crc)
		stream_fail(s, EINVAL, "the checksum is wrong");
	if (!s->rc && !stream_at_end(s))
		stream_fail(s, EINVAL, "something follows the end");
	for (unsigned i = 0; i < load->count && !s->rc; i++)
		if (!load->places[i].loaded)
			stream_fail(s, EINVAL, "section %s/%u: missing", load->places[i].name,
				load->places[i].instance);
	for (unsigned i = 0; i < load->machine->memory.count && !s->rc; i++)
		if (!load->without_memory && !load->ram_loaded[i])
			stream_fail(s, EINVAL, "section ram/%u: missing", i);
}

/* What could not be put in place while the stream was read. */
static int apply(struct load *load, struct error *err)
{
	struct machine *machine = load->machine;
	int rc = machine->chips.set(machine->chips.opaque, &load->chips, err);

	if (rc < 0)
		return error_prefix(err, rc, "section chips/0: ");
	for (unsigned i = 0; i < machine->engine->cpus; i++) {
		rc = machine->engine->ops->set_context(machine->engine, i, &load->cpus[i], err);
		if (rc < 0)
			return error_prefix(err, rc, "section cpu/%u: ", i);
	}
	return 0;
}

/* Memory came past the accessor: code that was decoded from it is stale. */
static void tell_listener(struct guest_memory *mem)
{
	for (unsigned i = 0; i < mem->count && mem->listener && mem->listener->written; i++)
		mem->listener->written(
			mem->listener->opaque, mem->blocks[i].address, mem->blocks[i].size);
}

int machine_load(struct machine *machine, struct stream *s, bool *running, struct error *err)
{
	struct load load = {.machine = machine,
		.s = s,
		.without_memory = !running,
		.general = {.rtc_start = machine->clock.rtc_start,
			.wall_ahead = machine->clock.wall_ahead}};
	int rc = check_able(machine, err);

	if (rc == 0)
		rc = make_places(&load, err);
	if (rc == 0) {
		load_header(s, machine);
		load_sections(&load);
		load_end(&load);
		rc = s->rc ? error_set(err, -s->rc, "%s", s->err.text) : apply(&load, err);
		tell_listener(&machine->memory);
	}
	if (running)
		*running = load.general.running;
	free(load.places);
	free(load.cpus);
	return rc;
}
