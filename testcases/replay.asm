; SPDX-License-Identifier: MIT
; What test_replay.py records: a 32-bit PVH guest that echoes each byte of its serial line, and
; behind it how long it has waited for it, so that what it prints depends on the instruction at which
; input came.  'q' prints the second of the real-time clock and ends; 'h' halts until an interrupt; 's'
; switches the machine off.
bits 32
COM1	equ 0x3f8
	mov esp, 0x9000
	mov al, '>'
	call print
	xor ebx, ebx
wait_for_byte:
	inc ebx
	mov dx, COM1 + 5
	in al, dx
	test al, 1
	jz wait_for_byte
	mov dx, COM1
	in al, dx
	mov ecx, eax
	call print
	mov al, bl
	call print_nibble
	mov al, bh
	call print_nibble
	cmp cl, 'h'
	je halt
	cmp cl, 's'
	je off
	cmp cl, 'q'
	jne wait_for_byte
	xor eax, eax
	out 0x70, al
	in al, 0x71
	call print_nibble
	mov al, 10
	call print
	xor eax, eax
	out 0xf4, al
off:
	mov dx, 0x604			; the chipset's PM1a control: S5, now
	mov ax, 0x2000
	out dx, ax
	jmp wait_for_byte
halt:
	hlt
	jmp halt
print_nibble:
	and al, 15
	add al, 'a'
print:
	mov dx, COM1
	out dx, al
	ret
