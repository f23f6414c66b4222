/* SPDX-License-Identifier: MIT */
/*
 * Included first in every file of NAME.efi: each symbol is in the image itself, so all of them are
 * reached relative to RIP and gnu-efi's start code, which knows one kind of relocation, is enough.
 */
#pragma GCC visibility push(hidden)
