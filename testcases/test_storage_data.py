# SPDX-License-Identifier: MIT
"""Real data through each path: a file system of the machine's own files, read by a kernel.

The kernel is `storage_data` (build/kernels/storage_data.elf). Each run here boots it for ONE of its
TESTs with run=; the path and the phase are in the TEST's name:

    read_pio    read_dma    read_virtio      CRC-32C of the first disk.bytes bytes is disk.crc
    write_pio   write_dma   write_virtio     writes the pattern of `seed` to the area, then flushes
    verify_pio  verify_dma  verify_virtio    reads the area back and compares it with the pattern

A path's disk is the only one of the machine: pio and dma an ide-hd, primary master, of machine pc; virtio a
virtio-blk of machine pc (PCI) or microvm (MMIO).  TESTs whose words are absent from the command
line (a run of the kernel by itself) skip.  The words, all numbers as strtoul(…, 0) reads them:

    disk.bytes=N     multiple of 512 (read_*)
    disk.crc=0x…     CRC-32C, polynomial 0x1edc6f41 reflected, initial and final ~0 (read_*)
    area.first=N     first sector of the area (write_*, verify_*)
    area.count=N     sectors of the area (write_*, verify_*)
    seed=N           is the runner's too: harmless with one TEST

The pattern: little-endian 64-bit word i of the area (i = 0, 1, ...) is
(i + 1) * (0x9e3779b97f4a7c15 + 2 * seed), modulo 2^64.

The area lies behind the file system, so that `e2fsck -fn` must find it as it was made.
"""

import ctypes
import os
import shutil
import struct
import subprocess

import pytest

from harness import session
from harness.vmm import Vmm, paste

MIB = 1 << 20
SECTOR = 512
AREA = 512  # sectors
SEED = 20260
ENOUGH = 0.4e6  # instructions a second of kernel code
SOURCES = ["/usr/bin", "/usr/lib", "/usr/share", "/etc"]
KERNEL_NAME = "storage_data"
MACHINES = {
    "pio": "pc ide-hd:file={image}",
    "dma": "pc ide-hd:file={image}",
    "virtio-pci": "pc blk-pci:file={image}",
    "virtio-mmio": "microvm blk-mmio:file={image}",
}
READS = ["pio", "dma", "virtio-pci", "virtio-mmio"]
# written by, read by
PAIRS = [("pio", "virtio-pci"), ("virtio-pci", "dma"), ("dma", "pio"), ("virtio-mmio", "dma")]


@pytest.fixture(scope="session")
def crc32c(request):
    folder = request.config.assay.build / "tools"
    folder.mkdir(parents=True, exist_ok=True)
    library = folder / "crc32c.so"
    source = request.config.assay.root / "testcases" / "crc32c.c"
    subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", library, source], check=True)
    function = ctypes.CDLL(str(library)).crc32c
    function.restype = ctypes.c_uint32
    function.argtypes = [ctypes.c_uint32, ctypes.c_char_p, ctypes.c_size_t]
    return lambda data: function(0, data, len(data))


@pytest.fixture(scope="session")
def size(request, speed):
    """How much data: 64 MiB, less where kernel code is very slow, and then it is said."""
    asked = os.environ.get("ASSAY_DATA_MIB")
    if asked:
        return int(asked) * MIB
    # The kernel's sums run at CPL 3, so 64 MiB take seconds even where KVM interprets the rest.
    if speed is None or speed >= ENOUGH or request.config.assay.whole:
        return 64 * MIB
    request.config.assay.notes.append(
        "storage data: 16 MiB instead of 64, because kernel code runs at"
        f" {speed / 1e6:.2f} million instructions a second here"
    )
    return 16 * MIB


def gather(folder, wanted):
    """Copies real files of this machine until there are `wanted` bytes; returns how many files."""
    count, total = 0, 0
    for source in SOURCES:
        for top, folders, names in os.walk(source):
            folders.sort()
            for name in sorted(names):
                path = os.path.join(top, name)
                if os.path.islink(path) or not os.path.isfile(path) or not os.access(path, os.R_OK):
                    continue
                length = os.path.getsize(path)
                if not 0 < length <= 4 * MIB or total + length > wanted:
                    continue
                target = folder / top.lstrip("/")
                target.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target / name)
                count, total = count + 1, total + length
                if total > wanted * 0.97:
                    return count
    return count


@pytest.fixture(scope="session")
def filesystem(size, tmp_path_factory):
    """The image as mke2fs made it, with the area behind it."""
    if not shutil.which("mke2fs", path=os.environ["PATH"] + ":/usr/sbin:/sbin"):
        pytest.skip("no mke2fs")
    folder = tmp_path_factory.mktemp("data")
    files = folder / "files"
    files.mkdir()
    count = gather(files, int(size * 0.85))
    image = folder / "pristine.img"
    line = ["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-d", files]
    environment = dict(os.environ, PATH=os.environ["PATH"] + ":/usr/sbin:/sbin")
    subprocess.run([*line, image, f"{size // 1024}k"], check=True, env=environment)
    assert count > 10
    shutil.rmtree(files)
    with open(image, "r+b") as out:
        out.truncate(size + AREA * SECTOR)
    return image


@pytest.fixture
def image(filesystem, tmp_path):
    copy = tmp_path / "disk.img"
    shutil.copyfile(filesystem, copy)
    return copy


def pattern(seed, sectors):
    step = (0x9E3779B97F4A7C15 + 2 * seed) & (2**64 - 1)
    words = ((i + 1) * step & (2**64 - 1) for i in range(sectors * SECTOR // 8))
    return struct.pack(f"<{sectors * SECTOR // 8}Q", *words)


def boot(bench, vmm, path, phase, image, append, wanted="PASS", environment=None, timeout=300):
    """One boot of the kernel for one TEST; its result must be PASS, or `wanted`."""
    kernel = bench.image(KERNEL_NAME)
    if not kernel.exists():
        pytest.fail(f"{kernel} is not built", pytrace=False)
    test = f"{phase}_{path.split('-')[0]}"
    words = f"run={test} seed={SEED} {append}"
    results, status, stderr, before, line = session.run_once(
        kernel, MACHINES[path].format(image=image), vmm, words, timeout=timeout,
        environment=environment or {},
    )  # fmt: skip
    said = [line for line in stderr.splitlines() if line.strip() and not vmm.is_chatter(line)]
    result = results.get(test)
    text = "\n".join(result.text if result else before[-20:])
    verdict = f"{result.verdict} {result.reason}" if result else f"no result, exit status {status}"
    again = f"{test}: {verdict}\n{text}\n{stderr}\n{paste(line)}"
    good = result is not None and result.verdict == wanted
    assert good and status == (1 if wanted == "PASS" else 3), again
    assert said == [], again


def check_filesystem(image, size):
    """e2fsck on the file system as it is now."""
    environment = dict(os.environ, PATH=os.environ["PATH"] + ":/usr/sbin:/sbin")
    done = subprocess.run(
        ["e2fsck", "-fn", image], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", READS)
def test_every_sector_is_what_the_host_wrote(bench, vmm, image, size, crc32c, path):
    crc = crc32c(image.read_bytes()[:size])
    boot(bench, vmm, path, "read", image, f"disk.bytes={size} disk.crc={crc:#x}")


@pytest.mark.parametrize("writer, reader", PAIRS, ids=[f"{w}-then-{r}" for w, r in PAIRS])
def test_what_one_path_writes_another_reads(bench, vmm, image, size, crc32c, writer, reader):
    area = f"area.first={size // SECTOR} area.count={AREA}"
    before = crc32c(image.read_bytes()[:size])
    boot(bench, vmm, writer, "write", image, area)
    with open(image, "rb") as disk:
        disk.seek(size)
        assert disk.read() == pattern(SEED, AREA), "the image does not have the pattern"
    boot(bench, vmm, reader, "verify", image, area)
    assert crc32c(image.read_bytes()[:size]) == before, "a byte of the file system has changed"
    check_filesystem(image, size)


@pytest.mark.parametrize("path", READS)
def test_another_checksum_fails(bench, vmm, image, size, crc32c, path):
    crc = crc32c(image.read_bytes()[:MIB]) ^ 1
    boot(bench, vmm, path, "read", image, f"disk.bytes={MIB} disk.crc={crc:#x}", "FAIL")


@pytest.mark.parametrize("path", READS)
def test_a_pattern_nobody_wrote_fails(bench, vmm, image, size, path):
    area = f"area.first={size // SECTOR} area.count={AREA}"
    boot(bench, vmm, path, "verify", image, area, "FAIL")


@pytest.mark.parametrize("path", READS)
def test_one_bit_that_the_disk_gets_wrong_fails(bench, vmm, image, size, crc32c, path):
    """The fault changes a bit of each read that the block layer completes."""
    if vmm.is_qemu:
        pytest.skip("faults are in our own VMM only")
    faulty = Vmm(str(bench.root / "build/faults/assay"), vmm.accel)
    if faulty.missing:
        pytest.skip(faulty.missing)
    crc = crc32c(image.read_bytes()[:MIB])
    environment = {"ASSAY_FAULTS": "ata-data-bit", "ASSAY_FAULTS_TABLE": "testcases/faults.tsv"}
    words = f"disk.bytes={MIB} disk.crc={crc:#x}"
    boot(bench, faulty, path, "read", image, words, "FAIL", environment)


def test_crc32c_has_the_published_check_value(crc32c):
    assert crc32c(b"123456789") == 0xE3069283
