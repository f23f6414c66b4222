; SPDX-License-Identifier: MIT
;
; Entry of NAME.elf (PVH, Xen's x86/HVM direct boot ABI) and NAME.mb.elf (Multiboot 1, section 3.2):
; 32-bit protected mode without paging, to 64-bit mode on tables that the assembler has made.
;
; A guest CPU may be interpreted, so nothing here is a loop: the page tables are data, .bss is
; zeroed by the loader (p_memsz), and the registers found at entry are kept for kernels/boot.
; Left out: the page at 0 stays mapped, because low memory holds things kernels must read.

%include "layout.inc"

%define PAGE_RW_US	7		; present, writable, reachable from CPL 3 (user_call)
%define PAGE_2M		0x80 | PAGE_RW_US

extern entry_state
extern boot_stack_top
extern gdt_pointer
extern gdt_load_segments
extern boot_main_pvh
extern boot_main_multiboot
extern boot_main_none

section .text
bits 32

global mb_entry
mb_entry:
	mov dword [entry_state], 2
	jmp start32
global pvh_entry
pvh_entry:
	mov dword [entry_state], 1

start32:
	mov [entry_state + 4], eax
	mov [entry_state + 8], ebx
	mov eax, cr0
	mov [entry_state + 12], eax
	mov eax, cr4
	mov [entry_state + 16], eax
	mov esp, boot_stack_top
	pushfd
	pop dword [entry_state + 20]
	mov [entry_state + 24], cs
	mov [entry_state + 26], ds
	mov [entry_state + 28], es
	mov [entry_state + 30], ss
	str [entry_state + 32]
	cli
	cld
	mov ecx, 0xc0000080		; EFER
	rdmsr
	mov [entry_state + 36], eax
	or eax, 0x100			; LME
	wrmsr
	mov eax, 0x20			; PAE
	mov cr4, eax
	mov eax, pml4
	mov cr3, eax
	mov eax, 0x80010033		; PG, WP, NE, ET, MP, PE
	mov cr0, eax
	lgdt [gdt_pointer]
	jmp SEL_CODE:start64

bits 64
start64:
	mov esp, boot_stack_top
	xor ebp, ebp
	call gdt_load_segments
	cmp dword [entry_state], 2
	mov edi, [entry_state + 8]
	je .multiboot
	call boot_main_pvh
	ud2
.multiboot:
	call boot_main_multiboot
	ud2

; Identity map of the first 4 GiB in 2 MiB pages. The rest is filled at run time by
; runtime/paging.c.
section .tables write align=4096
global pml4
pml4:
	dq pdpt + PAGE_RW_US
	times 511 dq 0
pdpt:
%assign gigabyte 0
%rep 4
	dq page_directories + gigabyte * 4096 + PAGE_RW_US
%assign gigabyte gigabyte + 1
%endrep
	times 508 dq 0
page_directories:
%assign page 0
%rep 2048
	dq page * 0x200000 + PAGE_2M
%assign page page + 1
%endrep

section .note.xen note alloc noexec nowrite align=4
	dd 4, 8, 18			; name size, descriptor size, XEN_ELFNOTE_PHYS32_ENTRY
	db "Xen", 0
	dq pvh_entry
section .note.GNU-stack noalloc noexec nowrite progbits
