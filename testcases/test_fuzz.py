# SPDX-License-Identifier: MIT
"""The fuzz targets (docs/fuzzing.md): each replays its corpus, then makes new inputs for a few seconds.

An input that fails is kept in build/fuzz/crashes, and the failure names the command that repeats it.
"""

import os
import re
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
TARGETS = sorted(path.stem for path in HERE.glob("fuzz/*.c"))
SECONDS = 2  # of new inputs for each target in `make check`,
WHOLE_SECONDS = 60  # and in `make soak`


@pytest.mark.parametrize("target", TARGETS)
def test_target(bench, target, tmp_path):
    program = bench.build / "fuzz" / target
    if bench.vmm.is_qemu:
        pytest.skip("the targets are our own code")
    if not program.exists():
        pytest.skip(f"no {program.relative_to(bench.root)}: make fuzz-targets")
    corpus = HERE / "fuzz" / "corpus" / target
    inputs = list(corpus.iterdir())
    assert inputs, f"{corpus} is empty"
    crashes = bench.build / "fuzz" / "crashes"
    crashes.mkdir(exist_ok=True)
    seconds = WHOLE_SECONDS if bench.whole else SECONDS
    line = [str(program), f"-seed={bench.seed}", f"-max_total_time={seconds}", "-max_len=600"]
    line += [f"-artifact_prefix={crashes}/{target}-", str(tmp_path), str(corpus)]
    environment = dict(os.environ, UBSAN_OPTIONS="print_stacktrace=1", ASAN_OPTIONS="quarantine_size_mb=32")
    done = subprocess.run(
        line, capture_output=True, text=True, errors="replace", timeout=seconds + 300, env=environment
    )
    told = done.stderr
    found = re.search(r"Test unit written to (\S+)", told)
    again = f"{program.relative_to(bench.root)} {found.group(1) if found else corpus}"
    assert done.returncode == 0, f"{told[-6000:]}\nagain: {again}"
    runs = re.search(r"Done (\d+) runs", told)
    assert runs and int(runs.group(1)) >= len(inputs), told[-2000:]
    bench.notes.append(f"fuzz: {target}: {len(inputs)} inputs of the corpus, {runs.group(1)} executions")
