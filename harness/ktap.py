# SPDX-License-Identifier: MIT
"""Reads the KTAP of a guest kernel from COM1 (docs/wire.md).

The reader is fed bytes as they come and yields events.  A serial port may carry anything (the
firmware's text, half lines of a crash), so whatever is not KTAP is kept as text of the TEST that
was running and never raises.
"""

import re
from dataclasses import dataclass, field

RESULT = re.compile(r"^(not ok|ok) (\d+) ([A-Za-z0-9_.:-]+)(?:\s+#\s*(\w+)\s*(.*))?$")
PLAN = re.compile(r"^1\.\.(\d+)$")
# SeaBIOS and OVMF paint the screen on the serial port too.
ESCAPES = re.compile(r"\x1b\[[0-9;?=]*[A-Za-z]|\x1b[=>c]")
MAX_LINE = 4096
MAX_TEXT = 400

# The first word after '#' of a result line, and what `# verdict` may say.
DIRECTIVES = {"SKIP", "ERROR", "XFAIL"}
VERDICTS = {"FAIL", "LEAK", "DEVIATES", "ERROR", "AMBIGUOUS"}


@dataclass
class Result:
    """What the kernel said of one TEST."""

    name: str
    verdict: str = ""
    reason: str = ""
    clauses: list = field(default_factory=list)
    unclaimed: list = field(default_factory=list)  # of its clauses, those that it did not come to
    metrics: dict = field(default_factory=dict)
    text: list = field(default_factory=list)


class Reader:
    """Events: ("plan", n), ("begin", name), ("result", Result), ("line", text)."""

    def __init__(self):
        self.started = False
        self.plan = None
        self.current = None
        self.before = []  # lines outside any TEST
        self._rest = b""

    def feed(self, data):
        self._rest += data
        events = []
        while True:
            line, newline, rest = self._rest.partition(b"\n")
            if not newline:
                if len(line) > MAX_LINE:
                    self._rest = b""
                    events += self._line(line)
                break
            self._rest = rest
            events += self._line(line)
        return events

    def end(self):
        """The stream is over: what was left without its newline."""
        line, self._rest = self._rest, b""
        return self._line(line) if line else []

    def _line(self, raw):
        text = ESCAPES.sub("", raw.decode("utf-8", "replace")).strip("\r\0 ")
        if not text:
            return []
        if "KTAP version 1" in text:
            # Firmware may have left something on the same line.
            self.started = True
            return [("line", text)]
        if not self.started:
            self._keep(self.before, text)
            return [("line", text)]
        plan = PLAN.match(text)
        if plan:
            self.plan = int(plan.group(1))
            return [("plan", self.plan)]
        if text.startswith("# begin "):
            self.current = Result(text[len("# begin ") :].strip())
            return [("begin", self.current.name)]
        result = RESULT.match(text)
        if result:
            return [("result", self._result(result))]
        self._diagnostic(text)
        return [("line", text)]

    def _result(self, match):
        good, _number, name, directive, reason = match.groups()
        result = self.current if self.current and self.current.name == name else Result(name)
        self.current = None
        if directive in DIRECTIVES:
            result.verdict, result.reason = directive, (reason or "").strip()
        elif good == "ok":
            result.verdict = "PASS" if result.verdict in ("", "PASS") else result.verdict
        elif not result.verdict:
            result.verdict = "FAIL"
        return result

    def _diagnostic(self, text):
        if self.current is None:
            self._keep(self.before, text)
            return
        words = text.split(None, 3)
        if len(words) >= 3 and words[:2] == ["#", "clause"]:
            self.current.clauses += text.replace(",", " ").split()[2:]
        elif len(words) >= 3 and words[:2] == ["#", "unclaimed"]:
            self.current.unclaimed += text.split()[2:]
        elif len(words) == 4 and words[:2] == ["#", "metric"]:
            self.current.metrics[words[2]] = words[3]
        elif len(words) >= 3 and words[:2] == ["#", "verdict"] and words[2] in VERDICTS:
            self.current.verdict = words[2]
            self.current.reason = words[3] if len(words) == 4 else ""
        else:
            self._keep(self.current.text, text)

    @staticmethod
    def _keep(lines, text):
        if len(lines) < MAX_TEXT:
            lines.append(text)
