/* SPDX-License-Identifier: MIT */
/* A vCPU of the software processor to and from the neutral struct cpu_context. */
#include <errno.h>
#include <string.h>

#include "cpu/soft/soft.h"

#define TSC_KHZ	   1000000 /* as msr.c has it: VM time in ns */
#define XCR0_KNOWN 3u	   /* x87 and SSE */

static void get_event(const struct soft_cpu *c, struct cpu_context *to)
{
	const struct soft_event *event = &c->event;

	if (!event->active)
		return;
	to->event_vector = event->vector;
	if (event->fault) {
		to->event_kind = CPU_EVENT_EXCEPTION;
		to->event_has_error = event->error != NO_ERROR_CODE;
		to->event_error = to->event_has_error ? event->error : 0;
	} else {
		to->event_kind = event->vector == V_NMI ? CPU_EVENT_NMI : CPU_EVENT_INTERRUPT;
	}
}

static void set_event(struct soft_cpu *c, const struct cpu_context *from)
{
	c->event.active = false;
	if (from->event_kind == CPU_EVENT_NONE)
		return;
	soft_post_interrupt(c, from->event_vector);
	if (from->event_kind != CPU_EVENT_EXCEPTION)
		return;
	c->event.fault = true;
	c->event.error = from->event_has_error ? (int64_t)from->event_error : NO_ERROR_CODE;
}

static void get_msrs(const struct soft_cpu *c, struct cpu_context *to)
{
	to->star = c->star;
	to->lstar = c->lstar;
	to->cstar = c->cstar;
	to->fmask = c->fmask;
	to->kernel_gs_base = c->kernel_gs_base;
	to->tsc_aux = c->tsc_aux;
	to->sysenter_cs = c->sysenter_cs;
	to->sysenter_esp = c->sysenter_esp;
	to->sysenter_eip = c->sysenter_eip;
	to->pat = c->pat;
	to->misc_enable = c->misc_enable;
	to->mtrr_def_type = c->mtrr_def_type;
	memcpy(to->mtrr_fixed, c->mtrr_fixed, sizeof(to->mtrr_fixed));
	memcpy(to->mtrr_var, c->mtrr_var, sizeof(to->mtrr_var));
}

static void set_msrs(struct soft_cpu *c, const struct cpu_context *from)
{
	c->star = from->star;
	c->lstar = from->lstar;
	c->cstar = from->cstar;
	c->fmask = from->fmask;
	c->kernel_gs_base = from->kernel_gs_base;
	c->tsc_aux = from->tsc_aux;
	c->sysenter_cs = from->sysenter_cs;
	c->sysenter_esp = from->sysenter_esp;
	c->sysenter_eip = from->sysenter_eip;
	c->pat = from->pat;
	c->misc_enable = from->misc_enable;
	c->mtrr_def_type = from->mtrr_def_type;
	memcpy(c->mtrr_fixed, from->mtrr_fixed, sizeof(c->mtrr_fixed));
	memcpy(c->mtrr_var, from->mtrr_var, sizeof(c->mtrr_var));
}

int soft_get_context(
	struct cpu_engine *engine, unsigned cpu, struct cpu_context *context, struct error *err)
{
	struct soft_engine *soft = container_of(engine, struct soft_engine, engine);
	struct soft_cpu *c = &soft->cpus[cpu];

	/* Messages of other threads are in their descriptors until somebody looks. */
	soft_take_messages(soft);
	soft_engine_ops.get_state(engine, cpu, &context->regs);
	memcpy(context->dr, c->dr, sizeof(context->dr));
	memcpy(context->pdpte, c->pdpte, sizeof(context->pdpte));
	get_msrs(c, context);
	context->tsc = soft_tsc(c);
	context->tsc_khz = TSC_KHZ;
	context->tsc_deadline = c->tsc_deadline;
	context->xcr0 = c->xcr0;
	soft_fpu_save(c, context->fxsave);
	context->activity = c->waits_for_sipi ? CPU_WAITS_FOR_SIPI
			    : c->halted	      ? CPU_HALTED
					      : CPU_RUNNING;
	get_event(c, context);
	context->shadow = c->inhibit; /* the same numbers */
	context->nmi_pending = c->nmi_pending;
	context->nmi_blocked = c->nmi_blocked;
	soft_lapic_get(c, &context->lapic);
	memcpy(context->features, c->asked_features, sizeof(context->features));
	return 0;
}

static int check(const struct soft_cpu *c, const struct cpu_context *context, struct error *err)
{
	const struct cpu_state *regs = &context->regs;
	uint64_t efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;

	if (regs->cr4 & ~soft_cr4_bits(c))
		return error_set(err, ENOTSUP, "field regs.cr4: %llx is not there under soft",
			(unsigned long long)(regs->cr4 & ~soft_cr4_bits(c)));
	if (regs->efer & ~efer)
		return error_set(err, ENOTSUP, "field regs.efer: %llx is not there under soft",
			(unsigned long long)(regs->efer & ~efer));
	if (context->xcr0 & ~(uint64_t)XCR0_KNOWN)
		return error_set(err, ENOTSUP, "field xcr0: %llx is not there under soft",
			(unsigned long long)(context->xcr0 & ~(uint64_t)XCR0_KNOWN));
	return cpu_features_suffice(context->features, c->asked_features, err);
}

int soft_set_context(struct cpu_engine *engine, unsigned cpu, const struct cpu_context *context,
	struct error *err)
{
	struct soft_engine *soft = container_of(engine, struct soft_engine, engine);
	struct soft_cpu *c = &soft->cpus[cpu];
	int rc = check(c, context, err);

	if (rc < 0)
		return rc;
	if (soft_fpu_load(c, context->fxsave) < 0)
		return error_set(err, EINVAL, "field fxsave: a reserved bit of MXCSR");
	soft_engine_ops.set_state(engine, cpu, &context->regs);
	memcpy(c->dr, context->dr, sizeof(c->dr));
	memcpy(c->pdpte, context->pdpte, sizeof(c->pdpte));
	set_msrs(c, context);
	c->tsc_offset = context->tsc - vm_clock_now(&engine->machine->clock);
	c->tsc_deadline = cpu_deadline_at(context, context->tsc, TSC_KHZ);
	c->xcr0 = context->xcr0;
	c->waits_for_sipi = context->activity == CPU_WAITS_FOR_SIPI;
	c->halted = context->activity != CPU_RUNNING;
	set_event(c, context);
	c->inhibit = context->shadow;
	c->nmi_pending = context->nmi_pending;
	c->nmi_blocked = context->nmi_blocked;
	soft_debug_changed(c);
	soft_lapic_set(c, &context->lapic);
	atomic_store(&c->attention, true);
	soft_blocks_flush(soft);
	soft_tlb_flush(c, true);
	return 0;
}
