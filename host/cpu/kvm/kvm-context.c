/* SPDX-License-Identifier: MIT */
/*
 * A vCPU under KVM to and from the neutral struct cpu_context (Linux:
 * Documentation/virt/kvm/api.rst).  Only MSRs that we manage are touched: hosts refuse some others.
 *
 * Left out: kvmclock and the other paravirtual MSRs; a guest that uses them sees their power-on
 * values after a load.
 */
#include "cpu/kvm/kvm.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#define MSR_TSC		 0x10
#define MSR_TSC_DEADLINE 0x6e0
#define XSAVE_HEADER	 512 /* XSTATE_BV */
#define XSAVE_YMM_HIGH	 576 /* where the standard form has it on every processor with AVX */
#define XCR0_AVX	 4u
#define BASE_X2APIC	 0x400u

#define MSR(number, member)                                  \
	{                                                    \
		number, offsetof(struct cpu_context, member) \
	}

static const struct {
	uint32_t index;
	size_t offset;
} msrs[] = {
	MSR(0x174, sysenter_cs),
	MSR(0x175, sysenter_esp),
	MSR(0x176, sysenter_eip),
	MSR(0x1a0, misc_enable),
	MSR(0x277, pat),
	MSR(0xc0000081, star),
	MSR(0xc0000082, lstar),
	MSR(0xc0000083, cstar),
	MSR(0xc0000084, fmask),
	MSR(0xc0000102, kernel_gs_base),
	MSR(0xc0000103, tsc_aux),
	MSR(0x2ff, mtrr_def_type),
	MSR(0x250, mtrr_fixed[0]),
	MSR(0x258, mtrr_fixed[1]),
	MSR(0x259, mtrr_fixed[2]),
	MSR(0x268, mtrr_fixed[3]),
	MSR(0x269, mtrr_fixed[4]),
	MSR(0x26a, mtrr_fixed[5]),
	MSR(0x26b, mtrr_fixed[6]),
	MSR(0x26c, mtrr_fixed[7]),
	MSR(0x26d, mtrr_fixed[8]),
	MSR(0x26e, mtrr_fixed[9]),
	MSR(0x26f, mtrr_fixed[10]),
	MSR(0x200, mtrr_var[0]),
	MSR(0x201, mtrr_var[1]),
	MSR(0x202, mtrr_var[2]),
	MSR(0x203, mtrr_var[3]),
	MSR(0x204, mtrr_var[4]),
	MSR(0x205, mtrr_var[5]),
	MSR(0x206, mtrr_var[6]),
	MSR(0x207, mtrr_var[7]),
	MSR(0x208, mtrr_var[8]),
	MSR(0x209, mtrr_var[9]),
	MSR(0x20a, mtrr_var[10]),
	MSR(0x20b, mtrr_var[11]),
	MSR(0x20c, mtrr_var[12]),
	MSR(0x20d, mtrr_var[13]),
	MSR(0x20e, mtrr_var[14]),
	MSR(0x20f, mtrr_var[15]),
};

#define MSR_COUNT (sizeof(msrs) / sizeof(msrs[0]))

struct one_msr {
	struct kvm_msrs head;
	struct kvm_msr_entry entry;
};

/* False: this host does not have it. */
static bool get_msr(struct kvm_vcpu *vcpu, uint32_t index, uint64_t *value)
{
	struct one_msr msr = {.head.nmsrs = 1, .entry.index = index};

	if (ioctl(vcpu->fd, KVM_GET_MSRS, &msr) != 1)
		return false;
	*value = msr.entry.data;
	return true;
}

static bool set_msr(struct kvm_vcpu *vcpu, uint32_t index, uint64_t value)
{
	struct one_msr msr = {.head.nmsrs = 1, .entry = {.index = index, .data = value}};

	return ioctl(vcpu->fd, KVM_SET_MSRS, &msr) == 1;
}

static uint64_t tsc_khz(struct kvm_vcpu *vcpu)
{
	int khz = ioctl(vcpu->fd, KVM_GET_TSC_KHZ, 0);

	return khz > 0 ? khz : 1000000;
}

/* --- local APIC: 32-bit registers, 16 bytes apart --- */

static uint32_t reg_get(const struct kvm_lapic_state *l, unsigned reg)
{
	uint32_t value;

	memcpy(&value, l->regs + reg * 16, sizeof(value));
	return value;
}

static void reg_set(struct kvm_lapic_state *l, unsigned reg, uint32_t value)
{
	memcpy(l->regs + reg * 16, &value, sizeof(value));
}

static void get_lapic(struct kvm_lapic_state *l, uint64_t base, struct cpu_lapic *to)
{
	*to = (struct cpu_lapic){
		.base = base,
		.id = reg_get(l, 0x02) >> 24,
		.tpr = reg_get(l, 0x08),
		.ldr = base & BASE_X2APIC ? 0 : reg_get(l, 0x0d),
		.dfr = reg_get(l, 0x0e),
		.svr = reg_get(l, 0x0f),
		.esr = reg_get(l, 0x28),
		.icr = reg_get(l, 0x30),
		.icr_high = reg_get(l, 0x31),
		.initial = reg_get(l, 0x38),
		.current = reg_get(l, 0x39),
		.divide = reg_get(l, 0x3e),
	};
	for (unsigned i = 0; i < 6; i++)
		to->lvt[i] = reg_get(l, 0x32 + i);
	for (unsigned i = 0; i < 8; i++) {
		to->isr[i] = reg_get(l, 0x10 + i);
		to->tmr[i] = reg_get(l, 0x18 + i);
		to->irr[i] = reg_get(l, 0x20 + i);
	}
	/* The kernel counts a new period before it looks at its timer. */
	if (to->current > to->initial)
		to->current = to->initial;
}

static void set_lapic(struct kvm_lapic_state *l, const struct cpu_lapic *from)
{
	reg_set(l, 0x02, from->id << 24);
	reg_set(l, 0x08, from->tpr);
	if (!(from->base & BASE_X2APIC))
		reg_set(l, 0x0d, from->ldr);
	reg_set(l, 0x0e, from->dfr);
	reg_set(l, 0x0f, from->svr);
	reg_set(l, 0x28, from->esr);
	reg_set(l, 0x30, from->icr);
	reg_set(l, 0x31, from->icr_high);
	for (unsigned i = 0; i < 6; i++)
		reg_set(l, 0x32 + i, from->lvt[i]);
	for (unsigned i = 0; i < 8; i++) {
		reg_set(l, 0x10 + i, from->isr[i]);
		reg_set(l, 0x18 + i, from->tmr[i]);
		reg_set(l, 0x20 + i, from->irr[i]);
	}
	reg_set(l, 0x38, from->initial);
	reg_set(l, 0x39, from->current);
	reg_set(l, 0x3e, from->divide);
}

/* --- events --- */

static void get_events(
	struct kvm_vcpu *vcpu, const struct kvm_vcpu_events *e, struct cpu_context *to)
{
	if (e->exception.injected) {
		to->event_kind = CPU_EVENT_EXCEPTION;
		to->event_vector = e->exception.nr;
		to->event_has_error = e->exception.has_error_code;
		to->event_error = e->exception.error_code;
	} else if (e->nmi.injected) {
		to->event_kind = CPU_EVENT_NMI;
		to->event_vector = 2;
	} else if (e->interrupt.injected) {
		to->event_kind = CPU_EVENT_INTERRUPT;
		to->event_vector = e->interrupt.nr;
	} else if (vcpu->offered >= 0 && to->regs.rip == vcpu->offered_rip &&
		   to->regs.gpr[RSP] == vcpu->offered_rsp) {
		/* Acknowledged, and the kernel does not tell that it has it. */
		to->event_kind = CPU_EVENT_INTERRUPT;
		to->event_vector = vcpu->offered;
	}
	to->shadow = e->interrupt.shadow & KVM_X86_SHADOW_INT_MOV_SS ? CPU_SHADOW_SS
		     : e->interrupt.shadow			     ? CPU_SHADOW_STI
								     : CPU_SHADOW_NONE;
	to->nmi_pending = e->nmi.pending;
	to->nmi_blocked = e->nmi.masked;
}

static void set_events(struct kvm_vcpu_events *e, const struct cpu_context *from)
{
	*e = (struct kvm_vcpu_events){
		.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW,
		.interrupt.shadow = from->shadow == CPU_SHADOW_SS    ? KVM_X86_SHADOW_INT_MOV_SS
				    : from->shadow == CPU_SHADOW_STI ? KVM_X86_SHADOW_INT_STI
								     : 0,
		.nmi.pending = from->nmi_pending,
		.nmi.masked = from->nmi_blocked,
	};
	if (from->event_kind == CPU_EVENT_EXCEPTION) {
		e->exception.injected = 1;
		e->exception.nr = from->event_vector;
		e->exception.has_error_code = from->event_has_error;
		e->exception.error_code = from->event_error;
	} else if (from->event_kind == CPU_EVENT_NMI) {
		e->nmi.injected = 1;
	} else if (from->event_kind == CPU_EVENT_INTERRUPT) {
		e->interrupt.injected = 1;
		e->interrupt.nr = from->event_vector;
	}
}

/* --- registers that belong to the processor's extensions --- */

/* XCR0's; a host without XSAVE has none, and its guest only x87 and SSE. */
static uint64_t get_xcr0(struct kvm_vcpu *vcpu)
{
	struct kvm_xcrs xcrs = {0};

	if (ioctl(vcpu->fd, KVM_GET_XCRS, &xcrs) < 0)
		return 1;
	for (unsigned i = 0; i < xcrs.nr_xcrs && i < KVM_MAX_XCRS; i++)
		if (xcrs.xcrs[i].xcr == 0)
			return xcrs.xcrs[i].value;
	return 1;
}

static int get_xsave(struct kvm_vcpu *vcpu, struct cpu_context *to)
{
	struct kvm_xsave xsave;

	if (ioctl(vcpu->fd, KVM_GET_XSAVE, &xsave) < 0)
		return -errno;
	memcpy(to->fxsave, xsave.region, sizeof(to->fxsave));
	if (to->xcr0 & XCR0_AVX)
		memcpy(to->ymm_high, (uint8_t *)xsave.region + XSAVE_YMM_HIGH,
			sizeof(to->ymm_high));
	return 0;
}

static int set_xsave(struct kvm_vcpu *vcpu, const struct cpu_context *from)
{
	struct kvm_xcrs xcrs = {.nr_xcrs = 1, .xcrs[0].value = from->xcr0};
	struct kvm_xsave xsave = {0};
	uint64_t present = 3;

	if (from->xcr0 != get_xcr0(vcpu) && ioctl(vcpu->fd, KVM_SET_XCRS, &xcrs) < 0)
		return -errno;
	memcpy(xsave.region, from->fxsave, sizeof(from->fxsave));
	if (from->xcr0 & XCR0_AVX) {
		present |= XCR0_AVX;
		memcpy((uint8_t *)xsave.region + XSAVE_YMM_HIGH, from->ymm_high,
			sizeof(from->ymm_high));
	}
	memcpy((uint8_t *)xsave.region + XSAVE_HEADER, &present, sizeof(present));
	return ioctl(vcpu->fd, KVM_SET_XSAVE, &xsave) < 0 ? -errno : 0;
}

static void get_debug(const struct kvm_debugregs *debug, struct cpu_context *to)
{
	memcpy(to->dr, debug->db, sizeof(debug->db));
	to->dr[6] = debug->dr6;
	to->dr[7] = debug->dr7;
}

static struct kvm_debugregs debug_of(const struct cpu_context *from)
{
	struct kvm_debugregs debug = {.dr6 = from->dr[6], .dr7 = from->dr[7]};

	memcpy(debug.db, from->dr, sizeof(debug.db));
	return debug;
}

/* What CR3 of PAE paging leads to, as the processor read it when CR3 was loaded. */
static void get_pdpte(struct kvm_vcpu *vcpu, struct cpu_context *to)
{
	bool pae = to->regs.cr0 >> 31 & 1 && to->regs.cr4 >> 5 & 1 && !(to->regs.efer >> 10 & 1);

	if (pae)
		guest_peek(&vcpu->kvm->engine.machine->memory, to->regs.cr3 & 0xffffffe0, to->pdpte,
			sizeof(to->pdpte));
}

static enum cpu_activity activity_of(const struct kvm_mp_state *mp)
{
	switch (mp->mp_state) {
	case KVM_MP_STATE_HALTED: return CPU_HALTED;
	case KVM_MP_STATE_UNINITIALIZED:
	case KVM_MP_STATE_INIT_RECEIVED: return CPU_WAITS_FOR_SIPI;
	default: return CPU_RUNNING;
	}
}

/* --- the engine's interface --- */

int kvm_get_context(
	struct cpu_engine *engine, unsigned cpu, struct cpu_context *context, struct error *err)
{
	struct kvm_vcpu *vcpu = &container_of(engine, struct kvm_engine, engine)->vcpus[cpu];
	struct kvm_sregs sregs;
	struct kvm_lapic_state lapic;
	struct kvm_vcpu_events events;
	struct kvm_debugregs debug;
	struct kvm_mp_state mp;

	if (kvm_state_get(vcpu, &context->regs) < 0 || ioctl(vcpu->fd, KVM_GET_SREGS, &sregs) < 0 ||
		ioctl(vcpu->fd, KVM_GET_LAPIC, &lapic) < 0 ||
		ioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &events) < 0 ||
		ioctl(vcpu->fd, KVM_GET_DEBUGREGS, &debug) < 0 ||
		ioctl(vcpu->fd, KVM_GET_MP_STATE, &mp) < 0)
		return error_set_errno(err, errno, "KVM does not tell the state");
	for (unsigned i = 0; i < MSR_COUNT; i++)
		get_msr(vcpu, msrs[i].index, (uint64_t *)((char *)context + msrs[i].offset));
	context->xcr0 = get_xcr0(vcpu);
	memcpy(context->features, vcpu->features, sizeof(context->features));
	if (get_xsave(vcpu, context) < 0)
		return error_set_errno(err, errno, "KVM does not tell the FPU's state");
	get_debug(&debug, context);
	get_pdpte(vcpu, context);
	get_lapic(&lapic, sregs.apic_base, &context->lapic);
	get_events(vcpu, &events, context);
	context->activity = activity_of(&mp);
	context->tsc_khz = tsc_khz(vcpu);
	get_msr(vcpu, MSR_TSC_DEADLINE, &context->tsc_deadline);
	get_msr(vcpu, MSR_TSC, &context->tsc);
	return 0;
}

/* A host that does not have an MSR may leave it out when nothing is in it. */
static int set_msrs(struct kvm_vcpu *vcpu, const struct cpu_context *context, struct error *err)
{
	for (unsigned i = 0; i < MSR_COUNT; i++) {
		uint64_t wanted, now = 0;

		memcpy(&wanted, (const char *)context + msrs[i].offset, sizeof(wanted));
		get_msr(vcpu, msrs[i].index, &now);
		if (wanted != now && !set_msr(vcpu, msrs[i].index, wanted))
			return error_set(err, ENOTSUP, "KVM refuses %llx in MSR %x",
				(unsigned long long)wanted, msrs[i].index);
	}
	return 0;
}

static int set_sregs(struct kvm_vcpu *vcpu, const struct cpu_context *context)
{
	struct kvm_sregs sregs;

	if (ioctl(vcpu->fd, KVM_GET_SREGS, &sregs) < 0)
		return -errno;
	sregs.apic_base = context->lapic.base;
	memset(sregs.interrupt_bitmap, 0, sizeof(sregs.interrupt_bitmap));
	if (ioctl(vcpu->fd, KVM_SET_SREGS, &sregs) < 0)
		return -errno;
	return kvm_state_set(vcpu, &context->regs);
}

/* The guest's rate goes on where the host can give it; else from here on the host's is its own. */
static void set_tsc(struct kvm_vcpu *vcpu, const struct cpu_context *context)
{
	if (context->tsc_khz != tsc_khz(vcpu) &&
		ioctl(vcpu->kvm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_CONTROL) > 0)
		ioctl(vcpu->fd, KVM_SET_TSC_KHZ, context->tsc_khz);
	set_msr(vcpu, MSR_TSC, context->tsc);
}

int kvm_set_context(struct cpu_engine *engine, unsigned cpu, const struct cpu_context *context,
	struct error *err)
{
	static const uint32_t mp_states[] = {
		[CPU_RUNNING] = KVM_MP_STATE_RUNNABLE,
		[CPU_HALTED] = KVM_MP_STATE_HALTED,
		/* Not "uninitialized", which would want another INIT first. */
		[CPU_WAITS_FOR_SIPI] = KVM_MP_STATE_INIT_RECEIVED,
	};
	struct kvm_vcpu *vcpu = &container_of(engine, struct kvm_engine, engine)->vcpus[cpu];
	struct kvm_mp_state mp = {mp_states[context->activity]};
	struct kvm_debugregs debug = debug_of(context);
	struct kvm_lapic_state lapic;
	struct kvm_vcpu_events events;
	uint64_t deadline;
	int rc = cpu_features_suffice(context->features, vcpu->features, err);

	if (rc < 0)
		return rc;
	rc = set_sregs(vcpu, context);
	if (rc < 0)
		return error_set_errno(err, -rc, "KVM refuses the registers");
	rc = set_xsave(vcpu, context);
	if (rc < 0)
		return error_set_errno(err, -rc, "KVM refuses the FPU's state");
	rc = set_msrs(vcpu, context, err);
	if (rc < 0)
		return rc;
	set_tsc(vcpu, context);
	if (ioctl(vcpu->fd, KVM_GET_LAPIC, &lapic) < 0)
		return error_set_errno(err, errno, "KVM does not tell the local APIC's state");
	set_lapic(&lapic, &context->lapic);
	if (ioctl(vcpu->fd, KVM_SET_LAPIC, &lapic) < 0)
		return error_set_errno(err, errno, "KVM refuses the local APIC's state");
	/* Only now does the APIC have the timer mode that takes it. */
	deadline = cpu_deadline_at(context, context->tsc, tsc_khz(vcpu));
	if (deadline)
		set_msr(vcpu, MSR_TSC_DEADLINE, deadline);
	set_events(&events, context);
	if (ioctl(vcpu->fd, KVM_SET_MP_STATE, &mp) < 0 ||
		ioctl(vcpu->fd, KVM_SET_DEBUGREGS, &debug) < 0 ||
		ioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &events) < 0)
		return error_set_errno(err, errno, "KVM refuses the events");
	vcpu->io_unfinished = false;
	vcpu->offered = -1;
	return 0;
}
