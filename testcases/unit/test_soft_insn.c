/* SPDX-License-Identifier: MIT */
/*
 * Instructions of 16, 32 and 64-bit code at privilege 3: the software processor against the host's
 * own, the same bytes at the same address with the same registers and memory.  Registers, flags,
 * memory and faults (vector, error code, address) must be the same but for insn-undefined.h.
 *
 *   INSN_CASES=N   how many (default 200,000)     INSN_SEED=N   another run than the usual one
 */
#include <time.h>

#include "insn-native.h"
#include "insn-state.h"

#define CASES	  200000ull
#define PER_STATE 4 /* states an instance is run with */
#define FAILURES  12

struct outcome {
	struct machine_state s;
	int vector;
	uint64_t error, cr2;
};

/* What is not compared, and why. */
static const struct {
	uint16_t mnemonic;
	const char *why;
} excluded[] = {
	{ZYDIS_MNEMONIC_INT, "the host's kernel would take it for a system call"},
	{ZYDIS_MNEMONIC_SYSCALL, "the same"},
	{ZYDIS_MNEMONIC_SYSENTER, "the same"},
	{ZYDIS_MNEMONIC_INT1, "the host's kernel hides it"},
	{ZYDIS_MNEMONIC_IRET, "reads selectors of the host's tables"},
	{ZYDIS_MNEMONIC_IRETD, "the same"},
	{ZYDIS_MNEMONIC_IRETQ, "the same"},
	{ZYDIS_MNEMONIC_LDS, "the same"},
	{ZYDIS_MNEMONIC_LES, "the same"},
	{ZYDIS_MNEMONIC_LFS, "the same"},
	{ZYDIS_MNEMONIC_LGS, "the same"},
	{ZYDIS_MNEMONIC_LSS, "the same"},
	{ZYDIS_MNEMONIC_LAR, "the same"},
	{ZYDIS_MNEMONIC_LSL, "the same"},
	{ZYDIS_MNEMONIC_VERR, "the same"},
	{ZYDIS_MNEMONIC_VERW, "the same"},
	{ZYDIS_MNEMONIC_SGDT, "the host's kernel makes up an answer (UMIP)"},
	{ZYDIS_MNEMONIC_SIDT, "the same"},
	{ZYDIS_MNEMONIC_SLDT, "the same"},
	{ZYDIS_MNEMONIC_SMSW, "the same"},
	{ZYDIS_MNEMONIC_STR, "the same"},
	{ZYDIS_MNEMONIC_CPUID, "answers for the machine"},
	{ZYDIS_MNEMONIC_RDTSC, "the same"},
	{ZYDIS_MNEMONIC_RDTSCP, "the same"},
	{ZYDIS_MNEMONIC_RDPMC, "the same"},
	{ZYDIS_MNEMONIC_RDPID, "the same"},
	{ZYDIS_MNEMONIC_RDRAND, "the same"},
	{ZYDIS_MNEMONIC_RDSEED, "the same"},
	{ZYDIS_MNEMONIC_XGETBV, "the same"},
	{ZYDIS_MNEMONIC_MONITOR, "waits"},
	{ZYDIS_MNEMONIC_MWAIT, "waits"},
};

static bool able; /* this host lets a process do what is needed here */
static bool mnemonic_excluded[ZYDIS_MNEMONIC_MAX_VALUE + 1];

static bool is_vector_register(const ZydisDecodedOperand *o)
{
	ZydisRegisterClass class = ZydisRegisterGetClass(o->reg.value);

	return o->type == ZYDIS_OPERAND_TYPE_REGISTER &&
	       (class == ZYDIS_REGCLASS_XMM || class == ZYDIS_REGCLASS_MMX);
}

/* Is it one the software processor has, and the host, and may a process run it? */
static bool wanted(
	const ZydisDecodedInstruction *z, const ZydisDecodedOperand *operand, unsigned mode)
{
	const char *only = getenv("INSN_ONLY");

	if (!mnemonic_known[z->mnemonic] || mnemonic_excluded[z->mnemonic])
		return false;
	if (only && strcmp(only, ZydisMnemonicGetString(z->mnemonic)) != 0)
		return false;
	if (z->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR)
		return false;
	/* CMPSD and MOVSD are names of SSE2, too. */
	for (unsigned n = 0; n < z->operand_count_visible; n++)
		if (is_vector_register(&operand[n]))
			return false;
	/* AMD has SYSRET in 32-bit code, and no NOP where Intel has one without memory. */
	if (mode != MODE_64 && z->mnemonic == ZYDIS_MNEMONIC_SYSRET)
		return false;
	if (z->mnemonic == ZYDIS_MNEMONIC_NOP && z->opcode == 0x0d && z->raw.modrm.mod == 3)
		return false;
	/* AMD takes the prefix for 16-bit targets, Intel ignores it. */
	if (mode == MODE_64 && z->meta.branch_type != ZYDIS_BRANCH_TYPE_NONE &&
		z->attributes & ZYDIS_ATTRIB_HAS_OPERANDSIZE)
		return false;
	return true;
}

/* Loads of segment registers read the host's tables. */
static bool loads_segment(const struct instance *in)
{
	const ZydisDecodedOperand *o = &in->operand[0];

	return o->type == ZYDIS_OPERAND_TYPE_REGISTER &&
	       o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE &&
	       ZydisRegisterGetClass(o->reg.value) == ZYDIS_REGCLASS_SEGMENT;
}

/* --- the two processors --- */

static void run_native(
	const struct instance *in, const struct machine_state *s, struct outcome *out)
{
	unsigned mode = in->form->key.mode;

	memcpy(native->gpr, s->gpr, sizeof(native->gpr));
	native->flags = s->flags;
	native->compatible = mode != MODE_64;
	native->entry = mode == MODE_64 ? s->rip : (uint64_t)(uintptr_t)native_far;
	native->far_offset = s->rip;
	native->far_selector = mode == MODE_32 ? LINUX_CS32 : LDT_SELECTOR(LDT_CODE16);
	native->ds = native->es = native->ss =
		mode == MODE_32 ? LINUX_DS : LDT_SELECTOR(LDT_DATA16);
	native->fs = s->fs == LDT_END ? 0 : LDT_SELECTOR(s->fs);
	native->gs = s->gs == LDT_END ? 0 : LDT_SELECTOR(s->gs);
	native->fs_base = s->fs_base;
	native->gs_base = s->gs_base;
	native->vector = -1;
	native->active = 1;
	native_enter();
	native->active = 0;
	*out = (struct outcome){.s = *s, .vector = native->vector, .error = native->error};
	memcpy(out->s.gpr, native->gpr, sizeof(native->gpr));
	out->s.flags = native->flags;
	out->s.rip = native->rip;
	if (native->vector == V_PF)
		out->cr2 = native->cr2;
	if (mode == MODE_64) {
		out->s.fs_base = native->fs_base;
		out->s.gs_base = native->gs_base;
	}
	if (native->vector < 0) { /* as if INT3 stood there */
		out->vector = V_BP;
		out->s.rip = s->rip + in->length + 1;
		out->error = 0;
	}
}

static struct soft_segment segment_or_null(unsigned entry)
{
	return entry == LDT_END ? (struct soft_segment){.unusable = true} : ldt_segment(entry);
}

static void set_segments(const struct machine_state *s, unsigned mode)
{
	struct soft_segment data =
		mode == MODE_16 ? ldt_segment(LDT_DATA16) : flat_segment(LINUX_DS, 0xc0f3);
	struct soft_segment null = {.unusable = true};

	cpu->seg[SEG_SS] = data;
	cpu->seg[SEG_DS] = cpu->seg[SEG_ES] = mode == MODE_64 ? null : data;
	cpu->seg[SEG_CS] = mode == MODE_64   ? flat_segment(LINUX_CS64, 0xa0fb)
			   : mode == MODE_32 ? flat_segment(LINUX_CS32, 0xc0fb)
					     : ldt_segment(LDT_CODE16);
	cpu->seg[SEG_FS] = mode == MODE_64 ? null : segment_or_null(s->fs);
	cpu->seg[SEG_GS] = mode == MODE_64 ? null : segment_or_null(s->gs);
	if (mode == MODE_64) {
		cpu->seg[SEG_FS].base = s->fs_base;
		cpu->seg[SEG_GS].base = s->gs_base;
	}
	cpu->cpl = 3;
	soft_mode_changed(cpu);
}

/* The frame that the exception pushed, as SS, RSP, flags, CS, RIP, and the error code if any. */
static void read_frame(struct outcome *out)
{
	bool with_error = out->vector == V_DF || (out->vector >= V_TS && out->vector <= V_PF) ||
			  out->vector == V_AC;
	uint64_t frame[6];

	memcpy(frame, ram + G_STACK - 48, sizeof(frame));
	out->s.gpr[RSP] = frame[4];
	out->s.flags = frame[3];
	out->s.rip = frame[1];
	out->error = with_error ? frame[0] : 0;
}

static void run_soft(const struct instance *in, const struct machine_state *s, struct outcome *out)
{
	static unsigned turns;
	unsigned mode = in->form->key.mode;
	uint64_t fs_base, gs_base;

	soft->hot = turns++ % 2 ? 1 : UINT32_MAX; /* as host code, and interpreted */
	memcpy(cpu->gpr, s->gpr, sizeof(cpu->gpr));
	soft_set_flags(cpu, s->flags, UINT32_MAX);
	cpu->rip = s->rip;
	cpu->halted = false;
	set_segments(s, mode);
	for (unsigned turn = 0; turn < 4 && !cpu->halted; turn++)
		soft_run(cpu, 4000);
	*out = (struct outcome){.s = *s, .vector = -1};
	memcpy(out->s.gpr, cpu->gpr, sizeof(cpu->gpr));
	fs_base = cpu->seg[SEG_FS].base;
	gs_base = cpu->seg[SEG_GS].base;
	if (mode == MODE_64) {
		out->s.fs_base = fs_base;
		out->s.gs_base = gs_base;
	}
	if (!cpu->halted || cpu->rip - 1 - KERNEL - G_HANDLERS >= 0x1000)
		return;
	out->vector = (cpu->rip - 1 - KERNEL - G_HANDLERS) / 16;
	read_frame(out);
	if (out->vector == V_PF)
		out->cr2 = cpu->cr2;
}

/* --- comparison --- */

static uint64_t failures, faults_seen[32];
static uint64_t failed_mnemonics[ZYDIS_MNEMONIC_MAX_VALUE + 1];

/* Linux reports a fault of a kernel address as a present page, whatever is there. */
static uint64_t comparable_error(const struct outcome *o)
{
	if (o->vector == V_PF && o->cr2 >= 0x7ffffffff000)
		return o->error | 1;
	return o->vector == V_PF || o->vector == V_GP || o->vector == V_SS || o->vector == V_AC
		       ? o->error
		       : 0;
}

static bool memory_same(void)
{
	return !memcmp(arena_alias + PAGE_DATA * PAGE_BYTES, arena_guest + PAGE_DATA * PAGE_BYTES,
		       3 * PAGE_BYTES) &&
	       !memcmp(arena_alias + PAGE_STACK * PAGE_BYTES, arena_guest + PAGE_STACK * PAGE_BYTES,
		       2 * PAGE_BYTES);
}

static void memory_again(void)
{
	memcpy(arena_guest + PAGE_DATA * PAGE_BYTES, arena_alias + PAGE_DATA * PAGE_BYTES,
		3 * PAGE_BYTES);
	memcpy(arena_guest + PAGE_STACK * PAGE_BYTES, arena_alias + PAGE_STACK * PAGE_BYTES,
		2 * PAGE_BYTES);
}

#define COMPARED_FLAGS (F_ARITHMETIC | F_DF | F_AC | F_ID | F_NT | F_IF | F_IOPL | F_TF)

/* Would an access there fault, whatever the reason? */
static bool faults(uint64_t linear, unsigned size, bool write, bool aligned)
{
	if (aligned && linear % size)
		return true;
	for (unsigned n = 0; n < size; n++)
		if (!arena_backed(linear + n) ||
			(write && arena_rights[(linear + n - ARENA) / PAGE_BYTES] != WRITABLE))
			return true;
	return false;
}

/* String instructions have two operands: where both fault, either may be told of. */
static bool two_faults(const struct instance *in, const struct outcome *o)
{
	unsigned mode = in->form->key.mode, size = in->operand[0].size / 8;
	uint64_t mask = in->z.address_width == 64 ? UINT64_MAX : (1ULL << in->z.address_width) - 1;
	uint64_t from = (o->s.gpr[RSI] & mask) + (mode == MODE_16 ? ARENA : 0);
	uint64_t to = (o->s.gpr[RDI] & mask) + (mode == MODE_16 ? ARENA : 0);
	/* MOVS names its destination first, CMPS its source. */
	bool moves = in->operand[0].mem.base != in->operand[1].mem.base &&
		     in->operand[0].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;

	if (in->z.meta.category != ZYDIS_CATEGORY_STRINGOP ||
		in->operand[0].type != ZYDIS_OPERAND_TYPE_MEMORY ||
		in->operand[1].type != ZYDIS_OPERAND_TYPE_MEMORY)
		return false;
	if (in->z.attributes & (ZYDIS_ATTRIB_HAS_SEGMENT_FS | ZYDIS_ATTRIB_HAS_SEGMENT_GS))
		from = 0; /* not looked at closer */
	return faults(from, size, false, o->s.aligned) && faults(to, size, moves, o->s.aligned);
}

/* NULL, or what differs. */
static const char *difference(const struct instance *in, const struct machine_state *before,
	struct outcome *host, struct outcome *ours)
{
	struct undefined u = undefined_of(in, before->gpr, host->vector != V_BP);
	uint64_t mask = mode_mask(in->form->key.mode == MODE_64 ? MODE_64 : MODE_32);

	if (host->vector != V_BP && ours->vector != V_BP && two_faults(in, host)) {
		host->vector = ours->vector;
		host->error = ours->error;
		host->cr2 = ours->cr2;
	}
	if (host->vector != ours->vector)
		return "vector";
	if (comparable_error(host) != comparable_error(ours))
		return "error code";
	if (host->cr2 != ours->cr2)
		return "cr2";
	if ((host->s.rip ^ ours->s.rip) & mask)
		return "rip";
	if ((host->s.flags ^ ours->s.flags) & COMPARED_FLAGS & ~u.flags)
		return "flags";
	if (ours->vector == V_BP) {
		uint32_t which;
		uint32_t value = documented_flags(in, before->gpr, before->flags, &which);

		if ((ours->s.flags ^ value) & which)
			return "a documented flag";
	}
	if (u.destination && in->operand[0].type == ZYDIS_OPERAND_TYPE_REGISTER) {
		unsigned reg = register_number(in->operand[0].reg.value);

		host->s.gpr[reg] = ours->s.gpr[reg];
	}
	for (unsigned n = 0; n < (mask >> 32 ? 16 : 8) && !u.registers; n++)
		if ((host->s.gpr[n] ^ ours->s.gpr[n]) & mask)
			return "register";
	if (in->form->key.mode == MODE_64 &&
		(host->s.fs_base != ours->s.fs_base || host->s.gs_base != ours->s.gs_base))
		return "base";
	if (!memory_same() && !u.destination)
		return "memory";
	return NULL;
}

static void print_memory(void)
{
	for (unsigned at = 0; at < ARENA_PAGES * PAGE_BYTES; at++)
		if (arena_rights[at / PAGE_BYTES] >= READ_ONLY &&
			arena_rights[at / PAGE_BYTES] <= WRITABLE &&
			arena_alias[at] != arena_guest[at]) {
			print_message("  memory from %x: host", ARENA + at);
			for (unsigned n = at; n < at + 16; n++)
				print_message(" %02x", arena_alias[n & 0xffff]);
			print_message("  soft");
			for (unsigned n = at; n < at + 16; n++)
				print_message(" %02x", arena_guest[n & 0xffff]);
			print_message("\n");
			return;
		}
}

static void print_case(const struct instance *in, const struct machine_state *before,
	const struct outcome *host, const struct outcome *ours, const char *what)
{
	static const char names[16][4] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
		"r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"};
	static const char *const modes[] = {"16", "32", "64"};
	ZydisFormatter formatter;
	char text[128] = "?";

	ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
	ZydisFormatterFormatInstruction(&formatter, &in->z, in->operand,
		in->z.operand_count_visible, text, sizeof(text), in->address, NULL);
	print_message("%s differs: %s-bit %s  [", what, modes[in->form->key.mode], text);
	for (unsigned n = 0; n < in->length; n++)
		print_message("%s%02x", n ? " " : "", in->bytes[n]);
	print_message("] at %llx\n", (unsigned long long)in->address);
	for (unsigned n = 0; n < 16; n++)
		if (before->gpr[n] != host->s.gpr[n] || before->gpr[n] != ours->s.gpr[n] || n < 4)
			print_message("  %-3s before %016llx host %016llx soft %016llx%s\n",
				names[n], (unsigned long long)before->gpr[n],
				(unsigned long long)host->s.gpr[n],
				(unsigned long long)ours->s.gpr[n],
				host->s.gpr[n] == ours->s.gpr[n] ? "" : " <--");
	print_message("  flags before %llx host %llx soft %llx\n",
		(unsigned long long)before->flags, (unsigned long long)host->s.flags,
		(unsigned long long)ours->s.flags);
	print_message("  fs %llx/%u gs %llx/%u\n", (unsigned long long)before->fs_base, before->fs,
		(unsigned long long)before->gs_base, before->gs);
	print_message("  host: vector %d error %llx cr2 %llx rip %llx\n", host->vector,
		(unsigned long long)host->error, (unsigned long long)host->cr2,
		(unsigned long long)host->s.rip);
	print_message("  soft: vector %d error %llx cr2 %llx rip %llx\n", ours->vector,
		(unsigned long long)ours->error, (unsigned long long)ours->cr2,
		(unsigned long long)ours->s.rip);
	print_memory();
}

static void run_case(const struct instance *in, const struct machine_state *s)
{
	struct outcome host, ours;
	const char *what;

	run_native(in, s, &host);
	run_soft(in, s, &ours);
	if ((unsigned)host.vector < 32)
		faults_seen[host.vector]++;
	what = difference(in, s, &host, &ours);
	if (!what) {
		if (undefined_of(in, s->gpr, false).destination)
			memory_again();
		return;
	}
	if (!failed_mnemonics[in->z.mnemonic]++ && failures < FAILURES)
		print_case(in, s, &host, &ours, what);
	failures++;
	memory_again();
}

/* --- many of them --- */

static void fill_memory(void)
{
	for (unsigned page = PAGE_DATA; page < ARENA_PAGES; page++)
		for (unsigned at = 0; at < PAGE_BYTES && arena_rights[page] != HOLE; at += 8) {
			uint64_t value = random_operand();

			arena_poke(AT(page) + at, &value, 8);
		}
	/* A page that was never touched would fault as one that is not present. */
	(void)*(volatile uint8_t *)(uintptr_t)AT(PAGE_READ_ONLY);
}

/* Into both; behind it here the way out, there INT3. */
static void place(const struct instance *in)
{
	unsigned at = in->address - ARENA;
	uint8_t *here = arena_alias + at;

	memcpy(here, in->bytes, in->length);
	native_tail(here + in->length, in->form->key.mode);
	memcpy(arena_guest + at, in->bytes, in->length);
}

static unsigned form_order[FORMS_MAX], form_next;

static const struct form *next_form(void)
{
	if (form_next == form_count)
		form_next = 0;
	if (form_next == 0)
		for (unsigned n = form_count - 1; n > 0; n--) {
			unsigned other = below(n + 1), swap = form_order[n];

			form_order[n] = form_order[other];
			form_order[other] = swap;
		}
	return &forms[form_order[form_next++]];
}

static struct instance batch[SLOTS];
static struct machine_state environments[SLOTS];

/* A slot of each code page lies across the end of its page. */
static uint64_t slot_address(unsigned slot)
{
	uint64_t at = ARENA + slot * SLOT;

	return (slot + 1) % (PAGE_BYTES / SLOT) ? at + 16 + below(8) : at + SLOT - 1 - below(12);
}

static unsigned make_batch(void)
{
	unsigned count = 0;

	/* Half of them as host code from the first time on, half always interpreted. */
	soft->hot = one_in(2) ? 1 : UINT32_MAX;
	memset(arena_alias, FILLER, 3 * PAGE_BYTES);
	memset(arena_guest, FILLER, 3 * PAGE_BYTES);
	for (unsigned slot = 0; slot < SLOTS; slot++) {
		struct instance *in = &batch[count];
		const struct form *f = next_form();

		if (!instance_make(in, f, slot_address(slot)) || loads_segment(in))
			continue;
		state_environment(&environments[count], in);
		instance_aim(in, &environments[count]);
		place(in);
		count++;
		/* The one that crosses takes the next slot's place, too. */
		if (in->address % PAGE_BYTES + in->length + 8 > PAGE_BYTES)
			slot++;
	}
	soft_code_written(soft, ARENA_RAM, 3 * PAGE_BYTES);
	fill_memory();
	return count;
}

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

static void instructions_as_on_the_host(void **state)
{
	uint64_t cases = from_environment("INSN_CASES", CASES), done = 0;
	double start = seconds();

	if (!able)
		skip();
	assert_true(native_catch());
	seed = from_environment("INSN_SEED", 1) * 0x9e3779b97f4a7c15 | 1;
	while (done < cases) {
		unsigned count = make_batch();

		for (unsigned n = 0; n < count; n++)
			for (unsigned turn = 0; turn < PER_STATE; turn++) {
				struct machine_state s = environments[n];

				if (!state_make(&s, &batch[n]))
					continue;
				forms[batch[n].form - forms].cases++;
				run_case(&batch[n], &s);
				done++;
			}
	}
	print_message("%u forms, %llu cases, %.0f a second; ended by", form_count,
		(unsigned long long)done, done / (seconds() - start));
	for (unsigned n = 0; n < 32; n++)
		if (faults_seen[n])
			print_message(" %u:%llu", n, (unsigned long long)faults_seen[n]);
	print_message("\n");
	for (unsigned n = 0; n <= ZYDIS_MNEMONIC_MAX_VALUE; n++)
		if (failed_mnemonics[n])
			print_message("  %s: %llu\n", ZydisMnemonicGetString(n),
				(unsigned long long)failed_mnemonics[n]);
	if (failures)
		fail_msg("%llu cases differ", (unsigned long long)failures);
}

/* Each mnemonic the software processor has is in some form, or excluded by name. */
static void each_mnemonic_has_a_form(void **state)
{
	unsigned missing = 0;

	if (!able)
		skip();
	for (unsigned m = 1; m <= ZYDIS_MNEMONIC_MAX_VALUE; m++) {
		bool found = false;

		for (unsigned n = 0; n < form_count && !found; n++)
			found = forms[n].key.mnemonic == m && forms[n].cases;
		if (mnemonic_known[m] && !mnemonic_excluded[m] && !found) {
			print_message("%s was not tried\n", ZydisMnemonicGetString(m));
			missing++;
		}
	}
	assert_int_equal(missing, 0);
}

static int start(void **state)
{
	if (start_soft(state) < 0)
		return -1;
#ifndef __SANITIZE_ADDRESS__ /* its shadow lies where wild addresses lead */
	able = arena_map() && native_start() && ldt_install();
#endif
	if (!able)
		return 0;
	guest_start();
	for (unsigned n = 0; n < sizeof(excluded) / sizeof(excluded[0]); n++)
		mnemonic_excluded[excluded[n].mnemonic] = true;
	forms_find(wanted);
	for (unsigned n = 0; n < form_count; n++)
		form_order[n] = n;
	return 0;
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(instructions_as_on_the_host),
		cmocka_unit_test(each_mnemonic_has_a_form),
	};

	return cmocka_run_group_tests(tests, start, end_soft);
}
