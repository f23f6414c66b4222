# SPDX-License-Identifier: MIT
"""A Unix socket that a thread of its own serves: the host's end of a guest's control port."""

import socket
import threading


class Listener:
    """`serve(listener)` runs in the thread, and takes peers with accept() until that is None."""

    def __init__(self, path, serve):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(path)
        self._socket.listen(1)
        self._thread = threading.Thread(target=serve, args=(self,), daemon=True)
        self._thread.start()

    def accept(self):
        try:
            return self._socket.accept()[0]
        except OSError:
            return None

    def close(self):
        # Ends accept() in the thread; closing alone would not.
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._socket.close()
        self._thread.join(2)
