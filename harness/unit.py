# SPDX-License-Identifier: MIT
"""Each function of a cmocka program is one item; the program runs once and speaks TAP."""

import os
import re
import subprocess

import pytest

RESULT = re.compile(r"^(ok|not ok) (\d+) - (\w+)(?:\s+# SKIP.*)?$")
MACRO = re.compile(r"^#define\s+(\w+)\(\w+\)\s+cmocka_unit_test.*$", re.MULTILINE)


class UnitFile(pytest.File):
    """testcases/unit/test_NAME.c: its items are the functions it registers."""

    program = None
    results = None

    def collect(self):
        self.program = self.config.rootpath / self.config.option.unit / self.path.stem
        for name in registered(self.path.read_text()):
            yield UnitItem.from_parent(self, name=name)

    def run(self):
        if self.results is not None:
            return
        self.results, self.output = {}, ""
        environment = dict(os.environ, CMOCKA_MESSAGE_OUTPUT="TAP")
        try:
            done = subprocess.run(
                [self.program],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=600,
                stdin=subprocess.DEVNULL,
                env=environment,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            self.output = str(error)
            return
        self.output = done.stdout + done.stderr
        self.status = done.returncode
        comment = []
        for line in (done.stdout + done.stderr).splitlines():
            match = RESULT.match(line)
            if match:
                self.results[match.group(3)] = (match.group(1) == "ok", "# SKIP" in line, comment)
                comment = []
            else:
                comment.append(line)


def registered(text):
    """The functions in a program's table, in cmocka's own words or in a macro of the file's."""
    words = "|".join([r"cmocka_unit_test\w*", *MACRO.findall(text)])
    calls = re.findall(rf"\b(?:{words})\(\s*(\w+)", MACRO.sub("", text))
    return list(dict.fromkeys(calls))


class UnitItem(pytest.Item):
    def runtest(self):
        self.parent.run()
        if self.name not in self.parent.results:
            text = f"{self.parent.program} gave no result of it:\n{self.parent.output[-4000:]}"
            pytest.fail(text, pytrace=False)
        good, skipped, comment = self.parent.results[self.name]
        if skipped:
            pytest.skip("skipped by the unit test")
        if not good:
            pytest.fail("\n".join(comment) + f"\nagain: {self.parent.program}", pytrace=False)

    def reportinfo(self):
        return self.path, None, self.name
