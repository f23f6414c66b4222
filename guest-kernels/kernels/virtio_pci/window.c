/* SPDX-License-Identifier: MIT */
/* virtio over PCI: the access through configuration space (4.1.4.9). */
#include "virtio_pci.h"

#include "runtime/irq.h"
#include "runtime/memory.h"
#include "runtime/test.h"
#include "runtime/time.h"

struct window {
	struct pci_function *f;
	uint8_t at;
	uint8_t bar;
	uint32_t offset; /* of the common configuration in its BAR */
};

static struct window window_of(struct raw_disk *d)
{
	struct window w = {.f = d->dev.pci};

	for (uint8_t at = pci_capability(w.f, PCI_CAP_VENDOR, 0); at;
		at = pci_capability(w.f, PCI_CAP_VENDOR, at)) {
		if (pci_read8(w.f, at + 3) == 5)
			w.at = at;
		if (pci_read8(w.f, at + 3) == 1) {
			w.bar = pci_read8(w.f, at + 4);
			w.offset = pci_read32(w.f, at + 8);
		}
	}
	ASSERT_NE(w.at, 0);
	return w;
}

static void window_set(const struct window *w, unsigned reg, uint32_t length)
{
	pci_write8(w->f, w->at + 4, w->bar);
	pci_write32(w->f, w->at + 8, w->offset + reg);
	pci_write32(w->f, w->at + 12, length);
}

static uint32_t window_read(const struct window *w, unsigned reg, unsigned length)
{
	window_set(w, reg, length);
	if (length == 1)
		return pci_read8(w->f, w->at + 16);
	return length == 2 ? pci_read16(w->f, w->at + 16) : pci_read32(w->f, w->at + 16);
}

static void window_write(const struct window *w, unsigned reg, unsigned length, uint32_t value)
{
	window_set(w, reg, length);
	if (length == 1)
		pci_write8(w->f, w->at + 16, value);
	else if (length == 2)
		pci_write16(w->f, w->at + 16, value);
	else
		pci_write32(w->f, w->at + 16, value);
}

TEST(window_reads, "PCI-DEV-51",
	"reads through the PCI access capability give what the registers give, in 1, 2 and 4 bytes",
	DISK)
{
	struct raw_disk *d = raw_disk_find();
	struct window w = window_of(d);

	virtio_set_status(&d->dev, 3);
	EXPECT_EQ(window_read(&w, PCI_COMMON_STATUS, 1), 3);
	EXPECT_EQ(window_read(&w, PCI_COMMON_NUM_QUEUES, 2), common16(d, PCI_COMMON_NUM_QUEUES));
	set_common32(d, PCI_COMMON_DEVICE_FEATURE_SELECT, 0);
	EXPECT_EQ(window_read(&w, PCI_COMMON_DEVICE_FEATURE, 4),
		common32(d, PCI_COMMON_DEVICE_FEATURE));
}

TEST(window_writes, "PCI-DEV-50",
	"writes through the PCI access capability reach exactly the register that was named", DISK)
{
	struct raw_disk *d = raw_disk_find();
	struct window w = window_of(d);

	window_write(&w, PCI_COMMON_STATUS, 1, 1);
	EXPECT_EQ(virtio_status(&d->dev), 1);
	window_write(&w, PCI_COMMON_STATUS, 1, 3);
	EXPECT_EQ(virtio_status(&d->dev), 3);
	window_write(&w, PCI_COMMON_QUEUE_SELECT, 2, 1);
	EXPECT_EQ(common16(d, PCI_COMMON_QUEUE_SELECT), 1);
	window_write(&w, PCI_COMMON_DRIVER_FEATURE_SELECT, 4, 1);
	EXPECT_EQ(common32(d, PCI_COMMON_DRIVER_FEATURE_SELECT), 1);
	EXPECT_EQ(virtio_status(&d->dev), 3);
	window_write(&w, PCI_COMMON_STATUS, 1, 0);
	EXPECT_EQ(virtio_status(&d->dev), 0);
}

TEST(window_doorbell, "PCI-DEV-50", "a doorbell through the PCI access capability is a doorbell",
	DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);
	struct window w = window_of(d);
	uint32_t away = phys(d->dev.doorbell[0]) - phys(d->dev.common);

	raw_request(d, 0, BLK_T_IN, 0, d->data, 512);
	raw_publish(&d->ring, 0);
	window_write(&w, away, 2, 0);
	ASSERT_TRUE(raw_used(&d->ring, 1));
	EXPECT_EQ(*d->status, BLK_S_OK);
}

TEST(window_illegal_use, "PCI-DRV-28a PCI-DRV-28b PCI-DRV-29",
	"odd lengths and places beyond the BAR access nothing, and legal use works afterwards",
	DISK)
{
	static const uint32_t lengths[] = {0, 3, 8, 0xffffffff};
	struct raw_disk *d = raw_disk_find();
	struct window w = window_of(d);

	virtio_set_status(&d->dev, 3);
	for (unsigned i = 0; i < 4; i++) {
		window_set(&w, PCI_COMMON_STATUS, lengths[i]);
		pci_write32(w.f, w.at + 16, 0);
		EXPECT_EQ(virtio_status(&d->dev), 3);
	}
	pci_write32(w.f, w.at + 8, 0xfffffffc);
	pci_write32(w.f, w.at + 12, 4);
	pci_write32(w.f, w.at + 16, 0x55);
	pci_read32(w.f, w.at + 16);
	pci_write8(w.f, w.at + 4, 7);
	pci_write32(w.f, w.at + 16, 0x55);
	EXPECT_EQ(window_read(&w, PCI_COMMON_STATUS, 1), 3);
	raw_recovers(d);
}
