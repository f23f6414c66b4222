/* SPDX-License-Identifier: MIT */
/* Private to cpu/kvm: the VM, its vCPUs and the way of interrupts. */
#ifndef CPU_KVM_KVM_H
#define CPU_KVM_KVM_H

#include <stdatomic.h>
#include <linux/kvm.h>
#include <pthread.h>

#include "cpu/engine.h"
#include "cpu/model.h"

#define KVM_ROUTES_MAX 512 /* GSIs: 24 lines, the rest for messages */

struct kvm_poweron {
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_fpu fpu;
	struct kvm_lapic_state lapic;
	struct kvm_vcpu_events events;
	struct kvm_debugregs debugregs;
	struct kvm_mp_state mp_state;
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entries[16];
	} msrs;
};

struct kvm_vcpu {
	uint32_t features[FEATURE_WORDS]; /* that -cpu asked for */
	struct kvm_engine *kvm;
	unsigned index;
	int fd;
	struct kvm_run *run;
	size_t run_size;
	pthread_t thread;
	int thread_id;
	bool thread_started;
	bool parked;	    /* executes no guest code, and will not before start */
	bool io_unfinished; /* the last exit's result is not in the registers yet */
	int offered; /* a vector of our own PIC that the kernel got and may still hold; -1: none */
	uint64_t offered_rip, offered_rsp; /* where the guest stood then */
	struct engine_counters counters;
	atomic_bool measured; /* somebody asked for the counters: outside_ns is kept */
	uint64_t left_at;     /* the thread's CPU time when KVM_RUN returned; 0: not measured */
	struct kvm_poweron poweron; /* what the kernel made of a new vCPU: the state of a reset */
};

struct kvm_engine {
	struct cpu_engine engine;
	int kvm_fd, vm_fd;
	unsigned slots;
	struct memory_listener memory_listener;
	struct space_listener port_listener, mmio_listener;
	bool running, quit;
	pthread_cond_t run_cond, parked_cond; /* with machine->lock */
	struct kvm_vcpu *vcpus;

	bool chips; /* PIC, IOAPIC and PIT are the kernel's */
	bool intr;  /* our own PIC's INTR */
	bool gsi_level[GSI_COUNT];
	struct {
		bool watched;
		struct msi_message message;
	} eoi[GSI_COUNT]; /* level-triggered pins of our own IOAPIC */
	struct {
		bool used;
		struct msi_message message;
	} routes[KVM_ROUTES_MAX]; /* by GSI, from GSI_COUNT on */
	struct kvm_irqchip poweron_chips[3];
	struct kvm_pit_state2 poweron_pit;
};

/* kvm-irq.c: creates the in-kernel chips; after the memory slots.  0 or -errno. */
int kvm_irq_create(struct kvm_engine *kvm, const struct engine_config *config, struct error *err);
void kvm_irq_reset(struct kvm_engine *kvm);

/* kvm-chips.c: the state of the in-kernel chips, for the machine. */
void kvm_chips_init(struct kvm_engine *kvm);

/* kvm-vcpu.c */
int kvm_vcpu_create(struct kvm_engine *kvm, unsigned index, const struct engine_config *config,
	struct error *err);
void kvm_vcpu_destroy(struct kvm_vcpu *vcpu);
void kvm_vcpus_start(struct kvm_engine *kvm);
void kvm_vcpus_stop(struct kvm_engine *kvm);
void kvm_vcpu_kick(struct kvm_vcpu *vcpu); /* out of guest mode, once; machine lock held */

/* kvm-state.c */
int kvm_state_capture(struct kvm_vcpu *vcpu, struct error *err);
void kvm_state_reset(struct kvm_vcpu *vcpu);
int kvm_state_set(struct kvm_vcpu *vcpu, const struct cpu_state *state);
int kvm_state_get(struct kvm_vcpu *vcpu, struct cpu_state *state);

/* kvm-context.c: the engine's get_context and set_context */
int kvm_get_context(
	struct cpu_engine *engine, unsigned cpu, struct cpu_context *context, struct error *err);
int kvm_set_context(struct cpu_engine *engine, unsigned cpu, const struct cpu_context *context,
	struct error *err);

/* kvm-debug.c */
int kvm_set_debug(struct cpu_engine *engine, const struct cpu_debug *debug);
void kvm_debug_exit(struct kvm_vcpu *vcpu); /* KVM_EXIT_DEBUG */

/* kvm-cpuid.c */
int kvm_cpuid_set(struct kvm_vcpu *vcpu, const char *model, struct error *err);

#endif
