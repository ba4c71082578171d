"""The tables of a store, and how an older store becomes one of this version."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import sqlalchemy as sa

from gpubench.codec import decode_record, decode_run
from gpubench.errors import StoreError
from gpubench.record import Measurement, Record, Run
from gpubench.store.points import point_row

STORE_VERSION: Final = 4
"""2: the table ``history``. 3: the column ``fleet`` of ``runs``.
4: the index ``history_of_series``."""

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
    sa.Column("fleet", sa.String(200)),
    sa.Index("runs_by_fleet", "fleet", "id"),
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


history = sa.Table(
    "history",
    metadata,
    sa.Column("run_id", sa.String(80), primary_key=True),
    sa.Column("benchmark", sa.String(100), primary_key=True),
    sa.Column("case_key", sa.String(100), primary_key=True),
    sa.Column("device", sa.String(300), nullable=False),
    sa.Column("stack", sa.String(20), nullable=False),
    sa.Column("suite", sa.String(200), nullable=False),
    sa.Column("started_at", sa.String(40), nullable=False),
    sa.Column("how", sa.String(80), nullable=False),
    sa.Column("median_s", sa.Float, nullable=False),
    sa.Column("ci_low_s", sa.Float, nullable=False),
    sa.Column("ci_high_s", sa.Float, nullable=False),
    sa.Column("clock_hz", sa.Float),
    sa.Column("temperature_c", sa.Float),
    sa.Column("power_w", sa.Float),
    sa.Column("flags", sa.String(400), nullable=False),
    # More equalities than the index of the device has: SQLite, which keeps no statistics, would
    # else take either of them, and walk the whole history of the device for one case.
    sa.Index("history_of_series", "case_key", "device", "suite", "started_at", "run_id"),
    sa.Index("history_of_device", "device", "suite", "started_at", "run_id"),
)
"""One narrow row a measurement: what tracking reads, without the samples of the record."""

VERSION_ADVICE: Final = "pip install -U gpubench"

_LOCK: Final = 0x67707562  # "gpub": any number that no other program on the server uses


def prepare(connection: sa.Connection, shown: str) -> None:
    """Make the tables of a new store, upgrade an older one, refuse a newer one.

    Raises:
        StoreError: the store was made by a newer gpubench.
    """
    if connection.dialect.name == "postgresql":
        # Several may open a new store at once: one makes it, the others wait.
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
    version = stored_version(connection)
    if version is not None and version > STORE_VERSION:
        raise StoreError(
            f"the store {shown} was made by a newer gpubench (version {version},"
            f" this one knows {STORE_VERSION})",
            expected=VERSION_ADVICE,
        )
    metadata.create_all(connection)
    for step in range(version or STORE_VERSION, STORE_VERSION):
        UPGRADES[step](connection)
    connection.execute(meta.delete().where(meta.c.name == "version"))
    connection.execute(meta.insert().values(name="version", value=str(STORE_VERSION)))


def is_ready(connection: sa.Connection) -> bool:
    """Whether a store is of this version and has every table."""
    there = set(sa.inspect(connection).get_table_names())
    return set(metadata.tables) <= there and stored_version(connection) == STORE_VERSION


def stored_version(connection: sa.Connection) -> int | None:
    """The version of a store; None for a database without one."""
    if not sa.inspect(connection).has_table(meta.name):
        return None
    value = connection.execute(sa.select(meta.c.value).where(meta.c.name == "version")).scalar()
    return None if value is None else int(value)


def _fill_history(connection: sa.Connection) -> None:
    """From 1 to 2: a row of history for every measurement that is there."""
    heads = connection.execute(sa.select(runs.c.body)).scalars().all()
    for head in map(decode_run, map(json.loads, heads)):
        query = sa.select(records.c.body).where(records.c.run_id == head.id)
        found = [decode_record(json.loads(b)) for b in connection.execute(query).scalars()]
        add_points(connection, head, found)


def add_points(connection: sa.Connection, head: Run, found: list[Record]) -> None:
    """Add what was measured to the history."""
    rows: list[dict[str, Any]] = [
        point_row(head, r, r.outcome) for r in found if isinstance(r.outcome, Measurement)
    ]
    if rows:
        connection.execute(history.insert(), rows)


def _name_fleets(connection: sa.Connection) -> None:
    """From 2 to 3: what was measured before fleets belongs to none."""
    known = {c["name"] for c in sa.inspect(connection).get_columns(runs.name)}
    if "fleet" not in known:
        connection.execute(sa.text("ALTER TABLE runs ADD COLUMN fleet VARCHAR(200)"))
        connection.execute(sa.text("CREATE INDEX runs_by_fleet ON runs (fleet, id)"))


def _index_series(connection: sa.Connection) -> None:
    """From 3 to 4: an index that no planner mistakes; the one of version 2 goes."""
    connection.execute(sa.text("DROP INDEX IF EXISTS history_of_case"))
    known = {i["name"] for i in sa.inspect(connection).get_indexes(history.name)}
    for index in history.indexes:
        if index.name not in known:
            index.create(connection)


UPGRADES: Final[dict[int, Callable[[sa.Connection], None]]] = {
    1: _fill_history, 2: _name_fleets, 3: _index_series,
}  # fmt: skip
"""version -> what turns a store of that version into one of the next."""
