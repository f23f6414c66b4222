# SPDX-License-Identifier: MIT
"""`make gate`, its second half: what operations cost, against what they cost when the baselines were written.

    python3 -m harness.gate [--vmm build/assay] [--baselines ci/baselines] [--write]

Assay is judged by exact counts under `soft` (harness/exact.py), so an increase is an increase and not noise.
Counts depend on the kernels' code as well: while a kernel is the one of the baseline, to the byte, no
increase is allowed; where it is another (changed, or of another compiler), the stated tolerance is, and
that is said.  Another VMM has no probe device: there ratios of rates of one sitting are judged.
"""

import argparse
import statistics
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from . import exact
from .vmm import Vmm

# In percent, where the kernel is not the baseline's.
TOLERANCE = {
    "instructions": 5, "exits": 2, "kicks": 2, "interrupts": 2, "dma_bytes": 0, "copied_bytes": 0,
    "tlb_misses": 25,
}  # fmt: skip
# And so many events more in a row's whole run: an interrupt more or less hangs on when a loop looks.
SLACK = {"exits": 2, "kicks": 2, "interrupts": 2, "tlb_misses": 2}
RATIO_TOLERANCE = 50
RATIO_RUNS = 3
HEAD = """# SPDX-License-Identifier: MIT
# Written by `make baselines`; read by `make gate` (README.md).
"""


class GateError(Exception):
    pass


@dataclass
class Baseline:
    hashes: dict = field(default_factory=dict)  # kernel -> hash
    tolerance: dict = field(default_factory=dict)  # counter -> percent
    slack: dict = field(default_factory=dict)  # counter -> events
    rows: dict = field(default_factory=dict)  # (kernel, row) -> {counter: total, "operations": n}


def parse(text):
    baseline, columns = Baseline(), []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        words = line.split("\t")
        try:
            if words[0] == "kernel":
                baseline.hashes[words[1]] = words[2]
            elif words[0] == "tolerance":
                baseline.tolerance[words[1]] = float(words[2])
                baseline.slack[words[1]] = int(words[3]) if words[3:] else 0
            elif words[0] == "row":
                columns = words[3:]
            elif words[0] == "count":
                values = {name: int(word) for name, word in zip(columns, words[3:]) if word != "-"}
                values["operations"]  # noqa: B018
                baseline.rows[words[1], words[2]] = values
            else:
                raise ValueError(words[0])
        except (IndexError, ValueError, KeyError):
            raise GateError(f"line {number} of the baselines makes no sense: {line}") from None
    return baseline


def written(measured, hashes):
    columns = ["operations", *exact.COUNTERS]
    lines = [f"kernel\t{kernel}\t{value}" for kernel, value in hashes.items()]
    lines += [
        f"tolerance\t{counter}\t{percent}\t{SLACK.get(counter, 0)}" for counter, percent in TOLERANCE.items()
    ]
    lines.append("\t".join(["row", "kernel", "name", *columns]))
    for kernel, rows in measured.items():
        for name, values in rows.items():
            cells = [str(values.get(column, "-")) for column in columns]
            lines.append("\t".join(["count", kernel, name, *cells]))
    return HEAD + "\n".join(lines) + "\n"


def plain(number):
    return f"{number:.3f}".rstrip("0").rstrip(".")


def change(was, now):
    return (now - was) / was * 100 if was else float("inf") if now else 0.0


def compare(baseline, measured, hashes):
    """(failures, remarks): lines of text."""
    failures, remarks, better = [], [], 0
    known = {kernel: hashes.get(kernel) == value for kernel, value in baseline.hashes.items()}
    for kernel, same in known.items():
        if not same:
            remarks.append(
                f"kernel {kernel} is not the baseline's ({hashes.get(kernel)}, was"
                f" {baseline.hashes[kernel]}): compared with the stated tolerances"
            )
    for (kernel, name), before in baseline.rows.items():
        after = measured.get(kernel, {}).get(name)
        if after is None:
            failures.append(f"{kernel}.{name}: not measured")
            continue
        for counter in (key for key in before if key != "operations"):
            if counter not in after:
                failures.append(f"{kernel}.{name} {counter}: not counted")
                continue
            was = before[counter] / before["operations"]
            now = after[counter] / after["operations"]
            percent = change(was, now)
            allowed = 0 if known.get(kernel) else baseline.tolerance.get(counter, 0)
            more = (now - was) * after["operations"]
            slack = 0 if known.get(kernel) else baseline.slack.get(counter, 0)
            if percent > allowed and more > slack:
                failures.append(
                    f"{kernel}.{name} {counter}: was {plain(was)}, is {plain(now)} an operation"
                    f" (+{percent:.1f} %, allowed {allowed:g} %)"
                )
            better += percent < -allowed
    fresh = [f"{kernel}.{name}" for kernel, rows in measured.items() for name in rows]
    fresh = [name for name in fresh if tuple(name.split(".", 1)) not in baseline.rows]
    if fresh:
        remarks.append("not in the baselines: " + ", ".join(fresh))
    if better:
        remarks.append(f"{better} counts are lower than the baselines': make baselines keeps that")
    return failures, remarks


# ---- another VMM: ratios ----


def rates(vmm, kernel):
    """{cell: operations a second} of one run."""
    with tempfile.TemporaryDirectory(prefix="gate-", dir=exact.scratch()) as folder:
        line = [str(word) for word in vmm.command(exact.storage_machine(folder))]
        wanted = [
            f"{path}_{kind}_{size}k_{depth}"
            for path, depth in (("dma", 1), ("virtio", 32))
            for kind in ("read", "write")
            for size in (4, 128)
        ]
        words = f"ms=100 run={','.join(wanted)}"
        found = exact.run(line + ["-kernel", str(kernel), "-append", words])
    return {name: row["operations"] / row["ns"] * 1e9 for name, row in found.items() if row.get("ns")}


def ratios(vmm, kernel):
    """{row: virtio-blk at depth 32 over ATA DMA}, the median of some runs."""
    taken = {}
    for _ in range(RATIO_RUNS):
        found = rates(vmm, kernel)
        for name, rate in found.items():
            base = found.get(name.replace("virtio", "dma").replace("_32", "_1"))
            if name.startswith("virtio") and base:
                taken.setdefault(name, []).append(rate / base)
    if not taken:
        raise GateError(f"{vmm.path}: no row of the storage kernel ran")
    return {name: statistics.median(values) for name, values in taken.items()}


def ratios_written(found):
    lines = [f"ratio\t{name}\t{value:.2f}" for name, value in found.items()]
    return HEAD + "# virtio-blk at depth 32 over ATA DMA, operations a second\n" + "\n".join(lines) + "\n"


def compare_ratios(text, found):
    failures = []
    for line in text.splitlines():
        words = line.split("\t")
        if words[0] != "ratio":
            continue
        name, was = words[1], float(words[2])
        if name not in found:
            failures.append(f"ratio {name}: not measured")
        elif found[name] < was * (1 - RATIO_TOLERANCE / 100):
            failures.append(
                f"ratio {name}: was {was:.2f}, is {found[name]:.2f}"
                f" (allowed: {RATIO_TOLERANCE} % less)"
            )
    return failures


# ---- the program ----


def gate_ratios(vmm, options):
    path = Path(options.baselines) / f"{Path(vmm.path).name}-{vmm.accel}.tsv"
    found = ratios(vmm, Path(options.kernels) / "bench.elf")
    if options.write:
        path.write_text(ratios_written(found))
        return [], [f"{path} written"]
    remarks = [f"ratio {name}: {value:.2f}" for name, value in found.items()]
    if not path.exists():
        return [], remarks + [f"no {path} to compare with: make baselines VMM={vmm.path} makes one"]
    return compare_ratios(path.read_text(), found), remarks


def gate_counts(vmm, options):
    path = Path(options.baselines) / "soft.tsv"
    if not options.write and not path.exists():
        raise GateError(f"no {path}: make baselines makes it")
    measured = exact.measure_twice(vmm.path, options.kernels)
    hashes = {
        kernel: exact.kernel_hash(Path(options.kernels) / f"{kernel}.elf") for kernel in measured
    }
    if options.write:
        path.write_text(written(measured, hashes))
        return [], [f"{path} written"]
    baseline = parse(path.read_text())
    failures, remarks = compare(baseline, measured, hashes)
    counts = sum(len(values) - 1 for values in baseline.rows.values())
    return failures, remarks + [f"{counts} counts of {len(baseline.rows)} rows compared with {path}"]


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="make gate")
    parser.add_argument("--vmm", default="build/assay")
    parser.add_argument("--accel", default="kvm", help="of another VMM; ours is judged under soft")
    parser.add_argument("--kernels", default="build/kernels")
    parser.add_argument("--baselines", default="ci/baselines")
    parser.add_argument("--write", action="store_true", help="make baselines")
    options = parser.parse_args(arguments)
    ours = Vmm(options.vmm, "soft")
    other = ours.is_qemu or ours.engine != "soft"
    vmm = Vmm(options.vmm, options.accel.split(",")[0]) if other else ours
    try:
        failures, remarks = (gate_ratios if other else gate_counts)(vmm, options)
    except (GateError, exact.ExactError, OSError) as error:
        print(f"gate: {error}")
        return 2
    for line in remarks:
        print(f"gate: {line}")
    for line in failures:
        print(f"gate: FAIL {line}")
    print(f"gate: {len(failures)} failures" if failures else "gate: passed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
