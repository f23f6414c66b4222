; SPDX-License-Identifier: MIT
;
; A boot sector for emulators that have a BIOS and no -kernel (Bochs): copies a kernel image from the
; disk to its place above 1 MiB and enters it as Multiboot 1 says (3.2).  harness/benchbochs.py makes
; the disk: this sector with `entry`, `address` and `chunks` filled in, two sectors that become the
; information at 0x7000, and the image in chunks of 32 KiB.
;
; INT 13h extensions (EDD 1.1) read; the copy is by "unreal" mode: ES keeps a limit of 4 GiB.

bits 16
org 0x7c00

INFO	equ 0x7000
BUFFER	equ 0x1000		; segment
CHUNK	equ 64			; sectors

	jmp 0:start
start:
	cli
	xor ax, ax
	mov ds, ax
	mov es, ax
	mov ss, ax
	mov sp, 0x7000
	mov [drive], dl
	in al, 0x92		; A20
	or al, 2
	and al, 0xfe
	out 0x92, al
	lgdt [gdt_pointer]
	mov eax, cr0
	or al, 1
	mov cr0, eax
	mov bx, 0x10
	mov es, bx
	and al, 0xfe
	mov cr0, eax
	xor bx, bx
	mov es, bx
	sti

	mov si, packet		; the information first
	call read
	mov word [packet + 2], CHUNK
	mov dword [packet + 4], BUFFER << 16
	mov dword [packet + 8], 3
	mov edi, [address]
next:
	mov si, packet
	call read
	add dword [packet + 8], CHUNK
	push ds
	mov bx, BUFFER
	mov ds, bx
	xor bx, bx
	mov es, bx
	xor esi, esi
	mov ecx, CHUNK * 128
	cld
	a32 rep movsd
	pop ds
	dec word [chunks]
	jnz next

	cli
	mov eax, cr0
	or al, 1
	mov cr0, eax
	jmp dword 8:protected

read:
	push edi
	mov ah, 0x42
	mov dl, [drive]
	int 0x13
	pop edi
	jc $
	ret

bits 32
protected:
	mov bx, 0x10
	mov ds, bx
	mov es, bx
	mov fs, bx
	mov gs, bx
	mov ss, bx
	mov eax, 0x2badb002
	mov ebx, INFO
	jmp [entry]

align 8
gdt:
	dq 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdt_pointer:
	dw 23
	dd gdt
packet:
	dw 16, 2
	dw INFO, 0		; offset, segment
	dq 1			; the first sector
drive:
	db 0

	times 0x1f0 - ($ - $$) db 0
entry:
	dd 0
address:
	dd 0
chunks:
	dw 0
	times 510 - ($ - $$) db 0
	dw 0xaa55
