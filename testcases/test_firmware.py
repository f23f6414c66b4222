# SPDX-License-Identifier: MIT
"""-bios: firmware of our own, a few instructions at the reset vector, and SeaBIOS, which boots a
disk through its INT 13h (where the processor executes INT n: not under every KVM)."""

import struct
import subprocess
from pathlib import Path

import pytest

from harness import probe

KIB = 1024
SEABIOS = Path("/usr/share/seabios/bios-256k.bin")


@pytest.fixture
def line(vmm):
    def make(*more, machine="pc"):
        words = [vmm.path, "-accel", vmm.accel, "-nodefaults", "-display", "none", "-no-reboot"]
        words += ["-cpu", "qemu64"] if vmm.is_qemu and vmm.accel == "kvm" else []
        words += ["-machine", machine, "-m", "64M", "-device", "isa-debug-exit,iobase=0xf4,iosize=4"]
        return words + [str(word) for word in more]

    return make


def run(words, timeout=60):
    return subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout)


def firmware(path, code, size=128 * KIB, marks=()):
    """An image whose reset vector jumps to `code`, 4 KiB below the end, as real-mode code."""
    image = bytearray(b"\xf4" * size)
    image[-4096 : -4096 + len(code)] = code
    image[-16:-13] = b"\xe9" + struct.pack("<h", -4096 + 16 - 3)  # jmp near
    for offset, value in marks:
        image[offset] = value
    Path(path).write_bytes(image)
    return path


def ends(value=None):
    """mov al, value; out 0xf4, al; or what AL is."""
    return (b"" if value is None else bytes([0xB0, value])) + b"\xe6\xf4\xf4\xeb\xfd"


def status(value):
    return value << 1 | 1


@pytest.mark.parametrize("size", [64 * KIB, 128 * KIB, 256 * KIB, 1024 * KIB])
def test_the_reset_vector_is_executed(line, tmp_path, size):
    image = firmware(tmp_path / "bios", ends(0x15), size)
    done = run(line("-bios", image))
    assert done.returncode == status(0x15) and done.stderr == b""


# CS is still that of the reset (base 0xffff0000): the byte at its offset 0xe000 comes from the flash;
# then the one at F000:E000 from the copy below 1 MiB.  Their difference ends the VM.
COMPARE = (
    b"\x2e\xa0\x00\xe0"  # mov al, cs:[0xe000]
    b"\xb8\x00\xf0\x8e\xd8"  # mov ax, 0xf000; mov ds, ax
    b"\x2e\x8a\x1e\x00\xe0"  # mov bl, cs:[0xe000]
    b"\xa0\x00\xe0"  # mov al, [0xe000]
    b"\x28\xd8"  # sub al, bl
)


def test_the_end_of_the_flash_shows_below_1_mib(line, tmp_path):
    image = firmware(tmp_path / "bios", COMPARE + b"\x04\x07" + ends(), marks=[(-0x2000, 0x5A)])
    assert run(line("-bios", image)).returncode == status(7)


def test_the_flash_is_rom(line, tmp_path):
    """A 32-bit flat segment writes to 0xfffff000 - 0x1000 and reads it back."""
    gdt = bytes(8) + struct.pack("<HHBBBB", 0xFFFF, 0, 0, 0x93, 0xCF, 0)
    # cs: lgdt [gdtr]; mov eax, cr0; or al, 1; mov cr0, eax; mov ax, 8; mov ds, ax
    code = b"\x66\x2e\x0f\x01\x16\x80\xf0\x0f\x20\xc0\x0c\x01\x0f\x22\xc0\xb8\x08\x00\x8e\xd8"
    # mov byte [dword 0xffffe000], 0x77; mov al, [dword 0xffffe000]
    code += b"\x67\xc6\x05\x00\xe0\xff\xff\x77\x67\xa0\x00\xe0\xff\xff" + ends()
    code = code.ljust(0x80, b"\xf4") + struct.pack("<HI", 15, 0xFFFFF090)
    code = code.ljust(0x90, b"\xf4") + gdt
    image = firmware(tmp_path / "bios", code, marks=[(-0x2000, 0x21)])
    assert run(line("-bios", image)).returncode == status(0x21)


def test_debugcon(line, tmp_path):
    text = b"firmware speaks"
    code = b"\xba\x02\x04" + b"".join(bytes([0xB0, byte, 0xEE]) for byte in text)
    code += b"\xec" + ends()  # in al, dx: what the port reads
    image = firmware(tmp_path / "bios", code)
    more = ["-chardev", f"file,id=log,path={tmp_path}/log"]
    more += ["-device", "isa-debugcon,iobase=0x402,chardev=log"]
    assert run(line("-bios", image, *more)).returncode == status(0xE9) & 0xFF
    assert (tmp_path / "log").read_bytes() == text


def test_debugcon_needs_a_chardev(line):
    done = run(line("-device", "isa-debugcon"))
    assert done.returncode == 1 and b"isa-debugcon" in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_a_reset_brings_the_copy_back(line, tmp_path):
    """The first run marks CMOS, spoils the copy below 1 MiB and resets; the second looks at it."""
    again = (
        b"\xb8\x00\xf0\x8e\xd8"  # ds = 0xf000
        b"\xb0\x70\xe6\x70\xe4\x71\x3c\xa5"  # CMOS 0x70 == 0xa5?
        b"\x74\x10"  # je second
        b"\xb0\xa5\xe6\x71"  # first: CMOS 0x70 = 0xa5
        b"\xc6\x06\x00\xe0\x00"  # spoil the copy
        b"\xba\xf9\x0c\xb0\x06\xee\xf4"  # reset by 0xcf9
        b"\xa0\x00\xe0"  # second: al = the copy's byte
    )
    image = firmware(tmp_path / "bios", again + ends(), marks=[(-0x2000, 0x42)])
    words = [word for word in line("-bios", image) if word != "-no-reboot"]
    assert run(words).returncode == status(0x42)


def test_the_folder_of_L(line, tmp_path):
    firmware(tmp_path / "mine.bin", ends(0x11))
    firmware(tmp_path / "bios-256k.bin", ends(0x12), 256 * KIB)
    assert run(line("-L", tmp_path, "-bios", "mine.bin")).returncode == status(0x11)
    assert run(line("-bios", "mine.bin", "-L", tmp_path)).returncode == status(0x11)
    assert run(line("-L", tmp_path)).returncode == status(0x12)  # the name QEMU looks for


@pytest.mark.parametrize("size", [None, 0, 1000, 64 * KIB + 1, (16 << 20) + 64 * KIB])
def test_what_is_no_firmware_is_refused(line, tmp_path, vmm, size):
    if vmm.is_qemu:
        pytest.skip("QEMU takes some of these and prints two lines for others")
    path = tmp_path / "bios"
    if size is not None:
        with open(path, "wb") as image:
            image.truncate(size)
    done = run(line("-bios", path))
    text = done.stderr.decode()
    assert done.returncode == 1
    assert text.startswith(f"assay: -bios {path}: could not load PC BIOS") and text.count("\n") == 1


# --- SeaBIOS ---


@pytest.fixture
def seabios(bench, line, tmp_path):
    if not SEABIOS.exists():
        pytest.skip("no SeaBIOS (package seabios)")
    vmm = next(
        (
            vmm for vmm in bench.vmms
            if not vmm.missing and (vmm.accel != "kvm" or probe.executes(vmm.path, "kvm", "int"))
        ),
        None,
    )  # fmt: skip
    if not vmm:
        pytest.skip("SeaBIOS needs INT n in kernel code")

    def boot(*more, bios=SEABIOS):
        words = [vmm.path, "-accel", vmm.accel, "-nodefaults", "-display", "none", "-no-reboot"]
        words += ["-m", "128M", "-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-bios", bios]
        words += ["-chardev", f"file,id=log,path={tmp_path}/log"]
        words += ["-device", "isa-debugcon,iobase=0x402,chardev=log", *more]
        done = run([str(word) for word in words], timeout=120)
        return done, (tmp_path / "log").read_text(errors="replace")

    return boot


def disk(path, value):
    """A disk whose boot sector reads the next one by INT 13h and ends with its first byte."""
    code = b"\xfa\x31\xc0\x8e\xd8\x8e\xc0\x8e\xd0\xbc\x00\x7c\xfb"  # segments 0, a stack
    code += b"\xb8\x01\x02\xbb\x00\x80\xb9\x02\x00\xb6\x00\xcd\x13"  # read sector 2 to 0:8000
    code += b"\xb0\x7e\x72\x03\xa0\x00\x80" + ends()  # 0x7e where that failed
    image = code.ljust(510, b"\0") + b"\x55\xaa" + bytes([value]) + bytes(1 << 20)
    path.write_bytes(image[: 1 << 20])
    return path


def test_seabios_boots_a_disk(seabios, tmp_path):
    image = disk(tmp_path / "disk", 0x23)
    done, log = seabios("-drive", f"format=raw,file={image}")
    assert done.returncode == status(0x23), log
    assert done.stderr == b""
    assert "SeaBIOS (version" in log
    assert "Booting from Hard Disk" in log
    assert "ACPI: parse DSDT" in log  # it took our tables by the script


def test_seabios_of_128_kib(seabios, tmp_path):
    image = disk(tmp_path / "disk", 0x24)
    done, log = seabios("-drive", f"format=raw,file={image}", bios=SEABIOS.with_name("bios.bin"))
    assert done.returncode == status(0x24), log


@pytest.mark.parametrize("order, value", [((1, 2), 0x31), ((2, 1), 0x32)])
def test_bootindex_is_the_order(seabios, tmp_path, order, value):
    words = []
    for n, (bus, index) in enumerate(zip(("ide.0", "ide.1"), order)):
        image = disk(tmp_path / f"disk{n}", 0x31 + n)
        words += ["-drive", f"if=none,id=d{n},format=raw,file={image}"]
        words += ["-device", f"ide-hd,drive=d{n},bus={bus},bootindex={index}"]
    done, log = seabios(*words)
    assert done.returncode == status(value), log
    assert f"/pci@i0cf8/*@1,1/drive@{value - 0x31}/disk@0" in log


def test_seabios_speaks_on_the_serial_port(seabios, tmp_path):
    image = disk(tmp_path / "disk", 0x25)
    config = tmp_path / "port"
    config.write_bytes(struct.pack("<H", 0x3F8))
    done, log = seabios(
        "-drive", f"format=raw,file={image}", "-serial", "stdio",
        "-fw_cfg", f"name=etc/sercon-port,file={config}",
    )  # fmt: skip
    assert done.returncode == status(0x25), log
    assert b"SeaBIOS (version" in done.stdout and b"Booting from Hard Disk" in done.stdout
