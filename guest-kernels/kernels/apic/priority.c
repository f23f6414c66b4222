/* SPDX-License-Identifier: MIT */
/*
 * Kernel apic: acceptance, priorities and the end of interrupts (Intel SDM volume 3, 10.8).
 */
#include "kernels/apic/apic.h"
#include "runtime/irq.h"
#include "runtime/test.h"
#include "runtime/time.h"

/* What handlers note: the vectors in the order of their events. */
static volatile uint32_t events[16];
static volatile unsigned event_count;

static void note_event(uint32_t event)
{
	if (event_count < 16)
		events[event_count++] = event;
}

static void ready(void)
{
	apic_ready();
	event_count = 0;
}

static volatile uint32_t seen_irr, seen_isr, seen_ppr, seen_after;

static void look(unsigned vector)
{
	seen_irr = lapic_requested(vector);
	seen_isr = lapic_in_service(vector);
	seen_ppr = lapic_read(LAPIC_PPR);
	lapic_eoi();
	seen_after = lapic_in_service(vector);
}

TEST(request_then_service, "",
	"an interrupt is in IRR until it is taken, in ISR until its EOI, and never in both")
{
	unsigned vector;

	ready();
	need_isr();
	vector = irq_vector();
	irq_handler(vector, look);
	irq_disable();
	lapic_self_ipi(vector);
	EXPECT_TRUE(lapic_requested(vector));
	EXPECT_FALSE(lapic_in_service(vector));
	irq_enable();
	ASSERT_TRUE(WAIT_UNTIL(irq_count(vector) == 1, SOON_US));
	EXPECT_EQ(seen_irr, 0);
	EXPECT_EQ(seen_isr, 1);
	EXPECT_EQ(seen_ppr, vector & 0xf0);
	EXPECT_EQ(seen_after, 0);
	EXPECT_EQ(lapic_anything(), 0);
}

static unsigned inner_vector;

static void sends_inner(unsigned vector)
{
	note_event(vector);
	lapic_self_ipi(inner_vector);
	irq_enable();
	WAIT_UNTIL(event_count >= 2, 2000); /* some hosts deliver late */
	irq_disable();
	note_event(vector | 0x100);
	lapic_eoi();
}

static void notes(unsigned vector)
{
	note_event(vector);
	lapic_eoi();
}

TEST(higher_class_nests, "", "a handler with IF set is interrupted by a vector of a higher class")
{
	ready();
	vector_at(0x41);
	inner_vector = vector_at(0x61);
	irq_handler(0x41, sends_inner);
	irq_handler(0x61, notes);
	lapic_self_ipi(0x41);
	ASSERT_TRUE(WAIT_UNTIL(event_count >= 3, SOON_US));
	EXPECT_EQ(events[0], 0x41);
	EXPECT_EQ(events[1], 0x61);
	EXPECT_EQ(events[2], 0x141);
}

TEST(lower_class_waits, "",
	"a handler with IF set is not interrupted by a lower class, nor its own")
{
	static const uint8_t inner[] = {0x41, 0x60, 0x6f};

	for (unsigned i = 0; i < 3; i++) {
		ready();
		need_isr();
		if (inner[i] < 0x61) {
			vector_at(inner[i]);
			vector_at(0x61);
		} else {
			vector_at(0x61);
			vector_at(inner[i]);
		}
		inner_vector = inner[i];
		irq_handler(0x61, sends_inner);
		irq_handler(inner[i], notes);
		lapic_self_ipi(0x61);
		ASSERT_TRUE(WAIT_UNTIL(event_count >= 3, SOON_US));
		EXPECT_EQ(events[0], 0x61);
		EXPECT_EQ(events[1], 0x161);
		EXPECT_EQ(events[2], inner[i]);
		irq_isolate();
	}
}

static volatile uint32_t ppr_seen[4];

static void nested_inner(unsigned vector)
{
	ppr_seen[0] = lapic_read(LAPIC_PPR);
	note_event(lapic_in_service(0x41) | lapic_in_service(0x61) << 1);
	lapic_eoi();
	ppr_seen[1] = lapic_read(LAPIC_PPR);
	note_event(lapic_in_service(0x41) | lapic_in_service(0x61) << 1);
	lapic_eoi();
	ppr_seen[2] = lapic_read(LAPIC_PPR);
	note_event(lapic_in_service(0x41) | lapic_in_service(0x61) << 1);
}

static void nested_outer(unsigned vector)
{
	lapic_self_ipi(0x61);
	irq_enable();
	for (int i = 0; i < 50; i++)
		cpu_relax();
	irq_disable();
}

TEST(eoi_ends_the_highest, "",
	"each EOI ends the highest vector in service, and PPR falls to the next")
{
	ready();
	need_isr();
	vector_at(0x41);
	vector_at(0x61);
	irq_handler(0x41, nested_outer);
	irq_handler(0x61, nested_inner);
	lapic_self_ipi(0x41);
	ASSERT_TRUE(WAIT_UNTIL(event_count >= 3, SOON_US));
	EXPECT_EQ(events[0], 3);
	EXPECT_EQ(events[1], 1);
	EXPECT_EQ(events[2], 0);
	EXPECT_EQ(ppr_seen[0], 0x60);
	EXPECT_EQ(ppr_seen[1], 0x40);
	EXPECT_EQ(ppr_seen[2], 0);
}

TEST(eoi_of_nothing, "", "an EOI with nothing in service changes nothing, a request least of all")
{
	unsigned vector;

	ready();
	vector = irq_vector();
	irq_disable();
	lapic_self_ipi(vector);
	lapic_eoi();
	lapic_eoi();
	EXPECT_TRUE(lapic_requested(vector));
	irq_enable();
	EXPECT_TRUE(WAIT_UNTIL(irq_count(vector) == 1, SOON_US));
	EXPECT_EQ(lapic_anything(), 0);
}

TEST(tpr_holds_its_class_back, "",
	"TPR holds back the vectors of its class and below, whatever its lower half, and no others")
{
	static const struct {
		uint8_t tpr, vector;
		bool taken;
	} cases[] = {
		{0x50, 0x4f, false},
		{0x50, 0x50, false},
		{0x50, 0x5f, false},
		{0x50, 0x60, true},
		{0x5f, 0x5f, false},
		{0x5f, 0x60, true},
		{0x4f, 0x50, true},
		{0x40, 0x4f, false},
		{0xf0, 0xe8, false},
		{0x00, 0x31, true},
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ready();
		vector_at(cases[i].vector);
		lapic_write(LAPIC_TPR, cases[i].tpr);
		lapic_self_ipi(cases[i].vector);
		if (cases[i].taken) {
			EXPECT_TRUE(WAIT_UNTIL(irq_count(cases[i].vector) == 1, SOON_US));
		} else {
			delay_us(50);
			EXPECT_EQ(irq_count(cases[i].vector), 0);
			EXPECT_TRUE(lapic_requested(cases[i].vector));
			lapic_write(LAPIC_TPR, 0);
			EXPECT_TRUE(WAIT_UNTIL(irq_count(cases[i].vector) == 1, SOON_US));
		}
		irq_isolate();
	}
}

static inline uint64_t read_cr8(void)
{
	uint64_t value;

	__asm__ volatile("mov %%cr8, %0" : "=r"(value) : : "memory");
	return value;
}

static inline void write_cr8(uint64_t value)
{
	__asm__ volatile("mov %0, %%cr8" : : "r"(value) : "memory");
}

TEST(cr8_is_tpr, "", "CR8 is the upper half of TPR, both ways; writing it clears the lower half")
{
	apic_ready();
	for (unsigned i = 0; i < 16; i++) {
		lapic_write(LAPIC_TPR, i << 4 | 0xa);
		EXPECT_EQ(read_cr8(), i);
	}
	for (unsigned i = 0; i < 16; i++) {
		write_cr8(i);
		EXPECT_EQ(lapic_read(LAPIC_TPR), i << 4);
		EXPECT_EQ(read_cr8(), i);
	}
	write_cr8(0);
}

TEST(cr8_reserved_bits, "", "MOV CR8 with a bit above 3 is #GP(0) and changes nothing")
{
	apic_ready();
	write_cr8(3);
	for (unsigned bit = 4; bit < 64; bit += bit < 8 ? 1 : 8) {
		EXPECT_TRAP(TRAP_GP, write_cr8(1ull << bit));
		EXPECT_EQ(trap_last.error, 0);
	}
	EXPECT_EQ(read_cr8(), 3);
	write_cr8(0);
}

TEST(cr8_lets_pending_in, "", "lowering CR8 lets what it held back in, the highest first")
{
	ready();
	vector_at(0x52);
	vector_at(0x63);
	irq_handler(0x52, notes);
	irq_handler(0x63, notes);
	write_cr8(6);
	lapic_self_ipi(0x52);
	lapic_self_ipi(0x63);
	delay_us(50);
	EXPECT_EQ(event_count, 0);
	write_cr8(5);
	EXPECT_TRUE(WAIT_UNTIL(event_count == 1, SOON_US));
	EXPECT_EQ(events[0], 0x63);
	write_cr8(4);
	EXPECT_TRUE(WAIT_UNTIL(event_count == 2, SOON_US));
	EXPECT_EQ(events[1], 0x52);
	write_cr8(0);
}

static const uint8_t tprs[] = {0x00, 0x1f, 0x50, 0x5f, 0x60, 0x6f, 0x70, 0x7f, 0xff};
static volatile uint32_t pprs[sizeof(tprs)];

static void read_pprs(unsigned vector)
{
	for (unsigned i = 0; i < sizeof(tprs); i++) {
		lapic_write(LAPIC_TPR, tprs[i]);
		pprs[i] = lapic_read(LAPIC_PPR);
	}
	lapic_write(LAPIC_TPR, 0);
	lapic_eoi();
}

/* Where both classes are equal the lower half is TPR's or 0, by the model. */
TEST(ppr_is_the_higher, "", "PPR is TPR or the class in service, whichever is higher (10.8.3.1)")
{
	ready();
	need_isr();
	vector_at(0x61);
	irq_handler(0x61, read_pprs);
	for (unsigned i = 0; i < sizeof(tprs); i++) {
		lapic_write(LAPIC_TPR, tprs[i]);
		EXPECT_EQ(lapic_read(LAPIC_PPR), tprs[i]);
	}
	lapic_write(LAPIC_TPR, 0);
	lapic_self_ipi(0x61);
	ASSERT_TRUE(WAIT_UNTIL(irq_count(0x61) == 1, SOON_US));
	for (unsigned i = 0; i < sizeof(tprs); i++) {
		if ((tprs[i] & 0xf0) == 0x60)
			EXPECT_TRUE(pprs[i] == tprs[i] || pprs[i] == 0x60);
		else
			EXPECT_EQ(pprs[i], tprs[i] > 0x60 ? tprs[i] : 0x60);
	}
	EXPECT_EQ(lapic_read(LAPIC_PPR), 0);
}

static void sends_itself(unsigned vector)
{
	note_event(vector);
	if (event_count == 1)
		for (int i = 0; i < 3; i++)
			lapic_self_ipi(vector);
	lapic_eoi();
}

TEST(one_more_is_kept, "",
	"requests of a vector while it is in service are one more interrupt after its EOI")
{
	unsigned vector;

	ready();
	vector = irq_vector();
	irq_handler(vector, sends_itself);
	lapic_self_ipi(vector);
	EXPECT_TRUE(WAIT_UNTIL(event_count >= 2, SOON_US));
	delay_us(300);
	EXPECT_EQ(event_count, 2);
}

TEST(sti_holds_back_one_instruction, "",
	"a pending interrupt is not taken between STI and the instruction behind it")
{
	unsigned vector;

	apic_ready();
	need_isr(); /* a KVM without delivers after some instructions, not between two */
	vector = irq_vector();
	irq_disable();
	lapic_self_ipi(vector);
	EXPECT_TRUE(WAIT_UNTIL(lapic_requested(vector), SOON_US));
	__asm__ volatile("sti; cli" : : : "memory");
	EXPECT_EQ(irq_count(vector), 0);
	__asm__ volatile("sti; cli; sti; cli" : : : "memory");
	EXPECT_EQ(irq_count(vector), 0);
	__asm__ volatile("sti; nop; cli" : : : "memory");
	EXPECT_EQ(irq_count(vector), 1);
	irq_enable();
}

TEST(hlt_waits, "", "HLT goes on behind itself when an interrupt has come, and not before")
{
	unsigned vector;

	apic_ready();
	vector = irq_vector();
	irq_disable();
	lapic_write(LAPIC_TIMER_DIVIDE, 0xb);
	lapic_write(LAPIC_LVT_TIMER, vector);
	lapic_write(LAPIC_TIMER_INITIAL, 3000000); /* a few milliseconds */
	__asm__ volatile("sti; hlt; cli" : : : "memory");
	EXPECT_EQ(irq_count(vector), 1);
	irq_enable();
}
