/* SPDX-License-Identifier: MIT */
/* The boards that exist (board.c lists them). */
#ifndef BOARD_PC_H
#define BOARD_PC_H

#include "board/board.h"
#include "bus/pci.h"

extern const struct board_type board_pc, board_microvm;

/*
 * What firmware does to PCI before it starts a kernel: gives every BAR an address, routes PIRQs,
 * writes interrupt lines and lets the functions decode.  At start and after each reset.
 */
void pci_setup(struct pci_bus *bus);

#endif
