# SPDX-License-Identifier: MIT
"""What operations cost under `soft`, exactly: kernels `bench` (storage) and `speed` (integer work) with a fixed
number of operations, in virtual time, by the probe device (docs/probe.md).  Two runs give the same numbers.
"""

import hashlib
import struct
import subprocess
import tempfile
from pathlib import Path

from . import benchspeed
from .machines import make_image
from .vmm import Vmm

SEED = 1
OPERATIONS = 64  # of a cell: two batches at depth 32
IMAGE = 64 << 20
# The virtio disks: kernel `bench` drives them by either ring and by one or all of the queues; one has no
# file behind it.
DISK = "disable-legacy=on,packed=on,num-queues=4"
NULL = f"driver=null-co,node-name=null,size={IMAGE},read-zeroes=on"
COUNTERS = ["instructions", "exits", "kicks", "interrupts", "dma_bytes", "copied_bytes", "tlb_misses"]
PREFIX = "count_"


class ExactError(Exception):
    pass


def kernel_hash(path):
    """Of what is loaded of a kernel: debugging information names folders, and is no part of it."""
    image = Path(path).read_bytes()
    (phoff,) = struct.unpack_from("<Q", image, 32)
    size, count = struct.unpack_from("<HH", image, 54)
    digest = hashlib.sha256()
    for at in range(phoff, phoff + size * count, size):
        kind, _, offset, vaddr, _, filesz, memsz, _ = struct.unpack_from("<IIQQQQQQ", image, at)
        if kind == 1:
            digest.update(struct.pack("<QQ", vaddr, memsz) + image[offset : offset + filesz])
    return digest.hexdigest()[:16]


def metrics_of(text):
    """{TEST: {metric: value}} of the TESTs that passed, from a kernel's output."""
    passed, values, name = {}, {}, None
    for line in text.replace("\r", "").splitlines():
        words = line.split()
        if line.startswith("# begin "):
            name, values = words[2], {}
        elif line.startswith("# metric "):
            values[words[2]] = int(words[3])
        elif line.startswith("ok ") and "# SKIP" not in line and words[2:3] == [name]:
            passed[name] = values
    return passed


def run(line):
    try:
        done = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, timeout=300)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ExactError(f"{line[0]}: {error}") from None
    found = metrics_of(done.stdout.decode("ascii", "replace"))
    if done.returncode != 1 or not found:
        said = (done.stderr or done.stdout).decode("utf-8", "replace").strip()[-300:]
        raise ExactError(f"{line[0]} ended with status {done.returncode}: {said}")
    return found


def virtual(vmm, machine):
    """The command line under virtual time with the fixed seed."""
    line = Vmm(vmm, "soft").command(["-seed", str(SEED), *machine])
    return [str(word) for word in line]


def storage_machine(folder):
    machine = ["-machine", "pc", "-m", "96M"]
    for name, rest in (("ata", "if=ide"), ("virtio", "if=none,id=v")):
        path = Path(folder) / f"{name}.img"
        make_image(path, IMAGE, "lba")
        machine += ["-drive", f"file={path},format=raw,{rest}"]
    machine += ["-device", f"virtio-blk-pci,drive=v,{DISK}"]
    return machine + ["-blockdev", NULL, "-device", f"virtio-blk-pci,drive=null,{DISK}"]


def storage(vmm, kernel, folder):
    """{cell: {counter: total, "operations": n}}"""
    line = virtual(vmm, storage_machine(folder))
    found = run(line + ["-kernel", str(kernel), "-append", f"ops={OPERATIONS}"])
    rows = {}
    for name, values in found.items():
        if "operations" in values:
            rows[name] = {"operations": values["operations"]}
            for counter in COUNTERS:
                if PREFIX + counter in values:
                    rows[name][counter] = values[PREFIX + counter]
    return rows


def integers(vmm, kernel):
    """{kernel of integer work: {"instructions": n, "operations": rounds}}"""
    line = virtual(vmm, ["-machine", "microvm,acpi=off", "-m", "64M"])
    found = run(line + ["-kernel", str(kernel), "-append", "scale=1"])
    return {
        name: {"operations": found[name]["rounds"], "instructions": found[name]["instructions"]}
        for name in benchspeed.KERNELS
        if "instructions" in found.get(name, {})
    }


def measure(vmm, kernels):
    """{kernel: {row: {counter: total}}} of the kernels in the folder `kernels`."""
    with tempfile.TemporaryDirectory(prefix="exact-", dir=scratch()) as folder:
        return {
            "bench": storage(vmm, Path(kernels) / "bench.elf", folder),
            "speed": integers(vmm, Path(kernels) / "speed.elf"),
        }


def scratch():
    build = Path("build").resolve()
    build.mkdir(exist_ok=True)
    return build


def measure_twice(vmm, kernels):
    """The same, after a second run has given the same numbers."""
    first, second = measure(vmm, kernels), measure(vmm, kernels)
    for kernel, rows in first.items():
        for name, values in rows.items():
            if second[kernel].get(name) != values:
                raise ExactError(
                    f"{kernel}.{name}: two runs differ: {values} and {second[kernel].get(name)}"
                )
    return first


# ---- the table of `make bench` ----


def per_operation(values, counter):
    if counter not in values:
        return "-"
    each = values[counter] / values["operations"]
    return f"{each:.0f}" if each >= 1000 else f"{each:.3f}".rstrip("0").rstrip(".")


def lines(rows):
    """`rows`: of kernel bench."""
    out = ["", "soft, exact, an operation in virtual time (the same in every run)"]
    names = ["instr", "exits", "kicks", "irqs", "DMA bytes", "copied", "TLB misses"]
    out.append(f"  {'':20}" + "".join(f"{name:>12}" for name in names))
    for name, values in rows.items():
        out.append(
            f"  {name:20}" + "".join(f"{per_operation(values, counter):>12}" for counter in COUNTERS)
        )
    return out
