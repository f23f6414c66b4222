/* SPDX-License-Identifier: MIT */
/*
 * CPUID under KVM: what the kernel supports, cut to the features of the chosen model, with the
 * leaves that name this vCPU.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/fault.h"
#include "cpu/kvm/kvm.h"
#include "cpu/model.h"

#define LEAVES_MAX 100

struct cpuid {
	struct kvm_cpuid2 head;
	struct kvm_cpuid_entry2 entries[LEAVES_MAX];
};

/* Where each feature word stands. */
static const struct {
	uint32_t leaf;
	size_t offset;
	uint32_t index;
} places[FEATURE_WORDS] = {
	[FEATURE_1_EDX] = {1, offsetof(struct kvm_cpuid_entry2, edx)},
	[FEATURE_1_ECX] = {1, offsetof(struct kvm_cpuid_entry2, ecx)},
	[FEATURE_7_EBX] = {7, offsetof(struct kvm_cpuid_entry2, ebx)},
	[FEATURE_7_ECX] = {7, offsetof(struct kvm_cpuid_entry2, ecx)},
	[FEATURE_7_EDX] = {7, offsetof(struct kvm_cpuid_entry2, edx)},
	[FEATURE_D_1_EAX] = {0xd, offsetof(struct kvm_cpuid_entry2, eax), 1},
	[FEATURE_80000001_EDX] = {0x80000001, offsetof(struct kvm_cpuid_entry2, edx)},
	[FEATURE_80000001_ECX] = {0x80000001, offsetof(struct kvm_cpuid_entry2, ecx)},
};

/* ARCH_CAPABILITIES has an MSR of its own that some hosts refuse to set; no guest here needs it. */
static void apply_features(struct kvm_cpuid_entry2 *entry, const uint32_t wanted[FEATURE_WORDS])
{
	for (unsigned word = 0; word < FEATURE_WORDS; word++) {
		uint32_t *value = (uint32_t *)((char *)entry + places[word].offset);

		if (places[word].leaf != entry->function || places[word].index != entry->index)
			continue;
		/* A hypervisor is not something the kernel "supports": we are one. */
		if (word == FEATURE_1_ECX)
			*value |= 1u << 31;
		*value &= wanted[word];
	}
}

static void name_vcpu(struct kvm_cpuid_entry2 *entry, const struct kvm_vcpu *vcpu, bool amd)
{
	uint32_t regs[4] = {entry->eax, entry->ebx, entry->ecx, entry->edx};

	topology_cpuid(
		&vcpu->kvm->engine.smp, vcpu->index, entry->function, entry->index, amd, regs);
	entry->eax = regs[0];
	entry->ebx = regs[1];
	entry->ecx = regs[2];
	entry->edx = regs[3];
}

/* Leaf 0 spells the vendor: "AuthenticAMD" or "HygonGenuine" have AMD's leaves. */
static bool is_amd(const struct cpuid *table)
{
	for (unsigned i = 0; i < table->head.nent; i++)
		if (table->entries[i].function == 0)
			return table->entries[i].ebx == 0x68747541 ||
			       table->entries[i].ebx == 0x6f677948;
	return false;
}

int kvm_cpuid_set(struct kvm_vcpu *vcpu, const char *model, struct error *err)
{
	struct cpuid table = {.head.nent = LEAVES_MAX};
	struct cpu_choice choice;
	int rc = cpu_choice_parse(model, &choice, err);

	if (rc < 0)
		return rc;
	cpu_choice_features(&choice, vcpu->features);
	if (ioctl(vcpu->kvm->kvm_fd, KVM_GET_SUPPORTED_CPUID, &table) < 0)
		return error_set_errno(err, errno, "KVM does not tell its CPUID");
	for (unsigned i = 0; i < table.head.nent; i++) {
		uint64_t ecx;

		apply_features(&table.entries[i], vcpu->features);
		name_vcpu(&table.entries[i], vcpu, is_amd(&table));
		ecx = table.entries[i].ecx;
		if (table.entries[i].function == 1)
			fault_value("cpuid-1-ecx", &ecx);
		table.entries[i].ecx = ecx;
	}
	if (ioctl(vcpu->fd, KVM_SET_CPUID2, &table) < 0)
		return error_set_errno(err, errno, "KVM refuses the processor model");
	return 0;
}
