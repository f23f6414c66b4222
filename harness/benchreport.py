# SPDX-License-Identifier: MIT
"""The benchmark's table, and its targets judged: PASS, MISS, or not judged with the reason."""

from . import benchbochs, benchlinux, benchspeed, benchvirtio, exact
from .benchstorage import CELL, PATHS, ROW_NAMES, ROWS

# Per operation: exits, kicks, interrupts, CPU time.
HEAD = (
    f"  {'':18}{'depth':>5}{'IOPS':>10}{'MB/s':>9}{'exits/op':>10}{'kicks/op':>9}{'irqs/op':>8}"
    f"{'vCPU us/op':>12}{'VMM us/op':>11}{'x DMA':>8}"
)
TITLES = {
    "assay": "Assay, KVM",
    "assay-soft": "Assay, soft (the vCPU column is the main loop's thread, devices and all)",
    "qemu-tcg": "QEMU, TCG (nothing exits; the vCPU column is the whole process)",
    "qemu-kvm": "QEMU, KVM (exits by KVM's statistics; kicks are not in them)",
}


def number(value, digits):
    return "-" if value is None else f"{value:.{digits}f}"


def plain(value):
    return "-" if value is None else f"{value:,.0f}".replace(",", " ")


def ratio(cells, row, cell):
    base = cells.get(f"dma_{row}_1", {}).get("iops")
    return cell["iops"] / base if base and "iops" in cell else None


def cell_line(cells, name, tcg):
    path, row, _, depth = CELL.match(name).groups()
    cell = cells[name]
    if "failed" in cell:
        return f"  {PATHS[path]:18}{depth:>5}  {cell['failed'][:90]}"
    vcpu = cell["total_us"] if tcg else cell["vcpu_us"]
    vmm = None if tcg else cell["vmm_us"]
    return (
        f"  {PATHS[path]:18}{depth:>5}{plain(cell['iops']):>10}{number(cell['mb_s'], 1):>9}"
        f"{number(cell.get('exits'), 3):>10}{number(cell.get('kicks'), 3):>9}"
        f"{number(cell['interrupts'], 3):>8}{number(vcpu, 1):>12}{number(vmm, 1):>11}"
        f"{number(ratio(cells, row, cell), 2):>8}"
    )


def storage_lines(report):
    lines = []
    for key, cells in report["storage"].items():
        lines += ["", f"{TITLES[key]}, cache={report['cache']}", HEAD]
        for row in ROWS:
            lines.append(f" {ROW_NAMES[row]}")
            lines += [
                cell_line(cells, name, key == "qemu-tcg")
                for name in cells
                if CELL.match(name).group(2) == row
            ]
            lines.append(f"  {'ATA':18}{'32':>5}{'n/a':>10}   ATA has no queue of that depth")
    return lines


def disk_lines(report):
    if not report.get("disk"):
        return []
    lines = ["", "The host's disk by itself: the same requests by io_uring from a program, without a VM"]
    lines.append(f"  {'':30}{'depth':>5}{'IOPS':>10}{'CPU us/op':>12}")
    for row, depths in report["disk"].items():
        for depth, cell in depths.items():
            lines.append(f"  {ROW_NAMES[row]:30}{depth:>5}{plain(cell['iops']):>10}{cell['cpu_us']:>12.1f}")
    return lines


def start_lines(report):
    lines = ["", "A VM that prints one line and exits (microvm), whole process"]
    lines.append(
        f"  {'':12}{'median ms':>10}{'fastest':>9}{'peak RSS KiB':>14}{'private KiB':>13}{'library KiB':>13}"
    )
    for key, row in report["start"].items():
        lines.append(
            f"  {key:12}{row['seconds'] * 1e3:>10.1f}{row['fastest'] * 1e3:>9.1f}"
            f"{row['peak_rss_kib']:>14}{row['private_kib']:>13}{row['library_kib']:>13}"
        )
    return lines


def table(report):
    lines = start_lines(report) + storage_lines(report) + disk_lines(report)
    if report.get("exact"):
        lines += exact.lines(report["exact"]["bench"])
    if report.get("speed"):
        lines += benchspeed.lines(report["speed"])
    if report.get("linux"):
        lines += benchlinux.lines(report["linux"])
    for key, reason in report["left_out"].items():
        lines += ["", f"left out: {key}: {reason}"]
    lines += ["", "Targets"]
    for target in report["targets"]:
        lines.append(f"  {target['verdict']:11} {target['name']}")
        lines.append(f"  {'':11}   {target['seen']}")
    return "\n".join(lines[1:])


# ---- the targets ----


def target(name, seen, holds):
    return {
        "name": name,
        "seen": seen,
        "verdict": "not judged" if holds is None else "PASS" if holds else "MISS",
    }


def by_row(name, values, digits, test):
    """`values`: {row: value or None}; one row that cannot be judged leaves the whole unjudged."""
    seen = ", ".join(f"{row.replace('_', ' ')} {number(value, digits)}" for row, value in values.items())
    if any(value is None for value in values.values()):
        return target(name, seen, None)
    return target(name, seen, all(test(value) for value in values.values()))


def times_fewer(cells, row, figure):
    """How many times more of `figure` an operation costs by DMA than by virtio at depth 32."""
    dma, virtio = cells.get(f"dma_{row}_1", {}), cells.get(f"virtio_{row}_32", {})
    if figure == "events":
        for cell in (dma, virtio):
            if "exits" in cell and "kicks" in cell:
                cell["events"] = cell["exits"] + cell["kicks"]
    if figure not in dma or figure not in virtio:
        return None
    return dma[figure] / max(virtio[figure], 1e-6)


def judge_soft(report):
    """The software processor beside QEMU's TCG."""
    rows = [target(*row) for row in benchspeed.judge(report["speed"])] if report.get("speed") else []
    if any("bochs" in row for row in report.get("speed", {}).values()):
        rows.append(target(*benchbochs.judge(report["speed"])))
    if report.get("linux"):
        rows.append(target(*benchlinux.judge(report["linux"])))
    start = report["start"].get("assay-soft")
    if start:
        seen = f"{start['seconds'] * 1e3:.1f} ms"
        rows.append(target("soft: VM start to exit under 5 ms", seen, start["seconds"] < 0.005))
    ours, peer = (report["storage"].get(key) for key in ("assay-soft", "qemu-tcg"))
    if ours and peer:
        ratios = {
            name: cell["iops"] / peer[name]["iops"] if "iops" in cell and "iops" in peer[name] else None
            for name, cell in ours.items()
        }
        worst = min((value, name) for name, value in ratios.items() if value is not None)
        seen = f"{sum(1 for value in ratios.values() if value and value > 1)} of {len(ratios)} rows, "
        seen += f"least {worst[0]:.2f} in {worst[1]}"
        holds = None if None in ratios.values() else worst[0] > 1
        rows.append(target("soft: all rows of the storage table faster than QEMU TCG", seen, holds))
    return rows


def judge_storage(report):
    cells = report["storage"].get("assay", {})
    deep = {row: cells.get(f"virtio_{row}_32", {}) for row in ROWS}
    ratios = {row: ratio(cells, row, deep[row]) for row in ROWS}
    per_request = {
        row: cell["exits"] + cell["kicks"] if "exits" in cell and "kicks" in cell else None
        for row, cell in deep.items()
    }
    rows = []
    speed = by_row("virtio-blk at depth 32 at least 4 times ATA DMA", ratios, 2, lambda x: x >= 4)
    if report["interprets"]:
        speed["verdict"] = "not judged"
        speed["seen"] += " (guest-bound: interpreted)"
    rows.append(speed)
    if report["interprets"]:
        for figure, words in (
            ("events", "exits and kicks"),
            ("interrupts", "interrupts"),
            ("vmm_us", "VMM host CPU time"),
        ):
            values = {row: times_fewer(cells, row, figure) for row in ROWS}
            rows.append(
                by_row(f"... {words} an operation, DMA / virtio at least 4", values, 1, lambda x: x >= 4)
            )
    rows.append(
        by_row("fewer than 0.1 exits and kicks a request at depth 32", per_request, 3, lambda x: x < 0.1)
    )
    return rows


def judge_start(report):
    ours, peer = report["start"].get("assay"), report["start"].get("qemu-tcg")
    name = "VM start to exit at most a tenth of QEMU microvm's with TCG"
    if not ours or not peer:
        rows = [target(name, "no QEMU here", None)]
    else:
        part = ours["seconds"] / peer["seconds"]
        seen = f"{ours['seconds'] * 1e3:.1f} ms of {peer['seconds'] * 1e3:.1f} ms: {part:.3f}"
        rows = [target(name, seen, part <= 0.1)]
    private = max(ours["private_kib"], ours.get("private_kib_storage", 0))
    rows.append(
        target(
            "private host memory at peak at most 5 MiB",
            f"{private} KiB ({ours['library_kib']} KiB of library pages beside it)",
            private <= 5 * 1024,
        )
    )
    return rows


def with_kvm(report):
    return "assay" in report["storage"] or "assay" in report["start"] or not report.get("speed")


def judge(report):
    rows = judge_storage(report) + judge_start(report) if with_kvm(report) else []
    return rows + judge_soft(report) + [target(*row) for row in benchvirtio.judge(report)]
