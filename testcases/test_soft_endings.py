# SPDX-License-Identifier: MIT
"""How a guest under -accel soft ends that does everything wrong (docs/soft-cpu.md, "Endings"): in
the documented way, never in a crash of ours.  `make fuzz` runs this with the sanitizers."""

import random
import re
import subprocess
import time

import pytest

from harness import probe
from harness.process import PATIENCE, Running

LINE = re.compile(r"assay: triple fault on vCPU 0: CS:RIP [0-9a-f]{4}:(?P<rip>[0-9a-f]{16}) .*\n")
CLI_HLT = b"\xfa\xf4"
TICKS = 100  # of /proc/PID/stat, a second


@pytest.fixture
def soft(bench):
    for vmm in bench.vmms:
        if vmm.accel == "soft" and not vmm.is_qemu:
            return vmm
    pytest.skip("soft is not among the engines of this run")


def said(stderr):
    """The lines but for those of the page that says what the guest was doing."""
    return [line for line in stderr.decode().splitlines(keepends=True) if not line.startswith("  ")]


def line_for(vmm, tmp_path, code, *more):
    image = tmp_path / "kernel.elf"
    image.write_bytes(probe.pvh_elf(code))
    line = [vmm.path, "-accel", "soft", "-nodefaults", "-display", "none", "-m", "16M"]
    return line + ["-machine", "microvm,acpi=off", "-kernel", str(image), *more]


def triple_fault_of(vmm, tmp_path, code):
    """With -no-reboot it ends with status 0, one line and the page below it; where it was is returned."""
    line = line_for(vmm, tmp_path, code, "-no-reboot", "-serial", "null")
    done = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    found = LINE.fullmatch("".join(said(done.stderr)))
    assert found, done.stderr.decode()
    assert done.returncode == 0
    return int(found["rip"], 16)


@pytest.fixture
def start(soft, tmp_path):
    started = []

    def begin(code, *more):
        path = tmp_path / f"qmp{len(started)}"
        line = line_for(soft, tmp_path, code, "-serial", "stdio", "-monitor", "none", *more)
        started.append(Running(line + ["-qmp", f"unix:{path},server=on,wait=off"], path))
        return started[-1]

    yield begin
    for running in started:
        running.__exit__()


def test_a_jump_into_the_void(soft, tmp_path):
    """Where there is no memory, instructions read as FF: #UD, here without an IDT."""
    assert triple_fault_of(soft, tmp_path, b"\xb8\x00\x00\x00\x80\xff\xe0") == 0x80000000


def test_off_the_end_of_memory(soft, tmp_path):
    """The last byte is a NOP; what follows is the void."""
    code = b"\xc6\x05" + (0xFFFFFF).to_bytes(4, "little") + b"\x90"  # mov byte [0xffffff], 0x90
    code += b"\xb8" + (0xFFFFFF).to_bytes(4, "little") + b"\xff\xe0"
    assert triple_fault_of(soft, tmp_path, code) == 0x1000000


def test_code_that_fills_itself_with_garbage(soft, tmp_path):
    """The turn of REP STOSB that overwrites code is its last: what is fetched next is garbage."""
    code = b"\xbf" + probe.LOAD.to_bytes(4, "little") + b"\xb9\x00\x10\x00\x00\xb0\xff"
    assert triple_fault_of(soft, tmp_path, code + b"\xf3\xaa") == probe.LOAD + len(code)


def test_a_triple_fault_resets(start):
    """Without -no-reboot the machine starts anew, each time."""
    running = start(probe.prints(b"x") + b"\x0f\x0b")
    running.wait_text(b"xxxxx")
    running.qmp.command("quit")
    assert running.wait() == 0
    assert set(running.stdout) == set(b"x")
    assert "triple fault" in running.stderr.decode()


def processor_time(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_halted_for_good_is_idle_until_quit(start):
    running = start(probe.prints(b"ready") + CLI_HLT + b"\x0f\x0b")
    running.wait_text(b"ready")
    before = processor_time(running.process.pid)
    time.sleep(0.5)  # there is nothing to wait for: that is the point
    assert processor_time(running.process.pid) - before < TICKS // 10
    assert running.qmp.command("query-status")["status"] == "running"
    running.qmp.command("quit")
    assert running.wait() == 0
    assert not running.stderr


@pytest.mark.parametrize("seed", range(6))
def test_a_kernel_of_garbage(start, seed):
    """It ends by a triple fault, or runs or idles until quit: status 0 in any case."""
    running = start(random.Random(seed).randbytes(0x8000), "-no-reboot")
    deadline = time.monotonic() + 0.5
    while running.process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    if running.process.poll() is None:
        running.qmp.command("quit")
    assert running.wait(PATIENCE) == 0
    assert all(LINE.fullmatch(line) for line in said(running.stderr))
