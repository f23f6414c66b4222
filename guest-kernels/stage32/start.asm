; SPDX-License-Identifier: MIT
;
; The 32-bit stage: from the 64-bit kernel into 32-bit protected mode without paging and back (Intel
; SDM volume 3, 9.8.5), traps there, and the ways into real mode, virtual-8086 mode and CPL 3.
; Linked at STAGE_BASE, copied there before each use.

%include "layout.inc"
%include "callee.inc"

extern stage_tables
extern stage_trap
extern stage_gdt
extern stage_idt
extern stage_tss
extern stage_df_tss
extern stage_tests_start
extern stage_tests_stop
extern stage_result

section .head progbits alloc exec write align=16
; What the 64-bit side reads (struct stage32_head of runtime/stage32.h).
head:
	dd 0x32335453			; "ST32"
	dd enter64
	dd stage_tests_start
	dd stage_tests_stop
	dd stage_result

; void enter64(uint32_t function): called as a function of the 64-bit kernel.
bits 64
enter64:
	keep_callee_saved
	cli
	mov [abs dword saved_rsp], rsp
	mov [abs dword function], edi
	sgdt [abs dword saved_gdt]
	sidt [abs dword saved_idt]
	mov rax, cr0
	mov [abs dword saved_cr0], rax
	mov rax, cr3
	mov [abs dword saved_cr3], rax
	mov rax, cr4
	mov [abs dword saved_cr4], rax
	mov ecx, 0xc0000080
	rdmsr
	mov [abs dword saved_efer], eax
	mov [abs dword saved_efer + 4], edx
	str [abs dword saved_tr]
	mov [abs dword saved_cs], cs
	mov [abs dword saved_ss], ss
	lgdt [abs dword stage_gdt_pointer]
	jmp far dword [abs dword to_compat]

bits 32
compat:					; compatibility mode
	mov eax, SEL_DATA32
	mov ss, eax
	mov ds, eax
	mov es, eax
	mov esp, STACK_TOP
	mov eax, cr0
	and eax, 0x7fffffff
	mov cr0, eax			; paging off: long mode is not active any more
	jmp .flushed
.flushed:
	mov ecx, 0xc0000080
	rdmsr
	and eax, ~0x100			; LME
	wrmsr
	xor eax, eax
	mov cr4, eax
	mov fs, eax
	mov gs, eax
	lldt ax
	call stage_tables
	lidt [stage_idt_pointer]
	mov eax, SEL_TSS
	ltr ax
	call [function]

; void stage_leave(void): from CPL 0 of protected mode, whatever the paging, back to the kernel.
global stage_leave
stage_leave:
	cli
	cld
	mov eax, SEL_DATA32
	mov ss, eax
	mov ds, eax
	mov esp, STACK_TOP
	push dword 2
	popfd
	lgdt [stage_gdt_pointer]
	mov eax, cr0
	and eax, 0x7fffffff
	mov cr0, eax
	jmp .flushed
.flushed:
	mov eax, [saved_cr4]
	and eax, ~0x20000		; PCIDE only with long mode active
	mov cr4, eax
	mov eax, [saved_cr3]
	mov cr3, eax
	mov ecx, 0xc0000080
	mov eax, [saved_efer]
	and eax, ~0x400
	mov edx, [saved_efer + 4]
	wrmsr
	mov eax, [saved_cr0]
	mov cr0, eax
	jmp SEL_CODE64:.long
bits 64
.long:
	mov rax, [abs dword saved_cr4]
	mov cr4, rax
	lgdt [abs dword saved_gdt]
	lidt [abs dword saved_idt]
	mov eax, [abs dword saved_ss]
	mov ss, eax
	mov ds, eax
	mov es, eax
	movzx eax, word [abs dword saved_tr]
	mov rcx, [abs dword saved_gdt + 2]
	and byte [rcx + rax + 5], ~2	; not busy, or LTR refuses it
	ltr ax
	mov rsp, [abs dword saved_rsp]
	movzx eax, word [abs dword saved_cs]
	push rax
	lea rax, [rel .kernel]
	push rax
	retfq
.kernel:
	restore_callee_saved
	ret

; --- traps ---
section .text
bits 32
global stage_stubs
stage_stubs:				; 16 bytes each
%assign v 0
%rep 64
	align 16, nop
%if v != 8 && (v < 10 || v > 14) && v != 17
	push dword 0
%endif
	push dword v
	jmp near trap_entry
%assign v v + 1
%endrep

trap_entry:					; struct trap of stage32.h
	pushad
	push ds
	push es
	push fs
	push gs
	mov eax, SEL_DATA32
	mov ds, eax
	mov es, eax
	cld
	mov eax, esp
	mov edx, ss
	cmp edx, SEL_DATA16		; C needs a flat stack
	jne .flat
	movzx eax, ax
	add eax, STAGE_BASE
	mov edx, SEL_DATA32
	mov ss, edx
	mov esp, eax
.flat:
	push eax
	call stage_trap
	add esp, 4
	pop gs
	pop fs
	pop es
	pop ds
	popad
	add esp, 8
	iretd

; The double fault's task: the frame is empty, the state of before is in the other TSS.
global stage_df_entry
stage_df_entry:
	pop eax				; the error code
	pushfd
	and dword [esp], ~0x4000	; NT
	popfd
	push dword 2
	push dword SEL_CODE32
	push dword 0
	push eax
	push dword 8
	jmp trap_entry

; int stage_save(struct context *), void stage_resume(struct context *)
global stage_save
stage_save:
	mov edx, [esp + 4]
	mov eax, [esp]
	mov [edx], eax
	lea eax, [esp + 4]
	mov [edx + 4], eax
	mov [edx + 8], ebx
	mov [edx + 12], esi
	mov [edx + 16], edi
	mov [edx + 20], ebp
	xor eax, eax
	ret

global stage_resume
stage_resume:
	mov edx, [esp + 4]
	mov eax, SEL_DATA32
	mov ss, eax
	mov ds, eax
	mov es, eax
	mov esp, [edx + 4]
	mov ebx, [edx + 8]
	mov esi, [edx + 12]
	mov edi, [edx + 16]
	mov ebp, [edx + 20]
	push dword 2
	popfd
	mov eax, 1
	push dword SEL_CODE32		; the handler's may be another
	push dword [edx]
	retf

; void stage_user(void (*eip)(void), uint32_t esp, uint32_t eflags): at CPL 3; comes back by a trap.
global stage_user
stage_user:
	mov ecx, [esp + 4]
	mov edx, [esp + 8]
	mov ebx, [esp + 12]
	mov eax, 0x3b
	mov ds, eax
	mov es, eax
	push dword 0x3b
	push edx
	push ebx
	push dword 0x33
	push ecx
	iretd

; void stage_v86(const struct v86 *): into virtual-8086 mode; comes back by a trap.
global stage_v86
stage_v86:
	mov ebp, [esp + 4]
	push dword [ebp + 52]		; gs
	push dword [ebp + 48]
	push dword [ebp + 44]
	push dword [ebp + 40]
	push dword [ebp + 36]		; ss
	push dword [ebp + 32]		; sp
	push dword [ebp + 28]		; eflags
	push dword [ebp + 24]		; cs
	push dword [ebp + 20]		; ip
	mov eax, [ebp]
	mov ebx, [ebp + 4]
	mov ecx, [ebp + 8]
	mov edx, [ebp + 12]
	mov esi, [ebp + 16]
	iretd

; --- real mode ---
section .head
; void stage_real(void *code, uint32_t ivt): code by near CALL in real mode at CS = address / 16, DS =
; ES = STAGE_SEGMENT, the vectors at ivt; interrupts off. From 32-bit mode without paging.
global stage_real
stage_real:
	pushad
	mov eax, [esp + 36]
	mov edx, [esp + 40]
	mov [real_ivt + 2], edx
	mov edx, eax
	shr edx, 4
	and eax, 15
	mov [real_target], ax
	mov [real_target + 2], dx
	mov [real_esp], esp
	lidt [real_ivt]
	jmp SEL_CODE16:(.protected16 - head)
bits 16
.protected16:
	mov ax, SEL_DATA16
	mov ds, ax
	mov es, ax
	mov fs, ax
	mov gs, ax
	mov ss, ax
	mov esp, STACK16_TOP
	mov eax, cr0
	and al, ~1
	mov cr0, eax
	jmp STAGE_SEGMENT:(.real - head)
.real:
	mov ax, STAGE_SEGMENT
	mov ds, ax
	mov es, ax
	mov ss, ax
	mov sp, STACK16_TOP
	call far [real_target - head]
; The routine returns by RETF with any DS.
global stage_real_back
stage_real_back:
	cli
	mov ax, STAGE_SEGMENT
	mov ds, ax
	o32 lgdt [stage_gdt_pointer - head]
	mov eax, cr0
	or al, 1
	mov cr0, eax
	jmp dword SEL_CODE32:.protected32
bits 32
.protected32:
	mov eax, SEL_DATA32
	mov ds, eax
	mov es, eax
	mov ss, eax
	mov esp, [real_esp]
	xor eax, eax
	mov fs, eax
	mov gs, eax
	lidt [stage_idt_pointer]
	push dword 2
	popfd
	popad
	ret

; void stage_code16(void *code): code by near CALL in 16-bit protected mode, CS = SEL_CODE16, the
; others SEL_DATA16; it returns by RETF with 16-bit operands.
global stage_code16
stage_code16:
	pushad
	mov eax, [esp + 36]
	sub eax, STAGE_BASE
	mov [code16_target], ax
	mov [real_esp], esp
	jmp SEL_CODE16:(.go - head)
bits 16
.go:
	mov ax, SEL_DATA16
	mov ds, ax
	mov es, ax
	mov ss, ax
	mov esp, STACK16_TOP
	call far [code16_target - head]
	jmp dword SEL_CODE32:.back
bits 32
.back:
	mov eax, SEL_DATA32
	mov ds, eax
	mov es, eax
	mov ss, eax
	mov esp, [real_esp]
	push dword 2
	popfd
	popad
	ret

align 8
saved_rsp:	dq 0
saved_cr0:	dq 0
global saved_cr3
saved_cr3:	dq 0
saved_cr4:	dq 0
saved_efer:	dq 0
saved_tr:	dq 0
saved_cs:	dq 0
saved_ss:	dq 0
saved_gdt:	dq 0, 0
saved_idt:	dq 0, 0
function:	dd 0
to_compat:	dd compat
		dw SEL_CODE32
real_target:	dd 0
code16_target:	dw 0, SEL_CODE16
real_esp:	dd 0
align 4
		dw 0
real_ivt:	dw 0x3ff
		dd 0
align 4
		dw 0
global stage_gdt_pointer
stage_gdt_pointer:
		dw 64 * 8 - 1
		dd stage_gdt
		dd 0
align 4
		dw 0
global stage_idt_pointer
stage_idt_pointer:
		dw 64 * 8 - 1
		dd stage_idt
section .note.GNU-stack noalloc noexec nowrite progbits
