/* SPDX-License-Identifier: MIT */
/*
 * PIIX4 power management, PCI function 8086:7113 (Intel 82371AB datasheet, chapter 7.2 and 11;
 * ACPI 6.4, 4.8): PM1 event and control, the PM timer, the general-purpose event block where QEMU
 * has it, the APM ports through which ACPI mode is switched, the power button.
 *
 * There is no firmware here, so the function comes out of reset as firmware would leave it: I/O at
 * 0x600, enabled, SCI on IRQ 9.
 *
 * Left out: SMBus, SMI (there is no SMM code to enter), suspend to RAM, throttling.
 */
#include "base/log.h"
#include "bus/pci.h"
#include "devices/devices.h"

#define VENDOR_INTEL	   0x8086
#define PIIX4_PM	   0x7113
#define CLASS_BRIDGE_OTHER 0x068000

/* Configuration space */
#define CFG_PMBASE	    0x40
#define CFG_PMBASE_MASK	    0xffc0u
#define CFG_PMREGMISC	    0x80
#define PMREGMISC_ENABLE    0x01
#define CFG_DEVACTB	    0x58
#define DEVACTB_APMC_ENABLE 0x02 /* bit 25 of the dword */

/* I/O at PMBASE */
#define PM_LENGTH 64
#define PM1_STS	  0x00
#define PM1_EN	  0x02
#define PM1_CNT	  0x04
#define PM_TMR	  0x08

#define STS_TMROF   0x0001
#define STS_GBL	    0x0020
#define STS_PWRBTN  0x0100
#define STS_RTC	    0x0400
#define STS_CLEARS  0x8d31 /* WAK RTC PWRBTN SLPBTN GBL BM TMROF: cleared by writing 1 */
#define EN_BITS	    0x0521
#define SCI_SOURCES (STS_TMROF | STS_GBL | STS_PWRBTN | STS_RTC)

#define CNT_SCI_EN	0x0001
#define CNT_SLP_EN	0x2000
#define CNT_BITS	0x1c07 /* SCI_EN BM_RLD GBL_RLS SLP_TYP; SLP_EN reads 0 */
#define SLP_TYPE(value) (((value) >> 10) & 7)
#define SLP_SOFT_OFF	0 /* QEMU's \_S5 */
#define SLP_DISK	2 /* QEMU's \_S4 */

#define TIMER_HZ   3579545
#define TIMER_MASK 0xffffff /* 24 bits; TMROF when the topmost changes */
#define TIMER_HALF 0x800000ll
#define SECOND	   1000000000ll

#define GPE_BASE	 0xafe0
#define GPE_LENGTH	 4
#define APM_BASE	 0xb2
#define APM_LENGTH	 2
#define APM_ACPI_ENABLE	 0xf1
#define APM_ACPI_DISABLE 0xf0

#define FIRMWARE_PMBASE 0x600
#define SCI_IRQ		9

struct piix4_pm {
	struct pci_device pci;
	struct region io, gpe, apm;
	struct irq_line sci;
	struct vm_timer overflow;
	uint16_t status, enable, control;
	int64_t half_turns; /* of the timer, up to which TMROF is right */
	uint8_t gpe_enable[2];
	uint8_t apm_control, apm_status;
};

static struct piix4_pm *from_device(struct device *dev)
{
	return container_of(dev, struct piix4_pm, pci.dev);
}

/* Ticks since the VM's clock began: ns * 3579545 / 10^9 without overflow. */
static int64_t ticks(const struct piix4_pm *pm)
{
	int64_t now = vm_clock_now(&pm->pci.dev.machine->clock);

	return now / SECOND * TIMER_HZ + now % SECOND * TIMER_HZ / SECOND;
}

/* The VM time at which the timer has counted `count`, rounded up. */
static int64_t time_of(int64_t count)
{
	return count / TIMER_HZ * SECOND + (count % TIMER_HZ * SECOND + TIMER_HZ - 1) / TIMER_HZ;
}

/* Status as of now, then the SCI; the timer runs only while its overflow would be seen. */
static void update(struct piix4_pm *pm)
{
	int64_t turns = ticks(pm) / TIMER_HALF;

	if (turns != pm->half_turns)
		pm->status |= STS_TMROF;
	pm->half_turns = turns;
	irq_set(&pm->sci, (pm->control & CNT_SCI_EN) && (pm->status & pm->enable & SCI_SOURCES));
	if ((pm->enable & ~pm->status & STS_TMROF) && (pm->control & CNT_SCI_EN))
		vm_timer_arm(&pm->overflow, time_of((turns + 1) * TIMER_HALF));
	else
		vm_timer_cancel(&pm->overflow);
}

static void overflow_expired(void *opaque)
{
	update(opaque);
}

static void write_control(struct piix4_pm *pm, uint16_t value)
{
	pm->control = value & CNT_BITS;
	if (!(value & CNT_SLP_EN))
		return;
	switch (SLP_TYPE(value)) {
	case SLP_SOFT_OFF:
	case SLP_DISK: machine_request_shutdown(pm->pci.dev.machine, CAUSE_GUEST_SHUTDOWN); break;
	default: log_guest_error("PIIX4_PM", "sleep type %u is not there", SLP_TYPE(value)); break;
	}
}

/* 16-bit registers and the timer, seen as 32-bit words: the ports take any width. */
static uint32_t read_word(struct piix4_pm *pm, unsigned at)
{
	switch (at) {
	case PM1_STS: return pm->status | (uint32_t)pm->enable << 16;
	case PM1_CNT: return pm->control;
	case PM_TMR: return ticks(pm) & TIMER_MASK;
	default: return 0;
	}
}

static uint64_t pm_read(void *opaque, uint64_t offset, unsigned size)
{
	struct piix4_pm *pm = opaque;
	uint64_t value;

	update(pm);
	value = read_word(pm, offset & ~3u) >> (offset & 3) * 8;
	return size == 4 ? value : value & ((1u << size * 8) - 1);
}

static void pm_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct piix4_pm *pm = opaque;
	unsigned shift = (offset & 3) * 8;
	uint32_t mask = (size == 4 ? UINT32_MAX : (1u << size * 8) - 1) << shift;
	uint32_t written = (uint32_t)value << shift & mask;

	update(pm);
	switch (offset & ~3u) {
	case PM1_STS:
		pm->status &= ~(written & STS_CLEARS);
		pm->enable = ((pm->enable & ~(mask >> 16)) | written >> 16) & EN_BITS;
		break;
	case PM1_CNT:
		if (mask & UINT16_MAX)
			write_control(pm, (pm->control & ~mask) | written);
		break;
	default: log_guest_error("PIIX4_PM", "write of 0x%x ignored", (unsigned)offset); break;
	}
	update(pm);
}

static const struct region_ops pm_ops = {
	.read = pm_read,
	.write = pm_write,
	.min_access = 1,
	.max_access = 4,
};

/* Two status bytes, of which none is ever set, and two enables. */
static uint64_t gpe_read(void *opaque, uint64_t offset, unsigned size)
{
	struct piix4_pm *pm = opaque;

	return offset < 2 ? 0 : pm->gpe_enable[offset - 2];
}

static void gpe_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct piix4_pm *pm = opaque;

	if (offset >= 2)
		pm->gpe_enable[offset - 2] = value;
}

static const struct region_ops gpe_ops = {
	.read = gpe_read,
	.write = gpe_write,
	.min_access = 1,
	.max_access = 1,
};

static uint64_t apm_read(void *opaque, uint64_t offset, unsigned size)
{
	struct piix4_pm *pm = opaque;

	return offset ? pm->apm_status : pm->apm_control;
}

/* The SMI that a write raises is the firmware's business; what it does for ACPI is done here. */
static void apm_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct piix4_pm *pm = opaque;

	if (offset) {
		pm->apm_status = value;
		return;
	}
	pm->apm_control = value;
	if (pm->apm_control == APM_ACPI_ENABLE)
		pm->control |= CNT_SCI_EN;
	else if (pm->apm_control == APM_ACPI_DISABLE)
		pm->control &= ~CNT_SCI_EN;
	update(pm);
}

static const struct region_ops apm_ops = {
	.read = apm_read,
	.write = apm_write,
	.min_access = 1,
	.max_access = 1,
};

static void press_power_button(void *opaque)
{
	struct piix4_pm *pm = opaque;

	pm->status |= STS_PWRBTN;
	update(pm);
}

/* The block is where PMBASE says, while PMREGMISC enables it; the command register does not matter
 * (82371AB, PMREGMISC bit 0). */
static void follow_base(struct piix4_pm *pm)
{
	const uint8_t *config = pm->pci.config;
	uint16_t base = (config[CFG_PMBASE] | config[CFG_PMBASE + 1] << 8) & CFG_PMBASE_MASK;

	space_unmap(&pm->io);
	if (config[CFG_PMREGMISC] & PMREGMISC_ENABLE)
		space_map(&pm->pci.dev.machine->ports, &pm->io, base);
}

static void config_written(struct pci_device *pci, unsigned offset, unsigned size)
{
	if ((offset < CFG_PMBASE + 4 && offset + size > CFG_PMBASE) ||
		(offset <= CFG_PMREGMISC && offset + size > CFG_PMREGMISC))
		follow_base(container_of(pci, struct piix4_pm, pci));
}

static void piix4_pm_reset(struct device *dev)
{
	struct piix4_pm *pm = from_device(dev);
	uint8_t *config = pm->pci.config;

	config[CFG_PMBASE] = (FIRMWARE_PMBASE & 0xc0) | 1;
	config[CFG_PMBASE + 1] = FIRMWARE_PMBASE >> 8;
	config[CFG_PMREGMISC] = PMREGMISC_ENABLE;
	config[PCI_INTERRUPT_LINE] = SCI_IRQ;
	/* There is no system management mode: the APM ports raise no SMI, and firmware that finds
	 * this bit takes the SMM of others for set up, as under QEMU without SMM. */
	config[CFG_DEVACTB + 3] = DEVACTB_APMC_ENABLE;
	pm->status = pm->enable = pm->control = 0;
	pm->gpe_enable[0] = pm->gpe_enable[1] = 0;
	pm->apm_control = pm->apm_status = 0;
	pm->half_turns = ticks(pm) / TIMER_HALF;
	follow_base(pm);
	update(pm);
}

static void set_region(struct region *region, const char *name, uint64_t length,
	const struct region_ops *ops, void *opaque)
{
	*region = (struct region){.name = name, .length = length, .ops = ops, .opaque = opaque};
}

static int piix4_pm_realize(struct device *dev, struct error *err)
{
	struct piix4_pm *pm = from_device(dev);
	struct machine *machine = dev->machine;

	pci_set_ids(&pm->pci, VENDOR_INTEL, PIIX4_PM, CLASS_BRIDGE_OTHER, 3);
	pci_set_interrupt_pin(&pm->pci, 1);
	pm->pci.config[PCI_STATUS] = 0x80; /* fast back-to-back, medium DEVSEL */
	pm->pci.config[PCI_STATUS + 1] = 0x02;
	pm->pci.config[CFG_PMBASE] = 1; /* bit 0 says "I/O" and cannot be written */
	pm->pci.writable[CFG_PMBASE] = CFG_PMBASE_MASK & 0xff;
	pm->pci.writable[CFG_PMBASE + 1] = CFG_PMBASE_MASK >> 8;
	pm->pci.writable[CFG_PMREGMISC] = PMREGMISC_ENABLE;
	pm->pci.config_written = config_written;

	pm->sci = machine->gsi[SCI_IRQ];
	vm_timer_init(&pm->overflow, &machine->clock, overflow_expired, pm);
	set_region(&pm->io, "piix4-pm", PM_LENGTH, &pm_ops, pm);
	set_region(&pm->gpe, "piix4-gpe", GPE_LENGTH, &gpe_ops, pm);
	set_region(&pm->apm, "piix4-apm", APM_LENGTH, &apm_ops, pm);
	space_map(&machine->ports, &pm->gpe, GPE_BASE);
	space_map(&machine->ports, &pm->apm, APM_BASE);
	machine->powerdown = press_power_button;
	machine->powerdown_opaque = pm;
	return 0;
}

static void piix4_pm_unrealize(struct device *dev)
{
	struct piix4_pm *pm = from_device(dev);

	dev->machine->powerdown = NULL;
	vm_timer_cancel(&pm->overflow);
	space_unmap(&pm->io);
	space_unmap(&pm->gpe);
	space_unmap(&pm->apm);
}

static int piix4_pm_loaded(void *opaque, unsigned version, struct error *err)
{
	struct piix4_pm *pm = opaque;

	follow_base(pm);
	update(pm);
	return 0;
}

static const struct state_field state_fields[] = {
	STATE_PART(struct piix4_pm, pci, pci_state_table),
	STATE_UINT(struct piix4_pm, status),
	STATE_UINT(struct piix4_pm, enable),
	STATE_UINT(struct piix4_pm, control),
	STATE_UINT(struct piix4_pm, half_turns),
	STATE_UINTS(struct piix4_pm, gpe_enable),
	STATE_UINT(struct piix4_pm, apm_control),
	STATE_UINT(struct piix4_pm, apm_status),
	STATE_END,
};

static const struct state_table state = {
	.name = "PIIX4_PM", .version = 1, .fields = state_fields, .post_load = piix4_pm_loaded};

const struct device_type piix4_pm_type = {
	.name = "PIIX4_PM",
	.bus = "PCI",
	.description = "PM",
	.category = "Bridge",
	.more_properties = pci_properties,
	.size = sizeof(struct piix4_pm),
	.internal = true,
	.realize = piix4_pm_realize,
	.reset = piix4_pm_reset,
	.state = &state,
	.unrealize = piix4_pm_unrealize,
};
