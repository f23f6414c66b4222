# SPDX-License-Identifier: MIT
"""A machine that is saved in the middle of something goes on in another process: under the same
engine, and under the other one."""

KERNEL = "state"
PARTS = "mem:size=16M uart3 device:driver=pc-testdev"
PC = f"pc {PARTS} ide-hd:size=1M blk-pci:size=1M"
MICROVM = f"microvm {PARTS} blk-mmio:size=1M"
MACHINES = {
    "pc": PC,
    "pc-other": PC + " life:to=other",
    "microvm": MICROVM,
    "microvm-other": MICROVM + " life:to=other",
}
PEER = False  # what QEMU saves is not our business
NO_EFI = "the machine that is saved and loaded is ours, which has no UEFI"
OURS_ONLY = ("pc-other", "microvm-other")
