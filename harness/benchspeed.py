# SPDX-License-Identifier: MIT
"""How fast the software processor computes, beside QEMU's TCG: kernel `speed`, the same rounds on both.

The count of instructions is the engine's own (query-stats' and the probe's `instructions`), and holds for
the peer too, which runs the same kernel for the same rounds.  Each kernel runs several times on each, in
turn, and the fastest counts: what others do on the host only makes a run longer.
"""

import subprocess

KERNELS = ("crc32c", "sha256", "qsort", "memcpy", "bytecode")
SCALE = {"crc32c": 2000, "sha256": 2000, "qsort": 1000, "memcpy": 2500, "bytecode": 1600}
MIPS = 150
PART_OF_TCG = 1 / 3


def command(vmm, kernel, name, scale):
    line = vmm.command(["-machine", "microvm,acpi=off", "-m", "64M"])
    return [str(word) for word in line + ["-kernel", kernel, "-append", f"run={name} scale={scale}"]]


def run_once(vmm, kernel, name, scale):
    """{metric: value} of one TEST, or None if it did not pass."""
    try:
        done = subprocess.run(
            command(vmm, kernel, name, scale), stdin=subprocess.DEVNULL, capture_output=True, timeout=120
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    text = done.stdout.decode("ascii", "replace")
    if f"ok 1 {name}\n" not in text.replace("\r", "") or "not ok" in text:
        return None
    words = [line.split() for line in text.splitlines() if line.startswith("# metric ")]
    return {key: int(value) for _, _, key, value in words}


def measure(vmms, kernel, runs, progress, scale=1.0):
    """{kernel: {"instructions": n, vmm: {"seconds": s, "mips": m}}}; a VMM that failed is left out."""
    result = {}
    for name in KERNELS:
        row = result[name] = {"instructions": None, "scale": max(1, int(SCALE[name] * scale))}
        taken = {key: [] for key in vmms}
        for number in range(runs):
            progress.say(f"speed of {name}, run {number + 1} of {runs}", number == 0)
            for key, vmm in vmms.items():
                metrics = run_once(vmm, kernel, name, row["scale"])
                if metrics:
                    taken[key].append(metrics["ns"] / 1e9)
                    row["instructions"] = metrics.get("instructions") or row["instructions"]
        for key, seconds in taken.items():
            if seconds and row["instructions"]:
                fastest = min(seconds)
                row[key] = {"seconds": fastest, "mips": row["instructions"] / fastest / 1e6}
    return result


# ---- the table and the targets ----


def part(row):
    """The speed of ours over the peer's, or None."""
    if "assay-soft" not in row or "qemu-tcg" not in row:
        return None
    return row["qemu-tcg"]["seconds"] / row["assay-soft"]["seconds"]


def average(report):
    values = [row.get("assay-soft", {}).get("mips") for row in report.values()]
    return None if not values or None in values else sum(values) / len(values)


def lines(report):
    out = ["", "Integer kernels: million guest instructions a second, fastest run"]
    out.append(f"  {'':12}{'instructions':>14}{'soft':>10}{'QEMU TCG':>10}{'Bochs':>8}{'soft / TCG':>12}")
    for name, row in report.items():
        mips = [f"{row[key]['mips']:.0f}" if key in row else "-" for key in ("assay-soft", "qemu-tcg", "bochs")]
        ratio = part(row)
        out.append(
            f"  {name:12}{row['instructions'] or 0:>14}{mips[0]:>10}{mips[1]:>10}{mips[2]:>8}"
            f"{'-' if ratio is None else f'{ratio:.2f}':>12}"
        )
    mean = average(report)
    out.append(f"  {'average':12}{'':14}{'-' if mean is None else f'{mean:.0f}':>10}")
    return out


def judge(report):
    """(name, what was seen, whether it holds or None) of each target."""
    mean = average(report)
    rows = [
        (
            f"soft: at least {MIPS} million instructions a second on average",
            "-" if mean is None else f"{mean:.0f}",
            None if mean is None else mean >= MIPS,
        )
    ]
    parts = {name: part(row) for name, row in report.items()}
    if any(value is not None for value in parts.values()):
        seen = ", ".join(f"{name} {value:.2f}" for name, value in parts.items() if value is not None)
        missing = None in parts.values()
        holds = None if missing else all(value >= PART_OF_TCG for value in parts.values())
        rows.append(("soft: a third of the speed of QEMU TCG or better on each", seen, holds))
    return rows
