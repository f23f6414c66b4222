/* SPDX-License-Identifier: MIT */
/*
 * A saved state that an input has tampered with: all devices of the machine are saved as for
 * `migrate`, fields get other values (or bytes of the stream do), and the machine is loaded with
 * that.  A load that is refused would end the process; here the machine that was saved is loaded.
 */
#ifndef FUZZ_STATE_H
#define FUZZ_STATE_H

#include "machine.h"
#include "migration/fields.h"

#define SECTIONS    8
#define PLACES	    512
#define SUBSECTION  0xff
#define FIELD_BYTES 8

struct section {
	struct device *dev;
	uint8_t *body, *saved;
	size_t length;
	bool is_garbled; /* its form, too: fields cannot be found any more */
};

static struct section sections[SECTIONS];
static unsigned section_count;

/* A slot without a device has nothing that this one's has not. */
static bool is_saved(const struct device *dev)
{
	return dev->type->state != &state_nothing &&
	       (dev->type != &virtio_mmio_type || container_of(dev, struct virtio_mmio, dev)->vdev);
}

static void for_saved(void (*what)(struct device *dev))
{
	struct list *pos;

	list_for_each (pos, &machine.devices) {
		struct device *dev = container_of(pos, struct device, link);

		if (is_saved(dev))
			what(dev);
	}
}

static void prepare_section(struct device *dev)
{
	fields_prepare(dev->type->state, dev);
}

static void save_section(struct device *dev)
{
	struct section *section = &sections[section_count++];
	struct stream s;
	struct error err;

	REQUIRE(section_count <= SECTIONS);
	REQUIRE(stream_init(&s, -1, true, &err) == 0);
	stream_body_begin(&s);
	fields_save(&s, dev->type->state, dev);
	REQUIRE(s.rc == 0);
	*section = (struct section){dev, s.body, malloc(s.body_length + 1), s.body_length, false};
	REQUIRE(section->saved);
	memcpy(section->saved, s.body, s.body_length);
	s.body = NULL;
	stream_destroy(&s);
}

static void reset_section(struct device *dev)
{
	device_reset(dev);
}

/* The elements of all fields: where, and how long each. */
struct element {
	size_t at;
	uint8_t size;
};

static unsigned find_elements(const struct section *section, struct element *elements)
{
	const uint8_t *body = section->body;
	unsigned count = 0;
	size_t at = 0;

	while (at < section->length && count < PLACES) {
		uint8_t size = body[at + 1 + body[at]];
		uint32_t n;

		at += 2 + body[at];
		memcpy(&n, body + at, 4);
		at += 4;
		if (size == SUBSECTION)
			continue;
		for (; n && count < PLACES; n--, at += size)
			elements[count++] = (struct element){at, size};
		at += (size_t)n * size;
	}
	return count;
}

/* Wrong values: any, near the old one, or a bit of it; and bytes of the form itself. */
static void tamper(struct section *section, struct input *in)
{
	struct element elements[PLACES];
	uint16_t which = take(in, 2);
	uint8_t kind = take(in, 1);
	unsigned count = section->is_garbled ? 0 : find_elements(section, elements);
	struct element chosen = {0, 1};
	uint64_t value = 0;

	if (!section->length)
		return;
	section->is_garbled |= kind >= 0xf0;
	if (section->is_garbled || !count)
		chosen.at = which * 37u % section->length;
	else
		chosen = elements[which % count];
	memcpy(&value, section->body + chosen.at, chosen.size);
	switch (kind % 6) {
	case 0: value = take(in, chosen.size); break;
	case 1: value += (int8_t)take(in, 1); break;
	case 2: value ^= UINT64_C(1) << take(in, 1) % (8 * chosen.size); break;
	case 3: value = UINT64_MAX - take(in, 1); break;
	case 4: value = take(in, 2); break;
	default: value = (uint64_t)take(in, 2) << 4 * (kind >> 4 & 7); break;
	}
	memcpy(section->body + chosen.at, &value, chosen.size);
}

static int load_section(struct device *dev, const uint8_t *body, size_t length)
{
	const struct state_table *table = dev->type->state;
	struct stream s;
	struct error err;
	int rc;

	REQUIRE(stream_init(&s, -1, false, &err) == 0);
	memcpy(s.buffer, body, length);
	s.filled = s.limit = length;
	rc = fields_load(&s, table, dev, table->version);
	if (rc == 0 && s.position != s.limit)
		rc = -EINVAL;
	stream_destroy(&s);
	return rc;
}

/* `cut`: of that section only so many bytes are there. */
static int load_sections(unsigned cut, size_t left)
{
	int rc = 0;

	for (unsigned i = 0; i < section_count && rc == 0; i++) {
		const struct section *section = &sections[i];

		rc = load_section(section->dev, section->body, i == cut ? left : section->length);
	}
	return rc;
}

static void load_saved(void)
{
	for_saved(reset_section);
	for (unsigned i = 0; i < section_count; i++)
		REQUIRE(load_section(sections[i].dev, sections[i].saved, sections[i].length) == 0);
}

static void save_tamper_load(struct input *in)
{
	uint8_t wrong = take(in, 1);
	unsigned cut = wrong & 0x80 ? wrong >> 4 & 7 : SECTIONS;
	size_t left = 0;

	lock();
	machine_emit(&machine, "STOP", CAUSE_HOST_UI);
	for_saved(prepare_section);
	for_saved(prepare_section);
	section_count = 0;
	for_saved(save_section);
	for (unsigned i = 0; i < (wrong & 7u); i++)
		tamper(&sections[take(in, 1) % section_count], in);
	if (cut < section_count)
		left = take(in, 2) % (sections[cut].length + 1);
	for_saved(reset_section);
	if (load_sections(cut, left) < 0)
		load_saved();
	for (unsigned i = 0; i < section_count; i++) {
		free(sections[i].body);
		free(sections[i].saved);
	}
	machine_emit(&machine, "RESUME", CAUSE_HOST_UI);
	unlock();
}

#endif
