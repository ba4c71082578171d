"""NVTX: gpubench's own ranges, and the capture of everybody's without a profiler.

Ranges of gpubench are in the domain ``gpubench``, visible in Nsight Systems. To capture those
of the user's code and of libraries, a small library (``nvtx_capture.c``) is built once with the
machine's C compiler and named to NVTX in ``NVTX_INJECTION64_PATH`` before the process starts.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

from gpubench.record import Range

SOURCE: Final = Path(__file__).with_name("nvtx_capture.c")
VARIABLE: Final = "NVTX_INJECTION64_PATH"
DOMAIN: Final = "gpubench"
_PUSHED, _POPPED, _STARTED, _ENDED = range(4)


@cache
def _domain() -> Any:
    """The domain, made at the first range: made earlier, a tool attached later misses it."""
    import nvtx

    return nvtx.get_domain(DOMAIN)


@contextmanager
def span(name: str) -> Iterator[None]:
    """An NVTX range in the domain of gpubench; nearly free where no tool listens."""
    domain = _domain()
    domain.push_range(_attributes(name))
    try:
        yield
    finally:
        domain.pop_range()


@cache
def _attributes(name: str) -> Any:
    return _domain().get_event_attributes(message=name)


class CaptureUnavailable(Exception):
    """Ranges cannot be captured here; the message says why."""


def library(folder: Path | None = None) -> Path:
    """The capture library, built where it is not there yet.

    Args:
        folder: where to keep it; the user's cache folder by default.

    Raises:
        CaptureUnavailable: no C compiler, or it fails.
    """
    from platformdirs import user_cache_path

    source = SOURCE.read_bytes()
    where = folder or user_cache_path("gpubench")
    path = where / f"nvtx_capture-{hashlib.sha256(source).hexdigest()[:16]}.so"
    if path.exists():
        return path
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise CaptureUnavailable("capturing NVTX ranges needs a C compiler (gcc)")
    try:
        where.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.part")
        flags = ["-O2", "-shared", "-fPIC", "-pthread"]
        done = subprocess.run(
            [compiler, *flags, "-o", str(part), str(SOURCE)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        if done.returncode:
            first = (done.stderr.strip().splitlines() or ["no message"])[0]
            raise CaptureUnavailable(f"the NVTX capture library does not compile: {first}")
        part.replace(path)
    except (OSError, subprocess.SubprocessError) as error:
        raise CaptureUnavailable(f"the NVTX capture library cannot be built: {error}") from error
    return path


class _Event(ctypes.Structure):
    _fields_ = (
        ("time_s", ctypes.c_double), ("id", ctypes.c_int64), ("kind", ctypes.c_int32),
        ("thread", ctypes.c_int32), ("domain", ctypes.c_char_p), ("name", ctypes.c_char_p),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Event:
    """A push, pop, start or end as it was captured."""

    time_s: float
    id: int
    kind: int
    thread: int
    domain: str
    name: str


class Capture:
    """What NVTX has captured in this process.

    Raises:
        CaptureUnavailable: this process was not started with the capture library.
    """

    def __init__(self) -> None:
        path = os.environ.get(VARIABLE, "")
        if "nvtx_capture-" not in path:
            raise CaptureUnavailable(f"{VARIABLE} does not name the capture library")
        self._library = ctypes.CDLL(path)
        self._library.gpubench_nvtx_count.restype = ctypes.c_size_t
        self._library.gpubench_nvtx_read.argtypes = [ctypes.c_size_t, ctypes.POINTER(_Event)]

    def reset(self) -> None:
        """Forget what was captured."""
        self._library.gpubench_nvtx_reset()

    def events(self) -> list[Event]:
        """Everything since the last reset, in order."""
        found, raw = [], _Event()
        for i in range(self._library.gpubench_nvtx_count()):
            if self._library.gpubench_nvtx_read(i, ctypes.byref(raw)):
                names = _text(raw.domain), _text(raw.name)
                found.append(Event(raw.time_s, raw.id, raw.kind, raw.thread, *names))
        return found


def _text(raw: bytes | None) -> str:
    return (raw or b"").decode("utf-8", "replace")


def ranges_of(events: Sequence[Event]) -> tuple[Range, ...]:
    """Ranges from events; one that never ended, or ended before the capture, is left out.

    Pushed ranges nest within their thread and domain. Names carry their domain.
    """
    stacks: dict[tuple[int, str], list[Event]] = defaultdict(list)
    open_ranges: dict[int, Event] = {}
    found: list[tuple[float, Range]] = []
    for e in events:
        stack = stacks[e.thread, e.domain]
        if e.kind == _PUSHED:
            stack.append(e)
        elif e.kind == _POPPED and stack:
            begun = stack.pop()
            found.append((begun.time_s, _range(begun, e.time_s, len(stack))))
        elif e.kind == _STARTED:
            open_ranges[e.id] = e
        elif e.kind == _ENDED and e.id in open_ranges:
            begun = open_ranges.pop(e.id)
            found.append((begun.time_s, _range(begun, e.time_s, 0)))
    found.sort(key=lambda item: (item[0], item[1].depth))
    return tuple(r for _, r in found)


def captured(call: Callable[[], object]) -> tuple[Range, ...]:
    """Ranges of others while ``call`` runs, their times from its start; none without capture."""
    try:
        capture = Capture()
    except CaptureUnavailable:
        return ()
    capture.reset()
    start_s = time.monotonic()
    call()
    others = [r for r in ranges_of(capture.events()) if not r.name.startswith(f"{DOMAIN}: ")]
    return tuple(replace(r, start_s=r.start_s - start_s, end_s=r.end_s - start_s) for r in others)


def _range(begun: Event, end_s: float, depth: int) -> Range:
    name = f"{begun.domain}: {begun.name}" if begun.domain else begun.name
    return Range(name, begun.time_s, end_s, depth)
