# SPDX-License-Identifier: MIT
"""The kernel of integer work on Bochs, another interpreter of x86 (Debian's packages bochs and bochs-term).

Bochs has no -kernel: the Multiboot form goes onto a disk behind a boot sector (guest-kernels/boot/bios.asm), with
SeaBIOS as the firmware.  Its clock follows its instructions and not the host's, so the time is the host's, from
the kernel's line "# begin NAME" to its line "ok"; instructions are those that `soft` counts for the same rounds.
"""

import os
import shutil
import struct
import subprocess
import tempfile
import time
from pathlib import Path

from . import benchspeed

PROGRAM = "bochs-bin"
FIRMWARE = Path("/usr/share/seabios")
SOURCE = Path("guest-kernels/boot/bios.asm")
PATIENCE = 60.0
INFO, MEMORY = 0x7000, 128 << 20
CHUNK = 32 << 10
CYLINDER = 16 * 63 * 512
TIMES_BOCHS = 5

CONFIG = """megs: 128
romimage: file={firmware}/bios.bin
vgaromimage: file={firmware}/vgabios-isavga.bin
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=disk, path={folder}/disk.img, mode=flat
boot: disk
com1: enabled=1, mode=file, dev={folder}/serial
cpu: count=1, ips=10000000, reset_on_triple_fault=0
clock: sync=none, time0=1700000000
display_library: term
log: {folder}/log
panic: action=fatal
sound: driver=dummy
speaker: enabled=0
"""


def missing():
    """Why there is no such row here, or None."""
    for what in (PROGRAM, "nasm"):
        if not shutil.which(what):
            return f"no {what} (Debian's packages bochs and bochs-term)" if what == PROGRAM else f"no {what}"
    if not (FIRMWARE / "bios.bin").exists():
        return "no SeaBIOS"
    return None


def segments(elf):
    (phoff,) = struct.unpack_from("<I", elf, 28)
    size, count = struct.unpack_from("<HH", elf, 42)
    for at in range(phoff, phoff + size * count, size):
        kind, offset, _, address, length = struct.unpack_from("<5I", elf, at)
        if kind == 1:
            yield address, elf[offset : offset + length]


def information(command_line):
    """Multiboot's (3.3): memory, map, command line; two sectors that lie at INFO."""
    info = bytearray(1024)
    struct.pack_into("<III", info, 0, 0x1 | 0x4 | 0x40, 639, (MEMORY >> 10) - 1024)
    struct.pack_into("<I", info, 16, INFO + 0x200)
    struct.pack_into("<II", info, 44, 48, INFO + 0x80)
    for number, (start, length) in enumerate(((0, 0x9F000), (1 << 20, MEMORY - (1 << 20)))):
        struct.pack_into("<IQQI", info, 0x80 + 24 * number, 20, start, length, 1)
    text = command_line.encode() + b"\0"
    info[0x200 : 0x200 + len(text)] = text
    return bytes(info)


def disk(kernel, command_line, boot):
    """`kernel`: an ELF32 file's bytes; `boot`: the assembled boot sector."""
    parts = list(segments(kernel))
    low = min(address for address, _ in parts)
    flat = bytearray(max(address + len(data) for address, data in parts) - low)
    for address, data in parts:
        flat[address - low : address - low + len(data)] = data
    chunks = -(-len(flat) // CHUNK)
    sector = bytearray(boot)
    (entry,) = struct.unpack_from("<I", kernel, 24)
    struct.pack_into("<IIH", sector, 0x1F0, entry, low, chunks)
    image = bytes(sector) + information(command_line) + bytes(flat).ljust(chunks * CHUNK, b"\0")
    return image.ljust(max(20 * CYLINDER, -(-len(image) // CYLINDER) * CYLINDER), b"\0")


def wait_for(path, text, process, deadline):
    """The host's time when `text` was seen in the file, or None."""
    while time.monotonic() < deadline and process.poll() is None:
        if path.exists() and text in path.read_bytes():
            return time.monotonic()
        time.sleep(0.002)
    return None


def seconds_of(kernel, name, scale):
    """Of one TEST of the kernel, or None."""
    with tempfile.TemporaryDirectory(prefix="bench-bochs-") as folder:
        place = Path(folder)
        boot = place / "boot.bin"
        subprocess.run(["nasm", "-f", "bin", "-o", boot, SOURCE], check=True)
        words = f"kernel run={name} scale={scale}"
        (place / "disk.img").write_bytes(disk(Path(kernel).read_bytes(), words, boot.read_bytes()))
        (place / "config").write_text(CONFIG.format(folder=folder, firmware=FIRMWARE))
        (place / "commands").write_text("c\n")  # Debian's is built with its debugger: go on
        process = subprocess.Popen(
            [PROGRAM, "-q", "-f", place / "config", "-rc", place / "commands"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, "TERM": "vt100"},
        )  # fmt: skip
        try:
            deadline = time.monotonic() + PATIENCE
            serial = place / "serial"
            begin = wait_for(serial, f"# begin {name}".encode(), process, deadline)
            end = begin and wait_for(serial, f"\nok 1 {name}".encode(), process, deadline)
            return end - begin if end else None
        finally:
            process.kill()
            process.wait()


def measure(kernel, speed, progress):
    """Adds a row "bochs" to each kernel of `speed` (benchspeed.measure's); one run each."""
    for name in benchspeed.KERNELS:
        row = speed.get(name)
        if not row or not row.get("instructions"):
            continue
        progress.say(f"speed of {name} on Bochs", True)
        seconds = seconds_of(kernel, name, row["scale"])
        if seconds:
            row["bochs"] = {"seconds": seconds, "mips": row["instructions"] / seconds / 1e6}


def judge(speed):
    """(name, what was seen, whether it holds or None) of the target."""
    parts = {
        name: row["assay-soft"]["mips"] / row["bochs"]["mips"]
        for name, row in speed.items()
        if "bochs" in row and "assay-soft" in row
    }
    name = f"soft: at least {TIMES_BOCHS} times the speed of Bochs on each"
    seen = ", ".join(f"{key} {value:.1f}" for key, value in parts.items())
    holds = all(value >= TIMES_BOCHS for value in parts.values()) if len(parts) == len(speed) else None
    return name, seen or "-", holds
