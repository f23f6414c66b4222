# SPDX-License-Identifier: MIT
"""`kill -9` in the middle of writes: what the guest did not write stays as it was, what it wrote is
there whole or not at all, and with snapshot=on nothing ever reaches the image."""

import os
import signal
import struct
import time

import pytest

from harness.machines import make_image
from harness.process import PATIENCE, Running

BENCH = "build/kernels/bench.elf"
MIB = 1 << 20
SIZE = 16 * MIB
BLOCK = 4096  # the kernel writes aligned blocks of this size in the first half

DISKS = {
    "virtio": "-object iothread,id=io0 -drive if=none,id=v,file={},format=raw{} "
    "-device virtio-blk-pci,drive=v,iothread=io0,disable-legacy=on",
    "ata": "-drive if=ide,file={},format=raw{}",
}
TESTS = {"virtio": "virtio_write_4k_32", "ata": "dma_write_4k_1"}


def machine(vmm, disk, image, extra):
    line = vmm.command(["-machine", "pc", "-m", "64"])
    line += DISKS[disk].format(image, extra).split()
    return line + ["-kernel", BENCH, "-append", f"ms=60000 ctl=0 run={TESTS[disk]}"]


def sector(number):
    return struct.pack("<Q", number) * 64


def is_whole(block, number):
    """Untouched, or what the kernel writes: its sector number at the start, and at its last sector."""
    first = number * BLOCK // 512
    if block == b"".join(sector(first + n) for n in range(8)):
        return True
    head, tail = struct.unpack_from("<Q", block, 0)[0], struct.unpack_from("<Q", block, 3584)[0]
    return (head, tail) == (first, first + 7)


def killed_amid_writes(vmm, disk, image, extra):
    untouched = os.stat(image).st_mtime_ns
    with Running(machine(vmm, disk, image, extra)) as vm:
        vm.wait_text(b"# begin", 60)
        deadline = time.monotonic() + PATIENCE
        while os.stat(image).st_mtime_ns == untouched and "snapshot" not in extra:
            assert time.monotonic() < deadline, "nothing was written"
            time.sleep(0.05)
        time.sleep(1.0)  # there is no event to wait for: anywhere in the middle is right
        vm.signal(signal.SIGKILL)
        vm.wait()
        assert b"ok 1" not in vm.stdout


@pytest.mark.parametrize("disk, extra", [("virtio", ""), ("virtio", ",cache=none"), ("ata", "")])
def test_killed_amid_writes(vmm, tmp_path, disk, extra):
    if vmm.missing:
        pytest.skip(vmm.missing)
    image = tmp_path / "disk.img"
    make_image(image, SIZE, "lba")
    before = image.read_bytes()
    killed_amid_writes(vmm, disk, image, extra)
    after = image.read_bytes()
    assert len(after) == SIZE
    assert after[SIZE // 2 :] == before[SIZE // 2 :]
    assert after != before  # it was amid writes
    for number in range(SIZE // 2 // BLOCK):
        block = after[number * BLOCK : (number + 1) * BLOCK]
        assert is_whole(block, number), f"block {number} is torn"


def test_a_snapshot_never_reaches_the_image(vmm, tmp_path):
    if vmm.missing:
        pytest.skip(vmm.missing)
    image = tmp_path / "disk.img"
    make_image(image, SIZE, "lba")
    before = image.read_bytes()
    killed_amid_writes(vmm, "virtio", image, ",snapshot=on")
    assert image.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["disk.img"]
