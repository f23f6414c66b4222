# SPDX-License-Identifier: MIT
"""The host's end of a virtio port: a socket that a kernel has opened, read and written through the control port."""

import socket
import threading
import time

ANSWER = 5.0  # seconds; a kernel waits ten for its answer
PIECE = 4096


def pattern(size, seed):
    """Byte i is i * 7 + seed."""
    return bytes((i * 7 + seed) & 255 for i in range(256)) * (size // 256) + bytes((i * 7 + seed) & 255 for i in range(size % 256))


class PortEnd:
    VERBS = ("open", "close", "send", "pour", "read", "expect", "until")

    def __init__(self, name, path, qmp):
        """qmp: a function that gives the VM's monitor."""
        self.name = name
        self.path = path
        self._qmp = qmp
        self._peer = None
        self._rest = b""

    def _connected(self):
        if self._peer is None:
            deadline = time.monotonic() + ANSWER
            while True:  # a VM that goes on elsewhere makes its socket anew
                peer = socket.socket(socket.AF_UNIX)
                try:
                    peer.connect(self.path)
                    break
                except OSError:
                    peer.close()
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.01)
            peer.settimeout(ANSWER)
            self._peer = peer
            self._await(lambda filename: not filename.startswith("disconnected:"))
        return self._peer

    def _await(self, seen):
        """Until the VMM itself has noticed who is at the other end."""
        deadline = time.monotonic() + ANSWER
        while time.monotonic() < deadline:
            found = self._qmp().command("query-chardev")
            if any(entry["label"] == self.name and seen(entry["filename"]) for entry in found):
                return
            time.sleep(0.001)
        raise OSError(f"{self.name} has not noticed")

    def open(self):
        self._connected()

    def close(self):
        peer, self._peer, self._rest = self._peer, None, b""
        if peer is not None:
            peer.shutdown(socket.SHUT_RDWR)  # a thread may still pour through another descriptor
            peer.close()
            self._await(lambda filename: filename.startswith("disconnected:"))

    def follow(self):
        """The process at the other end has ended: what it sent stays, and its successor is called."""
        if self._peer is None:
            return
        try:
            while data := self._peer.recv(1 << 16):
                self._rest += data
        except OSError:
            pass
        self._peer.close()
        self._peer = None
        self._connected()

    def send(self, *words):
        self._connected().sendall(" ".join(words).encode())

    def pour(self, size, seed):
        """Sends a pattern, and goes on with it while the guest takes none."""
        peer = self._connected().dup()
        data = pattern(int(size, 0), int(seed, 0))

        def work():
            try:
                peer.settimeout(60)
                peer.sendall(data)
            except OSError:
                pass  # the guest, and its TEST, has ended
            finally:
                peer.close()

        threading.Thread(target=work, daemon=True).start()

    def _read(self, enough):
        """Until enough(bytes) holds; what was read."""
        while not enough(self._rest):
            data = self._connected().recv(1 << 16)
            if not data:
                raise OSError(f"closed after {len(self._rest)} bytes")
            self._rest += data
        return self._rest

    def read(self, size):
        """The next bytes, as a word: what is no plain character stands as xx."""
        size = int(size, 0)
        data = self._read(lambda rest: len(rest) >= size)[:size]
        self._rest = self._rest[size:]
        return "".join(chr(byte) if 33 <= byte < 127 else f"<{byte:02x}>" for byte in data)

    def expect(self, size, seed):
        """The next bytes are that pattern."""
        wanted = pattern(int(size, 0), int(seed, 0))
        got = self._read(lambda rest: len(rest) >= len(wanted) or not wanted.startswith(rest))
        for at, (byte, right) in enumerate(zip(got, wanted)):
            if byte != right:
                raise OSError(f"byte {at} is {byte:#04x}, not {right:#04x}")
        self._rest = got[len(wanted) :]

    def until(self, text, marker="~"):
        """Reads until that text has come and tells how many bytes of `marker` came before it."""
        data = self._read(lambda rest: text.encode() in rest)
        end = data.index(text.encode()) + len(text)
        self._rest = data[end:]
        return str(data[:end].count(marker.encode()))
