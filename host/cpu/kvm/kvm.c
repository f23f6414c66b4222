/* SPDX-License-Identifier: MIT */
/*
 * The KVM engine: the VM, its memory slots and the doorbells that the kernel turns into signals
 * (Linux: Documentation/virt/kvm/api.rst).
 *
 * Memory slots are set before the in-kernel interrupt chips are made: afterwards the first change
 * of a slot waits for a grace period, milliseconds on some hosts.
 */
#include "cpu/kvm/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Three pages that Intel hosts need, in the hole below the firmware, as QEMU places them. */
#define IDENTITY_MAP_ADDRESS 0xfeffc000
#define TSS_ADDRESS	     0xfeffd000

static int open_kvm(struct error *err)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int version;

	if (fd < 0)
		return error_set_errno(err, errno, "Could not access KVM kernel module");
	version = ioctl(fd, KVM_GET_API_VERSION, 0);
	if (version != KVM_API_VERSION) {
		close(fd);
		return error_set(
			err, ENOTSUP, "KVM has API version %d, not %d", version, KVM_API_VERSION);
	}
	return fd;
}

static int kvm_probe(struct error *err)
{
	int fd = open_kvm(err);

	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

static int block_added(void *opaque, const struct ram_block *block, struct error *err)
{
	struct kvm_engine *kvm = opaque;
	struct kvm_userspace_memory_region region = {
		.slot = kvm->slots++,
		.flags = block->readonly ? KVM_MEM_READONLY : 0,
		.guest_phys_addr = block->address,
		.memory_size = block->size,
		.userspace_addr = (uintptr_t)block->host,
	};

	if (ioctl(kvm->vm_fd, KVM_SET_USER_MEMORY_REGION, &region) < 0)
		return error_set_errno(err, errno, "KVM refuses memory '%s'", block->name);
	return 0;
}

static int set_ioeventfd(struct kvm_engine *kvm, const struct address_space *space,
	uint64_t address, const struct region_event *event, uint32_t flags)
{
	struct kvm_ioeventfd io = {
		.addr = address,
		.len = event->size,
		.fd = event->fd,
		.datamatch = event->value,
		.flags = flags | (space->is_port ? KVM_IOEVENTFD_FLAG_PIO : 0) |
			 (event->match ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0),
	};

	return ioctl(kvm->vm_fd, KVM_IOEVENTFD, &io) < 0 ? -errno : 0;
}

static int event_added(void *opaque, struct address_space *space, uint64_t address,
	const struct region_event *event)
{
	return set_ioeventfd(opaque, space, address, event, 0);
}

static void event_removed(void *opaque, struct address_space *space, uint64_t address,
	const struct region_event *event)
{
	set_ioeventfd(opaque, space, address, event, KVM_IOEVENTFD_FLAG_DEASSIGN);
}

static int create_vm(struct kvm_engine *kvm, struct error *err)
{
	uint64_t identity = IDENTITY_MAP_ADDRESS;

	kvm->kvm_fd = open_kvm(err);
	if (kvm->kvm_fd < 0)
		return kvm->kvm_fd;
	do {
		kvm->vm_fd = ioctl(kvm->kvm_fd, KVM_CREATE_VM, 0);
	} while (kvm->vm_fd < 0 && errno == EINTR);
	if (kvm->vm_fd < 0)
		return error_set_errno(err, errno, "KVM cannot create a VM");
	/* Hosts without VT-x have no use for these and may refuse them. */
	ioctl(kvm->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity);
	ioctl(kvm->vm_fd, KVM_SET_TSS_ADDR, TSS_ADDRESS);
	return 0;
}

static void kvm_destroy(struct cpu_engine *engine);

static void vcpus_start(void *opaque)
{
	kvm_vcpus_start(opaque);
}

static void vcpus_stop(void *opaque)
{
	kvm_vcpus_stop(opaque);
}

static void vcpus_reset(void *opaque)
{
	struct kvm_engine *kvm = opaque;

	kvm_irq_reset(kvm);
	for (unsigned i = 0; i < kvm->engine.cpus; i++)
		kvm_state_reset(&kvm->vcpus[i]);
}

static int create_parts(
	struct kvm_engine *kvm, const struct engine_config *config, struct error *err)
{
	struct machine *machine = kvm->engine.machine;
	int rc = create_vm(kvm, err);

	if (rc < 0)
		return rc;
	kvm->memory_listener = (struct memory_listener){.block_added = block_added, .opaque = kvm};
	rc = memory_listen(&machine->memory, &kvm->memory_listener, err);
	if (rc < 0)
		return rc;
	rc = kvm_irq_create(kvm, config, err);
	for (unsigned i = 0; i < config->smp.cpus && rc == 0; i++)
		rc = kvm_vcpu_create(kvm, i, config, err);
	if (rc < 0)
		return rc;
	kvm->port_listener = (struct space_listener){event_added, event_removed, kvm};
	kvm->mmio_listener = kvm->port_listener;
	space_listen(&machine->ports, &kvm->port_listener);
	space_listen(&machine->mmio, &kvm->mmio_listener);
	return 0;
}

static int kvm_create(
	struct machine *machine, const struct engine_config *config, struct error *err)
{
	struct kvm_engine *kvm = calloc(1, sizeof(*kvm));
	int rc;

	if (!kvm)
		return error_set(err, ENOMEM, "out of memory");
	kvm->vcpus = calloc(config->smp.cpus, sizeof(*kvm->vcpus));
	kvm->kvm_fd = kvm->vm_fd = -1;
	kvm->engine =
		(struct cpu_engine){.ops = &kvm_engine_ops, .machine = machine, .smp = config->smp};
	pthread_cond_init(&kvm->run_cond, NULL);
	pthread_cond_init(&kvm->parked_cond, NULL);
	rc = kvm->vcpus ? create_parts(kvm, config, err) : error_set(err, ENOMEM, "out of memory");
	if (rc < 0) {
		kvm_destroy(&kvm->engine);
		return rc;
	}
	machine->engine = &kvm->engine;
	machine->vcpus = (struct machine_vcpus){vcpus_start, vcpus_stop, vcpus_reset, kvm};
	return 0;
}

static struct kvm_engine *to_kvm(struct cpu_engine *engine)
{
	return container_of(engine, struct kvm_engine, engine);
}

static void kvm_destroy(struct cpu_engine *engine)
{
	struct kvm_engine *kvm = to_kvm(engine);

	for (unsigned i = 0; i < engine->cpus; i++)
		kvm_vcpu_destroy(&kvm->vcpus[i]);
	if (kvm->vm_fd >= 0)
		close(kvm->vm_fd);
	if (kvm->kvm_fd >= 0)
		close(kvm->kvm_fd);
	engine->machine->memory.listener = NULL;
	engine->machine->ports.listener = NULL;
	engine->machine->mmio.listener = NULL;
	engine->machine->engine = NULL;
	pthread_cond_destroy(&kvm->run_cond);
	pthread_cond_destroy(&kvm->parked_cond);
	free(kvm->vcpus);
	free(kvm);
}

static void kvm_start(struct cpu_engine *engine)
{
	kvm_vcpus_start(to_kvm(engine));
}

static void kvm_stop(struct cpu_engine *engine)
{
	kvm_vcpus_stop(to_kvm(engine));
}

static void kvm_reset(struct cpu_engine *engine)
{
	vcpus_reset(to_kvm(engine));
}

static int kvm_set(struct cpu_engine *engine, unsigned cpu, const struct cpu_state *state)
{
	return kvm_state_set(&to_kvm(engine)->vcpus[cpu], state);
}

static int kvm_get(struct cpu_engine *engine, unsigned cpu, struct cpu_state *state)
{
	return kvm_state_get(&to_kvm(engine)->vcpus[cpu], state);
}

/* As a message with delivery mode NMI (SDM 3A, 11.11.2): it needs no vCPU to leave guest mode. */
static void kvm_nmi(struct cpu_engine *engine, unsigned cpu)
{
	uint32_t id = topology_apic_id(&engine->smp, cpu);
	struct kvm_msi msi = {.address_lo = 0xfee00000 | id << 12, .data = 4 << 8};

	ioctl(to_kvm(engine)->vm_fd, KVM_SIGNAL_MSI, &msi);
}

static void kvm_counters(const struct cpu_engine *engine, unsigned cpu, struct engine_counters *out)
{
	const struct kvm_engine *kvm = container_of(engine, const struct kvm_engine, engine);

	*out = kvm->vcpus[cpu].counters;
	out->instructions = out->interrupts = out->tlb_misses = COUNTER_ABSENT;
	kvm->vcpus[cpu].measured = true;
}

static int kvm_thread_id(const struct cpu_engine *engine, unsigned cpu)
{
	return container_of(engine, const struct kvm_engine, engine)->vcpus[cpu].thread_id;
}

const struct cpu_engine_ops kvm_engine_ops = {
	.name = "kvm",
	.probe = kvm_probe,
	.create = kvm_create,
	.destroy = kvm_destroy,
	.start = kvm_start,
	.stop = kvm_stop,
	.reset = kvm_reset,
	.set_state = kvm_set,
	.get_state = kvm_get,
	.get_context = kvm_get_context,
	.set_context = kvm_set_context,
	.set_debug = kvm_set_debug,
	.inject_nmi = kvm_nmi,
	.counters = kvm_counters,
	.thread_id = kvm_thread_id,
};
