# SPDX-License-Identifier: MIT
"""`-accel soft` runs the same way twice: the hash of registers, memory and serial output
at each millionth instruction and at the end is the same with the same seed, and another with another."""

import fcntl
import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from harness.machines import make_image

SEEDS, RUNS = range(1, 4), 2  # in `make soak`: 20 and 3
RACES = 200  # seeds within which a planted race must show
MIB = 1 << 20
PAGE = 4096
# What fixed.asm does, instruction by instruction, on every host. Who changes the machine that it sees
# (ACPI tables, CMOS, the processor's registers after reset) records it anew and says why.
FIXED_HASHES = [
    "hash 1000000 395452e395decfc8",
    "hash 2000000 338d338ee0b4754a",
    "hash 2407419 52ff29cb79a7feef",
]

# kernel: what its machine has; the wall clock is outside input, so -rtc gives it a value
MACHINES = {
    "timers": "-machine pc -m 32",
    "virtio_blk": "-machine pc -m 64 -object iothread,id=io0 "
    "-drive if=none,id=v,file={disk},format=raw,snapshot=on "
    "-device virtio-blk-pci,drive=v,iothread=io0,disable-legacy=on",
    "smp": "-machine pc -m 64 -smp 4 -drive if=none,id=v,file={disk},format=raw,snapshot=on "
    "-device virtio-blk-pci,drive=v,disable-legacy=on",
    "runtime": "-machine pc -m 32",
    "race": "-machine pc -m 32 -smp 2",
    "ata_dma": "-machine pc -m 64 -drive if=ide,file={disk},format=raw,snapshot=on",
    "virtio_mmio": "-machine microvm -m 64 -global virtio-mmio.force-legacy=false "
    "-drive if=none,id=v,file={disk},format=raw,snapshot=on "
    "-device virtio-blk-device,drive=v",
}


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    path = tmp_path_factory.mktemp("disk") / "disk.img"
    make_image(path, 16 * MIB, "lba")
    return path


def line_of(vmm, kernel, disk, *more):
    line = [vmm.path, "-nodefaults", "-display", "none", "-no-reboot", "-monitor", "none"]
    line += ["-rtc", "base=2026-01-01", *MACHINES[kernel].format(disk=disk).split(), *more]
    line += ["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"]
    return line + ["-kernel", f"build/kernels/{kernel}.elf"]


def run_of(vmm, kernel, disk, seed):
    """The lines of -d hash and the serial output of one run."""
    line = line_of(vmm, kernel, disk, "-serial", "stdio", "-d", "hash")
    line += ["-accel", f"soft,seed={seed}"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=300, check=False)
    assert "\n1.." in done.stdout, done.stderr
    return done.stderr.splitlines(), done.stdout


@pytest.fixture
def soft(vmm):
    if vmm.accel != "soft":
        pytest.skip("the runs of this engine follow the host's clock")
    return vmm


@pytest.mark.parametrize("kernel", MACHINES)
def test_same_seed_same_run(bench, soft, kernel, disk):
    seeds, count = (range(1, 21), 3) if bench.whole else (SEEDS, RUNS)
    hashes = {}
    for seed in seeds:
        runs = [run_of(soft, kernel, disk, seed) for _ in range(count)]
        assert runs.count(runs[0]) == count, f"seed {seed}: two runs differ"
        assert len(runs[0][0]) >= 1
        assert all(row.startswith("hash ") for row in runs[0][0])
        hashes[seed] = tuple(runs[0][0])
    if kernel not in ("timers", "runtime", "race"):  # nothing, or hardly anything, that a seed could move
        assert len(set(hashes.values())) == len(seeds), "the seed changes nothing"


def test_a_planted_race_is_found_and_found_again(soft, disk):
    """Two processors that advance an index without a lock: some seed shows it, and shows it again."""
    for seed in range(1, RACES + 1):
        found = run_of(soft, "race", disk, seed)
        if "\nnot ok 1 no_entry_is_lost" in found[1]:
            break
    else:
        pytest.fail(f"none of {RACES} seeds")
    assert run_of(soft, "race", disk, seed) == found
    assert run_of(soft, "race", disk, seed + 1)[0] != found[0]


def test_a_slow_reader_is_not_seen(soft, disk):
    """The guest does not see in its line status that nobody reads: it stands still instead."""
    line = line_of(soft, "virtio_blk", disk, "-serial", "stdio", "-d", "hash")
    line += ["-accel", "soft,seed=1"]
    quick = subprocess.run(line, capture_output=True, timeout=300, check=False)
    reader, writer = os.pipe()
    before = b"-" * fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PAGE)  # nothing more fits
    os.write(writer, before)
    with subprocess.Popen(line, stdout=writer, stderr=subprocess.PIPE) as late:
        os.close(writer)
        asleep = 0
        while asleep < 10:
            time.sleep(0.02)
            state = Path(f"/proc/{late.pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
            asleep = asleep + 1 if state == "S" else 0
        with os.fdopen(reader, "rb") as stream:
            assert stream.read() == before + quick.stdout
        assert late.stderr.read() == quick.stderr


def test_what_the_processor_does_is_told(soft, disk):
    """-d int and in_asm: the same lines again, an exception with its vector, code with its text."""
    line = line_of(soft, "runtime", disk, "-serial", "null", "-accel", "soft")
    told = [
        subprocess.run([*line, "-d", item], capture_output=True, text=True, timeout=300, check=False).stderr
        for item in ("int", "int", "in_asm")
    ]
    assert told[0] == told[1]
    assert re.match(r"     0: v=[0-9a-f]{2} e=[0-9a-f]{4} i=0 cpl=[03] cpu=0 IP=", told[0])
    assert re.search(r"^IN: cpu 0\n0x[0-9a-f]{16}:  \w+ ", told[2], re.M)


def test_another_host_changes_nothing(soft, tmp_path):
    """A kernel that no compiler made: its hashes are those that were recorded, on another machine."""
    image = tmp_path / "fixed"
    subprocess.run(["nasm", "-f", "bin", "-o", image, "testcases/fixed.asm"], check=True)
    line = [os.path.abspath(soft.path), "-accel", "soft,seed=1", "-machine", "pc", "-m", "32", "-cpu", "qemu64"]
    line += ["-nodefaults", "-display", "none", "-monitor", "none", "-serial", "stdio", "-no-reboot"]
    line += ["-rtc", "base=2026-01-01", "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"]
    line += ["-d", "hash", "-kernel", image.name]  # its name is in the guest's memory
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1 and done.stdout == "." * 390, done.stderr
    assert done.stderr.splitlines() == FIXED_HASHES
