/* SPDX-License-Identifier: MIT */
/* Interrupt controllers and timer.  Lines are moved by pc-testdev: a byte at 0x2000 + GSI. */
#include "state.h"

#define LINE	 13 /* on both controllers, and nobody else's on either machine */
#define LINES	 0x2000
#define PIC1	 0x20
#define PIC2	 0xa0
#define ELCR2	 0x4d1
#define READ_ISR 0x0b
#define READ_IRR 0x0a
#define NEW_BASE 0xd0 /* of vectors */
#define PIT_2	 0x42
#define PIT_CTL	 0x43

static void line(bool level)
{
	outb(LINES + LINE, level);
}

TEST(ioapic_entries, "", "all redirection entries and the selected register stay", CTL)
{
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
		ioapic_route(pin, 0x40 + pin, IOAPIC_MASK | (pin & 1 ? IOAPIC_LEVEL : 0));
	cut();
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
		EXPECT_EQ(ioapic_entry_low(pin) & 0x1a0ff,
			(0x40 + pin) | IOAPIC_MASK | (pin & 1 ? IOAPIC_LEVEL : 0));
}

static bool saved, remote, serves;
static volatile uint32_t again;

static void save_in_level(unsigned vector)
{
	if (++again > 1) {
		serves = serves && lapic_in_service(vector);
		line(false);
		lapic_eoi();
		return;
	}
	serves = lapic_in_service(vector);
	saved = ctl_save();
	serves = serves && lapic_in_service(vector);
	remote = ioapic_entry_low(LINE) & IOAPIC_REMOTE_IRR;
	lapic_eoi();
}

TEST(level_repeats, "", "a line that is held up interrupts again after the end of its interrupt",
	CTL)
{
	unsigned vector = irq_vector();

	again = 0;
	remote = false;
	irq_handler(vector, save_in_level);
	ioapic_route(LINE, vector, IOAPIC_LEVEL);
	line(true);
	WAIT_UNTIL(again >= 1 || saved, 10 * SOON_US);
	if (!again)
		SKIP("no line to move: pc-testdev is not there");
	WAIT_UNTIL(again == 2, SOON_US);
	line(false);
	if (!saved)
		SKIP("the VMM does not save: %s", ctl_reason());
	if (!serves)
		SKIP("the local APIC has no in-service register");
	EXPECT_TRUE(remote);
	EXPECT_EQ(again, 2);
	delay_us(1000);
	EXPECT_EQ(again, 2);
}

TEST(masked_level, "", "a line that was up while its pin was masked interrupts when it is unmasked",
	CTL)
{
	unsigned vector = irq_vector();

	ioapic_route(LINE, vector, IOAPIC_LEVEL | IOAPIC_MASK);
	irq_handler(vector, NULL);
	line(true);
	cut();
	EXPECT_EQ(irq_count(vector), 0);
	again = 1; /* the handler lowers the line at once */
	irq_handler(vector, save_in_level);
	ioapic_route(LINE, vector, IOAPIC_LEVEL);
	EXPECT_TRUE(WAIT_UNTIL(again == 2, SOON_US));
	line(false);
}

static uint8_t pic_register(uint16_t port, uint8_t which)
{
	outb(port, which);
	return inb(port);
}

TEST(pic_request_waits, "", "a request that waits for its mask is delivered when it is unmasked",
	CTL)
{
	uint32_t before = irq_count(IRQ_PIC_BASE + LINE);

	pic_remap();
	pic_to_cpu(true);
	line(false);
	line(true);
	EXPECT_EQ(pic_register(PIC2, READ_IRR), 1 << (LINE - 8));
	cut();
	EXPECT_EQ(pic_register(PIC2, READ_IRR), 1 << (LINE - 8));
	irq_handler(IRQ_PIC_BASE + LINE, NULL);
	pic_set_mask((uint16_t) ~(1 << LINE | 1 << 2));
	EXPECT_TRUE(WAIT_UNTIL(irq_count(IRQ_PIC_BASE + LINE) == before + 1, SOON_US));
	line(false);
}

static uint8_t isr_inside[2];

static void save_in_pic(unsigned vector)
{
	saved = ctl_save();
	isr_inside[0] = pic_register(PIC1, READ_ISR);
	isr_inside[1] = pic_register(PIC2, READ_ISR);
	pic_eoi(LINE);
}

TEST(pic_in_service, "", "interrupts in service of both 8259s stay so until their end", CTL)
{
	unsigned vector = IRQ_PIC_BASE + LINE;
	uint32_t before = irq_count(vector);

	saved = false;
	pic_remap();
	pic_to_cpu(true);
	irq_handler(vector, save_in_pic);
	pic_set_mask((uint16_t) ~(1 << LINE | 1 << 2));
	line(false);
	line(true);
	WAIT_UNTIL(irq_count(vector) == before + 1, 10 * SOON_US);
	line(false);
	if (!saved)
		SKIP("the VMM does not save: %s", ctl_reason());
	EXPECT_EQ(isr_inside[0], 1 << 2);
	EXPECT_EQ(isr_inside[1], 1 << (LINE - 8));
	EXPECT_EQ(pic_register(PIC1, READ_ISR), 0);
	EXPECT_EQ(pic_register(PIC2, READ_ISR), 0);
	line(true);
	EXPECT_TRUE(WAIT_UNTIL(irq_count(vector) == before + 2, 10 * SOON_US));
	line(false);
}

static volatile uint32_t elsewhere;

static void count_elsewhere(unsigned vector)
{
	elsewhere++;
	pic_eoi(LINE);
}

TEST(pic_half_initialised, "", "an 8259 goes on with the initialisation word that comes next", CTL)
{
	elsewhere = 0;
	pic_remap();
	pic_to_cpu(true);
	irq_handler(NEW_BASE + LINE - 8, count_elsewhere);
	line(false);
	outb(PIC2, 0x11);
	cut();
	outb(PIC2 + 1, NEW_BASE);
	outb(PIC2 + 1, 2);
	outb(PIC2 + 1, 1);
	pic_set_mask((uint16_t) ~(1 << LINE | 1 << 2));
	line(true);
	EXPECT_TRUE(WAIT_UNTIL(elsewhere == 1, SOON_US));
	line(false);
}

TEST(pic_masks, "", "masks, edge/level registers and the register selected for reading stay", CTL)
{
	pic_remap();
	outb(PIC1 + 1, 0x5a);
	outb(PIC2 + 1, 0xc3);
	outb(ELCR2, 0x0e);
	outb(PIC2, READ_ISR);
	cut();
	EXPECT_EQ(inb(PIC1 + 1), 0x5a);
	EXPECT_EQ(inb(PIC2 + 1), 0xc3);
	EXPECT_EQ(inb(ELCR2), 0x0e);
	outb(ELCR2, 0);
	outb(PIC1 + 1, 0xff);
	outb(PIC2 + 1, 0xff);
}

static unsigned pit_read(void)
{
	unsigned low;

	outb(PIT_CTL, 0x80); /* latch counter 2 */
	low = inb(PIT_2);
	return low | inb(PIT_2) << 8;
}

#define PIT NEEDS("ctl pit")

/* The runtime measures the TSC with counter 2, on first use. A count that an earlier TEST latched
 * is read away: KVM keeps it beyond the next control word. */
static void take_counter(void)
{
	tsc_per_us();
	outb(PIT_CTL, 0xb4);
	pit_read();
}

TEST(pit_goes_on, "", "a counter keeps its mode and its reload value, and counts", PIT)
{
	unsigned most = 0, first, changes = 0, last;
	uint64_t end;

	take_counter();
	outb(0x61, 1);	     /* the gate */
	outb(PIT_CTL, 0xb4); /* counter 2, both bytes, mode 2 */
	outb(PIT_2, 0x00);
	outb(PIT_2, 0x10);
	cut();
	outb(PIT_CTL, 0xe8); /* status of counter 2 */
	EXPECT_EQ(inb(PIT_2) & 0x3f, 0x34);
	first = last = pit_read();
	end = time_after_us(30000); /* several periods */
	while (!time_passed(end)) {
		unsigned now = pit_read();

		most = now > most ? now : most;
		changes += now != last;
		last = now;
	}
	EXPECT_GT(changes, 10);
	EXPECT_LE(first, 0x1000);
	EXPECT_LE(most, 0x1000);
	EXPECT_GT(most, 0x800);
	outb(0x61, 0);
}

TEST(pit_half_a_count, "", "the low byte of a count that was written waits for the high byte", PIT)
{
	unsigned value;

	take_counter();
	outb(0x61, 0);	     /* stands */
	outb(PIT_CTL, 0xb0); /* mode 0 */
	outb(PIT_2, 0x34);
	cut();
	outb(PIT_2, 0x12);
	/* Some counters do not heed the gate. */
	value = pit_read();
	if (value > 0x1234)
		SKIP("the counter does not heed its gate, and has run on");
	EXPECT_LE(value, 0x1234);
	EXPECT_GT(value, 0x1000);
}

TEST(pit_latched, "", "a latched count is what is read, however long it took", PIT)
{
	unsigned value;

	take_counter();
	outb(0x61, 1);
	outb(PIT_CTL, 0xb4);
	outb(PIT_2, 0xff);
	outb(PIT_2, 0xff);
	outb(PIT_CTL, 0x80);
	value = inb(PIT_2); /* and the high byte stays for the next process */
	cut();
	value |= inb(PIT_2) << 8;
	outb(PIT_CTL, 0xb0); /* a new control word forgets */
	EXPECT_GT(value, 0x8000);
	outb(0x61, 0);
}
