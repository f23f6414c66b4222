; SPDX-License-Identifier: MIT
; A multiboot kernel that no compiler made, so that its run can be compared with a recorded hash on
; any host (test_determinism.py): integer and x87 work, RDRAND, timers, port reads, a code change.
	bits 32
	org 0x100000

MAGIC	equ 0x1badb002
FLAGS	equ 0x10000

header:	dd MAGIC, FLAGS, -(MAGIC + FLAGS)
	dd header, header, end, end, start

start:	mov esp, end + 4096
	fninit
	fld1
	fldpi
	xor esi, esi
	mov edi, 200000
.loop:	rdtsc
	add esi, eax
	rol esi, 5
	mov ecx, edi
	and ecx, 0xfff
	mov [end + 8192 + ecx * 4], esi
	fsincos
	faddp
	test edi, 0x3ff
	jnz .next
	in al, 0x40			; the PIT counts on
	add esi, eax
	mov al, '.'
	mov dx, 0x3f8
	out dx, al
	xor byte [.changed + 1], 1	; the next instruction's operand
.changed:
	add esi, 2
.next:	dec edi
	jnz .loop
	fstp qword [end + 4096]
	mov al, 0
	out 0xf4, al
	cli
	hlt
end:
