/* SPDX-License-Identifier: MIT */
/*
 * Kernel smp: memory between processors: locked operations (Intel SDM volume 3, 8.1.2), order
 * (8.2), page tables (4.10.5) and code that another processor changes (8.1.3).
 */
#include "kernels/smp/smp.h"
#include "runtime/memory.h"
#include "runtime/paging.h"

#define ADDS 100

struct shared {
	volatile uint32_t ready, lock, done;
	volatile uint64_t sum __attribute__((aligned(64)));
	volatile uint64_t first, second;
	volatile uint32_t wrong;
};

static struct shared shared;

/* All begin at once: each says that it is there and waits for the others. */
static void meet(void)
{
	__atomic_add_fetch(&shared.ready, 1, __ATOMIC_SEQ_CST);
	while (shared.ready < smp_count())
		cpu_relax();
}

static void everywhere(smp_fn *fn)
{
	memset((void *)&shared, 0, sizeof(shared));
	smp_start_all();
	run_everywhere(fn, NULL);
}

static uint64_t add_by_xadd(void *arg)
{
	meet();
	for (int i = 0; i < ADDS; i++) {
		uint64_t one = 1;

		__asm__ volatile("lock; xadd %0, %1" : "+r"(one), "+m"(shared.sum) : : "cc");
	}
	return 0;
}

TEST(locked_xadd_loses_nothing, "", "LOCK XADD from all processors at once loses no addition", SMP)
{
	everywhere(add_by_xadd);
	EXPECT_EQ(shared.sum, (uint64_t)ADDS * smp_count());
}

static uint64_t add_by_cmpxchg(void *arg)
{
	meet();
	for (int i = 0; i < ADDS; i++) {
		uint64_t old = shared.sum;
		bool done;

		do {
			__asm__ volatile("lock; cmpxchg %3, %1"
					 : "+a"(old), "+m"(shared.sum), "=@ccz"(done)
					 : "r"(old + 1)
					 : "memory");
		} while (!done);
	}
	return 0;
}

TEST(locked_cmpxchg_loses_nothing, "",
	"LOCK CMPXCHG stores only where the value is still the one that was read", SMP)
{
	everywhere(add_by_cmpxchg);
	EXPECT_EQ(shared.sum, (uint64_t)ADDS * smp_count());
}

static uint64_t set_own_bit(void *arg)
{
	bool was_set;

	meet();
	__asm__ volatile("lock; btsq %2, %1"
			 : "=@ccc"(was_set), "+m"(shared.sum)
			 : "r"((uint64_t)smp_this()->index)
			 : "memory");
	return was_set;
}

TEST(locked_bts_keeps_all_bits, "", "LOCK BTS of one word by all processors keeps every bit", SMP)
{
	everywhere(set_own_bit);
	EXPECT_EQ(shared.sum, EVERY);
	for (unsigned i = 1; i < smp_count(); i++)
		EXPECT_EQ(smp_cpu(i)->result, 0);
}

static uint64_t take_lock_and_add(void *arg)
{
	meet();
	for (int i = 0; i < ADDS / 4; i++) {
		uint32_t held;

		do {
			held = 1;
			__asm__ volatile("xchg %0, %1"
					 : "+r"(held), "+m"(shared.lock)
					 :
					 : "memory");
			if (held)
				cpu_relax();
		} while (held);
		shared.wrong += shared.first != shared.second;
		shared.first = shared.first + 1;
		shared.second = shared.second + 1;
		compiler_barrier();
		shared.lock = 0;
	}
	return 0;
}

TEST(xchg_is_a_lock, "", "XCHG needs no prefix to be a lock: one processor at a time is inside",
	SMP)
{
	everywhere(take_lock_and_add);
	EXPECT_EQ(shared.wrong, 0);
	EXPECT_EQ(shared.first, (uint64_t)(ADDS / 4) * smp_count());
	EXPECT_EQ(shared.second, shared.first);
}

/* --- order between two processors --- */

struct litmus {
	volatile uint32_t turn, back; /* begun by the first; answered by the second */
	volatile uint64_t x __attribute__((aligned(64)));
	volatile uint64_t y __attribute__((aligned(64)));
	volatile uint64_t seen[2];
};

static struct litmus litmus;

#define TURNS 100

static uint64_t store_then_load(void *arg)
{
	for (uint32_t turn = 1; turn <= TURNS; turn++) {
		while (litmus.turn != turn)
			;
		litmus.y = 1;
		__asm__ volatile("mfence" : : : "memory");
		litmus.seen[1] = litmus.x;
		litmus.back = turn;
	}
	return 0;
}

TEST(mfence_orders_store_and_load, "",
	"with MFENCE between store and load, two processors do not both miss the other's store",
	SMP)
{
	uint32_t both_missed = 0;

	memset((void *)&litmus, 0, sizeof(litmus));
	smp_start(1);
	smp_run(1, store_then_load, NULL);
	for (uint32_t turn = 1; turn <= TURNS; turn++) {
		litmus.x = litmus.y = 0;
		compiler_barrier();
		litmus.turn = turn;
		litmus.x = 1;
		__asm__ volatile("mfence" : : : "memory");
		litmus.seen[0] = litmus.y;
		ASSERT_TRUE(WAIT_UNTIL(litmus.back == turn, SOON_US));
		both_missed += !litmus.seen[0] && !litmus.seen[1];
	}
	EXPECT_EQ(both_missed, 0);
	EXPECT_EQ(litmus.x + litmus.y, 2);
	smp_wait(1, SOON_US);
}

static uint64_t watch_message(void *arg)
{
	for (uint64_t turn = 1; turn <= TURNS; turn++) {
		while (litmus.y != turn)
			cpu_relax();
		litmus.seen[0] += litmus.x != turn * 3;
		litmus.back = turn;
	}
	return litmus.seen[0];
}

TEST(stores_are_seen_in_order, "",
	"who sees a later store of another processor sees its earlier ones (8.2.3.2)", SMP)
{
	memset((void *)&litmus, 0, sizeof(litmus));
	smp_start(1);
	smp_run(1, watch_message, NULL);
	for (uint64_t turn = 1; turn <= TURNS; turn++) {
		litmus.x = turn * 3;
		compiler_barrier();
		litmus.y = turn;
		ASSERT_TRUE(WAIT_UNTIL(litmus.back == turn, SOON_US));
	}
	EXPECT_EQ(smp_wait(1, SOON_US), 0);
}

static uint64_t flip_word(void *arg)
{
	while (!shared.done) {
		shared.sum = ~0ull;
		shared.sum = 0;
	}
	return 0;
}

TEST(quadword_is_whole, "", "an aligned store of 64 bits is seen whole or not at all (8.1.1)", SMP)
{
	uint32_t torn = 0, zeros = 0, ones = 0;

	memset((void *)&shared, 0, sizeof(shared));
	smp_start(1);
	smp_run(1, flip_word, NULL);
	for (int i = 0; i < 20000 && (i < 300 || !zeros || !ones); i++) {
		uint64_t now = shared.sum;

		zeros += now == 0;
		ones += now == ~0ull;
		torn += now != 0 && now != ~0ull;
		if (i % 16 == 0)
			cpu_relax();
	}
	shared.done = 1;
	smp_wait(1, SOON_US);
	EXPECT_EQ(torn, 0);
	EXPECT_GT(zeros + ones, 0);
}

/* --- page tables --- */

/* Where in a small TLB nothing else of this kernel lies (the local APIC's page has place 0), so
 * that the translation stays until it is asked to go. */
#define WINDOW (PAGING_WINDOW + 0x1f0000)

struct shootdown {
	volatile uint64_t *window;
	volatile uint32_t seen, go, flushed;
};

static struct shootdown shootdown;

static void flush_window(unsigned vector)
{
	invlpg(shootdown.window);
	shootdown.flushed = 1;
	lapic_eoi();
}

static uint64_t read_window_twice(void *arg)
{
	uint64_t first = *shootdown.window;

	shootdown.seen = 1;
	wait_for_word((void *)&shootdown.go);
	return first << 32 | *shootdown.window;
}

TEST(shootdown, "",
	"after an IPI whose handler has run INVLPG, a processor sees the page table as changed",
	SMP)
{
	uint64_t *old = arena_alloc(4096, 4096), *new = arena_alloc(4096, 4096);
	volatile uint64_t *entry;
	unsigned vector = irq_vector();

	*old = 0x11;
	*new = 0x22;
	memset((void *)&shootdown, 0, sizeof(shootdown));
	shootdown.window = (void *)WINDOW;
	entry = paging_map(WINDOW, phys(old), PAGE_PRESENT | PAGE_WRITE);
	smp_handler(vector, flush_window);
	smp_start(1);
	smp_run(1, read_window_twice, NULL);
	ASSERT_TRUE(WAIT_UNTIL(shootdown.seen, SOON_US));
	*entry = phys(new) | PAGE_PRESENT | PAGE_WRITE;
	smp_ipi(smp_cpu(1)->apic_id, IPI_FIXED | IPI_ASSERT | vector);
	ASSERT_TRUE(WAIT_UNTIL(shootdown.flushed, SOON_US));
	shootdown.go = 1;
	EXPECT_EQ(smp_wait(1, SOON_US), 0x1100000022ull);
}

static uint64_t write_window(void *arg)
{
	*shootdown.window = 0x33;
	return *shootdown.window;
}

TEST(unmapped_page_faults_there, "",
	"a page that another processor has made read-only faults after INVLPG, where it is written",
	SMP)
{
	uint64_t *page = arena_alloc(4096, 4096);
	volatile uint64_t *entry;
	unsigned vector = irq_vector();

	*page = 0x11;
	memset((void *)&shootdown, 0, sizeof(shootdown));
	shootdown.window = (void *)WINDOW;
	entry = paging_map(WINDOW, phys(page), PAGE_PRESENT | PAGE_WRITE);
	smp_handler(vector, flush_window);
	smp_start(1);
	EXPECT_EQ(smp_call(1, write_window, NULL), 0x33);
	*page = 0x11;
	*entry = phys(page) | PAGE_PRESENT;
	smp_ipi(smp_cpu(1)->apic_id, IPI_FIXED | IPI_ASSERT | vector);
	ASSERT_TRUE(WAIT_UNTIL(shootdown.flushed, SOON_US));
	smp_run(1, write_window, NULL);
	ASSERT_TRUE(WAIT_UNTIL(smp_is_done(1), SOON_US));
	ASSERT_TRUE(smp_cpu(1)->trapped);
	EXPECT_EQ(smp_cpu(1)->trap.vector, TRAP_PF);
	EXPECT_EQ(smp_cpu(1)->trap.error, 3);
	EXPECT_EQ(smp_cpu(1)->trap.cr2, WINDOW);
	EXPECT_EQ(*page, 0x11);
}

/* --- code --- */

static uint8_t *code;
static volatile uint32_t changed, answered, answer;

/* mov eax, value; ret */
static void write_code(uint32_t value)
{
	code[0] = 0xb8;
	memcpy(code + 1, &value, 4);
	code[5] = 0xc3;
}

static uint64_t call_code(void *arg)
{
	for (uint32_t turn = 1; turn <= 10; turn++) {
		while (changed != turn)
			cpu_relax();
		cpuid(0, 0); /* serialises */
		answer = ((uint32_t(*)(void))code)();
		answered = turn;
	}
	return 0;
}

TEST(code_of_another, "",
	"code that another processor has written runs as written, after a serialising instruction",
	SMP)
{
	code = arena_alloc(4096, 4096);
	changed = answered = 0;
	smp_start(1);
	smp_run(1, call_code, NULL);
	for (uint32_t turn = 1; turn <= 10; turn++) {
		write_code(turn * 0x01010101);
		compiler_barrier();
		changed = turn;
		ASSERT_TRUE(WAIT_UNTIL(answered == turn, SOON_US));
		ASSERT_EQ(answer, turn * 0x01010101);
	}
	smp_wait(1, SOON_US);
}

static uint64_t loop_in_code(void *arg)
{
	while (((uint32_t(*)(void))code)() == 1)
		cpu_relax();
	return ((uint32_t(*)(void))code)();
}

/* QEMU's TCG loses the store now and then (docs/differences.md#tcg-code-of-another). */
static bool is_tcg(void)
{
	struct cpuid hypervisor = cpuid(0x40000000, 0);

	return hypervisor.ebx == 0x54474354 && hypervisor.ecx == 0x43544743; /* "TCGTCGTCGTCG" */
}

TEST(code_under_execution, "",
	"a processor in a loop runs what another has changed in it once an IPI has come to it", SMP)
{
	if (is_tcg())
		SKIP("QEMU's TCG does not always notice the store");
	code = arena_alloc(4096, 4096);
	write_code(1);
	smp_start(1);
	smp_run(1, loop_in_code, NULL);
	delay_us(500);
	EXPECT_FALSE(smp_is_done(1));
	*(volatile uint8_t *)(code + 1) = 2; /* one byte: no mixture can be fetched */
	smp_ipi(smp_cpu(1)->apic_id, IPI_FIXED | IPI_ASSERT | irq_vector());
	EXPECT_EQ(smp_wait(1, SOON_US), 2);
}
