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
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
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


class span:  # noqa: N801 - used as a verb, as contextlib's own
    """An NVTX range in the domain of gpubench; nearly free where no tool listens."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        _domain().push_range(_attributes(self._name))

    def __exit__(self, *_: object) -> None:
        _domain().pop_range()


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


@dataclass(frozen=True, slots=True)
class Captured:
    """A range on the monotonic clock, and the thread (gettid) that began it."""

    range: Range
    thread: int


def captured_of(events: Sequence[Event]) -> tuple[Captured, ...]:
    """Ranges from events; one that never ended, or ended before the capture, is left out.

    Pushed ranges nest within their thread and domain. Names carry their domain.
    """
    stacks: dict[tuple[int, str], list[Event]] = defaultdict(list)
    open_ranges: dict[int, Event] = {}
    found: list[Captured] = []
    for e in events:
        stack = stacks[e.thread, e.domain]
        if e.kind == _PUSHED:
            stack.append(e)
        elif e.kind == _POPPED and stack:
            begun = stack.pop()
            found.append(Captured(_range(begun, e.time_s, len(stack)), begun.thread))
        elif e.kind == _STARTED:
            open_ranges[e.id] = e
        elif e.kind == _ENDED and e.id in open_ranges:
            begun = open_ranges.pop(e.id)
            found.append(Captured(_range(begun, e.time_s, 0), begun.thread))
    found.sort(key=lambda c: (c.range.start_s, c.range.depth))
    return tuple(found)


def ranges_of(events: Sequence[Event]) -> tuple[Range, ...]:
    """The same without their threads."""
    return tuple(c.range for c in captured_of(events))


def others(events: Sequence[Event]) -> tuple[Captured, ...]:
    """Ranges that are not gpubench's own."""
    own = f"{DOMAIN}: "
    return tuple(c for c in captured_of(events) if not c.range.name.startswith(own))


def forget_captured() -> None:
    """Begin to capture anew; nothing where ranges cannot be captured."""
    with suppress(CaptureUnavailable):
        Capture().reset()


def capture_events() -> list[Event]:
    """Everything since then; nothing where ranges cannot be captured."""
    try:
        return Capture().events()
    except CaptureUnavailable:
        return []


def _range(begun: Event, end_s: float, depth: int) -> Range:
    name = f"{begun.domain}: {begun.name}" if begun.domain else begun.name
    return Range(name, begun.time_s, end_s, depth)
