"""The store: append runs and records, query them. SQLite by default, PostgreSQL by URL.

One transaction a record: what was reported as done survives the death of the process.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError, SQLAlchemyError

from gpubench.codec import (
    decode_record,
    decode_run,
    dumps,
    encode_record,
    encode_run,
)
from gpubench.errors import InputError, StoreError, UnknownName
from gpubench.record import Measurement, Record, Run
from gpubench.stats import summarize

STORE_VERSION: Final = 1
SQLITE_TIMEOUT_S: Final = 30.0
"""How long to wait for another process that writes."""

metadata = sa.MetaData()

meta = sa.Table(
    "gpubench_meta",
    metadata,
    sa.Column("name", sa.String(40), primary_key=True),
    sa.Column("value", sa.String(200), nullable=False),
)

runs = sa.Table(
    "runs",
    metadata,
    sa.Column("id", sa.String(80), primary_key=True),
    sa.Column("label", sa.String(200), index=True),
    sa.Column("suite", sa.String(200), nullable=False, index=True),
    sa.Column("started_at", sa.String(40), nullable=False, index=True),
    sa.Column("status", sa.String(20), nullable=False),
    sa.Column("body", sa.Text, nullable=False),
)

records = sa.Table(
    "records",
    metadata,
    sa.Column("run_id", sa.String(80), sa.ForeignKey("runs.id"), primary_key=True),
    sa.Column("benchmark", sa.String(100), primary_key=True),
    sa.Column("case_key", sa.String(100), primary_key=True),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("status", sa.String(20), nullable=False),
    sa.Column("device", sa.String(200), nullable=False),
    sa.Column("median_s", sa.Float),
    sa.Column("body", sa.Text, nullable=False),
    sa.Index("records_by_case", "case_key", "run_id"),
)


calibrations = sa.Table(
    "calibrations",
    metadata,
    sa.Column("device", sa.String(200), primary_key=True),
    sa.Column("body", sa.Text, nullable=False),
)


accepted = sa.Table(
    "accepted",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("case_key", sa.String(100), nullable=False),
    sa.Column("device", sa.String(200), nullable=False),
    sa.Column("run_id", sa.String(80), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("accepted_at", sa.String(40), nullable=False),
    sa.Index("accepted_by_case", "case_key", "device"),
)


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Somebody's word that the level of a run is right for a case on a device.

    Attributes:
        device: identity of one device, as in ``put_calibration``.
        run_id: the run whose record is the level; it may have been removed since.
        accepted_at: ISO 8601, UTC.
    """

    case_key: str
    device: str
    run_id: str
    reason: str
    accepted_at: str


def default_url() -> str:
    """``GPUBENCH_STORE``, or a SQLite file in the user's data folder."""
    from platformdirs import user_data_path

    given = os.environ.get("GPUBENCH_STORE")
    if given:
        return given
    return f"sqlite:///{user_data_path('gpubench') / 'results.db'}"


def sqlite_path(url: str) -> Path | None:
    """The folder of a SQLite store; None for a server or an unreadable URL."""
    try:
        parsed = sa.make_url(url if "://" in url else f"sqlite:///{url}")
    except ArgumentError:
        return None
    is_file = parsed.get_backend_name() == "sqlite" and parsed.database
    return Path(str(parsed.database)).parent if is_file else None


class Store:
    """An open store.

    Args:
        url: SQLAlchemy URL; a bare path means a SQLite file.

    Raises:
        StoreError: cannot be opened, is no gpubench store, or is of a newer version.
    """

    def __init__(self, url: str | None = None) -> None:
        url = url or default_url()
        self.url = url if "://" in url else f"sqlite:///{url}"
        try:
            parsed = sa.make_url(self.url)
            self.shown = parsed.render_as_string(hide_password=True)
            if parsed.get_backend_name() == "sqlite" and parsed.database:
                Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
            self._engine = sa.create_engine(parsed, connect_args=_connect_args(parsed))
        except (ArgumentError, NoSuchModuleError) as error:
            raise StoreError(
                f"{url!r} is no store: {error}",
                expected="a file, sqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE",
            ) from error
        except ImportError as error:
            raise StoreError(
                f"the driver of this store is not installed: {error}",
                expected="pip install 'gpubench[postgres]'",
            ) from error
        except OSError as error:
            raise StoreError(f"cannot open the store {url!r}: {error.strerror}") from error
        if self._engine.dialect.name == "sqlite":
            sa.event.listen(self._engine, "connect", _sqlite_pragmas)
        with self._translated():
            self._create()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except DatabaseError as error:
            cause = str(error.orig).splitlines()[0] if error.orig else str(error)
            raise StoreError(f"the store {self.shown} does not answer: {cause}") from error
        except SQLAlchemyError as error:
            raise StoreError(f"the store {self.shown}: {error}") from error

    def _create(self) -> None:
        with self._engine.begin() as connection:
            if self._engine.dialect.name == "sqlite":
                # Two processes may open a new store at once: the first takes the lock.
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            metadata.create_all(connection)
            row = connection.execute(sa.select(meta.c.value).where(meta.c.name == "version"))
            version = row.scalar()
            if version is None:
                connection.execute(meta.insert().values(name="version", value=str(STORE_VERSION)))
            elif int(version) > STORE_VERSION:
                raise StoreError(
                    f"the store {self.shown} was made by a newer gpubench (version {version},"
                    f" this one knows {STORE_VERSION})",
                    expected="pip install -U gpubench",
                )

    # ---- writing

    def begin(self, run: Run) -> None:
        """Add a run.

        Raises:
            StoreError: one of that id is there already.
        """
        with self._translated(), self._engine.begin() as connection:
            known = connection.execute(sa.select(runs.c.id).where(runs.c.id == run.id)).scalar()
            if known is not None:
                raise StoreError(f"the store has a run {run.id!r} already")
            connection.execute(runs.insert().values(**_run_row(run)))

    def update(self, run: Run) -> None:
        """Replace the head of a run."""
        with self._translated(), self._engine.begin() as connection:
            connection.execute(runs.update().where(runs.c.id == run.id).values(**_run_row(run)))

    def finish(self, run: Run, status: str) -> Run:
        """Mark a run as ``finished`` or ``interrupted``; returns it so marked."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        done = replace(run, status=status, finished_at=now)
        self.update(done)
        return done

    def put(self, run_id: str, record: Record, position: int = 0) -> None:
        """Add a record in a transaction of its own; one of the same case is replaced.

        Args:
            run_id: the run it belongs to.
            record: what to store.
            position: where it stands among the run's records when they are read.
        """
        with self._translated(), self._engine.begin() as connection:
            self._put(connection, run_id, record, position)

    def _put(self, connection: sa.Connection, run_id: str, record: Record, position: int) -> None:
        case = record.case
        same = sa.and_(
            records.c.run_id == run_id,
            records.c.benchmark == case.benchmark,
            records.c.case_key == case.key,
        )
        connection.execute(records.delete().where(same))
        outcome = record.outcome
        median = summarize(outcome.samples).median_s if isinstance(outcome, Measurement) else None
        connection.execute(
            records.insert().values(
                run_id=run_id,
                benchmark=case.benchmark,
                case_key=case.key,
                position=position,
                status=record.status,
                device=record.device.name,
                median_s=median,
                body=dumps(encode_record(record)),
            )
        )

    def add(self, run: Run, found: Sequence[Record]) -> None:
        """Add a whole run, as imported: all of it or nothing.

        Raises:
            StoreError: a run of that id is there already.
        """
        with self._translated(), self._engine.begin() as connection:
            known = connection.execute(sa.select(runs.c.id).where(runs.c.id == run.id)).scalar()
            if known is not None:
                raise StoreError(
                    f"the store has a run {run.id!r} already", expected="`results remove` first"
                )
            connection.execute(runs.insert().values(**_run_row(run)))
            for position, record in enumerate(found):
                self._put(connection, run.id, record, position)

    def remove(self, run_id: str) -> None:
        """Remove a run and its records."""
        with self._translated(), self._engine.begin() as connection:
            connection.execute(records.delete().where(records.c.run_id == run_id))
            connection.execute(runs.delete().where(runs.c.id == run_id))

    def put_calibration(self, device: str, body: Mapping[str, Any]) -> None:
        """Keep the calibration of a device; an older one is replaced."""
        with self._translated(), self._engine.begin() as connection:
            connection.execute(calibrations.delete().where(calibrations.c.device == device))
            connection.execute(calibrations.insert().values(device=device, body=dumps(body)))

    def accept(self, given: Acceptance) -> None:
        """Add an acceptance. Older ones of the case and device stay; the newest counts."""
        row = {name: getattr(given, name) for name in Acceptance.__slots__}
        with self._translated(), self._engine.begin() as connection:
            connection.execute(accepted.insert().values(**row))

    # ---- reading

    def acceptances(self, case_key: str) -> list[Acceptance]:
        """What was accepted for a case on any device, newest first."""
        columns = [accepted.c[name] for name in Acceptance.__slots__]
        query = sa.select(*columns).where(accepted.c.case_key == case_key)
        query = query.order_by(accepted.c.id.desc())
        with self._translated(), self._engine.connect() as connection:
            return [Acceptance(*row) for row in connection.execute(query)]

    def record(self, run_id: str, case_key: str) -> Record | None:
        """The record of a case in a run; None where it has none."""
        query = sa.select(records.c.body).where(
            records.c.run_id == run_id, records.c.case_key == case_key
        )
        with self._translated(), self._engine.connect() as connection:
            body = connection.execute(query).scalar()
        return None if body is None else decode_record(json.loads(body))

    def calibration(self, device: str) -> dict[str, Any] | None:
        """The calibration of a device as it was put; None where there is none."""
        query = sa.select(calibrations.c.body).where(calibrations.c.device == device)
        with self._translated(), self._engine.connect() as connection:
            body = connection.execute(query).scalar()
        return None if body is None else dict(json.loads(body))

    def runs(self, suite: str | None = None) -> list[Run]:
        """Every run, newest first."""
        query = sa.select(runs.c.body).order_by(runs.c.started_at.desc(), runs.c.id.desc())
        if suite is not None:
            query = query.where(runs.c.suite == suite)
        with self._translated(), self._engine.connect() as connection:
            return [decode_run(json.loads(b)) for b in connection.execute(query).scalars()]

    def find(self, name: str) -> Run:
        """A run by id, by a unique start of its id, by label (the newest) or ``latest``.

        Raises:
            UnknownName: there is none, with the nearest id or label.
        """
        everything = self.runs()
        if name == "latest" and everything:
            return everything[0]
        tests: list[Callable[[Run], bool]] = [
            lambda r: r.id == name,
            lambda r: r.label == name,
        ]
        for test in tests:
            for run in everything:
                if test(run):
                    return run
        starts = [r for r in everything if len(name) >= 4 and r.id.startswith(name)]
        if len(starts) == 1:
            return starts[0]
        if len(starts) > 1:
            raise InputError(f"{name!r} is the start of {len(starts)} run ids")
        known = {r.id for r in everything} | {r.label for r in everything if r.label}
        if not known:
            raise InputError(f"no run {name!r}: the store {self.shown} is empty")
        raise UnknownName("run", name, known | {"latest"})

    def records(self, run_id: str) -> list[Record]:
        """Records of a run, in the order of their positions."""
        query = sa.select(records.c.body).where(records.c.run_id == run_id)
        query = query.order_by(records.c.position, records.c.benchmark, records.c.case_key)
        with self._translated(), self._engine.connect() as connection:
            return [decode_record(json.loads(b)) for b in connection.execute(query).scalars()]

    def counts(self) -> dict[str, dict[str, int]]:
        """Run id -> status -> number of records."""
        query = sa.select(records.c.run_id, records.c.status, sa.func.count()).group_by(
            records.c.run_id, records.c.status
        )
        found: dict[str, dict[str, int]] = {}
        with self._translated(), self._engine.connect() as connection:
            for run_id, status, count in connection.execute(query):
                found.setdefault(run_id, {})[status] = count
        return found


def _run_row(run: Run) -> dict[str, Any]:
    return {
        "id": run.id,
        "label": run.label,
        "suite": run.suite,
        "started_at": run.started_at,
        "status": run.status,
        "body": dumps(encode_run(run)),
    }


def _connect_args(url: sa.URL) -> dict[str, Any]:
    # Another run may be writing: wait for it rather than fail.
    sqlite = url.get_backend_name() == "sqlite"
    return {"timeout": SQLITE_TIMEOUT_S} if sqlite else {"connect_timeout": 10}


def _sqlite_pragmas(connection: Any, _record: object) -> None:
    # The driver's own transaction handling starts them late; SQLAlchemy's begin is enough.
    cursor = connection.cursor()
    _write_ahead(cursor)
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _write_ahead(cursor: Any) -> None:
    """Turn the write-ahead log on, once in a file's life.

    The change needs the file for itself, and SQLite reports that it is busy at once, whatever
    timeout the connection has: several runs that open a new store together must try again.
    """
    until = time.monotonic() + SQLITE_TIMEOUT_S
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.02)
