"""A real PostgreSQL server for tests, in a folder of its own."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

USER = "gpubench"


def missing() -> str | None:
    """Why no server can be started here; None if one can."""
    if _program("postgres") is None:
        return "PostgreSQL is not installed (apt-get install postgresql)"
    try:
        import psycopg  # noqa: F401
    except ImportError:
        return "psycopg is not installed (pip install 'gpubench[postgres]')"
    if os.getuid() == 0 and _other_user() is None:
        return "PostgreSQL does not run as root, and there is no user postgres or nobody"
    return None


def _program(name: str) -> str | None:
    found = shutil.which(name)
    beside = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(beside[-1]) if beside else found


def _other_user() -> str | None:
    import pwd

    known = {p.pw_name for p in pwd.getpwall()}
    return next((n for n in ("postgres", "nobody") if n in known), None)


class Server:
    """A server that can be stopped and started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.user = _other_user() if os.getuid() == 0 else getpass.getuser()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://{USER}@127.0.0.1:{self.port}/postgres"

    def initialise(self) -> None:
        if os.getuid() == 0:
            shutil.chown(self.folder, self.user)
        self._run(
            "initdb", "-D", str(self.folder / "data"), "-U", USER, "-A", "trust", "-E", "UTF8",
            "--no-sync", "--locale=C",
        )  # fmt: skip

    def start(self) -> None:
        program = _program("postgres")
        assert program is not None
        options = ["-c", "fsync=off", "-c", "listen_addresses=127.0.0.1"]
        self._process = subprocess.Popen(
            [program, "-D", str(self.folder / "data"), "-p", str(self.port),
             "-k", str(self.folder), *options],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/",
            user=self.user if os.getuid() == 0 else None,
        )  # fmt: skip
        import psycopg

        end = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(
                    host="127.0.0.1", port=self.port, user=USER, dbname="postgres"
                ).close()
                return
            except psycopg.OperationalError:
                assert self._process.poll() is None, "the server did not start"
                assert time.monotonic() < end, "the server does not answer"
                time.sleep(0.05)

    def stop(self) -> None:
        """End it as a crash would look to its clients: at once."""
        if self._process is not None:
            self._process.send_signal(3)  # SIGQUIT: immediate shutdown
            self._process.wait(60)
            self._process = None

    def _run(self, name: str, *arguments: str) -> None:
        program = _program(name)
        assert program is not None
        subprocess.run(
            [program, *arguments], check=True, capture_output=True, cwd="/",
            user=self.user if os.getuid() == 0 else None,
        )  # fmt: skip


@contextmanager
def running(folder: Path) -> Iterator[Server]:
    server = Server(folder)
    server.initialise()
    server.start()
    try:
        yield server
    finally:
        server.stop()
