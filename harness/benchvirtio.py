# SPDX-License-Identifier: MIT
"""The benchmark's targets of virtio-blk: packed rings beside split ones, ours beside QEMU (docs/performance.md)."""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

RING_REQUESTS = 32 * 100  # of testcases/unit/test_ring_cost.c, by each kind of ring
PAIRS = {"virtio": "packed", "queues": "packedqueues", "null": "nullpacked"}  # split: packed
DISK = ("virtio", "packed", "queues", "packedqueues")
NULL = ("null", "nullpacked")


def parts(name):
    """(path, the rest) of a cell's name"""
    path, _, rest = name.partition("_")
    return path, rest


def deep(name, paths):
    return parts(name)[0] in paths and name.endswith("_32")


def pairs(cells):
    """[(split cell, packed cell, name of the packed one)]"""
    found = []
    for name, cell in cells.items():
        path, rest = parts(name)
        other = f"{PAIRS.get(path)}_{rest}"
        if other in cells:
            found.append((cell, cells[other], other))
    return found


def worst(name, ratios, holds, digits=2):
    """A target over {cell: ratio or None}: all of them must hold; the worst is shown."""
    if not ratios:
        return []
    known = {cell: value for cell, value in ratios.items() if value is not None}
    if not known:
        return [(name, "no figures", None)]
    rising = holds(float("inf"))  # more is better
    cell = (min if rising else max)(known, key=known.get)
    good = sum(1 for value in known.values() if holds(value))
    seen = f"{good} of {len(ratios)} rows, worst {known[cell]:.{digits}f} in {cell}"
    return [(name, seen, good == len(ratios) if len(known) == len(ratios) else None)]


def ratio(over, under):
    return over / under if over is not None and under else None


def judge_exact(rows):
    ratios = {
        name: ratio(
            packed["instructions"] / packed["operations"], split["instructions"] / split["operations"]
        )
        for split, packed, name in pairs(rows)
        if "instructions" in split and "instructions" in packed
    }
    return worst(
        "packed: no more guest instructions an operation than split (exact)",
        ratios,
        lambda value: value <= 1,
        3,
    )


def host_instructions(program):
    """{"split": n, "packed": n}: host instructions that a request costs in the device's part of a ring, by
    callgrind, exact; {"failed": why} where it does not come to that."""
    if not shutil.which("valgrind"):
        return {"failed": "no valgrind here"}
    if not Path(program).exists():
        return {"failed": f"no {program}"}
    try:
        return counted(program)
    except (OSError, subprocess.SubprocessError) as error:
        return {"failed": str(error)}


def counted(program):
    with tempfile.TemporaryDirectory() as folder:
        profile = f"{folder}/profile"
        line = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={profile}", str(program)]
        subprocess.run(line, check=True, capture_output=True, timeout=120)
        line = ["callgrind_annotate", "--inclusive=yes", "--threshold=100", profile]
        told = subprocess.run(line, check=True, capture_output=True, text=True, timeout=120).stdout
    found = re.findall(r"^ *([\d,]+) .*:(split|packed)_turn ", told, re.M)
    return {kind: int(count.replace(",", "")) / RING_REQUESTS for count, kind in found}


def judge_host_cost(cost):
    if cost is None:
        return []
    name = "packed: no more host instructions an operation than split (exact, by callgrind)"
    if not {"split", "packed"} <= set(cost):
        return [(name, cost.get("failed", "callgrind did not see both"), None)]
    seen = f"{cost['packed']:.0f} of {cost['split']:.0f}"
    return [(name, seen, cost["packed"] <= cost["split"])]


def judge_events(cells):
    figures = {}
    for name, cell in cells.items():
        if deep(name, DISK + NULL) and any(deep(other, ("packed",)) for other in cells):
            known = "kicks" in cell and "interrupts" in cell
            figures[name] = max(cell["kicks"], cell["interrupts"]) if known else None
    return worst(
        "fewer than 0.1 kicks, and interrupts, an operation at depth 32",
        figures,
        lambda value: value < 0.1,
        3,
    )


def beside(storage, ours, peer, paths, figure):
    mine, theirs = storage.get(ours, {}), storage.get(peer, {})
    return {
        name: ratio(cell.get(figure), theirs.get(name, {}).get(figure))
        for name, cell in mine.items()
        if parts(name)[0] in paths and "packed_read_4k_32" in mine and theirs
    }


def of_disk(report, vmm):
    """IOPS of rows with a file behind over those of the disk by itself, least and most."""
    ratios = []
    for name, cell in report["storage"].get(vmm, {}).items():
        path, rest = parts(name)
        row, _, depth = rest.rpartition("_")
        queues = 4 if path in ("queues", "packedqueues") else 1
        alone = report.get("disk", {}).get(row, {}).get(int(depth) * queues)
        if path in DISK and alone and "iops" in cell:
            ratios.append(cell["iops"] / alone["iops"])
    return f"{min(ratios):.2f} to {max(ratios):.2f}" if ratios else None


def beside_the_disk(report, row):
    """The row with a word on how much more there is to have."""
    ours, peer = (of_disk(report, vmm) for vmm in ("assay-soft", "qemu-tcg"))
    if not ours or not peer:
        return row
    name, seen, holds = row
    return name, f"{seen}; of the disk alone: soft {ours}, TCG {peer}", holds


def judge(report):
    """[(name, what was seen, holds or None)]"""
    storage = report["storage"]
    rows = judge_exact(report.get("exact", {}).get("bench", {}))
    rows += judge_host_cost(report.get("host_instructions"))
    rows += judge_events(storage.get("assay", {}))
    for paths, words in ((DISK, "a file behind"), (NULL, "no disk behind")):
        speed = worst(
            f"virtio-blk, {words}: soft at least 1.5 times the IOPS of TCG",
            beside(storage, "assay-soft", "qemu-tcg", paths, "iops"),
            lambda value: value >= 1.5,
        )
        rows += [beside_the_disk(report, row) for row in speed] if paths is DISK else speed
        rows += worst(
            f"virtio-blk, {words}: under KVM less VMM CPU time an operation than QEMU",
            beside(storage, "assay", "qemu-kvm", paths, "vmm_us"),
            lambda value: value < 1,
        )
    return rows
