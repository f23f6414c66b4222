/* SPDX-License-Identifier: MIT */
/*
 * UART 16550A (National Semiconductor PC16550D, June 1995: section 8, registers and interrupts).
 *
 * Characters are sent the moment THR is written, whatever the divisor says: a guest's last words
 * must have left before it ends the VM.  Only when the character device is full do they wait, with
 * THRE low.  The divisor counts for one thing, the character time-out.
 *
 * The interrupt output passes the gate that OUT2 is on a PC (MCR bit 3), in loopback too, where
 * the chip's interrupts are said to be fully operational (8.6.4).
 *
 * Left out: the DMA signals (FCR bit 3), framing and parity errors (the host's side has no line),
 * writes to LSR and MSR (factory tests), a break towards the host.
 */
#include "devices/char/serial.h"

#include <errno.h>

#include "base/log.h"

/* Registers (8, table II); the first two are the divisor latch while LCR bit 7 is set. */
enum { REG_DATA, REG_IER, REG_IIR_FCR, REG_LCR, REG_MCR, REG_LSR, REG_MSR, REG_SCR };

#define IER_RDA	 0x01 /* received data available */
#define IER_THRE 0x02
#define IER_RLS	 0x04 /* receiver line status */
#define IER_MS	 0x08 /* modem status */
#define IER_BITS 0x0f

#define IIR_NONE    0x01
#define IIR_MS	    0x00
#define IIR_THRE    0x02
#define IIR_RDA	    0x04
#define IIR_RLS	    0x06
#define IIR_TIMEOUT 0x0c
#define IIR_FIFOS   0xc0

#define FCR_ENABLE   0x01
#define FCR_RESET_RX 0x02
#define FCR_RESET_TX 0x04
#define FCR_TRIGGER  0xc0

#define LCR_LENGTH 0x03
#define LCR_STOP   0x04
#define LCR_PARITY 0x08
#define LCR_DLAB   0x80

#define MCR_DTR	 0x01
#define MCR_RTS	 0x02
#define MCR_OUT1 0x04
#define MCR_OUT2 0x08
#define MCR_LOOP 0x10
#define MCR_BITS 0x1f

#define LSR_DR	 0x01
#define LSR_OE	 0x02
#define LSR_BI	 0x10
#define LSR_THRE 0x20
#define LSR_TEMT 0x40
#define LSR_FIFO 0x80 /* an error somewhere in the receiver FIFO */

#define MSR_DCTS  0x01
#define MSR_TERI  0x04
#define MSR_CTS	  0x10
#define MSR_DSR	  0x20
#define MSR_RI	  0x40
#define MSR_DCD	  0x80
#define MSR_LINES 0xf0

#define CLOCK_HZ      1843200
#define RESET_DIVISOR 0x0c /* 9600 baud, as firmware leaves it */
#define TIMEOUT_CHARS 4

static unsigned trigger_level(const struct serial *serial)
{
	static const uint8_t levels[] = {1, 4, 8, 14};

	return serial->fifo_enabled ? levels[serial->fcr_trigger >> 6] : 1;
}

static unsigned rx_capacity(const struct serial *serial)
{
	return serial->fifo_enabled ? SERIAL_FIFO_SIZE : 1;
}

/* How long one character takes on the line, in ns.  The chip's clock stands at divisor 0. */
static int64_t character_time(const struct serial *serial)
{
	int64_t divisor = serial->divisor ? serial->divisor : 0x10000;
	unsigned bits = 1 + 5 + (serial->lcr & LCR_LENGTH) + 1;

	if (serial->lcr & LCR_PARITY)
		bits++;
	if (serial->lcr & LCR_STOP)
		bits++;
	return divisor * 16 * bits * 1000000000LL / CLOCK_HZ;
}

static bool fifo_has_error(const struct serial *serial)
{
	for (unsigned i = 0; i < serial->rx_count; i++) {
		if (serial->rx[(serial->rx_head + i) % SERIAL_FIFO_SIZE].errors)
			return true;
	}
	return false;
}

static uint8_t line_status(const struct serial *serial)
{
	uint8_t lsr = serial->lsr_errors;

	if (serial->rx_count)
		lsr |= LSR_DR;
	if (serial->overrun)
		lsr |= LSR_OE;
	if (!serial->tx_count)
		lsr |= LSR_THRE | LSR_TEMT;
	if (serial->fifo_enabled && (serial->lsr_errors || fifo_has_error(serial)))
		lsr |= LSR_FIFO;
	return lsr;
}

/* The one cause of the highest priority that is both pending and enabled (8, table IV). */
static uint8_t interrupt_cause(const struct serial *serial)
{
	if ((serial->ier & IER_RLS) && (serial->overrun || serial->lsr_errors))
		return IIR_RLS;
	if ((serial->ier & IER_RDA) && serial->rx_count >= trigger_level(serial))
		return IIR_RDA;
	if ((serial->ier & IER_RDA) && serial->timeout_pending)
		return IIR_TIMEOUT;
	if ((serial->ier & IER_THRE) && serial->thre_pending)
		return IIR_THRE;
	if ((serial->ier & IER_MS) && (serial->msr & ~MSR_LINES))
		return IIR_MS;
	return IIR_NONE;
}

static void update_irq(struct serial *serial)
{
	irq_set(&serial->irq, (serial->mcr & MCR_OUT2) && interrupt_cause(serial) != IIR_NONE);
}

/* The clock of the time-out runs only while the guest could see it end. */
static void update_timeout(struct serial *serial)
{
	int64_t deadline;

	if (!serial->fifo_enabled || !serial->rx_count || !(serial->ier & IER_RDA) ||
		serial->timeout_pending) {
		vm_timer_cancel(&serial->timeout);
		return;
	}
	deadline = serial->rx_activity + TIMEOUT_CHARS * character_time(serial);
	if (deadline <= vm_clock_now(&serial->machine->clock)) {
		vm_timer_cancel(&serial->timeout);
		serial->timeout_pending = true;
	} else {
		vm_timer_arm(&serial->timeout, deadline);
	}
}

static void timeout_expired(void *opaque)
{
	struct serial *serial = opaque;

	update_timeout(serial);
	update_irq(serial);
}

/* Read or arrival: the time-out starts anew. */
static void rx_touched(struct serial *serial)
{
	serial->rx_activity = vm_clock_now(&serial->machine->clock);
	serial->timeout_pending = false;
	update_timeout(serial);
}

/* Errors show in LSR when their character comes to the top of the FIFO. */
static void rx_reveal_top(struct serial *serial)
{
	if (serial->rx_count) {
		serial->lsr_errors |= serial->rx[serial->rx_head].errors;
		serial->rx[serial->rx_head].errors = 0;
	}
}

static void rx_push(struct serial *serial, uint8_t data, uint8_t errors)
{
	unsigned at;

	if (serial->rx_count == rx_capacity(serial)) {
		serial->overrun = true;
		if (serial->fifo_enabled)
			return;	      /* the FIFO keeps what it has, the new one is lost */
		serial->rx_count = 0; /* without FIFO the old one is lost */
	}
	at = (serial->rx_head + serial->rx_count) % SERIAL_FIFO_SIZE;
	serial->rx[at] = (struct serial_char){.data = data, .errors = errors};
	if (serial->rx_count++ == 0)
		rx_reveal_top(serial);
	rx_touched(serial);
}

static void rx_clear(struct serial *serial)
{
	serial->rx_head = 0;
	serial->rx_count = 0;
	serial->timeout_pending = false;
	vm_timer_cancel(&serial->timeout);
}

static void tx_empty(struct serial *serial)
{
	serial->tx_head = 0;
	serial->tx_count = 0;
	serial->tx_blocked = false;
	serial->thre_pending = true;
}

/* Hands on what waits; what the character device does not take stays. */
static void tx_drain(struct serial *serial)
{
	while (serial->tx_count) {
		unsigned run = SERIAL_FIFO_SIZE - serial->tx_head;
		size_t taken;

		if (run > serial->tx_count)
			run = serial->tx_count;
		taken = serial->chr ? chardev_write(serial->chr, serial->tx + serial->tx_head, run)
				    : run;
		machine_note_output(serial->machine, serial->tx + serial->tx_head, taken);
		serial->tx_head = (serial->tx_head + taken) % SERIAL_FIFO_SIZE;
		serial->tx_count -= taken;
		if (taken < run) {
			serial->tx_blocked = true;
			return;
		}
	}
	tx_empty(serial);
}

static void write_thr(struct serial *serial, uint8_t value)
{
	/* The output goes low in between, so that an edge-triggered line sees each character. */
	serial->thre_pending = false;
	update_irq(serial);

	if (serial->mcr & MCR_LOOP) {
		rx_push(serial, value, 0);
		if (!serial->tx_count)
			tx_empty(serial);
	} else {
		unsigned capacity = serial->fifo_enabled ? SERIAL_FIFO_SIZE : 1;
		unsigned at;

		if (serial->tx_count == capacity)
			serial->tx_count--; /* the guest did not wait for THRE: overwritten */
		at = (serial->tx_head + serial->tx_count++) % SERIAL_FIFO_SIZE;
		serial->tx[at] = value;
		if (!serial->tx_blocked)
			tx_drain(serial);
	}
	update_irq(serial);
}

static void write_ier(struct serial *serial, uint8_t value)
{
	uint8_t risen = value & ~serial->ier;

	serial->ier = value & IER_BITS;
	/* Enabling THRE while the transmitter is empty interrupts at once (8.6.5, note). */
	if ((risen & IER_THRE) && !serial->tx_count)
		serial->thre_pending = true;
	update_timeout(serial);
	update_irq(serial);
}

static void write_fcr(struct serial *serial, uint8_t value)
{
	bool enable = value & FCR_ENABLE;

	/* Changing the mode empties both FIFOs; other bits need bit 0 set to be programmed. */
	if (enable != serial->fifo_enabled)
		value |= FCR_RESET_RX | FCR_RESET_TX;
	else if (!enable)
		return;

	serial->fifo_enabled = enable;
	serial->fcr_trigger = enable ? value & FCR_TRIGGER : 0;
	if (value & FCR_RESET_RX)
		rx_clear(serial);
	if ((value & FCR_RESET_TX) && serial->tx_count)
		tx_empty(serial);
	update_timeout(serial);
	update_irq(serial);
	if ((value & FCR_RESET_RX) && serial->chr)
		chardev_accept_input(serial->chr);
}

/* What the modem lines are: in loopback the chip's own outputs (8.6.4). */
static uint8_t modem_lines(const struct serial *serial)
{
	uint8_t lines = 0;

	if (!(serial->mcr & MCR_LOOP))
		return MSR_DCD | MSR_DSR | MSR_CTS; /* a peer that is always ready */
	if (serial->mcr & MCR_RTS)
		lines |= MSR_CTS;
	if (serial->mcr & MCR_DTR)
		lines |= MSR_DSR;
	if (serial->mcr & MCR_OUT1)
		lines |= MSR_RI;
	if (serial->mcr & MCR_OUT2)
		lines |= MSR_DCD;
	return lines;
}

static void update_modem(struct serial *serial)
{
	uint8_t lines = modem_lines(serial);
	uint8_t changed = (serial->msr ^ lines) & MSR_LINES;

	/* TERI is the trailing edge of RI only, the other deltas are any change. */
	if (lines & MSR_RI)
		changed &= ~MSR_RI;
	serial->msr = (serial->msr & ~MSR_LINES) | lines | changed >> 4;
}

static void write_mcr(struct serial *serial, uint8_t value)
{
	bool was_loop = serial->mcr & MCR_LOOP;

	serial->mcr = value & MCR_BITS;
	update_modem(serial);
	update_irq(serial);
	if (was_loop && !(serial->mcr & MCR_LOOP) && serial->chr)
		chardev_accept_input(serial->chr);
}

static uint8_t read_rbr(struct serial *serial)
{
	uint8_t data;

	if (!serial->rx_count)
		return serial->fifo_enabled ? 0 : serial->rx[serial->rx_head].data;
	data = serial->rx[serial->rx_head].data;
	if (serial->fifo_enabled)
		serial->rx_head = (serial->rx_head + 1) % SERIAL_FIFO_SIZE;
	serial->rx_count--;
	rx_reveal_top(serial);
	rx_touched(serial);
	update_irq(serial);
	if (serial->chr)
		chardev_accept_input(serial->chr);
	return data;
}

static uint8_t read_iir(struct serial *serial)
{
	uint8_t cause = interrupt_cause(serial);

	if (cause == IIR_THRE) {
		serial->thre_pending = false;
		update_irq(serial);
	}
	return cause | (serial->fifo_enabled ? IIR_FIFOS : 0);
}

static uint8_t read_lsr(struct serial *serial)
{
	uint8_t lsr = line_status(serial);

	serial->overrun = false;
	serial->lsr_errors = 0;
	update_irq(serial);
	return lsr;
}

static uint8_t read_msr(struct serial *serial)
{
	uint8_t msr = serial->msr;

	serial->msr &= MSR_LINES;
	update_irq(serial);
	return msr;
}

static uint64_t serial_read(void *opaque, uint64_t offset, unsigned size)
{
	struct serial *serial = opaque;
	bool dlab = serial->lcr & LCR_DLAB;

	switch (offset) {
	case REG_DATA: return dlab ? serial->divisor & 0xff : read_rbr(serial);
	case REG_IER: return dlab ? serial->divisor >> 8 : serial->ier;
	case REG_IIR_FCR: return read_iir(serial);
	case REG_LCR: return serial->lcr;
	case REG_MCR: return serial->mcr;
	case REG_LSR: return read_lsr(serial);
	case REG_MSR: return read_msr(serial);
	default: return serial->scr;
	}
}

static void serial_write(void *opaque, uint64_t offset, uint64_t value64, unsigned size)
{
	struct serial *serial = opaque;
	uint8_t value = value64;
	bool dlab = serial->lcr & LCR_DLAB;

	switch (offset) {
	case REG_DATA:
		if (dlab)
			serial->divisor = (serial->divisor & 0xff00) | value;
		else
			write_thr(serial, value);
		break;
	case REG_IER:
		if (dlab)
			serial->divisor = (serial->divisor & 0x00ff) | value << 8;
		else
			write_ier(serial, value);
		break;
	case REG_IIR_FCR: write_fcr(serial, value); break;
	case REG_LCR: serial->lcr = value; break;
	case REG_MCR: write_mcr(serial, value); break;
	case REG_LSR:
	case REG_MSR: log_guest_error("serial", "write of a status register ignored"); break;
	default: serial->scr = value; break;
	}
}

static const struct region_ops serial_ops = {
	.read = serial_read,
	.write = serial_write,
	.min_access = 1,
	.max_access = 1,
};

/* In loopback the receiver is cut off from the line; what comes waits on the host's side. */
static size_t can_receive(void *opaque)
{
	struct serial *serial = opaque;

	if (serial->mcr & MCR_LOOP)
		return 0;
	return rx_capacity(serial) - serial->rx_count;
}

static void receive(void *opaque, const uint8_t *data, size_t length)
{
	struct serial *serial = opaque;

	for (size_t i = 0; i < length; i++)
		rx_push(serial, data[i], 0);
	update_irq(serial);
}

static void chardev_happened(void *opaque, enum chardev_event event)
{
	struct serial *serial = opaque;

	if (event == CHARDEV_WRITABLE && serial->tx_blocked) {
		serial->tx_blocked = false;
		tx_drain(serial);
		update_irq(serial);
	} else if (event == CHARDEV_BREAK && !(serial->mcr & MCR_LOOP)) {
		rx_push(serial, 0, LSR_BI);
		update_irq(serial);
	}
}

void serial_reset(struct serial *serial)
{
	serial->divisor = RESET_DIVISOR;
	serial->ier = 0;
	serial->lcr = 0;
	serial->scr = 0;
	serial->mcr = MCR_OUT2; /* as firmware leaves it */
	serial->fifo_enabled = false;
	serial->fcr_trigger = 0;
	serial->overrun = false;
	serial->lsr_errors = 0;
	serial->rx[0] = (struct serial_char){0};
	rx_clear(serial);
	/* What was written before the reset has left the chip: it still reaches the host. */
	if (!serial->tx_count)
		tx_empty(serial);
	serial->thre_pending = false;
	serial->msr = modem_lines(serial);
	update_irq(serial);
	if (serial->chr)
		chardev_accept_input(serial->chr);
}

int serial_init(struct serial *serial, struct machine *machine, struct error *err)
{
	serial->machine = machine;
	serial->region.length = SERIAL_PORTS;
	serial->region.ops = &serial_ops;
	serial->region.opaque = serial;
	vm_timer_init(&serial->timeout, &machine->clock, timeout_expired, serial);
	serial->user = (struct chardev_user){
		.can_receive = can_receive,
		.receive = receive,
		.event = chardev_happened,
		.opaque = serial,
	};
	serial->mcr = MCR_LOOP; /* nothing is received before the first reset */
	return serial->chr ? chardev_attach(serial->chr, &serial->user, err) : 0;
}

void serial_destroy(struct serial *serial)
{
	vm_timer_cancel(&serial->timeout);
	if (serial->chr)
		chardev_detach(serial->chr, &serial->user);
}

/* --- saved state --- */

static int serial_loaded(void *opaque, unsigned version, struct error *err)
{
	struct serial *serial = opaque;
	unsigned capacity = rx_capacity(serial);

	if (serial->rx_count > capacity)
		return error_set(err, EINVAL, "rx_count: %u of %u", serial->rx_count, capacity);
	if (serial->tx_count > capacity)
		return error_set(err, EINVAL, "tx_count: %u of %u", serial->tx_count, capacity);
	update_timeout(serial);
	update_irq(serial);
	/* What waited for the old host's side goes to this one's. */
	serial->tx_blocked = false;
	if (serial->tx_count)
		tx_drain(serial);
	if (serial->chr)
		chardev_accept_input(serial->chr);
	return 0;
}

#define VM_TIME_MAX INT64_C(0x0fffffffffffffff)

static const struct state_field char_fields[] = {
	STATE_UINT(struct serial_char, data),
	STATE_UINT(struct serial_char, errors),
	STATE_END,
};

static const struct state_table char_table = {.name = "char", .version = 1, .fields = char_fields};

static const struct state_field serial_fields[] = {
	STATE_UINT(struct serial, divisor),
	STATE_UINT(struct serial, ier, .max = IER_BITS),
	STATE_UINT(struct serial, lcr),
	STATE_UINT(struct serial, mcr, .max = MCR_BITS),
	STATE_UINT(struct serial, scr),
	STATE_UINT(struct serial, msr),
	STATE_BOOL(struct serial, fifo_enabled),
	STATE_UINT(struct serial, fcr_trigger),
	STATE_BOOL(struct serial, overrun),
	STATE_UINT(struct serial, lsr_errors),
	STATE_BOOL(struct serial, thre_pending),
	STATE_BOOL(struct serial, timeout_pending),
	STATE_PARTS(struct serial, rx, char_table),
	STATE_UINT(struct serial, rx_head, .max = SERIAL_FIFO_SIZE - 1),
	STATE_UINT(struct serial, rx_count, .max = SERIAL_FIFO_SIZE),
	STATE_UINTS(struct serial, tx),
	STATE_UINT(struct serial, tx_head, .max = SERIAL_FIFO_SIZE - 1),
	STATE_UINT(struct serial, tx_count, .max = SERIAL_FIFO_SIZE),
	STATE_UINT(struct serial, rx_activity, .max = VM_TIME_MAX),
	STATE_END,
};

const struct state_table serial_state_table = {
	.name = "serial", .version = 1, .fields = serial_fields, .post_load = serial_loaded};
