# SPDX-License-Identifier: MIT
"""Back in a replayed run, by Debian's gdb: steps, breakpoints, watchpoints; and from there forward again to
the same end, with the same output, past the same comparisons with the log."""

import re
import shutil
import subprocess

import pytest

from harness import probe
from harness.machines import make_image
from harness.process import Running

MIB = 1 << 20
WATCHED = "random_state"  # written before each TEST
SESSIONS = {
    "runtime": "",
    "ata_dma": "-drive if=ide,file={disk},format=raw",
    "virtio_blk": "-drive if=none,id=v,file={disk},format=raw -device virtio-blk-pci,drive=v,disable-legacy=on",
    "smp": "-smp 4 -drive if=none,id=v,file={disk},format=raw -device virtio-blk-pci,drive=v,disable-legacy=on",
}

needs_gdb = pytest.mark.skipif(not shutil.which("gdb"), reason="no gdb")


@pytest.fixture
def soft(vmm):
    if vmm.accel != "soft" or vmm.is_qemu:
        pytest.skip("only the software processor of assay replays")
    return vmm


class Session:
    """A kernel recorded, then replayed under gdb."""

    def __init__(self, vmm, kernel, words, folder):
        self.folder, self.kernel = folder, kernel
        self.base = [vmm.path, "-accel", "soft,seed=3", "-nodefaults", "-display", "none", "-no-reboot"]
        self.base += ["-machine", "pc", "-m", "64", "-serial", "stdio", *words]
        self.base += ["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04", "-kernel", str(kernel)]
        self.recorded = subprocess.run(
            [*self.base, "-monitor", "none", *self.icount("record")],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        assert self.recorded.returncode in (1, 3) and not self.recorded.stderr, self.recorded

    def icount(self, mode):
        return ["-icount", f"shift=3,sleep=off,rr={mode},rrfile={self.folder}/log"]

    def gdb(self, *commands):
        """What gdb says; the run, which has gone on to its end then, is the one that was recorded."""
        qmp = self.folder / "qmp"
        line = [*self.base, *self.icount("replay"), "-S", "-gdb", f"unix:{self.folder}/gdb"]
        with Running([*line, "-qmp", f"unix:{qmp},server=on,wait=off"], qmp) as vm:
            assert vm.qmp.command("query-replay")["mode"] == "play"
            script = self.folder / "script"
            first = ["set pagination off", "set confirm off", f"target remote {self.folder}/gdb"]
            script.write_text("\n".join([*first, *commands, "delete", "continue"]) + "\n")
            done = subprocess.run(
                ["gdb", "-q", "-nx", "-batch", "-x", script, self.kernel],
                capture_output=True, text=True, timeout=120, check=False,
            )  # fmt: skip
            assert vm.wait() == self.recorded.returncode, (done.stdout, vm.stderr)
            assert (vm.stdout, vm.stderr) == (self.recorded.stdout, b""), done.stdout
        return done.stdout + done.stderr


@pytest.fixture
def session(soft, tmp_path):
    def begin(kernel, *more):
        make_image(tmp_path / "disk.img", 16 * MIB, "lba")
        words = SESSIONS[kernel].format(disk=tmp_path / "disk.img").split()
        return Session(soft, f"build/kernels/{kernel}.elf", [*words, *more], tmp_path)

    return begin


@needs_gdb
def test_steps(session):
    """As many back as forward: the same registers."""
    registers = 'printf "at %lx %lx %lx %lx\\n", $pc, $rsp, $rax, $eflags'
    out = session("runtime").gdb(
        "tbreak hash", "continue", registers, *["stepi"] * 30, registers, *["reverse-stepi"] * 30, registers,
        *["stepi"] * 30, registers,
    )  # fmt: skip
    found = re.findall(r"^at (.*)$", out, re.MULTILINE)
    assert len(found) == 4 and found[0] == found[2] != found[1] == found[3], out


@needs_gdb
@pytest.mark.parametrize("kernel", SESSIONS)
def test_watchpoint(session, kernel):
    """Each value that was seen on the way is seen again on the way back, the other way round."""
    steps = 5
    out = session(kernel).gdb(f"watch {WATCHED}", *["continue"] * steps, *["reverse-continue"] * (steps + 1))
    values = re.findall(r"^Old value = (\d+)\nNew value = (\d+)$", out, re.MULTILINE)
    assert len(values) == 2 * steps, out
    assert values[steps:] == [(new, old) for old, new in reversed(values[:steps])]
    assert "No more reverse-execution history" in out


@needs_gdb
def test_breakpoint(session):
    """Back to the call before; on four processors."""
    where = 'printf "at %lx %lx\\n", $pc, $rsp'
    out = session("smp", "-append", "run=all_to_all").gdb(
        "break *smp_ipi", *["continue", where] * 4, *["reverse-continue", where] * 3, "reverse-stepi", "info threads",
    )  # fmt: skip
    found = re.findall(r"^at (.*)$", out, re.MULTILINE)
    assert len(found) == 7 and found[4:] == found[2::-1], out


@needs_gdb
def test_serial_input(soft, tmp_path):
    """Over a byte that was typed, there and back: the log's place moves with the machine's."""
    subprocess.run(["nasm", "-f", "bin", "-o", tmp_path / "echo", "testcases/replay.asm"], check=True)
    image = tmp_path / "echo.elf"
    image.write_bytes(probe.pvh_elf((tmp_path / "echo").read_bytes()))
    session = Session.__new__(Session)
    session.folder, session.kernel = tmp_path, image
    session.base = [soft.path, "-accel", "soft,seed=3", "-nodefaults", "-display", "none", "-m", "32"]
    session.base += ["-serial", "stdio", "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04", "-kernel", str(image)]
    session.recorded = subprocess.run(
        [*session.base, "-monitor", "none", *session.icount("record")],
        input=b"abcq", capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    took = (tmp_path / "echo").read_bytes().index(b"\x89\xc1")  # mov ecx, eax: a byte was read
    out = session.gdb(
        f"break *{probe.LOAD + took}", *["continue", 'printf "byte %c\\n", $al'] * 4,
        *["reverse-continue", 'printf "byte %c\\n", $al'] * 3,
    )  # fmt: skip
    assert re.findall(r"^byte (.)$", out, re.MULTILINE) == list("abcqcba"), out


@needs_gdb
def test_translations_stay(soft, tmp_path):
    """Watchpoints that come and go do not make the processor forget translations: the guest would see it. What the
    probe device counts goes back, too."""
    subprocess.run(["nasm", "-f", "bin", "-o", tmp_path / "tlb", "testcases/tlb.asm"], check=True)
    image = tmp_path / "tlb.elf"
    image.write_bytes(probe.pvh_elf((tmp_path / "tlb").read_bytes()))
    session = Session(soft, image, ["-m", "32"], tmp_path)
    seen = (tmp_path / "tlb").read_bytes().index(b"\x89\x1d\x00\x00\x50\x00")  # mov [0x500000], ebx
    out = session.gdb(
        f"break *{probe.LOAD + seen}", "continue", "continue", "delete", "watch *(int *)0x500000", *["stepi"] * 12,
        "delete", *["stepi"] * 12, "watch *(int *)0x402000", *["stepi"] * 12, "delete", *["stepi"] * 12,
        "watch *(int *)0x500000", "continue", "reverse-continue",
    )  # fmt: skip
    assert "Remote failure" not in out and out.count("Old value") == 3, out


@needs_gdb
@pytest.mark.parametrize("change", ["set $rax = 1", "set var *(char *)0x100000 = 1"])
def test_nothing_is_changed(session, change):
    """Registers and memory are the recorded run's. (An error ends gdb's script, and gdb lets go.)"""
    out = session("runtime").gdb("stepi", "monitor info replay", change)
    assert "remote failure reply 'E01'" in out or "Cannot access memory" in out, out
    assert re.search(r"Replaying execution '.*/log': instruction count = 1\b", out), out


@needs_gdb
def test_back_from_the_end_of_the_log(soft, tmp_path):
    """The recorded run was ended by its monitor: gdb stops there, and goes back from there."""
    kernel, qmp = "build/kernels/timers.elf", tmp_path / "qmp"
    line = [soft.path, "-accel", "soft,seed=3", "-nodefaults", "-display", "none", "-m", "64", "-kernel", kernel]
    line += ["-serial", "stdio", "-qmp", f"unix:{qmp},server=on,wait=off", "-icount"]
    icount = f"shift=3,sleep=off,rrfile={tmp_path}/log,rr="
    with Running([*line, icount + "record"], qmp) as vm:
        vm.wait_text(b"ok 3 ")
        vm.qmp.command("quit")
        assert vm.wait() == 0
    qmp.unlink(missing_ok=True)
    with Running([*line, icount + "replay", "-S", "-gdb", f"unix:{tmp_path}/gdb"], qmp):
        script = tmp_path / "script"
        words = ["set pagination off", "set confirm off", f"target remote {tmp_path}/gdb"]
        script.write_text("\n".join([*words, "continue", "reverse-continue", "kill"]) + "\n")
        done = subprocess.run(
            ["gdb", "-q", "-nx", "-batch", "-x", script, kernel],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    said = done.stdout + done.stderr
    assert "Remote failure" not in said and said.count("No more reverse-execution history") == 2, said
