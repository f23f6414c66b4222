/* SPDX-License-Identifier: MIT */
/*
 * A megabyte that looks enough like a running guest for garbage to get far in it: descriptor
 * tables, gates that lead back into the code, page tables of each kind, task states, a stack; each
 * with a few entries of garbage.
 */
#ifndef FUZZ_MACHINE_H
#define FUZZ_MACHINE_H

#include "insn-forms.h"
#include "soft-help.h"

/* Guest-physical, and linear where a page table is not out of order. */
#define Z_CODE	0x10000u
#define Z_GDT	0x20000u
#define Z_IDT	0x21000u
#define Z_TSS	0x22000u
#define Z_LDT	0x23000u
#define Z_PD32	0x28000u
#define Z_PT32	0x29000u
#define Z_PDPT	0x2a000u
#define Z_PD	0x2b000u
#define Z_PT	0x2c000u
#define Z_PML4	0x2d000u
#define Z_STACK 0x30000u /* 64 KiB, as the code */
#define Z_AREA	0x10000u

enum fuzz_mode {
	Z_REAL,
	Z_V86,
	Z_PROTECTED16,
	Z_FLAT32,
	Z_PAGED32,
	Z_PAE,
	Z_COMPAT,
	Z_LONG,
	Z_MODES
};

static const char *const fuzz_mode_names[Z_MODES] = {"real", "virtual-8086", "16-bit protected",
	"32-bit", "32-bit paged", "PAE", "compatibility", "64-bit"};

static inline void z_put(uint32_t at, uint64_t value, unsigned size)
{
	memcpy(ram + at, &value, size);
}

static inline bool z_is_long(enum fuzz_mode mode)
{
	return mode == Z_COMPAT || mode == Z_LONG;
}

static inline unsigned z_code_size(enum fuzz_mode mode) /* of forms */
{
	return mode == Z_LONG						  ? 2
	       : mode == Z_REAL || mode == Z_V86 || mode == Z_PROTECTED16 ? 0
									  : 1;
}

/* --- descriptors --- */

static inline uint64_t z_descriptor(uint32_t base, uint32_t limit, unsigned rights)
{
	return (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 |
	       (uint64_t)(rights & 0xff) << 40 | (uint64_t)(limit >> 16 & 0xf) << 48 |
	       (uint64_t)(rights >> 12 & 0xf) << 52 | (uint64_t)(base >> 24) << 56;
}

/* Entries of the GDT by number; those of privilege 3 follow those of 0 by 4. */
enum {
	D_CODE64 = 1,
	D_DATA,
	D_CODE32,
	D_CODE16,
	D_TSS = 10,
	D_LDT = 12,
	D_CALL = 14,
	D_TASK = 16,
	D_TSS2 = 18,
	D_RANDOM = 20,
	D_END = 32
};

static inline unsigned z_selector(unsigned entry, unsigned cpl)
{
	return (entry + (cpl ? 4 : 0)) << 3 | cpl;
}

static inline void z_gdt(bool is_long)
{
	static const uint16_t rights[] = {0xa09b, 0xc093, 0xc09b, 0x009b};

	z_put(Z_GDT, 0, 8);
	for (unsigned n = 0; n < 8; n++)
		z_put(Z_GDT + (n + 1) * 8,
			z_descriptor(0, 0xfffff, rights[n % 4] | (n / 4 ? 0x60 : 0)), 8);
	z_put(Z_GDT + D_TSS * 8, z_descriptor(Z_TSS, 0x267, 0x8b), 8);
	z_put(Z_GDT + D_TSS * 8 + 8, 0, 8);
	z_put(Z_GDT + D_LDT * 8, z_descriptor(Z_LDT, 0xff, 0x82), 8);
	z_put(Z_GDT + D_LDT * 8 + 8, 0, 8);
	for (unsigned entry = D_CALL; entry < D_END; entry++)
		z_put(Z_GDT + entry * 8,
			one_in(3) ? random64()
				  : z_descriptor(random_bits(20), random_bits(20),
					    random_bits(16) | (one_in(4) ? 0 : 0x80)),
			8);
	z_put(Z_GDT + D_CALL * 8,
		((Z_CODE + random_bits(15)) & 0xffff) |
			(uint64_t)((is_long ? D_CODE64 : D_CODE32) << 3) << 16 |
			0x0000ec0000000000 | random_bits(5) << 32 | 1ULL << 48,
		8);
	z_put(Z_GDT + D_TSS2 * 8, z_descriptor(Z_TSS + 0x400, 0x67, one_in(4) ? 0x83 : 0x89), 8);
	z_put(Z_GDT + D_TASK * 8, (uint64_t)(D_TSS2 << 3) << 16 | 0x0000e50000000000, 8);
	for (unsigned entry = 0; entry < 32; entry++)
		z_put(Z_LDT + entry * 8,
			z_descriptor(random_bits(20), random_bits(20), random_bits(16) | 0x90), 8);
}

static inline void z_idt(enum fuzz_mode mode)
{
	unsigned width = z_is_long(mode) ? 16 : 8;
	unsigned code = z_is_long(mode)			     ? D_CODE64
			: mode == Z_PROTECTED16 && one_in(2) ? D_CODE16
							     : D_CODE32;

	for (unsigned vector = 0; vector < 256; vector++) {
		uint32_t offset = Z_CODE + random_bits(16);
		uint64_t type = one_in(3) ? 0x8f : 0x8e;

		if (one_in(3))
			type |= 0x60;
		if (one_in(40))
			type = random_bits(8);
		if (one_in(60) && !z_is_long(mode)) {
			type = 0x85;
			code = D_TSS2;
		}
		z_put(Z_IDT + vector * width,
			(offset & 0xffff) | code << 19 | type << 40 |
				(uint64_t)(offset >> 16) << 48 |
				(one_in(30) ? random_bits(3) << 32 : 0),
			8);
		if (width == 16)
			z_put(Z_IDT + vector * 16 + 8, one_in(100) ? random64() : 0, 8);
		/* real mode's */
		z_put(vector * 4, random_bits(16) | (Z_CODE >> 4) << 16, 4);
	}
}

static inline void z_task(uint32_t at)
{
	static const uint8_t selectors[] = {0x48, 0x4c, 0x50, 0x54, 0x58, 0x5c}; /* ES .. GS */

	for (unsigned n = 0; n < 0x68; n += 4)
		z_put(at + n, Z_STACK + random_bits(16), 4);
	z_put(at + 8, D_DATA << 3, 4); /* SS0 */
	z_put(at + 0x1c, Z_PD32, 4);
	z_put(at + 0x20, Z_CODE + random_bits(16), 4);
	z_put(at + 0x24, random_bits(18) | 2, 4);
	for (unsigned n = 0; n < 6; n++)
		z_put(at + selectors[n], (n == 1 ? D_CODE32 : D_DATA) << 3, 4);
	z_put(at + 0x60, one_in(3) ? D_LDT << 3 : 0, 4);
	z_put(at + 0x64, 0x680000 | random_bits(1), 4);
}

static inline void z_task64(void)
{
	for (unsigned n = 0; n < 11; n++)
		z_put(Z_TSS + 4 + n * 8,
			one_in(20) ? random64() : Z_STACK + (random_bits(16) & ~7ull), 8);
	z_put(Z_TSS + 0x64, 0x680000, 4);
}

/* --- pages --- */

static inline uint64_t z_wild_entry(uint64_t entry, unsigned size)
{
	if (one_in(3))
		return entry ^ 1ULL << below(size * 8);
	return one_in(2) ? entry ^ random_bits(12) : random64();
}

static inline void z_map(uint32_t table, unsigned size, unsigned wild)
{
	for (unsigned n = 0; n < 4096 / size; n++) {
		uint64_t entry = n < 256 ? n << 12 | 7 : random_bits(20) & ~0xfffull;

		if (n >= 256 && one_in(2))
			entry |= random_bits(3);
		z_put(table + n * size, one_in(wild) ? z_wild_entry(entry, size) : entry, size);
	}
}

static inline void z_pages(bool pae)
{
	unsigned wild = one_in(2) ? 1000 : 30;

	z_map(Z_PT32, 4, wild);
	z_map(Z_PT, 8, wild);
	for (unsigned n = 0; n < 512; n++) {
		uint64_t entry = n ? z_wild_entry(Z_PT | 7, 8) : Z_PT | 7;

		z_put(Z_PD + n * 8, entry, 8);
		z_put(Z_PML4 + n * 8, n ? z_wild_entry(Z_PDPT | 7, 8) : Z_PDPT | 7, 8);
		entry = n ? z_wild_entry(Z_PD | 7, 8) : Z_PD | 7;
		if (pae && n < 4) /* garbage would not get into CR3 */
			entry = n && one_in(2) ? 0 : Z_PD | 1;
		z_put(Z_PDPT + n * 8, entry, 8);
	}
	for (unsigned n = 0; n < 1024; n++)
		z_put(Z_PD32 + n * 4, n ? z_wild_entry(Z_PT32 | 7, 4) : Z_PT32 | 7, 4);
}

/* --- code --- */

static inline void z_code(unsigned size, bool biased)
{
	static uint8_t some[4096];
	unsigned used = 0;

	while (used + 48 < sizeof(some)) {
		const struct form *f = &forms[below(form_count)];
		struct instance in;

		if (!biased || one_in(30)) {
			some[used++] = random_bits(8);
		} else if (f->key.mode == size && instance_make(&in, f, Z_CODE + used)) {
			memcpy(some + used, in.bytes, in.length);
			used += in.length;
		}
	}
	for (unsigned at = 0; at < Z_AREA; at += used)
		memcpy(ram + Z_CODE + at, some, at + used < Z_AREA ? used : Z_AREA - at);
}

/* --- registers --- */

static inline uint64_t z_value(void)
{
	switch (below(5)) {
	case 0: return random_operand();
	case 1: return Z_CODE + random_bits(16);
	case 2: return below(D_END * 8);
	default: return random_bits(20);
	}
}

static inline struct cpu_segment z_segment(unsigned selector, uint32_t base, uint32_t limit,
	unsigned type, unsigned dpl, bool db, bool l)
{
	return (struct cpu_segment){.selector = selector,
		.base = base,
		.limit = limit,
		.type = type,
		.code_or_data = true,
		.dpl = dpl,
		.present = true,
		.db = db,
		.l = l,
		.granular = limit > 0xfffff};
}

static inline void z_segments(struct cpu_state *s, enum fuzz_mode mode, unsigned cpl)
{
	bool small = z_code_size(mode) == 0, real = mode == Z_REAL || mode == Z_V86;
	uint32_t limit = small ? 0xffff : 0xffffffff;
	unsigned code = mode == Z_LONG ? D_CODE64 : small ? D_CODE16 : D_CODE32;

	s->cs = z_segment(real ? Z_CODE >> 4 : z_selector(code, cpl), small ? Z_CODE : 0, limit,
		0xb, cpl, !small && mode != Z_LONG, mode == Z_LONG);
	s->ss = z_segment(real ? Z_STACK >> 4 : z_selector(D_DATA, cpl), small ? Z_STACK : 0, limit,
		3, cpl, !small, false);
	s->ds = s->es = s->fs = s->gs = s->ss;
	if (real)
		s->cs.type = mode == Z_V86 ? 3 : 0xb;
	s->tr = z_segment(D_TSS << 3, Z_TSS, 0x267, 0xb, 0, false, false);
	s->tr.code_or_data = false;
	s->ldt = z_segment(D_LDT << 3, Z_LDT, 0xff, 2, 0, false, false);
	s->ldt.code_or_data = false;
}

static inline void z_control(struct cpu_state *s, enum fuzz_mode mode)
{
	s->cr0 = CR0_ET;
	if (mode != Z_REAL)
		s->cr0 |= CR0_PE;
	if (mode >= Z_PAGED32 || (mode == Z_V86 && one_in(2)))
		s->cr0 |= CR0_PG;
	if (one_in(2))
		s->cr0 |= CR0_WP | CR0_NE | CR0_MP;
	if (one_in(8))
		s->cr0 |= CR0_AM | (one_in(4) ? CR0_TS : 0) | (one_in(4) ? CR0_EM : 0);
	s->cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT | (one_in(4) ? CR4_FSGSBASE | CR4_OSXSAVE : 0) |
		 (one_in(4) ? CR4_PGE | CR4_DE : 0) | (one_in(12) ? CR4_UMIP | CR4_TSD : 0);
	if (one_in(16))
		s->cr4 |= CR4_SMAP;
	if (mode >= Z_PAE)
		s->cr4 |= CR4_PAE;
	else if (one_in(2))
		s->cr4 |= CR4_PSE;
	s->cr3 = z_is_long(mode) ? Z_PML4 : mode == Z_PAE ? Z_PDPT : Z_PD32;
	s->efer = one_in(2) ? EFER_NXE | EFER_SCE : 0;
	if (z_is_long(mode))
		s->efer |= EFER_LMA | EFER_LME;
}

/* Everything anew, by the seed alone. */
static inline void z_start(enum fuzz_mode mode, unsigned cpl, bool biased)
{
	struct cpu_state s;
	bool small = z_code_size(mode) == 0;

	soft_engine_ops.reset(machine.engine);
	soft->hot = one_in(2) ? 1 : 16; /* when blocks are translated */
	soft->time.base = 0;
	cpu->instructions = 0;
	machine.random_state = 1;
	for (unsigned at = 0; at < RAM_SIZE; at += 256)
		z_put(at, z_value(), 8);
	z_gdt(z_is_long(mode));
	z_idt(mode);
	if (z_is_long(mode))
		z_task64();
	else
		z_task(Z_TSS);
	z_task(Z_TSS + 0x400);
	z_pages(mode == Z_PAE);
	z_code(z_code_size(mode), biased);
	cpu_state_flat32(&s, 0);
	z_segments(&s, mode, cpl);
	z_control(&s, mode);
	for (unsigned n = 0; n < 16; n++)
		s.gpr[n] = z_value();
	s.gpr[RSP] = (small ? 0 : Z_STACK) + 0x8000 + (random_bits(14) & ~7ull);
	s.rip = (small ? 0 : Z_CODE) + random_bits(15);
	s.rflags = 2 | (random_bits(12) & F_ARITHMETIC) | (one_in(2) ? F_IF : 0) |
		   (one_in(3) ? F_IOPL : 0) | (one_in(30) ? F_TF : 0) | (one_in(20) ? F_AC : 0) |
		   (one_in(30) ? F_NT : 0) | (mode == Z_V86 ? F_VM : 0);
	s.gdt = (struct cpu_table){Z_GDT, D_END * 8 - 1};
	s.idt = mode == Z_REAL ? (struct cpu_table){0, 0x3ff} : (struct cpu_table){Z_IDT, 0xfff};
	soft_engine_ops.set_state(machine.engine, 0, &s);
	if (mode == Z_PAE)
		soft_set_cr3(cpu, s.cr3); /* reads the top entries */
	cpu->lstar = Z_CODE + random_bits(15);
	cpu->star = (uint64_t)(z_selector(D_CODE64, 0) | (uint64_t)z_selector(D_CODE32, 3) << 16)
		    << 32;
	cpu->sysenter_cs = D_CODE64 << 3;
	cpu->sysenter_eip = cpu->lstar;
	cpu->sysenter_esp = Z_STACK + 0x1000;
}

#endif
