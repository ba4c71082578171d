"""A thread that looks at a sensor beside the work."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Poller:
    """Calls ``look`` every ``period_s`` from a thread until it is stopped.

    The look releases the interpreter where it waits for the driver; what it costs the work
    beside it is measured in ``benchmarks/telemetry.py``.
    """

    def __init__(self, look: Callable[[], object], period_s: float) -> None:
        self._look, self._period_s = look, period_s
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gpubench-poller", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._done.wait(self._period_s):
            self._look()

    def stop(self) -> None:
        """End the thread and wait for it."""
        self._done.set()
        self._thread.join()
