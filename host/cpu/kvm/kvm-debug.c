/* SPDX-License-Identifier: MIT */
/*
 * The debugger's breakpoints, watchpoints and steps under KVM (Linux:
 * Documentation/virt/kvm/api.rst, KVM_SET_GUEST_DEBUG).
 *
 * All points are in the processor's four debug registers: an INT3 written into the guest would be
 * seen by it, and hosts whose KVM interprets CPL 0 do not execute one.  While they are in use the
 * guest's own debug registers have no effect.
 */
#include <errno.h>
#include <sys/ioctl.h>

#include "cpu/kvm/kvm.h"

#define POINTS_MAX 4
#define DR7_FIXED  0x600u /* GE, and a bit that is always set */

/* R/Wn and LENn (SDM 3B, 17.2.4), or -1: no debug register can watch that. */
static int condition(const struct cpu_debug_point *point)
{
	static const int lengths[] = {[1] = 0, [2] = 1, [4] = 3, [8] = 2};
	unsigned length = point->length;

	if (point->kind == CPU_DEBUG_EXECUTE)
		return 0;
	if (!length || length > 8 || length & (length - 1) || point->address & (length - 1))
		return -1;
	return (point->kind == CPU_DEBUG_WRITE ? 1 : 3) | lengths[length] << 2;
}

static int translate(const struct cpu_debug *debug, struct kvm_guest_debug *out)
{
	if (debug->count > POINTS_MAX)
		return -ENOSPC;
	*out = (struct kvm_guest_debug){.control = 0};
	if (!debug->count)
		return 0;
	out->control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
	out->arch.debugreg[7] = DR7_FIXED;
	for (unsigned n = 0; n < debug->count; n++) {
		int bits = condition(&debug->points[n]);

		if (bits < 0)
			return -EINVAL;
		out->arch.debugreg[n] = debug->points[n].address;
		out->arch.debugreg[7] |= 2u << n * 2 | (uint64_t)bits << (16 + n * 4);
	}
	return 0;
}

/* Newer kernels can hold interrupts back during a step. */
static uint32_t step_control(const struct kvm_engine *kvm)
{
	uint32_t control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP;
	int known = ioctl(kvm->vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_SET_GUEST_DEBUG2);

	return known > 0 && known & KVM_GUESTDBG_BLOCKIRQ ? control | KVM_GUESTDBG_BLOCKIRQ
							  : control;
}

int kvm_set_debug(struct cpu_engine *engine, const struct cpu_debug *debug)
{
	struct kvm_engine *kvm = container_of(engine, struct kvm_engine, engine);
	struct kvm_guest_debug points;
	int rc = translate(debug, &points);

	if (rc < 0)
		return rc;
	for (unsigned i = 0; i < engine->cpus; i++) {
		struct kvm_guest_debug all = points;

		if (debug->step >> i & 1)
			all.control |= step_control(kvm);
		if (ioctl(kvm->vcpus[i].fd, KVM_SET_GUEST_DEBUG, &all) < 0)
			return -errno;
	}
	engine->debug = *debug;
	return 0;
}

void kvm_debug_exit(struct kvm_vcpu *vcpu)
{
	struct cpu_engine *engine = &vcpu->kvm->engine;
	const struct kvm_debug_exit_arch *at = &vcpu->run->debug.arch;
	struct cpu_debug_stop stop = {CPU_DEBUG_STEP, vcpu->index, at->pc};

	for (unsigned n = 0; n < engine->debug.count; n++) {
		const struct cpu_debug_point *point = &engine->debug.points[n];

		if (!(at->dr6 >> n & 1))
			continue;
		stop.reason = point->kind == CPU_DEBUG_EXECUTE ? CPU_DEBUG_BREAK : CPU_DEBUG_WATCH;
		stop.address = point->address;
	}
	engine->debug_stop = stop;
	machine_request_debug(engine->machine);
}
