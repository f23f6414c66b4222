# SPDX-License-Identifier: MIT
"""What is said when guest code cannot go on: one line with RIP, bytes and disassembly, and a
documented exit status (docs/command-line.md)."""

import re
import subprocess
import time

import pytest

from harness import probe
from harness.process import PATIENCE, Running

UD2 = b"\x0f\x0b"
# CR0, CR2 and CR3 stand between CS:RIP and the bytes.
LINE = re.compile(
    r"assay: (?P<what>.+) on vCPU 0: CS:RIP (?P<cs>[0-9a-f]{4}):(?P<rip>[0-9a-f]{16}) CR0 [0-9a-f]+ "
    r"CR2 [0-9a-f]+ CR3 [0-9a-f]+ bytes(?P<bytes>( [0-9a-f]{2})+)(: (?P<code>.+))?"
)


@pytest.fixture(params=["kvm", "soft"])
def engine(request, bench):
    """Each of our engines that is asked for and runs here."""
    for vmm in bench.vmms:
        if vmm.accel == request.param and not vmm.is_qemu:
            if vmm.missing:
                pytest.skip(vmm.missing)
            return vmm
    pytest.skip(f"{request.param} is not among the engines of this run")


def line_for(vmm, tmp_path, code, *more):
    image = tmp_path / "kernel.elf"
    image.write_bytes(probe.pvh_elf(code))
    line = [vmm.path, "-accel", vmm.accel, "-nodefaults", "-display", "none", "-m", "16M"]
    return line + ["-machine", "microvm,acpi=off", "-kernel", str(image), *more]


def run(vmm, tmp_path, code, *more):
    line = line_for(vmm, tmp_path, code, *more)
    done = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    text = done.stderr.decode()
    assert text.count("\n") == 1, text
    found = LINE.fullmatch(text.strip())
    assert found, text
    return done.returncode, found


def test_a_triple_fault_says_where(engine, tmp_path):
    """Without an IDT an undefined instruction ends in a triple fault; -no-reboot makes it the end."""
    status, said = run(engine, tmp_path, b"\x90" + UD2, "-no-reboot")
    assert status == 0
    assert said["what"] == "triple fault"
    assert int(said["rip"], 16) == probe.LOAD + 1
    assert bytes.fromhex(said["bytes"]) == UD2
    assert said["code"] == "ud2"


# A page directory at 0x201000 with two tables: LOAD's page is mapped at LOAD and at 0x400000, where
# the jump goes.
PAGED = (
    b"\xc7\x05" + (0x201000).to_bytes(4, "little") + (0x202003).to_bytes(4, "little")
    + b"\xc7\x05" + (0x201004).to_bytes(4, "little") + (0x203003).to_bytes(4, "little")
    + b"\xc7\x05" + (0x202400).to_bytes(4, "little") + (probe.LOAD | 3).to_bytes(4, "little")
    + b"\xc7\x05" + (0x203000).to_bytes(4, "little") + (probe.LOAD | 3).to_bytes(4, "little")
    + b"\xb8" + (0x201000).to_bytes(4, "little") + b"\x0f\x22\xd8"  # mov eax, ..; mov cr3, eax
    + b"\x0f\x20\xc0\x0d\x00\x00\x00\x80\x0f\x22\xc0"  # mov eax, cr0; or eax, 1 << 31; mov cr0, eax
    + b"\xb8" + (0x400100).to_bytes(4, "little") + b"\xff\xe0"  # mov eax, 0x400100; jmp eax
)  # fmt: skip


def test_the_bytes_are_found_through_page_tables(engine, tmp_path):
    status, said = run(engine, tmp_path, PAGED.ljust(0x100, b"\x90") + UD2, "-no-reboot")
    assert status == 0
    if engine.accel == "kvm" and said["code"] == "mov cr0, eax":
        pytest.skip("this host's KVM knows no 32-bit paging in kernel code")
    assert int(said["rip"], 16) == 0x400100
    assert said["code"] == "ud2"


def unknown_to(vmm):
    """Kernel code that this host's KVM gives up on, with what it must be called."""
    if vmm.accel != "kvm":
        pytest.skip("soft knows every instruction of its set: it never gives up")
    for name in ("popcnt", "crc32", "lar", "rdtscp", "sse"):
        if not probe.executes(vmm.path, vmm.accel, name):
            return name
    pytest.skip("this host's KVM executes all of kernel code")


def test_status_2_when_the_engine_cannot_go_on(engine, tmp_path):
    name = unknown_to(engine)
    code = probe.OSFXSR + probe.INSTRUCTIONS[name]
    status, said = run(engine, tmp_path, code)
    assert status == 2
    assert said["what"].startswith("KVM internal error")
    assert int(said["rip"], 16) == probe.LOAD + len(probe.OSFXSR)
    assert bytes.fromhex(said["bytes"]) == probe.INSTRUCTIONS[name]
    assert said["code"].split()[0] == {"sse": "addps"}.get(name, name)


def test_no_shutdown_stops_it_instead(engine, tmp_path):
    name = unknown_to(engine)
    path = tmp_path / "qmp"
    line = line_for(engine, tmp_path, probe.OSFXSR + probe.INSTRUCTIONS[name], "-no-shutdown")
    with Running(line + ["-serial", "null", "-qmp", f"unix:{path},server=on,wait=off"], path) as vm:
        qmp = vm.qmp
        deadline = time.monotonic() + PATIENCE
        while qmp.command("query-status")["running"] and time.monotonic() < deadline:
            time.sleep(0.01)  # the STOP event may have been before this connection
        assert qmp.command("query-status")["status"] == "internal-error"
        answer = qmp.execute({"execute": "cont"})
        assert "Resetting the Virtual Machine is required" in answer["error"]["desc"]
        qmp.command("quit")
