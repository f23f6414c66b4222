/* SPDX-License-Identifier: MIT */
/*
 * Kernel i8042: the keyboard controller's own commands (IBM PS/2 Hardware Interface Technical
 * Reference).  No TEST speaks to a keyboard or a mouse, so it does not matter whether there is one,
 * but for those that say so.
 */
#include "runtime/ctl.h"
#include "runtime/irq.h"
#include "runtime/test.h"
#include "runtime/time.h"

#define DATA	0x60
#define STATUS	0x64
#define FULL	0x01
#define BUSY	0x02
#define SYSTEM	0x04
#define COMMAND 0x08
#define AUX	0x20
#define TIMEOUT 0x40

#define BYTE_IRQ1    0x01
#define BYTE_IRQ12   0x02
#define BYTE_KBD_OFF 0x10
#define BYTE_AUX_OFF 0x20
#define A20	     0x02
#define NOT_RESET    0x01

#define PATIENCE 100000 /* us for an answer of the controller */
#define QUIET	 20000	/* us in which nothing may come */
#define PC	 NEEDS("pci")

static void send(uint8_t value)
{
	ASSERT_TRUE(WAIT_UNTIL(!(inb(STATUS) & BUSY), PATIENCE));
	outb(STATUS, value);
}

static void send_data(uint8_t value)
{
	ASSERT_TRUE(WAIT_UNTIL(!(inb(STATUS) & BUSY), PATIENCE));
	outb(DATA, value);
}

static uint8_t take(void)
{
	ASSERT_TRUE(WAIT_UNTIL(inb(STATUS) & FULL, PATIENCE));
	return inb(DATA);
}

static uint8_t ask(uint8_t command)
{
	send(command);
	return take();
}

static void set_byte(uint8_t byte)
{
	send(0x60);
	send_data(byte);
}

/* Quiet: devices off, no interrupts, the buffer empty. */
static void ready(void)
{
	send(0xad);
	send(0xa7);
	while (inb(STATUS) & FULL)
		inb(DATA);
	set_byte(SYSTEM | BYTE_KBD_OFF | BYTE_AUX_OFF);
}

TEST(self_test, "", "command AAh answers 55h and sets the system flag", PC)
{
	ready();
	EXPECT_EQ(ask(0xaa), 0x55);
	EXPECT_TRUE(inb(STATUS) & SYSTEM);
}

TEST(command_byte_reads_back, "", "what command 60h writes command 20h reads", PC)
{
	ready();
	set_byte(SYSTEM | BYTE_KBD_OFF | BYTE_AUX_OFF | BYTE_IRQ12);
	EXPECT_EQ(ask(0x20), SYSTEM | BYTE_KBD_OFF | BYTE_AUX_OFF | BYTE_IRQ12);
	set_byte(SYSTEM | BYTE_KBD_OFF | BYTE_AUX_OFF);
	EXPECT_EQ(ask(0x20), SYSTEM | BYTE_KBD_OFF | BYTE_AUX_OFF);
}

TEST(ports_are_switched, "",
	"commands ADh, AEh and A7h, A8h set and clear the disable bits of the command byte", PC)
{
	ready();
	send(0xae);
	EXPECT_EQ(ask(0x20) & (BYTE_KBD_OFF | BYTE_AUX_OFF), BYTE_AUX_OFF);
	send(0xa8);
	EXPECT_EQ(ask(0x20) & (BYTE_KBD_OFF | BYTE_AUX_OFF), 0);
	send(0xad);
	EXPECT_EQ(ask(0x20) & (BYTE_KBD_OFF | BYTE_AUX_OFF), BYTE_KBD_OFF);
	send(0xa7);
	EXPECT_EQ(ask(0x20) & (BYTE_KBD_OFF | BYTE_AUX_OFF), BYTE_KBD_OFF | BYTE_AUX_OFF);
}

TEST(interface_tests, "", "the tests of both interfaces, A9h and ABh, answer 00h", PC)
{
	ready();
	EXPECT_EQ(ask(0xa9), 0);
	EXPECT_EQ(ask(0xab), 0);
}

TEST(output_buffer_is_taken_once, "",
	"the full bit is set with an answer and clear when it was read", PC)
{
	ready();
	EXPECT_FALSE(inb(STATUS) & FULL);
	send(0xaa);
	ASSERT_TRUE(WAIT_UNTIL(inb(STATUS) & FULL, PATIENCE));
	EXPECT_EQ(inb(DATA), 0x55);
	EXPECT_FALSE(inb(STATUS) & FULL);
}

TEST(command_bit_of_the_status, "", "the status says whether a command or data was written last",
	PC)
{
	ready();
	send(0x60);
	EXPECT_TRUE(inb(STATUS) & COMMAND);
	send_data(SYSTEM | BYTE_KBD_OFF | BYTE_AUX_OFF);
	EXPECT_FALSE(inb(STATUS) & COMMAND);
}

TEST(gate_of_a20, "", "the A20 bit that D1h writes to the output port D0h reads", PC)
{
	ready();
	send(0xd1);
	send_data(NOT_RESET | A20);
	EXPECT_EQ(ask(0xd0) & (NOT_RESET | A20), NOT_RESET | A20);
}

TEST(byte_as_from_the_keyboard, "", "D2h puts its byte into the output buffer, as a key's", PC)
{
	ready();
	send(0xd2);
	send_data(0x5a);
	ASSERT_TRUE(WAIT_UNTIL(inb(STATUS) & FULL, PATIENCE));
	EXPECT_FALSE(inb(STATUS) & AUX);
	EXPECT_EQ(inb(DATA), 0x5a);
}

TEST(byte_as_from_the_mouse, "", "D3h does the same with the auxiliary bit of the status", PC)
{
	ready();
	send(0xd3);
	send_data(0xa5);
	ASSERT_TRUE(WAIT_UNTIL(inb(STATUS) & FULL, PATIENCE));
	EXPECT_TRUE(inb(STATUS) & AUX);
	EXPECT_EQ(inb(DATA), 0xa5);
}

/* A byte by `command` with the interrupt enabled by `bit` on ISA line `irq`. */
static void interrupts(uint8_t command, uint8_t bit, unsigned irq)
{
	unsigned pin = ioapic_isa_pin(irq), vector = irq_vector();

	ready();
	ioapic_route(pin, vector, IOAPIC_EDGE);
	send(command);
	send_data(0x11);
	EXPECT_FALSE(WAIT_UNTIL(irq_count(vector), QUIET));
	EXPECT_EQ(take(), 0x11);
	set_byte(SYSTEM | bit); /* with both interfaces on */
	send(command);
	send_data(0x22);
	EXPECT_TRUE(WAIT_UNTIL(irq_count(vector), PATIENCE));
	EXPECT_EQ(take(), 0x22);
	EXPECT_EQ(irq_count(vector), 1);
	ioapic_mask(pin);
	set_byte(SYSTEM | BYTE_KBD_OFF | BYTE_AUX_OFF);
}

TEST(interrupt_1, "", "a full buffer raises IRQ 1, if the command byte enables it", PC)
{
	interrupts(0xd2, BYTE_IRQ1, 1);
}

TEST(interrupt_12, "", "an auxiliary byte raises IRQ 12, if the command byte enables it", PC)
{
	interrupts(0xd3, BYTE_IRQ12, 12);
}

TEST(nothing_attached, "",
	"a byte for a device that is not there is answered with FEh and the time-out bit", PC)
{
	uint8_t status;

	ready();
	send_data(0xf2);
	ASSERT_TRUE(WAIT_UNTIL(inb(STATUS) & FULL, PATIENCE));
	status = inb(STATUS);
	if (!(status & TIMEOUT) && inb(DATA) == 0xfa) {
		while (WAIT_UNTIL(inb(STATUS) & FULL, QUIET))
			inb(DATA);
		ready();
		SKIP("there is a keyboard");
	}
	EXPECT_TRUE(status & TIMEOUT);
	EXPECT_FALSE(status & AUX);
	EXPECT_EQ(inb(DATA), 0xfe);
	EXPECT_FALSE(inb(STATUS) & TIMEOUT);
	send(0xd4);
	send_data(0xf2);
	ASSERT_TRUE(WAIT_UNTIL(inb(STATUS) & FULL, PATIENCE));
	EXPECT_EQ(inb(STATUS) & (AUX | TIMEOUT), AUX | TIMEOUT);
	EXPECT_EQ(inb(DATA), 0xfe);
	ready();
}

TEST(reset_by_output_port, "", "clearing bit 0 of the output port resets the machine",
	NEEDS("pci ctl"))
{
	ready();
	if (!ctl_request("ends", "reset"))
		ERROR("the host does not take it: %s", ctl_reason());
	send(0xd1);
	send_data(A20);
	WAIT_UNTIL(false, 5000000);
	FAIL("the machine runs on");
}
