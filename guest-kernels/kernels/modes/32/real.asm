; SPDX-License-Identifier: MIT
;
; Kernel modes: code of 16 bits, for real mode, virtual-8086 mode and 16-bit protected mode. DS is
; STAGE_SEGMENT at entry; results go to the mailbox at DS:F000. A routine ends with RETF in real and
; 16-bit protected mode, with UD2 in virtual-8086 mode. No routine knows its own address.

%include "layout.inc"

%macro routine 1
align 16, int3
global %1
%1:
%endmacro

section .text
bits 16

; What the processor says of itself.
routine code_state
	mov [MAILBOX], cs
	mov [MAILBOX + 4], ss
	mov [MAILBOX + 8], sp
	smsw ax
	mov [MAILBOX + 12], ax
	pushf
	pop word [MAILBOX + 16]
	mov eax, 0x11112222
	mov ax, 0x3333			; the upper half stays
	mov [MAILBOX + 20], eax
	push 0x55
	mov [MAILBOX + 24], sp
	pop ax
	push dword 0x12345678
	mov [MAILBOX + 28], sp
	pop dword [MAILBOX + 32]
	call .next
.next:
	mov [MAILBOX + 36], sp
	add sp, 2
	retf

; DS anywhere: base is 16 times the selector.
routine code_segments
	mov ax, 0x6012
	mov es, ax
	mov word [es:0x0034], 0xbeef
	mov gs, ax
	mov bx, [gs:0x34]
	mov [MAILBOX], bx
	mov [MAILBOX + 4], gs
	push es
	pop fs
	mov [MAILBOX + 8], fs
	retf

; INT 21h, whose handler is code_handler.
routine code_int
	push dword 0x3202		; IF and IOPL, so that the handler's can be compared
	popfd
	mov bx, sp
	mov [MAILBOX + 0x20], bx
	int 0x21
	pushf
	pop word [MAILBOX + 0x24]
	cli
	mov [MAILBOX + 0x28], sp
	retf

routine code_handler
	mov [MAILBOX], sp
	pushf
	pop word [MAILBOX + 4]
	push bp
	mov bp, sp
	mov ax, [bp + 2]
	mov [MAILBOX + 8], ax
	mov ax, [bp + 4]
	mov [MAILBOX + 12], ax
	mov ax, [bp + 6]
	mov [MAILBOX + 16], ax
	pop bp
	iret

; Vectors of real mode: n, IP, CS, FLAGS, SP before into the mailbox, then out of real mode.
global code_vectors
align 16
code_vectors:				; 8 bytes each
%assign v 0
%rep 32
	align 8, nop
	push word v
	jmp near caught
%assign v v + 1
%endrep
caught:
	push ds
	push ax
	mov ax, STAGE_SEGMENT
	mov ds, ax
	pop ax
	pop word [MAILBOX + 0x14]	; DS
	pop word [MAILBOX]		; vector
	pop word [MAILBOX + 4]		; IP
	pop word [MAILBOX + 8]
	pop word [MAILBOX + 12]
	mov [MAILBOX + 16], sp
	mov [MAILBOX + 24], eax
	db 0xea				; JMP FAR, filled in by real.c
global code_caught_jump
code_caught_jump:
	dw 0, STAGE_SEGMENT

; Each of these faults.
routine code_ud
	ud2
routine code_de
	xor cx, cx
	div cx
routine code_limit
	mov bx, 0xffff
	mov ax, [bx]
routine code_limit_stack
	mov bp, 0xffff
	mov ax, [bp]
routine code_limit_dword
	mov ebx, 0x10000
	mov al, [ebx]
routine code_bound
	mov dword [MAILBOX + 0x40], 0x00050001
	mov ax, 6
	bound ax, [MAILBOX + 0x40]
	retf
routine code_into
	mov al, 0x7f
	inc al
	into
	retf
routine code_lldt
	lldt ax
routine code_str
	str ax
routine code_lar
	lar ax, bx
routine code_arpl
	arpl ax, bx
routine code_push_odd
	mov sp, 1
	push ax

; The stack pointer goes round: SS:0 down to SS:FFFE. SS is above the stage.
routine code_stack_wrap
	mov dx, ss
	mov cx, sp
	mov ax, 0x5f10
	mov ss, ax
	xor sp, sp
	push word 0x7788
	mov [MAILBOX], sp
	pop ax
	mov [MAILBOX + 4], sp
	mov ss, dx
	mov sp, cx
	mov [MAILBOX + 8], ax
	retf

; A string goes round at 64 KiB.
routine code_string_wrap
	mov ax, 0x5f10
	mov ds, ax
	mov byte [0xfffe], 1
	mov byte [0xffff], 2
	mov byte [0], 3
	mov byte [1], 4
	mov ax, STAGE_SEGMENT
	mov es, ax
	mov si, 0xfffe
	mov di, MAILBOX
	mov cx, 4
	cld
	rep movsb
	mov [es:MAILBOX + 8], si
	mov [es:MAILBOX + 12], cx
	retf

; Far call with 16 and with 32 bits; the target is pushed by hand.
routine code_far
	call .here
.here:
	pop ax
	add ax, .target - .here
	mov [MAILBOX + 0x40], ax
	mov [MAILBOX + 0x42], cs
	mov [MAILBOX], sp
	call far [MAILBOX + 0x40]
	mov [MAILBOX + 8], sp
	movzx eax, ax
	mov ax, [MAILBOX + 0x40]
	add ax, .target32 - .target
	mov [MAILBOX + 0x50], eax
	mov [MAILBOX + 0x54], cs
	call dword far [MAILBOX + 0x50]
	mov [MAILBOX + 16], sp
	retf
.target:
	mov [MAILBOX + 4], sp
	retf
.target32:
	mov [MAILBOX + 12], sp
	o32 retf

; Big real mode: a limit of 4 GiB loaded in protected mode stays.
routine code_unreal
	mov eax, cr0
	or al, 1
	mov cr0, eax
	mov bx, SEL_DATA32
	mov fs, bx
	and al, ~1
	mov cr0, eax
	mov ebx, 0x61234
	mov eax, [fs:ebx]
	mov [MAILBOX], eax
	mov ax, STAGE_SEGMENT
	mov fs, ax			; a new base, the old limit
	mov ebx, 0x11234
	mov eax, [fs:ebx]
	mov [MAILBOX + 4], eax
	mov [MAILBOX + 8], fs
	mov ax, SEL_DATA16		; and back to 64 KiB
	mov ecx, cr0
	or cl, 1
	mov cr0, ecx
	mov fs, ax
	and cl, ~1
	mov cr0, ecx
	retf

; SGDT and LGDT with 16-bit operands take 24 bits of base.
routine code_lgdt24
	sgdt [MAILBOX + 0x40]
	mov dword [MAILBOX + 0x52], 0xab060000
	mov word [MAILBOX + 0x50], 0x1f
	lgdt [MAILBOX + 0x50]
	sgdt [MAILBOX]
	o32 lgdt [MAILBOX + 0x40]
	retf

; LMSW sets PE and cannot clear it.
routine code_lmsw
	mov ax, 1
	lmsw ax
	smsw ax
	mov [MAILBOX], ax
	xor ax, ax
	lmsw ax
	smsw ax
	mov [MAILBOX + 4], ax
	mov eax, cr0
	and al, ~1
	mov cr0, eax
	smsw ax
	mov [MAILBOX + 8], ax
	retf

; IP goes round with a jump (JMP +0x13 at CS:FFF0 leads to CS:0005), but not by running on.
routine code_jump_wraps
	mov ax, 0x5f10
	mov es, ax
	mov word [es:0xfff0], 0x13eb	; to FFF2 + 13 = 0005
	mov byte [es:5], 0xcb		; retf
	push cs
	call .next
.next:
	pop ax
	add ax, .back - .next
	push ax
	push word 0x5f10
	push word 0xfff0
	retf
.back:
	mov word [MAILBOX], 0x600d
	retf

routine code_runs_over
	mov ax, 0x5f10
	mov es, ax
	mov word [es:0xfffe], 0x9090
	push word 0x5f10
	push word 0xfffe
	retf

; A near call of the routine at the mailbox's 0x800; BX + SI is at 0x900.
routine code_call_800
	mov bx, MAILBOX
	mov si, 0x900
	mov ax, MAILBOX + 0x800
	call ax
	mov [MAILBOX], eax
	retf

; Over 1 MiB: FFF0:0600 is 100500 with A20 on and 500 with it off.
routine code_high
	mov ax, 0xfff0
	mov es, ax
	mov eax, [es:0x600]
	mov [MAILBOX], eax
	retf

; --- virtual-8086 mode ---
routine v86_state
	mov [MAILBOX], cs
	mov [MAILBOX + 4], ds
	mov [MAILBOX + 8], sp
	smsw ax
	mov [MAILBOX + 12], ax
	mov ax, 0x6012
	mov fs, ax
	mov word [fs:0x34], 0xfeed
	ud2
routine v86_pushf
	pushf
	pop ax
	pushfd
	pop ebx
	ud2
routine v86_popf
	push word 0x0002
	popf
	pushf
	pop ax
	ud2
routine v86_cli
	cli
	pushf
	pop ax
	sti
	pushf
	pop bx
	ud2
routine v86_sti
	sti
	ud2
routine v86_int
	int 0x21
	ud2
routine v86_int3
	int3
	ud2
routine v86_iret
	push word 0x0202
	push cs
	call .next
.next:
	pop ax
	add ax, .back - .next
	push ax
	iret
.back:
	mov bx, 0x600d
	ud2
routine v86_hlt
	hlt
routine v86_mov_cr
	mov eax, cr0
routine v86_lgdt
	lgdt [MAILBOX]
routine v86_clts
	clts
routine v86_in61
	in al, 0x61
	ud2
routine v86_in60
	in al, 0x60
	ud2
routine v86_limit
	mov bx, 0xffff
	mov ax, [bx]
routine v86_lldt
	lldt ax
routine v86_ltr
	ltr ax
routine v86_lar
	lar ax, bx
routine v86_arpl
	arpl ax, bx
routine v86_far
	push word 0x5f10
	push word 0x0000
	retf				; what is there is UD2
section .note.GNU-stack noalloc noexec nowrite progbits
