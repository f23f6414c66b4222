# SPDX-License-Identifier: MIT
"""Time of check, time of use: every TEST of the virtio kernels on a VMM that records what each request
reads of guest memory, and that puts other bytes there right after the first read (docs/double-reads.md).

A second read of the same bytes within a request fails the TEST that was running; so does a device
that behaves by what stands there later.  `make check` takes the first machine of each kernel, one that
the run's seed chooses, and a seed for the changes; `make soak` takes all machines.
"""

import random
import re
import runpy
import zlib
from pathlib import Path

import pytest

from harness.session import KEEP_GOING, Session
from harness.vmm import Vmm

HERE = Path(__file__).resolve().parent
FAULTS_VMM = "build/faults/assay"
SUM = re.compile(r"requests (\d+) bytes (\d+) twice (\d+)")
# What a save makes of a record is not looked at: the process ends.
LEFT_OUT = "life:"


def kernels():
    """(kernel, machines) of every module that drives virtio"""
    for path in sorted(HERE.glob("test_virtio_*.py")):
        if "\nKERNEL = " not in path.read_text():
            continue
        module = runpy.run_path(str(path))
        machines = module.get("MACHINES", {"pc": "pc"})
        yield module["KERNEL"], {
            name: words for name, words in machines.items() if LEFT_OUT not in words
        }


def cases(bench):
    found = []
    for kernel, machines in kernels():
        names = list(machines)
        if not bench.whole and len(names) > 2:
            draw = random.Random(bench.seed ^ zlib.crc32(kernel.encode()))
            names = [names[0], draw.choice(names[1:])]
        found += [(kernel, name, machines[name]) for name in names]
    return found


def pytest_generate_tests(metafunc):
    if "case" in metafunc.fixturenames:
        found = cases(metafunc.config.assay)
        metafunc.parametrize("case", found, ids=[f"{kernel}-{name}" for kernel, name, _ in found])


@pytest.fixture
def recorder(bench):
    vmm = Vmm(str(bench.root / FAULTS_VMM), "soft")
    if bench.vmm.is_qemu:
        pytest.skip("the record is in our own VMM only")
    if vmm.missing:
        pytest.skip(vmm.missing)
    return vmm


def session_of(bench, vmm, kernel, machine, words, environment):
    listed = bench.tests(kernel)
    return Session(
        kernel,
        bench.image(kernel),
        words,
        vmm,
        [test.name for test in listed],
        len(listed),
        folder=bench.build / "run" / f"reads-{kernel}-{machine}",
        control=any("ctl" in test.needs for test in listed),
        environment=environment,
    )


def read_log(log):
    """requests, bytes and second reads of all processes that wrote into it"""
    sums = [tuple(map(int, found)) for found in SUM.findall(log.read_text() if log.exists() else "")]
    return [sum(column) for column in zip(*sums)] if sums else [0, 0, 0]


def test_nothing_is_read_twice(bench, recorder, case, tmp_path):
    kernel, machine, words = case
    log = tmp_path / "reads"
    mode = f"change:{bench.seed}"
    environment = {"ASSAY_READS": mode, "ASSAY_READS_LOG": str(log)}
    session = session_of(bench, recorder, kernel, machine, words, environment)
    session.run()
    bad = {name: out for name, out in session.outcomes.items() if out.verdict not in KEEP_GOING}
    text = "\n".join(
        line
        for name, out in bad.items()
        for line in [f"{name}: {out.verdict} {out.reason}", *out.text, f"ASSAY_READS={mode} {out.command}"]
    )
    assert not bad, text
    requests, read, twice = read_log(log)
    assert requests and read, "no request was recorded"
    assert not twice, log.read_text()


@pytest.mark.parametrize("mistake", ["read-ring-again", "read-payload-again"])
@pytest.mark.parametrize("mode", ["", "check", "change:1"])
def test_a_planted_mistake_is_noticed(bench, recorder, mistake, mode, tmp_path):
    """A VMM that reads an entry, or a header, once more: seen by the record only."""
    table = tmp_path / "faults.tsv"
    table.write_text(f"planted\tvalue\tname={mistake}\tvalue=1\t-\n")
    environment = {"ASSAY_FAULTS": "planted", "ASSAY_FAULTS_TABLE": str(table)}
    if mode:
        environment["ASSAY_READS"] = mode
    kernel, machines = next(found for found in kernels() if found[0] == "virtio_ring")
    session = session_of(bench, recorder, kernel, f"planted-{mode}-{mistake}", machines["pci"], environment)
    session.tests = ["canonical_request"]
    session.run()
    outcome = session.outcomes["canonical_request"]
    if not mode:
        assert outcome.verdict == "PASS", outcome.text
    else:
        assert outcome.verdict == "FAIL", outcome
        # What stands there later may break the ring before the record has a request to speak of.
        assert mode != "check" or any("READ TWICE" in line for line in outcome.text), outcome.text
