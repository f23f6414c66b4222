# SPDX-License-Identifier: MIT
"""The items of pytest that stand for TESTs of kernels, and how a verdict becomes an outcome."""

import shutil

import pytest

from . import probe

FAILING = {"FAIL", "ERROR", "LEAK", "WEDGED", "CRASH", "XPASS", "DEVIATES"}


class Failed(Exception):
    """Carries a verdict to pytest; the text is made in repr_failure."""

    def __init__(self, verdict, outcome):
        super().__init__(verdict)
        self.verdict = verdict
        self.outcome = outcome


class MissingKernel(pytest.Item):
    def __init__(self, error, **more):
        super().__init__(**more)
        self.error = error

    def runtest(self):
        pytest.fail(f"{self.error}\nbuild the kernels first: make", pytrace=False)

    def reportinfo(self):
        return self.path, None, self.name


class KernelItem(pytest.Item):
    """One TEST of one kernel on one machine of one VMM."""

    seed = None

    def __init__(self, kernel, machine, words, vmm, image, boot, test, **more):
        super().__init__(**more)
        self.kernel = kernel
        self.machine = machine
        self.words = words
        self.vmm = vmm
        self.image = image
        self.boot = boot
        self.test = test
        self.session_of_vm = None
        self.lacking = None
        self.verdict = None
        self.outcome = None

    @property
    def group(self):
        return (self.kernel, self.machine, self.vmm.path, self.vmm.accel)

    @property
    def missing(self):
        if self.boot and not probe.ovmf():
            return "no UEFI firmware (ovmf)"
        return self.vmm.missing

    def expected_failure(self, test):
        """The row of testcases/expected/ that covers this TEST here, or None."""
        machine = f"{self.machine}-{self.vmm.label}"
        for row in self.config.assay.expected(self.vmm):
            if row.covers(self.vmm.version, machine, f"{self.kernel}.{test.name}"):
                return row
        return None

    def lacks(self, test):
        """Why the TEST is not run here, or None."""
        if self.boot and self.expected_failure(test):
            # Each failure costs a boot of the firmware, and was seen without it.
            return "known to fail on this VMM, seen without UEFI"
        for need in test.needs:
            kind, colon, name = need.partition(":")
            if kind == "exact":
                missing = probe.missing_parts(self.vmm.path, self.vmm.accel)
                if missing:
                    return f"{self.vmm.label} here executes only a part of kernel code (no {missing})"
                continue
            if kind != "insn":
                continue
            if name not in probe.INSTRUCTIONS:
                return f"{need} is not in harness/probe.py"
            if not probe.executes(self.vmm.path, self.vmm.accel, name):
                return f"{self.vmm.label} here does not execute {name} in kernel code"
        return None

    def queue(self, bench, items):
        """Makes the session of all `items`, which are of one group."""
        if self.missing:
            return
        total = len(bench.tests(self.kernel))
        for item in items:
            item.lacking = item.lacks(item.test)
        able = [item for item in items if not item.lacking]
        if not able:
            return
        made = bench.session(self, [item.test.name for item in able], total)
        for item in able:
            item.session_of_vm = made

    def runtest(self):
        if self.missing or self.lacking:
            pytest.skip(self.missing or self.lacking)
        outcome = self.session_of_vm.outcome(self.test.name)
        self.outcome = outcome
        self.verdict = self._judge(outcome)
        self.user_properties.append(("verdict", self.verdict))
        self.user_properties.append(("seconds", f"{outcome.seconds:.3f}"))
        if self.verdict == "SKIP":
            pytest.skip(outcome.reason or "the kernel gave no reason")
        if self.verdict in ("XFAIL", "AMBIGUOUS"):
            pytest.xfail(f"{self.verdict}: {outcome.reason}")
        if self.verdict == "DEVIATES" and self.vmm.is_qemu:
            pytest.xfail(f"DEVIATES: {outcome.reason}")
        if self.verdict in FAILING:
            raise Failed(self.verdict, outcome)

    def _judge(self, outcome):
        """The kernel's verdict in the light of the tables."""
        verdict = outcome.verdict
        bench = self.config.assay
        if verdict == "SKIP":
            return verdict
        row = self.expected_failure(self.test)
        if row and verdict == "PASS":
            table = f"testcases/expected/{self.vmm.kind}.tsv"
            outcome.reason = f"passed, but {table} expects a failure"
            return "XPASS"
        if row:
            came = f"; {outcome.reason}" if outcome.reason else ""
            outcome.reason = f"{verdict} as expected: {row.link}{came}"
            return "XFAIL"
        for clause in set(outcome.clauses) | set(self.test.clauses):
            if verdict in ("FAIL", "DEVIATES") and clause in bench.ambiguous:
                first, second = bench.ambiguous[clause]
                outcome.reason = f"{clause} contradicts itself: '{first}' and '{second}'"
                return "AMBIGUOUS"
        return verdict

    def repr_failure(self, excinfo, style=None):
        if not isinstance(excinfo.value, Failed):
            return super().repr_failure(excinfo, style)
        outcome = excinfo.value.outcome
        lines = [f"{excinfo.value.verdict}  {self.kernel}.{self.test.name} on {self.machine}, {self.vmm.label}"]
        lines.append(f"  the sentence:  {self.test.sentence}")
        clauses = outcome.clauses or list(self.test.clauses)
        if clauses:
            lines.append(f"  the clauses:   {', '.join(clauses)}")
        if outcome.reason:
            lines.append(f"  because:       {outcome.reason}")
        lines += [f"  {line}" for line in outcome.text]
        lines.append("  again, this TEST alone:")
        lines.append(f"    {outcome.command}" if outcome.command else "    (the VM did not start)")
        lines.append("  or under the harness:")
        lines.append(f"    {self.config.assay.again(self)}")
        return "\n".join(lines)

    def reportinfo(self):
        return self.path, None, self.name


class ShuffledItem(KernelItem):
    """All TESTs of a kernel once more in an order made from a seed: none may depend on another."""

    def queue(self, bench, items):
        self.seed_used = bench.seed
        if self.missing:
            return
        tests = bench.tests(self.kernel)
        names = [test.name for test in tests if not self.lacks(test)]
        self.session_of_vm = bench.session(self, names, len(tests), seed=bench.seed)

    @property
    def seed(self):
        return self.config.assay.seed

    def runtest(self):
        if self.missing:
            pytest.skip(self.missing)
        wrong = []
        for test in self.config.assay.tests(self.kernel):
            if test.name not in self.session_of_vm.tests:
                continue
            outcome = self.session_of_vm.outcome(test.name)
            self.test = test
            verdict = self._judge(outcome)
            if verdict in FAILING:
                wrong.append((test, verdict, outcome))
        self.verdict = "FAIL" if wrong else "PASS"
        self.test = None
        if wrong:
            raise ShuffleFailed(wrong)

    def repr_failure(self, excinfo, style=None):
        if not isinstance(excinfo.value, ShuffleFailed):
            return pytest.Item.repr_failure(self, excinfo, style)
        lines = [f"{self.kernel} on {self.machine}, {self.vmm.label}, shuffled by seed {self.seed}:"]
        for test, verdict, outcome in excinfo.value.wrong:
            lines.append(f"{verdict}  {test.name}: {test.sentence} {outcome.reason}")
            lines += [f"    {line}" for line in outcome.text[:12]]
            lines.append(f"    {outcome.command}")
        lines.append("  again, in this order:")
        lines.append(f"    {self.config.assay.again(self)} --shuffle-seed={self.seed}")
        return "\n".join(lines)


class ShuffleFailed(Exception):
    def __init__(self, wrong):
        super().__init__(f"{len(wrong)} TESTs")
        self.wrong = wrong


def efi_boot(image, text, folder):
    """OVMF loads an EFI application as its -kernel; -append becomes the load options."""
    code, variables = probe.ovmf()
    copy = f"{folder}/vars.fd"
    shutil.copyfile(variables, copy)
    flash = "if=pflash,format=raw,unit="
    line = ["-drive", f"{flash}0,readonly=on,file={code}", "-drive", f"{flash}1,file={copy}"]
    return line + ["-kernel", image] + (["-append", text] if text else [])
