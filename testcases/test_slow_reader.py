# SPDX-License-Identifier: MIT
"""In virtual time the guest does not see how fast its output is read, and nothing of it is lost, however much."""

import socket
import time

import pytest

from harness.process import Running

GOOD = 1  # isa-debug-exit's
BYTES = 80 << 20


def test_a_long_output_waits_for_its_reader(vmm, tmp_path):
    """One request of more than is kept for a reader that is behind."""
    if vmm.accel != "soft" or vmm.is_qemu:
        pytest.skip("only the software processor of assay has virtual time")
    line = [vmm.path, "-accel", "soft,seed=1", "-nodefaults", "-display", "none", "-no-reboot", "-monitor", "none"]
    line += ["-serial", "stdio", "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04", "-m", "128"]
    line += ["-chardev", f"socket,id=c,path={tmp_path}/c,server=on,wait=on", "-device", "virtio-serial-pci"]
    line += ["-device", "virtconsole,chardev=c", "-kernel", "build/kernels/virtio_console.elf"]
    with Running([*line, "-append", "run=output_of_80_mib"]) as vm, socket.socket(socket.AF_UNIX) as peer:
        vm.wait_for(lambda: b"waiting for connection" in vm.stderr)
        peer.connect(f"{tmp_path}/c")
        time.sleep(0.5)  # a slow one; a quicker one would prove less
        got = 0
        while data := peer.recv(1 << 20):
            got += len(data)
        assert vm.wait() == GOOD, vm.stdout
        assert got == BYTES
