/* SPDX-License-Identifier: MIT */
/*
 * What holds a PC together: fw_cfg (QEMU's docs/specs/fw_cfg), PIIX4 power management (82371AB;
 * ACPI 6.4, 4.8), and the ways to reset it and to switch it off.
 */
#include "runtime/acpi.h"
#include "runtime/boot.h"
#include "runtime/ctl.h"
#include "runtime/io.h"
#include "runtime/irq.h"
#include "runtime/memory.h"
#include "runtime/pci.h"
#include "runtime/test.h"
#include "runtime/time.h"

/* fw_cfg */
#define CFG_SELECT 0x510
#define CFG_DATA   0x511
#define CFG_DMA	   0x514

enum {
	KEY_SIGNATURE = 0,
	KEY_ID = 1,
	KEY_RAM_SIZE = 3,
	KEY_CPUS = 5,
	KEY_INITRD_SIZE = 0x0b,
	KEY_INITRD_DATA = 0x12,
	KEY_DIRECTORY = 0x19,
	KEY_FIRST_FILE = 0x20
};

#define DMA_ERROR  0x01
#define DMA_READ   0x02
#define DMA_SKIP   0x04
#define DMA_SELECT 0x08
#define DMA_WRITE  0x10

struct cfg_file {
	uint32_t size; /* big-endian, as select is */
	uint16_t select, reserved;
	char name[56];
};

static void cfg_select(uint16_t key)
{
	outw(CFG_SELECT, key);
}

static void cfg_read(uint16_t key, void *to, size_t size)
{
	cfg_select(key);
	insb(CFG_DATA, to, size);
}

/* Every TEST of fw_cfg begins with it. */
static void cfg(void)
{
	char signature[4];

	cfg_read(KEY_SIGNATURE, signature, 4);
	if (memcmp(signature, "QEMU", 4) != 0)
		SKIP("there is no fw_cfg");
}

static struct cfg_file *cfg_directory(uint32_t *count)
{
	uint32_t big;
	struct cfg_file *files;

	cfg_read(KEY_DIRECTORY, &big, 4);
	*count = __builtin_bswap32(big);
	ASSERT_GE(*count, 1);
	ASSERT_LE(*count, 64);
	files = guarded_alloc(*count * sizeof(*files));
	insb(CFG_DATA, files, *count * sizeof(*files));
	return files;
}

static struct cfg_file *cfg_find(const char *name)
{
	uint32_t count;
	struct cfg_file *files = cfg_directory(&count);

	for (uint32_t i = 0; i < count; i++)
		if (strncmp(files[i].name, name, sizeof(files[i].name)) == 0)
			return &files[i];
	return NULL;
}

/* One DMA command; returns its control word when the device has cleared all but ERROR, or all ones.
 */
static uint32_t cfg_dma(uint32_t control, uint32_t length, uint64_t address)
{
	struct {
		uint32_t control, length;
		uint64_t address;
	} volatile *command = guarded_alloc(16);

	command->length = __builtin_bswap32(length);
	command->address = __builtin_bswap64(address);
	command->control = __builtin_bswap32(control);
	outl(CFG_DMA, __builtin_bswap32(phys(command) >> 32));
	outl(CFG_DMA + 4, __builtin_bswap32((uint32_t)phys(command)));
	if (!WAIT_UNTIL(!(__builtin_bswap32(command->control) & ~DMA_ERROR), 1000000))
		return ~0u;
	return __builtin_bswap32(command->control);
}

TEST(cfg_signature, "", "key 0 of fw_cfg reads QEMU and nothing but zeroes behind it", NEEDS("pci"))
{
	char bytes[8];

	cfg();
	cfg_read(KEY_SIGNATURE, bytes, 8);
	EXPECT_MEM(bytes, "QEMU\0\0\0\0", 8);
}

TEST(cfg_select_restarts, "", "selecting a key starts it from its first byte again", NEEDS("pci"))
{
	char bytes[2];

	cfg();
	cfg_read(KEY_SIGNATURE, bytes, 2);
	cfg_read(KEY_SIGNATURE, bytes, 2);
	EXPECT_MEM(bytes, "QE", 2);
	insb(CFG_DATA, bytes, 2);
	EXPECT_MEM(bytes, "MU", 2);
}

TEST(cfg_unknown_key, "", "a key that does not exist reads as zeroes", NEEDS("pci"))
{
	uint8_t bytes[8];

	cfg();
	cfg_read(0x3ff0, bytes, 8);
	EXPECT_TRUE(memory_is(bytes, 0, 8, NULL));
	cfg_read(0xbff0, bytes, 8);
	EXPECT_TRUE(memory_is(bytes, 0, 8, NULL));
}

TEST(cfg_offers_dma, "",
	"the id has the bits of both interfaces, and the DMA register reads its own signature",
	NEEDS("pci"))
{
	uint32_t id;

	cfg();
	cfg_read(KEY_ID, &id, 4);
	EXPECT_EQ(id & 3, 3);
	EXPECT_EQ(__builtin_bswap32(inl(CFG_DMA)), 0x51454d55);
	EXPECT_EQ(__builtin_bswap32(inl(CFG_DMA + 4)), 0x20434647);
}

TEST(cfg_directory_is_sound, "",
	"each file has a name that ends, a key of its own from 0x20 on, and reserved bytes 0",
	NEEDS("pci"))
{
	uint32_t count;
	struct cfg_file *files;

	cfg();
	files = cfg_directory(&count);
	for (uint32_t i = 0; i < count; i++) {
		uint16_t select = __builtin_bswap16(files[i].select);

		EXPECT_GE(select, KEY_FIRST_FILE);
		EXPECT_EQ(files[i].reserved, 0);
		EXPECT_NE(files[i].name[0], 0);
		EXPECT_EQ(files[i].name[55], 0);
		for (uint32_t j = 0; j < i; j++)
			EXPECT_NE(files[j].select, files[i].select);
	}
}

TEST(cfg_e820_is_the_memory_map, "",
	"the RAM in etc/e820 is the RAM of the loader's map, less what firmware keeps",
	NEEDS("pci pvh"))
{
	uint64_t ram = 0, map = 0;
	struct cfg_file *file;
	uint32_t size;

	cfg();
	file = cfg_find("etc/e820");
	ASSERT_TRUE(file != NULL);
	size = __builtin_bswap32(file->size);
	ASSERT_EQ(size % 20, 0);
	cfg_select(__builtin_bswap16(file->select));
	for (uint32_t at = 0; at < size; at += 20) {
		struct {
			uint64_t base, length;
			uint32_t type;
		} __attribute__((packed)) entry;

		insb(CFG_DATA, &entry, 20);
		if (entry.type == MEMORY_RAM)
			ram += entry.length;
	}
	for (unsigned i = 0; i < boot_info.range_count; i++)
		if (boot_info.ranges[i].type == MEMORY_RAM)
			map += boot_info.ranges[i].size;
	EXPECT_GE(ram, map);
	EXPECT_LE(ram, map + 0x200000);
}

TEST(cfg_numbers, "", "fw_cfg gives the number of processors and the memory that -m and -smp gave",
	NEEDS("pci"))
{
	uint64_t memory;
	uint16_t cpus;

	cfg();
	cfg_read(KEY_CPUS, &cpus, 2);
	EXPECT_EQ(cpus, 1);
	cfg_read(KEY_RAM_SIZE, &memory, 8);
	EXPECT_EQ(memory, 128ull << 20);
}

TEST(cfg_file_of_the_user, "",
	"a file given with -fw_cfg has its name, its size and its bytes, and zeroes behind them",
	NEEDS("pci"))
{
	struct cfg_file *file;
	char text[16];

	cfg();
	file = cfg_find("opt/org.assay/word");
	if (!file)
		SKIP("no opt/org.assay/word was given");
	EXPECT_EQ(__builtin_bswap32(file->size), 6);
	cfg_read(__builtin_bswap16(file->select), text, 16);
	EXPECT_MEM(text, "bench!\0\0\0\0\0\0\0\0\0\0", 16);
}

TEST(cfg_initrd, "", "fw_cfg has the bytes of -initrd, which the loader put into memory too",
	NEEDS("pci module pvh"))
{
	const struct boot_module *module = &boot_info.modules[0];
	uint8_t bytes[64];
	uint32_t size;

	cfg();
	cfg_read(KEY_INITRD_SIZE, &size, 4);
	EXPECT_EQ(size, module->size);
	ASSERT_GE(size, sizeof(bytes));
	cfg_read(KEY_INITRD_DATA, bytes, sizeof(bytes));
	EXPECT_MEM(bytes, (const void *)module->base, sizeof(bytes));
}

TEST(cfg_dma_reads, "", "DMA writes as many bytes as asked, those that the port gives, and no more",
	NEEDS("pci"))
{
	uint8_t *by_port = arena_alloc(100, 8), *by_dma = guarded_alloc(100);

	cfg();
	cfg_read(KEY_DIRECTORY, by_port, 100);
	memset(by_dma, 0xee, 100);
	EXPECT_EQ(cfg_dma(KEY_DIRECTORY << 16 | DMA_SELECT | DMA_READ, 99, phys(by_dma)), 0);
	EXPECT_MEM(by_dma, by_port, 99);
	EXPECT_EQ(by_dma[99], 0xee);
	EXPECT_TRUE(guarded_check());
}

TEST(cfg_dma_skips, "", "a skip moves on as a read does, and the next read goes on from there",
	NEEDS("pci"))
{
	char *bytes = guarded_alloc(2);

	cfg();
	EXPECT_EQ(cfg_dma(KEY_SIGNATURE << 16 | DMA_SELECT | DMA_SKIP, 2, 0), 0);
	EXPECT_EQ(cfg_dma(DMA_READ, 2, phys(bytes)), 0);
	EXPECT_MEM(bytes, "MU", 2);
}

TEST(cfg_dma_past_the_end, "", "what lies behind the end of an item is written as zeroes",
	NEEDS("pci"))
{
	char *bytes = guarded_alloc(12);

	cfg();
	memset(bytes, 0xee, 12);
	EXPECT_EQ(cfg_dma(KEY_SIGNATURE << 16 | DMA_SELECT | DMA_READ, 12, phys(bytes)), 0);
	EXPECT_MEM(bytes, "QEMU\0\0\0\0\0\0\0\0", 12);
}

TEST(cfg_dma_refuses_writes, "", "a DMA write to the signature ends with ERROR and changes nothing",
	NEEDS("pci"))
{
	char *bytes = guarded_alloc(4);

	cfg();
	memcpy(bytes, "XXXX", 4);
	EXPECT_EQ(cfg_dma(KEY_SIGNATURE << 16 | DMA_SELECT | DMA_WRITE, 4, phys(bytes)), DMA_ERROR);
	cfg_read(KEY_SIGNATURE, bytes, 4);
	EXPECT_MEM(bytes, "QEMU", 4);
}

/* Power management */
#define PM_FUNCTION  0x7113
#define CFG_PMBASE   0x40
#define CFG_PMMISC   0x80
#define PM1_STS	     0x00
#define PM1_EN	     0x02
#define PM1_CNT	     0x04
#define PM_TMR	     0x08
#define TMR	     0x0001
#define PWRBTN	     0x0100
#define SCI_EN	     0x0001
#define SLP_EN	     0x2000
#define OTHER_BASE   0x5000
#define TOPMOST	     0x800000
#define HALF_TURN_US 2343484 /* of the timer: 2^23 ticks */

static struct pci_function *pm_function(void)
{
	struct pci_function *f = pci_find(0x8086, PM_FUNCTION, 0);

	if (!f)
		SKIP("there is no PIIX4 power management");
	return f;
}

/* The ports by PMBASE, with ACPI mode on. */
static uint16_t pm(void)
{
	struct pci_function *f = pm_function();
	uint16_t base = pci_read16(f, CFG_PMBASE) & 0xffc0;
	const struct acpi_header *fadt = acpi_table("FACP");

	if (!(inw(base + PM1_CNT) & SCI_EN) && fadt)
		outb(acpi_u32(fadt, 48), acpi_u32(fadt, 52) & 0xff);
	ASSERT_TRUE(WAIT_UNTIL(inw(base + PM1_CNT) & SCI_EN, SOON_US));
	return base;
}

TEST(pm_is_where_the_fadt_says, "",
	"PMBASE is the FADT's PM1 event block, and the PM timer counts there", NEEDS("pci acpi"))
{
	uint16_t base = pm();
	uint32_t first;

	EXPECT_EQ(acpi_u32(acpi_table("FACP"), 56), base);
	first = inl(base + PM_TMR);
	EXPECT_TRUE(WAIT_UNTIL(inl(base + PM_TMR) != first, SOON_US));
}

TEST(pm_base_moves, "", "the ports follow PMBASE, and where they were nothing answers",
	NEEDS("pci acpi"))
{
	struct pci_function *f = pm_function();
	uint16_t base = pm();
	uint32_t first;

	EXPECT_EQ(pci_read32(f, CFG_PMBASE) & 0x3f, 1);
	pci_write32(f, CFG_PMBASE, OTHER_BASE);
	EXPECT_EQ(pci_read32(f, CFG_PMBASE), OTHER_BASE | 1);
	first = inl(OTHER_BASE + PM_TMR);
	EXPECT_NE(first, 0xffffffff);
	EXPECT_TRUE(WAIT_UNTIL(inl(OTHER_BASE + PM_TMR) != first, SOON_US));
	EXPECT_EQ(inl(base + PM_TMR), 0xffffffff);
	pci_write32(f, CFG_PMBASE, base);
	EXPECT_NE(inl(base + PM_TMR), 0xffffffff);
}

TEST(pm_ports_switch_off, "", "PMREGMISC bit 0 is what makes the ports answer", NEEDS("pci acpi"))
{
	struct pci_function *f = pm_function();
	uint16_t base = pm();

	EXPECT_EQ(pci_read8(f, CFG_PMMISC) & 1, 1);
	pci_write8(f, CFG_PMMISC, 0);
	EXPECT_EQ(inl(base + PM_TMR), 0xffffffff);
	pci_write8(f, CFG_PMMISC, 1);
	EXPECT_NE(inl(base + PM_TMR), 0xffffffff);
}

TEST(pm_enables_read_back, "", "the enables of PM timer and power button read back, each by itself",
	NEEDS("pci acpi"))
{
	uint16_t base = pm();

	outw(base + PM1_EN, PWRBTN);
	EXPECT_EQ(inw(base + PM1_EN), PWRBTN);
	outw(base + PM1_EN, TMR);
	EXPECT_EQ(inw(base + PM1_EN), TMR);
	outw(base + PM1_EN, 0);
	EXPECT_EQ(inw(base + PM1_EN), 0);
}

TEST(acpi_mode_switches, "", "the FADT's two values at its SMI port switch SCI_EN off and on",
	NEEDS("pci acpi"))
{
	uint16_t base = pm();
	const struct acpi_header *fadt = acpi_table("FACP");
	uint16_t port = acpi_u32(fadt, 48);

	outb(port, acpi_u32(fadt, 52) >> 8 & 0xff);
	EXPECT_TRUE(WAIT_UNTIL(!(inw(base + PM1_CNT) & SCI_EN), SOON_US));
	outb(port, acpi_u32(fadt, 52) & 0xff);
	EXPECT_TRUE(WAIT_UNTIL(inw(base + PM1_CNT) & SCI_EN, SOON_US));
}

/* Clears TMR_STS and reads it, with no turn of the topmost bit in between: a busy host may be away.
 */
static uint16_t timer_status_cleared(uint16_t base)
{
	uint32_t before;
	uint16_t status;

	do {
		before = inl(base + PM_TMR) & TOPMOST;
		outw(base + PM1_STS, TMR);
		status = inw(base + PM1_STS);
	} while ((inl(base + PM_TMR) & TOPMOST) != before);
	return status & TMR;
}

TEST(timer_overflow_makes_sci, "",
	"when the PM timer's topmost bit turns, TMR_STS is set and, if enabled, the SCI comes",
	NEEDS("pci acpi"))
{
	unsigned vector = irq_vector();
	uint16_t base = pm();

	EXPECT_EQ(timer_status_cleared(base), 0);
	outw(base + PM1_EN, TMR);
	ioapic_route(9, vector, IOAPIC_EDGE);
	/* Of 5 ms between two looks a wait counts one: half a turn and 5 seconds. */
	WAIT_UNTIL((rest_us(5000), irq_count(vector) != 0), (HALF_TURN_US + 5000000) / 5);
	EXPECT_EQ(irq_count(vector), 1);
	EXPECT_EQ(inw(base + PM1_STS) & TMR, TMR);
	EXPECT_EQ(timer_status_cleared(base), 0);
	outw(base + PM1_EN, 0);
}

/* SLP_TYPa of \_S5: Name (_S5_, Package { n, ... }) */
static int s5_type(void)
{
	const struct acpi_header *dsdt = acpi_table("DSDT");
	const uint8_t *at = (const uint8_t *)(dsdt + 1),
		      *end = (const uint8_t *)dsdt + (dsdt ? dsdt->length : 0);

	for (; dsdt && at + 9 < end; at++) {
		if (memcmp(at, "_S5_\x12", 5) != 0)
			continue;
		at += 5 + (at[5] >> 6) + 1 + 1;	  /* package length, element count */
		return *at == 0x0a ? at[1] : *at; /* BytePrefix, or 0 and 1 themselves */
	}
	return -1;
}

TEST(dsdt_has_s5, "", "the DSDT has a \\_S5 package with a sleep type of three bits",
	NEEDS("pci acpi"))
{
	EXPECT_GE(s5_type() + 1, 1);
	EXPECT_LE(s5_type(), 7);
}

/* Reset and power-off */
#define RESET_CONTROL 0xcf9
#define PORT_A	      0x92
#define KEYBOARD      0x64
#define END_US	      5000000 /* of running on, and the machine does not end */

TEST(reset_control_reads_back, "",
	"bit 1 of the reset control register reads back, and alone it resets nothing", NEEDS("pci"))
{
	outb(RESET_CONTROL, 0x02);
	EXPECT_EQ(inb(RESET_CONTROL), 0x02);
	outb(RESET_CONTROL, 0x00);
	EXPECT_EQ(inb(RESET_CONTROL), 0x00);
}

TEST(port_a_reads_back, "", "the A20 bit of port 92h reads back, and its reset bit is 0",
	NEEDS("pci"))
{
	outb(PORT_A, 0x02);
	EXPECT_EQ(inb(PORT_A) & 0x03, 0x02);
}

TEST(fadt_names_the_reset, "", "the FADT offers a reset register in I/O space with a value",
	NEEDS("pci acpi"))
{
	const uint8_t *fadt = (const uint8_t *)acpi_table("FACP");

	ASSERT_TRUE(fadt != NULL);
	if (fadt[8] < 2)
		SKIP("a FADT of revision 1 has no reset register");
	EXPECT_TRUE(acpi_u32(fadt, 112) & 1 << 10);
	EXPECT_EQ(fadt[116], 1);
	EXPECT_EQ(acpi_u32(fadt, 120), RESET_CONTROL);
	EXPECT_TRUE(fadt[128] & 4);
}

/* The host must know that the end is meant; what comes back after it has failed. */
static void ends_by(const char *how)
{
	if (!ctl_request("ends", "%s", how))
		ERROR("the host does not take it: %s", ctl_reason());
}

TEST(reset_by_control_register, "", "bit 2 of the reset control register resets the machine",
	NEEDS("pci ctl"))
{
	ends_by("reset");
	outb(RESET_CONTROL, 0x06);
	WAIT_UNTIL(false, END_US);
	FAIL("the machine runs on");
}

TEST(reset_by_port_a, "", "bit 0 of port 92h going to 1 resets the machine", NEEDS("pci ctl"))
{
	ends_by("reset");
	outb(PORT_A, 0x02);
	outb(PORT_A, 0x03);
	WAIT_UNTIL(false, END_US);
	FAIL("the machine runs on");
}

TEST(reset_by_keyboard_controller, "",
	"the keyboard controller takes commands, and its pulse on output line 0 resets the machine",
	NEEDS("pci ctl"))
{
	EXPECT_EQ(inb(KEYBOARD) & 0x02, 0);
	ends_by("reset");
	outb(KEYBOARD, 0xfe);
	WAIT_UNTIL(false, END_US);
	FAIL("the machine runs on");
}

TEST(soft_off, "", "SLP_EN with the sleep type of \\_S5 switches the machine off",
	NEEDS("pci acpi ctl"))
{
	uint16_t base = pm();
	int type = s5_type();

	ASSERT_GE(type + 1, 1);
	ends_by("shutdown");
	outw(base + PM1_CNT, SCI_EN | type << 10 | SLP_EN);
	WAIT_UNTIL(false, END_US);
	FAIL("the machine runs on");
}
