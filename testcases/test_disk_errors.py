# SPDX-License-Identifier: MIT
"""werror= and rerror=: a disk that is full on the host stops the VM, as QEMU does, and `cont` tries
the request again.  The guest, a kernel's TEST, sees a write that took its time."""

import errno
import os
import subprocess
from contextlib import contextmanager

import pytest

from harness.process import Running

MACHINES = {
    "ide-pio": ("ata_pio", "write_read_back", "pc", "ide-hd,drive=d,bus=ide.0,unit=0"),
    "ide-dma": ("ata_dma", "write_read_back", "pc", "ide-hd,drive=d,bus=ide.0,unit=0"),
    "virtio-pci": ("virtio_blk", "write_then_read", "pc", "virtio-blk-pci,drive=d,disable-legacy=on"),
    "iothread": (
        "virtio_blk", "write_then_read", "pc", "virtio-blk-pci,drive=d,disable-legacy=on,iothread=io0",
    ),
    "virtio-mmio": ("virtio_blk", "write_then_read", "microvm,acpi=off", "virtio-blk-device,drive=d"),
}  # fmt: skip
ROOM = 1 << 20


@pytest.fixture
def small(tmp_path):
    """A file system that is full, with an image of holes on it; `small.grow()` makes room."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "none", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no right to mount a small tmpfs")

    class Small:
        image = folder / "disk.img"

        @staticmethod
        def grow():
            subprocess.run(["mount", "-o", f"remount,size={16 * ROOM}", str(folder)], check=True)

    try:
        with open(Small.image, "wb") as image:
            image.truncate(8 << 20)
        with open(folder / "ballast", "wb") as ballast:
            try:
                while os.write(ballast.fileno(), bytes(4096)):
                    pass
            except OSError as error:
                assert error.errno == errno.ENOSPC
        yield Small
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def vm(vmm, bench, tmp_path, kind, image, drive="", device="", reboots=False):
    kernel, test, machine, words = MACHINES[kind]
    path = tmp_path / "qmp"
    line = [vmm.path, "-accel", vmm.accel, "-nodefaults", "-display", "none"]
    line += [] if reboots else ["-no-reboot"]
    line += ["-m", "128M", "-machine", machine, "-serial", "stdio", "-monitor", "none"]
    line += ["-cpu", "qemu64"] if vmm.is_qemu and vmm.accel == "kvm" else []
    line += ["-drive", f"if=none,id=d,format=raw,file={image}{drive}"]
    if kind == "iothread":
        line += ["-object", "iothread,id=io0"]
    if machine.startswith("microvm"):
        line += ["-global", "virtio-mmio.force-legacy=false"]
    line += ["-device", words + device, "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"]
    line += ["-kernel", bench.image(kernel), "-append", f"run={test}"]
    # Stopped first, so that no event is before the connection.
    line += ["-S", "-qmp", f"unix:{path},server=on,wait=off"]
    with Running(line, path) as running:
        running.test = test
        running.qmp.command("cont")
        yield running


@pytest.mark.parametrize("kind", MACHINES)
def test_a_full_disk_stops_the_vm_and_cont_tries_again(vmm, bench, small, tmp_path, kind):
    with vm(vmm, bench, tmp_path, kind, small.image) as running:
        qmp = running.qmp
        event = qmp.wait_event("BLOCK_IO_ERROR")["data"]
        assert event["device"] == "d"
        assert event["operation"] == "write"
        assert event["action"] == "stop"
        assert event["nospace"] is True
        assert event["reason"] == "No space left on device"
        qmp.wait_event("STOP")
        status = qmp.command("query-status")
        assert status["status"] == "io-error" and status["running"] is False
        info = qmp.command("human-monitor-command", **{"command-line": "info status"})
        assert info.strip() == "VM status: paused (io-error)"
        # Still full: the same once more.
        qmp.command("cont")
        assert qmp.wait_event("BLOCK_IO_ERROR")["data"]["action"] == "stop"
        qmp.wait_event("STOP")
        small.grow()
        qmp.command("cont")
        assert running.wait() == 1, running.stdout.decode()
        assert f"ok 1 {running.test}".encode() in running.stdout
        assert b"not ok" not in running.stdout
        assert running.error_lines() == []


@pytest.mark.parametrize("kind", ["ide-dma", "virtio-pci", "iothread"])
@pytest.mark.parametrize("where", ["drive", "device"])
def test_report_leaves_it_to_the_guest(vmm, bench, small, tmp_path, kind, where):
    with vm(vmm, bench, tmp_path, kind, small.image, **{where: ",werror=report"}) as running:
        event = running.qmp.wait_event("BLOCK_IO_ERROR")["data"]
        assert event["action"] == "report"
        assert running.wait() == 3, running.stdout.decode()  # the TEST fails: its write did
        assert b"not ok 1" in running.stdout


@pytest.mark.parametrize("kind", MACHINES)
def test_a_reset_ends_what_is_held(vmm, bench, small, tmp_path, kind):
    """The held request is the old guest's: the new one runs from its beginning on the same disk."""
    with vm(vmm, bench, tmp_path, kind, small.image, reboots=True) as running:
        qmp = running.qmp
        qmp.wait_event("STOP")
        qmp.command("system_reset")
        qmp.wait_event("RESET")
        assert qmp.command("query-status")["status"] == "prelaunch"
        small.grow()
        qmp.command("cont")
        assert running.wait() == 1, running.stdout.decode()
        assert running.stdout.count(b"# begin") == 2
        assert running.error_lines() == []


def test_quit_while_held(vmm, bench, small, tmp_path):
    with vm(vmm, bench, tmp_path, "iothread", small.image) as running:
        running.qmp.wait_event("STOP")
        running.qmp.command("quit")
        assert running.wait() == 0
        assert running.error_lines() == []
