"""The store: append and query. SQLite by default, PostgreSQL by URL.

One transaction a record: what was reported as done survives the death of the process.
``schema`` has the tables and upgrades, ``points`` what a history is made of, ``connection``
the border to the database, ``spool`` what to do when it is lost in mid-run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

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
from gpubench.store.connection import default_url, open_engine, sqlite_path, translated
from gpubench.store.points import Point, point_row
from gpubench.store.schema import (
    STORE_VERSION,
    accepted,
    calibrations,
    history,
    is_ready,
    prepare,
    records,
    runs,
)

__all__ = ["STORE_VERSION", "Acceptance", "Point", "Store", "default_url", "sqlite_path"]


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
        self._engine = open_engine(self.url)
        self.shown = self._engine.url.render_as_string(hide_password=True)
        self._heads: dict[str, Run] = {}
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
        with translated(self.shown):
            yield

    def _create(self) -> None:
        with self._engine.connect() as connection:
            if is_ready(connection):
                return
        with self._engine.begin() as connection:
            if self._engine.dialect.name == "sqlite":
                # Two processes may open a new store at once: the first takes the lock.
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            prepare(connection, self.shown)

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
        self._heads[run.id] = run

    def update(self, run: Run) -> None:
        """Replace the head of a run."""
        with self._translated(), self._engine.begin() as connection:
            connection.execute(runs.update().where(runs.c.id == run.id).values(**_run_row(run)))
        self._heads[run.id] = run

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
            head = self._heads.get(run_id) or self._head(connection, run_id)
            self._heads[run_id] = head
            self._put(connection, head, record, position)

    def _head(self, connection: sa.Connection, run_id: str) -> Run:
        body = connection.execute(sa.select(runs.c.body).where(runs.c.id == run_id)).scalar()
        if body is None:
            raise StoreError(f"the store {self.shown} has no run {run_id!r} to add to")
        return decode_run(json.loads(body))

    def _put(self, connection: sa.Connection, head: Run, record: Record, position: int) -> None:
        case, run_id = record.case, head.id
        for table in (records, history):
            connection.execute(
                table.delete().where(
                    table.c.run_id == run_id,
                    table.c.benchmark == case.benchmark,
                    table.c.case_key == case.key,
                )
            )
        outcome = record.outcome
        if isinstance(outcome, Measurement):
            connection.execute(history.insert().values(**point_row(head, record, outcome)))
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
                self._put(connection, run, record, position)

    def remove(self, run_id: str) -> None:
        """Remove a run and its records."""
        with self._translated(), self._engine.begin() as connection:
            for table in (history, records):
                connection.execute(table.delete().where(table.c.run_id == run_id))
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

    def run(self, run_id: str) -> Run:
        """The run of an id.

        Raises:
            StoreError: there is none.
        """
        with self._translated(), self._engine.connect() as connection:
            return self._head(connection, run_id)

    def has_run(self, run_id: str) -> bool:
        """Whether a run of that id is there."""
        query = sa.select(runs.c.id).where(runs.c.id == run_id)
        with self._translated(), self._engine.connect() as connection:
            return connection.execute(query).scalar() is not None

    def acceptances(self, case_key: str) -> list[Acceptance]:
        """What was accepted for a case on any device, newest first."""
        columns = [accepted.c[name] for name in Acceptance.__slots__]
        query = sa.select(*columns).where(accepted.c.case_key == case_key)
        query = query.order_by(accepted.c.id.desc())
        with self._translated(), self._engine.connect() as connection:
            return [Acceptance(*row) for row in connection.execute(query)]

    def accepted_on(self, device: str) -> dict[str, Acceptance]:
        """Case key -> what was last accepted for it on a device."""
        return {a.case_key: a for a in reversed(self.accepted_on_all(device))}

    def accepted_on_all(self, device: str) -> list[Acceptance]:
        """Everything that was accepted on a device, newest first."""
        columns = [accepted.c[name] for name in Acceptance.__slots__]
        query = sa.select(*columns).where(accepted.c.device == device)
        query = query.order_by(accepted.c.id.desc())
        with self._translated(), self._engine.connect() as connection:
            return [Acceptance(*row) for row in connection.execute(query)]

    def points(
        self,
        device: str,
        suite: str | None = None,
        *,
        case_keys: Iterable[str] | None = None,
        until: str | None = None,
        since: str | None = None,
    ) -> dict[str, list[Point]]:
        """Case key -> its history on a device, oldest first; one point a run.

        Args:
            device: identity, as ``points.device_id`` makes it.
            suite: only runs of it.
            case_keys: only these cases.
            until, since: bounds of the start of the run, ISO 8601, both included.
        """
        query = sa.select(*(history.c[n] for n in Point.__slots__))
        query = query.where(history.c.device == device)
        if suite is not None:
            query = query.where(history.c.suite == suite)
        if until is not None:
            query = query.where(history.c.started_at <= until)
        if since is not None:
            query = query.where(history.c.started_at >= since)
        if case_keys is not None:
            query = query.where(history.c.case_key.in_(list(case_keys)))
            query = query.order_by(history.c.case_key)
        query = query.order_by(history.c.started_at, history.c.run_id, history.c.benchmark)
        found: dict[str, list[Point]] = {}
        make: Callable[..., Point] = Point
        with self._translated(), self._engine.connect() as connection:
            for row in connection.execute(query):
                flags = tuple(filter(None, row[-1].split(","))) if row[-1] else ()
                point = make(*row[:-1], flags)
                past = found.setdefault(point.case_key, [])
                # The same work may stand in two benchmarks of a suite: the first one counts.
                if not past or past[-1].run_id != point.run_id:
                    past.append(point)
        return found

    def measured(self, run_ids: Sequence[str]) -> dict[str, list[Point]]:
        """Run id -> its measurements as points, without the samples: for many runs at once."""
        make: Callable[..., Point] = Point
        found: dict[str, list[Point]] = {r: [] for r in run_ids}
        with self._translated(), self._engine.connect() as connection:
            for part in _parts(run_ids):
                query = sa.select(*(history.c[n] for n in Point.__slots__))
                query = query.where(history.c.run_id.in_(part)).order_by(history.c.benchmark)
                for row in connection.execute(query):
                    flags = tuple(filter(None, row[-1].split(",")))
                    found[row[1]].append(make(*row[:-1], flags))
        return found

    def statuses(self, run_ids: Sequence[str]) -> dict[str, dict[tuple[str, str], str]]:
        """Run id -> (benchmark, case key) -> ``measured``, ``skipped`` or ``failed``."""
        found: dict[str, dict[tuple[str, str], str]] = {r: {} for r in run_ids}
        columns = (records.c.run_id, records.c.benchmark, records.c.case_key, records.c.status)
        with self._translated(), self._engine.connect() as connection:
            for part in _parts(run_ids):
                query = sa.select(*columns).where(records.c.run_id.in_(part))
                for run_id, benchmark, key, status in connection.execute(query):
                    found[run_id][benchmark, key] = status
        return found

    def machines(self) -> list[tuple[str, str]]:
        """(device, suite) of every history, in order."""
        query = sa.select(history.c.device, history.c.suite).distinct()
        with self._translated(), self._engine.connect() as connection:
            return sorted((d, s) for d, s in connection.execute(query))

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

    def fleet(self, name: str) -> list[Run]:
        """The runs of a fleet, one a device and suite, in the order of their ids."""
        query = sa.select(runs.c.body).where(runs.c.fleet == name).order_by(runs.c.id)
        with self._translated(), self._engine.connect() as connection:
            return [decode_run(json.loads(b)) for b in connection.execute(query).scalars()]

    def fleets(self) -> list[str]:
        """Names of the fleets, the one that began last first."""
        began = sa.func.max(runs.c.started_at)
        query = sa.select(runs.c.fleet).where(runs.c.fleet.is_not(None)).group_by(runs.c.fleet)
        with self._translated(), self._engine.connect() as connection:
            return list(connection.execute(query.order_by(began.desc())).scalars())

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


def _parts(ids: Sequence[str], size: int = 500) -> Iterator[Sequence[str]]:
    """As many at once as any database takes in one statement."""
    for start in range(0, len(ids), size):
        yield ids[start : start + size]


def _run_row(run: Run) -> dict[str, Any]:
    return {
        "id": run.id,
        "label": run.label,
        "suite": run.suite,
        "started_at": run.started_at,
        "status": run.status,
        "body": dumps(encode_run(run)),
        "fleet": run.fleet,
    }
