"""Nsight Systems' SQLite exports: NVTX ranges with the device time of the kernels in them.

A kernel belongs to the innermost range that was open, on the thread that launched it, when its
launch began: kernel -> runtime call by correlation id -> range by thread and time. Tables appear
only where something was recorded, and columns have changed over the years, so each is looked
for before it is read (schema: ``nsys export --help`` and the header of an exported file).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from gpubench.errors import InputError
from gpubench.record import Kernel

PUSH_POP: Final = 59
START_END: Final = 60
"""Values of NVTX_EVENTS.eventType."""
_NO_RANGE: Final = "(no range)"


@dataclass(frozen=True, slots=True)
class NsysRange:
    """All occurrences of one range at one place in the nesting.

    Attributes:
        path: names from the outermost range to this one.
        count: occurrences.
        host_s: time between its ends on the host, of all occurrences.
        device_s: time of the kernels launched in it, its children's included.
        own_device_s: without its children's.
        kernels: launched in it directly, the longest first; times of all occurrences.
    """

    path: tuple[str, ...]
    count: int
    host_s: float
    device_s: float
    own_device_s: float
    kernels: tuple[Kernel, ...]


@dataclass(frozen=True, slots=True)
class NsysExport:
    """What an export holds.

    Attributes:
        ranges: in the order of their first occurrence; kernels of no range are last.
        missing: what the export lacks, in words.
    """

    ranges: tuple[NsysRange, ...]
    missing: tuple[str, ...] = ()


def read(path: Path) -> NsysExport:
    """Read an export.

    Raises:
        InputError: no such file, or none that nsys exported.
    """
    if not path.is_file():
        raise InputError("no such file", file=str(path), expected="an SQLite export of nsys")
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
            return _Reader(database).export()
    except sqlite3.DatabaseError as error:
        raise InputError(
            f"not an SQLite export of nsys: {error}", file=str(path),
            expected="a file made by `nsys export --type sqlite`",
        ) from error  # fmt: skip


class _Reader:
    def __init__(self, database: sqlite3.Connection) -> None:
        self._db = database
        tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        self._tables = {str(t[0]) for t in tables}
        if "StringIds" not in self._tables:
            raise sqlite3.DatabaseError("it has no table StringIds")
        self._strings = dict(database.execute("SELECT id, value FROM StringIds").fetchall())

    def export(self) -> NsysExport:
        missing = []
        ranges = self._ranges()
        if not ranges:
            missing.append("no NVTX ranges were recorded (nsys profile --trace=nvtx)")
        launches = self._launches()
        if not launches:
            missing.append("no kernels were recorded (nsys profile --trace=cuda)")
        return NsysExport(_attribute(ranges, launches), tuple(missing))

    def _columns(self, table: str) -> set[str]:
        return {str(row[1]) for row in self._db.execute(f"PRAGMA table_info({table})")}

    def _ranges(self) -> list[tuple[int, int, int, str]]:
        """(thread, start, end, name) in nanoseconds, in order of start."""
        if "NVTX_EVENTS" not in self._tables:
            return []
        columns = self._columns("NVTX_EVENTS")
        text = "text" if "text" in columns else "NULL"
        text_id = "textId" if "textId" in columns else "NULL"
        domain = "domainId" if "domainId" in columns else "0"
        rows = self._db.execute(
            f"SELECT globalTid, start, end, {text}, {text_id}, {domain}, eventType FROM NVTX_EVENTS"
            f" WHERE end IS NOT NULL AND eventType IN ({PUSH_POP}, {START_END}) ORDER BY start"
        )
        found = []
        for tid, start, end, plain, string_id, _domain, _type in rows:
            name = plain if plain is not None else self._strings.get(string_id, "?")
            found.append((int(tid or 0), int(start), int(end), str(name)))
        return found

    def _launches(self) -> list[tuple[int, int, int, str, Any, Any]]:
        """(thread, start of the launch, device ns, name, grid, block)."""
        if "CUPTI_ACTIVITY_KIND_KERNEL" not in self._tables:
            return []
        columns = self._columns("CUPTI_ACTIVITY_KIND_KERNEL")
        name = next((c for c in ("demangledName", "shortName", "name") if c in columns), None)
        shape = [
            c if c in columns else "NULL"
            for c in ("gridX", "gridY", "gridZ", "blockX", "blockY", "blockZ")
        ]
        if name is None or "CUPTI_ACTIVITY_KIND_RUNTIME" not in self._tables:
            return []
        rows = self._db.execute(
            "SELECT r.globalTid, r.start, k.end - k.start, k." + name + ", "
            + ", ".join(f"k.{c}" if c != "NULL" else c for c in shape)
            + " FROM CUPTI_ACTIVITY_KIND_KERNEL k JOIN CUPTI_ACTIVITY_KIND_RUNTIME r"
            " ON k.correlationId = r.correlationId ORDER BY r.start"
        )  # fmt: skip
        return [
            (int(tid or 0), int(start), int(took),
             self._strings.get(label, str(label)) if isinstance(label, int) else str(label),
             tuple(s[:3]), tuple(s[3:]))
            for tid, start, took, label, *s in rows
        ]  # fmt: skip


def _attribute(
    ranges: Sequence[tuple[int, int, int, str]],
    launches: Sequence[tuple[int, int, int, str, Any, Any]],
) -> tuple[NsysRange, ...]:
    """Kernels to innermost ranges, thread by thread, in one sweep over both."""
    places: dict[tuple[str, ...], _Place] = {}
    by_thread: dict[int, tuple[list[Any], list[Any]]] = {}
    for r in ranges:
        by_thread.setdefault(r[0], ([], []))[0].append(r)
    for launch in launches:
        by_thread.setdefault(launch[0], ([], []))[1].append(launch)
    for own_ranges, own_launches in by_thread.values():
        _sweep(own_ranges, own_launches, places)
    total = {path: place.device_ns for path, place in places.items()}
    for path, place in places.items():
        for i in range(1, len(path)):
            total[path[:i]] = total.get(path[:i], 0) + place.device_ns
    order = sorted(places.items(), key=lambda item: (item[0] == (_NO_RANGE,), item[1].first_ns))
    return tuple(place.told(path, total[path]) for path, place in order)


class _Place:
    """What is summed up for one path of names."""

    def __init__(self, first_ns: int) -> None:
        self.first_ns, self.count, self.host_ns, self.device_ns = first_ns, 0, 0, 0
        self.kernels: dict[str, list[Any]] = {}

    def add(self, launch: tuple[int, int, int, str, Any, Any]) -> None:
        _, _, took, name, grid, block = launch
        self.device_ns += took
        known = self.kernels.setdefault(name, [0, 0, grid, block])
        known[0] += 1
        known[1] += took

    def told(self, path: tuple[str, ...], total_ns: int) -> NsysRange:
        kernels = [
            Kernel(name, float(n), ns * 1e-9, _ints(grid), _ints(block))
            for name, (n, ns, grid, block) in self.kernels.items()
        ]
        return NsysRange(
            path, self.count, self.host_ns * 1e-9, total_ns * 1e-9, self.device_ns * 1e-9,
            tuple(sorted(kernels, key=lambda k: -k.time_s)),
        )  # fmt: skip


def _ints(shape: Sequence[Any]) -> tuple[int, ...]:
    return tuple(int(v) for v in shape) if all(v is not None for v in shape) else ()


def _sweep(
    ranges: Sequence[Any], launches: Sequence[Any], places: dict[tuple[str, ...], _Place]
) -> None:
    stack: list[tuple[int, tuple[str, ...]]] = []
    starts = np.array([r[1] for r in ranges], dtype=np.int64)
    next_range = 0
    for _, start, end, name in ranges:
        while stack and stack[-1][0] <= start:
            stack.pop()
        path = (*(stack[-1][1] if stack else ()), name)
        stack.append((end, path))
        place = places.setdefault(path, _Place(start))
        place.count += 1
        place.host_ns += end - start
    stack.clear()
    for launch in launches:
        until = int(np.searchsorted(starts, launch[1], side="right"))
        for _, start, end, name in ranges[next_range:until]:
            while stack and stack[-1][0] <= start:
                stack.pop()
            stack.append((end, (*(stack[-1][1] if stack else ()), name)))
        next_range = max(next_range, until)
        while stack and stack[-1][0] <= launch[1]:
            stack.pop()
        path = stack[-1][1] if stack else (_NO_RANGE,)
        places.setdefault(path, _Place(launch[1])).add(launch)
