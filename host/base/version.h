/* SPDX-License-Identifier: MIT */
/* Assay's version, and the QEMU whose command line, monitor and device names it follows. */
#ifndef BASE_VERSION_H
#define BASE_VERSION_H

#define ASSAY_VERSION "0.1.0"

#define QEMU_MAJOR 7
#define QEMU_MINOR 2
#define QEMU_MICRO 0

#endif
