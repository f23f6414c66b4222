/* SPDX-License-Identifier: MIT */
/*
 * Kernel timers: the two 8259As (Intel datasheet 231468) behind LINT0, and PIIX3's ELCR. IRQ 0 is
 * the 8254, IRQ 4 is COM1.
 */
#include "kernels/timers/sources.h"
#include "runtime/irq.h"
#include "runtime/test.h"
#include "runtime/time.h"

#define VECTOR(irq) (IRQ_PIC_BASE + (irq))

static uint8_t read_irr(void)
{
	outb(0x20, 0x0a);
	return inb(0x20);
}

static uint8_t read_isr(void)
{
	outb(0x20, 0x0b);
	return inb(0x20);
}

static void controllers_ready(uint16_t mask)
{
	irq_disable();
	pic_remap();
	pic_to_cpu(true);
	for (unsigned i = 0; i < 16; i++)
		irq_counts[VECTOR(i)] = 0;
	pic_set_mask(mask);
	irq_enable();
}

static void ready(uint16_t mask)
{
	sources_ready();
	controllers_ready(mask);
}

static void no_eoi(unsigned vector)
{
}

/*
 * As ready(), and the 8254 is silent for 55 ms from now on: what an earlier TEST loaded would else
 * run out sooner or later. The TEST loads it before that, and within SILENT_US.
 */
static void ready_silent(uint16_t mask)
{
	sources_ready();
	pit_load(0, 0, 0);
	controllers_ready(mask);
}

#define SILENT_US 45000

TEST(pic_mask_reads_back, "",
	"the interrupt mask register reads back what OCW1 wrote, on both chips", NEEDS("pic"))
{
	ready(0xffff);
	pic_set_mask(0xa5c3);
	EXPECT_EQ(inb(0x21), 0xc3);
	EXPECT_EQ(inb(0xa1), 0xa5);
	pic_mask_all();
	EXPECT_EQ(inb(0x21), 0xff);
}

TEST(pic_init_clears_mask, "", "ICW1 clears the mask", NEEDS("pic"))
{
	ready(0xffff);
	irq_disable();
	pic_to_cpu(false);
	outb(0x20, 0x11);
	outb(0x21, IRQ_PIC_BASE);
	outb(0x21, 4);
	outb(0x21, 1);
	EXPECT_EQ(inb(0x21), 0);
	pic_mask_all();
}

TEST(pic_vector_base, "", "an interrupt comes at ICW2's base plus its line, on both chips' bases",
	NEEDS("pic pit"))
{
	WITHIN_US (SILENT_US) {
		ready_silent(0xfffe);
		pit_load(0, 0, 100);
	}
	EXPECT_TRUE(WAIT_UNTIL(irq_count(VECTOR(0)) == 1, SOON_US));
	EXPECT_EQ(read_isr(), 0);
}

TEST(pic_masked_request_waits, "",
	"a request on a masked line shows in IRR and is delivered when it is unmasked",
	NEEDS("pic"))
{
	ready(0xffff);
	uart_line_raise();
	EXPECT_TRUE(WAIT_UNTIL(read_irr() & 0x10, SOON_US));
	EXPECT_EQ(irq_count(VECTOR(4)), 0);
	pic_set_mask(0xffef);
	EXPECT_TRUE(WAIT_UNTIL(irq_count(VECTOR(4)) == 1, SOON_US));
	EXPECT_EQ(read_irr() & 0x10, 0);
	delay_us(500);
	EXPECT_EQ(irq_count(VECTOR(4)), 1); /* edge: the line is still high */
}

TEST(pic_register_selection, "", "OCW3's choice of IRR or ISR lasts over reads", NEEDS("pic"))
{
	ready(0xffff);
	uart_line_raise();
	EXPECT_EQ(read_irr() & 0x10, 0x10);
	EXPECT_EQ(inb(0x20) & 0x10, 0x10);
	EXPECT_EQ(read_isr() & 0x10, 0);
	EXPECT_EQ(inb(0x20) & 0x10, 0);
	outb(0x20, 0x0a);
	EXPECT_EQ(inb(0x20) & 0x10, 0x10);
}

TEST(pic_in_service_until_eoi, "", "a line in service blocks itself and lower ones until its EOI",
	NEEDS("pic"))
{
	ready(0xffef);
	irq_handler(VECTOR(4), no_eoi);
	uart_line_raise();
	ASSERT_TRUE(WAIT_UNTIL(irq_count(VECTOR(4)) == 1, SOON_US));
	EXPECT_EQ(read_isr(), 0x10);
	uart_line_drop();
	uart_line_raise();
	delay_us(500);
	EXPECT_EQ(irq_count(VECTOR(4)), 1);
	outb(0x20, 0x20);
	EXPECT_TRUE(WAIT_UNTIL(irq_count(VECTOR(4)) == 2, SOON_US));
	outb(0x20, 0x20);
	EXPECT_EQ(read_isr(), 0);
}

/* Line 4 in service, without an EOI, and then line 0 requested. */
static void request_4_then_0(void)
{
	WITHIN_US (SILENT_US) {
		ready_silent(0xffee);
		irq_handler(VECTOR(4), no_eoi);
		irq_handler(VECTOR(0), no_eoi);
		uart_line_drop();
		uart_line_raise();
		ASSERT_TRUE(WAIT_UNTIL(irq_count(VECTOR(4)) == 1, SOON_US));
		pit_load(0, 0, 100);
	}
}

TEST(pic_higher_nests, "", "a higher line is served while a lower one is in service",
	NEEDS("pic pit"))
{
	request_4_then_0();
	EXPECT_TRUE(WAIT_UNTIL(irq_count(VECTOR(0)) == 1, SOON_US));
	EXPECT_EQ(read_isr(), 0x11);
	outb(0x20, 0x20); /* non-specific: the highest, line 0 */
	EXPECT_EQ(read_isr(), 0x10);
	outb(0x20, 0x20);
	EXPECT_EQ(read_isr(), 0);
}

TEST(pic_lower_waits, "", "a lower line waits while a higher one is in service", NEEDS("pic pit"))
{
	WITHIN_US (SILENT_US) {
		ready_silent(0xffee);
		irq_handler(VECTOR(0), no_eoi);
		pit_load(0, 0, 100);
	}
	ASSERT_TRUE(WAIT_UNTIL(irq_count(VECTOR(0)) == 1, SOON_US));
	uart_line_raise();
	delay_us(500);
	EXPECT_EQ(irq_count(VECTOR(4)), 0);
	outb(0x20, 0x20);
	EXPECT_TRUE(WAIT_UNTIL(irq_count(VECTOR(4)) == 1, SOON_US));
}

TEST(pic_specific_eoi, "", "a specific EOI clears the line it names and no other", NEEDS("pic pit"))
{
	request_4_then_0();
	ASSERT_TRUE(WAIT_UNTIL(irq_count(VECTOR(0)) == 1, SOON_US));
	outb(0x20, 0x64);
	EXPECT_EQ(read_isr(), 0x01);
	outb(0x20, 0x60);
	EXPECT_EQ(read_isr(), 0);
}

TEST(pic_auto_eoi, "", "with automatic EOI nothing stays in service", NEEDS("pic"))
{
	ready(0xffff);
	irq_disable();
	outb(0x20, 0x11);
	outb(0x21, IRQ_PIC_BASE);
	outb(0x21, 4);
	outb(0x21, 3); /* 8086 mode, AEOI */
	pic_set_mask(0xffef);
	irq_handler(VECTOR(4), no_eoi);
	irq_enable();
	uart_line_raise();
	ASSERT_TRUE(WAIT_UNTIL(irq_count(VECTOR(4)) == 1, SOON_US));
	EXPECT_EQ(read_isr(), 0);
	uart_line_drop();
	uart_line_raise();
	EXPECT_TRUE(WAIT_UNTIL(irq_count(VECTOR(4)) == 2, SOON_US));
}

TEST(pic_poll, "",
	"a poll gives bit 7 and the line, and takes it into service; with nothing asked, bit 7 is "
	"clear",
	NEEDS("pic"))
{
	ready(0xffff);
	pic_to_cpu(false);
	pic_set_mask(0xffef);
	outb(0x20, 0x0c);
	EXPECT_EQ(inb(0x20) & 0x80, 0);
	uart_line_raise();
	delay_us(100);
	outb(0x20, 0x0c);
	EXPECT_EQ(inb(0x20) & 0x87, 0x84);
	EXPECT_EQ(read_isr(), 0x10);
	outb(0x20, 0x20);
	EXPECT_EQ(read_isr(), 0);
}

TEST(elcr_bits, "", "ELCR keeps what is written, but IRQ 0, 1, 2, 8 and 13 stay edge", NEEDS("pic"))
{
	uint8_t first = inb(0x4d0), second = inb(0x4d1);

	outb(0x4d0, 0xff);
	outb(0x4d1, 0xff);
	EXPECT_EQ(inb(0x4d0), 0xf8);
	EXPECT_EQ(inb(0x4d1), 0xde);
	outb(0x4d0, 0);
	outb(0x4d1, 0);
	EXPECT_EQ(inb(0x4d0) | inb(0x4d1), 0);
	outb(0x4d0, first);
	outb(0x4d1, second);
}

static void until_third(unsigned vector)
{
	if (irq_count(vector) == 3)
		uart_line_drop();
	outb(0x20, 0x20);
}

TEST(elcr_level_repeats, "",
	"a line that is level by ELCR and held high interrupts again after each EOI", NEEDS("pic"))
{
	uint8_t before = inb(0x4d0);

	ready(0xffff);
	outb(0x4d0, before | 0x10);
	irq_handler(VECTOR(4), until_third);
	pic_set_mask(0xffef);
	uart_line_raise();
	EXPECT_TRUE(WAIT_UNTIL(irq_count(VECTOR(4)) == 3, SOON_US));
	delay_us(500);
	EXPECT_EQ(irq_count(VECTOR(4)), 3);
	irq_disable();
	outb(0x4d0, before);
}
