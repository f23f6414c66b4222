# SPDX-License-Identifier: MIT
"""`make bench` itself: every cell of its table is filled, and its verdicts are what the figures say."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness import bench, benchreport

HERE = Path(__file__).resolve().parent.parent


def test_every_cell_is_measured(vmm, tmp_path):
    """A short run of ALL=1: cells that moved the data they asked for, each with the figures of its own."""
    if vmm.missing:
        pytest.skip(vmm.missing)
    report = tmp_path / "bench.json"
    line = [sys.executable, "-m", "harness.bench", "--ms", "20", "--starts", "1", "--all"]
    line += ["--vmm", vmm.path, "--peer", "none", "--report", str(report)]
    if vmm.is_qemu:
        pytest.skip("the benchmark has QEMU as the peer")
    done = subprocess.run(line, cwd=HERE, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    seen = json.loads(report.read_text())
    cells = seen["storage"]["assay"]
    assert sorted(cells) == sorted(bench.cells(True))
    for name, cell in cells.items():
        assert "failed" not in cell, (name, cell)
        assert cell["operations"] > 0 and cell["iops"] > 0
        assert cell["operations"] % cell["batch"] == 0
        if name.startswith("virtio"):
            assert 0 < cell["kicks"] <= 1.2 / cell["batch"], name
            assert cell["exits"] < 1, name
        else:
            assert cell["kicks"] == 0 and cell["exits"] > 5, name
    assert "Targets" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 120


def cell(iops, exits, kicks, interrupts, vmm_us):
    return {"iops": iops, "exits": exits, "kicks": kicks, "interrupts": interrupts, "vmm_us": vmm_us}


@pytest.fixture
def report():
    cells = {}
    for row in benchreport.ROWS:
        cells[f"dma_{row}_1"] = cell(1000, 20, 0, 1, 40)
        cells[f"virtio_{row}_32"] = cell(5000, 0.01, 0.03, 0.03, 5)
    start = {"seconds": 0.003, "private_kib": 300, "library_kib": 2000}
    return {
        "storage": {"assay": cells},
        "start": {"assay": dict(start), "qemu-tcg": {**start, "seconds": 0.04}},
        "interprets": False,
    }


def verdicts(report):
    return [row["verdict"] for row in benchreport.judge(report)]


def test_all_met(report):
    assert verdicts(report) == ["PASS"] * 4
    report["interprets"] = True
    assert verdicts(report) == ["not judged"] + ["PASS"] * 6


@pytest.mark.parametrize(
    "change, row",
    [
        (lambda r: r["storage"]["assay"]["virtio_read_128k_32"].update(iops=3999), 0),
        (lambda r: r["storage"]["assay"]["virtio_write_4k_32"].update(exits=0.08), 1),
        (lambda r: r["start"]["assay"].update(seconds=0.005), 2),
        (lambda r: r["start"]["assay"].update(private_kib=6000), 3),
        (lambda r: r["start"]["assay"].update(private_kib_storage=6000), 3),
    ],
)
def test_one_missed(report, change, row):
    change(report)
    expected = ["PASS"] * 4
    expected[row] = "MISS"
    assert verdicts(report) == expected


@pytest.mark.parametrize("figure, row", [("exits", 1), ("interrupts", 2), ("vmm_us", 3)])
def test_one_missed_where_the_guest_is_interpreted(report, figure, row):
    report["interprets"] = True
    report["storage"]["assay"]["dma_read_4k_1"][figure] = 0.1
    assert verdicts(report)[row] == "MISS"


def test_what_was_not_measured_is_not_met(report):
    for name in list(report["storage"]["assay"]):
        changed = copy.deepcopy(report)
        changed["storage"]["assay"][name] = {"failed": "did not run"}
        assert verdicts(changed)[0] == "not judged"
    del report["start"]["qemu-tcg"]
    assert verdicts(report)[2] == "not judged"
    report["storage"] = {}
    assert verdicts(report)[:2] == ["not judged", "not judged"]
