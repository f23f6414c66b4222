# SPDX-License-Identifier: MIT
"""What is said when guest code cannot go on: one line with RIP, bytes and disassembly, with
-no-reboot a page of what the guest was doing, and a documented exit status (docs/command-line.md)."""

import re
import struct
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
    first, *page = text.splitlines()
    found = LINE.fullmatch(first)
    assert found, text
    assert bool(page) == ("-no-reboot" in more), text
    assert all(part.startswith("  ") for part in page), text
    return done.returncode, found, page


def test_a_triple_fault_says_where(engine, tmp_path):
    """Without an IDT an undefined instruction ends in a triple fault; -no-reboot makes it the end."""
    status, said, _ = run(engine, tmp_path, b"\x90" + UD2, "-no-reboot")
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
    status, said, page = run(engine, tmp_path, PAGED.ljust(0x100, b"\x90") + UD2, "-no-reboot")
    assert status == 0
    if engine.accel == "kvm" and said["code"] == "mov cr0, eax":
        pytest.skip("this host's KVM knows no 32-bit paging in kernel code")
    assert int(said["rip"], 16) == 0x400100
    assert said["code"] == "ud2"
    assert "  vCPU 0: triple fault; 32-bit protected mode, CPL 0, 32-bit paging, interrupts off" in page
    assert any(re.match(r"  => 400100 0f 0b +ud2", line) for line in page)


def with_symbol(elf, name, address):
    """`elf` with a symbol table of one function."""
    strings = b"\0" + name + b"\0"
    symbols = bytes(24) + struct.pack("<IBBHQQ", 1, 2, 0, 1, address, 0)
    at = (len(elf) + 7) & ~7
    headers = bytes(64)
    headers += struct.pack("<IIQQQQIIQQ", 0, 2, 0, 0, at, len(symbols), 2, 1, 8, 24)
    headers += struct.pack("<IIQQQQIIQQ", 0, 3, 0, 0, at + len(symbols), len(strings), 0, 0, 1, 0)
    elf = bytearray(elf.ljust(at, b"\0") + symbols + strings)
    struct.pack_into("<Q", elf, 40, len(elf))
    struct.pack_into("<HHH", elf, 58, 64, 3, 0)
    return bytes(elf) + headers


# As above but for the jump: a page that is not there is written to.  There is no IDT.
FAULTING = PAGED[: PAGED.index(b"\x0f\x22\xc0") + 3] + b"\xb8\x00\x00\x30\x00\x89\x00"


def test_the_page_says_what_led_there(engine, tmp_path):
    line = line_for(engine, tmp_path, FAULTING, "-no-reboot")
    image = tmp_path / "kernel.elf"
    image.write_bytes(with_symbol(image.read_bytes(), b"begin", probe.LOAD))
    done = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    text = done.stderr
    page = text.splitlines()[1:]
    if engine.accel == "kvm" and "mov cr0, eax" in text.splitlines()[0]:
        pytest.skip("this host's KVM knows no 32-bit paging in kernel code")
    assert "  in begin+0x" in page[1], text
    code = next(row for row in page if row.startswith("  => "))
    assert "mov [eax], eax <begin+0x" in code, text
    walk = page[page.index("  page walk of CR2 300000:") + 1 :]
    assert "level 2 at 201000: 00202023 present writable" in walk[0], text
    assert walk[1].strip().startswith("level 1 at 202c00: 00000000 not present"), text
    assert any("gate 13 is beyond the IDT's limit" in row for row in page), text
    if engine.accel == "soft":
        raised = page[page.index("  raised last, the newest first:") + 1 :]
        assert [row.split()[:2] for row in raised[:3]] == [["exception", "13"]] * 2 + [["exception", "14"]]
        assert "error 2 CR2 300000 at " in raised[2], text
        assert any(row.strip() == "100000 <begin>" for row in page), text


def test_a_guest_that_runs_can_be_asked(engine, tmp_path):
    """What info guest says of one that spins; it goes on spinning."""
    path = tmp_path / "qmp"
    line = line_for(engine, tmp_path, probe.prints(b"up") + b"\x90" + probe.SPIN)
    with Running(line + ["-serial", "stdio", "-qmp", f"unix:{path},server=on,wait=off"], path) as vm:
        vm.wait_text(b"up")
        said = vm.qmp.command("human-monitor-command", command_line="info guest").splitlines()
        assert said[0] == "  vCPU 0: 32-bit protected mode, CPL 0, no paging, interrupts off"
        assert any(re.match(r"  => [0-9a-f]+ (eb fe +jmp|90 +nop|ee +out|b0 )", row) for row in said), said
        assert vm.qmp.command("query-status")["running"]
        vm.qmp.command("quit")


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
    status, said, _ = run(engine, tmp_path, code)
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
