/* SPDX-License-Identifier: MIT */
/*
 * The probe device of Assay (docs/probe.md): what it counts between two marks is exact, because
 * other kernels' figures rest on it.
 */
#include "drivers/ata.h"
#include "runtime/io.h"
#include "runtime/irq.h"
#include "runtime/memory.h"
#include "runtime/probe.h"
#include "runtime/smp.h"
#include "runtime/test.h"
#include "runtime/time.h"
#include "virtio-drivers/blk.h"

#define UNUSED_PORT 0xed
#define PAGE	    4096

static void probe(unsigned region)
{
	if (!probe_present())
		SKIP("there is no probe device");
	probe_out(PROBE_R_CPU, 0);
	probe_clear(region);
}

/* Exact numbers of what processors do need an engine that counts all of it. */
static void probe_exact(unsigned region)
{
	probe(region);
	probe_out(PROBE_R_COMMAND, PROBE_LATCH);
	if (probe_value(PROBE_INSTRUCTIONS) == PROBE_ABSENT)
		SKIP("this engine does not count instructions");
}

TEST(registers, "",
	"the probe has version 2, its sixteen counters, and its region and selection read back",
	NEEDS("probe"))
{
	probe(5);
	EXPECT_EQ(probe_in(PROBE_R_COMMAND), 2);
	EXPECT_GE(probe_in(PROBE_R_COUNT), PROBE_COUNTERS);
	EXPECT_EQ(probe_in(PROBE_R_REGION), 5);
	probe_out(PROBE_R_SELECT, 3);
	EXPECT_EQ(probe_in(PROBE_R_SELECT), 3);
}

TEST(empty_region, "", "a region with nothing in it counts one exit, a port's: END itself",
	NEEDS("probe"))
{
	probe(0);
	probe_begin();
	probe_end();
	EXPECT_EQ(probe_sum(PROBE_PORT_EXITS), 1);
	EXPECT_GE(probe_sum(PROBE_EXITS), 1);
	EXPECT_EQ(probe_sum(PROBE_MMIO_EXITS), 0);
	EXPECT_EQ(probe_sum(PROBE_PASSES), 1);
}

TEST(port_exits_are_counted, "", "each access to a port in the region is one port exit",
	NEEDS("probe"))
{
	probe(1);
	probe_begin();
	for (int i = 0; i < 10; i++)
		outb(UNUSED_PORT, 0);
	probe_end();
	EXPECT_EQ(probe_sum(PROBE_PORT_EXITS), 11);
}

TEST(passes_add_up, "", "sums grow with each pass until they are cleared, and regions do not mix",
	NEEDS("probe"))
{
	probe(3);
	probe(2);
	for (int i = 0; i < 4; i++) {
		probe_begin();
		inb(UNUSED_PORT);
		probe_end();
	}
	EXPECT_EQ(probe_sum(PROBE_PASSES), 4);
	EXPECT_EQ(probe_sum(PROBE_PORT_EXITS), 8);
	probe_end();
	EXPECT_EQ(probe_sum(PROBE_PASSES), 4);
	probe_out(PROBE_R_REGION, 3);
	EXPECT_EQ(probe_sum(PROBE_PASSES), 0);
	probe_out(PROBE_R_REGION, 2);
	probe_out(PROBE_R_COMMAND, PROBE_CLEAR);
	EXPECT_EQ(probe_sum(PROBE_PASSES), 0);
	EXPECT_EQ(probe_sum(PROBE_PORT_EXITS), 0);
}

TEST(instructions_are_counted, "",
	"a region of a loop counts BEGIN, and each instruction before END's, no more",
	NEEDS("probe"))
{
	uint32_t turns = 10001;

	probe_exact(7);
	__asm__ volatile(
		"outl %1, %2\n\t" /* 1 */
		"mov %3, %1\n\t"  /* 1 */
		"1: dec %0\n\t"	  /* 2 a turn */
		"jnz 1b\n\t"
		"outl %1, %2"
		: "+r"(turns)
		: "a"(PROBE_BEGIN), "d"((uint16_t)(PROBE_BASE + PROBE_R_COMMAND)), "i"(PROBE_END)
		: "cc", "memory");
	EXPECT_EQ(probe_sum(PROBE_INSTRUCTIONS), 2 + 2 * 10001);
}

TEST(exits_are_exact, "", "N writes of a port are N exits, all for ports, and END's is one more",
	NEEDS("probe"))
{
	probe_exact(8);
	probe_begin();
	for (int i = 0; i < 25; i++)
		outb(UNUSED_PORT, 0);
	probe_end();
	EXPECT_EQ(probe_sum(PROBE_PORT_EXITS), 26);
	EXPECT_EQ(probe_sum(PROBE_EXITS), 26);
	EXPECT_EQ(probe_sum(PROBE_MMIO_EXITS), 0);
	EXPECT_EQ(probe_sum(PROBE_HALT_EXITS), 0);
	EXPECT_EQ(probe_sum(PROBE_INTERRUPTS_TAKEN), 0);
}

TEST(mmio_exits_are_exact, "", "N reads of the I/O APIC are N exits for memory-mapped I/O",
	NEEDS("probe ioapic"))
{
	probe_exact(9);
	probe_begin();
	for (int i = 0; i < 12; i++)
		mmio_read32((void *)IOAPIC_BASE);
	probe_end();
	EXPECT_EQ(probe_sum(PROBE_MMIO_EXITS), 12);
	EXPECT_EQ(probe_sum(PROBE_EXITS), 13);
}

TEST(halts_and_interrupts_are_exact, "",
	"three halts, each ended by the local APIC's timer, are three exits and three interrupts",
	NEEDS("probe"))
{
	unsigned vector = irq_vector();

	probe_exact(10);
	lapic_write(LAPIC_TIMER_DIVIDE, 0xb);
	lapic_write(LAPIC_LVT_TIMER, vector);
	irq_disable();
	probe_begin();
	for (int i = 0; i < 3; i++) {
		lapic_write(LAPIC_TIMER_INITIAL, 100000);
		__asm__ volatile("sti; hlt; cli" : : : "memory");
	}
	probe_end();
	irq_enable();
	EXPECT_EQ(irq_count(vector), 3);
	EXPECT_EQ(probe_sum(PROBE_HALT_EXITS), 3);
	EXPECT_EQ(probe_sum(PROBE_INTERRUPTS_TAKEN), 3);
	/* Three starts of the timer, three ends of interrupts. */
	EXPECT_EQ(probe_sum(PROBE_MMIO_EXITS), 6);
	EXPECT_EQ(probe_sum(PROBE_EXITS), 10);
}

/* Misses of a region that reads one byte of each of `pages`, with all translations gone or not.
 * One function within one page, so that its own code is the same miss each time. */
static __attribute__((noinline, aligned(512))) uint64_t misses_of(
	volatile uint8_t *at, unsigned pages, bool forgotten)
{
	probe_out(PROBE_R_COMMAND, PROBE_CLEAR);
	if (forgotten)
		write_cr3(read_cr3());
	probe_begin();
	for (unsigned i = 0; i < pages; i++)
		at[i * PAGE];
	probe_end();
	return probe_sum(PROBE_TLB_MISSES);
}

TEST(tlb_misses_are_counted, "",
	"with no translation held each page more that is read is one miss more, and a held one "
	"none",
	NEEDS("probe"))
{
	/* The kernel lies at the beginning of 2 MiB; where translations are kept by low bits of the
	 * page's number, these pages push out none of its. */
	volatile uint8_t *at = (uint8_t *)arena_alloc_raw(2 << 20, 2 << 20) + (1 << 20);
	uint64_t few;

	probe_exact(11);
	few = misses_of(at, 1, true);
	EXPECT_EQ(misses_of(at, 41, true), few + 40);
	EXPECT_EQ(misses_of(at, 41, false), 0);
}

TEST(absent_reads_ones, "",
	"a counter that is not there reads all ones, latched and as a sum; one that is does not",
	NEEDS("probe"))
{
	probe(12);
	probe_begin();
	probe_end();
	probe_out(PROBE_R_COMMAND, PROBE_LATCH);
	EXPECT_EQ(probe_value(200), PROBE_ABSENT);
	EXPECT_EQ(probe_sum(200), PROBE_ABSENT);
	EXPECT_NE(probe_value(PROBE_EXITS), PROBE_ABSENT);
	EXPECT_EQ(probe_sum(PROBE_COPIED_BYTES), 0);
	/* An engine counts instructions or says that it does not, in both places. */
	EXPECT_EQ(probe_value(PROBE_INSTRUCTIONS) == PROBE_ABSENT,
		probe_sum(PROBE_INSTRUCTIONS) == PROBE_ABSENT);
}

static uint64_t writes_ports(void *number)
{
	for (uint64_t i = 0; i < (uint64_t)number; i++)
		outb(UNUSED_PORT, 0);
	return 0;
}

TEST(a_processor_alone, "",
	"a region of one processor counts that one's port accesses and not those of another",
	NEEDS("probe smp>=2"))
{
	probe(13);
	smp_start(1);
	probe_out(PROBE_R_CPU, 2);
	EXPECT_EQ(probe_in(PROBE_R_CPU), 2);
	probe_begin();
	outb(UNUSED_PORT, 0);
	smp_call(1, writes_ports, (void *)7);
	outb(UNUSED_PORT, 0);
	probe_end();
	EXPECT_EQ(probe_sum(PROBE_PORT_EXITS), 7);
	probe_out(PROBE_R_CPU, 1);
	probe_out(PROBE_R_COMMAND, PROBE_CLEAR);
	probe_begin();
	outb(UNUSED_PORT, 0);
	smp_call(1, writes_ports, (void *)7);
	outb(UNUSED_PORT, 0);
	probe_end();
	EXPECT_EQ(probe_sum(PROBE_PORT_EXITS), 3);
}

TEST(virtio_write_copies_nothing, "",
	"a virtio-blk write of 4 KiB moves its header, data and status by DMA, and copies none of "
	"the data",
	NEEDS("probe disk:virtio"))
{
	struct virtio_blk disk;
	uint8_t *data = arena_alloc(PAGE, PAGE);

	probe(14);
	if (!virtio_blk_open(&disk, &(struct virtio_blk_options){
					    .depth = 1, .polling = true, .without = 1ull << 28}))
		SKIP("no virtio disk");
	probe_begin();
	EXPECT_EQ(virtio_blk_write(&disk, 8, data, PAGE), BLK_S_OK);
	probe_end();
	EXPECT_EQ(probe_sum(PROBE_DMA_BYTES), 16 + PAGE + 1);
	EXPECT_EQ(probe_sum(PROBE_COPIED_BYTES), 0);
}

TEST(ata_moves_are_told_apart, "",
	"by PIO 4 KiB are copied and none move by DMA; by DMA it is the other way round",
	NEEDS("probe disk:ata"))
{
	struct ata_disk disk;
	uint8_t *data = arena_alloc(PAGE, PAGE);

	probe(15);
	if (!ata_disk_init(&disk, 0, 0))
		SKIP("no ATA disk");
	probe_begin();
	EXPECT_EQ(ata_pio_read(&disk, 0, PAGE / 512, data), 0);
	probe_end();
	EXPECT_EQ(probe_sum(PROBE_COPIED_BYTES), PAGE);
	EXPECT_EQ(probe_sum(PROBE_DMA_BYTES), 0);
	probe_out(PROBE_R_COMMAND, PROBE_CLEAR);
	probe_begin();
	EXPECT_EQ(ata_dma_read(&disk, 0, PAGE / 512, data), 0);
	probe_end();
	EXPECT_EQ(probe_sum(PROBE_COPIED_BYTES), 0);
	/* The data, and one descriptor. */
	EXPECT_EQ(probe_sum(PROBE_DMA_BYTES), PAGE + 8);
}

TEST(time_of_a_region, "", "the time in a region is not less than the TSC counted in it",
	NEEDS("probe"))
{
	uint64_t start, ns;

	probe(4);
	probe_begin();
	start = rdtsc();
	delay_us(20000);
	ns = tsc_to_ns(rdtsc() - start);
	probe_end();
	EXPECT_GE(probe_sum(PROBE_TIME_NS), ns * 99 / 100); /* the TSC is calibrated, not exact */
	/* Between the marks and the two readings of the TSC a host may be away. */
	EXPECT_LE(probe_sum(PROBE_TIME_NS), ns * 10);
}

TEST(latched_counters_stand, "", "latched counters do not change until the next latch",
	NEEDS("probe"))
{
	uint64_t first;

	probe(6);
	probe_out(PROBE_R_COMMAND, PROBE_LATCH);
	first = probe_value(PROBE_PORT_EXITS);
	EXPECT_GE(first, 1);
	EXPECT_EQ(probe_value(PROBE_PORT_EXITS), first);
	probe_out(PROBE_R_COMMAND, PROBE_LATCH);
	EXPECT_GT(probe_value(PROBE_PORT_EXITS), first);
}
