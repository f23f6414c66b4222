# SPDX-License-Identifier: MIT
"""Runs the TESTs of one kernel on one machine of one VMM.

One VM serves many TESTs.  After a TEST that failed the state of the VM proves nothing more: it is
discarded and a new one runs the rest.  Outcomes are handed out as they come, so that pytest can
wait for the first while the last is still running.
"""

import functools
import os
import queue
import selectors
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field

from . import ktap, machines
from .control import ControlPort
from .process import PATIENCE
from .qmp import Qmp, QmpClosed, QmpError
from .vmm import Vmm, paste

SILENCE = float(os.environ.get("ASSAY_SILENCE", "30"))  # seconds without a byte on COM1
AFTER_NMI = 10.0
STARVED = 10  # so many times as long at most, if the VM waits for a processor
KEEP_GOING = {"PASS", "SKIP", "DEVIATES"}
MAX_APPEND = 1200  # longer lists of names are not put on a kernel's command line
MAX_SILENT = 3  # boots without KTAP, and
PAGE_LINES = 150  # of what a silent guest was doing
MAX_WEDGED = 5  # silences waited for, before the rest of a kernel is given up
GOOD_EXIT = 1  # isa-debug-exit: (0 << 1) | 1
FAIL_EXIT = 3


@dataclass
class Outcome:
    """What became of one TEST."""

    verdict: str
    reason: str = ""
    text: list = field(default_factory=list)
    clauses: list = field(default_factory=list)
    metrics: dict = field(default_factory=dict)
    seconds: float = 0.0
    command: str = ""
    unclaimed: list = field(default_factory=list)


class Session:
    """`tests` are names in the order wanted; `total` is how many the kernel has; `folder` is for
    the machine's images, made anew for each boot."""

    def __init__(self, kernel, image, words, vmm, tests, total, folder, **options):
        self.kernel = kernel
        self.image = str(image)
        self.words = words
        self.vmm = vmm
        self.tests = list(tests)
        self.total = total
        self.seed = options.get("seed")
        self.control = options.get("control", False)
        self.append = options.get("append", "")
        self.environment = options.get("environment", {})
        self.extra_args = options.get("extra_args", [])
        self.boot = options.get("boot")  # a function that turns image and append into arguments
        self.silence = options.get("silence", SILENCE)
        self.folder = str(folder)
        self.boots = 0
        self.outcomes = {}
        self._changed = threading.Condition()
        self._cancelled = False

    # -- for pytest ---------------------------------------------------------------------------

    def outcome(self, test):
        """Waits for the outcome of one TEST."""
        with self._changed:
            self._changed.wait_for(lambda: test in self.outcomes)
            return self.outcomes[test]

    def cancel(self):
        self._cancelled = True

    def run(self):
        try:
            self._run_all()
        except Exception as error:  # the harness broke: every item that waits must hear of it
            self._rest("ERROR", f"the harness: {type(error).__name__}: {error}")
        finally:
            self._rest("ERROR", "the run was cut short")

    # -- inside -------------------------------------------------------------------------------

    def _remaining(self):
        return [test for test in self.tests if test not in self.outcomes]

    def _set(self, test, outcome):
        with self._changed:
            if test not in self.outcomes:
                self.outcomes[test] = outcome
                self._changed.notify_all()

    def _rest(self, verdict, reason):
        for test in self._remaining():
            self._set(test, Outcome(verdict, reason))

    def _run_all(self):
        silent = 0
        while self._remaining() and not self._cancelled:
            before = len(self.outcomes)
            self.boots += 1
            # Its images stay when the run is over, for the command line that repeats a failure.
            shutil.rmtree(self.folder, ignore_errors=True)
            os.makedirs(self.folder)
            vm = VirtualMachine(self, self.folder, self._remaining())
            vm.run()
            if len(self.outcomes) == before:
                self._set(
                    self._remaining()[0],
                    Outcome("ERROR", "the kernel ended without a word of this TEST"),
                )
            silent = 0 if vm.reader.started else silent + 1
            verdicts = [outcome.verdict for outcome in self.outcomes.values()]
            if silent == MAX_SILENT:
                self._rest(verdicts[-1], f"{silent} boots came to nothing; not tried again")
            elif verdicts.count("WEDGED") == MAX_WEDGED:
                self._rest("ERROR", f"not tried: {MAX_WEDGED} TESTs before it were WEDGED")

    def kernel_arguments(self, tests):
        """What the kernel's command line says of which TESTs to run."""
        words = [self.append] if self.append else []
        if os.path.basename(self.vmm.path).startswith("assay"):  # where the text leaves a choice, ours is held to its own
            words.append("strict=1")
        if self.seed is not None:
            words.append(f"seed={self.seed}")
        if len(tests) < self.total or self.boots > 1:
            listed = "run=" + ",".join(tests)
            if len(listed) <= MAX_APPEND:
                words.append(listed)
            elif self.seed is None:
                words.append(f"from={tests[0]}")
        return words


TURN = 0.5  # seconds between two looks at a silent VM


class Silence:
    """How long a VM has said nothing, less the time that its threads waited for a processor, or
    that the harness itself was stopped: a busy host does not make a guest WEDGED."""

    def __init__(self, pid):
        self.pid = pid
        self.start = self.looked = time.monotonic()
        self.waited = None
        self.excused = 0.0

    def longer_than(self, limit):
        """To be called each TURN."""
        now, waited = time.monotonic(), waited_for_processor(self.pid)
        self.excused += max(0.0, now - self.looked - 4 * TURN)
        if self.waited is not None:
            self.excused += max(0.0, waited - self.waited)
        self.looked, self.waited = now, waited
        silent = now - self.start
        return silent >= limit + min(self.excused, (STARVED - 1) * limit)


def waited_for_processor(pid):
    """Seconds that the threads of a process were ready to run and did not; 0 if nobody tells."""
    nanoseconds = 0
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/schedstat") as file:
                nanoseconds += int(file.read().split()[1])
    except (OSError, ValueError, IndexError):
        pass
    return nanoseconds / 1e9


class VirtualMachine:
    """One boot: the process, its serial port, its monitor."""

    def __init__(self, session, folder, tests):
        self.session = session
        self.vmm = session.vmm
        self.wanted = tests
        self.reader = ktap.Reader()
        self.stderr = b""
        self.page = []  # what the guest was doing when it fell silent
        self._stderr_taken = 0
        self.expected_end = None  # "reset" or "shutdown", when the guest has announced it
        self.process = self._newest = None
        self._next = queue.Queue()  # of processes that go on from a saved state
        self._lives = 0  # processes that went on from a saved state, and
        self._followed = 0  # how many of them have been read
        self._qmp = None
        self._lock = threading.Lock()
        self._sockets = tempfile.mkdtemp(prefix="assay-")  # a socket's path must be short
        self.qmp_path = f"{self._sockets}/qmp"
        self.control_path = f"{self._sockets}/ctl"
        self.build = machines.put_together(session.words, folder, self._sockets)
        self.started = time.monotonic()
        self.test_started = self.started

    def qmp(self):
        with self._lock:
            if self._qmp is None:
                # The VMM listens before the guest runs, so what is not there does not come.
                there = functools.partial(os.path.exists, self.qmp_path)
                self._qmp = Qmp(self.qmp_path, alive=there)
            return self._qmp

    def _boot_arguments(self, words):
        text = " ".join(self.build.append + words)
        if self.session.boot:
            return self.session.boot(self.session.image, text, self._sockets)
        image = self.session.image
        if self.build.suffix:
            image = image.removesuffix(".elf") + self.build.suffix + ".elf"
        return ["-kernel", image] + (["-append", text] if text else [])

    def command(self, tests, bare=False):
        control = self.control_path if self.session.control and not bare else None
        line = self.vmm.command(
            self.build.args + self.session.extra_args,
            qmp=None if bare else self.qmp_path,
            control=control,
        )
        return line + self._boot_arguments(self.session.kernel_arguments(tests))

    def _start(self, line):
        return subprocess.Popen(
            line,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(os.environ, **self.session.environment),
        )

    def hand_over(self):
        """Saves the VM, ends it and starts another process that goes on from the state: on the
        same engine, or on the one that the machine's word life:to= names.  Called by the control
        port; QmpError when the VMM cannot save, and then it goes on as it was."""
        path = f"{self._sockets}/state{self._lives}"
        uri, incoming = f"file:{path}", f"file:{path}"
        if self.vmm.is_qemu:  # 7.2 has no file:
            uri, incoming = f"exec:cat > {path}", f"exec:cat {path}"
        other = {"soft": "kvm", "kvm": "soft"}.get(self.vmm.accel)
        away = self.build.life == "other" and self._lives % 2 == 0
        if away and Vmm(self.vmm.path, other).missing:
            raise QmpError("migrate", f"the other engine: {Vmm(self.vmm.path, other).missing}")
        qmp = self.qmp()
        qmp.command("migrate", uri=uri)
        deadline = time.monotonic() + PATIENCE
        while True:
            told = qmp.command("query-migrate")
            if told.get("status") == "completed":
                break
            if told.get("status") == "failed" or time.monotonic() > deadline:
                raise QmpError("migrate", told.get("error-desc", "not completed in time"))
            time.sleep(0.002)
        self._lives += 1
        old = self._newest or self.process  # whoever reads may not be there yet
        qmp.command("quit")
        old.wait(PATIENCE)
        with self._lock:
            qmp.close()
            self._qmp = None
            self.qmp_path = f"{self._sockets}/qmp{self._lives}"
        line = self.command(self.wanted)
        if away:
            line[line.index("-accel") + 1] = {"soft": "soft,clock=host"}.get(other, other)
        self._newest = self._start(line + ["-incoming", incoming])
        self._next.put(self._newest)

    def run(self):
        control = ControlPort(self.control_path, self) if self.session.control else None
        self.process = self._start(self.command(self.wanted))
        try:
            while True:
                self._follow(self.process)
                if self._followed == self._lives:
                    break
                self._followed += 1
                self._kill(self.process)
                self.process = self._next.get(timeout=PATIENCE)
        finally:
            self._kill(self.process)
            if self._qmp:
                self._qmp.close()
            if control:
                control.close()
            shutil.rmtree(self._sockets, ignore_errors=True)

    @staticmethod
    def _kill(process):
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(2)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        process.stdout.close()
        process.stderr.close()

    def _follow(self, process):
        """Reads until the kernel has ended, a TEST failed, or nothing comes any more."""
        selector = selectors.DefaultSelector()
        selector.register(process.stdout, selectors.EVENT_READ)
        selector.register(process.stderr, selectors.EVENT_READ)
        nmi_sent = False
        silence = Silence(process.pid)
        while selector.get_map():
            limit = AFTER_NMI if nmi_sent else self.session.silence
            ready = selector.select(TURN)
            if self.session._cancelled:
                return
            if not ready and not silence.longer_than(limit):
                continue
            if not ready:
                if nmi_sent:
                    self._wedged()
                    return
                self.page = self._situation()
                nmi_sent = self._inject_nmi()
                silence = Silence(process.pid)
                if not nmi_sent:
                    self._wedged()
                    return
            for key, _ in ready:
                data = os.read(key.fd, 65536)
                if not data:
                    selector.unregister(key.fileobj)
                elif key.fileobj is process.stderr:
                    self.stderr += data
                else:
                    silence = Silence(process.pid)
                    if not self._take(self.reader.feed(data), process):
                        return
        if self._followed < self._lives:
            return
        self._take(self.reader.end(), process)
        self._ended(process)

    def _take(self, events, process):
        """Hands out results; False when this VM has shown a fault and must go."""
        for kind, what in events:
            if kind == "begin":
                self.test_started = time.monotonic()
            elif kind == "result":
                if what.name not in self.wanted:
                    continue
                outcome = self._outcome(what.verdict, what.reason, what)
                if outcome.verdict not in KEEP_GOING:
                    outcome.text += self.page
                self.page = []
                self._blame_stderr(outcome)
                self.session._set(what.name, outcome)
                self.test_started = time.monotonic()
                if outcome.verdict not in KEEP_GOING:
                    return False
                if not set(self.wanted) - set(self.session.outcomes) and self.reader.plan is None:
                    return False
        return True

    def _outcome(self, verdict, reason, result=None):
        result = result or self.reader.current or ktap.Result("")
        now = time.monotonic()
        names = [result.name] if result.name else self.wanted[:1]
        return Outcome(
            verdict,
            reason,
            list(result.text),
            list(result.clauses),
            dict(result.metrics),
            now - self.test_started,
            paste(self.command(names, bare=True)),
            list(result.unclaimed),
        )

    def _new_stderr(self):
        lines = self.stderr.decode("utf-8", "replace").splitlines()
        new, self._stderr_taken = lines[self._stderr_taken :], len(lines)
        return [line for line in new if line.strip() and not self.vmm.is_chatter(line)]

    def _blame_stderr(self, outcome):
        """When all is well a VMM says nothing on stderr."""
        said = self._new_stderr()
        if not said:
            return
        outcome.text += ["the VMM said on stderr:"] + ["    " + line for line in said]
        if outcome.verdict in ("PASS", "DEVIATES"):
            outcome.verdict, outcome.reason = "FAIL", "stderr of the VMM was not silent"

    def _unfinished(self):
        """The TEST that was running, or the next that would have."""
        current = self.reader.current
        if current and current.name in self.wanted:
            return current.name
        left = [test for test in self.wanted if test not in self.session.outcomes]
        return left[0] if left else None

    def _inject_nmi(self):
        try:
            self.qmp().command("inject-nmi")
            return True
        except (OSError, QmpError, QmpClosed, ValueError):
            return False

    def _wedged(self):
        test = self._unfinished()
        if test is None:
            return
        outcome = self._outcome("WEDGED", f"no byte on COM1 for {self.session.silence:g} s")
        if not self.reader.current:
            outcome.text += self.reader.before[-20:]
        outcome.text += self.page
        self._blame_stderr(outcome)
        self.session._set(test, outcome)

    def _situation(self):
        """What the guest is doing, before the NMI changes it: Assay has a page, others registers."""
        what = "info registers" if self.vmm.is_qemu else "info guest"
        try:
            text = self.qmp().command("human-monitor-command", command_line=what)
            lines = text.splitlines()
            return ["silent; the guest then:"] + ["    " + line.rstrip() for line in lines[:PAGE_LINES]]
        except (OSError, QmpError, QmpClosed, ValueError):
            return ["silent; what the guest was doing the VMM does not tell"]

    def _ended(self, process):
        """The process closed its output: was that the end the kernel announced?"""
        try:
            status = process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            status = None
        left = [test for test in self.wanted if test not in self.session.outcomes]
        if self.expected_end and self.reader.current:
            self._check_announced_end(status)
            return
        if status in (GOOD_EXIT, FAIL_EXIT) and self.reader.current is None:
            self._check_end(status, left)
            return
        test = self._unfinished()
        if test is None:
            test = self.wanted[-1]
            self.session.outcomes.pop(test, None)
        outcome = self._outcome("CRASH", f"the VMM ended with {_status_text(status)}")
        if not self.reader.current:
            outcome.text += self.reader.before[-20:]
        outcome.text += self.page
        self._blame_stderr(outcome)
        self.session._set(test, outcome)

    def _check_announced_end(self, status):
        """The TEST passes if the VMM says that the guest did what it announced."""
        try:
            event = self.qmp().wait_event("SHUTDOWN", PATIENCE)
            reason = event.get("data", {}).get("reason", "")
        except (OSError, QmpError, QmpClosed, ValueError, KeyError):
            reason = "no SHUTDOWN event"
        good = status == 0 and reason == f"guest-{self.expected_end}"
        text = "" if good else f"announced {self.expected_end}, ended with status {status}: {reason}"
        outcome = self._outcome("PASS" if good else "FAIL", text)
        self._blame_stderr(outcome)
        self.session._set(self.reader.current.name, outcome)

    def _check_end(self, status, left):
        if left and self.reader.plan is None:
            test = left[0]
            outcome = self._outcome("ERROR", f"exit status {status} and no KTAP on COM1")
            outcome.text += self.reader.before[-20:]
            self._blame_stderr(outcome)
            self.session._set(test, outcome)
        elif left:
            # It ended as it should, and these were not in its list.
            for test in left:
                self.session._set(test, Outcome("ERROR", "the kernel did not run this TEST"))


def _status_text(status):
    if status is None:
        return "its output closed, but did not exit"
    if status < 0:
        return f"signal {signal.Signals(-status).name}"
    if status == 0:
        return "exit status 0: the guest reset or shut down in the middle of a TEST"
    return f"exit status {status}"


def run_once(kernel_image, words, vmm, append="", **options):
    """Boots any image and reads all it prints; for Python tests that need no TEST list.
    Returns (results by name, exit status, stderr, lines before the first TEST)."""
    folder = options.get("folder")
    own = None if folder else tempfile.mkdtemp(prefix="assay-")
    build = machines.put_together(words, folder or own)
    line = vmm.command(build.args + list(options.get("extra_args", [])))
    text = " ".join(build.append + ([append] if append else []))
    line += ["-kernel", str(kernel_image)] + (["-append", text] if text else [])
    environment = dict(os.environ, **options.get("environment", {}))
    try:
        done = subprocess.run(
            line,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=options.get("timeout", 300),
            env=environment,
        )
    finally:
        if own:
            shutil.rmtree(own, ignore_errors=True)
    reader = ktap.Reader()
    events = reader.feed(done.stdout) + reader.end()
    results = {what.name: what for kind, what in events if kind == "result"}
    return results, done.returncode, done.stderr.decode("utf-8", "replace"), reader.before, line
