"""One worker process seen from the parent: start it, talk to it, watch it, end it."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from gpubench.codec import dumps
from gpubench.errors import CaseFailed, GpubenchError, InputError
from gpubench.spec import Profiling
from gpubench.units import bytes_iec

POLL_S: Final = 0.2
STDERR_TAIL: Final = 4000

Listener = Callable[[Mapping[str, Any]], None]


class WorkerRefused(InputError):
    """The worker cannot use the device that was asked for."""


class Child:
    """A worker process in a session of its own, so that Ctrl-C reaches the parent alone.

    Args:
        memory_limit_bytes: resident memory at which it is ended; None for no limit.
        environment: variables beside those of this process.
        command: module and arguments of a worker other than the usual one.
    """

    def __init__(
        self,
        memory_limit_bytes: int | None = None,
        environment: Mapping[str, str] | None = None,
        command: Sequence[str] = ("gpubench.engine.worker",),
    ) -> None:
        self._limit = memory_limit_bytes
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  # closed in close()
        self._process = subprocess.Popen(
            [sys.executable, "-m", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            start_new_session=True,
            bufsize=0,
            env={**os.environ, **(environment or {})},
        )
        self._buffer = b""
        self._selector = selectors.DefaultSelector()
        assert self._process.stdout is not None
        self._selector.register(self._process.stdout, selectors.EVENT_READ)

    @property
    def pid(self) -> int:
        """Process id of the worker."""
        return self._process.pid

    def hello(
        self,
        device: str,
        quick: bool,
        timeout_s: float,
        path: Sequence[str] = (),
        profiling: Profiling | None = None,
    ) -> Mapping[str, Any]:
        """Greet; returns the ``ready`` message.

        Args:
            path: folders in which the worker looks for modules first.
            profiling: what it adds to every case, in `gpubench profile`.

        Raises:
            WorkerRefused: the device is not usable; the message says why.
            GpubenchError: it did not come up.
        """
        try:
            hello = {"op": "hello", "device": device, "quick": quick, "path": list(path)}
            self._send({**hello, "profiling": asdict(profiling) if profiling else None})
            message = self._await(("ready", "refused"), time.monotonic() + timeout_s, None)
        except CaseFailed as error:
            tail = self.stderr_tail()
            raise GpubenchError(f"the worker did not start: {error}\n{tail}".rstrip()) from error
        if message["event"] == "refused":
            raise WorkerRefused(message["problem"], expected=message.get("expected"))
        return message

    def run(
        self, case: Mapping[str, Any], seed: int, timeout_s: float, listen: Listener | None
    ) -> Mapping[str, Any]:
        """Run one case; returns the ``record`` message.

        Raises:
            CaseFailed: the worker died, hung or ate the memory; it is gone then.
        """
        self._send({"op": "case", "case": dict(case), "seed": seed})
        return self._await(("record",), time.monotonic() + timeout_s, listen, timeout_s)

    def expand(self, case: Mapping[str, Any], timeout_s: float) -> Mapping[str, Any]:
        """Ask which cases one stands for; returns the ``expanded`` message.

        Raises:
            CaseFailed: the worker died or hung; it is gone then.
        """
        self._send({"op": "expand", "case": dict(case)})
        return self._await(("expanded",), time.monotonic() + timeout_s, None, timeout_s)

    def _send(self, message: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(dumps(message).encode() + b"\n")
        except (BrokenPipeError, OSError) as error:
            raise self._died() from error

    def _await(
        self,
        events: tuple[str, ...],
        deadline: float,
        listen: Listener | None,
        timeout_s: float | None = None,
    ) -> Mapping[str, Any]:
        while True:
            line = self._line(deadline, timeout_s)
            try:
                message = json.loads(line)
            except ValueError:
                self.kill()
                raise CaseFailed("crash", "the worker wrote what is no message") from None
            if message["event"] in events:
                return dict(message)
            if message["event"] == "lost":
                self.kill()
                raise CaseFailed(message["kind"], message["reason"])
            if listen is not None:
                listen(message)

    def _line(self, deadline: float, timeout_s: float | None) -> bytes:
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0:
                self.kill()
                shown = f" of {timeout_s:g} s" if timeout_s is not None else ""
                raise CaseFailed("timeout", f"not done within the timeout{shown}: killed")
            self._watch_memory()
            if not self._selector.select(min(POLL_S, left)):
                continue
            assert self._process.stdout is not None
            chunk = os.read(self._process.stdout.fileno(), 1 << 20)
            if not chunk:
                raise self._died()
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _watch_memory(self) -> None:
        if self._limit is None:
            return
        used = resident_bytes(self.pid)
        if used is not None and used > self._limit:
            self.kill()
            raise CaseFailed(
                "out_of_memory",
                f"the worker used {bytes_iec(used)}, above the limit of"
                f" {bytes_iec(self._limit)}: killed",
            )

    def _died(self) -> CaseFailed:
        """What became of a process that closed its pipe."""
        try:
            status = self._process.wait(5)
        except subprocess.TimeoutExpired:
            self.kill()
            return CaseFailed("crash", "the worker closed its pipe: killed")
        if status >= 0:
            return CaseFailed("crash", f"the worker ended with status {status}")
        name = signal.Signals(-status).name
        hint = ": probably the kernel's out-of-memory killer" if name == "SIGKILL" else ""
        kind = "out_of_memory" if name == "SIGKILL" else "crash"
        return CaseFailed(kind, f"the worker died of {name}{hint}")

    def stderr_tail(self) -> str:
        """The end of what the worker wrote to stderr."""
        self._stderr.seek(0, os.SEEK_END)
        size = self._stderr.tell()
        self._stderr.seek(max(0, size - STDERR_TAIL))
        return self._stderr.read().decode("utf-8", "replace").strip()

    def kill(self) -> None:
        """End the worker and whatever it started, now."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        """Let the worker end by itself; kill it if it does not. Safe to call twice."""
        with contextlib.suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        try:
            self._process.wait(3)
        except subprocess.TimeoutExpired:
            self.kill()
        self._selector.close()
        for stream in (self._process.stdout, self._stderr):
            if stream is not None:
                stream.close()


def resident_bytes(pid: int) -> int | None:
    """Resident memory of a process (``/proc/PID/statm``); None where it cannot be read."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
