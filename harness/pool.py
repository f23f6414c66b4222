# SPDX-License-Identifier: MIT
"""A few threads that run sessions ahead of pytest, in the order in which it will ask for them."""

import threading
from collections import deque


class Pool:
    def __init__(self, jobs):
        self.jobs = max(1, jobs)
        self._queue = deque()
        self._running = set()
        self._threads = []
        self._lock = threading.Lock()

    def add(self, session):
        self._queue.append(session)

    def start(self):
        for _ in range(min(self.jobs, len(self._queue))):
            thread = threading.Thread(target=self._work, daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self):
        """Ends what still runs; after an interrupt or -x nobody waits for it."""
        with self._lock:
            self._queue.clear()
            for session in self._running:
                session.cancel()
        for thread in self._threads:
            thread.join(10)

    def _work(self):
        while True:
            with self._lock:
                if not self._queue:
                    return
                session = self._queue.popleft()
                self._running.add(session)
            session.run()
            with self._lock:
                self._running.discard(session)
