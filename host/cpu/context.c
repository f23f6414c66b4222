/* SPDX-License-Identifier: MIT */
/* The field tables of a vCPU (context.h) and what must hold between fields. */
#include "cpu/context.h"

#include <errno.h>
#include <string.h>

#define CR0_PE	       0x1u
#define CR0_PG	       0x80000000u
#define CR4_PAE	       0x20u
#define EFER_LME       0x100u
#define EFER_LMA       0x400u
#define RFLAGS_DEFINED 0x3f7fd7u
#define RFLAGS_VM      0x20000u
#define MXCSR_AT       24
#define MXCSR_DEFINED  0xffffu
#define BASE_PAGE      0xffffff000ULL
#define BASE_FLAGS     0xd00u /* enable, x2APIC, first processor */
#define BASE_ENABLED   0x800u
#define BASE_X2APIC    0x400u
#define KHZ_MAX	       100000000u
#define XCR0_KNOWN     0x7u
#define PHYSICAL_BITS  52

static const struct state_field segment_fields[] = {
	STATE_UINT(struct cpu_segment, selector),
	STATE_UINT(struct cpu_segment, base),
	STATE_UINT(struct cpu_segment, limit),
	STATE_UINT(struct cpu_segment, type, .max = 15),
	STATE_BOOL(struct cpu_segment, code_or_data),
	STATE_BOOL(struct cpu_segment, present),
	STATE_BOOL(struct cpu_segment, db),
	STATE_BOOL(struct cpu_segment, l),
	STATE_BOOL(struct cpu_segment, granular),
	STATE_UINT(struct cpu_segment, dpl, .max = 3),
	STATE_BOOL(struct cpu_segment, unusable),
	STATE_END,
};

static const struct state_table segment_table = {
	.name = "segment", .version = 1, .fields = segment_fields};

static const struct state_field table_fields[] = {
	STATE_UINT(struct cpu_table, base),
	STATE_UINT(struct cpu_table, limit),
	STATE_END,
};

static const struct state_table table_table = {
	.name = "table", .version = 1, .fields = table_fields};

static bool valid_flags(const void *state, uint64_t value)
{
	return (value & ~(uint64_t)RFLAGS_DEFINED) == 0;
}

static const struct state_field register_fields[] = {
	STATE_UINTS(struct cpu_state, gpr),
	STATE_UINT(struct cpu_state, rip),
	STATE_UINT(struct cpu_state, rflags, .valid = valid_flags),
	STATE_PART(struct cpu_state, cs, segment_table),
	STATE_PART(struct cpu_state, ds, segment_table),
	STATE_PART(struct cpu_state, es, segment_table),
	STATE_PART(struct cpu_state, fs, segment_table),
	STATE_PART(struct cpu_state, gs, segment_table),
	STATE_PART(struct cpu_state, ss, segment_table),
	STATE_PART(struct cpu_state, ldt, segment_table),
	STATE_PART(struct cpu_state, tr, segment_table),
	STATE_PART(struct cpu_state, gdt, table_table),
	STATE_PART(struct cpu_state, idt, table_table),
	STATE_UINT(struct cpu_state, cr0, .max = UINT32_MAX),
	STATE_UINT(struct cpu_state, cr2),
	STATE_UINT(struct cpu_state, cr3, .max = (UINT64_C(1) << PHYSICAL_BITS) - 1),
	STATE_UINT(struct cpu_state, cr4, .max = UINT32_MAX),
	STATE_UINT(struct cpu_state, cr8, .max = 15),
	STATE_UINT(struct cpu_state, efer, .max = UINT16_MAX),
	STATE_END,
};

static int check_mode(const struct cpu_state *s, struct error *err)
{
	bool paging = s->cr0 & CR0_PG, is_long = s->efer & EFER_LMA;

	if (paging && !(s->cr0 & CR0_PE))
		return error_set(err, EINVAL, "cr0: paging without protection");
	if (is_long != (paging && s->efer & EFER_LME))
		return error_set(err, EINVAL, "efer: long mode contradicts cr0");
	if (is_long && !(s->cr4 & CR4_PAE))
		return error_set(err, EINVAL, "cr4: long mode without PAE");
	if (is_long && s->rflags & RFLAGS_VM)
		return error_set(err, EINVAL, "rflags: virtual-8086 mode in long mode");
	if (s->cs.l && s->cs.db)
		return error_set(err, EINVAL, "cs.l: with the D bit");
	return 0;
}

static int registers_loaded(void *state, unsigned version, struct error *err)
{
	return check_mode(state, err);
}

static const struct state_table register_table = {
	.name = "regs", .version = 1, .fields = register_fields, .post_load = registers_loaded};

static bool valid_base(const void *state, uint64_t value)
{
	bool enabled = value & BASE_ENABLED, x2 = value & BASE_X2APIC;

	return (value & ~(BASE_PAGE | BASE_FLAGS)) == 0 && (enabled || !x2);
}

static const struct state_field lapic_fields[] = {
	STATE_UINT(struct cpu_lapic, base, .valid = valid_base),
	STATE_UINT(struct cpu_lapic, id, .max = 255),
	STATE_UINT(struct cpu_lapic, tpr, .max = 255),
	STATE_UINT(struct cpu_lapic, ldr),
	STATE_UINT(struct cpu_lapic, dfr),
	STATE_UINT(struct cpu_lapic, svr, .max = 0x1fff),
	STATE_UINT(struct cpu_lapic, esr, .max = 255),
	STATE_UINT(struct cpu_lapic, icr),
	STATE_UINT(struct cpu_lapic, icr_high),
	STATE_UINTS(struct cpu_lapic, lvt, .max = 0x7ffff),
	STATE_UINTS(struct cpu_lapic, isr),
	STATE_UINTS(struct cpu_lapic, tmr),
	STATE_UINTS(struct cpu_lapic, irr),
	STATE_UINT(struct cpu_lapic, initial),
	STATE_UINT(struct cpu_lapic, current),
	STATE_UINT(struct cpu_lapic, divide, .max = 0xb),
	STATE_END,
};

/* Vectors below 16 do not exist. */
static int lapic_loaded(void *state, unsigned version, struct error *err)
{
	const struct cpu_lapic *l = state;

	if (l->isr[0] & 0xffff)
		return error_set(err, EINVAL, "isr: a vector below 16");
	if (l->irr[0] & 0xffff)
		return error_set(err, EINVAL, "irr: a vector below 16");
	if (l->current > l->initial)
		return error_set(err, EINVAL, "current: above the initial count");
	return 0;
}

static const struct state_table lapic_table = {
	.name = "lapic", .version = 1, .fields = lapic_fields, .post_load = lapic_loaded};

static bool valid_xcr0(const void *state, uint64_t value)
{
	/* x87 always; AVX needs SSE (SDM 1, 13.3). */
	return value & 1 && !(value & ~(uint64_t)XCR0_KNOWN) && (!(value & 4) || value & 2);
}

static bool valid_pat(const void *state, uint64_t value)
{
	for (unsigned i = 0; i < 8; i++, value >>= 8)
		if ((value & 0xff) > 7 || (value & 0xff) == 2 || (value & 0xff) == 3)
			return false;
	return true;
}

static const struct state_field context_fields[] = {
	STATE_PART(struct cpu_context, regs, register_table),
	STATE_UINTS(struct cpu_context, dr),
	STATE_UINTS(struct cpu_context, pdpte),
	STATE_UINT(struct cpu_context, star),
	STATE_UINT(struct cpu_context, lstar),
	STATE_UINT(struct cpu_context, cstar),
	STATE_UINT(struct cpu_context, fmask, .max = UINT32_MAX),
	STATE_UINT(struct cpu_context, kernel_gs_base),
	STATE_UINT(struct cpu_context, tsc_aux, .max = UINT32_MAX),
	STATE_UINT(struct cpu_context, sysenter_cs),
	STATE_UINT(struct cpu_context, sysenter_esp),
	STATE_UINT(struct cpu_context, sysenter_eip),
	STATE_UINT(struct cpu_context, pat, .valid = valid_pat),
	STATE_UINT(struct cpu_context, misc_enable),
	STATE_UINT(struct cpu_context, mtrr_def_type),
	STATE_UINTS(struct cpu_context, mtrr_fixed),
	STATE_UINTS(struct cpu_context, mtrr_var),
	STATE_UINT(struct cpu_context, tsc),
	STATE_UINT(struct cpu_context, tsc_khz, .min = 1, .max = KHZ_MAX),
	STATE_UINT(struct cpu_context, tsc_deadline),
	STATE_UINT(struct cpu_context, xcr0, .valid = valid_xcr0),
	STATE_UINTS(struct cpu_context, fxsave),
	STATE_UINT(struct cpu_context, activity, .max = CPU_WAITS_FOR_SIPI),
	STATE_UINT(struct cpu_context, event_kind, .max = CPU_EVENT_NMI),
	STATE_UINT(struct cpu_context, event_vector),
	STATE_BOOL(struct cpu_context, event_has_error),
	STATE_UINT(struct cpu_context, event_error),
	STATE_UINT(struct cpu_context, shadow, .max = CPU_SHADOW_SS),
	STATE_BOOL(struct cpu_context, nmi_pending),
	STATE_BOOL(struct cpu_context, nmi_blocked),
	STATE_PART(struct cpu_context, lapic, lapic_table),
	STATE_UINTS(struct cpu_context, features, .since = 2),
	STATE_END,
};

static const struct state_field avx_fields[] = {
	STATE_UINTS(struct cpu_context, ymm_high),
	STATE_END,
};

static bool has_avx(const void *state)
{
	return ((const struct cpu_context *)state)->xcr0 & 4;
}

static const struct state_table avx_table = {
	.name = "avx", .version = 1, .fields = avx_fields, .needed = has_avx};

static int context_loaded(void *state, unsigned version, struct error *err)
{
	const struct cpu_context *c = state;
	uint32_t mxcsr;

	/* Such a bit faults in the instruction that loads it. */
	memcpy(&mxcsr, c->fxsave + MXCSR_AT, sizeof(mxcsr));
	if (mxcsr & ~MXCSR_DEFINED)
		return error_set(err, EINVAL, "fxsave: MXCSR %08x", mxcsr);
	if (c->event_kind == CPU_EVENT_EXCEPTION && c->event_vector > 31)
		return error_set(err, EINVAL, "event_vector: exception %u", c->event_vector);
	if (c->event_kind == CPU_EVENT_NMI && c->event_vector != 2)
		return error_set(err, EINVAL, "event_vector: NMI %u", c->event_vector);
	return 0;
}

static const struct state_table *const context_subsections[] = {&avx_table, NULL};

const struct state_table cpu_context_table = {
	.name = "cpu",
	.version = 2,
	.fields = context_fields,
	.subsections = context_subsections,
	.post_load = context_loaded,
};

uint64_t cpu_deadline_at(const struct cpu_context *context, uint64_t tsc, uint64_t khz)
{
	int64_t left = context->tsc_deadline - context->tsc;
	uint64_t deadline;

	if (!context->tsc_deadline)
		return 0;
	deadline = tsc +
		   (uint64_t)(int64_t)((__int128)left * (int64_t)khz / (int64_t)context->tsc_khz);
	return deadline ? deadline : 1;
}
