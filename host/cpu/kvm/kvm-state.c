/* SPDX-License-Identifier: MIT */
/*
 * Registers between KVM's structures and the neutral struct cpu_state, and the reset of a vCPU: to
 * what the kernel had made of it when it was new.
 */
#include "cpu/kvm/kvm.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#define MSR_IA32_SYSENTER_CS  0x174
#define MSR_IA32_SYSENTER_ESP 0x175
#define MSR_IA32_SYSENTER_EIP 0x176
#define MSR_IA32_PAT	      0x277
#define MSR_STAR	      0xc0000081
#define MSR_LSTAR	      0xc0000082
#define MSR_CSTAR	      0xc0000083
#define MSR_SYSCALL_MASK      0xc0000084
#define MSR_KERNEL_GS_BASE    0xc0000102

static const uint32_t reset_msrs[] = {
	MSR_IA32_SYSENTER_CS,
	MSR_IA32_SYSENTER_ESP,
	MSR_IA32_SYSENTER_EIP,
	MSR_IA32_PAT,
	MSR_STAR,
	MSR_LSTAR,
	MSR_CSTAR,
	MSR_SYSCALL_MASK,
	MSR_KERNEL_GS_BASE,
};

int kvm_state_capture(struct kvm_vcpu *vcpu, struct error *err)
{
	struct kvm_poweron *p = &vcpu->poweron;
	unsigned count = sizeof(reset_msrs) / sizeof(reset_msrs[0]);
	int read;

	if (ioctl(vcpu->fd, KVM_GET_REGS, &p->regs) < 0 ||
		ioctl(vcpu->fd, KVM_GET_SREGS, &p->sregs) < 0 ||
		ioctl(vcpu->fd, KVM_GET_FPU, &p->fpu) < 0 ||
		ioctl(vcpu->fd, KVM_GET_LAPIC, &p->lapic) < 0 ||
		ioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &p->events) < 0 ||
		ioctl(vcpu->fd, KVM_GET_DEBUGREGS, &p->debugregs) < 0 ||
		ioctl(vcpu->fd, KVM_GET_MP_STATE, &p->mp_state) < 0)
		return error_set_errno(
			err, errno, "KVM cannot read the state of vCPU %u", vcpu->index);
	for (unsigned i = 0; i < count; i++)
		p->msrs.entries[i].index = reset_msrs[i];
	p->msrs.head.nmsrs = count;
	/* A host may know fewer of them: then those it read are the ones to restore. */
	read = ioctl(vcpu->fd, KVM_GET_MSRS, &p->msrs.head);
	p->msrs.head.nmsrs = read > 0 ? read : 0;
	return 0;
}

void kvm_state_reset(struct kvm_vcpu *vcpu)
{
	struct kvm_poweron *p = &vcpu->poweron;

	ioctl(vcpu->fd, KVM_SET_MP_STATE, &p->mp_state);
	ioctl(vcpu->fd, KVM_SET_REGS, &p->regs);
	ioctl(vcpu->fd, KVM_SET_SREGS, &p->sregs);
	ioctl(vcpu->fd, KVM_SET_FPU, &p->fpu);
	ioctl(vcpu->fd, KVM_SET_MSRS, &p->msrs.head);
	ioctl(vcpu->fd, KVM_SET_LAPIC, &p->lapic);
	ioctl(vcpu->fd, KVM_SET_DEBUGREGS, &p->debugregs);
	/* Last: it clears what a pending exception or NMI of the old life left. */
	ioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &p->events);
	vcpu->io_unfinished = false;
}

/* struct kvm_regs has its own order; this is where each of ours stands in it. */
static const size_t gpr_offset[16] = {
	[RAX] = offsetof(struct kvm_regs, rax),
	[RCX] = offsetof(struct kvm_regs, rcx),
	[RDX] = offsetof(struct kvm_regs, rdx),
	[RBX] = offsetof(struct kvm_regs, rbx),
	[RSP] = offsetof(struct kvm_regs, rsp),
	[RBP] = offsetof(struct kvm_regs, rbp),
	[RSI] = offsetof(struct kvm_regs, rsi),
	[RDI] = offsetof(struct kvm_regs, rdi),
	[R8] = offsetof(struct kvm_regs, r8),
	[R9] = offsetof(struct kvm_regs, r9),
	[R10] = offsetof(struct kvm_regs, r10),
	[R11] = offsetof(struct kvm_regs, r11),
	[R12] = offsetof(struct kvm_regs, r12),
	[R13] = offsetof(struct kvm_regs, r13),
	[R14] = offsetof(struct kvm_regs, r14),
	[R15] = offsetof(struct kvm_regs, r15),
};

static __u64 *gpr(struct kvm_regs *regs, unsigned i)
{
	return (__u64 *)((char *)regs + gpr_offset[i]);
}

static struct kvm_segment segment_to_kvm(const struct cpu_segment *s)
{
	return (struct kvm_segment){
		.base = s->base,
		.limit = s->limit,
		.selector = s->selector,
		.type = s->type,
		.present = s->present,
		.dpl = s->dpl,
		.db = s->db,
		.s = s->code_or_data,
		.l = s->l,
		.g = s->granular,
		.unusable = s->unusable,
	};
}

static struct cpu_segment segment_from_kvm(const struct kvm_segment *s)
{
	return (struct cpu_segment){
		.base = s->base,
		.limit = s->limit,
		.selector = s->selector,
		.type = s->type,
		.present = s->present,
		.dpl = s->dpl,
		.db = s->db,
		.code_or_data = s->s,
		.l = s->l,
		.granular = s->g,
		.unusable = s->unusable,
	};
}

int kvm_state_set(struct kvm_vcpu *vcpu, const struct cpu_state *state)
{
	struct kvm_regs regs = {.rip = state->rip, .rflags = state->rflags};
	struct kvm_sregs sregs;

	for (unsigned i = 0; i < 16; i++)
		*gpr(&regs, i) = state->gpr[i];
	/* The APIC base and pending interrupts are not ours to change here. */
	if (ioctl(vcpu->fd, KVM_GET_SREGS, &sregs) < 0)
		return -errno;
	sregs.cs = segment_to_kvm(&state->cs);
	sregs.ds = segment_to_kvm(&state->ds);
	sregs.es = segment_to_kvm(&state->es);
	sregs.fs = segment_to_kvm(&state->fs);
	sregs.gs = segment_to_kvm(&state->gs);
	sregs.ss = segment_to_kvm(&state->ss);
	sregs.ldt = segment_to_kvm(&state->ldt);
	sregs.tr = segment_to_kvm(&state->tr);
	sregs.gdt = (struct kvm_dtable){.base = state->gdt.base, .limit = state->gdt.limit};
	sregs.idt = (struct kvm_dtable){.base = state->idt.base, .limit = state->idt.limit};
	sregs.cr0 = state->cr0;
	sregs.cr2 = state->cr2;
	sregs.cr3 = state->cr3;
	sregs.cr4 = state->cr4;
	sregs.cr8 = state->cr8;
	sregs.efer = state->efer;
	if (ioctl(vcpu->fd, KVM_SET_SREGS, &sregs) < 0 || ioctl(vcpu->fd, KVM_SET_REGS, &regs) < 0)
		return -errno;
	return 0;
}

int kvm_state_get(struct kvm_vcpu *vcpu, struct cpu_state *state)
{
	struct kvm_regs regs;
	struct kvm_sregs sregs;

	if (ioctl(vcpu->fd, KVM_GET_REGS, &regs) < 0 || ioctl(vcpu->fd, KVM_GET_SREGS, &sregs) < 0)
		return -errno;
	*state = (struct cpu_state){
		.rip = regs.rip,
		.rflags = regs.rflags,
		.cs = segment_from_kvm(&sregs.cs),
		.ds = segment_from_kvm(&sregs.ds),
		.es = segment_from_kvm(&sregs.es),
		.fs = segment_from_kvm(&sregs.fs),
		.gs = segment_from_kvm(&sregs.gs),
		.ss = segment_from_kvm(&sregs.ss),
		.ldt = segment_from_kvm(&sregs.ldt),
		.tr = segment_from_kvm(&sregs.tr),
		.gdt = {sregs.gdt.base, sregs.gdt.limit},
		.idt = {sregs.idt.base, sregs.idt.limit},
		.cr0 = sregs.cr0,
		.cr2 = sregs.cr2,
		.cr3 = sregs.cr3,
		.cr4 = sregs.cr4,
		.cr8 = sregs.cr8,
		.efer = sregs.efer,
	};
	for (unsigned i = 0; i < 16; i++)
		state->gpr[i] = *gpr(&regs, i);
	return 0;
}
