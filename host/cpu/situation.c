/* SPDX-License-Identifier: MIT */
/*
 * A page about a vCPU (situation.h): mode and registers, the code around RIP, the stack, the page
 * walk of CR2, the gates of what was raised, interrupts that wait, and what led here where the
 * engine remembers it.  Names come from the symbols of the kernel that was booted.
 *
 * SDM volume 3A: modes 2.2, paging 4.3 to 4.5, gates 6.10 to 6.14, local APIC 11.8.
 */
#include "cpu/situation.h"

#include <stdlib.h>
#include <string.h>

#include "cpu/report.h"
#include "cpu/symbols.h"

#define CR0_PE	 1u
#define CR0_PG	 0x80000000u
#define CR4_PSE	 (1u << 4)
#define CR4_PAE	 (1u << 5)
#define EFER_LMA (1u << 10)
#define FLAG_IF	 0x200u
#define FLAG_VM	 0x20000u

#define BEFORE	    32 /* bytes of code looked at before RIP */
#define AFTER	    64
#define INSNS_AFTER 6
#define INSNS_MAX   4 /* before */
#define STACK_WORDS 16

typedef unsigned long long ull;

struct page {
	FILE *out;
	struct guest_memory *memory;
	const struct cpu_state *state;
	const struct cpu_symbols *symbols;
};

static bool is_long(const struct cpu_state *s)
{
	return s->efer & EFER_LMA;
}

static bool is_64(const struct cpu_state *s)
{
	return is_long(s) && s->cs.l;
}

static const char *mode_name(const struct cpu_state *s)
{
	if (!(s->cr0 & CR0_PE))
		return "real mode";
	if (is_64(s))
		return "64-bit mode";
	if (s->rflags & FLAG_VM)
		return "virtual-8086 mode";
	if (is_long(s))
		return "compatibility mode";
	return s->cs.db ? "32-bit protected mode" : "16-bit protected mode";
}

static const char *paging_name(const struct cpu_state *s)
{
	if (!(s->cr0 & CR0_PG))
		return "no paging";
	if (is_long(s))
		return "4-level paging";
	return s->cr4 & CR4_PAE ? "PAE paging" : "32-bit paging";
}

/* --- registers --- */

static void print_head(
	const struct page *p, unsigned cpu, const char *what, const struct cpu_context *context)
{
	const struct cpu_state *s = p->state;
	static const char *const activities[] = {
		"", ", halted", ", waits for its start-up message"};
	char name[80];

	fprintf(p->out, "  vCPU %u: %s%s%s, CPL %u, %s, interrupts %s%s\n", cpu, what,
		what[0] ? "; " : "", mode_name(s), s->cr0 & CR0_PE ? s->cs.selector & 3u : 0,
		paging_name(s), s->rflags & FLAG_IF ? "on" : "off",
		context->activity < 3 ? activities[context->activity] : "");
	cpu_symbol_at(p->symbols, s->cs.base + s->rip, name, sizeof(name));
	if (name[0])
		fprintf(p->out, "  in %s\n", name);
}

static void print_flags(const struct page *p)
{
	static const struct {
		uint32_t bit;
		const char *name;
	} flags[] = {{0x1, "CF"}, {0x4, "PF"}, {0x10, "AF"}, {0x40, "ZF"}, {0x80, "SF"},
		{0x100, "TF"}, {0x200, "IF"}, {0x400, "DF"}, {0x800, "OF"}, {0x4000, "NT"},
		{0x10000, "RF"}, {0x20000, "VM"}, {0x40000, "AC"}};

	fprintf(p->out, "  RIP=%016llx RFLAGS=%08llx", (ull)p->state->rip, (ull)p->state->rflags);
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		if (p->state->rflags & flags[i].bit)
			fprintf(p->out, " %s", flags[i].name);
	fprintf(p->out, "\n");
}

static void print_segment(const struct page *p, const char *name, const struct cpu_segment *s)
{
	fprintf(p->out, "  %s=%04x base %llx limit %x type %x%s dpl %u%s%s%s\n", name, s->selector,
		(ull)s->base, s->limit, s->type, s->code_or_data ? "" : " system", s->dpl,
		s->present ? "" : " not present", s->unusable ? " unusable" : "",
		s->l	? " 64-bit"
		: s->db ? " 32-bit"
			: "");
}

static void print_registers(const struct page *p)
{
	static const char *const names[] = {"RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI",
		"R8 ", "R9 ", "R10", "R11", "R12", "R13", "R14", "R15"};
	const struct cpu_state *s = p->state;

	for (unsigned i = 0; i < 16; i++)
		fprintf(p->out, "%s%s=%016llx%s", i % 4 ? " " : "  ", names[i], (ull)s->gpr[i],
			i % 4 == 3 ? "\n" : "");
	print_flags(p);
	print_segment(p, "CS", &s->cs);
	print_segment(p, "SS", &s->ss);
	print_segment(p, "DS", &s->ds);
	print_segment(p, "ES", &s->es);
	print_segment(p, "FS", &s->fs);
	print_segment(p, "GS", &s->gs);
	print_segment(p, "TR", &s->tr);
	fprintf(p->out, "  GDT=%llx limit %x IDT=%llx limit %x\n", (ull)s->gdt.base, s->gdt.limit,
		(ull)s->idt.base, s->idt.limit);
	fprintf(p->out, "  CR0=%llx CR2=%llx CR3=%llx CR4=%llx EFER=%llx\n", (ull)s->cr0,
		(ull)s->cr2, (ull)s->cr3, (ull)s->cr4, (ull)s->efer);
}

/* --- memory --- */

/* As many bytes as there are from `linear` on. */
static size_t read_linear(const struct page *p, uint64_t linear, uint8_t *bytes, size_t most)
{
	uint64_t physical;
	size_t count = 0;

	while (count < most && cpu_translate(p->memory, p->state, linear + count, &physical) == 0 &&
		guest_peek(p->memory, physical, &bytes[count], 1) == 0)
		count++;
	return count;
}

static void print_insn(const struct page *p, const char *mark, uint64_t rip, const uint8_t *bytes,
	size_t length, const char *code)
{
	char name[80], hex[3 * 15 + 1] = "";

	for (size_t i = 0; i < length && i < 15; i++)
		snprintf(hex + 3 * i, 4, "%02x ", bytes[i]);
	cpu_symbol_at(p->symbols, p->state->cs.base + rip, name, sizeof(name));
	fprintf(p->out, "  %s %llx %-30s %s%s%s%s\n", mark, (ull)rip, hex, code,
		name[0] ? " <" : "", name, name[0] ? ">" : "");
}

static unsigned decode(
	const struct page *p, uint64_t rip, const uint8_t *bytes, size_t length, char code[160])
{
	return cpu_disassemble(p->state, rip, bytes, length, code, 160);
}

/* Where an instruction begins such that decoding from there comes to `end` exactly: the earliest
 * start, as the code before is most likely read right then.  Fills the offsets of the last few. */
static unsigned find_before(
	const struct page *p, const uint8_t *bytes, size_t end, size_t starts[INSNS_MAX])
{
	char code[160];

	for (size_t first = 0; first < end; first++) {
		size_t all[BEFORE], at = first, count = 0;

		while (at < end) {
			unsigned length = decode(p, 0, bytes + at, end - at, code);

			if (!length)
				break;
			all[count++] = at;
			at += length;
		}
		if (at == end && count) {
			unsigned kept = count < INSNS_MAX ? count : INSNS_MAX;

			memcpy(starts, &all[count - kept], kept * sizeof(starts[0]));
			return kept;
		}
	}
	return 0;
}

static void print_before(const struct page *p)
{
	uint64_t rip = p->state->rip, base = p->state->cs.base;
	uint8_t bytes[BEFORE];
	size_t starts[INSNS_MAX], have = rip < BEFORE ? rip : BEFORE;
	unsigned count;
	char code[160];

	/* Across a page that is not there nothing is shown. */
	if (read_linear(p, base + rip - have, bytes, have) != have)
		return;
	count = find_before(p, bytes, have, starts);
	for (unsigned i = 0; i < count; i++) {
		uint64_t at = rip - have + starts[i];
		unsigned length = decode(p, at, bytes + starts[i], have - starts[i], code);

		print_insn(p, "  ", at, bytes + starts[i], length, code);
	}
}

static void print_code(const struct page *p)
{
	uint64_t rip = p->state->rip, at = rip;
	uint8_t bytes[AFTER];
	size_t have = read_linear(p, p->state->cs.base + rip, bytes, sizeof(bytes));
	char code[160];

	fprintf(p->out, "  code:\n");
	print_before(p);
	if (!have)
		fprintf(p->out, "  => %llx is not in memory\n", (ull)rip);
	for (unsigned i = 0; i < INSNS_AFTER && at - rip < have; i++) {
		size_t left = have - (at - rip);
		unsigned length = decode(p, at, bytes + (at - rip), left, code);

		print_insn(p, at == rip ? "=>" : "  ", at, bytes + (at - rip), length ? length : 1,
			length ? code : "(no instruction)");
		at += length ? length : 1;
	}
}

/* Four words on a line, behind them the names of those that have one. */
static void print_stack(const struct page *p)
{
	const struct cpu_state *s = p->state;
	unsigned size = is_64(s) ? 8 : s->cs.db ? 4 : 2;
	uint64_t rsp = s->gpr[RSP], base = is_64(s) ? 0 : s->ss.base;
	uint64_t sp = is_64(s) ? rsp : s->ss.db ? (uint32_t)rsp : (uint16_t)rsp;

	fprintf(p->out, "  stack:\n");
	for (unsigned i = 0; i < STACK_WORDS; i += 4) {
		uint64_t line = sp + (uint64_t)i * size;
		char names[4][80];

		fprintf(p->out, "     %llx:", (ull)line);
		for (unsigned j = 0; j < 4; j++) {
			uint64_t word = 0, at = line + (uint64_t)j * size;

			if (read_linear(p, base + at, (uint8_t *)&word, size) != size) {
				fprintf(p->out, " not in memory\n");
				return;
			}
			fprintf(p->out, " %0*llx", 2 * (int)size, (ull)word);
			cpu_symbol_at(p->symbols, word, names[j], sizeof(names[j]));
		}
		for (unsigned j = 0; j < 4; j++)
			if (names[j][0])
				fprintf(p->out, " <%s>", names[j]);
		fprintf(p->out, "\n");
	}
}

/* --- paging --- */

/* One entry of the walk; false: it ends here. */
static bool print_entry(
	const struct page *p, unsigned level, uint64_t at, unsigned size, uint64_t *entry)
{
	*entry = 0;
	if (guest_peek(p->memory, at, entry, size) < 0) {
		fprintf(p->out, "     level %u at %llx: no memory there\n", level, (ull)at);
		return false;
	}
	fprintf(p->out, "     level %u at %llx: %0*llx", level, (ull)at, 2 * (int)size,
		(ull)*entry);
	if (!(*entry & 1)) {
		fprintf(p->out, " not present\n");
		return false;
	}
	fprintf(p->out, " present%s%s%s%s%s%s\n", *entry & 2 ? " writable" : " read-only",
		*entry & 4 ? " user" : " supervisor", *entry & 0x20 ? " accessed" : "",
		*entry & 0x40 ? " dirty" : "", level > 1 && *entry & 0x80 ? " large" : "",
		size == 8 && *entry >> 63 ? " no-execute" : "");
	return true;
}

static void print_walk(const struct page *p, const char *what, uint64_t linear)
{
	const struct cpu_state *s = p->state;
	bool wide = s->cr4 & CR4_PAE;
	unsigned top = is_long(s) ? 4 : wide ? 3 : 2, bits = wide ? 9 : 10;
	uint64_t table = s->cr3 & (is_long(s) ? 0xffffffffff000 : wide ? 0xffffffe0 : 0xfffff000);
	uint64_t entry;

	if (!(s->cr0 & CR0_PG))
		return;
	fprintf(p->out, "  page walk of %s %llx:\n", what, (ull)linear);
	for (unsigned level = top; level; level--) {
		uint64_t index = linear >> (12 + bits * (level - 1)) & ((1u << bits) - 1);

		if (level == 3 && top == 3)
			index &= 3;
		if (!print_entry(p, level, table + index * (wide ? 8 : 4), wide ? 8 : 4, &entry))
			return;
		if (level > 1 && level < 4 && entry & 0x80 && (wide || s->cr4 & CR4_PSE) &&
			!(level == 3 && top == 3))
			return;
		table = entry & 0xffffffffff000;
	}
}

/* --- interrupts --- */

static void print_gate64(const struct page *p, unsigned vector)
{
	uint64_t at = p->state->idt.base + (uint64_t)vector * 16, words[2] = {0}, target;
	char name[80];

	if (vector * 16u + 15 > p->state->idt.limit) {
		fprintf(p->out, "     gate %u is beyond the IDT's limit\n", vector);
		return;
	}
	if (read_linear(p, at, (uint8_t *)words, sizeof(words)) != sizeof(words)) {
		fprintf(p->out, "     gate %u at %llx is not in memory\n", vector, (ull)at);
		return;
	}
	target = (words[0] & 0xffff) | (words[0] >> 48) << 16 | words[1] << 32;
	cpu_symbol_at(p->symbols, target, name, sizeof(name));
	fprintf(p->out, "     gate %u at %llx: %04x:%llx type %x dpl %u ist %u%s%s%s%s\n", vector,
		(ull)at, (unsigned)(words[0] >> 16 & 0xffff), (ull)target,
		(unsigned)(words[0] >> 40 & 0x1f), (unsigned)(words[0] >> 45 & 3),
		(unsigned)(words[0] >> 32 & 7), words[0] >> 47 & 1 ? "" : " not present",
		name[0] ? " <" : "", name, name[0] ? ">" : "");
}

static void print_gate32(const struct page *p, unsigned vector, unsigned size)
{
	uint64_t at = p->state->idt.base + (uint64_t)vector * size, gate = 0;

	if ((vector + 1) * size - 1 > p->state->idt.limit) {
		fprintf(p->out, "     gate %u is beyond the IDT's limit\n", vector);
		return;
	}
	if (read_linear(p, at, (uint8_t *)&gate, size) != size)
		fprintf(p->out, "     gate %u at %llx is not in memory\n", vector, (ull)at);
	else if (size == 4)
		fprintf(p->out, "     gate %u at %llx: %04x:%04x\n", vector, (ull)at,
			(unsigned)(gate >> 16), (unsigned)(gate & 0xffff));
	else
		fprintf(p->out, "     gate %u at %llx: %04x:%08x type %x dpl %u%s\n", vector,
			(ull)at, (unsigned)(gate >> 16 & 0xffff),
			(unsigned)((gate & 0xffff) | (gate >> 48) << 16),
			(unsigned)(gate >> 40 & 0x1f), (unsigned)(gate >> 45 & 3),
			gate >> 47 & 1 ? "" : " not present");
}

static void print_gate(const struct page *p, unsigned vector)
{
	if (is_long(p->state))
		print_gate64(p, vector);
	else
		print_gate32(p, vector, p->state->cr0 & CR0_PE ? 8 : 4);
}

/* The gates of what was raised last; where nobody remembers, those that a triple fault is about. */
static void print_gates(const struct page *p, const struct cpu_trail *trail)
{
	static const uint8_t usual[] = {6, 8, 13, 14};
	uint32_t seen[8] = {0};

	fprintf(p->out, "  IDT:\n");
	for (unsigned i = 0; i < (trail->events ? trail->events : sizeof(usual)); i++) {
		unsigned vector = trail->events ? trail->event[i].vector & 0xff : usual[i];

		if (!(seen[vector / 32] >> vector % 32 & 1))
			print_gate(p, vector);
		seen[vector / 32] |= 1u << vector % 32;
	}
}

static void print_vectors(const struct page *p, const char *what, const uint32_t words[8])
{
	fprintf(p->out, " %s", what);
	for (unsigned i = 0; i < 256; i++)
		if (words[i / 32] >> i % 32 & 1)
			fprintf(p->out, " %02x", i);
	fprintf(p->out, ";");
}

static void print_interrupts(const struct page *p, const struct cpu_context *context)
{
	const struct cpu_lapic *l = &context->lapic;

	fprintf(p->out, "  local APIC: TPR %02x, SVR %x, timer %x;", l->tpr, l->svr, l->lvt[0]);
	print_vectors(p, "requested", l->irr);
	print_vectors(p, "in service", l->isr);
	fprintf(p->out, " NMI %s%s\n", context->nmi_pending ? "pending" : "none",
		context->nmi_blocked ? ", blocked" : "");
}

/* --- what led here --- */

static void print_trail(const struct page *p, const struct cpu_trail *trail)
{
	char name[80];

	if (trail->events)
		fprintf(p->out, "  raised last, the newest first:\n");
	for (unsigned i = 0; i < trail->events; i++) {
		const struct cpu_trail_event *e = &trail->event[i];

		cpu_symbol_at(p->symbols, e->rip, name, sizeof(name));
		fprintf(p->out, "     %s %u", e->interrupt ? "interrupt" : "exception", e->vector);
		if (e->error >= 0)
			fprintf(p->out, " error %llx", (ull)e->error);
		if (!e->interrupt && e->vector == 14)
			fprintf(p->out, " CR2 %llx", (ull)e->cr2);
		fprintf(p->out, " at %llx%s%s%s, instruction %llu\n", (ull)e->rip,
			name[0] ? " <" : "", name, name[0] ? ">" : "", (ull)e->instruction);
	}
	if (trail->blocks)
		fprintf(p->out, "  ran last, the newest first (starts of blocks; of translated "
				"code where it was "
				"entered):\n");
	for (unsigned i = 0; i < trail->blocks; i++) {
		cpu_symbol_at(p->symbols, trail->block[i], name, sizeof(name));
		fprintf(p->out, "     %llx%s%s%s\n", (ull)trail->block[i], name[0] ? " <" : "",
			name, name[0] ? ">" : "");
	}
}

static void print_page(const struct page *p, unsigned cpu, const char *what,
	const struct cpu_context *context, const struct cpu_trail *trail)
{
	print_head(p, cpu, what, context);
	if (context->activity == CPU_WAITS_FOR_SIPI)
		return;
	print_registers(p);
	print_code(p);
	print_stack(p);
	if (p->state->cr2)
		print_walk(p, "CR2", p->state->cr2);
	if (cpu_translate(p->memory, p->state, p->state->cs.base + p->state->rip, &(uint64_t){0}) <
		0)
		print_walk(p, "RIP", p->state->cs.base + p->state->rip);
	print_gates(p, trail);
	print_interrupts(p, context);
	print_trail(p, trail);
}

void cpu_situation_print(FILE *out, struct machine *machine, unsigned cpu, const char *what)
{
	const struct cpu_engine *engine = machine->engine;
	struct cpu_context *context = calloc(1, sizeof(*context));
	struct cpu_symbols *symbols = cpu_symbols_load(machine->kernel_file);
	struct cpu_trail trail = {0};
	struct error err = {.text = ""};

	if (!context || engine->ops->get_context(machine->engine, cpu, context, &err) < 0) {
		fprintf(out, "  vCPU %u: its state cannot be read: %s\n", cpu, err.text);
	} else {
		if (engine->ops->trail)
			engine->ops->trail(engine, cpu, &trail);
		print_page(&(struct page){out, &machine->memory, &context->regs, symbols}, cpu,
			what, context, &trail);
	}
	cpu_symbols_free(symbols);
	free(context);
}

void cpu_situation_print_all(FILE *out, struct machine *machine)
{
	struct cpu_engine *engine = machine->engine;
	bool running = machine->state == RUN_STATE_RUNNING;

	if (running)
		engine->ops->stop(engine);
	for (unsigned cpu = 0; cpu < engine->cpus; cpu++)
		cpu_situation_print(out, machine, cpu, "");
	if (running)
		engine->ops->start(engine);
}

void cpu_situation_at_end(struct machine *machine, unsigned cpu, const char *what)
{
	if (!machine->no_reboot)
		return;
	flockfile(stderr);
	cpu_situation_print(stderr, machine, cpu, what);
	fflush(stderr);
	funlockfile(stderr);
}
