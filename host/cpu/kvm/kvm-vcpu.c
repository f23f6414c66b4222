/* SPDX-License-Identifier: MIT */
/*
 * vCPU threads under KVM: run until an exit, handle it under the machine lock, go on.
 *
 * A thread parks when it is told to stop, or when the exit it handled asked for a reset or for the
 * VM's end: then no further instruction of the guest may run before the main loop has acted.
 */
#include "cpu/kvm/kvm.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "cpu/report.h"
#include "cpu/situation.h"

#define SIGNAL_KICK SIGUSR1 /* brings a thread out of KVM_RUN; its handler does nothing */

static void handle_io(struct kvm_vcpu *vcpu)
{
	struct address_space *ports = &vcpu->kvm->engine.machine->ports;
	struct kvm_run *run = vcpu->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	unsigned size = run->io.size;

	vcpu->counters.port_exits++;
	vcpu->io_unfinished = true;
	for (uint32_t i = 0; i < run->io.count; i++, data += size) {
		uint64_t value = 0;

		if (run->io.direction == KVM_EXIT_IO_IN) {
			value = space_read(ports, run->io.port, size);
			memcpy(data, &value, size);
		} else {
			memcpy(&value, data, size);
			space_write(ports, run->io.port, value, size);
		}
	}
}

static void handle_mmio(struct kvm_vcpu *vcpu)
{
	struct address_space *mmio = &vcpu->kvm->engine.machine->mmio;
	struct kvm_run *run = vcpu->run;
	unsigned size = run->mmio.len > 8 ? 8 : run->mmio.len;
	uint64_t value = 0;

	vcpu->counters.mmio_exits++;
	vcpu->io_unfinished = true;
	if (run->mmio.is_write) {
		memcpy(&value, run->mmio.data, size);
		space_write(mmio, run->mmio.phys_addr, value, size);
	} else {
		value = space_read(mmio, run->mmio.phys_addr, size);
		memcpy(run->mmio.data, &value, size);
	}
}

static void handle_halt(struct kvm_vcpu *vcpu)
{
	/* The kernel's LAPIC waits by itself; here only when the guest can never wake up. */
	vcpu->counters.halt_exits++;
}

static void report(struct kvm_vcpu *vcpu, const char *what)
{
	struct cpu_state state;

	if (kvm_state_get(vcpu, &state) < 0)
		log_error("%s on vCPU %u: its registers cannot be read", what, vcpu->index);
	else
		cpu_report(&vcpu->kvm->engine.machine->memory, vcpu->index, &state, what);
	cpu_situation_at_end(vcpu->kvm->engine.machine, vcpu->index, what);
}

/* The engine cannot go on: one line, and the VM stops or ends (docs/command-line.md). */
static void handle_failure(struct kvm_vcpu *vcpu, const char *what, unsigned long long detail)
{
	char text[80];

	snprintf(text, sizeof(text), "%s (%llu)", what, detail);
	report(vcpu, text);
	machine_request_shutdown(vcpu->kvm->engine.machine, CAUSE_HOST_ERROR);
}

static void handle_internal_error(struct kvm_vcpu *vcpu)
{
	handle_failure(vcpu, "KVM internal error, suberror", vcpu->run->internal.suberror);
}

static void handle_fail_entry(struct kvm_vcpu *vcpu)
{
	handle_failure(vcpu, "KVM: guest entry failed, reason",
		vcpu->run->fail_entry.hardware_entry_failure_reason);
}

/* A triple fault resets the machine, as the PC's chipset does. */
static void handle_shutdown(struct kvm_vcpu *vcpu)
{
	report(vcpu, "triple fault");
	machine_request_reset(vcpu->kvm->engine.machine, CAUSE_GUEST_RESET);
}

static void handle_system_event(struct kvm_vcpu *vcpu)
{
	struct machine *machine = vcpu->kvm->engine.machine;

	if (vcpu->run->system_event.type == KVM_SYSTEM_EVENT_RESET)
		machine_request_reset(machine, CAUSE_GUEST_RESET);
	else
		machine_request_shutdown(machine, CAUSE_GUEST_SHUTDOWN);
}

static void handle_eoi(struct kvm_vcpu *vcpu)
{
	struct machine *machine = vcpu->kvm->engine.machine;

	vcpu->counters.eoi_exits++;
	if (machine->eoi)
		machine->eoi(machine, vcpu->run->eoi.vector);
}

/* The loop offers the interrupt. */
static void handle_window(struct kvm_vcpu *vcpu)
{
	vcpu->counters.window_exits++;
}

static void (*const handlers[])(struct kvm_vcpu *vcpu) = {
	[KVM_EXIT_IO] = handle_io,
	[KVM_EXIT_MMIO] = handle_mmio,
	[KVM_EXIT_HLT] = handle_halt,
	[KVM_EXIT_IRQ_WINDOW_OPEN] = handle_window,
	[KVM_EXIT_DEBUG] = kvm_debug_exit,
	[KVM_EXIT_SHUTDOWN] = handle_shutdown,
	[KVM_EXIT_INTERNAL_ERROR] = handle_internal_error,
	[KVM_EXIT_FAIL_ENTRY] = handle_fail_entry,
	[KVM_EXIT_SYSTEM_EVENT] = handle_system_event,
	[KVM_EXIT_IOAPIC_EOI] = handle_eoi,
};

static void handle_exit(struct kvm_vcpu *vcpu)
{
	uint32_t reason = vcpu->run->exit_reason;

	if (reason < sizeof(handlers) / sizeof(handlers[0]) && handlers[reason])
		handlers[reason](vcpu);
	else if (reason != KVM_EXIT_INTR)
		handle_failure(vcpu, "KVM: exit of an unknown kind", reason);
}

/* The kernel puts the result of a read into the registers at the next KVM_RUN only. */
static void finish_io(struct kvm_vcpu *vcpu)
{
	if (!vcpu->io_unfinished)
		return;
	vcpu->run->immediate_exit = 1;
	ioctl(vcpu->fd, KVM_RUN, 0);
	vcpu->io_unfinished = false;
}

static bool may_run(const struct kvm_vcpu *vcpu)
{
	const struct kvm_engine *kvm = vcpu->kvm;

	return kvm->running && !(kvm->engine.debug.frozen >> vcpu->index & 1) &&
	       !machine_request_pending(kvm->engine.machine);
}

static void park(struct kvm_vcpu *vcpu)
{
	struct kvm_engine *kvm = vcpu->kvm;

	finish_io(vcpu);
	vcpu->parked = true;
	pthread_cond_broadcast(&kvm->parked_cond);
	while (!kvm->quit && !may_run(vcpu))
		pthread_cond_wait(&kvm->run_cond, &kvm->engine.machine->lock);
	vcpu->parked = false;
	vcpu->run->immediate_exit = 0;
}

/* The kernel does not tell whether it holds such a vector still.  It has gone when the guest has
 * moved: its handler ends the interrupt with an exit at the latest. */
static void remember_offer(struct kvm_vcpu *vcpu, int vector)
{
	struct kvm_regs regs;

	vcpu->offered = ioctl(vcpu->fd, KVM_GET_REGS, &regs) < 0 ? -1 : vector;
	vcpu->offered_rip = regs.rip;
	vcpu->offered_rsp = regs.rsp;
}

/* With a PIC of our own: hands its interrupt over when the vCPU takes one, else asks to be told
 * when it does. */
static void offer_interrupt(struct kvm_vcpu *vcpu)
{
	struct kvm_engine *kvm = vcpu->kvm;
	struct machine_ext_int *ext = &kvm->engine.machine->ext_int;
	struct kvm_interrupt interrupt;

	vcpu->run->request_interrupt_window = 0;
	if (kvm->chips || vcpu->index != 0 || !kvm->intr || !ext->acknowledge)
		return;
	if (vcpu->run->ready_for_interrupt_injection) {
		interrupt.irq = ext->acknowledge(ext->opaque);
		ioctl(vcpu->fd, KVM_INTERRUPT, &interrupt);
		remember_offer(vcpu, interrupt.irq);
	}
	vcpu->run->request_interrupt_window = kvm->intr;
}

/* Before KVM_RUN the flag makes it return, within it the signal does. */
void kvm_vcpu_kick(struct kvm_vcpu *vcpu)
{
	if (!vcpu->thread_started || vcpu->parked || pthread_equal(vcpu->thread, pthread_self()))
		return;
	vcpu->run->immediate_exit = 1;
	pthread_kill(vcpu->thread, SIGNAL_KICK);
}

static uint64_t thread_cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return now.tv_sec * 1000000000ull + now.tv_nsec;
}

/* Releases the lock while the guest runs.  0 or -errno of KVM_RUN. */
static int run_guest(struct kvm_vcpu *vcpu, pthread_mutex_t *lock)
{
	int rc;

	if (vcpu->left_at)
		vcpu->counters.outside_ns += thread_cpu_ns() - vcpu->left_at;
	pthread_mutex_unlock(lock);
	rc = ioctl(vcpu->fd, KVM_RUN, 0) < 0 ? -errno : 0;
	vcpu->left_at = vcpu->measured ? thread_cpu_ns() : 0;
	pthread_mutex_lock(lock);
	return rc;
}

static void *vcpu_main(void *opaque)
{
	struct kvm_vcpu *vcpu = opaque;
	struct kvm_engine *kvm = vcpu->kvm;
	pthread_mutex_t *lock = &kvm->engine.machine->lock;
	int rc;

	vcpu->thread_id = syscall(SYS_gettid);
	pthread_setname_np(pthread_self(), "vcpu");
	pthread_mutex_lock(lock);
	while (!kvm->quit) {
		if (!may_run(vcpu)) {
			park(vcpu);
			continue;
		}
		offer_interrupt(vcpu);
		rc = run_guest(vcpu, lock);
		vcpu->io_unfinished = false;
		vcpu->run->immediate_exit = 0;
		vcpu->counters.exits++;
		if (rc == 0) {
			vcpu->offered = -1;
			handle_exit(vcpu);
		} else if (rc == -EINTR || rc == -EAGAIN)
			vcpu->counters.interrupted_exits++;
		else
			handle_failure(vcpu, "KVM_RUN failed, error", -rc);
	}
	vcpu->parked = true;
	pthread_cond_broadcast(&kvm->parked_cond);
	pthread_mutex_unlock(lock);
	return NULL;
}

static void kick_handler(int signal)
{
}

static int start_thread(struct kvm_vcpu *vcpu)
{
	struct sigaction action = {.sa_handler = kick_handler};
	sigset_t all, before;
	int rc;

	sigaction(SIGNAL_KICK, &action, NULL);
	/* Signals meant for the process are the main thread's. */
	sigfillset(&all);
	sigdelset(&all, SIGNAL_KICK);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	rc = pthread_create(&vcpu->thread, NULL, vcpu_main, vcpu);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	vcpu->thread_started = rc == 0;
	return -rc;
}

void kvm_vcpus_start(struct kvm_engine *kvm)
{
	kvm->running = true;
	for (unsigned i = 0; i < kvm->engine.cpus; i++) {
		struct kvm_vcpu *vcpu = &kvm->vcpus[i];

		if (!vcpu->thread_started && start_thread(vcpu) < 0)
			log_error("cannot start the thread of vCPU %u", i);
	}
	pthread_cond_broadcast(&kvm->run_cond);
}

static void wait_parked(struct kvm_engine *kvm)
{
	for (unsigned i = 0; i < kvm->engine.cpus; i++) {
		struct kvm_vcpu *vcpu = &kvm->vcpus[i];

		kvm_vcpu_kick(vcpu);
	}
	for (unsigned i = 0; i < kvm->engine.cpus; i++)
		while (kvm->vcpus[i].thread_started && !kvm->vcpus[i].parked)
			pthread_cond_wait(&kvm->parked_cond, &kvm->engine.machine->lock);
}

void kvm_vcpus_stop(struct kvm_engine *kvm)
{
	kvm->running = false;
	wait_parked(kvm);
}

int kvm_vcpu_create(struct kvm_engine *kvm, unsigned index, const struct engine_config *config,
	struct error *err)
{
	struct kvm_vcpu *vcpu = &kvm->vcpus[index];
	int size = ioctl(kvm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	int rc;

	vcpu->kvm = kvm;
	vcpu->index = index;
	vcpu->offered = -1;
	/* The kernel takes its id of a vCPU for the APIC id. */
	vcpu->fd = ioctl(kvm->vm_fd, KVM_CREATE_VCPU, topology_apic_id(&config->smp, index));
	if (vcpu->fd < 0)
		return error_set_errno(err, errno, "KVM cannot create vCPU %u", index);
	kvm->engine.cpus = index + 1;
	vcpu->run_size = size > 0 ? size : 4096;
	vcpu->run = mmap(NULL, vcpu->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	if (vcpu->run == MAP_FAILED) {
		vcpu->run = NULL;
		return error_set_errno(err, errno, "cannot map vCPU %u", index);
	}
	rc = kvm_cpuid_set(vcpu, config->cpu, err);
	return rc < 0 ? rc : kvm_state_capture(vcpu, err);
}

void kvm_vcpu_destroy(struct kvm_vcpu *vcpu)
{
	struct kvm_engine *kvm = vcpu->kvm;

	if (vcpu->thread_started) {
		pthread_mutex_lock(&kvm->engine.machine->lock);
		kvm->quit = true;
		pthread_cond_broadcast(&kvm->run_cond);
		pthread_mutex_unlock(&kvm->engine.machine->lock);
		pthread_join(vcpu->thread, NULL);
	}
	if (vcpu->run)
		munmap(vcpu->run, vcpu->run_size);
	if (vcpu->fd > 0)
		close(vcpu->fd);
}
