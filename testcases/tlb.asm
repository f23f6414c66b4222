; SPDX-License-Identifier: MIT
; What test_reverse.py goes back and forth over: a 32-bit PVH guest with paging that clears the accessed
; bit of a page again and again, does not invalidate the page, reads it and counts how often the bit came
; back.  As long as the processor remembers the translation it does not; what forgets it shows in the count.
; At its end it prints how many instructions all that took, by the probe device.
bits 32
COM1	  equ 0x3f8
DIRECTORY equ 0x400000
TABLE	  equ 0x401000
PAGE	  equ 0x402000		; in the table, which covers 4 to 8 MiB; the rest is one large page
PROBE	  equ 0xa50
INSTRUCTIONS equ 8
ENTRY	  equ TABLE + 2 * 4
	mov esp, 0x9000
	mov dword [DIRECTORY], 0x83		; present, writable, 4 MiB
	mov dword [DIRECTORY + 4], TABLE + 3
	mov ecx, 1024
	mov edi, TABLE
	mov eax, 0x400003
fill:	stosd
	add eax, 0x1000
	loop fill
	mov eax, cr4
	or eax, 0x10				; PSE
	mov cr4, eax
	mov eax, DIRECTORY
	mov cr3, eax
	mov eax, cr0
	or eax, 0x80000000
	mov cr0, eax
	xor ebx, ebx
	mov ebp, 8
	mov dx, PROBE + 4
	mov eax, 1				; begin
	out dx, eax
round:	mov ecx, 400000
again:	and dword [ENTRY], ~0x20
	mov eax, [PAGE]
	mov eax, [ENTRY]
	and eax, 0x20
	add ebx, eax
	loop again
seen:	mov [0x500000], ebx			; once a round
	mov al, bl
	shr al, 5
	and al, 15
	add al, 'a'
	mov dx, COM1
	out dx, al
	dec ebp
	jnz round
	mov dx, PROBE + 4
	mov eax, 2				; end
	out dx, eax
	mov dx, PROBE + 0xc
	mov eax, 0x100 + INSTRUCTIONS		; of the region
	out dx, eax
	mov dx, PROBE + 0x10
	in eax, dx
	mov ecx, 8
digit:	rol eax, 4
	mov ebx, eax
	and al, 15
	add al, 'a'
	mov dx, COM1
	out dx, al
	mov eax, ebx
	loop digit
	xor eax, eax
	out 0xf4, al
