/* SPDX-License-Identifier: MIT */
/*
 * Interrupts under KVM: the kernel's PIC, IOAPIC, LAPIC and PIT, the table that leads GSIs to
 * their pins (as the PC wires them: GSI 0 to IOAPIC pin 2), and messages behind eventfds.
 */
#include "cpu/kvm/kvm.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/fault.h"

#define PIC_LINES	    16
#define PIC_CASCADE	    2
#define IOAPIC_PIN_OF_TIMER 2

static void set_gsi(void *opaque, unsigned gsi, bool level)
{
	struct kvm_engine *kvm = opaque;
	struct kvm_irq_level line = {.irq = gsi, .level = level};

	if (gsi >= GSI_COUNT || kvm->gsi_level[gsi] == level)
		return;
	kvm->gsi_level[gsi] = level;
	if (level)
		atomic_fetch_add_explicit(
			&kvm->engine.machine->interrupts, 1, memory_order_relaxed);
	ioctl(kvm->vm_fd, KVM_IRQ_LINE, &line);
}

static void send_msi(void *opaque, struct msi_message message)
{
	struct kvm_engine *kvm = opaque;
	struct kvm_msi msi = {
		.address_lo = message.address,
		.address_hi = message.address >> 32,
		.data = message.data,
	};

	ioctl(kvm->vm_fd, KVM_SIGNAL_MSI, &msi);
}

struct routing {
	struct kvm_irq_routing head;
	struct kvm_irq_routing_entry entries[2 * GSI_COUNT + KVM_ROUTES_MAX];
};

static void add_pin(struct routing *table, unsigned gsi, unsigned chip, unsigned pin)
{
	uint64_t changed = pin;

	fault_value(chip == KVM_IRQCHIP_IOAPIC ? "gsi-ioapic-pin" : "gsi-pic-pin", &changed);
	table->entries[table->head.nr++] = (struct kvm_irq_routing_entry){
		.gsi = gsi,
		.type = KVM_IRQ_ROUTING_IRQCHIP,
		.u.irqchip = {.irqchip = chip, .pin = changed},
	};
}

static void add_message(struct routing *table, unsigned gsi, const struct msi_message *message)
{
	table->entries[table->head.nr++] = (struct kvm_irq_routing_entry){
		.gsi = gsi,
		.type = KVM_IRQ_ROUTING_MSI,
		.u.msi = {.address_lo = message->address,
			.address_hi = message->address >> 32,
			.data = message->data},
	};
}

static int set_routing(struct kvm_engine *kvm)
{
	struct routing table = {0};

	for (unsigned gsi = 0; gsi < GSI_COUNT && !kvm->chips; gsi++)
		if (kvm->eoi[gsi].watched)
			add_message(&table, gsi, &kvm->eoi[gsi].message);
	for (unsigned gsi = 0; gsi < GSI_COUNT && kvm->chips; gsi++) {
		if (gsi < PIC_LINES && gsi != PIC_CASCADE)
			add_pin(&table, gsi,
				gsi < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE, gsi & 7);
		if (gsi == 0)
			add_pin(&table, gsi, KVM_IRQCHIP_IOAPIC, IOAPIC_PIN_OF_TIMER);
		else if (gsi != IOAPIC_PIN_OF_TIMER)
			add_pin(&table, gsi, KVM_IRQCHIP_IOAPIC, gsi);
	}
	for (unsigned gsi = GSI_COUNT; gsi < KVM_ROUTES_MAX; gsi++) {
		if (kvm->routes[gsi].used)
			add_message(&table, gsi, &kvm->routes[gsi].message);
	}
	return ioctl(kvm->vm_fd, KVM_SET_GSI_ROUTING, &table) < 0 ? -errno : 0;
}

static unsigned free_route(const struct kvm_engine *kvm)
{
	unsigned gsi = GSI_COUNT;

	while (gsi < KVM_ROUTES_MAX && kvm->routes[gsi].used)
		gsi++;
	return gsi;
}

static int set_irqfd(struct kvm_engine *kvm, const struct irq_route *route, uint32_t flags)
{
	struct kvm_irqfd irqfd = {.fd = route->fd, .gsi = route->gsi, .flags = flags};

	return ioctl(kvm->vm_fd, KVM_IRQFD, &irqfd) < 0 ? -errno : 0;
}

static int route_attach(void *opaque, struct irq_route *route, struct error *err)
{
	struct kvm_engine *kvm = opaque;
	bool is_new = !route->attached;
	unsigned gsi = is_new ? free_route(kvm) : route->gsi;
	int rc;

	if (gsi == KVM_ROUTES_MAX)
		return error_set(err, ENOSPC, "no free message route");
	kvm->routes[gsi].used = true;
	kvm->routes[gsi].message = route->message;
	route->gsi = gsi;
	rc = set_routing(kvm);
	if (rc == 0 && is_new)
		rc = set_irqfd(kvm, route, 0);
	if (rc < 0) {
		kvm->routes[gsi].used = false;
		return error_set_errno(err, -rc, "KVM refuses a message route");
	}
	return 0;
}

static void route_detach(void *opaque, struct irq_route *route)
{
	struct kvm_engine *kvm = opaque;

	set_irqfd(kvm, route, KVM_IRQFD_FLAG_DEASSIGN);
	kvm->routes[route->gsi].used = false;
	set_routing(kvm);
}

static const struct irq_chip_ops kvm_irq_ops = {
	.set_gsi = set_gsi,
	.send_msi = send_msi,
	.route_attach = route_attach,
	.route_detach = route_detach,
};

/* The kernel learns from its routing table which vectors' ends it must tell us. */
static void watch_eoi(void *opaque, unsigned pin, const struct msi_message *message)
{
	struct kvm_engine *kvm = opaque;
	bool same = message ? kvm->eoi[pin].watched &&
				      kvm->eoi[pin].message.address == message->address &&
				      kvm->eoi[pin].message.data == message->data
			    : !kvm->eoi[pin].watched;

	if (same)
		return;
	kvm->eoi[pin].watched = message;
	if (message)
		kvm->eoi[pin].message = *message;
	set_routing(kvm);
}

static void set_intr(void *opaque, bool level)
{
	struct kvm_engine *kvm = opaque;

	if (kvm->intr == level)
		return;
	kvm->intr = level;
	/* The first vCPU takes it before its next instruction: bring it out if it runs. */
	if (level)
		kvm_vcpu_kick(&kvm->vcpus[0]);
}

static const struct irq_chip_ops kvm_split_ops = {
	.send_msi = send_msi,
	.route_attach = route_attach,
	.route_detach = route_detach,
	.set_intr = set_intr,
	.watch_eoi = watch_eoi,
};

static int create_split(struct kvm_engine *kvm, struct error *err)
{
	struct kvm_enable_cap split = {.cap = KVM_CAP_SPLIT_IRQCHIP, .args = {GSI_COUNT}};
	struct machine *machine = kvm->engine.machine;

	if (ioctl(kvm->vm_fd, KVM_ENABLE_CAP, &split) < 0)
		return error_set_errno(err, errno, "KVM cannot split its interrupt controllers");
	machine->irq_chip = (struct irq_chip){&kvm_split_ops, kvm, &machine->interrupts};
	return 0;
}

static int create_pit(struct kvm_engine *kvm, struct error *err)
{
	/* With port 0x61, which gates counter 2 and shows its output. */
	struct kvm_pit_config pit = {.flags = KVM_PIT_SPEAKER_DUMMY};

	if (ioctl(kvm->vm_fd, KVM_CREATE_PIT2, &pit) < 0 ||
		ioctl(kvm->vm_fd, KVM_GET_PIT2, &kvm->poweron_pit) < 0)
		return error_set_errno(err, errno, "KVM cannot create the PIT");
	return 0;
}

int kvm_irq_create(struct kvm_engine *kvm, const struct engine_config *config, struct error *err)
{
	struct machine *machine = kvm->engine.machine;
	int rc;

	kvm->chips = config->chips;
	if (!kvm->chips)
		return create_split(kvm, err);
	if (ioctl(kvm->vm_fd, KVM_CREATE_IRQCHIP, 0) < 0)
		return error_set_errno(err, errno, "KVM cannot create interrupt controllers");
	rc = create_pit(kvm, err);
	if (rc < 0)
		return rc;
	rc = set_routing(kvm);
	if (rc < 0)
		return error_set_errno(err, -rc, "KVM refuses the interrupt routing");
	for (unsigned i = 0; i < 3; i++) {
		kvm->poweron_chips[i].chip_id = i;
		ioctl(kvm->vm_fd, KVM_GET_IRQCHIP, &kvm->poweron_chips[i]);
	}
	machine->irq_chip = (struct irq_chip){&kvm_irq_ops, kvm, &machine->interrupts};
	kvm_chips_init(kvm);
	for (unsigned i = 0; i < GSI_COUNT; i++)
		machine->gsi[i] = (struct irq_line){set_gsi, kvm, i, "gsi"};
	return 0;
}

void kvm_irq_reset(struct kvm_engine *kvm)
{
	if (!kvm->chips)
		return;
	for (unsigned i = 0; i < 3; i++)
		ioctl(kvm->vm_fd, KVM_SET_IRQCHIP, &kvm->poweron_chips[i]);
	ioctl(kvm->vm_fd, KVM_SET_PIT2, &kvm->poweron_pit);
	/* A line that its device still holds up is up for the new chips too. */
	for (unsigned i = 0; i < GSI_COUNT; i++) {
		bool level = kvm->gsi_level[i];

		kvm->gsi_level[i] = !level;
		set_gsi(kvm, i, level);
	}
}
