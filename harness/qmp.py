# SPDX-License-Identifier: MIT
"""A small QMP client: one socket, one command at a time, events kept in order."""

import json
import socket
import time


class QmpError(Exception):
    """The VMM answered with an error; .kind is its class."""

    def __init__(self, kind, text):
        super().__init__(f"{kind}: {text}")
        self.kind = kind
        self.text = text


class QmpClosed(Exception):
    pass


class Qmp:
    def __init__(self, path, timeout=60.0, negotiate=True, alive=lambda: True):
        self.events = []
        self.socket = self._connect(path, timeout, alive)
        self.socket.settimeout(timeout)
        self._rest = b""
        self._id = 0
        self.greeting = self.read()
        if negotiate:
            self.command("qmp_capabilities")

    @staticmethod
    def _connect(path, timeout, alive):
        deadline = time.monotonic() + timeout
        while True:
            sock = socket.socket(socket.AF_UNIX)
            try:
                sock.connect(str(path))
                return sock
            except OSError:
                sock.close()
                if time.monotonic() > deadline or not alive():
                    raise
                time.sleep(0.02)

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send_raw(self, text):
        self.socket.sendall(text.encode())

    def read(self):
        """The next message, whatever it is."""
        while b"\n" not in self._rest:
            try:
                data = self.socket.recv(65536)
            except ConnectionError as error:
                raise QmpClosed(str(error)) from None
            if not data:
                raise QmpClosed("the VMM closed its monitor")
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return json.loads(line) if line.strip() else self.read()

    def execute(self, message):
        """Sends a whole message; returns the answer that is not an event."""
        self.send_raw(json.dumps(message) + "\n")
        while True:
            answer = self.read()
            if "event" not in answer:
                return answer
            self.events.append(answer)

    def command(self, name, /, **arguments):
        """Runs a command; its return value, or QmpError.  Underscores in keys become dashes."""
        self._id += 1
        message = {"execute": name, "id": self._id}
        if arguments:
            message["arguments"] = {key.replace("_", "-"): arguments[key] for key in arguments}
        answer = self.execute(message)
        if "error" in answer:
            raise QmpError(answer["error"]["class"], answer["error"]["desc"])
        return answer["return"]

    def wait_event(self, name, timeout=60.0):
        """The first event of that name, seen already or still to come."""
        deadline = time.monotonic() + timeout
        while True:
            for index, event in enumerate(self.events):
                if event["event"] == name:
                    return self.events.pop(index)
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"no event {name} within {timeout} s")
            self.socket.settimeout(left)
            try:
                message = self.read()
            except socket.timeout:
                raise TimeoutError(f"no event {name} within {timeout} s") from None
            finally:
                self.socket.settimeout(60.0)
            if "event" in message:
                self.events.append(message)
