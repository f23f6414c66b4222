# SPDX-License-Identifier: MIT
"""A VMM started by a Python test: what it prints, how it ends, its monitor."""

import os
import selectors
import signal
import subprocess
import time

from .qmp import Qmp


PATIENCE = 60.0  # seconds for what takes one where the host has nothing else to do


class Running:
    """`line` is the whole command line.  Used as a context manager it never outlives its test."""

    def __init__(self, line, qmp_path=None, **options):
        self.line = [str(word) for word in line]
        self.qmp_path = qmp_path
        self.stdout = b""
        self.stderr = b""
        self._qmp = None
        self.process = subprocess.Popen(
            self.line,
            stdin=options.pop("stdin", subprocess.DEVNULL),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **options,
        )
        self._selector = selectors.DefaultSelector()
        self._selector.register(self.process.stdout, selectors.EVENT_READ, "stdout")
        self._selector.register(self.process.stderr, selectors.EVENT_READ, "stderr")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._qmp:
            self._qmp.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._selector.close()
        self.process.stdout.close()
        self.process.stderr.close()

    @property
    def qmp(self):
        if self._qmp is None:
            self._qmp = self.connect()
        return self._qmp

    def connect(self, **options):
        """Another connection to its monitor."""
        return Qmp(self.qmp_path, alive=lambda: self.process.poll() is None, **options)

    def _read(self, seconds):
        for key, _ in self._selector.select(seconds):
            data = os.read(key.fd, 65536)
            if not data:
                self._selector.unregister(key.fileobj)
            setattr(self, key.data, getattr(self, key.data) + data)

    def poll(self):
        """Reads what it has printed so far."""
        self._read(0)

    def wait_text(self, text, timeout=PATIENCE):
        """Until the serial port (or whatever is on stdout) has printed `text`."""
        deadline = time.monotonic() + timeout
        while text not in self.stdout:
            assert self._selector.get_map(), f"it ended before {text!r}: {self.stderr!r}"
            assert time.monotonic() < deadline, f"no {text!r} in {timeout} s: {self.stdout!r}"
            self._read(0.2)

    def wait_for(self, condition, timeout=PATIENCE):
        """Until `condition()` holds, which may look at what it has printed."""
        deadline = time.monotonic() + timeout
        while not condition():
            assert self._selector.get_map(), f"it ended before: {self.stdout!r} {self.stderr!r}"
            assert time.monotonic() < deadline, f"not in {timeout} s: {self.stdout!r} {self.stderr!r}"
            self._read(0.05)

    def wait(self, timeout=PATIENCE):
        """Until it has ended; its status as subprocess gives it."""
        deadline = time.monotonic() + timeout
        while self._selector.get_map() and time.monotonic() < deadline:
            self._read(0.2)
        return self.process.wait(max(0.1, deadline - time.monotonic()))

    def signal(self, number):
        self.process.send_signal(number)

    def end(self):
        """Ends it the polite way."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def error_lines(self):
        return [line for line in self.stderr.decode(errors="replace").splitlines() if line.strip()]
