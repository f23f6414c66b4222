; SPDX-License-Identifier: MIT
;
; Where another processor starts (Intel SDM volume 3, 8.4): copied to a page below 1 MiB, whose number
; is the vector of the start-up IPI. Notes what it finds, then goes from real mode straight to
; 64-bit mode, on tables and to an entry that runtime/smp.c has put into the page.

%include "layout.inc"

; Offsets of struct ap_page (runtime/smp.c), from the start of the page.
AP_MAILBOX	equ 0xe00
M_CR3		equ AP_MAILBOX + 0
M_JUMP		equ AP_MAILBOX + 8	; offset, selector
M_GDTR		equ AP_MAILBOX + 16	; limit, base
M_STACK		equ AP_MAILBOX + 24
M_ARGUMENT	equ AP_MAILBOX + 32
M_ENTRY		equ AP_MAILBOX + 40
M_GDT		equ AP_MAILBOX + 48	; four descriptors
M_SEEN		equ AP_MAILBOX + 80	; struct ap_seen
M_COUNT		equ M_SEEN + 0
M_CS		equ M_SEEN + 4
M_DS		equ M_SEEN + 6
M_ES		equ M_SEEN + 8
M_SS		equ M_SEEN + 10
M_FS		equ M_SEEN + 12
M_GS		equ M_SEEN + 14
M_IP		equ M_SEEN + 16
M_FLAGS		equ M_SEEN + 20
M_CR0		equ M_SEEN + 24
M_EAX		equ M_SEEN + 28
M_EDX		equ M_SEEN + 32

section .text
bits 16
global ap_start
ap_start:
	mov [cs:M_EAX], eax
	mov [cs:M_EDX], edx
	mov [cs:M_CS], cs
	mov [cs:M_DS], ds
	mov [cs:M_ES], es
	mov [cs:M_SS], ss
	mov [cs:M_FS], fs
	mov [cs:M_GS], gs
	mov ax, cs
	mov ds, ax
	mov ss, ax
	mov esp, 0x1000			; the mailbox ends 0x100 below
	pushfd
	pop dword [M_FLAGS]
	call .here
.here:
	pop ax
	sub ax, .here - ap_start
	mov [M_IP], ax
	mov eax, cr0
	mov [M_CR0], eax
	lock inc dword [M_COUNT]
	cli
	cld
	o32 lgdt [M_GDTR]
	mov eax, 0x20			; PAE
	mov cr4, eax
	mov eax, [M_CR3]
	mov cr3, eax
	mov ecx, 0xc0000080		; EFER
	xor edx, edx
	mov eax, 0x100			; LME
	wrmsr
	mov eax, 0x80010033		; PG, WP, NE, ET, MP, PE
	mov cr0, eax
	o32 jmp far [M_JUMP]

bits 64
global ap_start64
ap_start64:
	mov eax, SEL_DATA
	mov ds, eax
	mov es, eax
	mov ss, eax
	mov rsp, [rel ap_start + M_STACK]
	mov rdi, [rel ap_start + M_ARGUMENT]
	xor ebp, ebp
	call [rel ap_start + M_ENTRY]
	ud2
global ap_end
ap_end:
section .note.GNU-stack noalloc noexec nowrite progbits
