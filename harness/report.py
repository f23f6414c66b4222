# SPDX-License-Identifier: MIT
"""What a run leaves behind: counts by verdict and reason, the conformance matrix, the measured times."""

import json
import os
from collections import Counter

import pytest

from . import conformance
from .items import KernelItem, ShuffledItem


class Report:
    def __init__(self, bench):
        self.bench = bench
        self.items = {}
        self.verdicts = Counter()
        self.skips = Counter()
        self.engine_ran = 0

    # -- pytest's hooks -----------------------------------------------------------------------

    def pytest_report_header(self, config):
        return self._header()

    def pytest_collection_finish(self, session):
        """With -q pytest leaves its header out; which engines run is said all the same."""
        option = session.config.option
        terminal = session.config.pluginmanager.getplugin("terminalreporter")
        if option.verbose < 0 and not option.collectonly and terminal:
            for line in self._header():
                terminal.write_line(line)

    def _header(self):
        bench = self.bench
        lines = [f"assay: seed of the shuffled runs {bench.seed}"]
        for vmm in bench.vmms + bench.peers:
            state = vmm.missing or (
                f"version {'.'.join(map(str, vmm.version))}, engine {vmm.engine or 'unknown'}"
            )
            lines.append(f"assay: {vmm.path} -accel {vmm.accel}: {state}")
        return lines

    def pytest_collection_modifyitems(self, items):
        self.items = {item.nodeid: item for item in items}

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item, call):
        made = yield
        outcome = made.get_result()
        if call.when != "call" and not outcome.skipped and not outcome.failed:
            return
        if outcome.skipped and not hasattr(outcome, "wasxfail"):
            self.skips[_reason(outcome)] += 1
        if isinstance(item, KernelItem) and call.when == "call":
            verdict = item.verdict or ("SKIP" if outcome.skipped else "ERROR")
            self.verdicts[verdict] += 1
            if verdict != "SKIP" and item.vmm in self.bench.vmms:
                self.engine_ran += 1

    def pytest_sessionfinish(self, session):
        if session.config.option.collectonly:
            return
        self._write()
        if session.config.option.require_engine and not self.engine_ran and not session.exitstatus:
            session.exitstatus = 1

    def pytest_terminal_summary(self, terminalreporter, config):
        write = terminalreporter.write_line
        terminalreporter.section("assay")
        for vmm in self.bench.vmms + self.bench.peers:
            if vmm.missing:
                write(f"{vmm.path} -accel {vmm.accel} did not run: {vmm.missing}")
        if config.option.require_engine and not self.engine_ran:
            write(f"FAILED: nothing ran on {self.bench.vmms[0].path}: this run proves nothing of it")
        counts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(self.verdicts.items()))
        write(f"TESTs of guest kernels: {sum(self.verdicts.values())}: {counts or 'none ran'}")
        write(f"seed of the shuffled runs: {self.bench.seed}; clauses: build/report/conformance.html")
        for note in self.bench.notes:
            write(note)
        ends = ("passed", "failed", "error", "xfailed", "xpassed")
        ran = sum(len(terminalreporter.stats.get(end, [])) for end in ends)
        write(f"run: {ran}, skipped: {sum(self.skips.values())}")
        for reason, count in self.skips.most_common():
            write(f"  skipped {count}: {reason}")

    # -- files --------------------------------------------------------------------------------

    def _write(self):
        folder = self.bench.build / "report"
        os.makedirs(folder, exist_ok=True)
        results, kernel_items = [], []
        for item in self.items.values():
            if not isinstance(item, KernelItem) or isinstance(item, ShuffledItem):
                continue
            kernel_items.append(item)
            where = f"{item.machine}-{item.vmm.label}"
            row = {"test": f"{item.kernel}.{item.test.name}", "on": where, "verdict": item.verdict or "NOT RUN"}
            if item.outcome:
                row["seconds"] = round(item.outcome.seconds, 4)
                row["metrics"] = item.outcome.metrics
            results.append(row)
        (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n")
        self._write_popek(folder, results)
        found = conformance.of_items(self.bench, kernel_items)
        if found:  # a run without a virtio TEST leaves the last report as it is
            conformance.Matrix(found).write(folder)

    def _write_popek(self, folder, results):
        """Can a guest tell?  By TEST and engine: 0 no, 1 yes, - the TEST did not get so far."""
        rows = [row for row in results if row["test"].startswith("popek.")]
        if not rows:
            return
        engines = sorted({row["on"] for row in rows})
        table = {}
        for row in rows:
            told = row.get("metrics", {}).get("tells", "-")
            table.setdefault(row["test"].removeprefix("popek."), {})[row["on"]] = told
        lines = ["\t".join(["# the guest can tell by", *engines])]
        for test, cells in table.items():
            lines.append("\t".join([test, *(cells.get(engine, "-") for engine in engines)]))
        (folder / "popek.tsv").write_text("\n".join(lines) + "\n")


def _reason(outcome):
    if isinstance(outcome.longrepr, tuple):
        return outcome.longrepr[2].removeprefix("Skipped: ")
    return str(outcome.longrepr)
