/* SPDX-License-Identifier: MIT */
/*
 * The I/O APIC 82093AA (Intel 290566): 24 inputs, each with a redirection entry, delivered as
 * messages.  For engines whose local APIC is theirs but whose IOAPIC is not (KVM's split
 * interrupt chip), and for processors of our own.
 *
 * Left out: bus arbitration (IOAPICARB is kept and means nothing on a message bus).
 */
#include "devices/chipset/ioapic.h"

#include "devices/devices.h"

#define IOAPIC_ADDRESS 0xfec00000
#define IOAPIC_LENGTH  0x1000

/* memory map (290566, 3.1) */
#define IOREGSEL 0x00
#define IOWIN	 0x10
#define IOEOI	 0x40 /* of later versions (0x20): end of interrupt by vector */

/* registers (3.2) */
#define REG_ID	    0x00
#define REG_VERSION 0x01
#define REG_ARB	    0x02
#define REG_TABLE   0x10
#define VERSION	    (0x20 | (IOAPIC_PINS - 1) << 16)

/* redirection entry (3.2.4) */
#define ENTRY_VECTOR	0xff
#define ENTRY_MODE(e)	((e) >> 8 & 7)
#define ENTRY_LOGICAL	(1ULL << 11)
#define ENTRY_STATUS	(1ULL << 12)
#define ENTRY_LOW	(1ULL << 13)
#define ENTRY_REMOTE	(1ULL << 14)
#define ENTRY_LEVEL	(1ULL << 15)
#define ENTRY_MASKED	(1ULL << 16)
#define ENTRY_READ_ONLY (ENTRY_STATUS | ENTRY_REMOTE)
#define ENTRY_RESERVED	0x00fffffffffe0000ULL
#define MODE_EXTINT	7

#define MSI_ADDRESS 0xfee00000

struct ioapic {
	struct device dev;
	struct region region;
	uint8_t select, id;
	uint64_t table[IOAPIC_PINS];
	bool input[IOAPIC_PINS];   /* the wire's level */
	bool pending[IOAPIC_PINS]; /* an edge came that is not yet sent */
};

static struct ioapic *to_ioapic(struct device *dev)
{
	return container_of(dev, struct ioapic, dev);
}

static struct msi_message message_of(uint64_t entry)
{
	return (struct msi_message){
		.address = MSI_ADDRESS | (entry >> 56) << 12 | (entry & ENTRY_LOGICAL ? 4 : 0),
		.data = (entry & ENTRY_VECTOR) | ENTRY_MODE(entry) << 8 |
			(entry & ENTRY_LEVEL ? 1u << 15 | 1u << 14 : 0),
	};
}

/* Delivers what the pin owes: a pending edge, or a level that no processor has in service. */
static void serve(struct ioapic *io, unsigned pin)
{
	uint64_t *entry = &io->table[pin];

	if (*entry & ENTRY_MASKED)
		return;
	if (*entry & ENTRY_LEVEL) {
		bool active = io->input[pin];

		if (!active || (*entry & ENTRY_REMOTE))
			return;
		*entry |= ENTRY_REMOTE;
	} else {
		if (!io->pending[pin])
			return;
		io->pending[pin] = false;
	}
	/* An external controller's vector is not ours to send. */
	if (ENTRY_MODE(*entry) != MODE_EXTINT)
		irq_chip_send_msi(&io->dev.machine->irq_chip, message_of(*entry));
}

void ioapic_set(struct device *dev, unsigned pin, bool level)
{
	struct ioapic *io = to_ioapic(dev);
	bool rises = level && !io->input[pin];

	io->input[pin] = level;
	/* An edge on a masked pin is ignored: neither delivered nor held (290566, 3.2.4, mask bit).
	 */
	if (rises && !(io->table[pin] & (ENTRY_LEVEL | ENTRY_MASKED)))
		io->pending[pin] = true;
	serve(io, pin);
}

void ioapic_eoi(struct device *dev, uint8_t vector)
{
	struct ioapic *io = to_ioapic(dev);

	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
		uint64_t *entry = &io->table[pin];

		if ((*entry & ENTRY_VECTOR) != vector || !(*entry & ENTRY_LEVEL))
			continue;
		*entry &= ~ENTRY_REMOTE;
		serve(io, pin);
	}
}

/* The engine must hear of the end of level interrupts: it has the local APIC. */
static void tell_engine(struct ioapic *io, unsigned pin)
{
	struct irq_chip *chip = &io->dev.machine->irq_chip;
	uint64_t entry = io->table[pin];
	struct msi_message message = message_of(entry);

	if (chip->ops->watch_eoi)
		chip->ops->watch_eoi(chip->opaque, pin,
			(entry & ENTRY_LEVEL) && !(entry & ENTRY_MASKED) ? &message : NULL);
}

static uint32_t read_register(const struct ioapic *io)
{
	unsigned index = io->select - REG_TABLE;

	if (io->select == REG_ID || io->select == REG_ARB)
		return (uint32_t)io->id << 24;
	if (io->select == REG_VERSION)
		return VERSION;
	if (index < 2 * IOAPIC_PINS)
		return io->table[index / 2] >> (index % 2 * 32);
	return 0;
}

static void write_entry(struct ioapic *io, unsigned index, uint32_t value)
{
	uint64_t *entry = &io->table[index / 2];
	unsigned shift = index % 2 * 32;
	uint64_t fixed = ENTRY_READ_ONLY | ENTRY_RESERVED | ~(0xffffffffULL << shift);

	*entry = (*entry & fixed) | ((uint64_t)value << shift & ~fixed);
	/* An edge-triggered entry has nothing in service. */
	if (!(*entry & ENTRY_LEVEL))
		*entry &= ~ENTRY_REMOTE;
	tell_engine(io, index / 2);
	serve(io, index / 2);
}

static uint64_t ioapic_read(void *opaque, uint64_t offset, unsigned size)
{
	struct ioapic *io = opaque;

	if (offset == IOREGSEL)
		return io->select;
	return offset == IOWIN ? read_register(io) : 0;
}

static void ioapic_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct ioapic *io = opaque;
	unsigned index = io->select - REG_TABLE;

	if (offset == IOREGSEL)
		io->select = value;
	else if (offset == IOEOI)
		ioapic_eoi(&io->dev, value);
	else if (offset == IOWIN && io->select == REG_ID)
		io->id = value >> 24 & 0xf;
	else if (offset == IOWIN && index < 2 * IOAPIC_PINS)
		write_entry(io, index, value);
}

static const struct region_ops ioapic_ops = {
	.read = ioapic_read,
	.write = ioapic_write,
	.min_access = 4,
	.max_access = 4,
};

static void ioapic_reset(struct device *dev)
{
	struct ioapic *io = to_ioapic(dev);

	io->select = io->id = 0;
	for (unsigned i = 0; i < IOAPIC_PINS; i++) {
		io->table[i] = ENTRY_MASKED;
		io->pending[i] = false;
		tell_engine(io, i);
	}
}

static int ioapic_realize(struct device *dev, struct error *err)
{
	struct ioapic *io = to_ioapic(dev);

	io->region = (struct region){
		.name = "ioapic", .length = IOAPIC_LENGTH, .ops = &ioapic_ops, .opaque = io};
	space_map(&dev->machine->mmio, &io->region, IOAPIC_ADDRESS);
	return 0;
}

static void ioapic_unrealize(struct device *dev)
{
	space_unmap(&to_ioapic(dev)->region);
}

void ioapic_get(struct device *dev, struct ioapic_state *state)
{
	const struct ioapic *io = to_ioapic(dev);

	state->select = io->select;
	state->id = io->id;
	for (unsigned i = 0; i < IOAPIC_PINS; i++) {
		state->table[i] = io->table[i];
		state->input[i] = io->input[i];
		state->pending[i] = io->pending[i];
	}
}

/* Nothing is sent: what was owed has been sent by who saved it, or waits for its mask. */
void ioapic_set_state(struct device *dev, const struct ioapic_state *state)
{
	struct ioapic *io = to_ioapic(dev);

	io->select = state->select;
	io->id = state->id;
	for (unsigned i = 0; i < IOAPIC_PINS; i++) {
		io->table[i] = state->table[i];
		io->input[i] = state->input[i];
		io->pending[i] = state->pending[i];
		tell_engine(io, i);
	}
}

const struct device_type ioapic_type = {
	.name = "ioapic",
	.bus = "System",
	.category = "Misc",
	.size = sizeof(struct ioapic),
	.internal = true,
	.realize = ioapic_realize,
	.reset = ioapic_reset,
	.state = &state_nothing, /* it goes with the chips: board/irq-models.c */
	.unrealize = ioapic_unrealize,
};
