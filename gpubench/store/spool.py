"""Where records go when the store is lost in mid-run, and how they get there later.

A spool file is JSON Lines: the head of the run, then a record a line, each written and
flushed before the next case begins. It is delivered by the next run that opens the same
store, or by ``gpubench results import FILE``. Delivery replaces a record of the same case
of the same run, so that it may be repeated, cut short or tried by two at once.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from gpubench.codec import decode_record, decode_run, dumps, encode_record, encode_run
from gpubench.errors import InputError, StoreError
from gpubench.record import Record, Run
from gpubench.store import Store

SPOOL_VERSION: Final = 1
SUFFIX: Final = ".spool.jsonl"


def spool_folder() -> Path:
    """``GPUBENCH_SPOOL``, or a folder beside the user's data."""
    from platformdirs import user_data_path

    given = os.environ.get("GPUBENCH_SPOOL")
    return Path(given) if given else user_data_path("gpubench") / "spool"


@dataclass(frozen=True, slots=True)
class Delivered:
    """What became of one spool file.

    Attributes:
        problem: why it could not be delivered; the file stays then.
    """

    path: Path
    run_id: str
    records: int = 0
    problem: str | None = None


class Keeper:
    """Puts records of a run into a store, or into a spool file once the store is lost.

    Attributes:
        path: the spool file; None while the store answers.
    """

    def __init__(self, store: Store, run: Run) -> None:
        self._store, self._run = store, run
        self._file: IO[str] | None = None
        self.path: Path | None = None
        self.problem = ""
        self.kept = 0

    def open(self) -> None:
        """Add the run to the store, or go on with it; into the spool where that is lost."""
        try:
            if self._store.has_run(self._run.id):
                self._store.update(self._run)
            else:
                self._store.begin(self._run)
        except StoreError as error:
            self.problem = str(error)
            self._begin()

    def put(self, record: Record, position: int) -> None:
        """Store a record, whatever becomes of the store.

        Raises:
            StoreError: neither the store nor the spool can be written.
        """
        if self._file is None:
            try:
                self._store.put(self._run.id, record, position)
            except StoreError as error:
                self.problem = str(error)
                self._begin()
            else:
                return
        self._write({"position": position, "record": encode_record(record)})
        self.kept += 1

    def finish(self, status: str) -> Run:
        """Mark the run as ended and deliver what was kept, where the store is back."""
        from dataclasses import replace
        from datetime import UTC, datetime

        if self._file is None:
            try:
                return self._store.finish(self._run, status)
            except StoreError as error:
                self.problem = str(error)
                self._begin()
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        done = replace(self._run, status=status, finished_at=now)
        self._write({"run": encode_run(done)})
        assert self._file is not None
        assert self.path is not None
        self._file.close()
        self._file = None
        if deliver(self.path, self._store).problem is None:
            self.path = None
        return done

    def _begin(self) -> None:
        folder = spool_folder()
        path = folder / f"{self._run.id}{SUFFIX}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a", encoding="utf-8")
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StoreError(
                f"{self.problem}; and the spool {path} cannot be written: {error.strerror}"
            ) from error
        self.path = path
        self._write({"spool": SPOOL_VERSION, "store": self._store.shown})
        self._write({"run": encode_run(self._run)})

    def _write(self, line: dict[str, Any]) -> None:
        assert self._file is not None
        try:
            self._file.write(dumps(line) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise StoreError(
                f"{self.problem}; and the spool {self.path} cannot be written: {error.strerror}"
            ) from error


def is_spool(path: Path) -> bool:
    """Whether a file is a spool, by its name."""
    return path.name.endswith(SUFFIX)


def deliver_all(store: Store) -> list[Delivered]:
    """Deliver every spool file of this store that no run is writing to."""
    folder = spool_folder()
    found = sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []
    done = []
    for path in found:
        with suppress(InputError, OSError):
            if _store_of(path) == store.shown:
                done.append(deliver(path, store))
    return done


def deliver(path: Path, store: Store) -> Delivered:
    """Put what a spool file holds into a store and remove the file.

    Raises:
        InputError: unreadable, not a spool file, or of a newer gpubench.
    """
    with _locked(path) as lines:
        if lines is None:
            return Delivered(path, path.name.removesuffix(SUFFIX), 0, "a run is writing to it")
        head, kept = _read(lines, path)
        try:
            _adopt(store, head)
            for record, position in kept:
                store.put(head.id, record, position)
            store.update(head)
        except StoreError as error:
            return Delivered(path, head.id, 0, str(error))
        path.unlink(missing_ok=True)
    return Delivered(path, head.id, len(kept))


def _adopt(store: Store, head: Run) -> None:
    """Make sure that the store has the run; another may add it at the same time."""
    if store.has_run(head.id):
        return
    try:
        store.begin(head)
    except StoreError:
        if not store.has_run(head.id):
            raise


@contextmanager
def _locked(path: Path) -> Iterator[list[str] | None]:
    """The lines of a spool file, held; None where a run or another delivery holds it."""
    try:
        with path.open(encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
                return
            yield file.read().splitlines()
    except OSError as error:
        raise InputError(f"cannot read: {error.strerror}", file=str(path)) from error
    except UnicodeDecodeError as error:
        raise InputError("not UTF-8 text", file=str(path), expected="a spool file") from error


def _store_of(path: Path) -> str | None:
    with path.open(encoding="utf-8") as file:
        return _parsed(file.readline(), path, 1).get("store")


def _read(lines: list[str], path: Path) -> tuple[Run, list[tuple[Record, int]]]:
    first = _parsed(lines[0] if lines else "", path, 1)
    if first.get("spool") != SPOOL_VERSION:
        raise InputError(
            f"a spool file of version {first.get('spool')!r}, this gpubench knows {SPOOL_VERSION}",
            file=str(path), expected="pip install -U gpubench",
        )  # fmt: skip
    head: Run | None = None
    kept = []
    for number, line in enumerate(lines[1:], 2):
        if number == len(lines) and not line.endswith("}"):
            break  # the process died while it wrote its last line
        found = _parsed(line, path, number)
        try:
            if "run" in found:
                head = decode_run(found["run"])
            elif "record" in found:
                kept.append((decode_record(found["record"]), int(found.get("position") or 0)))
        except InputError as error:
            raise error.at(file=str(path), line=number) from None
    if head is None:
        raise InputError("holds no run", file=str(path), expected="a spool file")
    return head, kept


def _parsed(line: str, path: Path, number: int) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError as error:
        raise InputError(
            "not JSON", file=str(path), line=number, expected="a spool file"
        ) from error
    if not isinstance(found, dict):
        raise InputError("no object", file=str(path), line=number, expected="a spool file")
    return found
