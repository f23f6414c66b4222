# SPDX-License-Identifier: MIT
"""Garbage from inside a guest for each virtio device (docs/fuzzing.md).

fuzz=N on the kernel's command line is the seed, rounds=N how often.  The machines below run a few rounds of
seed 1; the functions take others, and more of them.
"""

import re

import pytest

from harness.session import run_once
from harness.vmm import Vmm

KERNEL = "virtio_fuzz"
FEW = "append:rounds=3"
PCI = "blk-pci:size=1M rng-pci serial-pci:plain=1"
MMIO = "blk-mmio:size=1M rng-mmio serial-mmio:plain=1"
MACHINES = {
    "pci": f"pc smp:cpus=2 {FEW} {PCI}",
    "mmio": f"microvm smp:cpus=2 {FEW} {MMIO}",
    "pci-packed": f"pc packed smp:cpus=2 {FEW} {PCI}",
    "mmio-packed": f"microvm packed smp:cpus=2 {FEW} {MMIO}",
    "legacy": f"pc legacy smp:cpus=2 {FEW} {PCI}",
    "mmio-legacy": f"microvm legacy smp:cpus=2 {FEW} {MMIO}",
}
# QEMU loops for ever over some malformed packed rings: docs/differences.md#packed-livelock
OURS_ONLY = ("pci-packed", "mmio-packed")
SEEDS = 3  # of each machine in `make check`,
WHOLE_SEEDS = 200  # and in `make soak`
GOOD = 1  # (0 << 1) | 1: isa-debug-exit


@pytest.fixture
def soft(bench):
    if bench.vmm.is_qemu:
        pytest.skip("our own VMM's engine")
    return Vmm(bench.vmm.path, "soft")


def run(bench, vmm, machine, seed, **options):
    """What a run with that seed printed on stderr."""
    append = f"strict=1 fuzz={seed} rounds=12"
    results, status, said, _, line = run_once(bench.image(KERNEL), MACHINES[machine].replace(FEW, ""), vmm, append, **options)
    bad = {name: found.text for name, found in results.items() if found.verdict not in ("PASS", "SKIP")}
    again = " ".join(line)
    assert not bad and results, f"seed {seed}: {bad} {said}\nagain: {again}"
    assert status in (0, GOOD), f"seed {seed}: status {status}: {said}\nagain: {again}"
    return said


@pytest.mark.parametrize("machine", MACHINES)
def test_other_seeds(bench, soft, machine):
    count = WHOLE_SEEDS if bench.whole else SEEDS
    for number in range(count):
        said = run(bench, soft, machine, bench.seed + number)
        assert not said, said
    bench.notes.append(f"virtio_fuzz on {machine}: {count} seeds from {bench.seed}")


@pytest.mark.parametrize("machine", MACHINES)
def test_a_seed_is_a_run(bench, soft, machine):
    """The same seed gives the same hash of the whole machine, another seed another."""
    hashes = []
    for seed in (bench.seed, bench.seed, bench.seed + 1):
        said = run(bench, soft, machine, seed, extra_args=["-d", "hash"])
        hashes.append(re.findall(r"\b[0-9a-f]{16,}\b", said))
    assert hashes[0] and hashes[0] == hashes[1]
    assert hashes[0][-1] != hashes[2][-1]
