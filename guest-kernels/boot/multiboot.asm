; SPDX-License-Identifier: MIT
;
; The Multiboot 1 header (section 3.1), linked into NAME.mb.elf only: QEMU takes any file that has one
; for a 32-bit multiboot image and would refuse NAME.elf. Flags: page-aligned modules, memory map.

%define MAGIC	0x1badb002
%define FLAGS	3

section .multiboot alloc noexec nowrite progbits align=4
	dd MAGIC, FLAGS, -(MAGIC + FLAGS) & 0xffffffff
section .note.GNU-stack noalloc noexec nowrite progbits
