# SPDX-License-Identifier: MIT
"""More than one processor: start, interprocessor interrupts, memory, device interrupts anywhere."""

KERNEL = "smp"
DISK = "{}:size=1M,num-queues=1"
MACHINES = {
    "pc": "pc smp:cpus=4 " + DISK.format("blk-pci"),
    "two": "pc smp:cpus=2 " + DISK.format("blk-pci"),
    "sixteen": "pc smp:cpus=16 " + DISK.format("blk-pci"),
    "microvm": "microvm smp:cpus=4 " + DISK.format("blk-mmio"),
    "x2apic": "pc smp:cpus=4 cpu:model=max",
}
ORDER = "the software processors take turns on one thread, and under KVM the order is the host's: no seam"
NO_FAULTS = {
    "mfence_orders_store_and_load": ORDER,
    "stores_are_seen_in_order": ORDER,
    "quadword_is_whole": ORDER,
    "reset_while_others_run": "runs in test_smp_host.py, where its machine may reset",
}
