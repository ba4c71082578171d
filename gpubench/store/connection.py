"""Open a database and speak for it: URLs, pragmas, foreign errors."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    InterfaceError,
    NoSuchModuleError,
    SQLAlchemyError,
)

from gpubench.errors import StoreError

SQLITE_TIMEOUT_S: Final = 30.0
"""How long to wait for another process that writes."""


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


def open_engine(url: str) -> sa.Engine:
    """An engine for a URL; folders of a SQLite file are made.

    Raises:
        StoreError: no URL of a store, or a driver or folder that is not there.
    """
    try:
        parsed = sa.make_url(url)
        if parsed.get_backend_name() == "sqlite" and parsed.database and "uri" not in parsed.query:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        # A server may have been restarted since the last statement: look before each use.
        engine = sa.create_engine(parsed, connect_args=_connect_args(parsed), pool_pre_ping=True)
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
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _sqlite_pragmas)
    return engine


@contextmanager
def translated(shown: str) -> Iterator[None]:
    """Turn what a database raises into a ``StoreError`` with advice where there is some."""
    try:
        yield
    except (DatabaseError, InterfaceError) as error:
        cause = str(error.orig).splitlines()[0] if error.orig else str(error)
        raise StoreError(
            f"the store {shown} does not answer: {cause}", expected=_advice(cause)
        ) from error
    except SQLAlchemyError as error:
        raise StoreError(f"the store {shown}: {error}") from error


def _advice(cause: str) -> str | None:
    if "readonly" in cause or "read-only" in cause:
        return "a store that you may write; `--store FILE` names another"
    if "locked" in cause:
        return "the other process to finish, or a PostgreSQL store for many writers"
    return None


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
