# SPDX-License-Identifier: MIT
"""`-icount rr=record|replay`: what came from outside comes again at the same instruction, a run that is
another one is found, and so is a log that is not for this machine or not whole."""

import ctypes
import ctypes.util
import os
import re
import shutil
import struct
import subprocess
import time

import pytest

from harness import probe
from harness.machines import make_image
from harness.process import Running
from harness.qmp import QmpClosed, QmpError

MIB = 1 << 20
STOPS = 100
REFUSED, OTHER_RUN = 1, 2  # exit statuses
GOOD = 1  # isa-debug-exit's

# kernel: what its machine has; the disk is written to, and must be the same afterwards
MACHINES = {
    "runtime": "-machine pc -m 32",
    "virtio_blk": "-machine pc -m 64 -object iothread,id=io0 -drive if=none,id=v,file={disk},format=raw "
    "-device virtio-blk-pci,drive=v,iothread=io0,disable-legacy=on",
    "smp": "-machine pc -m 64 -smp 4 -drive if=none,id=v,file={disk},format=raw "
    "-device virtio-blk-pci,drive=v,disable-legacy=on",
    "ata_dma": "-machine pc -m 64 -drive if=ide,file={disk},format=raw",
}


@pytest.fixture
def soft(vmm):
    if vmm.accel != "soft" or vmm.is_qemu:
        pytest.skip("only the software processor of assay records")
    return vmm


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    path = tmp_path_factory.mktemp("disk") / "disk.img"
    make_image(path, 16 * MIB, "lba")
    return path


@pytest.fixture
def echo(tmp_path):
    subprocess.run(["nasm", "-f", "bin", "-o", tmp_path / "echo", "testcases/replay.asm"], check=True)
    image = tmp_path / "echo.elf"
    image.write_bytes(probe.pvh_elf((tmp_path / "echo").read_bytes()))
    return image


class Machine:
    """Command lines of one machine that is recorded and replayed."""

    def __init__(self, vmm, kernel, folder):
        self.vmm, self.kernel, self.folder = vmm, kernel, folder
        self.log = folder / "log"
        self.count = 0

    def line(self, mode, *more, log=None):
        line = [self.vmm.path, "-accel", "soft,seed=5", "-nodefaults", "-display", "none", "-no-reboot"]
        line += ["-m", "32", "-serial", "stdio", "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"]
        line += ["-icount", f"shift=3,sleep=off,rr={mode},rrfile={log or self.log}"]
        return [*map(str, line), *map(str, more), "-kernel", str(self.kernel)]

    def start(self, mode, *more, env=None, **options):
        self.count += 1
        qmp = self.folder / f"qmp{self.count}"
        line = self.line(mode, "-qmp", f"unix:{qmp},server=on,wait=off", *more, **options)
        line.remove("-no-reboot")
        return Running(line, qmp, stdin=subprocess.PIPE, env=env)

    def run(self, mode, *more, log=None, given=b"", env=None):
        line = self.line(mode, "-monitor", "none", *more, log=log)
        env = {**os.environ, **(env or {})}
        return subprocess.run(line, input=given, env=env, capture_output=True, timeout=60, check=False)


@pytest.fixture
def machine(soft, echo, tmp_path):
    return Machine(soft, echo, tmp_path)


def type_in(vm, text, pause=0.02):
    for byte in text:
        vm.process.stdin.write(bytes([byte]))
        vm.process.stdin.flush()
        time.sleep(pause)


@pytest.mark.parametrize("kernel", MACHINES)
def test_kernels(soft, kernel, disk, tmp_path):
    """Disks, several processors: the same hashes, the same output; the image is as it was."""
    before = disk.read_bytes()
    machine = Machine(soft, f"build/kernels/{kernel}.elf", tmp_path)
    words = [*MACHINES[kernel].format(disk=disk).split(), "-d", "hash"]
    recorded = machine.run("record", *words)
    replayed = machine.run("replay", *words)
    assert recorded.returncode in (1, 3) and b"\n1.." in recorded.stdout, recorded.stderr
    assert (replayed.stdout, replayed.stderr) == (recorded.stdout, recorded.stderr)
    assert replayed.returncode == recorded.returncode
    assert disk.read_bytes() == before


def final(vm):
    return [line for line in vm.stderr.splitlines() if line.startswith(b"hash")][-1]


def record_session(machine):
    """Types, stops, resets, an NMI without a table (which resets, too); its output and last hash."""
    with machine.start("record", "-d", "hash") as vm:
        vm.wait_text(b">")
        type_in(vm, b"abc")
        vm.qmp.command("stop")
        type_in(vm, b"de")
        vm.qmp.command("cont")
        type_in(vm, b"f")
        vm.qmp.command("system_reset")
        vm.wait_for(lambda: vm.stdout.count(b">") == 2)
        type_in(vm, b"gh")
        vm.qmp.command("inject-nmi")
        vm.wait_for(lambda: vm.stdout.count(b">") == 3)
        type_in(vm, b"iq")
        assert vm.wait() == GOOD, vm.stderr
        return vm.stdout, final(vm)


def test_serial_input_and_a_monitor(machine):
    """Typed bytes, a reset, a pause: all at their instruction again. What is typed now is not seen."""
    recorded = record_session(machine)
    assert re.fullmatch(rb">(?:[a-f][a-p]{2}){5,6}>g[a-p]{2}h[a-p]{2}>i[a-p]{2}q[a-p]{3}\n", recorded[0])
    for pause in (False, True):
        with machine.start("replay", "-d", "hash", *["-S"] * pause) as vm:
            if pause:
                type_in(vm, b"qqqq", 0)
                with pytest.raises(QmpError, match="comes from the log"):
                    vm.qmp.command("system_reset")
                assert vm.qmp.command("query-status")["status"] == "prelaunch"
                vm.qmp.command("cont")
            assert vm.wait() == GOOD, vm.stderr
            assert (vm.stdout, final(vm)) == recorded


def test_commands_without_a_monitor(machine):
    """The log has commands; where it is replayed there is no monitor to give them."""
    recorded = record_session(machine)
    line = machine.line("replay", "-monitor", "none")
    line.remove("-no-reboot")
    done = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (GOOD, recorded[0]), done.stderr


def test_the_end(machine):
    """Who ended the recorded run: its monitor; nobody, because the process was killed."""
    with machine.start("record") as vm:
        vm.wait_text(b">")
        type_in(vm, b"ab")
        vm.qmp.command("quit")
        assert vm.wait() == 0
        recorded = vm.stdout
    assert machine.run("replay").returncode == 0
    assert machine.run("replay").stdout == recorded
    with machine.start("record") as vm:
        vm.wait_text(b">")
        type_in(vm, b"abh")
        vm.process.kill()
        vm.wait()
        recorded = vm.stdout
    with machine.start("replay") as vm:
        vm.wait_for(lambda: b"the log ends at instruction" in vm.stderr)
        assert vm.qmp.command("query-status")["status"] == "paused"
        assert recorded.startswith(vm.stdout)
        vm.qmp.command("cont")
        assert vm.qmp.command("query-status")["status"] == "paused"
        vm.qmp.command("quit")
        assert vm.wait() == 0


def test_a_guest_that_switches_itself_off(machine):
    """Under -no-shutdown it stood still until it was reset, and was ended by its monitor the second time."""
    with machine.start("record", "-no-shutdown", "-d", "hash") as vm:
        vm.wait_text(b">")
        type_in(vm, b"as")
        vm.wait_for(lambda: vm.qmp.command("query-status")["status"] == "shutdown")
        vm.qmp.command("system_reset")
        vm.qmp.command("cont")
        vm.wait_for(lambda: vm.stdout.count(b">") == 2)
        type_in(vm, b"bs")
        vm.wait_for(lambda: vm.qmp.command("query-status")["status"] == "shutdown")
        vm.qmp.command("quit")
        assert vm.wait() == 0
        recorded = vm.stdout, final(vm)
    with machine.start("replay", "-no-shutdown", "-d", "hash") as vm:
        assert vm.wait() == 0, vm.stderr
        assert (vm.stdout, final(vm)) == recorded


@pytest.mark.skipif(not shutil.which("gdb"), reason="no gdb")
def test_a_step_over_the_end(machine, tmp_path):
    """gdb's step of the instruction that switches the machine off, in a run that went on: one step, and it stands."""
    with machine.start("record", "-no-shutdown") as vm:
        vm.wait_text(b">")
        type_in(vm, b"s")
        vm.wait_for(lambda: vm.qmp.command("query-status")["status"] == "shutdown")
        vm.qmp.command("system_reset")
        vm.qmp.command("cont")
        vm.wait_for(lambda: vm.stdout.count(b">") == 2)
        vm.qmp.command("quit")
        assert vm.wait() == 0
    off = probe.LOAD + (tmp_path / "echo").read_bytes().index(b"\x66\xef")  # out dx, ax
    with machine.start("replay", "-no-shutdown", "-S", "-gdb", f"unix:{tmp_path}/gdb"):
        words = ["set confirm off", f"target remote {tmp_path}/gdb", f"break *{off}", "continue", "stepi", "print $pc"]
        words += ["monitor info status", "kill"]
        line = ["gdb", "-q", "-nx", "-batch", *[word for text in words for word in ("-ex", text)], str(machine.kernel)]
        done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    said = done.stdout + done.stderr
    assert f"= (void (*)()) {off + 2:#x}" in said and "paused (debug)" in said, said


def test_a_guest_that_ended_itself_is_looked_at(machine):
    """Recorded without -no-shutdown, replayed with it: the machine stands still where the guest switched it off."""
    with machine.start("record") as vm:
        vm.wait_text(b">")
        type_in(vm, b"as")
        assert vm.wait() == 0
    with machine.start("replay", "-no-shutdown") as vm:
        vm.wait_for(lambda: vm.qmp.command("query-status")["status"] == "shutdown")
        vm.qmp.command("quit")
        assert vm.wait() == 0
        assert not vm.stderr


def test_places_in_the_run(machine):
    """replay-seek and replay-break: forward, back, and forward again to the same registers and the recorded end."""
    recorded = record_session(machine)
    with machine.start("replay", "-d", "hash", "-S") as vm:

        def at(icount):
            vm.wait_for(lambda: vm.qmp.command("query-status")["status"] == "paused")
            assert vm.qmp.command("query-replay")["icount"] == icount
            return vm.qmp.command("human-monitor-command", **{"command-line": "info registers"})

        with pytest.raises(QmpError, match="no earlier place|in the past"):
            vm.qmp.command("replay-break", icount=0)
        vm.qmp.command("replay-seek", icount=1234567)
        there = at(1234567)
        vm.qmp.command("replay-break", icount=2345678)
        vm.qmp.command("cont")
        beyond = at(2345678)
        vm.qmp.command("replay-seek", icount=1234567)
        assert at(1234567) == there
        vm.qmp.command("human-monitor-command", **{"command-line": "replay_seek 2345678"})
        assert at(2345678) == beyond != there
        vm.qmp.command("replay-break", icount=2400000)
        vm.qmp.command("replay-delete-break")
        vm.qmp.command("cont")
        assert vm.wait() == GOOD, vm.stderr
        assert (vm.stdout, final(vm)) == recorded
    with machine.start("record") as vm:
        with pytest.raises(QmpError, match="play mode"):
            vm.qmp.command("replay-seek", icount=1)


def test_counts_go_back(soft, disk, tmp_path):
    """What query-stats counts is at a place what it was there the first time."""
    machine = Machine(soft, "build/kernels/virtio_blk.elf", tmp_path)
    words = MACHINES["virtio_blk"].format(disk=disk).split()
    assert machine.run("record", *words).returncode in (1, 3)
    with machine.start("replay", *words, "-S") as vm:

        def at(icount):
            vm.qmp.command("replay-seek", icount=icount)
            vm.wait_for(lambda: vm.qmp.command("query-replay")["icount"] == icount)
            vm.wait_for(lambda: vm.qmp.command("query-status")["status"] == "paused")
            return [vm.qmp.command("query-stats", target=target) for target in ("vm", "vcpu")]

        early, late = at(500000), at(1200000)
        assert at(500000) == early != late
        assert at(1200000) == late


def refused(machine, *more, log=None, status=REFUSED):
    """The one line that it says."""
    done = machine.run("replay", *more, log=log)
    lines = done.stderr.decode().splitlines()
    assert done.returncode == status and len(lines) == 1, done
    return lines[0]


def test_another_machine(machine, disk, tmp_path):
    image = tmp_path / "other.img"
    shutil.copy(disk, image)
    drive = ["-drive", f"file={image},format=raw,if=ide"]
    assert machine.run("record", *drive, given=b"q").returncode == GOOD
    assert machine.run("replay", *drive).returncode == GOOD
    assert "recorded with memory '33423360', this is '66977792'" in refused(machine, *drive, "-m", "64")
    assert "recorded with processors '1', this is '2'" in refused(machine, *drive, "-smp", "2")
    assert "recorded with seed '5', this is '6'" in refused(machine, *drive, "-accel", "soft,seed=6")
    assert "recorded with machine 'pc-i440fx-7.2', this is 'microvm'" in refused(machine, "-machine", "microvm")
    assert "recorded with append '', this is 'x'" in refused(machine, *drive, "-append", "x")
    assert "recorded with devices" in refused(machine, *drive, "-device", "pci-testdev")
    assert "recorded with cpu 'default', this is 'max'" in refused(machine, *drive, "-cpu", "max")
    with open(image, "r+b") as f:
        f.seek(5 * MIB)
        f.write(b"!")
    assert "recorded with drive ide0-hd0 '16777216 bytes, hash" in refused(machine, *drive)
    machine.kernel.write_bytes(machine.kernel.read_bytes() + b"!")
    assert "recorded with kernel 'hash" in refused(machine, *drive)


def test_what_cannot_be_recorded(machine, disk):
    def line(*words):
        line = [machine.vmm.path, "-display", "none", "-nodefaults", *map(str, words)]
        done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == REFUSED and len(done.stderr.splitlines()) == 1, done
        return done.stderr

    log = machine.log
    assert "Invalid icount rr option: other" in line("-icount", f"rr=other,rrfile={log}")
    assert "File name not specified" in line("-icount", "rr=record")
    assert "rrfile= needs rr=" in line("-icount", f"rrfile={log}")
    assert "'rrsnapshot' is not supported" in line("-icount", f"rr=record,rrfile={log},rrsnapshot=a")
    assert "hardware virtualization" in line("-accel", "kvm", "-icount", f"rr=record,rrfile={log}")
    assert "cannot create" in line("-icount", "rr=record,rrfile=/nowhere/log")
    assert "cannot open" in line("-icount", "rr=replay,rrfile=/nowhere/log")
    assert "exclude each other" in line("-icount", f"rr=record,rrfile={log}", "-incoming", "defer")
    node = f"driver=file,node-name=n,filename={disk}"
    assert "drive 'n' would be written to" in line("-icount", f"rr=record,rrfile={log}", "-blockdev", node)


class Log:
    """The bytes of a log, whose entries can be changed (their checksums with them)."""

    HEAD = struct.Struct("<8sIII")
    ENTRY = struct.Struct("<BBQQQIB")

    def __init__(self, path):
        self.bytes = bytearray(path.read_bytes())
        magic, version, traits, _ = self.HEAD.unpack_from(self.bytes)
        assert magic == b"ASSAYRR\x1a" and version == 1
        at = self.HEAD.size
        for _ in range(traits):
            name = self.bytes[at]
            at += 3 + name + struct.unpack_from("<H", self.bytes, at + 1 + name)[0]
        self.entries = []  # (offset, kind, name, offset of the payload, its length)
        while at < len(self.bytes):
            kind, _, _, _, _, length, name = self.ENTRY.unpack_from(self.bytes, at)
            start = at + self.ENTRY.size
            text = self.bytes[start : start + name].decode()
            self.entries.append((at, kind, text, start + name, length))
            at = start + name + length + 4

    def typed(self):
        """The first byte of serial input: device, what it is, the byte."""
        return next(e for e in self.entries if e[2] == "chardev" and e[4] == 3)

    def set(self, entry, offset, value):
        """One byte of an entry, from its beginning."""
        at, _, _, payload, length = entry
        self.bytes[at + offset] = value
        library = ctypes.CDLL(ctypes.util.find_library("xxhash") or "libxxhash.so.0")
        library.XXH3_64bits.restype = ctypes.c_uint64
        end = payload + length
        whole = bytes(self.bytes[at:end])
        total = library.XXH3_64bits(whole, ctypes.c_size_t(len(whole)))
        self.bytes[end : end + 4] = struct.pack("<I", total & 0xFFFFFFFF)


def test_another_run(machine, tmp_path):
    """What the log says is not what happens: the place, and what differs; status 2."""
    with machine.start("record") as vm:
        vm.wait_text(b">")
        type_in(vm, b"ab")
        vm.wait_for(lambda: machine.log.stat().st_size > 4000)  # comparisons behind them
        type_in(vm, b"q")
        assert vm.wait() == GOOD
    changed = tmp_path / "changed"

    def change(offset, value):
        log = Log(machine.log)
        entry = log.typed()
        log.set(entry, offset, value)
        changed.write_bytes(log.bytes)
        return refused(machine, log=changed, status=OTHER_RUN)

    payload = Log.ENTRY.size + len("chardev")

    # other input: everything behind it differs
    said = change(payload + 2, ord("z"))
    assert re.search(r"at instruction \d+ \(rip [0-9a-f]+\) it is not as recorded: .*output", said)
    assert "no place for" in change(payload, 9)
    assert "no place for" in change(payload + 1, 77)
    # the same input, 64 instructions away
    said = change(10, Log(machine.log).bytes[Log(machine.log).typed()[0] + 10] ^ 64)
    assert "not as recorded" in said or "has passed a place" in said


def test_hostile_logs(machine, tmp_path):
    """Cut, damaged, foreign: one line each, and nothing else happens."""
    assert machine.run("record", given=b"abq").returncode == GOOD
    good = machine.log.read_bytes()
    first = Log(machine.log).entries[0][0]
    bad = tmp_path / "bad"

    def said(data):
        bad.write_bytes(data)
        return refused(machine, log=bad)

    assert "not a log" in said(b"")
    assert "not a log" in said(b"ASSAYVM\x1a" + good[8:])
    assert "version 2" in said(good[:8] + b"\2" + good[9:])
    assert "ends in its head" in said(good[:40])
    assert "damaged" in said(good[:30] + b"\xff" + good[31:])
    assert f"damaged at byte {first}" in said(good[: first + 9] + b"\xff" + good[first + 10 :])
    assert "damaged" in said(good + good[first:])  # something behind the end
    assert "not a file" in refused(machine, log=tmp_path)


def test_errors_of_the_disk(soft, disk, tmp_path):
    """The host's disk was full when it was recorded, and is not when it is replayed: the guest sees the errors."""
    folder = tmp_path / "full"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a small tmpfs")
    machine = Machine(soft, "build/kernels/ata_dma.elf", tmp_path)
    drive = ["-drive", f"if=ide,format=raw,werror=report,file={disk}", "-append", "run=write_read_back"]
    try:
        (folder / "ballast").write_bytes(bytes(64 << 10))
        recorded = machine.run("record", *drive, env={"TMPDIR": str(folder)})
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
    replayed = machine.run("replay", *drive)
    assert b"not ok 1 write_read_back" in recorded.stdout, recorded
    assert (replayed.stdout, replayed.stderr) == (recorded.stdout, b"")
    assert b"\nok 1 write_read_back" in machine.run("record", *drive).stdout


def test_a_disk_that_waited_for_room(soft, disk, tmp_path):
    """werror=stop: it stood still until there was room and it was continued; a replay tries again where that was."""
    folder = tmp_path / "full"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a small tmpfs")
    machine = Machine(soft, "build/kernels/ata_dma.elf", tmp_path)
    drive = ["-drive", f"if=ide,format=raw,werror=stop,file={disk}", "-append", "run=write_read_back", "-d", "hash"]
    try:
        (folder / "ballast").write_bytes(bytes(64 << 10))
        with machine.start("record", *drive, env={**os.environ, "TMPDIR": str(folder)}) as vm:
            for again in range(2):
                vm.wait_for(lambda: vm.qmp.command("query-status")["status"] == "io-error")
                if again:
                    subprocess.run(["mount", "-o", "remount,size=16m", str(folder)], check=True)
                vm.qmp.command("cont")
            assert vm.wait() == GOOD, vm.stderr
            recorded = vm.stdout, final(vm)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
    with machine.start("replay", *drive) as vm:
        assert vm.wait() == GOOD, vm.stderr
        assert (vm.stdout, final(vm)) == recorded


def test_stops_are_not_seen(soft, disk, tmp_path):
    """A monitor that stops and continues all the time, with requests in flight and several processors."""
    machine = Machine(soft, "build/kernels/smp.elf", tmp_path)
    words = [*MACHINES["smp"].format(disk=disk).split(), "-d", "hash", "-no-reboot"]
    quiet = machine.run("record", *words)
    assert quiet.returncode == GOOD
    for mode in ("record", "replay"):
        with machine.start(mode, *words) as vm:
            stops = 0
            while stops < STOPS and vm.process.poll() is None:
                try:
                    vm.qmp.command("stop")
                    vm.qmp.command("cont")
                except (QmpClosed, OSError):
                    break
                stops += 1
                vm.poll()
            assert vm.wait() == GOOD, vm.stderr[-2000:]
            assert vm.stdout == quiet.stdout and stops > 1
            assert final(vm) == quiet.stderr.splitlines()[-1]
