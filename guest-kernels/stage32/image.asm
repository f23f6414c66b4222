; SPDX-License-Identifier: MIT
; A kernel's 32-bit stage as data of the 64-bit kernel (-DIMAGE="file").
section .rodata
global stage32_image
global stage32_image_end
align 16
stage32_image:
	incbin IMAGE
stage32_image_end:
section .note.GNU-stack noalloc noexec nowrite progbits
