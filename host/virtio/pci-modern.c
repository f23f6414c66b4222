/* SPDX-License-Identifier: MIT */
/*
 * Where the PCI transport's modern interface lies (virtio 1.4, 4.1.4): BAR 4 (64-bit, prefetchable,
 * 16 KiB; region "virtio-pci") with the four structures a page each, as QEMU has them: 0x0000
 * common configuration   0x1000 ISR   0x2000 device configuration   0x3000 doorbells; and five
 * capabilities that say so, the last of them a window to BARs through configuration space
 * (4.1.4.9).
 *
 * With modern-pio-notify=on BAR 2 has one doorbell in I/O space besides.
 *
 * Not here: shared memory.
 */
#include <errno.h>
#include <string.h>

#include "virtio/pci.h"

#define MODERN_BAR     4
#define NOTIFY_IO_BAR  2
#define NOTIFY_IO_SIZE 4
#define STRUCTURE_SIZE 0x1000
#define DOORBELL_USUAL 4 /* bytes from one to the next, or */
#define DOORBELL_PAGE  4096

enum { PAGE_COMMON, PAGE_ISR, PAGE_DEVICE, PAGE_NOTIFY };

/* struct virtio_pci_cap (4.1.4) */
#define CAP_CFG_TYPE 3
#define CAP_BAR	     4
#define CAP_OFFSET   8
#define CAP_LENGTH   12
#define CAP_EXTRA    16 /* notify_off_multiplier, or pci_cfg_data */

/* --- BAR 4 and BAR 2 --- */

static uint32_t multiplier(const struct virtio_pci *p)
{
	return p->page_per_vq ? DOORBELL_PAGE : DOORBELL_USUAL;
}

static uint64_t modern_read(void *opaque, uint64_t offset, unsigned size)
{
	struct virtio_pci *p = opaque;
	unsigned at = offset % STRUCTURE_SIZE;

	switch (offset / STRUCTURE_SIZE) {
	case PAGE_COMMON: return virtio_pci_common_read(p, at, size);
	case PAGE_ISR: return at == 0 ? virtio_pci_isr(p) : 0;
	case PAGE_DEVICE: return virtio_config_read(p->vdev, at, size);
	default: return 0;
	}
}

static void ring_doorbell(struct virtio_pci *p, unsigned queue)
{
	struct virtio_queue *vq = virtio_queue(p->vdev, queue);

	if (vq)
		virtio_queue_kick(vq);
}

static void modern_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct virtio_pci *p = opaque;
	unsigned at = offset % STRUCTURE_SIZE;

	switch (offset / STRUCTURE_SIZE) {
	case PAGE_COMMON: virtio_pci_common_write(p, at, size, value); break;
	case PAGE_ISR: break;
	case PAGE_DEVICE: virtio_config_write(p->vdev, at, size, value); break;
	default:
		offset -= PAGE_NOTIFY * STRUCTURE_SIZE;
		if (offset % multiplier(p) == 0)
			ring_doorbell(p, offset / multiplier(p));
	}
}

static const struct region_ops modern_ops = {
	.read = modern_read,
	.write = modern_write,
	.min_access = 1,
	.max_access = 8,
};

/* BAR 2: one register, and the value tells the queues apart. */
static uint64_t notify_io_read(void *opaque, uint64_t offset, unsigned size)
{
	return 0;
}

static void notify_io_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct virtio_pci *p = opaque;
	struct virtio_queue *vq = virtio_doorbell_queue(p->vdev, value);

	if (offset == 0 && size >= 2 && vq)
		ring_doorbell(p, vq->ring.index);
}

static const struct region_ops notify_io_ops = {
	.read = notify_io_read,
	.write = notify_io_write,
	.min_access = 1,
	.max_access = 4,
};

/* --- doorbells that are signals --- */

struct region *virtio_pci_modern_doorbell(
	struct virtio_pci *p, const struct virtio_queue *vq, struct region_event *event)
{
	bool named = p->vdev->features & FEATURE(VIRTIO_F_NOTIFICATION_DATA);

	/* A driver prefers the one in I/O space; there only the value names the queue. */
	if (p->modern_pio_notify && !named) {
		*event = (struct region_event){.size = 2,
			.match = true,
			.value = virtio_doorbell_name(vq),
			.fd = vq->doorbell.fd};
		return &p->notify_io;
	}
	/* In BAR 4 each queue's has an address of its own: the value written does not matter. */
	*event = (struct region_event){
		.offset = PAGE_NOTIFY * STRUCTURE_SIZE + multiplier(p) * vq->ring.index,
		.fd = vq->doorbell.fd,
	};
	return &p->modern;
}

/* --- capabilities, and the window --- */

static bool covers(unsigned offset, unsigned size, unsigned byte)
{
	return offset <= byte && byte < offset + size;
}

/* 4.1.4.9: the access that the window's registers describe, or NULL if they describe none.  Any BAR
 * of the function can be named, whether or not it decodes. */
static struct region *window(struct virtio_pci *p, uint32_t *offset, uint32_t *length)
{
	const uint8_t *cap = p->pci.config + p->cfg_capability;
	struct region *region;

	if (!p->has_modern || cap[CAP_BAR] >= PCI_BARS)
		return NULL;
	region = p->pci.bars[cap[CAP_BAR]].region;
	memcpy(offset, cap + CAP_OFFSET, 4);
	memcpy(length, cap + CAP_LENGTH, 4);
	if (!region || (*length != 1 && *length != 2 && *length != 4) || *offset % *length ||
		*offset > region->length - *length || *length < region->ops->min_access)
		return NULL;
	return region;
}

static void config_reading(struct pci_device *pci, unsigned offset, unsigned size)
{
	struct virtio_pci *p = container_of(pci, struct virtio_pci, pci);
	unsigned data = p->cfg_capability + CAP_EXTRA;
	uint32_t at, length, value;
	struct region *region = covers(offset, size, data) ? window(p, &at, &length) : NULL;

	if (!region)
		return;
	value = region->ops->read(region->opaque, at, length);
	memcpy(pci->config + data, &value, length);
}

void virtio_pci_window_written(struct virtio_pci *p, unsigned offset, unsigned size)
{
	unsigned data = p->cfg_capability + CAP_EXTRA;
	uint32_t at, length, value = 0;
	struct region *region = covers(offset, size, data) ? window(p, &at, &length) : NULL;

	if (!region)
		return;
	memcpy(&value, p->pci.config + data, length);
	region->ops->write(region->opaque, at, value, length);
}

static int add_capability(struct virtio_pci *p, uint8_t cfg_type, unsigned bar, uint32_t offset,
	uint32_t length, unsigned extra)
{
	int at = pci_add_capability(&p->pci, PCI_CAP_VENDOR, CAP_EXTRA + extra);
	uint8_t *cap = p->pci.config + at;

	if (at < 0)
		return at;
	cap[2] = CAP_EXTRA + extra;
	cap[CAP_CFG_TYPE] = cfg_type;
	cap[CAP_BAR] = bar;
	memcpy(cap + CAP_OFFSET, &offset, 4);
	memcpy(cap + CAP_LENGTH, &length, 4);
	return at;
}

static int add_capabilities(struct virtio_pci *p, struct error *err)
{
	uint32_t step = multiplier(p), size = STRUCTURE_SIZE;
	uint8_t *config = p->pci.config, *writable = p->pci.writable;
	int common, isr, device, notify, cfg, io = 0;

	common = add_capability(p, 1, MODERN_BAR, PAGE_COMMON * size, size, 0);
	isr = add_capability(p, 3, MODERN_BAR, PAGE_ISR * size, size, 0);
	device = add_capability(p, 4, MODERN_BAR, PAGE_DEVICE * size, size, 0);
	notify = add_capability(
		p, 2, MODERN_BAR, PAGE_NOTIFY * size, VIRTIO_QUEUES_MAX * step, sizeof(step));
	/* The list is read from its end: this one is preferred.  Its multiplier is 0. */
	if (p->modern_pio_notify)
		io = add_capability(p, 2, NOTIFY_IO_BAR, 0, NOTIFY_IO_SIZE, sizeof(step));
	cfg = add_capability(p, 5, 0, 0, 0, 4);
	if (common < 0 || isr < 0 || device < 0 || notify < 0 || cfg < 0 || io < 0)
		return error_set(err, ENOSPC, "no room for the virtio capabilities");
	memcpy(config + notify + CAP_EXTRA, &step, sizeof(step));
	p->cfg_capability = cfg;
	writable[cfg + CAP_BAR] = 0xff;
	memset(writable + cfg + CAP_OFFSET, 0xff, 4 + 4 + 4); /* offset, length, data */
	return 0;
}

int virtio_pci_modern_realize(struct virtio_pci *p, struct error *err)
{
	uint64_t used = PAGE_NOTIFY * STRUCTURE_SIZE + (uint64_t)multiplier(p) * VIRTIO_QUEUES_MAX;
	uint64_t size = STRUCTURE_SIZE;
	int rc = add_capabilities(p, err);

	if (rc < 0)
		return rc;
	while (size < used)
		size *= 2;
	p->pci.config_reading = config_reading;
	p->modern.name = "virtio-pci";
	p->modern.ops = &modern_ops;
	p->modern.opaque = p;
	pci_register_bar(&p->pci, MODERN_BAR, PCI_BAR_MEMORY64, true, size, &p->modern);
	if (!p->modern_pio_notify)
		return 0;
	p->notify_io.name = "virtio-pci-notify";
	p->notify_io.ops = &notify_io_ops;
	p->notify_io.opaque = p;
	pci_register_bar(&p->pci, NOTIFY_IO_BAR, PCI_BAR_IO, false, NOTIFY_IO_SIZE, &p->notify_io);
	return 0;
}
