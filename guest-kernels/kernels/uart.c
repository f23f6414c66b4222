/* SPDX-License-Identifier: MIT */
/*
 * UART 16550A (National Semiconductor PC16550D datasheet, section 8) on COM2, mostly in loopback,
 * where the receiver hears the transmitter and nothing reaches a line.  COM1 carries the report and
 * is left alone.
 */
#include "runtime/io.h"
#include "runtime/irq.h"
#include "runtime/test.h"
#include "runtime/time.h"

#define COM2	 0x2f8
#define COM2_IRQ 3

enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCR, FCR = IIR };

#define IER_DATA  0x01
#define IER_THRE  0x02
#define IER_LINE  0x04
#define IER_MODEM 0x08

#define IIR_NONE    0x01
#define IIR_MODEM   0x00
#define IIR_THRE    0x02
#define IIR_DATA    0x04
#define IIR_LINE    0x06
#define IIR_TIMEOUT 0x0c

#define FCR_ENABLE   0x01
#define FCR_CLEAR_RX 0x02
#define FCR_CLEAR_TX 0x04

#define MCR_DTR	 0x01
#define MCR_RTS	 0x02
#define MCR_OUT1 0x04
#define MCR_OUT2 0x08
#define MCR_LOOP 0x10

#define LSR_DATA    0x01
#define LSR_OVERRUN 0x02
#define LSR_IDLE    0x60 /* THRE and TEMT */

#define DIVISOR_115200 1
#define DIVISOR_9600   12
#define DIVISOR_1200   96

static uint8_t get(unsigned reg)
{
	return inb(COM2 + reg);
}

static void put(unsigned reg, uint8_t value)
{
	outb(COM2 + reg, value);
}

static void set_divisor(uint16_t divisor)
{
	put(LCR, 0x83);
	put(DATA, divisor & 0xff);
	put(IER, divisor >> 8);
	put(LCR, 0x03);
}

/* As after a reset: no interrupts, no FIFOs, nothing received, no delta, 9600 baud, 8 bits. */
static void uart_reset(void *opaque)
{
	(void)opaque;
	set_divisor(DIVISOR_9600);
	put(IER, 0);
	put(MCR, 0);
	put(FCR, FCR_ENABLE | FCR_CLEAR_RX | FCR_CLEAR_TX);
	put(FCR, 0);
	get(DATA);
	get(LSR);
	get(IIR);
	get(MSR);
}

/* Every TEST begins with it: is there a UART on COM2, and is it as after a reset? */
static void uart(void)
{
	put(SCR, 0x5a);
	if (get(SCR) != 0x5a)
		SKIP("there is no UART on COM2");
	uart_reset(NULL);
}

/* A vector that counts COM2's interrupts; the gate that OUT2 is on a PC is opened. */
static unsigned uart_vector(uint8_t mcr)
{
	unsigned vector = irq_vector();

	ioapic_route(ioapic_isa_pin(COM2_IRQ), vector, IOAPIC_EDGE);
	put(MCR, mcr | MCR_OUT2);
	return vector;
}

static void send(uint8_t first, unsigned count)
{
	while (count--)
		put(DATA, first++);
}

TEST(scratch_holds_all_values, "",
	"the scratch register holds each of 256 values and touches nothing else (8.6.8)",
	NEEDS("uart2"))
{
	uart();
	for (unsigned value = 0; value < 256; value++) {
		put(SCR, value);
		ASSERT_EQ(get(SCR), value);
	}
	EXPECT_EQ(get(LCR), 0x03);
	EXPECT_EQ(get(IER), 0);
}

TEST(lcr_reads_back, "", "the line control register reads back each of 256 values (8.6.1)",
	NEEDS("uart2"))
{
	uart();
	for (unsigned value = 0; value < 256; value++) {
		put(LCR, value);
		ASSERT_EQ(get(LCR), value);
	}
	put(LCR, 0x03);
}

TEST(divisor_is_not_ier, "",
	"the divisor latch reads back with DLAB set and leaves IER as it was (8.6.2)",
	NEEDS("uart2"))
{
	uart();
	put(IER, IER_LINE);
	put(LCR, 0x83);
	put(DATA, 0x5a);
	put(IER, 0xc3);
	EXPECT_EQ(get(DATA), 0x5a);
	EXPECT_EQ(get(IER), 0xc3);
	put(LCR, 0x03);
	EXPECT_EQ(get(IER), IER_LINE);
	put(LCR, 0x83);
	EXPECT_EQ(get(DATA), 0x5a);
	EXPECT_EQ(get(IER), 0xc3);
}

TEST(dlab_hides_the_transmitter, "", "a write of the divisor sends nothing (8.6.2)", NEEDS("uart2"))
{
	uart();
	put(MCR, MCR_LOOP);
	put(LCR, 0x83);
	put(DATA, 0x41);
	put(LCR, 0x03);
	EXPECT_EQ(get(LSR) & LSR_DATA, 0);
	put(DATA, 0x42);
	EXPECT_EQ(get(LSR) & LSR_DATA, LSR_DATA);
	EXPECT_EQ(get(DATA), 0x42);
}

TEST(iir_shows_fifo_mode, "", "IIR of an idle UART is 01h without FIFOs and C1h with them (8.6.5)",
	NEEDS("uart2"))
{
	uart();
	EXPECT_EQ(get(IIR), 0x01);
	put(FCR, FCR_ENABLE);
	EXPECT_EQ(get(IIR), 0xc1);
	put(FCR, 0);
	EXPECT_EQ(get(IIR), 0x01);
}

TEST(reserved_bits_read_zero, "",
	"IER has bits 3 to 0 and MCR bits 4 to 0; the others read 0 (8.6.6, 8.6.7)", NEEDS("uart2"))
{
	uart();
	put(IER, 0xff);
	EXPECT_EQ(get(IER), 0x0f);
	put(IER, 0);
	put(MCR, 0xff);
	EXPECT_EQ(get(MCR), 0x1f);
}

TEST(lsr_of_idle_uart, "", "an idle UART shows THRE and TEMT and nothing else (8.6.3)",
	NEEDS("uart2"))
{
	uart();
	EXPECT_EQ(get(LSR), LSR_IDLE);
	EXPECT_EQ(get(LSR), LSR_IDLE);
}

TEST(thre_interrupts_when_enabled, "",
	"enabling the THRE interrupt while the transmitter is empty interrupts at once",
	NEEDS("uart2"))
{
	unsigned vector;

	uart();
	vector = uart_vector(0);
	put(IER, IER_THRE);
	EXPECT_TRUE(WAIT_UNTIL(irq_count(vector) == 1, SOON_US));
	EXPECT_EQ(get(IIR), IIR_THRE);
	put(IER, 0);
	put(IER, IER_THRE);
	EXPECT_TRUE(WAIT_UNTIL(irq_count(vector) == 2, SOON_US));
}

TEST(iir_read_clears_thre, "",
	"reading IIR while it shows THRE clears that cause (8.6.5, table IV)", NEEDS("uart2"))
{
	uart();
	put(IER, IER_THRE);
	EXPECT_EQ(get(IIR), IIR_THRE);
	EXPECT_EQ(get(IIR), IIR_NONE);
	EXPECT_EQ(get(LSR), LSR_IDLE);
}

TEST(thre_interrupts_after_sending, "",
	"each character that leaves raises THRE anew, as an edge of the line", NEEDS("uart2"))
{
	unsigned vector;

	uart();
	vector = uart_vector(MCR_LOOP);
	put(IER, IER_THRE);
	EXPECT_TRUE(WAIT_UNTIL(irq_count(vector) == 1, SOON_US));
	get(IIR);
	put(DATA, 0x41);
	EXPECT_TRUE(WAIT_UNTIL(irq_count(vector) == 2, SOON_US));
	EXPECT_EQ(get(IIR), IIR_THRE);
	get(DATA);
	put(DATA, 0x42);
	EXPECT_TRUE(WAIT_UNTIL(irq_count(vector) == 3, SOON_US));
}

TEST(data_outranks_thre, "",
	"with data and THRE pending IIR shows data, and THRE is still pending afterwards",
	NEEDS("uart2"))
{
	uart();
	put(MCR, MCR_LOOP);
	put(DATA, 0x41);
	ASSERT_TRUE(WAIT_UNTIL(get(LSR) & LSR_DATA, SOON_US));
	put(IER, IER_DATA | IER_THRE);
	EXPECT_EQ(get(IIR), IIR_DATA);
	EXPECT_EQ(get(IIR), IIR_DATA);
	EXPECT_EQ(get(DATA), 0x41);
	EXPECT_EQ(get(IIR), IIR_THRE);
	EXPECT_EQ(get(IIR), IIR_NONE);
}

TEST(causes_in_order, "",
	"of line status, data, THRE and modem status IIR shows one at a time, in that order (table "
	"IV)",
	NEEDS("uart2"))
{
	uart();
	put(MCR, MCR_LOOP);
	send(0x41, 2);
	put(MCR, MCR_LOOP | MCR_RTS);
	put(IER, IER_LINE | IER_DATA | IER_THRE | IER_MODEM);
	EXPECT_EQ(get(IIR), IIR_LINE);
	EXPECT_EQ(get(LSR), LSR_IDLE | LSR_DATA | LSR_OVERRUN);
	EXPECT_EQ(get(IIR), IIR_DATA);
	get(DATA);
	EXPECT_EQ(get(IIR), IIR_THRE);
	EXPECT_EQ(get(IIR), IIR_MODEM);
	get(MSR);
	EXPECT_EQ(get(IIR), IIR_NONE);
}

TEST(unmasking_raises_waiting_data, "",
	"data that came while its interrupt was disabled interrupts when it is enabled",
	NEEDS("uart2"))
{
	unsigned vector;

	uart();
	vector = uart_vector(MCR_LOOP);
	put(DATA, 0x41);
	ASSERT_TRUE(WAIT_UNTIL(get(LSR) & LSR_DATA, SOON_US));
	EXPECT_EQ(irq_count(vector), 0);
	EXPECT_EQ(get(IIR), IIR_NONE);
	put(IER, IER_DATA);
	EXPECT_TRUE(WAIT_UNTIL(irq_count(vector) == 1, SOON_US));
	EXPECT_EQ(get(IIR), IIR_DATA);
}

TEST(served_data_falls_silent, "",
	"after the data is read the line is low, and the next character is a new edge",
	NEEDS("uart2"))
{
	unsigned vector;

	uart();
	vector = uart_vector(MCR_LOOP);
	put(IER, IER_DATA);
	put(DATA, 0x41);
	EXPECT_TRUE(WAIT_UNTIL(irq_count(vector) == 1, SOON_US));
	EXPECT_EQ(get(DATA), 0x41);
	EXPECT_EQ(get(IIR), IIR_NONE);
	put(DATA, 0x42);
	EXPECT_TRUE(WAIT_UNTIL(irq_count(vector) == 2, SOON_US));
	delay_us(2000);
	EXPECT_EQ(irq_count(vector), 2);
}

TEST(loopback_returns_each_value, "",
	"in loopback each of 256 values that is sent is received (8.6.7)", NEEDS("uart2"))
{
	uart();
	set_divisor(DIVISOR_115200);
	put(MCR, MCR_LOOP);
	for (unsigned value = 0; value < 256; value++) {
		put(DATA, value);
		ASSERT_TRUE(WAIT_UNTIL(get(LSR) & LSR_DATA, SOON_US));
		ASSERT_EQ(get(DATA), value);
	}
}

TEST(loopback_modem_lines, "",
	"in loopback RTS, DTR, OUT1 and OUT2 are CTS, DSR, RI and DCD (8.6.7)", NEEDS("uart2"))
{
	static const struct {
		uint8_t mcr, msr;
	} lines[] = {{MCR_RTS, 0x10}, {MCR_DTR, 0x20}, {MCR_OUT1, 0x40}, {MCR_OUT2, 0x80}};

	uart();
	for (unsigned i = 0; i < 4; i++) {
		put(MCR, MCR_LOOP | lines[i].mcr);
		EXPECT_EQ(get(MSR) & 0xf0, lines[i].msr);
	}
	put(MCR, MCR_LOOP);
	EXPECT_EQ(get(MSR) & 0xf0, 0);
}

TEST(modem_deltas, "",
	"a line that changed sets its delta until MSR is read; for RI only its trailing edge does "
	"(8.6.8)",
	NEEDS("uart2"))
{
	uart();
	put(MCR, MCR_LOOP);
	get(MSR);
	put(MCR, MCR_LOOP | MCR_RTS);
	EXPECT_EQ(get(MSR), 0x11);
	EXPECT_EQ(get(MSR), 0x10);
	put(MCR, MCR_LOOP | MCR_DTR);
	EXPECT_EQ(get(MSR), 0x23);
	put(MCR, MCR_LOOP | MCR_OUT1);
	EXPECT_EQ(get(MSR), 0x42);
	put(MCR, MCR_LOOP | MCR_OUT2);
	EXPECT_EQ(get(MSR), 0x8c);
	EXPECT_EQ(get(MSR), 0x80);
}

TEST(modem_status_interrupts, "", "a delta interrupts if enabled, until MSR is read",
	NEEDS("uart2"))
{
	unsigned vector;

	uart();
	vector = uart_vector(MCR_LOOP);
	get(MSR);
	put(IER, IER_MODEM);
	EXPECT_EQ(get(IIR), IIR_NONE);
	put(MCR, MCR_LOOP | MCR_OUT2 | MCR_RTS);
	EXPECT_TRUE(WAIT_UNTIL(irq_count(vector) == 1, SOON_US));
	EXPECT_EQ(get(IIR), IIR_MODEM);
	get(MSR);
	EXPECT_EQ(get(IIR), IIR_NONE);
}

TEST(overrun_without_fifo, "",
	"without FIFOs a second character sets overrun and takes the place of the first (8.6.3)",
	NEEDS("uart2"))
{
	uart();
	put(MCR, MCR_LOOP);
	send(0x41, 2);
	EXPECT_EQ(get(LSR) & (LSR_DATA | LSR_OVERRUN), LSR_DATA | LSR_OVERRUN);
	EXPECT_EQ(get(LSR) & (LSR_DATA | LSR_OVERRUN), LSR_DATA);
	EXPECT_EQ(get(DATA), 0x42);
	EXPECT_EQ(get(LSR), LSR_IDLE);
}

TEST(overrun_keeps_the_fifo, "",
	"a seventeenth character sets overrun and is lost; sixteen are kept in order (8.6.3)",
	NEEDS("uart2"))
{
	uart();
	put(FCR, FCR_ENABLE);
	put(MCR, MCR_LOOP);
	send(0x20, 16);
	EXPECT_EQ(get(LSR) & LSR_OVERRUN, 0);
	send(0x99, 1);
	EXPECT_EQ(get(LSR) & LSR_OVERRUN, LSR_OVERRUN);
	EXPECT_EQ(get(LSR) & LSR_OVERRUN, 0);
	for (unsigned i = 0; i < 16; i++) {
		ASSERT_EQ(get(LSR) & LSR_DATA, LSR_DATA);
		ASSERT_EQ(get(DATA), 0x20 + i);
	}
	EXPECT_EQ(get(LSR), LSR_IDLE);
}

TEST(fifo_trigger_levels, "",
	"the data interrupt comes with the 1st, 4th, 8th or 14th character as FCR says (8.6.4)",
	NEEDS("uart2"))
{
	static const uint8_t levels[] = {1, 4, 8, 14};

	uart();
	set_divisor(0xffff); /* no time-out meanwhile */
	put(MCR, MCR_LOOP);
	put(IER, IER_DATA);
	for (unsigned i = 0; i < 4; i++) {
		put(FCR, FCR_ENABLE | FCR_CLEAR_RX | i << 6);
		send(0x30, levels[i] - 1);
		EXPECT_EQ(get(IIR), 0xc0 | IIR_NONE);
		send(0x40, 1);
		EXPECT_EQ(get(IIR), 0xc0 | IIR_DATA);
		get(DATA);
		EXPECT_EQ(get(IIR), 0xc0 | IIR_NONE);
	}
}

/* Waits for the time-out's cause; how long it took since `start`, in us. */
static uint64_t timeout_after(uint64_t start)
{
	ASSERT_TRUE(WAIT_UNTIL((get(IIR) & 0x0f) == IIR_TIMEOUT, SOON_US));
	return tsc_to_ns(rdtsc() - start) / 1000;
}

TEST(fifo_timeout, "",
	"characters below the trigger level interrupt after four character times, with cause 0Ch "
	"(8.6.5)",
	NEEDS("uart2"))
{
	uint64_t start;

	uart();
	set_divisor(DIVISOR_1200); /* four characters take 33 ms */
	put(FCR, FCR_ENABLE | 2 << 6);
	put(MCR, MCR_LOOP);
	put(IER, IER_DATA);
	start = rdtsc();
	send(0x41, 2);
	EXPECT_GE(timeout_after(start), 30000);
	start = rdtsc();
	EXPECT_EQ(get(DATA), 0x41);
	EXPECT_GE(timeout_after(start), 30000);
	EXPECT_EQ(get(DATA), 0x42);
	EXPECT_EQ(get(IIR), 0xc0 | IIR_NONE);
}

TEST(fcr_clears_the_receiver, "",
	"FCR bit 1 empties the receiver FIFO and goes back to 0 by itself (8.6.4)", NEEDS("uart2"))
{
	uart();
	put(FCR, FCR_ENABLE);
	put(MCR, MCR_LOOP);
	send(0x41, 5);
	EXPECT_EQ(get(LSR) & LSR_DATA, LSR_DATA);
	put(FCR, FCR_ENABLE | FCR_CLEAR_RX);
	EXPECT_EQ(get(LSR) & LSR_DATA, 0);
	send(0x61, 1);
	EXPECT_EQ(get(LSR) & LSR_DATA, LSR_DATA);
	EXPECT_EQ(get(DATA), 0x61);
}

TEST(fifo_toggle_empties, "", "switching the FIFOs on or off empties them (8.6.4)", NEEDS("uart2"))
{
	uart();
	put(FCR, FCR_ENABLE);
	put(MCR, MCR_LOOP);
	send(0x41, 3);
	put(FCR, 0);
	EXPECT_EQ(get(LSR) & LSR_DATA, 0);
	send(0x44, 1);
	put(FCR, FCR_ENABLE);
	EXPECT_EQ(get(LSR) & LSR_DATA, 0);
}

TEST(divisor_zero_is_survived, "", "after divisor 0 the port works again with a sane divisor",
	NEEDS("uart2"))
{
	uart();
	put(MCR, MCR_LOOP);
	set_divisor(0);
	put(DATA, 0x41);
	get(LSR);
	put(FCR, FCR_ENABLE | FCR_CLEAR_RX | FCR_CLEAR_TX);
	set_divisor(DIVISOR_115200);
	send(0x42, 1);
	ASSERT_TRUE(WAIT_UNTIL(get(LSR) & LSR_DATA, SOON_US));
	EXPECT_EQ(get(DATA), 0x42);
}

TEST(out2_gates_the_interrupt, "",
	"on a PC OUT2 gates the interrupt: none while it is 0, and what is pending comes when it "
	"is set",
	NEEDS("uart2"))
{
	unsigned vector;

	uart();
	vector = uart_vector(0);
	put(MCR, 0);
	put(IER, IER_THRE);
	delay_us(2000);
	EXPECT_EQ(irq_count(vector), 0);
	put(MCR, MCR_OUT2);
	EXPECT_TRUE(WAIT_UNTIL(irq_count(vector) == 1, SOON_US));
	EXPECT_EQ(get(IIR), IIR_THRE);
}

TEST(sending_without_loopback, "",
	"what is sent outside loopback is not received, and the transmitter is empty again",
	NEEDS("uart2"))
{
	uart();
	send(0x41, 4);
	ASSERT_TRUE(WAIT_UNTIL((get(LSR) & LSR_IDLE) == LSR_IDLE, SOON_US));
	EXPECT_EQ(get(LSR) & LSR_DATA, 0);
}
