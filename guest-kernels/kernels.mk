# SPDX-License-Identifier: MIT
# The guest half: build/kernels/NAME.elf and NAME.efi for each guest-kernels/kernels/NAME.c or folder.

.PHONY: kernels
kernels:
