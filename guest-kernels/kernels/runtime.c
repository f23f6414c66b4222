/* SPDX-License-Identifier: MIT */
/*
 * Kernel runtime: the runtime proves itself, because a bench with a broken ruler measures nothing.
 * No device model is tested here beyond what the runtime stands on (TSC, local APIC, COM1).
 */
#include "runtime/boot.h"
#include "runtime/irq.h"
#include "runtime/memory.h"
#include "runtime/paging.h"
#include "runtime/test.h"
#include "runtime/time.h"
#include "runtime/user.h"

TEST(crc32c_check_value, "", "crc32c() gives the published check value, whole and in parts")
{
	const char *nine = "123456789";

	EXPECT_EQ(crc32c(0, nine, 9), 0xe3069283);
	EXPECT_EQ(crc32c(crc32c(0, nine, 4), nine + 4, 5), 0xe3069283);
	EXPECT_EQ(crc32c(0, "", 0), 0);
}

TEST(user_call_returns, "", "user_call() runs at CPL 3 and returns the result")
{
	uint8_t *bytes = arena_alloc_raw(8192, 64), *copy = arena_alloc_raw(8192, 64);

	user_fill(bytes, 8192, 7);
	EXPECT_EQ(user_verify(bytes, 8192, 7), 8192);
	bytes[4100] ^= 1;
	EXPECT_EQ(user_verify(bytes, 8192, 7), 4096);
	EXPECT_EQ(user_crc32c(0, bytes, 8192), crc32c(0, bytes, 8192));
	user_memcpy(copy, bytes, 8192);
	EXPECT_EQ(user_memcmp(copy, bytes, 8192), 0);
	copy[8191]++;
	EXPECT_GT(user_memcmp(copy, bytes, 8192), 0);
}

static uint64_t privileged(void *arg)
{
	__asm__ volatile("hlt");
	return 0;
}

TEST(user_call_is_cpl3, "",
	"a privileged instruction inside user_call() is a general protection fault")
{
	EXPECT_TRAP(TRAP_GP, user_call(privileged, NULL));
	EXPECT_EQ(trap_last.cs & 3, 3);
	EXPECT_EQ(user_crc32c(0, "123456789", 9), 0xe3069283);
}

TEST(self_interrupt_is_counted, "", "a self-IPI is delivered once and counted under its vector")
{
	unsigned vector = irq_vector();

	lapic_self_ipi(vector);
	EXPECT_TRUE(WAIT_UNTIL(irq_count(vector) == 1, SOON_US));
	EXPECT_FALSE(lapic_in_service(vector));
}

TEST(interrupt_during_user_call, "",
	"an interrupt that comes at CPL 3 is taken and the work goes on")
{
	unsigned vector = irq_vector();
	uint8_t *bytes = arena_alloc_raw(0x10000, 64);

	irq_disable();
	lapic_self_ipi(vector);
	EXPECT_EQ(irq_count(vector), 0);
	irq_enable();
	user_fill(bytes, 0x10000, 1);
	EXPECT_EQ(user_verify(bytes, 0x10000, 1), 0x10000);
	EXPECT_EQ(irq_count(vector), 1);
}

TEST(format_subset, "", "format() writes what printf would")
{
	char text[64];

	EXPECT_EQ(format(text, sizeof(text), "%5d|%-4u|%04x|%s|%.2s|%lx|%c%%", -42, 7u, 0xabu, "s",
			  "xyz", 0x123456789abcul, 'c'),
		36);
	EXPECT_EQ(strcmp(text, "  -42|7   |00ab|s|xy|123456789abc|c%"), 0);
	EXPECT_EQ(format(text, 4, "abcdef"), 6);
	EXPECT_EQ(strcmp(text, "abc"), 0);
}

TEST(guards_are_watched, "", "memory_is() finds the first byte that differs and guards are intact")
{
	uint8_t *bytes = guarded_alloc(100);
	size_t where = 0;

	EXPECT_EQ((uint64_t)bytes % 64, 0);
	EXPECT_TRUE(memory_is(bytes, 0, 100, NULL));
	bytes[37] = 1;
	EXPECT_FALSE(memory_is(bytes, 0, 100, &where));
	EXPECT_EQ(where, 37);
	EXPECT_EQ(bytes[-1], 0xc3);
	EXPECT_EQ(bytes[100], 0xc3);
	EXPECT_TRUE(guarded_check());
}

TEST(window_page_is_mapped, "", "paging_map() maps one page where it is told")
{
	uint64_t *page = arena_alloc(4096, 4096);
	volatile uint64_t *seen = (void *)(PAGING_WINDOW + 0x5000);

	paging_map((uint64_t)seen, phys(page), PAGE_PRESENT | PAGE_WRITE);
	page[3] = 0x1234;
	EXPECT_EQ(seen[3], 0x1234);
	seen[4] = 0x4321;
	EXPECT_EQ(page[4], 0x4321);
}

TEST(tsc_is_calibrated, "",
	"a delay lasts by the TSC what was asked, and the rate is a processor's")
{
	uint64_t start = rdtsc(), ns;

	delay_us(500);
	ns = tsc_to_ns(rdtsc() - start);
	EXPECT_GE(ns, 490000);
	EXPECT_GE(tsc_per_us(), 100);
	EXPECT_LE(tsc_per_us(), 10000);
	test_metric("tsc_hz", tsc_hz());
}

TEST(random_follows_seed, "", "test_random() gives a sequence, not one value")
{
	EXPECT_NE(test_random(), test_random());
}
