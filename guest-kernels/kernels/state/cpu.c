/* SPDX-License-Identifier: MIT */
/* The processor: registers, extensions, MSRs, what is on its way into it, its local APIC. */
#include "state.h"

#define COM2_DATA   "0x2f8"
#define COM2_STATUS "0x2fd"

#define MSR_SYSENTER_ESP   0x175
#define MSR_SYSENTER_EIP   0x176
#define MSR_PAT		   0x277
#define MSR_STAR	   0xc0000081
#define MSR_LSTAR	   0xc0000082
#define MSR_SYSCALL_MASK   0xc0000084
#define MSR_FS_BASE	   0xc0000100
#define MSR_KERNEL_GS_BASE 0xc0000102

#define CR4_OSFXSR 0x200

/* Holds every register but RAX, RDX and RSP until a character of the answer is there. */
TEST(general_registers, "", "general registers have after a save what they had before", CTL)
{
	uint64_t out[13], flags = 0;

	if (!ctl_present())
		SKIP("no control port");
	ctl_save_send();
	__asm__ volatile("push %%rbx\n push %%rbp\n push %1\n"
			 "mov $0x1111111122222222, %%rbx\n mov $0x3333333344444444, %%rbp\n"
			 "mov $0x5555555566666666, %%rcx\n mov $0x7777777788888888, %%rsi\n"
			 "mov $0x99999999aaaaaaaa, %%rdi\n mov $0xbbbbbbbbcccccccc, %%r8\n"
			 "mov $0xddddddddeeeeeeee, %%r9\n mov $0x0123456789abcdef, %%r10\n"
			 "mov $0xfedcba9876543210, %%r11\n mov $0x0f1e2d3c4b5a6978, %%r12\n"
			 "mov $0x8796a5b4c3d2e1f0, %%r13\n mov $0xa5a5a5a55a5a5a5a, %%r14\n"
			 "mov $0x5a5a5a5aa5a5a5a5, %%r15\n mov $" COM2_STATUS ", %%edx\n"
			 "1: in %%dx, %%al\n test $1, %%al\n jz 1b\n"
			 "pop %%rax\n"
			 "mov %%rbx, (%%rax)\n mov %%rbp, 8(%%rax)\n mov %%rcx, 16(%%rax)\n"
			 "mov %%rsi, 24(%%rax)\n mov %%rdi, 32(%%rax)\n mov %%r8, 40(%%rax)\n"
			 "mov %%r9, 48(%%rax)\n mov %%r10, 56(%%rax)\n mov %%r11, 64(%%rax)\n"
			 "mov %%r12, 72(%%rax)\n mov %%r13, 80(%%rax)\n mov %%r14, 88(%%rax)\n"
			 "mov %%r15, 96(%%rax)\n pop %%rbp\n pop %%rbx\n"
			 : "+r"(flags)
			 : "r"(out)
			 : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12",
			 "r13", "r14", "r15", "memory", "cc");
	if (!ctl_save_wait())
		SKIP("the VMM does not save: %s", ctl_reason());
	static const uint64_t wanted[13] = {0x1111111122222222, 0x3333333344444444,
		0x5555555566666666, 0x7777777788888888, 0x99999999aaaaaaaa, 0xbbbbbbbbcccccccc,
		0xddddddddeeeeeeee, 0x0123456789abcdef, 0xfedcba9876543210, 0x0f1e2d3c4b5a6978,
		0x8796a5b4c3d2e1f0, 0xa5a5a5a55a5a5a5a, 0x5a5a5a5aa5a5a5a5};

	for (unsigned i = 0; i < 13; i++)
		EXPECT_EQ(out[i], wanted[i]);
}

TEST(control_registers, "", "CR0, CR2, CR3 and CR4 stay as they were", CTL)
{
	uint64_t cr0 = read_cr0(), cr3 = read_cr3(), cr4 = read_cr4();

	__asm__ volatile("mov %0, %%cr2" : : "r"(0x123456789abcull));
	cut();
	EXPECT_EQ(read_cr2(), 0x123456789abcull);
	EXPECT_EQ(read_cr0(), cr0);
	EXPECT_EQ(read_cr3(), cr3);
	EXPECT_EQ(read_cr4(), cr4);
}

TEST(debug_registers, "", "breakpoint addresses and the masks of DR7 stay", CTL)
{
	uint64_t value;

	__asm__ volatile("mov %0, %%dr0; mov %1, %%dr3"
			 :
			 : "r"(0xdeadbee000ull), "r"(0x7ffffff8ull));
	cut();
	__asm__ volatile("mov %%dr0, %0" : "=r"(value));
	EXPECT_EQ(value, 0xdeadbee000ull);
	__asm__ volatile("mov %%dr3, %0" : "=r"(value));
	EXPECT_EQ(value, 0x7ffffff8ull);
	__asm__ volatile("mov %%dr7, %0" : "=r"(value));
	EXPECT_EQ(value, 0x400);
}

static const struct {
	uint32_t index;
	uint64_t value;
} msrs[] = {
	{MSR_SYSENTER_ESP, 0x1122334455},
	{MSR_SYSENTER_EIP, 0x66778899aa},
	{MSR_STAR, 0x0023001000000000},
	{MSR_LSTAR, 0x7fffbbccddee},
	{MSR_SYSCALL_MASK, 0x47700},
	{MSR_KERNEL_GS_BASE, 0x13579bdf02},
	{MSR_PAT, 0x0007040600070106},
};

TEST(model_specific_registers, "", "system-call registers, PAT and KERNEL_GS_BASE stay", CTL)
{
	uint64_t before[sizeof(msrs) / sizeof(msrs[0])];
	unsigned count = sizeof(msrs) / sizeof(msrs[0]);

	for (unsigned i = 0; i < count; i++) {
		before[i] = rdmsr(msrs[i].index);
		wrmsr(msrs[i].index, msrs[i].value);
	}
	cut();
	for (unsigned i = 0; i < count; i++) {
		EXPECT_EQ(rdmsr(msrs[i].index), msrs[i].value);
		wrmsr(msrs[i].index, before[i]);
	}
}

/* FXSAVE's image (SDM 1, 10.5.1): what is not reserved, with values that an init would not have. */
static void fill_image(uint8_t *image)
{
	memset(image, 0, 512);
	image[0] = 0x7f; /* FCW: all masked, rounds up, 53 bits; bit 6 is always 1 */
	image[1] = 0x0a;
	image[4] = 0xff; /* FTW: all valid */
	image[24] = 0x80;
	image[25] = 0x7f; /* MXCSR: rounds towards zero, flushes to zero */
	for (unsigned i = 0; i < 8; i++)
		for (unsigned b = 0; b < 10; b++)
			image[32 + 16 * i + b] = b < 8 ? 0x80 + 16 * i + b : b == 8 ? i : 0x3f;
	for (unsigned i = 0; i < 256; i++)
		image[160 + i] = i * 7 + 3;
}

static void with_fpu(uint8_t *in, uint8_t *out)
{
	uint64_t cr4 = read_cr4();

	__asm__ volatile("mov %0, %%cr4" : : "r"(cr4 | CR4_OSFXSR));
	__asm__ volatile("fxrstorq (%0)" : : "r"(in) : "memory");
	cut();
	__asm__ volatile("fxsaveq (%0)" : : "r"(out) : "memory");
	__asm__ volatile("mov %0, %%cr4" : : "r"(cr4));
}

#define FPU NEEDS("ctl insn:sse")

TEST(x87_registers, "", "the x87 stack and its control word stay", FPU)
{
	uint8_t *image = arena_alloc(512, 16), *after = arena_alloc(512, 16);

	fill_image(image);
	with_fpu(image, after);
	EXPECT_EQ(after[0] | after[1] << 8, 0xa7f);
	EXPECT_EQ(after[4], 0xff);
	for (unsigned i = 0; i < 8; i++)
		EXPECT_MEM(after + 32 + 16 * i, image + 32 + 16 * i, 10);
}

TEST(sse_registers, "", "XMM0 to XMM15 and MXCSR stay", FPU)
{
	uint8_t *image = arena_alloc(512, 16), *after = arena_alloc(512, 16);

	fill_image(image);
	with_fpu(image, after);
	EXPECT_EQ(after[24] | after[25] << 8, 0x7f80);
	EXPECT_MEM(after + 160, image + 160, 256);
}

/* --- segments --- */

struct __attribute__((packed)) descriptor_table {
	uint16_t limit;
	uint64_t base;
};

TEST(stale_descriptor, "",
	"a segment keeps the base it was loaded with, though its descriptor changed", CTL)
{
	struct descriptor_table old, new;
	uint64_t *table = arena_alloc(4096, 16), before = rdmsr(MSR_FS_BASE);
	uint16_t selector;

	__asm__ volatile("sgdt %0" : "=m"(old));
	memcpy(table, (void *)old.base, old.limit + 1);
	selector = (old.limit + 1 + 7) & ~7;
	table[selector / 8] = 0x00cf92345678ffffull; /* base 0x345678, data, writable */
	new = (struct descriptor_table){selector + 7, (uint64_t)table};
	__asm__ volatile("lgdt %0; mov %w1, %%fs" : : "m"(new), "r"(selector));
	table[selector / 8] = 0x00cf92000000ffffull;
	cut();
	EXPECT_EQ(rdmsr(MSR_FS_BASE), 0x345678);
	__asm__ volatile("mov %%fs, %0" : "=r"(selector));
	EXPECT_EQ(selector, new.limit - 7);
	__asm__ volatile("lgdt %0; mov %w1, %%fs" : : "m"(old), "r"(0));
	wrmsr(MSR_FS_BASE, before);
}

/* --- time --- */

#define MINUTE	(60ull * 6000000000) /* at the fastest rate there is */
#define MSR_TSC 0x10

static bool tsc_can_be_set(void)
{
	uint64_t now = rdtsc(), seen;

	wrmsr(MSR_TSC, 1000);
	seen = rdtsc();
	wrmsr(MSR_TSC, now);
	return seen < now;
}

TEST(tsc_goes_on, "", "the TSC does not go back and does not jump", CTL)
{
	uint64_t before = rdtsc(), after;

	cut();
	after = rdtsc();
	EXPECT_GE(after, before);
	if (after - before > MINUTE && !tsc_can_be_set())
		SKIP("the TSC here is the host's and cannot be set");
	EXPECT_LT(after - before, MINUTE);
}

static void timer_start(unsigned vector, uint32_t mode, uint32_t count)
{
	lapic_write(LAPIC_TIMER_DIVIDE, 3); /* by 16 */
	lapic_write(LAPIC_LVT_TIMER, vector | mode);
	lapic_write(LAPIC_TIMER_INITIAL, count);
}

TEST(timer_half_way, "", "a one-shot timer of the local APIC goes on where it stood, and ends", CTL)
{
	unsigned vector = irq_vector();
	uint32_t before, after;

	timer_start(vector, LAPIC_LVT_MASKED, 2000000000);
	delay_us(1000);
	before = lapic_read(LAPIC_TIMER_CURRENT);
	cut();
	after = lapic_read(LAPIC_TIMER_CURRENT);
	EXPECT_LT(before, 2000000000);
	EXPECT_LE(after, before);
	/* 32 s in all at 1 GHz: it has not begun anew, and not run out. */
	EXPECT_GT(after, 0);
	timer_start(vector, 0, 5000000);
	cut();
	EXPECT_TRUE(WAIT_UNTIL(irq_count(vector) == 1, SOON_US));
	EXPECT_EQ(lapic_read(LAPIC_TIMER_CURRENT), 0);
	EXPECT_EQ(lapic_read(LAPIC_TIMER_INITIAL), 5000000);
}

TEST(timer_periodic, "", "a periodic timer of the local APIC keeps its period", CTL)
{
	unsigned vector = irq_vector();
	uint32_t seen;

	timer_start(vector, LAPIC_LVT_PERIODIC, 100000);
	EXPECT_TRUE(WAIT_UNTIL(irq_count(vector) >= 1, SOON_US));
	cut();
	seen = irq_count(vector);
	EXPECT_TRUE(WAIT_UNTIL(irq_count(vector) >= seen + 3, SOON_US));
	lapic_write(LAPIC_LVT_TIMER, LAPIC_LVT_MASKED);
	EXPECT_EQ(lapic_read(LAPIC_TIMER_INITIAL), 100000);
}

/* --- the local APIC --- */

TEST(lapic_registers, "", "TPR, LDR, divisor, error vector and spurious vector stay", CTL)
{
	lapic_write(LAPIC_TPR, 0x20);
	lapic_write(LAPIC_LDR, 0x5a000000);
	lapic_write(LAPIC_LVT_ERROR, LAPIC_LVT_MASKED | 0xe1);
	lapic_write(LAPIC_TIMER_DIVIDE, 0xa);
	cut();
	EXPECT_EQ(lapic_read(LAPIC_TPR), 0x20);
	EXPECT_EQ(lapic_read(LAPIC_LDR), 0x5a000000);
	EXPECT_EQ(lapic_read(LAPIC_LVT_ERROR), LAPIC_LVT_MASKED | 0xe1);
	EXPECT_EQ(lapic_read(LAPIC_TIMER_DIVIDE), 0xa);
	EXPECT_EQ(lapic_read(LAPIC_SVR) & 0x1ff, 0x100 | IRQ_SPURIOUS);
	lapic_write(LAPIC_TPR, 0);
	lapic_write(LAPIC_LDR, 0);
	lapic_write(LAPIC_LVT_ERROR, LAPIC_LVT_MASKED);
}

TEST(requested_interrupt, "", "an interrupt that waits for IF is delivered once", CTL)
{
	unsigned vector = irq_vector();
	bool before, after;

	irq_disable();
	lapic_self_ipi(vector);
	before = lapic_requested(vector);
	if (!ctl_save()) {
		irq_enable();
		SKIP("the VMM does not save: %s", ctl_reason());
	}
	after = lapic_requested(vector);
	irq_enable();
	EXPECT_TRUE(before);
	EXPECT_TRUE(after);
	EXPECT_TRUE(WAIT_UNTIL(irq_count(vector) == 1, SOON_US));
	EXPECT_FALSE(lapic_requested(vector));
}

static bool saved, held_back;
static unsigned lower;

static void save_inside(unsigned vector)
{
	bool was;

	lapic_self_ipi(lower);
	was = lapic_in_service(vector);
	saved = ctl_save();
	held_back = lapic_requested(lower) && lapic_in_service(vector) == was;
	lapic_eoi();
}

TEST(interrupt_in_service, "", "an interrupt in service holds back a lower one until its end", CTL)
{
	unsigned vector;

	lower = irq_vector();
	do
		vector = irq_vector();
	while (vector >> 4 == lower >> 4);
	irq_handler(vector, save_inside);
	saved = held_back = false;
	lapic_self_ipi(vector);
	WAIT_UNTIL(irq_count(vector) == 1, 10 * SOON_US);
	if (!saved)
		SKIP("the VMM does not save: %s", ctl_reason());
	EXPECT_TRUE(held_back);
	EXPECT_TRUE(WAIT_UNTIL(irq_count(lower) == 1, SOON_US));
	EXPECT_EQ(irq_count(vector), 1);
}
