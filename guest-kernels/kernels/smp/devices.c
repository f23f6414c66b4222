/* SPDX-License-Identifier: MIT */
/*
 * Kernel smp: interrupts of devices at any processor (82093AA, 3.2.4; MSI: Intel SDM volume 3,
 * 10.11), the timer of each, and devices driven from any.
 */
#include "kernels/smp/smp.h"
#include "runtime/boot.h"
#include "runtime/memory.h"
#include "runtime/pci.h"
#include "virtio-drivers/blk.h"

#define UART_IER 0x3f9
#define UART_MCR 0x3fc
#define UART_PIN 4
#define PIT_PIN	 2

#define ENTRY_LOGICAL 0x800u
#define ENTRY_LOWEST  0x100u
#define ENTRY_NMI     0x400u

static void line_drop(void *opaque)
{
	outb(UART_IER, 0);
	outb(UART_MCR, 3);
}

/* The serial port's transmitter-empty interrupt: high until line_drop(). */
static void line_raise(void)
{
	static struct test_reset_hook hook = {.reset = line_drop};

	test_reset_hook(&hook);
	outb(UART_MCR, 3 | 8);
	outb(UART_IER, 2);
}

static void route(unsigned pin, uint32_t destination, uint32_t low)
{
	ioapic_route(pin, low & 0xff, IOAPIC_MASK);
	ioapic_write(0x11 + pin * 2, destination << 24);
	ioapic_write(0x10 + pin * 2, low);
}

static void forget_counts(void)
{
	for (unsigned i = 0; i < smp_count(); i++)
		memset((void *)smp_cpu(i)->counts, 0, sizeof(smp_cpu(i)->counts));
}

TEST(ioapic_to_each, "",
	"an I/O APIC pin interrupts the processor that its entry names, and it only",
	NEEDS("smp>=2 ioapic"))
{
	smp_start_all();
	for (unsigned i = 0; i < smp_count(); i++) {
		unsigned vector = irq_vector();

		forget_counts();
		route(UART_PIN, smp_cpu(i)->apic_id, IOAPIC_EDGE | vector);
		line_raise();
		expect_at(1u << i, vector);
		line_drop(NULL);
	}
}

static uint64_t set_logical(void *arg)
{
	lapic_write(LAPIC_DFR, 0xffffffff);
	lapic_write(LAPIC_LDR, 1u << smp_this()->index << 24);
	return 0;
}

TEST(ioapic_logical, "", "an I/O APIC entry with a logical destination interrupts all of the set",
	NEEDS("smp>=3 ioapic"))
{
	unsigned vector = irq_vector();

	smp_start_all();
	run_everywhere(set_logical, NULL);
	route(UART_PIN, 6, IOAPIC_EDGE | ENTRY_LOGICAL | vector);
	line_raise();
	expect_at(6, vector);
}

TEST(ioapic_lowest_priority, "",
	"an I/O APIC entry of lowest priority interrupts one processor of the set",
	NEEDS("smp>=3 ioapic"))
{
	unsigned vector = irq_vector();

	smp_start_all();
	run_everywhere(set_logical, NULL);
	route(UART_PIN, 6, IOAPIC_EDGE | ENTRY_LOGICAL | ENTRY_LOWEST | vector);
	for (uint32_t i = 1; i <= 4; i++) {
		line_raise();
		EXPECT_TRUE(WAIT_UNTIL(smp_irqs(1, vector) + smp_irqs(2, vector) >= i, SOON_US));
		line_drop(NULL);
		delay_us(100);
	}
	expect_in_all(6, vector, 4);
}

TEST(ioapic_nmi, "", "an I/O APIC entry of delivery mode NMI makes one at the processor it names",
	NEEDS("smp>=2 ioapic"))
{
	smp_start_all();
	route(UART_PIN, smp_cpu(1)->apic_id, IOAPIC_EDGE | ENTRY_NMI);
	line_raise();
	EXPECT_TRUE(WAIT_UNTIL(smp_cpu(1)->nmis, SOON_US));
	delay_us(300);
	for (unsigned i = 0; i < smp_count(); i++)
		EXPECT_EQ(smp_cpu(i)->nmis, i == 1);
}

TEST(pit_to_another, "",
	"the 8254 interrupts another processor than the first, which does not hear it",
	NEEDS("smp>=2 ioapic pit"))
{
	unsigned vector = irq_vector();

	smp_start_all();
	route(PIT_PIN, smp_cpu(1)->apic_id, IOAPIC_EDGE | vector);
	outb(0x43, 0x34); /* counter 0, rate generator */
	outb(0x40, 2387 & 0xff);
	outb(0x40, 2387 >> 8);
	EXPECT_TRUE(WAIT_UNTIL(smp_irqs(1, vector) >= 5, SOON_US));
	outb(0x43, 0x30); /* mode 0 without a count: silent */
	ioapic_mask(PIT_PIN);
	for (unsigned i = 0; i < smp_count(); i++)
		if (i != 1)
			EXPECT_EQ(smp_irq_total(i), 0);
}

static uint64_t start_timer(void *arg)
{
	lapic_write(LAPIC_TIMER_DIVIDE, 0xb);
	lapic_write(LAPIC_LVT_TIMER, (uint32_t)(uint64_t)arg);
	lapic_write(LAPIC_TIMER_INITIAL, 100000 + 1000 * smp_this()->index);
	return 0;
}

TEST(timer_of_each, "", "the local APIC's timer interrupts its own processor, once", SMP)
{
	smp_start_all();
	for (unsigned i = 1; i < smp_count(); i++) {
		unsigned vector = irq_vector();

		forget_counts();
		smp_call(i, start_timer, (void *)(uint64_t)vector);
		expect_at(1u << i, vector);
	}
}

TEST(timers_run_at_once, "", "timers of all processors run side by side", SMP)
{
	unsigned vector = irq_vector();

	smp_start_all();
	run_everywhere(start_timer, (void *)(uint64_t)vector);
	expect_at(EVERY, vector);
}

static uint64_t write_pic_mask(void *arg)
{
	outb(0xa1, (uint8_t)(uint64_t)arg);
	return inb(0xa1);
}

TEST(ports_are_shared, "", "what one processor writes to a port another reads there",
	NEEDS("smp>=2 pic"))
{
	smp_start(1);
	EXPECT_EQ(smp_call(1, write_pic_mask, (void *)0xa5ul), 0xa5);
	EXPECT_EQ(inb(0xa1), 0xa5);
	EXPECT_EQ(smp_call(1, write_pic_mask, (void *)0xfful), 0xff);
	EXPECT_EQ(inb(0xa1), 0xff);
}

/* --- a disk --- */

struct transfer {
	struct virtio_blk disk;
	uint64_t *data;
	uint64_t sector;
};

static void open_disk(struct transfer *t, enum virtio_irq irq)
{
	struct virtio_blk_options options = {.depth = 4,
		.polling = irq == VIRTIO_IRQ_NONE,
		.irq = irq,
		.without = VIRTIO_BIT(VIRTIO_F_EVENT_IDX)};

	if (!virtio_blk_open(&t->disk, &options))
		SKIP("no virtio disk");
	t->data = guarded_alloc(BLK_SECTOR);
}

static uint64_t read_sector(void *arg)
{
	struct transfer *t = arg;

	memset(t->data, 0xee, BLK_SECTOR);
	return virtio_blk_read(&t->disk, t->sector, t->data, BLK_SECTOR);
}

TEST(disk_from_another, "", "a virtio queue serves whichever processor uses it",
	NEEDS("smp>=2 disk:virtio"))
{
	struct transfer t;

	open_disk(&t, VIRTIO_IRQ_NONE);
	smp_start_all();
	for (unsigned i = 0; i < smp_count(); i++) {
		t.sector = 3 + i;
		EXPECT_EQ(i ? smp_call(i, read_sector, &t) : read_sector(&t), BLK_S_OK);
		for (unsigned word = 0; word < BLK_SECTOR / 8; word += 9)
			if (!EXPECT_EQ(t.data[word], t.sector))
				break;
	}
}

TEST(msi_to_each, "", "a message-signalled interrupt reaches the processor its address names",
	NEEDS("smp>=2 pci disk:virtio"))
{
	struct transfer t;
	struct virtio_blk_done done;

	open_disk(&t, VIRTIO_IRQ_MSIX);
	smp_start_all();
	for (unsigned i = 0; i < smp_count(); i++) {
		volatile uint8_t *entry = (volatile uint8_t *)t.disk.dev.pci->msix_table + 16;
		unsigned vector = irq_vector();

		forget_counts();
		mmio_write32(entry + 12, 1);
		mmio_write32(entry, LAPIC_BASE | smp_cpu(i)->apic_id << 12);
		mmio_write32(entry + 8, vector);
		mmio_write32(entry + 12, 0);
		ASSERT_TRUE(virtio_blk_submit(&t.disk, 5, t.data, BLK_SECTOR, false, NULL));
		virtio_blk_kick(&t.disk);
		expect_at(1u << i, vector);
		EXPECT_TRUE(WAIT_UNTIL(virtio_blk_reap(&t.disk, &done, 1) == 1, SOON_US));
		EXPECT_EQ(done.status, BLK_S_OK);
	}
}

TEST(message_of_lowest_priority, "",
	"a message with logical destination and lowest priority reaches one of the set",
	NEEDS("smp>=3 pci disk:virtio"))
{
	unsigned vector = irq_vector();
	struct transfer t;
	struct virtio_blk_done done;
	volatile uint8_t *entry;

	open_disk(&t, VIRTIO_IRQ_MSIX);
	smp_start_all();
	run_everywhere(set_logical, NULL);
	entry = (volatile uint8_t *)t.disk.dev.pci->msix_table + 16;
	mmio_write32(entry + 12, 1);
	mmio_write32(entry, LAPIC_BASE | 6 << 12 | 4);
	mmio_write32(entry + 8, 0x100 | vector);
	mmio_write32(entry + 12, 0);
	ASSERT_TRUE(virtio_blk_submit(&t.disk, 5, t.data, BLK_SECTOR, false, NULL));
	virtio_blk_kick(&t.disk);
	expect_in_all(6, vector, 1);
	EXPECT_TRUE(WAIT_UNTIL(virtio_blk_reap(&t.disk, &done, 1) == 1, SOON_US));
}

/* --- reset --- */

#define MARK_AT ((volatile uint64_t *)0x2000000) /* firmware and loader leave it alone */
#define MARK	0x6573736179736d70ull

static uint64_t interrupt_others(void *arg)
{
	for (;;) {
		smp_ipi(0, IPI_OTHERS | IPI_ASSERT | (uint32_t)(uint64_t)arg);
		for (int i = 0; i < 20; i++)
			cpu_relax();
	}
	return 0;
}

TEST(reset_while_others_run, "",
	"a reset while all processors run brings back the machine of power-on: the others wait",
	SMP)
{
	unsigned vector = irq_vector();

	if (!cmdline_get("reset"))
		SKIP("no reset=1 on the command line");
	if (*MARK_AT == MARK) {
		*MARK_AT = 0;
		smp_prepare(1);
		delay_us(2000);
		EXPECT_EQ(smp_seen()->count, 0);
		EXPECT_EQ(smp_irq_total(0), 0);
		smp_start_all();
		EXPECT_EQ(smp_call(1, write_pic_mask, (void *)0xfful), 0xff);
		return;
	}
	smp_start_all();
	*MARK_AT = MARK;
	for (unsigned i = 1; i < smp_count(); i++)
		smp_run(i, interrupt_others, (void *)(uint64_t)vector);
	ASSERT_TRUE(WAIT_UNTIL(smp_irqs(0, vector) >= 10, SOON_US));
	outb(0xcf9, 2);
	outb(0xcf9, 6);
	outb(0x64, 0xfe); /* where there is no 0xcf9 */
	delay_us(10000);
	__asm__ volatile("lidt %0; ud2"
			 :
			 : "m"(*(const char(*)[10]) "\0\0\0\0\0\0\0\0\0")); /* nor that */
	*MARK_AT = 0;
	FAIL("the machine did not reset");
}
