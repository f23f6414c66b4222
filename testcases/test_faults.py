# SPDX-License-Identifier: MIT
"""The tests of the tests: with the fault that it is there to notice, each TEST must fail.

Rows of faults.tsv name in their last column the TESTs that they break.  Here each such TEST runs alone
on build/faults/assay with that one fault.  `make check` takes a sample by the run's seed, `make
check-faults` and `make soak` take all.

A module may set NO_FAULTS = "why" (the whole kernel) or NO_FAULTS = {"test": "why"}: what is proven
there has no seam in the VMM.
"""

import functools
import random
import runpy
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness import elf, tables
from harness.session import Session
from harness.vmm import Vmm

HERE = Path(__file__).resolve().parent
SAMPLE = 400
BUSY = "the host was too busy"  # how TESTs of timing begin a SKIP when they were starved
NOTICED = {"FAIL", "LEAK", "DEVIATES", "WEDGED"}
FAULTS_VMM = "build/faults/assay"


@functools.lru_cache(maxsize=None)
def modules():
    """kernel -> what its test module says"""
    found = {}
    for path in sorted(HERE.glob("test_*.py")):
        if "\nKERNEL = " in path.read_text():
            module = runpy.run_path(str(path))
            found[module["KERNEL"]] = module
    return found


def cases(config):
    """(fault, kernel, test, machine) of the table, or a sample of them."""
    every = [(fault, *broken) for fault in tables.faults() for broken in fault.breaks]
    bench = config.assay
    if bench.whole or config.option.keyword or len(every) <= SAMPLE:
        return every
    chosen = set(random.Random(bench.seed).sample(range(len(every)), SAMPLE))
    return [case for number, case in enumerate(every) if number in chosen]


def pytest_generate_tests(metafunc):
    if "case" in metafunc.fixturenames:
        found = cases(metafunc.config)
        names = [f"{fault.name}-{kernel}.{test}" for fault, kernel, test, _ in found]
        metafunc.parametrize("case", found, ids=names)


def faulty_vmm(bench):
    return Vmm(str(bench.root / FAULTS_VMM), bench.vmm.accel)


@pytest.fixture
def faulty(bench):
    vmm = faulty_vmm(bench)
    if bench.vmm.is_qemu:
        pytest.skip("faults are in our own VMM only")
    if vmm.missing:
        pytest.skip(vmm.missing)
    return vmm


def outcome_with(bench, vmm, fault, kernel, test, machine, words, log):
    listed = bench.tests(kernel)
    control = any("ctl" in entry.needs for entry in listed)
    session = Session(
        kernel,
        bench.image(kernel),
        words,
        vmm,
        [test],
        len(listed),
        folder=bench.build / "run" / f"fault-{fault.name}-{kernel}-{test}-{machine}",
        control=control,
        silence=15.0,
        environment={
            "ASSAY_FAULTS": fault.name,
            "ASSAY_FAULTS_TABLE": str(tables.HERE / "faults.tsv"),
            "ASSAY_FAULTS_LOG": str(log),
        },
    )
    session.run()
    return session.outcomes[test]


def run_case(bench, vmm, case, folder):
    """The first machine of the kernel on which the TEST does not skip, and what came of it there."""
    fault, kernel, test, machine = case
    # The seam "cpu" is in the software processor only; what a KVM keeps of a loaded state is its own.
    # What is counted is exact there.
    if fault.seam == "cpu" or "name=state:" in fault.match or "name=count:" in fault.match:
        vmm = Vmm(vmm.path, "soft")
    machines = modules()[kernel].get("MACHINES", {"pc": "pc"})
    for name in [machine] if machine else list(machines):
        log = folder / f"{fault.name}-{kernel}-{test}-{name}"
        outcome = outcome_with(bench, vmm, fault, kernel, test, name, machines[name], log)
        if outcome.verdict != "SKIP":
            break
    return outcome, name, log


@pytest.fixture(scope="module")
def ahead(request, tmp_path_factory):
    """Runs the cases of this session in a few threads, in the order in which they are asked for."""
    bench = request.config.assay
    vmm = faulty_vmm(bench)
    folder = tmp_path_factory.mktemp("faults")
    with ThreadPoolExecutor(bench.pool.jobs) as pool:
        futures = {}
        for item in request.session.items:
            if getattr(item, "module", None) is not request.module or not hasattr(item, "callspec"):
                continue
            case = item.callspec.params.get("case")
            if case and not vmm.missing and mistake_in(bench, case) is None:
                futures[case] = pool.submit(run_case, bench, vmm, case, folder)
        yield futures
        pool.shutdown(cancel_futures=True)


def mistake_in(bench, case):
    """What is wrong with a row's last column, or None."""
    _, kernel, test, machine = case
    module = modules().get(kernel)
    if not module:
        return f"{kernel}: no module in testcases/ has this KERNEL"
    if test not in {entry.name for entry in bench.tests(kernel)}:
        return f"{kernel} has no TEST {test}"
    if machine and machine not in module.get("MACHINES", {"pc": "pc"}):
        return f"{kernel} has no machine {machine}"
    return None


def test_it_is_noticed(bench, faulty, ahead, case):
    mistake = mistake_in(bench, case)
    assert not mistake, mistake
    fault = case[0]
    outcome, name, log = ahead[case].result()
    acted = log.exists() and fault.name in log.read_text().split()
    text = "\n".join([f"{outcome.verdict} {outcome.reason} on {name}", *outcome.text])
    text += f"\nASSAY_FAULTS={fault.name} {outcome.command}"
    if outcome.verdict == "SKIP" and outcome.reason.startswith(BUSY):
        pytest.skip(outcome.reason)  # such a run says nothing of the TEST
    assert acted, f"the fault never acted: its seam or match is wrong\n{text}"
    assert outcome.verdict in NOTICED, f"the TEST did not notice\n{text}"
    assert "stderr of the VMM" not in outcome.reason, text


def test_every_test_has_a_fault(bench):
    """A TEST that no fault breaks has not been shown to be able to fail."""
    broken = {(kernel, test) for fault in tables.faults() for kernel, test, _ in fault.breaks}
    without, unknown = [], []
    known = set()
    for kernel, module in modules().items():
        exempt = module.get("NO_FAULTS", {})
        try:
            listed = bench.tests(kernel)
        except (OSError, elf.ElfError):
            continue
        known |= {(kernel, test.name) for test in listed}
        for test in listed:
            if isinstance(exempt, str) or test.name in exempt or (kernel, test.name) in broken:
                continue
            without.append(f"{kernel}.{test.name}")
    unknown = sorted(f"{kernel}.{test}" for kernel, test in broken - known)
    assert not unknown, "faults.tsv names TESTs that are not there: " + " ".join(unknown)
    assert not without, f"{len(without)} TESTs without a fault:\n" + "\n".join(without)
