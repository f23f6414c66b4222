/* SPDX-License-Identifier: MIT */
/*
 * Kernel smp: start of processors (Intel SDM volume 3, 8.4 and 9.1; table 9-1 is the state after
 * INIT), and what INIT does to one that runs.
 */
#include "kernels/smp/smp.h"
#include "runtime/boot.h"
#include "runtime/memory.h"

#define MSR_APIC_BASE 0x1b
#define BASE_BSP      0x100

static uint64_t read_id(void *arg)
{
	return smp_apic_read(LAPIC_ID) >> 24;
}

TEST(each_starts, "", "each processor starts and has the APIC id that the tables say", SMP)
{
	smp_start_all();
	EXPECT_NE(strcmp(processors()->source, "none"), 0);
	for (unsigned i = 1; i < smp_count(); i++)
		EXPECT_EQ(smp_call(i, read_id, NULL), smp_cpu(i)->apic_id);
}

TEST(none_runs_before, "", "no processor but the first runs before it is told to", SMP)
{
	smp_prepare(1);
	delay_us(1000);
	EXPECT_EQ(smp_seen()->count, 0);
	EXPECT_FALSE(smp_cpu(1)->online);
	smp_start(1);
	EXPECT_EQ(smp_seen()->count, 1);
}

TEST(starts_in_real_mode, "",
	"a start-up IPI begins at CS = page << 8, IP = 0 in real mode, data segments 0, flags 2",
	SMP)
{
	uint8_t page = smp_prepare(1);
	const struct ap_seen *seen = smp_seen();

	smp_start(1);
	EXPECT_EQ(seen->cs, page << 8);
	EXPECT_EQ(seen->ip, 0);
	EXPECT_EQ(seen->ds | seen->es | seen->ss | seen->fs | seen->gs, 0);
	EXPECT_EQ(seen->flags, 2);
	EXPECT_EQ(seen->cr0 & 0x80000001, 0);
	EXPECT_EQ(seen->cr0 & 0x10, 0x10);
	EXPECT_EQ(seen->eax, 0);
}

TEST(vector_is_the_page, "", "the vector of the start-up IPI names the page it starts from", SMP)
{
	uint8_t first = smp_prepare(1);

	if (!smp_use_next_page())
		SKIP("one page alone is free");
	smp_start(1);
	EXPECT_EQ(smp_seen()->cs, (first + 1) << 8);
	EXPECT_EQ(smp_seen()->count, 1);
}

static uint64_t read_base(void *arg)
{
	return rdmsr(MSR_APIC_BASE);
}

TEST(first_is_marked, "", "IA32_APIC_BASE marks the boot processor and no other", SMP)
{
	EXPECT_EQ(rdmsr(MSR_APIC_BASE) & BASE_BSP, BASE_BSP);
	smp_start_all();
	for (unsigned i = 1; i < smp_count(); i++)
		EXPECT_EQ(smp_call(i, read_base, NULL) & BASE_BSP, 0);
}

static uint64_t read_cpuid_1(void *arg)
{
	return cpuid(1, 0).ebx >> 24;
}

static uint64_t read_cpuid_b(void *arg)
{
	return cpuid(0xb, 0).edx;
}

TEST(cpuid_names_each, "", "CPUID 1 and 0xB say the APIC id of the processor that asks", SMP)
{
	bool has_b = cpuid(0, 0).eax >= 0xb && cpuid(0xb, 0).ebx;

	smp_start_all();
	EXPECT_EQ(read_cpuid_1(NULL), smp_cpu(0)->apic_id);
	for (unsigned i = 1; i < smp_count(); i++) {
		EXPECT_EQ(smp_call(i, read_cpuid_1, NULL), smp_cpu(i)->apic_id);
		if (has_b)
			EXPECT_EQ(smp_call(i, read_cpuid_b, NULL), smp_cpu(i)->apic_id);
	}
}

static volatile uint32_t turns;

static uint64_t count_turns(void *arg)
{
	for (;;) {
		turns++;
		cpu_relax();
	}
	return 0;
}

static bool turns_go_on(void)
{
	uint32_t now = turns;

	return WAIT_UNTIL(turns != now, SOON_US);
}

TEST(second_startup_is_ignored, "", "a start-up IPI does nothing to a processor that runs", SMP)
{
	smp_start(1);
	smp_run(1, count_turns, NULL);
	ASSERT_TRUE(turns_go_on());
	smp_ipi(smp_cpu(1)->apic_id, IPI_STARTUP | IPI_ASSERT | smp_prepare(1));
	delay_us(500);
	EXPECT_EQ(smp_seen()->count, 0);
	EXPECT_TRUE(turns_go_on());
}

/* A host may be late with the INIT, or have put the processor aside for a while. */
static bool turns_stand_still(void)
{
	uint32_t before = turns;

	delay_us(5000);
	return turns == before;
}

TEST(init_stops_a_running_processor, "",
	"INIT stops a processor that runs, and the next start-up IPI starts it in real mode", SMP)
{
	uint32_t stood;

	smp_start(1);
	smp_run(1, count_turns, NULL);
	ASSERT_TRUE(turns_go_on());
	smp_ipi(smp_cpu(1)->apic_id, IPI_INIT | IPI_ASSERT);
	ASSERT_TRUE(WAIT_UNTIL(turns_stand_still(), SOON_US));
	stood = turns;
	smp_start(1);
	EXPECT_EQ(turns, stood);
	EXPECT_EQ(smp_seen()->count, 1);
	EXPECT_EQ(smp_seen()->cr0 & 0x80000001, 0);
	EXPECT_EQ(smp_call(1, read_id, NULL), smp_cpu(1)->apic_id);
}

TEST(init_reaches_only_the_addressed, "", "INIT to one processor leaves the others running", THREE)
{
	smp_start(1);
	smp_start(2);
	smp_run(2, count_turns, NULL);
	smp_ipi(smp_cpu(1)->apic_id, IPI_INIT | IPI_ASSERT);
	delay_us(500);
	EXPECT_TRUE(turns_go_on());
}

TEST(init_deassert_is_ignored, "", "the level de-assert of INIT stops nobody (10.6.1)", SMP)
{
	smp_start(1);
	smp_run(1, count_turns, NULL);
	ASSERT_TRUE(turns_go_on());
	smp_ipi(smp_cpu(1)->apic_id, IPI_INIT | 0x8000);
	delay_us(500);
	EXPECT_TRUE(turns_go_on());
}

static uint64_t set_apic(void *arg)
{
	irq_disable();
	lapic_write(LAPIC_TPR, 0x50);
	return lapic_read(LAPIC_TPR);
}

TEST(init_resets_the_apic, "",
	"INIT gives the local APIC its state of reset: software-disabled, TPR 0 (10.4.7.3)", SMP)
{
	smp_start(1);
	EXPECT_EQ(smp_call(1, set_apic, NULL), 0x50);
	smp_start(1);
	EXPECT_EQ(smp_cpu(1)->svr, 0xff);
	EXPECT_EQ(smp_cpu(1)->tpr, 0);
	EXPECT_EQ(smp_call(1, read_id, NULL), smp_cpu(1)->apic_id);
}

TEST(waiting_processor_takes_nothing, "",
	"an interrupt to a processor that waits for its start is not held for later", SMP)
{
	unsigned vector = irq_vector();

	smp_start(1);
	smp_ipi(smp_cpu(1)->apic_id, IPI_INIT | IPI_ASSERT);
	delay_us(100);
	smp_ipi(smp_cpu(1)->apic_id, IPI_FIXED | IPI_ASSERT | vector);
	delay_us(100);
	smp_ipi(smp_cpu(1)->apic_id, IPI_STARTUP | IPI_ASSERT | smp_prepare(1));
	ASSERT_TRUE(WAIT_UNTIL(smp_cpu(1)->online, SOON_US));
	EXPECT_EQ(smp_seen()->count, 1);
	delay_us(300);
	EXPECT_EQ(smp_irqs(1, vector), 0);
}

TEST(all_start_at_once, "", "INIT and start-up IPIs to all others at once start each one time", SMP)
{
	uint8_t page = smp_prepare_parked();

	smp_ipi(0, IPI_INIT | IPI_ASSERT | IPI_OTHERS);
	delay_us(200);
	smp_ipi(0, IPI_STARTUP | IPI_ASSERT | IPI_OTHERS | page);
	EXPECT_TRUE(WAIT_UNTIL(smp_seen()->count == smp_count() - 1, SOON_US));
	delay_us(500);
	EXPECT_EQ(smp_seen()->count, smp_count() - 1);
	EXPECT_EQ(rdmsr(MSR_APIC_BASE) & BASE_BSP, BASE_BSP);
}

TEST(starts_again_and_again, "", "a processor can be started any number of times", SMP)
{
	unsigned last = smp_count() - 1;

	for (uint32_t i = 0; i < 20; i++) {
		smp_start(last);
		ASSERT_EQ(smp_seen()->count, 1);
		ASSERT_EQ(smp_call(last, read_id, NULL), smp_cpu(last)->apic_id);
	}
}
