# SPDX-License-Identifier: MIT
"""The gdb stub of both engines, by Debian's gdb and, for what gdb never sends, by packets of our own."""

import random
import re
import shutil
import signal
import socket
import subprocess
import time

import pytest

from harness import probe
from harness.process import PATIENCE, Running

RUNTIME = "build/kernels/runtime.elf"
SMP = "build/kernels/smp.elf"
GOOD = 1  # isa-debug-exit's status when every TEST was good
# Prints a dot for each turn of a loop that is long enough for a serial port.
TICKS = b"\x66\xba\xf8\x03" + b"\xb0.\xee" + b"\xb9\x00\x10\x00\x00\xff\xc9\x75\xfc" + b"\xeb\xf2"

needs_gdb = pytest.mark.skipif(not shutil.which("gdb"), reason="no gdb")


@pytest.fixture(params=[0, 1], ids=["first", "second"])
def vmm(bench, request):
    """Each engine of the run: both have a stub's other half of their own."""
    if request.param >= len(bench.vmms):
        pytest.skip("one engine alone was asked for")
    if bench.vmms[request.param].missing:
        pytest.skip(bench.vmms[request.param].missing)
    if bench.vmms[request.param].is_qemu:
        pytest.skip("the stub of assay")
    return bench.vmms[request.param]


@pytest.fixture
def start(vmm, tmp_path):
    started = []

    def begin(kernel, *more, cpus="1", paused=True):
        qmp = tmp_path / f"qmp{len(started)}"
        line = vmm.command(["-machine", "pc", "-m", "64", "-smp", cpus], qmp=qmp)
        line += ["-kernel", kernel, "-gdb", f"unix:{tmp_path}/gdb", *more]
        started.append(Running(line + ["-S"] * paused, qmp))
        assert started[-1].qmp  # it greets from the loop: all sockets listen by then
        return started[-1]

    yield begin
    for running in started:
        running.__exit__()


@pytest.fixture
def gdb(tmp_path):
    """Starts gdb on the commands; its process."""
    started = []

    def begin(kernel, *commands):
        script = tmp_path / "script"
        first = ["set pagination off", "set confirm off", f"target remote {tmp_path}/gdb"]
        script.write_text("\n".join([*first, *commands]) + "\n")
        line = ["gdb", "-q", "-nx", "-batch", "-x", script, kernel]
        started.append(
            subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        )
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def said(process):
    return process.communicate(timeout=PATIENCE)[0]


def numbers(text):
    """What `print` printed: {"$1": "5", ...}."""
    return dict(re.findall(r"^(\$\d+) = (?:\([^)]*\(?\)?\) )?(.*)$", text, re.MULTILINE))


@needs_gdb
def test_breakpoint_steps_registers_memory(start, gdb):
    vm = start(RUNTIME)
    out = said(gdb(
        RUNTIME, "break boot_main_pvh", "continue", "bt 1", "print/x $pc == (long)&boot_main_pvh",
        "x/1i $pc", "stepi", "print $pc > (long)&boot_main_pvh", "set $old = $rax",
        "set $rax = 0x1122334455667788",
        "print/x $rax", "set var *(unsigned *)0x100000 = 0xcafe1234", "x/1xw 0x100000",
        "set $xmm1.v2_int64[1] = 77", "print $xmm1.v2_int64[1]", "print/x $cr0 & 0x80000001",
        "print $mxcsr", "set $rax = $old", "monitor info status", "delete", "continue",
    ))  # fmt: skip
    assert "Breakpoint 1, boot_main_pvh" in out, out
    found = numbers(out)
    assert [found[f"${n}"] for n in range(1, 6)] == ["0x1", "1", "0x1122334455667788", "77", "0x80000001"], out
    assert "0x100000:\t0xcafe1234" in out and "VM status: paused (debug)" in out, out
    assert "exited with code 01" in out
    assert vm.wait() == GOOD, vm.stdout  # a guest that was looked at runs as one that was not


@needs_gdb
def test_watchpoint(start, gdb, vmm):
    """Where KVM interprets CPL 0 its debug registers see no data: gdb steps there."""
    commands = ["tbreak hash", "continue", "set can-use-hw-watchpoints 0"] if vmm.accel == "kvm" else []
    vm = start(RUNTIME)
    out = said(gdb(
        RUNTIME, *commands, "watch random_state", "continue", "print current->name", "delete",
        "continue",
    ))  # fmt: skip
    assert re.search(r"Old value = \d+\s+New value = \d+\s+runtime_main", out), out
    assert numbers(out)["$1"].endswith('"crc32c_check_value"'), out
    assert vm.wait() == GOOD, vm.stdout


@needs_gdb
def test_threads(start, gdb):
    """The second processor stops at its first function, and is the one that gdb speaks of then."""
    vm = start(SMP, "-append", "run=all_to_all", cpus="2")
    out = said(gdb(
        SMP, "info threads", "tbreak ap_entry", "continue", "info threads", "stepi", "thread 1",
        "print $rip > 0x200000", "thread 2", "print $_thread", "detach",
    ))  # fmt: skip
    assert "CPU#1 [not started]" in out and "CPU#1 [running]" in out, out
    assert re.search(r"Thread 2 hit Temporary breakpoint 1, ap_entry", out), out
    assert numbers(out) == {"$1": "1", "$2": "2"}, out
    assert vm.wait() == GOOD, vm.stdout


@needs_gdb
def test_in_code_that_has_long_run(start, gdb, vmm):
    """Code that is translated by now, on four processors: points are met there too."""
    vm = start(SMP, "-append", "run=all_to_all turns=100000000", cpus="4", paused=False)
    vm.wait_text(b"# begin all_to_all")
    time.sleep(1)
    watch = ["watch cpus[2].counts[$vector]", "continue", "continue", "delete"]
    out = said(gdb(
        SMP, "break *smp_ipi", "continue", "continue", "continue", "continue", "delete",
        "tbreak *take_interrupt if cpus[2].counts[vector] > 0", "continue", "set $vector = vector",
        *(watch if vmm.accel == "soft" else []), "stepi", "info threads", "detach",
    ))  # fmt: skip
    assert out.count("hit Breakpoint 1, ") == 4, out
    if vmm.accel == "soft":
        assert len(set(re.findall(r"Thread (\d) hit Breakpoint", out))) > 1, out
        values = re.findall(r"(?:Old|New) value = (\d+)", out)
        assert len(values) == 4 and [int(v) - int(values[0]) for v in values] == [0, 1, 1, 2], out
        assert "Thread 3 hit Hardware watchpoint" in out, out
    assert vm.qmp.command("query-status")["status"] == "running", out


@needs_gdb
def test_interrupt_and_detach(start, gdb, tmp_path):
    image = tmp_path / "ticks.elf"
    image.write_bytes(probe.pvh_elf(TICKS))
    vm = start(image, paused=False)
    vm.wait_text(b"..")
    marker = tmp_path / "connected"
    process = gdb(image, f"shell touch {marker}", "continue", 'printf "at %lx\\n", $pc', "detach")
    while not marker.exists():
        assert process.poll() is None, said(process)
        time.sleep(0.01)
    while vm.qmp.command("query-status")["status"] != "running":
        assert process.poll() is None, said(process)
    seen = len(vm.stdout)
    vm.wait_text(b"." * (seen + 5))
    time.sleep(0.5)  # gdb has sent its packet, but says nowhere that it waits for the answer
    process.send_signal(signal.SIGINT)
    out = said(process)
    assert "SIGINT" in out and re.search(r"^at [0-9a-f]+$", out, re.MULTILINE), out
    assert vm.qmp.command("query-status")["status"] == "running"
    vm.wait_text(b"." * (len(vm.stdout) + 5))


class Packets:
    """A client of the protocol that can be wrong."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(str(path))
        self.left = b""

    def send(self, text):
        data = text.encode("latin-1")
        self.socket.sendall(b"+$%s#%02x" % (data, sum(data) & 0xFF))

    def receive(self):
        while True:
            found = re.search(rb"\$([^#]*)#[0-9a-f]{2}", self.left)
            if found:
                self.left = self.left[found.end() :]
                return found[1].decode("latin-1")
            data = self.socket.recv(65536)
            assert data, "the connection ended"
            self.left += data

    def ask(self, text):
        self.send(text)
        return self.receive()


def test_bad_packets(start, tmp_path):
    """Each gets an answer, and none changes what good ones get."""
    vm = start(RUNTIME)
    peer = Packets(tmp_path / "gdb")
    registers = peer.ask("g")
    for text in (
        "m", "m0", "mffffffffffffffff,ffffffffffffffff", "m0,", "M0,1", "M0,ffffffff:00", "M0,2:0",
        "X0,5:}", "Z0", "Z0,", "Z0,0,0", "Z2,0,0", "Z2,fffffffffffffff0,ffffffffff", "Z9,0,1", "z1,5",
        "p", "pffff", "P", "P0", "P0=", "P0=zz", "Pffffffffff=00", "P10=00000000000000ff", "H", "Hg99",
        "Hc-", "Hgp1.77", "T", "T0", "T99", "vCont", "vCont;", "vCont;c:99", "vCont;x", "vCont;C",
        "s!", "c!", "qXfer:features:read:target.xml:", "qXfer:features:read:target.xml:ffffff,1",
        "qThreadExtraInfo,", "qThreadExtraInfo,99", "qRcmd,", "qRcmd,6e6f6e65", "nonsense", "\xff\xfe",
    ):  # fmt: skip
        peer.ask(text)
        while peer.left:
            peer.left = b""
    peer.socket.sendall(b"$m0,1#00" + b"$" + b"A" * 20000 + b"#00" + b"-" + b"#" * 50 + b"$g#zz")
    chaos = random.Random(1)
    for _ in range(50):
        peer.socket.sendall(b"$" + chaos.randbytes(chaos.randrange(100)).replace(b"\x03", b"") + b"#")
    peer.socket.close()
    again = Packets(tmp_path / "gdb")
    assert again.ask("?").startswith("T05thread:01")
    assert again.ask("g") == registers
    assert again.ask("qfThreadInfo") == "m01" and again.ask("qsThreadInfo") == "l"
    assert vm.qmp.command("query-status")["status"] == "prelaunch"


def test_one_processor_steps_alone(start, tmp_path):
    start(SMP, cpus="2")
    peer = Packets(tmp_path / "gdb")
    before = peer.ask("p10")
    assert peer.ask("vCont;s:1").startswith("T05thread:01")
    assert peer.ask("p10") != before
    assert peer.ask("Hg2") == "OK" and peer.ask("p10") == "f0ff000000000000"


def test_debug_is_a_state(start, tmp_path):
    """The monitor sees the stop, and can continue."""
    vm = start(RUNTIME)
    peer = Packets(tmp_path / "gdb")
    assert peer.ask("vCont;s:1").startswith("T05")
    assert vm.qmp.command("query-status")["status"] == "debug"
    peer.socket.close()
    vm.qmp.command("cont")
    assert vm.wait() == GOOD, vm.stdout


def test_kill(start, tmp_path):
    vm = start(RUNTIME)
    Packets(tmp_path / "gdb").send("k")
    assert vm.wait() == 0
