# SPDX-License-Identifier: MIT
"""`make bench` itself: every cell of its table is filled, and its verdicts are what the figures say."""

import copy
import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from harness import benchbochs, benchreport, benchspeed, benchstorage, benchvirtio

HERE = Path(__file__).resolve().parent.parent


def test_every_cell_is_measured(vmm, tmp_path):
    """A short run of ALL=1: cells that moved the data they asked for, each with the figures of its own."""
    if vmm.missing:
        pytest.skip(vmm.missing)
    report = tmp_path / "bench.json"
    line = [sys.executable, "-m", "harness.bench", "--ms", "20", "--starts", "1", "--runs", "1", "--all", "--linux-runs", "0", "--no-bochs"]
    line += ["--vmm", vmm.path, "--peer", "none", "--report", str(report)]
    if vmm.is_qemu:
        pytest.skip("the benchmark has QEMU as the peer")
    done = subprocess.run(line, cwd=HERE, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    seen = json.loads(report.read_text())
    cells = seen["storage"]["assay"]
    assert sorted(cells) == sorted(benchstorage.cells(True))
    for name, cell in cells.items():
        assert "failed" not in cell, (name, cell)
        assert cell["operations"] > 0 and cell["iops"] > 0
        assert cell["operations"] % cell["batch"] == 0
        if not name.startswith(("pio", "dma")):
            queues = 4 if "queues" in name else 1
            assert 0 < cell["kicks"] <= 1.2 * queues / cell["batch"], name
            assert cell["exits"] < 1, name
        else:
            assert cell["kicks"] == 0 and cell["exits"] > 5, name
    assert sorted(seen["storage"]["assay-soft"]) == sorted(cells)
    assert not any("failed" in cell for cell in seen["storage"]["assay-soft"].values())
    assert sorted(seen["speed"]) == sorted(benchspeed.KERNELS)
    for row in seen["speed"].values():
        # By TSC and by the engine's count: the one cannot be far from the other's scale.
        assert row["instructions"] > 1000 * row["scale"] and row["assay-soft"]["mips"] > 1
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


def speed(soft, tcg):
    row = {"instructions": 10**9, "assay-soft": {"seconds": 1000 / soft, "mips": soft}}
    if tcg:
        row["qemu-tcg"] = {"seconds": 1000 / tcg, "mips": tcg}
    return row


@pytest.mark.parametrize(
    "soft, tcg, expected",
    [
        (151, 450, ["PASS", "PASS"]),
        (149, 440, ["MISS", "PASS"]),
        (151, 460, ["PASS", "MISS"]),
        (151, None, ["PASS"]),
    ],
)
def test_speed_of_the_software_processor(report, soft, tcg, expected):
    report["speed"] = {name: speed(soft, tcg) for name in benchspeed.KERNELS}
    assert verdicts(report)[4:] == expected


def test_beside_bochs(report):
    report["speed"] = {name: speed(200, 400) for name in benchspeed.KERNELS}
    for row in report["speed"].values():
        row["bochs"] = {"seconds": 25, "mips": 40}
    assert verdicts(report)[6:] == ["PASS"]
    report["speed"]["qsort"]["bochs"]["mips"] = 40.1
    assert verdicts(report)[6:] == ["MISS"]
    del report["speed"]["qsort"]["bochs"]
    assert verdicts(report)[6:] == ["not judged"]


def test_a_disk_for_bochs_has_the_kernel_behind_its_sector():
    """ELF32 in, disk out: what the boot sector reads is where it looks for it."""
    elf = bytearray(52 + 2 * 32)
    struct.pack_into("<II", elf, 24, 0x200010, 52)
    struct.pack_into("<HH", elf, 42, 32, 2)
    struct.pack_into("<8I", elf, 52, 1, 116, 0, 0x200000, 4, 8, 5, 0)
    struct.pack_into("<8I", elf, 84, 1, 120, 0, 0x208000, 4, 8, 6, 0)
    image = benchbochs.disk(bytes(elf) + b"codedata", "k run=a", bytes(512))
    assert struct.unpack_from("<IIH", image, 0x1F0) == (0x200010, 0x200000, 2)
    assert image[1536:1540] == b"code" and image[1536 + 0x8000 : 1536 + 0x8004] == b"data"
    assert struct.unpack_from("<I", image, 512 + 16)[0] == 0x7200
    assert image[512 + 0x200 :].startswith(b"k run=a\0")


def test_one_slow_kernel_is_a_miss(report):
    report["speed"] = {name: speed(200, 400) for name in benchspeed.KERNELS}
    report["speed"]["qsort"] = speed(200, 601)
    assert verdicts(report)[4:] == ["PASS", "MISS"]
    del report["speed"]["qsort"]["assay-soft"]
    assert verdicts(report)[4:] == ["not judged", "not judged"]


@pytest.mark.parametrize("soft, tcg, verdict", [(5.9, 2, "PASS"), (6.1, 2, "MISS"), (5, None, "not judged")])
def test_linux_to_init(report, soft, tcg, verdict):
    report["linux"] = {"assay-soft": {"seconds": soft, "fastest": soft}}
    if tcg:
        report["linux"]["qemu-tcg"] = {"seconds": tcg, "fastest": tcg}
    assert verdicts(report)[4:] == [verdict]


def test_soft_starts_in_time_and_is_faster_in_each_row(report):
    report["start"]["assay-soft"] = {"seconds": 0.0049}
    for key, iops in (("assay-soft", 1001), ("qemu-tcg", 1000)):
        report["storage"][key] = {name: cell(iops, 0, 0, 1, 1) for name in report["storage"]["assay"]}
    assert verdicts(report)[4:] == ["PASS", "PASS"]
    report["start"]["assay-soft"]["seconds"] = 0.0051
    report["storage"]["assay-soft"]["dma_read_4k_1"]["iops"] = 999
    assert verdicts(report)[4:] == ["MISS", "MISS"]


def test_what_was_not_measured_is_not_met(report):
    for name in list(report["storage"]["assay"]):
        changed = copy.deepcopy(report)
        changed["storage"]["assay"][name] = {"failed": "did not run"}
        assert verdicts(changed)[0] == "not judged"
    del report["start"]["qemu-tcg"]
    assert verdicts(report)[2] == "not judged"
    report["storage"] = {}
    assert verdicts(report)[:2] == ["not judged", "not judged"]


@pytest.fixture
def virtio():
    """A report of virtio-blk's cells in which all targets are met."""
    names = [name for name in benchstorage.cells(False) if not name.startswith(("pio", "dma"))]
    storage = {
        "assay": {name: cell(100, 0, 0.03, 0.03, 5) for name in names},
        "assay-soft": {name: cell(1500, 0, 0, 0.03, 5) for name in names},
        "qemu-tcg": {name: cell(1000, 0, 0, 0.03, 9) for name in names},
        "qemu-kvm": {name: cell(90, 0, 0, 0.03, 6) for name in names},
    }
    exact = {name: {"operations": 64, "instructions": 6400} for name in names}
    ring = {"split": 1900, "packed": 1900}
    return {"storage": storage, "exact": {"bench": exact}, "host_instructions": ring}


def virtio_verdicts(report):
    return [holds for _, _, holds in benchvirtio.judge(report)]


@pytest.mark.parametrize(
    "where, name, figure, value, row",
    [
        (None, None, None, None, None),
        ("exact", "packed_read_4k_1", "instructions", 6401, 0),
        ("ring", None, "packed", 1901, 1),
        ("assay", "packedqueues_write_4k_32", "kicks", 0.11, 2),
        ("assay", "queues_read_4k_32", "interrupts", 0.1, 2),
        ("assay-soft", "packed_write_128k_1", "iops", 1499, 3),
        ("qemu-kvm", "virtio_read_128k_32", "vmm_us", 5, 4),
        ("qemu-tcg", "null_read_4k_1", "iops", 1001, 5),
        ("qemu-kvm", "nullpacked_read_4k_1", "vmm_us", 4, 6),
    ],
)
def test_virtio_targets(virtio, where, name, figure, value, row):
    expected = [True] * 7
    if where:
        places = {"exact": virtio["exact"]["bench"], "ring": {None: virtio["host_instructions"]}}
        cells = places.get(where) or virtio["storage"][where]
        cells[name][figure] = value
        expected[row] = False
    assert virtio_verdicts(virtio) == expected


def test_a_missing_figure_is_not_judged(virtio):
    del virtio["storage"]["assay"]["queues_read_4k_32"]["kicks"]
    assert virtio_verdicts(virtio)[2] is None


def test_what_cannot_be_counted_says_why(virtio, tmp_path):
    virtio["host_instructions"] = benchvirtio.host_instructions(tmp_path / "absent")
    assert [(seen, holds) for name, seen, holds in benchvirtio.judge(virtio) if "host instructions" in name] in (
        [(f"no {tmp_path / 'absent'}", None)],
        [("no valgrind here", None)],
    )


def test_a_disk_that_cannot_be_measured_is_left_out(tmp_path):
    class Options:
        bare, ms = "/bin/false", 1

    class Silent:
        def say(self, text):
            pass

    report = {"cache": "none", "left_out": {}, "disk": {}}
    benchstorage.measure_bare(report, "read_4k", tmp_path / "image", ["virtio_read_4k_1"], Options, Silent())
    assert report["disk"] == {} and "status 1" in report["left_out"]["disk"]


def test_a_packed_ring_costs_no_more_host_instructions(vmm):
    """Counted, not timed: the device's part of the same requests through both kinds of ring."""
    if vmm.is_qemu:
        pytest.skip("counted in Assay's own code")
    cost = benchvirtio.host_instructions(HERE / "build/unit/test_ring_cost")
    if "failed" in cost:
        pytest.skip(cost["failed"])
    assert 500 < cost["packed"] <= cost["split"] < 3000, cost
