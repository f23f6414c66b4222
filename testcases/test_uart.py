# SPDX-License-Identifier: MIT
"""The 16550A on COM2: registers, interrupts and FIFOs, in loopback."""

KERNEL = "uart"
COM2 = "device:driver=isa-serial,iobase=0x2f8,irq=3,index=1"
MACHINES = {"pc": f"pc {COM2}", "microvm": f"microvm {COM2}"}
