# SPDX-License-Identifier: MIT
"""One image, two programs: a writer keeps every other program out, readers share.

Ours, QEMU and qemu-img must keep each other out, whichever comes first (docs: the same byte-range
locks as QEMU's)."""

import shutil
import signal
import subprocess

import pytest

from harness import probe
from harness.process import PATIENCE, Running

QEMU = "qemu-system-x86_64"
IN_USE = "Is another process using the image"


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(8 << 20))
    (tmp_path / "ready.elf").write_bytes(probe.pvh_elf(probe.prints(b"ready\n") + probe.HALT))
    return path


def machine(vmm, image, drive_options=""):
    """A VM that says "ready" and stays, with the image as its disk (ATA has no read-only disks)."""
    disk = ["-drive", f"file={image},format=raw{drive_options}"]
    if "readonly" in drive_options:
        disk = ["-drive", f"{disk[1]},if=none,id=d", "-device", "virtio-blk-pci,drive=d,disable-legacy=on"]
    cpu = ["-cpu", "qemu64"] if vmm.is_qemu and vmm.accel == "kvm" else []
    return [
        vmm.path, *cpu, "-accel", vmm.accel, "-machine", "pc", "-m", "64M",
        "-nodefaults", "-display", "none", "-serial", "stdio", "-monitor", "none",
        "-kernel", image.parent / "ready.elf",
        *disk,
    ]  # fmt: skip


def qemu(image, drive_options=""):
    class Peer:
        path, accel, is_qemu = QEMU, "tcg", True

    return machine(Peer, image, drive_options)


def refused(line, lines=1):
    done = subprocess.run(
        list(map(str, line)), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 1, (line, done)
    assert IN_USE in done.stderr, done.stderr
    assert len(done.stderr.splitlines()) == lines, done.stderr
    return done.stderr


def needs(program):
    if not shutil.which(program):
        pytest.skip(f"no {program}")


def test_a_running_vm_keeps_another_of_its_kind_out(vmm, image):
    with Running(machine(vmm, image)) as vm:
        vm.wait_text(b"ready")
        text = refused(machine(vmm, image), 2 if vmm.is_qemu else 1)
        assert 'Failed to get "write" lock' in text
        text = refused(machine(vmm, image, ",readonly=on"), 2 if vmm.is_qemu else 1)
        assert 'Failed to get shared "write" lock' in text


def test_a_running_vm_keeps_qemu_out(vmm, image):
    needs(QEMU)
    with Running(machine(vmm, image)) as vm:
        vm.wait_text(b"ready")
        refused(qemu(image), 2)
        refused(qemu(image, ",readonly=on"), 2)


@pytest.mark.parametrize(
    "command", ["resize -f raw {} 16M", "convert -f raw -O raw {0} {0}.copy", "commit -f raw {}"]
)
def test_a_running_vm_keeps_qemu_img_out(vmm, image, command):
    needs("qemu-img")
    words = ["qemu-img", *(word.format(image) for word in command.split())]
    with Running(machine(vmm, image)) as vm:
        vm.wait_text(b"ready")
        refused(words, 2)


def test_qemu_keeps_us_out(vmm, image):
    needs(QEMU)
    with Running(qemu(image)) as peer:
        peer.wait_text(b"ready")
        refused(machine(vmm, image), 2 if vmm.is_qemu else 1)
        refused(machine(vmm, image, ",snapshot=on"), 2 if vmm.is_qemu else 1)


def test_readers_share(vmm, image):
    needs(QEMU)
    with Running(machine(vmm, image, ",readonly=on")) as first:
        first.wait_text(b"ready")
        with Running(qemu(image, ",readonly=on")) as second:
            second.wait_text(b"ready")
        refused(qemu(image), 2)


def test_a_killed_vm_holds_nothing(vmm, image):
    with Running(machine(vmm, image)) as vm:
        vm.wait_text(b"ready")
        vm.signal(signal.SIGKILL)
        vm.wait()
    with Running(machine(vmm, image)) as vm:
        vm.wait_text(b"ready")


def test_locking_off_is_the_users_word(vmm, image):
    with Running(machine(vmm, image)) as vm:
        vm.wait_text(b"ready")
        with Running(machine(vmm, image, ",file.locking=off")) as second:
            second.wait_text(b"ready")
