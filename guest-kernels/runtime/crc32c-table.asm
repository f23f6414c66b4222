; SPDX-License-Identifier: MIT
;
; Tables of CRC-32C (polynomial 0x1edc6f41, reflected 0x82f63b78) for slicing by 8: row k, column i is the
; remainder of byte i followed by k zero bytes.

section .rodata align=64
global crc32c_table
crc32c_table:
%assign k 0
%rep 8
%assign i 0
%rep 256
%if k == 0
%assign crc i
%else
%assign crc remainder_%[i]
%endif
%rep 8
%assign crc (crc >> 1) ^ (0x82f63b78 * (crc & 1))
%endrep
%assign remainder_%[i] crc
	dd crc
%assign i i + 1
%endrep
%assign k k + 1
%endrep
section .note.GNU-stack noalloc noexec nowrite progbits
