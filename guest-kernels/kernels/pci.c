/* SPDX-License-Identifier: MIT */
/*
 * Kernel pci: configuration mechanism 1 and the functions of an i440FX machine (PCI 3.0, chapters 3
 * and 6; 82441FX, 82371SB and 82371AB datasheets). With QEMU's pci-testdev, BAR decoding too; with
 * a virtio function, capabilities and MSI-X.
 */
#include "runtime/irq.h"
#include "runtime/memory.h"
#include "runtime/pci.h"
#include "runtime/test.h"
#include "runtime/time.h"

#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA    0xcfc
#define ENABLE	       0x80000000u

static struct pci_function *need(uint16_t vendor, uint16_t device)
{
	struct pci_function *f = pci_find(vendor, device, 0);

	if (!f)
		FAIL("there is no function %04x:%04x", vendor, device);
	return f;
}

TEST(host_bridge, "", "00:00.0 is the 82441FX host bridge, 8086:1237, class 06:00", NEEDS("pci"))
{
	EXPECT_EQ(pci_read32_at(0, 0, 0, PCI_VENDOR), 0x12378086);
	EXPECT_EQ(pci_read32_at(0, 0, 0, PCI_REVISION) >> 8, 0x060000);
	EXPECT_EQ(pci_read8_at(0, 0, 0, PCI_HEADER_TYPE) & 0x7f, 0);
}

TEST(isa_bridge, "",
	"PIIX3's function 0 is 8086:7000, class 06:01, and says that it has more functions",
	NEEDS("pci"))
{
	struct pci_function *f = need(0x8086, 0x7000);

	EXPECT_EQ(f->slot, 1);
	EXPECT_EQ(f->fn, 0);
	EXPECT_EQ(f->class_code, 0x060100);
	EXPECT_EQ(f->header_type & 0x80, 0x80);
}

TEST(ide_function, "",
	"PIIX3's function 1 is 8086:7010, class 01:01, a bus master with BAR 4 of 16 ports",
	NEEDS("pci"))
{
	struct pci_function *f = need(0x8086, 0x7010);

	EXPECT_EQ(f->slot, 1);
	EXPECT_EQ(f->fn, 1);
	EXPECT_EQ(f->class_code, 0x010180);
	pci_assign_bars(f);
	EXPECT_TRUE(f->bars[4].io);
	EXPECT_EQ(f->bars[4].size, 16);
}

TEST(pm_function, "", "PIIX4's power management is 8086:7113, class 06:80", NEEDS("pci"))
{
	struct pci_function *f = need(0x8086, 0x7113);

	EXPECT_EQ(f->slot, 1);
	EXPECT_EQ(f->fn, 3);
	EXPECT_EQ(f->class_code, 0x068000);
}

TEST(absent_reads_ones, "", "a read of a function that is not there gives all ones at every width",
	NEEDS("pci"))
{
	EXPECT_EQ(pci_read32_at(0, 31, 0, 0), 0xffffffff);
	EXPECT_EQ(pci_read16_at(0, 31, 0, 2), 0xffff);
	EXPECT_EQ(pci_read8_at(0, 31, 0, 3), 0xff);
	EXPECT_EQ(pci_read32_at(0, 31, 7, 0x3c), 0xffffffff);
	EXPECT_EQ(pci_read32_at(77, 0, 0, 0), 0xffffffff);
}

TEST(absent_writes_vanish, "", "a write to a function that is not there changes none that is",
	NEEDS("pci"))
{
	uint32_t before = pci_read32_at(0, 1, 0, PCI_COMMAND);

	pci_write32_at(0, 1, 6, PCI_COMMAND, 0xffffffff);
	pci_write32_at(0, 31, 0, PCI_COMMAND, 0xffffffff);
	EXPECT_EQ(pci_read32_at(0, 1, 0, PCI_COMMAND), before);
	EXPECT_EQ(pci_read32_at(0, 31, 0, PCI_COMMAND), 0xffffffff);
}

TEST(address_register, "",
	"CONFIG_ADDRESS is read and written as a dword and keeps bits 31 and 23 to 2", NEEDS("pci"))
{
	outl(CONFIG_ADDRESS, 0x8012345c);
	EXPECT_EQ(inl(CONFIG_ADDRESS) & 0x80fffffc, 0x8012345c);
	outl(CONFIG_ADDRESS, 0);
	EXPECT_EQ(inl(CONFIG_ADDRESS) & 0x80fffffc, 0);
}

TEST(address_needs_dword, "", "byte and word writes to 0xcf8 do not change CONFIG_ADDRESS",
	NEEDS("pci"))
{
	outl(CONFIG_ADDRESS, ENABLE);
	outb(CONFIG_ADDRESS, 0x40);
	outw(CONFIG_ADDRESS, 0x4040);
	EXPECT_EQ(inl(CONFIG_ADDRESS), ENABLE);
	EXPECT_EQ(inl(CONFIG_DATA), 0x12378086);
}

TEST(address_enable_bit, "", "with the enable bit clear CONFIG_DATA is no configuration register",
	NEEDS("pci"))
{
	outl(CONFIG_ADDRESS, 0);
	EXPECT_NE(inl(CONFIG_DATA), 0x12378086);
	outl(CONFIG_ADDRESS, ENABLE);
	EXPECT_EQ(inl(CONFIG_DATA), 0x12378086);
}

TEST(byte_lanes, "", "each byte and word of a dword is read at its own port of 0xcfc to 0xcff",
	NEEDS("pci"))
{
	outl(CONFIG_ADDRESS, ENABLE);
	EXPECT_EQ(inb(CONFIG_DATA), 0x86);
	EXPECT_EQ(inb(CONFIG_DATA + 1), 0x80);
	EXPECT_EQ(inb(CONFIG_DATA + 2), 0x37);
	EXPECT_EQ(inb(CONFIG_DATA + 3), 0x12);
	EXPECT_EQ(inw(CONFIG_DATA), 0x8086);
	EXPECT_EQ(inw(CONFIG_DATA + 2), 0x1237);
}

TEST(byte_write_keeps_neighbours, "", "a byte written to one lane changes that byte only",
	NEEDS("pci"))
{
	struct pci_function *f = need(0x8086, 0x7010);
	uint32_t before = pci_read32(f, PCI_INTERRUPT_LINE);

	pci_write8(f, PCI_INTERRUPT_LINE, 0x5a);
	EXPECT_EQ(pci_read32(f, PCI_INTERRUPT_LINE), (before & ~0xffu) | 0x5a);
	pci_write8(f, PCI_INTERRUPT_LINE, before);
	EXPECT_EQ(pci_read32(f, PCI_INTERRUPT_LINE), before);
}

TEST(ids_are_read_only, "",
	"vendor, device, revision, class and header type keep their values when written",
	NEEDS("pci"))
{
	struct pci_function *f;

	for (unsigned i = 0; (f = pci_nth(i)); i++) {
		uint32_t id = pci_read32(f, PCI_VENDOR), class = pci_read32(f, PCI_REVISION);
		uint8_t type = pci_read8(f, PCI_HEADER_TYPE);

		pci_write32(f, PCI_VENDOR, ~id);
		pci_write32(f, PCI_REVISION, ~class);
		pci_write8(f, PCI_HEADER_TYPE, ~type);
		EXPECT_EQ(pci_read32(f, PCI_VENDOR), id);
		EXPECT_EQ(pci_read32(f, PCI_REVISION), class);
		EXPECT_EQ(pci_read8(f, PCI_HEADER_TYPE), type);
	}
}

TEST(pin_is_read_only, "",
	"interrupt pin and capability pointer keep their values, the interrupt line is the "
	"software's",
	NEEDS("pci"))
{
	struct pci_function *f;

	for (unsigned i = 0; (f = pci_nth(i)); i++) {
		uint8_t pin = pci_read8(f, PCI_INTERRUPT_PIN),
			capabilities = pci_read8(f, PCI_CAPABILITIES);

		pci_write8(f, PCI_INTERRUPT_PIN, ~pin);
		pci_write8(f, PCI_CAPABILITIES, ~capabilities);
		EXPECT_EQ(pci_read8(f, PCI_INTERRUPT_PIN), pin);
		EXPECT_EQ(pci_read8(f, PCI_CAPABILITIES), capabilities);
		EXPECT_LE(pin, 4);
	}
}

TEST(command_bits, "",
	"I/O, memory and bus master bits of a function that has them are kept as written",
	NEEDS("pci"))
{
	struct pci_function *f = need(0x8086, 0x7010);
	uint16_t before = pci_read16(f, PCI_COMMAND);

	pci_write16(f, PCI_COMMAND, before | PCI_COMMAND_IO | PCI_COMMAND_MASTER);
	EXPECT_EQ(pci_read16(f, PCI_COMMAND) & 5, 5);
	pci_write16(f, PCI_COMMAND, before & ~5);
	EXPECT_EQ(pci_read16(f, PCI_COMMAND) & 5, 0);
	pci_write16(f, PCI_COMMAND, before);
}

TEST(status_is_write_one_to_clear, "", "zeros written to the status register change nothing",
	NEEDS("pci"))
{
	struct pci_function *f = need(0x8086, 0x7000);
	uint16_t before = pci_read16(f, PCI_STATUS);

	EXPECT_NE(before, 0);
	pci_write16(f, PCI_STATUS, 0);
	EXPECT_EQ(pci_read16(f, PCI_STATUS), before);
}

TEST(absent_bars_read_zero, "", "a BAR that a function does not have reads 0 whatever is written",
	NEEDS("pci"))
{
	for (unsigned bar = 0; bar < 6; bar++) {
		unsigned at = PCI_BAR0 + bar * 4;

		pci_write32_at(0, 1, 0, at, 0xffffffff);
		EXPECT_EQ(pci_read32_at(0, 1, 0, at), 0);
	}
}

TEST(bar_sizing, "",
	"each BAR answers all ones with a power-of-two mask, its type bits unchanged, and is "
	"restored",
	NEEDS("pci"))
{
	struct pci_function *f;

	for (unsigned i = 0; (f = pci_nth(i)); i++) {
		if (f->header_type & 0x7f)
			continue;
		pci_assign_bars(f);
		for (unsigned n = 0; n < 6; n++) {
			const struct pci_bar *bar = &f->bars[n];

			if (!bar->size)
				continue;
			EXPECT_EQ(bar->size & (bar->size - 1), 0);
			EXPECT_GE(bar->size, bar->io ? 4 : 16);
			EXPECT_EQ(bar->base & (bar->size - 1), 0);
			EXPECT_EQ(pci_read32(f, PCI_BAR0 + n * 4) & ~0xfu, bar->base & 0xfffffff0);
		}
	}
}

TEST(bar_byte_write, "", "a BAR takes its address a byte at a time", NEEDS("pci"))
{
	struct pci_function *f = need(0x8086, 0x7010);
	uint32_t before;

	pci_assign_bars(f);
	before = pci_read32(f, PCI_BAR0 + 16);
	pci_write8(f, PCI_BAR0 + 17, 0xab);
	EXPECT_EQ(pci_read32(f, PCI_BAR0 + 16), (before & ~0xff00u) | 0xab00);
	pci_write8(f, PCI_BAR0 + 16, 0xff);
	EXPECT_EQ(pci_read8(f, PCI_BAR0 + 16), 0xf1); /* 16 ports: the low four are type bits */
	pci_write32(f, PCI_BAR0 + 16, before);
	EXPECT_EQ(pci_read32(f, PCI_BAR0 + 16), before);
}

TEST(capabilities_are_sound, "",
	"capability lists are dword aligned, above the header, end, and stand only where status "
	"says so",
	NEEDS("pci"))
{
	struct pci_function *f;

	for (unsigned i = 0; (f = pci_nth(i)); i++) {
		uint8_t at = pci_read8(f, PCI_CAPABILITIES);
		uint64_t seen = 0;

		if (!(pci_read16(f, PCI_STATUS) & PCI_STATUS_CAPS))
			continue;
		EXPECT_NE(at, 0);
		while (at) {
			EXPECT_EQ(at & 3, 0);
			EXPECT_GE(at, 0x40);
			if (!EXPECT_EQ(seen >> (at / 4) & 1, 0)) /* a loop */
				break;
			seen |= 1ull << (at / 4);
			at = pci_read8(f, at + 1);
		}
	}
}

TEST(pirq_routing, "", "PIIX3's PIRQ registers keep bit 7 and the interrupt number", NEEDS("pci"))
{
	struct pci_function *f = need(0x8086, 0x7000);

	for (unsigned at = 0x60; at < 0x64; at++) {
		uint8_t before = pci_read8(f, at);

		pci_write8(f, at, 0x8b);
		EXPECT_EQ(pci_read8(f, at), 0x8b);
		pci_write8(f, at, 0x0a);
		EXPECT_EQ(pci_read8(f, at), 0x0a);
		pci_write8(f, at, before);
	}
}

/*
 * QEMU's pci-testdev: BAR 0 memory, BAR 1 ports. Byte 0 chooses a test; then width at 1, offset at
 * 4, data at 8, count at 12 (writes to `offset` of that width and with that data count up), name
 * from 16.
 */
enum {
	TESTDEV_SELECT = 0,
	TESTDEV_WIDTH = 1,
	TESTDEV_OFFSET = 4,
	TESTDEV_DATA = 8,
	TESTDEV_COUNT = 12
};

TEST(testdev_memory_counts, "", "a write inside a memory BAR reaches the device once",
	NEEDS("pci pci-testdev"))
{
	struct pci_function *f = need(0x1b36, 0x0005);
	volatile uint8_t *bar;
	uint32_t at;

	pci_enable(f);
	bar = pci_bar(f, 0);
	ASSERT_TRUE(bar != NULL);
	mmio_write8(bar + TESTDEV_SELECT, 0);
	at = mmio_read32(bar + TESTDEV_OFFSET);
	ASSERT_LT(at, f->bars[0].size);
	EXPECT_EQ(mmio_read32(bar + TESTDEV_COUNT), 0);
	for (int i = 0; i < 5; i++) {
		if (mmio_read8(bar + TESTDEV_WIDTH) == 1)
			mmio_write8(bar + at, mmio_read32(bar + TESTDEV_DATA));
		else
			mmio_write32(bar + at, mmio_read32(bar + TESTDEV_DATA));
	}
	EXPECT_EQ(mmio_read32(bar + TESTDEV_COUNT), 5);
}

TEST(testdev_ports_count, "", "a write inside an I/O BAR reaches the device once",
	NEEDS("pci pci-testdev"))
{
	struct pci_function *f = need(0x1b36, 0x0005);
	uint16_t port;
	uint32_t at;

	pci_enable(f);
	port = pci_bar_io(f, 1);
	ASSERT_NE(port, 0);
	outb(port + TESTDEV_SELECT, 0);
	at = inl(port + TESTDEV_OFFSET);
	ASSERT_LT(at, f->bars[1].size);
	EXPECT_EQ(inl(port + TESTDEV_COUNT), 0);
	for (int i = 0; i < 3; i++)
		outb(port + at, inl(port + TESTDEV_DATA));
	EXPECT_EQ(inl(port + TESTDEV_COUNT), 3);
}

TEST(memory_decode_off, "", "with memory space off a BAR's addresses do not reach the device",
	NEEDS("pci pci-testdev"))
{
	struct pci_function *f = need(0x1b36, 0x0005);
	volatile uint8_t *bar;
	uint32_t name;

	pci_enable(f);
	bar = pci_bar(f, 0);
	mmio_write8(bar + TESTDEV_SELECT, 0);
	name = mmio_read32(bar + 16);
	EXPECT_NE(name, 0);
	pci_write16(f, PCI_COMMAND, 0);
	EXPECT_NE(mmio_read32(bar + 16), name);
	pci_write16(f, PCI_COMMAND, PCI_COMMAND_MEMORY);
	EXPECT_EQ(mmio_read32(bar + 16), name);
}

TEST(bar_moves, "", "a BAR that is moved answers at its new address and no longer at the old",
	NEEDS("pci pci-testdev"))
{
	struct pci_function *f = need(0x1b36, 0x0005);
	const uint32_t elsewhere = 0xe8000000;
	volatile uint8_t *bar;
	uint32_t old, name;

	pci_enable(f);
	bar = pci_bar(f, 0);
	mmio_write8(bar + TESTDEV_SELECT, 0);
	name = mmio_read32(bar + 16);
	old = pci_read32(f, PCI_BAR0);
	pci_write16(f, PCI_COMMAND, 0);
	pci_write32(f, PCI_BAR0, elsewhere);
	pci_write16(f, PCI_COMMAND, PCI_COMMAND_MEMORY);
	EXPECT_EQ(mmio_read32((void *)(uint64_t)(elsewhere + 16)), name);
	EXPECT_NE(mmio_read32(bar + 16), name);
	pci_write16(f, PCI_COMMAND, 0);
	pci_write32(f, PCI_BAR0, old);
	pci_write16(f, PCI_COMMAND, PCI_COMMAND_MEMORY);
	EXPECT_EQ(mmio_read32(bar + 16), name);
}

static struct pci_function *with_msix(void)
{
	struct pci_function *f;

	for (unsigned i = 0; (f = pci_nth(i)); i++) {
		if (f->msix)
			return f;
	}
	SKIP("no function has MSI-X");
}

TEST(msix_structure, "", "MSI-X table and PBA lie inside a memory BAR and do not overlap",
	NEEDS("pci"))
{
	struct pci_function *f = with_msix();
	uint32_t table = pci_read32(f, f->msix + 4), pba = pci_read32(f, f->msix + 8);
	unsigned entries = (pci_read16(f, f->msix + 2) & 0x7ff) + 1;
	uint32_t table_end = (table & ~7u) + entries * 16,
		 pba_end = (pba & ~7u) + (entries + 63) / 64 * 8;

	pci_assign_bars(f);
	ASSERT_LE(table & 7, 5);
	ASSERT_LE(pba & 7, 5);
	EXPECT_FALSE(f->bars[table & 7].io);
	EXPECT_LE(table_end, f->bars[table & 7].size);
	EXPECT_LE(pba_end, f->bars[pba & 7].size);
	if ((table & 7) == (pba & 7))
		EXPECT_TRUE(table_end <= (pba & ~7u) || pba_end <= (table & ~7u));
}

TEST(msix_control, "", "MSI-X control keeps enable and function mask; the table size is read only",
	NEEDS("pci"))
{
	struct pci_function *f = with_msix();
	uint16_t before = pci_read16(f, f->msix + 2);

	EXPECT_EQ(before & 0xc000, 0);
	pci_write16(f, f->msix + 2, 0xffff);
	EXPECT_EQ(pci_read16(f, f->msix + 2), 0xc000 | (before & 0x7ff));
	pci_write16(f, f->msix + 2, 0);
	EXPECT_EQ(pci_read16(f, f->msix + 2), before & 0x7ff);
}

TEST(msix_table_is_memory, "",
	"MSI-X table entries keep address, data and mask bit; nothing is pending without a cause",
	NEEDS("pci"))
{
	struct pci_function *f = with_msix();
	volatile uint8_t *entry;

	ASSERT_TRUE(pci_msix_enable(f));
	entry = (volatile uint8_t *)f->msix_table;
	EXPECT_EQ(mmio_read32(entry + 12) & 1, 1);
	mmio_write32(entry, 0xfee01004);
	mmio_write32(entry + 4, 0);
	mmio_write32(entry + 8, 0x4321);
	EXPECT_EQ(mmio_read32(entry), 0xfee01004);
	EXPECT_EQ(mmio_read32(entry + 4), 0);
	EXPECT_EQ(mmio_read32(entry + 8), 0x4321);
	EXPECT_EQ(mmio_read32((volatile uint8_t *)f->msix_pba), 0);
	pci_msix_disable(f);
}

TEST(intx_disable_bit, "",
	"the INTx disable bit of a function with an interrupt pin is kept as written", NEEDS("pci"))
{
	struct pci_function *f = with_msix();
	uint16_t before = pci_read16(f, PCI_COMMAND);

	pci_write16(f, PCI_COMMAND, before | PCI_COMMAND_NO_INTX);
	EXPECT_EQ(pci_read16(f, PCI_COMMAND) & PCI_COMMAND_NO_INTX, PCI_COMMAND_NO_INTX);
	pci_write16(f, PCI_COMMAND, before & ~PCI_COMMAND_NO_INTX);
	EXPECT_EQ(pci_read16(f, PCI_COMMAND) & PCI_COMMAND_NO_INTX, 0);
	EXPECT_EQ(pci_read16(f, PCI_STATUS) & PCI_STATUS_INTX, 0);
	pci_write16(f, PCI_COMMAND, before);
}
