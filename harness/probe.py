# SPDX-License-Identifier: MIT
"""What this host can do, found out once a run, and tiny guests made by hand to find it out."""

import functools
import shutil
import struct
import subprocess
import tempfile
import time
from pathlib import Path

LOAD = 0x100000
PVH_NOTE = struct.pack("<III4sI", 4, 4, 18, b"Xen\0", LOAD)
OVMF = (
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
)
NATIVE = 50e6  # instructions a second; an interpreter does two million, a processor billions


def pvh_elf(code):
    """An ELF file with a PVH note whose entry (32-bit, no paging) is the machine code `code`."""
    header, program = 64, 56
    offset = 0x1000
    notes = header + 2 * program
    elf = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, 62, 1, LOAD, header, 0, 0, header, program,
        2, 0, 0, 0,
    )
    size = len(code)
    elf += struct.pack("<IIQQQQQQ", 1, 7, offset, LOAD, LOAD, size, size, 0x1000)
    elf += struct.pack("<IIQQQQQQ", 4, 4, notes, 0, 0, len(PVH_NOTE), len(PVH_NOTE), 4)
    elf += PVH_NOTE
    return elf.ljust(offset, b"\0") + code


def exits(value):
    """mov al, value; out 0xf4, al; hlt; jmp $"""
    return bytes([0xB0, value, 0xE6, 0xF4, 0xF4, 0xEB, 0xFE])


def counts(loops):
    """mov ecx, loops; dec ecx; jnz: two instructions a turn"""
    return b"\xb9" + struct.pack("<I", loops) + b"\x49\x75\xfd"


def prints(text):
    """mov dx, 0x3f8; mov al, c; out dx, al; ..."""
    return b"\x66\xba\xf8\x03" + b"".join(bytes([0xB0, byte, 0xEE]) for byte in text)


# Kernel code of each class that an interpreting KVM may not know; CR4.OSFXSR is set before it.
INSTRUCTIONS = {
    "int": b"\xcd\x40",
    "int3": b"\xcc",
    "popcnt": b"\xf3\x0f\xb8\xc0",
    "lar": b"\x0f\x02\xc0",
    "lsl": b"\x0f\x03\xc0",
    "verr": b"\x0f\x00\xe0",
    "verw": b"\x0f\x00\xe8",
    "syscall": b"\x0f\x05",
    "sse": b"\x0f\x58\xc0",
    "x87": b"\xd9\xe8\xde\xc1",
    "xgetbv": b"\x0f\x01\xd0",
    "rdtscp": b"\x0f\x01\xf9",
    "crc32": b"\xf2\x0f\x38\xf0\xc0",
    "stac": b"\x0f\x01\xcb",
    "clac": b"\x0f\x01\xca",
    "bmi": b"\xc4\xe2\x78\xf2\xc0",
    "monitor": b"\x0f\x01\xc8",
    # mov esp, 0x90000; pushfd; push cs; call next; next: add dword [esp], 5; iretd
    "iret32": b"\xbc\x00\x00\x09\x00\x9c\x0e\xe8\x00\x00\x00\x00\x83\x04\x24\x05\xcf",
}
OSFXSR = b"\x0f\x20\xe0\x66\x0d\x00\x02\x0f\x22\xe0"  # mov eax,cr4; or ax,0x200; mov cr4,eax
SPIN = b"\xeb\xfe"
HALT = b"\xf4\xeb\xfd"


@functools.lru_cache(maxsize=None)
def executes(path, accel, name):
    """Whether kernel code can have that instruction under `path -accel accel`: it goes on behind
    it, or takes its exception, which without an IDT is a triple fault and ends the VM."""
    from .vmm import Vmm

    with tempfile.TemporaryDirectory(prefix="assay-") as folder:
        image = Path(folder) / "probe.elf"
        image.write_bytes(pvh_elf(OSFXSR + INSTRUCTIONS[name] + exits(2)))
        line = Vmm(path, accel).command(["-machine", "microvm,acpi=off", "-m", "16M"])
        try:
            done = subprocess.run(
                line + ["-kernel", str(image)],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                # QEMU stops for ever where KVM gives up; else each program ends.
                timeout=10 if Vmm(path, accel).is_qemu and accel == "kvm" else 60,
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
    return done.returncode in (0, 5)


def missing_parts(path, accel):
    """What an interpreter of kernel code typically lacks and this engine lacks, or "".  The host's
    KVM may be one: exceptions of such an engine are its own business, not what we judge."""
    return ", ".join(name for name in ("int3", "int", "lar") if not executes(path, accel, name))


@functools.lru_cache(maxsize=None)
def guest_speed(path, accel):
    """Instructions a second of kernel code under `path -accel accel`, or None if it cannot run."""
    from .vmm import Vmm  # here, because vmm.py may be without probes

    vmm = Vmm(path, accel)
    if vmm.missing:
        return None
    times = []
    loops = 200_000
    with tempfile.TemporaryDirectory(prefix="assay-") as folder:
        for count in (1, loops):
            image = Path(folder) / "probe.elf"
            image.write_bytes(pvh_elf(counts(count) + exits(0)))
            line = vmm.command(["-machine", "microvm,acpi=off", "-m", "16M"])
            start = time.monotonic()
            try:
                done = subprocess.run(
                    line + ["-kernel", str(image)],
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    timeout=60,
                )
            except (OSError, subprocess.TimeoutExpired):
                return None
            if done.returncode != 1:
                return None
            times.append(time.monotonic() - start)
    return 2 * loops / max(times[1] - times[0], 1e-6)


def interprets(path, accel):
    """True if kernel code is interpreted here, which makes long computations in guests hopeless."""
    speed = guest_speed(path, accel)
    return speed is not None and speed < NATIVE


def ovmf():
    """(code, variables) of the UEFI firmware, or None."""
    for code, variables in OVMF:
        if Path(code).exists() and Path(variables).exists():
            return code, variables
    return None


def have(program):
    return shutil.which(program) is not None
