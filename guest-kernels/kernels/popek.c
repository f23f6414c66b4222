/* SPDX-License-Identifier: MIT */
/*
 * Kernel popek: the instructions of x86 that are sensitive and do not trap (Popek and Goldberg,
 * "Formal requirements for virtualizable third generation architectures", 1974; the list for this
 * architecture is Robin and Irvine's of 2000).  A VMM that runs a kernel at another privilege, or
 * on other tables than the kernel's own, shows in what they answer.
 *
 * Each TEST says by `# metric tells` whether the guest can tell; docs/popek.md has the table.  It
 * fails where it can, except where the harness found that the engine executes a part of kernel code
 * only (exact=0): there it says so and skips.
 */
#include "runtime/boot.h"
#include "runtime/io.h"
#include "runtime/irq.h"
#include "runtime/memory.h"
#include "runtime/test.h"
#include "runtime/user.h"

#define SEL_CODE      0x08
#define SEL_DATA      0x10
#define SEL_USER_DATA 0x1b
#define SEL_USER_CODE 0x23
#define SEL_TSS	      0x28
#define SEL_OWN	      0x80
#define FLAG_IF	      0x200ull
#define FLAG_IOPL     0x3000ull
#define CR4_UMIP      (1ull << 11)

struct table {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

extern struct table gdt_pointer, idt_pointer;

/* What an instruction answers at one privilege. */
struct answers {
	uint64_t value[8];
};
typedef uint64_t ask(void *answers);

static void found(const char *what, uint64_t expected, uint64_t got, unsigned *tells)
{
	if (expected == got)
		return;
	note("%s: 0x%lx on a processor alone, 0x%lx here", what, expected, got);
	*tells = 1;
}

/* Asks at level 0 or 3; an exception tells as well. */
static struct answers asked(ask *question, unsigned level, unsigned *tells)
{
	struct answers a = {{0}};

	if (TRAPS(level ? user_call(question, &a) : question(&a))) {
		note("trap %lu at level %u", trap_last.vector, level);
		*tells = 1;
	}
	return a;
}

static void conclude(unsigned tells)
{
	metric("tells", tells);
	if (!tells)
		return;
	if (cmdline_number("exact", 1) == 0)
		SKIP("the guest can tell, on an engine that executes a part of kernel code only");
	FAIL("the guest can tell");
}

/* --- descriptor tables --- */

static uint64_t ask_sgdt(void *arg)
{
	struct answers *a = arg;
	struct table t = {0};

	__asm__ volatile("sgdt %0" : "=m"(t));
	a->value[0] = t.base;
	a->value[1] = t.limit;
	return 0;
}

static uint64_t ask_sidt(void *arg)
{
	struct answers *a = arg;
	struct table t = {0};

	__asm__ volatile("sidt %0" : "=m"(t));
	a->value[0] = t.base;
	a->value[1] = t.limit;
	return 0;
}

static void table_is(ask *question, unsigned level, const struct table *loaded)
{
	unsigned tells = 0;
	struct answers a = asked(question, level, &tells);

	found("base", loaded->base, a.value[0], &tells);
	found("limit", loaded->limit, a.value[1], &tells);
	conclude(tells);
}

TEST(sgdt_at_level_0, "", "SGDT answers the base and limit that LGDT loaded", NEEDS("tells"))
{
	table_is(ask_sgdt, 0, &gdt_pointer);
}

TEST(sgdt_at_level_3, "", "SGDT at CPL 3 answers the base and limit that LGDT loaded",
	NEEDS("tells"))
{
	table_is(ask_sgdt, 3, &gdt_pointer);
}

TEST(sidt_at_level_0, "", "SIDT answers the base and limit that LIDT loaded", NEEDS("tells"))
{
	table_is(ask_sidt, 0, &idt_pointer);
}

TEST(sidt_at_level_3, "", "SIDT at CPL 3 answers the base and limit that LIDT loaded",
	NEEDS("tells"))
{
	table_is(ask_sidt, 3, &idt_pointer);
}

static uint64_t ask_sldt(void *arg)
{
	struct answers *a = arg;

	__asm__ volatile("sldt %0" : "=r"(a->value[0]));
	return 0;
}

static uint64_t ask_str(void *arg)
{
	struct answers *a = arg;

	__asm__ volatile("str %0" : "=r"(a->value[0]));
	return 0;
}

static void ldt_back(void *opaque)
{
	__asm__ volatile("lldt %w0; lgdt %1" : : "r"(0), "m"(gdt_pointer));
}

static void sldt_is_what_was_loaded(unsigned level)
{
	static struct test_reset_hook hook = {.reset = ldt_back};
	uint64_t *gdt = arena_alloc(256, 64), *ldt = arena_alloc(64, 64);
	struct table own = {255, phys(gdt)};
	unsigned tells = 0;

	test_reset_hook(&hook);
	found("null selector", 0, asked(ask_sldt, level, &tells).value[0] & 0xffff, &tells);
	memcpy(gdt, (void *)gdt_pointer.base, gdt_pointer.limit + 1u);
	gdt[SEL_OWN / 8] = 0x0000820000000000 | (phys(ldt) & 0xffffff) << 16 | 63;
	gdt[SEL_OWN / 8 + 1] = 0;
	__asm__ volatile("lgdt %0; lldt %w1" : : "m"(own), "r"(SEL_OWN));
	found("own selector", SEL_OWN, asked(ask_sldt, level, &tells).value[0] & 0xffff, &tells);
	conclude(tells);
}

TEST(sldt_at_level_0, "", "SLDT answers the selector that LLDT loaded", NEEDS("tells"))
{
	sldt_is_what_was_loaded(0);
}

TEST(sldt_at_level_3, "", "SLDT at CPL 3 answers the selector that LLDT loaded", NEEDS("tells"))
{
	sldt_is_what_was_loaded(3);
}

static void str_is(unsigned level)
{
	unsigned tells = 0;

	found("selector", SEL_TSS, asked(ask_str, level, &tells).value[0] & 0xffff, &tells);
	conclude(tells);
}

TEST(str_at_level_0, "", "STR answers the selector that LTR loaded", NEEDS("tells"))
{
	str_is(0);
}

TEST(str_at_level_3, "", "STR at CPL 3 answers the selector that LTR loaded", NEEDS("tells"))
{
	str_is(3);
}

static uint64_t ask_smsw(void *arg)
{
	struct answers *a = arg;

	__asm__ volatile("smsw %0" : "=r"(a->value[0]));
	return 0;
}

static void smsw_is(unsigned level)
{
	unsigned tells = 0;
	uint64_t cr0 = read_cr0();

	found("CR0", cr0 & 0xffff, asked(ask_smsw, level, &tells).value[0] & 0xffff, &tells);
	/* A change of a harmless bit is seen. */
	__asm__ volatile("mov %0, %%cr0" : : "r"(cr0 ^ 2));
	found("CR0.MP", (cr0 ^ 2) & 0xffff, asked(ask_smsw, level, &tells).value[0] & 0xffff,
		&tells);
	__asm__ volatile("mov %0, %%cr0" : : "r"(cr0));
	conclude(tells);
}

TEST(smsw_at_level_0, "", "SMSW answers CR0", NEEDS("tells"))
{
	smsw_is(0);
}

TEST(smsw_at_level_3, "", "SMSW at CPL 3 answers CR0", NEEDS("tells"))
{
	smsw_is(3);
}

/* --- UMIP closes them at level 3 --- */

static void umip_off(void *opaque)
{
	uint64_t cr4 = read_cr4();

	if (cr4 & CR4_UMIP)
		__asm__ volatile("mov %0, %%cr4" : : "r"(cr4 & ~CR4_UMIP));
}

static void refused(ask *question, const char *name, unsigned *tells)
{
	struct answers a = {{0}};
	bool trapped = TRAPS(user_call(question, &a));

	found(name, TRAP_GP, trapped ? trap_last.vector : 0xff, tells);
	if (trapped)
		found("error code", 0, trap_last.error, tells);
}

TEST(umip_refuses, "",
	"with CR4.UMIP SGDT, SIDT, SLDT, STR and SMSW at CPL 3 are #GP(0), and at CPL 0 they "
	"answer",
	NEEDS("tells"))
{
	static struct test_reset_hook hook = {.reset = umip_off};
	unsigned tells = 0;

	if (cpuid(0, 0).eax < 7 || !(cpuid(7, 0).ecx >> 2 & 1))
		SKIP("the processor has no UMIP");
	test_reset_hook(&hook);
	__asm__ volatile("mov %0, %%cr4" : : "r"(read_cr4() | CR4_UMIP));
	refused(ask_sgdt, "SGDT", &tells);
	refused(ask_sidt, "SIDT", &tells);
	refused(ask_sldt, "SLDT", &tells);
	refused(ask_str, "STR", &tells);
	refused(ask_smsw, "SMSW", &tells);
	found("SGDT at level 0", gdt_pointer.base, asked(ask_sgdt, 0, &tells).value[0], &tells);
	conclude(tells);
}

/* --- flags --- */

static uint64_t ask_pushf(void *arg)
{
	struct answers *a = arg;

	__asm__ volatile("pushfq; pop %0" : "=r"(a->value[0]));
	return 0;
}

static void pushf_is(unsigned level)
{
	unsigned tells = 0;

	irq_disable();
	found("IF clear", 0, asked(ask_pushf, level, &tells).value[0] & FLAG_IF, &tells);
	irq_enable();
	found("IF set", FLAG_IF, asked(ask_pushf, level, &tells).value[0] & (FLAG_IF | FLAG_IOPL),
		&tells);
	conclude(tells);
}

TEST(pushf_at_level_0, "", "PUSHF shows IF as CLI and STI left it", NEEDS("tells"))
{
	pushf_is(0);
}

TEST(pushf_at_level_3, "", "PUSHF at CPL 3 shows IF as CLI and STI left it", NEEDS("tells"))
{
	pushf_is(3);
}

/* POPF with IF inverted and IOPL 3; what PUSHF says then. */
static uint64_t ask_popf(void *arg)
{
	struct answers *a = arg;

	__asm__ volatile(
		"pushfq; xorq $0x200, (%%rsp); orq $0x3000, (%%rsp); popfq; pushfq; pop %0;"
		: "=r"(a->value[0])
		:
		: "cc", "memory");
	return 0;
}

TEST(popf_at_level_0, "", "POPF at CPL 0 changes IF and IOPL", NEEDS("tells"))
{
	unsigned tells = 0;
	uint64_t flags;

	irq_disable();
	flags = asked(ask_popf, 0, &tells).value[0];
	__asm__ volatile("pushfq; andq $~0x3000, (%%rsp); popfq" : : : "cc", "memory");
	found("IF and IOPL", FLAG_IF | FLAG_IOPL, flags & (FLAG_IF | FLAG_IOPL), &tells);
	conclude(tells);
}

TEST(popf_at_level_3, "", "POPF at CPL 3 changes neither IF nor IOPL, and does not trap",
	NEEDS("tells"))
{
	unsigned tells = 0;

	irq_disable();
	found("IF clear", 0, asked(ask_popf, 3, &tells).value[0] & (FLAG_IF | FLAG_IOPL), &tells);
	irq_enable();
	found("IF set", FLAG_IF, asked(ask_popf, 3, &tells).value[0] & (FLAG_IF | FLAG_IOPL),
		&tells);
	conclude(tells);
}

/* --- looking at descriptors --- */

static const uint16_t looked_at[] = {
	SEL_CODE, SEL_DATA, SEL_USER_DATA, SEL_USER_CODE, SEL_TSS, 0, 0x1000};

#define LOOK(name, instruction)                                        \
	static uint64_t name(void *arg)                                \
	{                                                              \
		struct answers *a = arg;                               \
                                                                       \
		for (unsigned i = 0; i < 7; i++) {                     \
			uint64_t value = 0;                            \
			uint8_t good;                                  \
                                                                       \
			__asm__ volatile(instruction "; setz %1"       \
					 : "+r"(value), "=q"(good)     \
					 : "r"((uint64_t)looked_at[i]) \
					 : "cc");                      \
			a->value[i] = good ? value | 1ull << 40 : 0;   \
		}                                                      \
		return 0;                                              \
	}
LOOK(ask_lar, "lar %k2, %k0")
LOOK(ask_lsl, "lsl %k2, %k0")
LOOK(ask_verr, "verr %w2")
LOOK(ask_verw, "verw %w2")

#define YES (1ull << 40)

static void looks(ask *question, unsigned level, const uint64_t expected[7])
{
	unsigned tells = 0;
	struct answers a = asked(question, level, &tells);

	for (unsigned i = 0; i < 7; i++) {
		/* The limit's bits in LAR's answer are undefined; the TSS is busy or not by its
		 * type. */
		uint64_t mask = question == ask_lar ? YES | 0xf0ff00 : ~0ull;

		if ((a.value[i] & mask) != expected[i])
			note("selector 0x%x", looked_at[i]);
		found("answer", expected[i], a.value[i] & mask, &tells);
	}
	conclude(tells);
}

static const uint64_t lar_at_0[] = {
	YES | 0xa09b00, YES | 0xc09300, YES | 0xc0f300, YES | 0xa0fb00, YES | 0x008b00, 0, 0};
static const uint64_t lar_at_3[] = {0, 0, YES | 0xc0f300, YES | 0xa0fb00, 0, 0, 0};
static const uint64_t lsl_at_0[] = {
	YES | 0xffffffff, YES | 0xffffffff, YES | 0xffffffff, YES | 0xffffffff, YES | 103, 0, 0};
static const uint64_t lsl_at_3[] = {0, 0, YES | 0xffffffff, YES | 0xffffffff, 0, 0, 0};
static const uint64_t verr_at_0[] = {YES, YES, YES, YES, 0, 0, 0};
static const uint64_t verr_at_3[] = {0, 0, YES, YES, 0, 0, 0};
static const uint64_t verw_at_0[] = {0, YES, YES, 0, 0, 0, 0};
static const uint64_t verw_at_3[] = {0, 0, YES, 0, 0, 0, 0};

TEST(lar_at_level_0, "", "LAR answers what the GDT's descriptors say", NEEDS("tells insn:lar"))
{
	looks(ask_lar, 0, lar_at_0);
}

TEST(lar_at_level_3, "", "LAR at CPL 3 answers for descriptors of level 3 only", NEEDS("tells"))
{
	looks(ask_lar, 3, lar_at_3);
}

TEST(lsl_at_level_0, "", "LSL answers the limits of the GDT's descriptors", NEEDS("tells insn:lsl"))
{
	looks(ask_lsl, 0, lsl_at_0);
}

TEST(lsl_at_level_3, "", "LSL at CPL 3 answers for descriptors of level 3 only", NEEDS("tells"))
{
	looks(ask_lsl, 3, lsl_at_3);
}

TEST(verr_at_level_0, "", "VERR says of the GDT's descriptors what may be read",
	NEEDS("tells insn:verr"))
{
	looks(ask_verr, 0, verr_at_0);
}

TEST(verr_at_level_3, "", "VERR at CPL 3 says of the GDT's descriptors what may be read",
	NEEDS("tells"))
{
	looks(ask_verr, 3, verr_at_3);
}

TEST(verw_at_level_0, "", "VERW says of the GDT's descriptors what may be written",
	NEEDS("tells insn:verw"))
{
	looks(ask_verw, 0, verw_at_0);
}

TEST(verw_at_level_3, "", "VERW at CPL 3 says of the GDT's descriptors what may be written",
	NEEDS("tells"))
{
	looks(ask_verw, 3, verw_at_3);
}

/* --- segment registers, far transfers --- */

static uint64_t ask_segments(void *arg)
{
	struct answers *a = arg;

	__asm__ volatile("mov %%cs, %0; mov %%ss, %1; push %%fs; pop %2"
			 : "=r"(a->value[0]), "=r"(a->value[1]), "=r"(a->value[2]));
	return 0;
}

static void segments_are(unsigned level, uint16_t cs, uint16_t ss)
{
	unsigned tells = 0;
	struct answers a;

	/* The way back from CPL 3 may have left SS null. */
	__asm__ volatile("mov %0, %%fs; mov %1, %%ss" : : "r"(SEL_USER_DATA), "r"(SEL_DATA));
	a = asked(ask_segments, level, &tells);
	__asm__ volatile("mov %0, %%fs" : : "r"(0));
	found("CS", cs, a.value[0] & 0xffff, &tells);
	found("SS", ss, a.value[1] & 0xffff, &tells);
	found("FS", SEL_USER_DATA, a.value[2] & 0xffff, &tells);
	conclude(tells);
}

TEST(segments_at_level_0, "", "MOV and PUSH of CS, SS and FS show the selectors that were loaded",
	NEEDS("tells"))
{
	segments_are(0, SEL_CODE, SEL_DATA);
}

TEST(segments_at_level_3, "",
	"MOV and PUSH of CS, SS and FS at CPL 3 show the selectors that were loaded",
	NEEDS("tells"))
{
	segments_are(3, SEL_USER_CODE, SEL_USER_DATA);
}

/* A far call to code that looks at the selector it pushed and returns. */
static uint64_t ask_far_call(void *arg)
{
	struct answers *a = arg;
	struct {
		uint64_t offset;
		uint16_t selector;
	} __attribute__((packed)) to;
	uint16_t cs;

	__asm__ volatile("mov %%cs, %0" : "=r"(cs));
	to.selector = cs;
	__asm__ volatile("lea 1f(%%rip), %%rax; mov %%rax, %1; rex.w lcall *%1; jmp 2f;"
			 "1: mov 8(%%rsp), %0; lretq; 2:"
			 : "=&r"(a->value[0]), "+m"(to.offset)
			 : "m"(to)
			 : "rax", "memory");
	return 0;
}

static void far_call_pushes(unsigned level, uint16_t cs)
{
	unsigned tells = 0;

	found("CS that was pushed", cs, asked(ask_far_call, level, &tells).value[0] & 0xffff,
		&tells);
	conclude(tells);
}

TEST(far_call_at_level_0, "", "a far call pushes CS as it was, and the far return takes it",
	NEEDS("tells"))
{
	far_call_pushes(0, SEL_CODE);
}

TEST(far_call_at_level_3, "", "a far call at CPL 3 pushes CS as it was", NEEDS("tells"))
{
	far_call_pushes(3, SEL_USER_CODE);
}

TEST(int_n_at_level_0, "", "INT n saves CS, SS and RFLAGS as they were", NEEDS("tells insn:int"))
{
	uint64_t flags = 0;
	bool trapped;
	unsigned tells;

	__asm__ volatile("pushfq; pop %0" : "=m"(flags));
	trapped = TRAPS(__asm__ volatile("int $15"));
	tells = !trapped || trap_last.vector != 15;
	found("CS", SEL_CODE, trap_last.cs, &tells);
	found("IF", flags & (FLAG_IF | FLAG_IOPL), trap_last.rflags & (FLAG_IF | FLAG_IOPL),
		&tells);
	conclude(tells);
}

TEST(exception_frames, "", "the frame of an exception at CPL 0 has the CS of level 0",
	NEEDS("tells"))
{
	bool trapped = TRAPS(__asm__ volatile("ud2"));
	unsigned tells = !trapped;

	found("CS", SEL_CODE, trap_last.cs, &tells);
	conclude(tells);
}
