/* SPDX-License-Identifier: MIT */
/*
 * Kernel smp: interprocessor interrupts in every delivery and destination mode (Intel SDM volume 3,
 * 10.6): each arrives exactly once, with its vector, where it was sent, and nowhere else.
 */
#include "kernels/smp/smp.h"
#include "runtime/boot.h"
#include "runtime/memory.h"

#define NOBODY 0x3e /* no machine here has this APIC id */

struct order {
	uint32_t destination, icr;
};

static uint64_t send_ipi(void *arg)
{
	const struct order *order = arg;

	smp_ipi(order->destination, order->icr);
	return 0;
}

TEST(fixed_to_each, "", "a fixed IPI by physical destination arrives at that processor only", SMP)
{
	smp_start_all();
	for (unsigned i = 0; i < smp_count(); i++) {
		unsigned vector = irq_vector();

		for (unsigned j = 0; j < smp_count(); j++)
			memset((void *)smp_cpu(j)->counts, 0, sizeof(smp_cpu(j)->counts));
		smp_ipi(smp_cpu(i)->apic_id, IPI_FIXED | IPI_ASSERT | vector);
		expect_at(1u << i, vector);
	}
}

TEST(fixed_from_others, "", "another processor sends to the first and to a third", THREE)
{
	unsigned vector = irq_vector(), second = irq_vector();
	struct order to_first = {smp_cpu(0)->apic_id, IPI_FIXED | IPI_ASSERT | vector};
	struct order to_third = {smp_cpu(2)->apic_id, IPI_FIXED | IPI_ASSERT | second};

	smp_start_all();
	smp_call(1, send_ipi, &to_first);
	expect_at(1, vector);
	memset((void *)smp_cpu(0)->counts, 0, sizeof(smp_cpu(0)->counts));
	smp_call(1, send_ipi, &to_third);
	expect_at(4, second);
}

TEST(shorthand_self, "", "the shorthand 'self' reaches the sender only", SMP)
{
	unsigned vector = irq_vector();
	struct order self = {0, IPI_SELF | IPI_ASSERT | vector};

	smp_start_all();
	smp_call(1, send_ipi, &self);
	expect_at(2, vector);
}

TEST(shorthand_all, "", "the shorthand 'all including self' reaches every processor once", SMP)
{
	unsigned vector = irq_vector();

	smp_start_all();
	smp_ipi(0, IPI_ALL | IPI_ASSERT | vector);
	expect_at(EVERY, vector);
}

TEST(shorthand_others, "", "the shorthand 'all excluding self' reaches all but the sender", SMP)
{
	unsigned vector = irq_vector();
	struct order others = {0, IPI_OTHERS | IPI_ASSERT | vector};

	smp_start_all();
	smp_call(1, send_ipi, &others);
	expect_at(EVERY & ~2u, vector);
}

TEST(physical_broadcast, "", "physical destination 0xff is every processor", SMP)
{
	unsigned vector = irq_vector();

	smp_start_all();
	smp_ipi(0xff, IPI_FIXED | IPI_ASSERT | vector);
	expect_at(EVERY, vector);
}

TEST(nobody_is_addressed, "", "an IPI to an APIC id that nobody has arrives nowhere", SMP)
{
	unsigned vector = irq_vector();

	smp_start_all();
	smp_ipi(NOBODY, IPI_FIXED | IPI_ASSERT | vector);
	expect_at(0, vector);
	smp_ipi(smp_cpu(1)->apic_id, IPI_FIXED | IPI_ASSERT | vector);
	expect_at(2, vector);
}

/* Logical ids: LDR and DFR of the processor that runs it. */
struct logical {
	uint32_t dfr, ldr[PROCESSORS_MAX];
};

static uint64_t set_logical(void *arg)
{
	const struct logical *logical = arg;

	lapic_write(LAPIC_DFR, logical->dfr);
	lapic_write(LAPIC_LDR, logical->ldr[smp_this()->index] << 24);
	return 0;
}

TEST(logical_flat, "", "in the flat model each bit of the destination is a processor", SMP)
{
	struct logical flat = {.dfr = 0xffffffff};
	unsigned first = irq_vector(), second = irq_vector();

	for (unsigned i = 0; i < 8; i++)
		flat.ldr[i] = 1u << i;
	smp_start_all();
	run_everywhere(set_logical, &flat);
	smp_ipi(2, IPI_FIXED | IPI_LOGICAL | IPI_ASSERT | first);
	expect_at(2, first);
	memset((void *)smp_cpu(1)->counts, 0, sizeof(smp_cpu(1)->counts));
	smp_ipi(3, IPI_FIXED | IPI_LOGICAL | IPI_ASSERT | second);
	expect_at(3, second);
}

TEST(logical_without_id, "", "a processor whose logical id is 0 is not addressed by any bit", SMP)
{
	struct logical only_second = {.dfr = 0xffffffff, .ldr = {[1] = 0x80}};
	unsigned vector = irq_vector();

	smp_start_all();
	run_everywhere(set_logical, &only_second);
	smp_ipi(0x8f, IPI_FIXED | IPI_LOGICAL | IPI_ASSERT | vector);
	expect_at(2, vector);
}

TEST(logical_cluster, "",
	"in the cluster model the high four bits name a cluster, the low four who of it", THREE)
{
	struct logical cluster = {.dfr = 0x0fffffff, .ldr = {0x01, 0x11, 0x12}};
	unsigned one = irq_vector(), two = irq_vector(), none = irq_vector();

	smp_start_all();
	run_everywhere(set_logical, &cluster);
	smp_ipi(0x24, IPI_FIXED | IPI_LOGICAL | IPI_ASSERT | none);
	expect_at(0, none);
	smp_ipi(0x12, IPI_FIXED | IPI_LOGICAL | IPI_ASSERT | one);
	expect_at(4, one);
	memset((void *)smp_cpu(2)->counts, 0, sizeof(smp_cpu(2)->counts));
	smp_ipi(0x13, IPI_FIXED | IPI_LOGICAL | IPI_ASSERT | two);
	expect_at(6, two);
}

TEST(lowest_priority_is_one, "",
	"a lowest-priority IPI to several processors arrives at one of them", THREE)
{
	struct logical flat = {.dfr = 0xffffffff, .ldr = {1, 2, 4}};
	unsigned vector = irq_vector();

	smp_start_all();
	run_everywhere(set_logical, &flat);
	for (uint32_t i = 1; i <= 8; i++) {
		smp_ipi(6, IPI_LOWEST | IPI_LOGICAL | IPI_ASSERT | vector);
		EXPECT_TRUE(WAIT_UNTIL(smp_irqs(1, vector) + smp_irqs(2, vector) >= i, SOON_US));
	}
	expect_in_all(6, vector, 8);
}

static uint64_t disable_apic(void *arg)
{
	volatile uint32_t *words = arg; /* disabled, go on */

	lapic_write(LAPIC_SVR, IRQ_SPURIOUS);
	words[0] = 1;
	wait_for_word((void *)&words[1]);
	return 0;
}

TEST(software_disabled_takes_none, "",
	"a local APIC disabled by software interrupts its processor with nothing fixed (10.4.7.2), "
	"but with an NMI",
	SMP)
{
	static volatile uint32_t words[2];
	unsigned vector = irq_vector();

	words[0] = words[1] = 0;
	smp_start(1);
	smp_run(1, disable_apic, (void *)words);
	ASSERT_TRUE(WAIT_UNTIL(words[0], SOON_US));
	smp_ipi(smp_cpu(1)->apic_id, IPI_FIXED | IPI_ASSERT | vector);
	expect_at(0, vector);
	smp_ipi(smp_cpu(1)->apic_id, IPI_NMI | IPI_ASSERT);
	EXPECT_TRUE(WAIT_UNTIL(smp_cpu(1)->nmis == 1, SOON_US));
	words[1] = 1;
	smp_wait(1, SOON_US);
}

/* --- NMI --- */

static volatile uint32_t uninterruptible;

/* Says so once its interrupts are off: the other side may send only then. */
static uint64_t wait_without_interrupts(void *arg)
{
	irq_disable();
	uninterruptible = 1;
	while (!*(volatile uint32_t *)arg)
		cpu_relax();
	irq_enable();
	return smp_this()->nmis;
}

TEST(nmi_to_one, "", "an NMI IPI arrives once, at that processor only, with interrupts off too",
	SMP)
{
	static volatile uint32_t go;

	go = uninterruptible = 0;
	smp_start_all();
	smp_run(1, wait_without_interrupts, (void *)&go);
	ASSERT_TRUE(WAIT_UNTIL(uninterruptible, SOON_US));
	smp_ipi(smp_cpu(1)->apic_id, IPI_NMI | IPI_ASSERT);
	EXPECT_TRUE(WAIT_UNTIL(smp_cpu(1)->nmis, SOON_US));
	go = 1;
	EXPECT_EQ(smp_wait(1, SOON_US), 1);
	for (unsigned i = 0; i < smp_count(); i++)
		EXPECT_EQ(smp_cpu(i)->nmis, i == 1);
}

TEST(nmi_to_others, "", "an NMI to all excluding self arrives once at each of them", SMP)
{
	smp_start_all();
	smp_ipi(0, IPI_NMI | IPI_ASSERT | IPI_OTHERS);
	for (unsigned i = 1; i < smp_count(); i++)
		EXPECT_TRUE(WAIT_UNTIL(smp_cpu(i)->nmis, SOON_US));
	delay_us(300);
	for (unsigned i = 0; i < smp_count(); i++)
		EXPECT_EQ(smp_cpu(i)->nmis, i != 0);
}

static volatile uint32_t before_halt;

static uint64_t halt_without_interrupts(void *arg)
{
	irq_disable();
	before_halt = 1;
	__asm__ volatile("hlt; sti" : : : "memory");
	return smp_this()->nmis;
}

/* One that comes between the flag and HLT wakes nobody, so it is sent until one does. */
static bool nmi_wakes(void)
{
	smp_ipi(smp_cpu(1)->apic_id, IPI_NMI | IPI_ASSERT);
	return WAIT_UNTIL(smp_is_done(1), 5000);
}

TEST(nmi_wakes_a_halt, "", "an NMI ends HLT with interrupts off; a fixed IPI does not", SMP)
{
	unsigned vector = irq_vector();

	before_halt = 0;
	smp_start(1);
	smp_run(1, halt_without_interrupts, NULL);
	ASSERT_TRUE(WAIT_UNTIL(before_halt, SOON_US));
	smp_ipi(smp_cpu(1)->apic_id, IPI_FIXED | IPI_ASSERT | vector);
	delay_us(1000);
	EXPECT_FALSE(smp_is_done(1));
	EXPECT_TRUE(WAIT_UNTIL(nmi_wakes(), SOON_US));
	EXPECT_GE(smp_wait(1, SOON_US), 1);
	EXPECT_TRUE(WAIT_UNTIL(smp_irqs(1, vector) == 1, SOON_US));
}

/* --- HLT, priorities --- */

static volatile uint32_t woken;

static uint64_t halt_once(void *arg)
{
	__asm__ volatile("cli" : : : "memory");
	woken = 1;
	__asm__ volatile("sti; hlt" : : : "memory");
	return woken = 2;
}

TEST(ipi_wakes_a_halt, "", "HLT ends when an IPI comes, and not before", SMP)
{
	unsigned vector = irq_vector();

	woken = 0;
	smp_start(1);
	smp_run(1, halt_once, NULL);
	ASSERT_TRUE(WAIT_UNTIL(woken == 1, SOON_US));
	delay_us(2000);
	EXPECT_EQ(woken, 1);
	smp_ipi(smp_cpu(1)->apic_id, IPI_FIXED | IPI_ASSERT | vector);
	EXPECT_EQ(smp_wait(1, SOON_US), 2);
	EXPECT_EQ(smp_irqs(1, vector), 1);
}

static volatile unsigned served[4], served_count;

static void note_served(unsigned vector)
{
	if (served_count < 4)
		served[served_count++] = vector;
	lapic_eoi();
}

TEST(higher_vector_first, "",
	"IPIs that wait for one processor are served in the order of their vectors, each once", SMP)
{
	static volatile uint32_t go;
	unsigned low = irq_vector(), middle, high;

	while ((middle = irq_vector()) < low + 0x10)
		;
	while ((high = irq_vector()) < middle + 0x10)
		;
	served_count = go = uninterruptible = 0;
	smp_handler(low, note_served);
	smp_handler(middle, note_served);
	smp_handler(high, note_served);
	smp_start(1);
	smp_run(1, wait_without_interrupts, (void *)&go);
	ASSERT_TRUE(WAIT_UNTIL(uninterruptible, SOON_US));
	smp_ipi(smp_cpu(1)->apic_id, IPI_FIXED | IPI_ASSERT | middle);
	smp_ipi(smp_cpu(1)->apic_id, IPI_FIXED | IPI_ASSERT | low);
	smp_ipi(smp_cpu(1)->apic_id, IPI_FIXED | IPI_ASSERT | high);
	smp_ipi(smp_cpu(1)->apic_id, IPI_FIXED | IPI_ASSERT | middle);
	delay_us(300);
	EXPECT_EQ(served_count, 0);
	go = 1;
	smp_wait(1, SOON_US);
	EXPECT_TRUE(WAIT_UNTIL(served_count == 3, SOON_US));
	EXPECT_EQ(served[0], high);
	EXPECT_EQ(served[1], middle);
	EXPECT_EQ(served[2], low);
	delay_us(300);
	EXPECT_EQ(served_count, 3);
}

static uint64_t set_tpr(void *arg)
{
	lapic_write(LAPIC_TPR, (uint32_t)(uint64_t)arg);
	return lapic_read(LAPIC_TPR);
}

TEST(task_priority_is_own, "",
	"a processor's task priority holds back IPIs to it and to nobody else", THREE)
{
	unsigned vector = irq_vector();

	smp_start_all();
	EXPECT_EQ(smp_call(1, set_tpr, (void *)0xe0ul), 0xe0);
	smp_ipi(0, IPI_OTHERS | IPI_ASSERT | vector);
	expect_at(EVERY & ~3u, vector);
	smp_call(1, set_tpr, NULL); /* the wake-up's vector is of a higher class */
	expect_at(EVERY & ~1u, vector);
}

/* --- traffic --- */

struct traffic {
	unsigned first_vector;
	uint32_t turns;
	volatile uint32_t ready;
};

static uint64_t send_to_all(void *arg)
{
	struct traffic *t = arg;
	unsigned self = smp_this()->index;

	__atomic_add_fetch(&t->ready, 1, __ATOMIC_SEQ_CST);
	while (t->ready < smp_count())
		cpu_relax();
	for (uint32_t turn = 0; turn < t->turns; turn++)
		for (unsigned to = 0; to < smp_count(); to++) {
			uint32_t before = smp_irqs(to, t->first_vector + self);

			if (to == self)
				continue;
			smp_ipi(smp_cpu(to)->apic_id,
				IPI_FIXED | IPI_ASSERT | (t->first_vector + self));
			while (smp_irqs(to, t->first_vector + self) == before)
				cpu_relax();
		}
	return 0;
}

TEST(all_to_all, "", "every processor sends to every other at once, and nothing is lost", SMP)
{
	struct traffic t = {.turns = cmdline_number("turns", 3)};
	uint32_t wrong = 0;

	t.first_vector = irq_vector();
	for (unsigned i = 1; i < smp_count(); i++)
		irq_vector();
	smp_start_all();
	run_everywhere(send_to_all, &t);
	delay_us(300);
	for (unsigned to = 0; to < smp_count(); to++)
		for (unsigned from = 0; from < smp_count(); from++)
			wrong += smp_irqs(to, t.first_vector + from) != (to == from ? 0 : t.turns);
	EXPECT_EQ(wrong, 0);
}

/* --- x2APIC (10.12) --- */

static uint64_t to_x2apic(void *arg)
{
	smp_x2apic_on();
	return smp_apic_read(LAPIC_ID);
}

static void need_x2apic(void)
{
	if (!smp_has_x2apic())
		SKIP("the processor has no x2APIC");
}

static void all_to_x2apic(void)
{
	need_x2apic();
	smp_start_all();
	for (unsigned i = 1; i < smp_count(); i++)
		EXPECT_EQ(smp_call(i, to_x2apic, NULL), smp_cpu(i)->apic_id);
	EXPECT_EQ(to_x2apic(NULL), smp_cpu(0)->apic_id);
}

TEST(x2apic_physical, "", "in x2APIC mode an IPI by 32-bit id arrives there and nowhere else", SMP)
{
	unsigned vector = irq_vector();

	all_to_x2apic();
	smp_ipi(smp_cpu(1)->apic_id, IPI_FIXED | vector);
	expect_at(2, vector);
}

TEST(x2apic_broadcast, "", "in x2APIC mode destination 0xffffffff is every processor", SMP)
{
	unsigned vector = irq_vector();

	all_to_x2apic();
	smp_ipi(0xffffffff, IPI_FIXED | vector);
	expect_at(EVERY, vector);
}

TEST(x2apic_logical, "",
	"in x2APIC mode the logical id is cluster and bit of the APIC id, and addresses by it", SMP)
{
	unsigned vector = irq_vector();
	uint32_t id = smp_cpu(1)->apic_id;

	all_to_x2apic();
	smp_ipi((id >> 4) << 16 | 1u << (id & 15), IPI_FIXED | IPI_LOGICAL | vector);
	expect_at(2, vector);
}

static uint64_t self_ipi_msr(void *arg)
{
	wrmsr(0x83f, (uint64_t)arg);
	return 0;
}

TEST(x2apic_self, "", "a write to SELF IPI interrupts the processor that writes", SMP)
{
	unsigned vector = irq_vector();

	all_to_x2apic();
	smp_call(1, self_ipi_msr, (void *)(uint64_t)vector);
	expect_at(2, vector);
}
