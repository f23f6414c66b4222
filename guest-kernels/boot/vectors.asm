; SPDX-License-Identifier: MIT
;
; GDT, TSS, IDT and the way in and out of traps and interrupts (Intel SDM volume 3, chapters 3, 6, 7).
;
; Traps (vectors 0 to 31) save every register, because the handler may send the CPU elsewhere.
; Interrupts save what C may change and no more: an interpreted CPU pays for each push.
; In NAME.elf the IDT is data (the stubs stand at a fixed address); NAME.efi builds it at run time.

%include "layout.inc"
%include "callee.inc"
default rel

extern trap_dispatch
extern irq_dispatch

section .vectors exec nowrite align=16
global vector_stubs
vector_stubs:
%assign v 0
%rep 256
	align STUB_SIZE, nop
%if v == 6
	jmp invalid_opcode
%elif v < 32
%if v != 8 && (v < 10 || v > 14) && v != 17 && v != 21 && v != 29 && v != 30
	push 0
%endif
	push v
	jmp trap_common
%else
	push v
	jmp irq_common
%endif
%assign v v + 1
%endrep
	align STUB_SIZE, nop

section .text
bits 64

trap_common:				; struct trap_frame of runtime/traps.h
	push rax
	push rcx
	push rdx
	push rbx
	push rbp
	push rsi
	push rdi
	push r8
	push r9
	push r10
	push r11
	push r12
	push r13
	push r14
	push r15
	cld
	mov rdi, rsp
	mov rbx, rsp
	and rsp, -16
	call trap_dispatch
	mov rsp, rbx
	pop r15
	pop r14
	pop r13
	pop r12
	pop r11
	pop r10
	pop r9
	pop r8
	pop rdi
	pop rsi
	pop rbp
	pop rbx
	pop rdx
	pop rcx
	pop rax
	add rsp, 16
	iretq

irq_common:				; vector, then RIP CS RFLAGS RSP SS: 16-aligned by the CPU
	push rax
	push rcx
	push rdx
	push rsi
	push rdi
	push r8
	push r9
	push r10
	push r11
	mov edi, [rsp + 72]		; the vector (RSP is 8 off the ABI: no SSE, nobody minds)
	cld
	call irq_dispatch
	pop r11
	pop r10
	pop r9
	pop r8
	pop rdi
	pop rsi
	pop rdx
	pop rcx
	pop rax
	add rsp, 8
	iretq

; int context_save(struct context *): 0 now, the value given to context_resume() later.
global context_save
context_save:
	mov rax, [rsp]
	mov [rdi], rax
	lea rax, [rsp + 8]
	mov [rdi + 8], rax
	mov [rdi + 16], rbx
	mov [rdi + 24], rbp
	mov [rdi + 32], r12
	mov [rdi + 40], r13
	mov [rdi + 48], r14
	mov [rdi + 56], r15
	xor eax, eax
	ret

; void context_resume(struct context *, int value)
global context_resume
context_resume:
	mov eax, esi
	mov rsp, [rdi + 8]
	mov rbx, [rdi + 16]
	mov rbp, [rdi + 24]
	mov r12, [rdi + 32]
	mov r13, [rdi + 40]
	mov r14, [rdi + 48]
	mov r15, [rdi + 56]
	jmp [rdi]

; uint64_t user_enter(uint64_t (*fn)(void *), void *arg, void *stack_top): runs fn(arg) at CPL 3.
; Interrupts and traps from there land below the frame kept here (TSS.RSP0).
global user_enter
user_enter:
	keep_callee_saved
	mov [user_kernel_rsp], rsp
	mov rax, rsp
	and rax, -16
	mov [tss + 4], rax
	pushfq
	pop rcx
	push SEL_USER_DATA
	push rdx
	push rcx
	push SEL_USER_CODE
	lea rcx, [user_code]
	push rcx
	mov rax, rdi
	mov rdi, rsi
	iretq

user_code:				; CPL 3
	call rax
user_end:
	ud2

; How CPL 0 is reached again: an exception is the one way that every host's KVM does right (some
; execute neither INT n nor SYSCALL).
invalid_opcode:
	push rax
	lea rax, [user_end]
	cmp [rsp + 8], rax
	pop rax
	je user_return
	push 0
	push 6
	jmp trap_common

user_return:
	mov rsp, [user_kernel_rsp]
	lea rcx, [trap_stack_top]
	mov [tss + 4], rcx
	restore_callee_saved
	ret

; Loads GDT and IDT, TR and the data selectors. Called once on the boot stack.
global gdt_load_segments
gdt_load_segments:
	lgdt [gdt_pointer]
	lea rax, [tss]
	mov [gdt_tss + 2], ax
	shr rax, 16
	mov [gdt_tss + 4], al
	mov [gdt_tss + 7], ah
	shr rax, 16
	mov [gdt_tss + 8], eax
	mov byte [gdt_tss + 5], 0x89	; available, not busy
	mov eax, SEL_DATA
	mov ds, eax
	mov es, eax
	mov ss, eax
	mov eax, SEL_TSS
	ltr ax
	lidt [idt_pointer]
	ret

; void idt_load(void): the runtime's IDT again, after a test has loaded its own.
global idt_load
idt_load:
	lidt [idt_pointer]
	ret

%ifdef EFI
; void gdt_enter(void): from the firmware's segments to ours.
global gdt_enter
gdt_enter:
	lgdt [gdt_pointer]
	pop rax
	push SEL_CODE
	push rax
	call gdt_load_segments
	retfq
%endif

section .data align=16
gdt:
	dq 0
	dq 0x00af9b000000ffff
	dq 0x00cf93000000ffff
	dq 0x00cff3000000ffff
	dq 0x00affb000000ffff
gdt_tss:
	dw 103, 0
	db 0, 0x89, 0, 0
	dq 0
gdt_end:
align 8
	dw 0, 0, 0
global gdt_pointer
gdt_pointer:
	dw gdt_end - gdt - 1
	dq gdt
align 8
	dw 0, 0, 0
global idt_pointer
idt_pointer:
	dw 256 * 16 - 1
	dq idt

align 16
	dd 0				; so that the 64-bit fields of the TSS are aligned
global tss
tss:
	dd 0
	dq trap_stack_top, 0, 0		; RSP0, RSP1, RSP2
	dq 0
	dq nmi_stack_top		; IST1: NMI and double fault
	times 6 dq 0
	dq 0
	dw 0, 104
user_kernel_rsp:
	dq 0

; Gates: interrupt gates, DPL 0; IST1 for 2 and 8.
section .idt write align=4096
global idt
idt:
%ifdef EFI
	times 512 dq 0
%else
%assign v 0
%rep 256
%assign address STUBS_BASE + v * STUB_SIZE
	dw address & 0xffff, SEL_CODE
%if v == 2 || v == 8
	db 1, 0x8e
%else
	db 0, 0x8e
%endif
	dw address >> 16
	dd 0, 0
%assign v v + 1
%endrep
%endif

section .bss align=16
	resb 4096
trap_stack_top:
	resb 4096
nmi_stack_top:
	resb 32768
global boot_stack_top
boot_stack_top:
section .note.GNU-stack noalloc noexec nowrite progbits
