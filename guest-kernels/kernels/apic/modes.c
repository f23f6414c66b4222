/* SPDX-License-Identifier: MIT */
/*
 * Kernel apic: IA32_APIC_BASE and x2APIC (Intel SDM volume 3, 10.4.3, 10.12).
 */
#include "kernels/apic/apic.h"
#include "runtime/irq.h"
#include "runtime/test.h"
#include "runtime/time.h"

#define APIC_BASE 0x1b
#define ENABLED	  0x800ull
#define X2APIC	  0x400ull
#define BSP	  0x100ull
#define MSR(reg)  (0x800 + ((reg) >> 4))
#define SELF_IPI  0x83f

static uint64_t base_of_xapic(void)
{
	return rdmsr(APIC_BASE) & ~X2APIC;
}

/* Into x2APIC mode; apic_ready()'s hook leads out of it. */
static void need_x2apic(void)
{
	apic_ready();
	if (!(cpuid(1, 0).ecx >> 21 & 1))
		SKIP("the processor has no x2APIC");
	wrmsr(APIC_BASE, base_of_xapic() | X2APIC);
	wrmsr(MSR(LAPIC_SVR), 0x100 | IRQ_SPURIOUS);
}

static void leave_x2apic(void)
{
	uint64_t base = base_of_xapic();

	irq_disable();
	wrmsr(APIC_BASE, base & ~ENABLED);
	wrmsr(APIC_BASE, base);
	irq_init();
	irq_enable();
}

/* Functions of their own, because loop counters do not survive what catches traps. */
static bool read_traps(uint32_t msr)
{
	return TRAPS(rdmsr(msr)) && trap_last.vector == TRAP_GP && trap_last.error == 0;
}

static bool write_traps(uint32_t msr, uint64_t value)
{
	return TRAPS(wrmsr(msr, value)) && trap_last.vector == TRAP_GP && trap_last.error == 0;
}

static void eoi_by_msr(unsigned vector)
{
	wrmsr(MSR(LAPIC_EOI), 0);
}

TEST(base_register, "", "APIC_BASE says that this is the boot processor, enabled, at 0xfee00000")
{
	uint64_t base = rdmsr(APIC_BASE);

	EXPECT_EQ(base, LAPIC_BASE | ENABLED | BSP);
}

TEST(base_transitions, "",
	"of the changes of EN and EXTD those that the SDM calls invalid are #GP(0) (figure 10-27)")
{
	uint64_t base;

	apic_ready();
	if (!(cpuid(1, 0).ecx >> 21 & 1))
		SKIP("the processor has no x2APIC");
	irq_disable();
	base = base_of_xapic();
	EXPECT_TRUE(write_traps(APIC_BASE, (base & ~ENABLED) | X2APIC)); /* from xAPIC */
	EXPECT_EQ(rdmsr(APIC_BASE), base);
	wrmsr(APIC_BASE, base | X2APIC);
	EXPECT_EQ(rdmsr(APIC_BASE), base | X2APIC);
	EXPECT_TRUE(write_traps(APIC_BASE, base)); /* x2APIC to xAPIC */
	EXPECT_TRUE(write_traps(APIC_BASE, (base & ~ENABLED) | X2APIC));
	wrmsr(APIC_BASE, base & ~ENABLED);
	EXPECT_EQ(rdmsr(APIC_BASE), base & ~ENABLED);
	EXPECT_TRUE(write_traps(APIC_BASE, base | X2APIC)); /* disabled to x2APIC */
	EXPECT_TRUE(write_traps(APIC_BASE, (base & ~ENABLED) | X2APIC));
	wrmsr(APIC_BASE, base);
	EXPECT_EQ(rdmsr(APIC_BASE), base);
	irq_init();
	irq_enable();
}

TEST(base_reserved_bits, "", "reserved bits of APIC_BASE are #GP(0)")
{
	uint64_t base = rdmsr(APIC_BASE);
	unsigned width =
		cpuid(0x80000000, 0).eax >= 0x80000008 ? cpuid(0x80000008, 0).eax & 0xff : 36;

	apic_ready();
	for (unsigned bit = 0; bit < 8; bit++)
		EXPECT_TRUE(write_traps(APIC_BASE, base | 1ull << bit));
	EXPECT_TRUE(write_traps(APIC_BASE, base | 0x200));
	for (unsigned bit = width; bit < 64; bit++)
		EXPECT_TRUE(write_traps(APIC_BASE, base | 1ull << bit));
	EXPECT_EQ(rdmsr(APIC_BASE), base);
}

TEST(cpuid_follows_base, "", "CPUID's APIC bit is that of APIC_BASE's enable bit")
{
	uint64_t base = rdmsr(APIC_BASE);
	uint32_t off, on;

	apic_ready();
	irq_disable();
	EXPECT_TRUE(cpuid(1, 0).edx >> 9 & 1);
	wrmsr(APIC_BASE, base & ~ENABLED);
	off = cpuid(1, 0).edx >> 9 & 1;
	wrmsr(APIC_BASE, base);
	on = cpuid(1, 0).edx >> 9 & 1;
	irq_init();
	irq_enable();
	EXPECT_EQ(off, 0);
	EXPECT_EQ(on, 1);
}

TEST(x2apic_msrs_need_the_mode, "", "in xAPIC mode the x2APIC MSRs are #GP(0)")
{
	apic_ready();
	if (!(cpuid(1, 0).ecx >> 21 & 1))
		SKIP("the processor has no x2APIC");
	EXPECT_TRUE(read_traps(MSR(LAPIC_ID)));
	EXPECT_TRUE(read_traps(MSR(LAPIC_TPR)));
	EXPECT_TRUE(write_traps(MSR(LAPIC_TPR), 0));
	EXPECT_TRUE(write_traps(SELF_IPI, 0x50));
}

TEST(x2apic_identity, "",
	"in x2APIC mode ID has 32 bits, LDR is made of it, and the version is the same")
{
	uint32_t version = lapic_read(LAPIC_VERSION), id = lapic_id(), found, ldr, x2version;

	need_x2apic();
	found = rdmsr(MSR(LAPIC_ID));
	ldr = rdmsr(MSR(LAPIC_LDR));
	x2version = rdmsr(MSR(LAPIC_VERSION));
	leave_x2apic();
	EXPECT_EQ(found, id);
	EXPECT_EQ(ldr, (id >> 4) << 16 | 1u << (id & 15));
	EXPECT_EQ(x2version, version);
	EXPECT_EQ(lapic_id(), id);
}

TEST(x2apic_read_rules, "", "in x2APIC mode the write-only and the absent registers read as #GP(0)")
{
	static const uint16_t bad[] = {0x800, 0x801, 0x804, 0x807, 0x80b, 0x80c, 0x80e, 0x829,
		0x82e, 0x831, 0x83a, 0x83d, 0x83f, 0x840, 0x8ff};
	static const uint16_t good[] = {0x802, 0x803, 0x808, 0x80a, 0x80d, 0x80f, 0x810, 0x817,
		0x818, 0x820, 0x827, 0x828, 0x830, 0x832, 0x835, 0x836, 0x837, 0x838, 0x839, 0x83e};

	need_x2apic();
	for (unsigned i = 0; i < sizeof(bad) / 2; i++)
		EXPECT_TRUE(read_traps(bad[i]));
	for (unsigned i = 0; i < sizeof(good) / 2; i++) {
		if (!EXPECT_FALSE(read_traps(good[i])))
			note("MSR 0x%x", good[i]);
	}
	leave_x2apic();
}

TEST(x2apic_write_rules, "",
	"in x2APIC mode writes of read-only registers and of reserved bits are #GP(0)")
{
	static const struct {
		uint16_t msr;
		uint64_t value;
	} bad[] = {
		{0x802, 0}, {0x803, 0}, {0x80a, 0}, {0x80d, 0}, {0x810, 0}, {0x820, 0}, {0x827, 0},
		{0x839, 0}, {0x80e, 0xffffffff}, {0x831, 0}, {0x80b, 1}, /* EOI: 0 only */
		{0x828, 1},						 /* ESR: 0 only */
		{0x808, 0x100},						 /* TPR: eight bits */
		{0x808, 1ull << 32}, {0x80f, 0x1ffull | 1ull << 40},
		{0x832, 0x10000ull | 1ull << 32}, {0x838, 1ull << 32},
		{0x83f, 0x100}, /* self IPI: a vector */
	};

	need_x2apic();
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (!EXPECT_TRUE(write_traps(bad[i].msr, bad[i].value)))
			note("MSR 0x%x value 0x%lx", bad[i].msr, bad[i].value);
	leave_x2apic();
}

TEST(x2apic_interrupts, "",
	"self IPIs by their register, by ICR and by logical id arrive and end by the EOI's MSR")
{
	uint64_t id, ldr;
	unsigned vector;
	bool by_self, by_icr, by_logical;

	need_x2apic();
	vector = irq_vector();
	irq_handler(vector, eoi_by_msr);
	id = rdmsr(MSR(LAPIC_ID));
	ldr = rdmsr(MSR(LAPIC_LDR));
	wrmsr(SELF_IPI, vector);
	by_self = WAIT_UNTIL(irq_count(vector) == 1, SOON_US);
	wrmsr(MSR(LAPIC_ICR_LOW), id << 32 | vector);
	by_icr = WAIT_UNTIL(irq_count(vector) == 2, SOON_US);
	wrmsr(MSR(LAPIC_ICR_LOW), ldr << 32 | 0x800 | vector);
	by_logical = WAIT_UNTIL(irq_count(vector) == 3, SOON_US);
	leave_x2apic();
	EXPECT_TRUE(by_self);
	EXPECT_TRUE(by_icr);
	EXPECT_TRUE(by_logical);
	EXPECT_EQ(irq_count(vector), 3);
}

TEST(x2apic_priorities, "", "in x2APIC mode TPR and CR8 are one and hold interrupts back")
{
	uint32_t held, tpr, released;
	unsigned vector;

	need_x2apic();
	vector = irq_vector();
	irq_handler(vector, eoi_by_msr);
	wrmsr(MSR(LAPIC_TPR), vector & 0xf0);
	wrmsr(SELF_IPI, vector);
	delay_us(100);
	held = irq_count(vector);
	tpr = rdmsr(MSR(LAPIC_TPR));
	__asm__ volatile("mov %0, %%cr8" : : "r"(0ul) : "memory");
	released = WAIT_UNTIL(irq_count(vector) == 1, SOON_US);
	leave_x2apic();
	EXPECT_EQ(held, 0);
	EXPECT_EQ(tpr, vector & 0xf0);
	EXPECT_EQ(released, 1);
}
