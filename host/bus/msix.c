/* SPDX-License-Identifier: MIT */
/*
 * MSI-X (PCI Local Bus 3.0, 6.8.2): table, pending bits, masks, and messages that threads without
 * the machine lock can send.
 *
 * A fire from a thread races with a mask by the guest.  The thread sets `pending` first when it
 * sees the mask, then looks again; whoever unmasks takes `pending` by an exchange.  So a message is
 * sent once or stays pending, and never gets lost.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bus/pci.h"

#define ENTRY_SIZE	16
#define ENTRY_CONTROL	12
#define ENTRY_MASKED	0x1
#define CONTROL_ENABLE	0x80 /* of the message control's high byte */
#define CONTROL_MASKALL 0x40
#define CAP_LENGTH	12
#define MIN_BAR		4096
#define VECTORS_MAX	2048

static struct msi_message message_of(const struct msix *msix, unsigned vector)
{
	const uint8_t *entry = msix->table + vector * ENTRY_SIZE;
	struct msi_message message;

	memcpy(&message.address, entry, 8);
	memcpy(&message.data, entry + 8, 4);
	return message;
}

static bool should_be_masked(const struct msix *msix, unsigned vector)
{
	return !msix->enabled || msix->function_masked ||
	       (msix->table[vector * ENTRY_SIZE + ENTRY_CONTROL] & ENTRY_MASKED);
}

static void send_pending(struct pci_device *pci, unsigned vector)
{
	struct msix *msix = &pci->msix;

	if (pci_is_master(pci) && atomic_exchange(&msix->vectors[vector].pending, false))
		irq_chip_send_msi(&pci->dev.machine->irq_chip, message_of(msix, vector));
}

/* After anything that decides over a vector changed: its mask, its route, what is pending. */
static void update_vector(struct pci_device *pci, unsigned vector)
{
	struct msix *msix = &pci->msix;
	struct msix_vector *v = &msix->vectors[vector];
	struct irq_chip *chip = &pci->dev.machine->irq_chip;
	bool masked = should_be_masked(msix, vector);

	if (masked || !v->used) {
		atomic_store(&v->masked, masked);
	} else if (irq_route_attach(chip, &v->route, message_of(msix, vector), NULL) == 0) {
		atomic_store(&v->masked, false);
	}
	if (!masked)
		send_pending(pci, vector);
}

static void update_all(struct pci_device *pci)
{
	for (unsigned i = 0; i < pci->msix.count; i++)
		update_vector(pci, i);
	if (pci->msix_changed)
		pci->msix_changed(pci, -1);
}

static uint64_t bar_read(void *opaque, uint64_t offset, unsigned size)
{
	struct pci_device *pci = opaque;
	struct msix *msix = &pci->msix;
	uint64_t value = 0, pba = msix->bar.length / 2;

	if (offset + size <= msix->count * ENTRY_SIZE) {
		memcpy(&value, msix->table + offset, size);
		return value;
	}
	if (offset < pba)
		return 0;
	for (unsigned i = 0; i < size * 8; i++) {
		uint64_t vector = (offset - pba) * 8 + i;

		if (vector < msix->count && atomic_load(&msix->vectors[vector].pending))
			value |= 1ULL << i;
	}
	return value;
}

/* The PBA is read-only, and so are the reserved bits of an entry's control word. */
static void bar_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct pci_device *pci = opaque;
	struct msix *msix = &pci->msix;

	if (offset + size > msix->count * ENTRY_SIZE)
		return;
	memcpy(msix->table + offset, &value, size);
	for (uint64_t i = offset / ENTRY_SIZE; i <= (offset + size - 1) / ENTRY_SIZE; i++) {
		uint8_t *control = msix->table + i * ENTRY_SIZE + ENTRY_CONTROL;

		control[0] &= ENTRY_MASKED;
		memset(control + 1, 0, 3);
		update_vector(pci, i);
		if (pci->msix_changed)
			pci->msix_changed(pci, i);
	}
}

/* Aligned dwords and quadwords (6.8.2: others are undefined; here they go nowhere). */
static const struct region_ops bar_ops = {
	.read = bar_read,
	.write = bar_write,
	.min_access = 4,
	.max_access = 8,
};

static void clear_table(struct msix *msix)
{
	memset(msix->table, 0, msix->count * ENTRY_SIZE);
	for (unsigned i = 0; i < msix->count; i++)
		msix->table[i * ENTRY_SIZE + ENTRY_CONTROL] = ENTRY_MASKED;
}

static uint64_t bar_size(unsigned vectors)
{
	uint64_t size = MIN_BAR;

	while (size / 2 < vectors * ENTRY_SIZE)
		size *= 2;
	return size;
}

static int add_capability(struct pci_device *pci, unsigned vectors, unsigned bar)
{
	int at = pci_add_capability(pci, PCI_CAP_MSIX, CAP_LENGTH);
	uint32_t pba = bar_size(vectors) / 2;
	uint8_t *cap;

	if (at < 0)
		return at;
	cap = pci->config + at;
	cap[2] = vectors - 1;
	cap[3] = (vectors - 1) >> 8;
	cap[4] = bar;
	cap[8] = bar | (pba & 0xff);
	cap[9] = pba >> 8;
	cap[10] = pba >> 16;
	pci->writable[at + 3] = CONTROL_ENABLE | CONTROL_MASKALL;
	pci->msix.capability = at;
	return 0;
}

int msix_init(struct pci_device *pci, unsigned vectors, unsigned bar, struct error *err)
{
	struct msix *msix = &pci->msix;
	int rc;

	if (vectors < 1 || vectors > VECTORS_MAX)
		return error_set(
			err, EINVAL, "MSI-X needs 1 to %u vectors, not %u", VECTORS_MAX, vectors);
	msix->table = calloc(vectors, ENTRY_SIZE);
	msix->vectors = calloc(vectors, sizeof(*msix->vectors));
	if (!msix->table || !msix->vectors) {
		msix_destroy(pci);
		return error_set(err, ENOMEM, "out of memory");
	}
	rc = add_capability(pci, vectors, bar);
	if (rc < 0) {
		msix_destroy(pci);
		return error_set(err, ENOSPC, "no room for the MSI-X capability");
	}
	msix->count = vectors;
	for (unsigned i = 0; i < vectors; i++) {
		msix->vectors[i].route.fd = -1;
		msix->vectors[i].masked = true;
	}
	clear_table(msix);
	msix->bar = (struct region){.name = "msix", .ops = &bar_ops, .opaque = pci};
	pci_register_bar(pci, bar, PCI_BAR_MEMORY32, false, bar_size(vectors), &msix->bar);
	return 0;
}

void msix_destroy(struct pci_device *pci)
{
	struct msix *msix = &pci->msix;

	for (unsigned i = 0; msix->vectors && i < msix->count; i++)
		if (msix->vectors[i].route.fd >= 0)
			irq_route_destroy(&pci->dev.machine->irq_chip, &msix->vectors[i].route);
	if (msix->bar.space)
		space_unmap(&msix->bar);
	free(msix->table);
	free(msix->vectors);
	*msix = (struct msix){0};
}

bool msix_enabled(const struct pci_device *pci)
{
	return pci->msix.enabled;
}

void msix_config_written(struct pci_device *pci, unsigned offset, unsigned size)
{
	struct msix *msix = &pci->msix;
	uint8_t control = pci->config[msix->capability + 3];
	bool touches_control =
		offset <= msix->capability + 3u && offset + size > msix->capability + 3u;
	bool touches_command = offset <= PCI_COMMAND && offset + size > PCI_COMMAND;

	if (!touches_control && !touches_command)
		return;
	msix->enabled = control & CONTROL_ENABLE;
	msix->function_masked = control & CONTROL_MASKALL;
	update_all(pci);
}

void msix_reset(struct pci_device *pci)
{
	struct msix *msix = &pci->msix;

	pci->config[msix->capability + 3] &= ~(CONTROL_ENABLE | CONTROL_MASKALL);
	msix->enabled = msix->function_masked = false;
	clear_table(msix);
	for (unsigned i = 0; i < msix->count; i++) {
		atomic_store(&msix->vectors[i].masked, true);
		atomic_store(&msix->vectors[i].pending, false);
		irq_route_detach(&pci->dev.machine->irq_chip, &msix->vectors[i].route);
	}
}

void msix_notify(struct pci_device *pci, unsigned vector)
{
	struct msix *msix = &pci->msix;

	if (vector >= msix->count || !msix->enabled)
		return;
	atomic_store(&msix->vectors[vector].pending, true);
	if (!should_be_masked(msix, vector))
		send_pending(pci, vector);
}

int msix_use(struct pci_device *pci, unsigned vector, struct error *err)
{
	struct msix_vector *v;
	int rc;

	if (vector >= pci->msix.count)
		return error_set(err, EINVAL, "no MSI-X vector %u", vector);
	v = &pci->msix.vectors[vector];
	if (v->route.fd < 0) {
		rc = irq_route_init(&v->route, err);
		if (rc < 0)
			return rc;
	}
	v->used++;
	atomic_store(&v->masked, true); /* until its route is attached */
	update_vector(pci, vector);
	return 0;
}

void msix_unuse(struct pci_device *pci, unsigned vector)
{
	struct msix_vector *v;

	if (vector >= pci->msix.count)
		return;
	v = &pci->msix.vectors[vector];
	if (!v->used || --v->used)
		return;
	irq_route_detach(&pci->dev.machine->irq_chip, &v->route);
	atomic_store(&v->masked, should_be_masked(&pci->msix, vector));
}

void msix_fire(struct pci_device *pci, unsigned vector)
{
	struct msix_vector *v;

	if (vector >= pci->msix.count)
		return;
	v = &pci->msix.vectors[vector];
	if (!atomic_load(&v->masked) && pci_is_master(pci)) {
		irq_route_fire(&v->route);
		return;
	}
	atomic_store(&v->pending, true);
	/* Unmasked meanwhile?  Then one of us two takes the pending bit and sends. */
	if (!atomic_load(&v->masked) && pci_is_master(pci) && atomic_exchange(&v->pending, false))
		irq_route_fire(&v->route);
}

/* --- saved state --- */

static unsigned table_bytes(const void *state)
{
	return ((const struct msix *)state)->count * ENTRY_SIZE;
}

static unsigned vector_count(const void *state)
{
	return ((const struct msix *)state)->count;
}

static const struct state_field vector_fields[] = {
	STATE_BOOL(struct msix_vector, pending),
	STATE_END,
};

static const struct state_table vector_table = {
	.name = "vector", .version = 1, .fields = vector_fields};

static const struct state_field msix_fields[] = {
	STATE_POINTED(struct msix, table, STATE_NUMBER, table_bytes),
	STATE_POINTED(struct msix, vectors, STATE_GROUP, vector_count, .table = &vector_table),
	STATE_END,
};

const struct state_table msix_state_table = {.name = "msix", .version = 1, .fields = msix_fields};

void msix_loaded(struct pci_device *pci)
{
	struct msix *msix = &pci->msix;
	uint8_t control = pci->config[msix->capability + 3];

	for (unsigned i = 0; i < msix->count; i++) {
		uint8_t *entry = msix->table + i * ENTRY_SIZE + ENTRY_CONTROL;

		entry[0] &= ENTRY_MASKED;
		memset(entry + 1, 0, 3);
	}
	msix->enabled = control & CONTROL_ENABLE;
	msix->function_masked = control & CONTROL_MASKALL;
	update_all(pci);
}
