/* SPDX-License-Identifier: MIT */
/*
 * Entry of NAME.efi (UEFI 2.10, 7.4 ExitBootServices): takes command line, memory map and RSDP,
 * leaves boot services, then puts the machine where boot/entry.asm puts it: own GDT, IDT, page
 * tables and stack, interrupt controllers masked, bus masters off.
 *
 * Left out: virtual address maps and runtime services, which kernels do not use.
 */
#include <efi.h>

#include "runtime/boot.h"
#include "runtime/io.h"
#include "runtime/irq.h"
#include "runtime/memory.h"
#include "runtime/pci.h"
#include "runtime/run.h"
#include "runtime/traps.h"

#define APIC_BASE     0x1b
#define APIC_ENABLED  0x800
#define APIC_X2	      0x400
#define EFER	      0xc0000080
#define EFER_LME_LMA  0x500
#define CR0_AS_IN_ELF 0x80010033ul
#define CR4_AS_IN_ELF 0x20ul
#define PAGE_ALL      7ull /* present, writable, from CPL 3 too */
#define PAGE_LARGE    0x80ull
#define VECTOR_NMI    2
#define VECTOR_DOUBLE 8

EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system);
void gdt_enter(void);

/* Reached from runtime/paging.c as pml4 of boot/entry.asm is. */
volatile uint64_t pml4[512] __attribute__((aligned(4096)));
static volatile uint64_t pdpt[512] __attribute__((aligned(4096)));
static uint64_t directories[4 * 512] __attribute__((aligned(4096)));

extern struct gate {
	uint16_t offset_low, selector;
	uint8_t stack, type;
	uint16_t offset_middle;
	uint32_t offset_high, reserved;
} idt[256];
extern char vector_stubs[], boot_stack_top[];

static char cmdline[4096];
static uint8_t map[65536] __attribute__((aligned(16)));

static bool same_guid(const EFI_GUID *a, const EFI_GUID *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

static void take_cmdline(EFI_HANDLE image, EFI_BOOT_SERVICES *services)
{
	EFI_GUID guid = EFI_LOADED_IMAGE_PROTOCOL_GUID;
	EFI_LOADED_IMAGE *loaded = NULL;
	const CHAR16 *text;
	size_t length;

	if (EFI_ERROR(services->HandleProtocol(image, &guid, (void **)&loaded)) ||
		!loaded->LoadOptions)
		return;
	text = loaded->LoadOptions;
	length = loaded->LoadOptionsSize / sizeof(CHAR16);
	for (size_t i = 0; i < length && i < sizeof(cmdline) - 1 && text[i]; i++)
		cmdline[i] = text[i];
}

static void take_rsdp(EFI_SYSTEM_TABLE *system)
{
	EFI_GUID newer = ACPI_20_TABLE_GUID, older = ACPI_TABLE_GUID;

	for (UINTN i = 0; i < system->NumberOfTableEntries; i++) {
		EFI_CONFIGURATION_TABLE *table = &system->ConfigurationTable[i];

		if (same_guid(&table->VendorGuid, &newer) ||
			(same_guid(&table->VendorGuid, &older) && !boot_info.rsdp))
			boot_info.rsdp = (uint64_t)table->VendorTable;
	}
}

/* What is free once boot services are gone. The image itself is Loader memory, so the arena keeps
 * off it. */
static uint32_t type_of(UINT32 type)
{
	switch (type) {
	case EfiConventionalMemory:
	case EfiBootServicesCode:
	case EfiBootServicesData: return MEMORY_RAM;
	case EfiACPIReclaimMemory: return MEMORY_ACPI;
	case EfiACPIMemoryNVS: return MEMORY_NVS;
	default: return MEMORY_RESERVED;
	}
}

static void take_map(UINTN size, UINTN stride)
{
	for (UINTN at = 0; at + stride <= size; at += stride) {
		const EFI_MEMORY_DESCRIPTOR *entry = (void *)(map + at);
		struct memory_range *last = &boot_info.ranges[boot_info.range_count - 1];
		uint64_t bytes = entry->NumberOfPages << 12;
		uint32_t type = type_of(entry->Type);

		if (boot_info.range_count && last->type == type &&
			last->base + last->size == entry->PhysicalStart)
			last->size += bytes;
		else if (boot_info.range_count < BOOT_RANGES)
			boot_info.ranges[boot_info.range_count++] =
				(struct memory_range){entry->PhysicalStart, bytes, type};
	}
}

static bool leave_boot_services(EFI_HANDLE image, EFI_BOOT_SERVICES *services)
{
	UINTN size, key, stride;
	UINT32 version;

	for (int i = 0; i < 4;
		i++) { /* the map may change under the call: then it is asked for again */
		size = sizeof(map);
		if (EFI_ERROR(services->GetMemoryMap(&size, (void *)map, &key, &stride, &version)))
			return false;
		if (!EFI_ERROR(services->ExitBootServices(image, key))) {
			take_map(size, stride);
			return true;
		}
	}
	return false;
}

static void make_tables(void)
{
	for (unsigned i = 0; i < 2048; i++)
		directories[i] = (uint64_t)i << 21 | PAGE_LARGE | PAGE_ALL;
	for (unsigned i = 0; i < 4; i++)
		pdpt[i] = (uint64_t)(directories + i * 512) | PAGE_ALL;
	pml4[0] = (uint64_t)pdpt | PAGE_ALL;
	for (unsigned i = 0; i < 256; i++) {
		uint64_t stub = (uint64_t)vector_stubs + i * 16;

		idt[i] = (struct gate){.offset_low = stub,
			.selector = 0x08,
			.type = 0x8e,
			.stack = i == VECTOR_NMI || i == VECTOR_DOUBLE,
			.offset_middle = stub >> 16,
			.offset_high = stub >> 32};
	}
}

static void take_processor(void)
{
	uint64_t base = rdmsr(APIC_BASE);

	gdt_enter();
	__asm__ volatile("mov %0, %%cr3" : : "r"(pml4) : "memory");
	__asm__ volatile("mov %0, %%cr4" : : "r"(CR4_AS_IN_ELF) : "memory");
	__asm__ volatile("mov %0, %%cr0" : : "r"(CR0_AS_IN_ELF) : "memory");
	wrmsr(EFER, EFER_LME_LMA);
	if (base & APIC_X2) { /* back to xAPIC goes through disabled only (SDM volume 3, 10.12.5) */
		wrmsr(APIC_BASE, base & ~(uint64_t)(APIC_X2 | APIC_ENABLED));
		wrmsr(APIC_BASE, (base & ~(uint64_t)APIC_X2) | APIC_ENABLED);
	}
}

/* Firmware has used timer, disks and perhaps network: none of them may interrupt or write memory
 * any more. */
static void quiet_devices(void)
{
	struct pci_function *f;

	pic_remap();
	outb(0x43, 0x30); /* 8254 counter 0: mode 0, no count */
	for (unsigned i = 0; (f = pci_nth(i)); i++) {
		if (f->class_code >> 16 == 6)
			continue;
		f->command_at_boot &= ~PCI_COMMAND_MASTER;
		pci_write16(f, PCI_COMMAND, f->command_at_boot);
	}
}

static void __attribute__((noreturn, used)) on_own_stack(void)
{
	make_tables();
	take_processor();
	quiet_devices();
	runtime_main();
}

EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system)
{
	boot_info.protocol = BOOT_UEFI;
	entry_state.protocol = BOOT_UEFI;
	boot_info.cmdline = cmdline;
	take_cmdline(image, system->BootServices);
	take_rsdp(system);
	if (!leave_boot_services(image, system->BootServices))
		return EFI_LOAD_ERROR;
	irq_disable();
	__asm__ volatile("mov %0, %%rsp; call *%1"
			 :
			 : "r"(boot_stack_top), "r"(on_own_stack)
			 : "memory");
	__builtin_unreachable();
}
