# SPDX-License-Identifier: MIT
"""`make gate`: exact costs, the same in two runs, and what is said of an increase."""

import copy
import struct

import pytest

from harness import exact, gate

HASHES = {"bench": "one", "speed": "two"}
ROW = {
    "operations": 64, "instructions": 6400, "exits": 128, "kicks": 0, "interrupts": 64,
    "dma_bytes": 4096, "copied_bytes": 0, "tlb_misses": 8,
}  # fmt: skip
MEASURED = {"bench": {"read": ROW}, "speed": {"crc": {"operations": 4, "instructions": 1000}}}


@pytest.fixture
def baseline():
    return gate.parse(gate.written(MEASURED, HASHES))


def changed(counter, value, name="read"):
    measured = copy.deepcopy(MEASURED)
    measured["bench" if name == "read" else "speed"][name][counter] = value
    return measured


def test_the_same_passes(baseline):
    assert gate.compare(baseline, MEASURED, HASHES) == ([], [])


def test_an_increase_of_one_fails_with_its_row(baseline):
    failures, _ = gate.compare(baseline, changed("instructions", 6401), HASHES)
    assert failures == ["bench.read instructions: was 100, is 100.016 an operation (+0.0 %, allowed 0 %)"]
    failures, _ = gate.compare(baseline, changed("copied_bytes", 64), HASHES)
    assert failures == ["bench.read copied_bytes: was 0, is 1 an operation (+inf %, allowed 0 %)"]


def test_twice_the_operations_at_the_same_cost_pass(baseline):
    twice = {"bench": {"read": {key: 2 * value for key, value in ROW.items()}}, "speed": MEASURED["speed"]}
    assert gate.compare(baseline, twice, HASHES) == ([], [])


def test_a_decrease_is_said(baseline):
    failures, remarks = gate.compare(baseline, changed("exits", 64), HASHES)
    assert not failures and len(remarks) == 1 and remarks[0].startswith("1 counts are lower")


@pytest.mark.parametrize(
    "counter, value, fails",
    [
        ("instructions", 6400 * 105 // 100, False),
        ("instructions", 6400 * 106 // 100, True),
        ("exits", 130, False),
        ("exits", 131, True),
        ("dma_bytes", 4097, True),
        ("tlb_misses", 10, False),
        ("tlb_misses", 11, True),
        ("kicks", 2, False),  # so few events more hang on when a loop looks
        ("kicks", 3, True),
    ],
)
def test_another_kernel_has_the_stated_tolerance(baseline, counter, value, fails):
    """And it is said, of that kernel only: the other is held to the instruction."""
    hashes = {**HASHES, "bench": "three"}
    failures, remarks = gate.compare(baseline, changed(counter, value), hashes)
    assert bool(failures) == fails
    assert any("kernel bench is not the baseline's (three, was one)" in line for line in remarks)
    assert gate.compare(baseline, changed("instructions", 1001, "crc"), hashes)[0]


def test_what_is_missing_fails(baseline):
    failures, _ = gate.compare(baseline, {"bench": MEASURED["bench"]}, HASHES)
    assert failures == ["speed.crc: not measured"]
    measured = copy.deepcopy(MEASURED)
    del measured["bench"]["read"]["exits"]
    assert gate.compare(baseline, measured, HASHES)[0] == ["bench.read exits: not counted"]


def test_what_is_new_is_said(baseline):
    measured = {**MEASURED, "bench": {"read": ROW, "write": ROW}}
    assert gate.compare(baseline, measured, HASHES) == ([], ["not in the baselines: bench.write"])


def test_a_broken_baseline_is_told_by_line():
    with pytest.raises(gate.GateError, match="line 2 "):
        gate.parse("# head\ncount\tbench\n")


def test_ratios_may_halve_at_most():
    text = gate.ratios_written({"virtio_read_4k_32": 4.0, "virtio_write_4k_32": 4.0})
    assert not gate.compare_ratios(text, {"virtio_read_4k_32": 2.1, "virtio_write_4k_32": 9})
    assert gate.compare_ratios(text, {"virtio_read_4k_32": 1.9}) == [
        "ratio virtio_read_4k_32: was 4.00, is 1.90 (allowed: 50 % less)",
        "ratio virtio_write_4k_32: not measured",
    ]


def test_a_kernels_output_is_read():
    text = "KTAP version 1\r\n# begin a\r\n# metric count_exits 3\r\nok 1 a\r\n"
    text += "# begin b\n# metric count_exits 4\nnot ok 2 b\n# begin c\nok 3 c # SKIP no\n"
    assert exact.metrics_of(text) == {"a": {"count_exits": 3}}


def test_the_hash_is_of_what_is_loaded(tmp_path):
    def image(code, rest):
        header = b"\x7fELF\x02\x01" + bytes(26) + struct.pack("<QQIHHHHHH", 64, 0, 0, 64, 56, 1, 0, 0, 0)
        segment = struct.pack("<IIQQQQQQ", 1, 5, 120, 0x200000, 0x200000, len(code), 4096, 4096)
        path = tmp_path / "kernel.elf"
        path.write_bytes(header + segment + code + rest)
        return exact.kernel_hash(path)

    assert image(b"code", b"one") == image(b"code", b"two") != image(b"edoc", b"one")


@pytest.fixture
def ours(bench):
    for vmm in bench.vmms:
        if vmm.accel == "soft" and not vmm.is_qemu:
            return vmm
    pytest.skip("soft is not among the engines of this run")


def test_two_runs_are_equal_and_a_worse_one_fails(bench, ours, tmp_path, capsys):
    """The whole of it: baselines written now hold at once; one that was better makes it fail."""
    line = ["--vmm", ours.path, "--kernels", str(bench.root / "build/kernels"), "--baselines", str(tmp_path)]
    assert gate.main([*line, "--write"]) == 0
    assert gate.main(line) == 0
    path = tmp_path / "soft.tsv"
    lines = path.read_text().splitlines()
    number = next(i for i, text in enumerate(lines) if "\tvirtio_write_4k_1\t" in text)
    words = lines[number].split("\t")
    words[4] = str(int(words[4]) - 1)
    path.write_text("\n".join([*lines[:number], "\t".join(words), *lines[number + 1 :]]) + "\n")
    capsys.readouterr()
    assert gate.main(line) == 1
    said = [text for text in capsys.readouterr().out.splitlines() if "FAIL" in text]
    assert len(said) == 1 and "bench.virtio_write_4k_1 instructions: was" in said[0]


def test_the_tables_of_the_tree_fit_the_kernels(bench):
    """Every row of ci/baselines is still a row of its kernel; whether it got dearer is `make gate`'s."""
    from harness import elf

    baseline = gate.parse((bench.root / "ci/baselines/soft.tsv").read_text())
    for kernel in baseline.hashes:
        names = {test.name for test in elf.list_tests(bench.root / f"build/kernels/{kernel}.elf")}
        assert {name for of, name in baseline.rows if of == kernel} <= names


def test_no_baselines_is_one_line(ours, tmp_path, capsys):
    assert gate.main(["--vmm", ours.path, "--baselines", str(tmp_path)]) == 2
    assert capsys.readouterr().out.startswith(f"gate: no {tmp_path}/soft.tsv")
