from __future__ import annotations

import multiprocessing
import os
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from gpubench.errors import InputError, StoreError, UnknownName
from gpubench.record import Failure, Skip
from gpubench.spec import Case
from gpubench.store import Store, default_url, sqlite_path
from tests.builders import gemm_case, measurement, record, run


def case(index: int) -> Case:
    return replace(gemm_case(), key=f"k{index:04d}")


def test_what_is_put_comes_back(store_url: str) -> None:
    found = [
        record(case(0)),
        record(case(1), Skip("not here")),
        record(case(2), Failure("crash", "SIGSEGV", "trace")),
    ]
    with Store(store_url) as store:
        store.begin(run(label="mine"))
        for position, r in reversed(list(enumerate(found))):
            store.put(run().id, r, position)
    with Store(store_url) as store:
        assert store.find("mine") == run(label="mine")
        assert store.records(run().id) == found
        assert store.counts() == {run().id: {"measured": 1, "skipped": 1, "failed": 1}}


def test_a_record_of_the_same_case_is_replaced(store_url: str) -> None:
    with Store(store_url) as store:
        store.begin(run())
        store.put(run().id, record(case(0), Failure("timeout", "slow")))
        store.put(run().id, record(case(0)))
        (only,) = store.records(run().id)
    assert only.status == "measured"


def test_finding_runs(store_url: str) -> None:
    with Store(store_url) as store:
        with pytest.raises(InputError, match="is empty"):
            store.find("latest")
        store.begin(run("20260101-000000-aaaaaa", label="night", started_at="2026-01-01"))
        store.begin(run("20260102-000000-bbbbbb", label="night", started_at="2026-01-02"))
        store.begin(run("20260103-000000-cccccc", suite="other", started_at="2026-01-03"))
        assert store.find("latest").id.endswith("cccccc")
        assert store.find("night").id.endswith("bbbbbb")
        assert store.find("20260101").id.endswith("aaaaaa")
        assert [r.suite for r in store.runs()] == ["other", "test", "test"]
        assert len(store.runs("test")) == 2
        with pytest.raises(InputError, match="start of 3 run ids"):
            store.find("2026")
        with pytest.raises(UnknownName) as caught:
            store.find("nigth")
        assert caught.value.nearest == "night"


def test_runs_are_unique_and_imports_are_whole(store_url: str) -> None:
    with Store(store_url) as store:
        store.begin(run())
        with pytest.raises(StoreError, match="already"):
            store.begin(run())
        with pytest.raises(StoreError, match="already"):
            store.add(run(), [record()])
        store.remove(run().id)
        broken = [record(case(0)), replace(record(case(1)), outcome=None)]  # type: ignore[arg-type]
        with pytest.raises((StoreError, AttributeError, TypeError)):
            store.add(run(), broken)
        assert store.runs() == []


def test_finish_marks_the_run(store_url: str) -> None:
    with Store(store_url) as store:
        store.begin(run())
        done = store.finish(run(), "interrupted")
        assert store.find("latest") == done
        assert done.status == "interrupted"
        assert done.finished_at


def _write(url: str, name: str, count: int) -> None:
    with Store(url) as store:
        store.begin(run(name))
        for i in range(count):
            store.put(name, record(case(i)))


def test_several_runs_write_one_new_store_at_once(store_url: str) -> None:
    context = multiprocessing.get_context("spawn")
    names = [f"run-{i}" for i in range(4)]
    writers = [context.Process(target=_write, args=(store_url, n, 40)) for n in names]
    for w in writers:
        w.start()
    for w in writers:
        w.join(120)
        assert w.exitcode == 0
    with Store(store_url) as store:
        assert {r.id for r in store.runs()} == set(names)
        assert all(len(store.records(n)) == 40 for n in names)


def test_a_killed_writer_loses_nothing_it_reported(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'k.db'}"
    pid = os.fork()
    if pid == 0:  # pragma: no cover - the child kills itself
        with Store(url) as store:
            store.begin(run())
            for i in range(5):
                store.put(run().id, record(case(i)))
            os.kill(os.getpid(), 9)
    os.waitpid(pid, 0)
    with Store(url) as store:
        assert len(store.records(run().id)) == 5


def test_newer_store_is_refused_with_advice(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    Store(str(path)).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE gpubench_meta SET value = '99' WHERE name = 'version'")
    with pytest.raises(StoreError, match=r"newer gpubench.*pip install -U"):
        Store(str(path))


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nonsense://x", "is no store"),
        ("sqlite:////dev/null/x/y.db", "cannot open"),
        ("postgresql+psycopg://nobody@127.0.0.1:1/x", "does not answer|driver"),
    ],
)
def test_bad_urls_are_one_message(url: str, words: str) -> None:
    with pytest.raises(StoreError, match=words):
        Store(url)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    path.write_text("this is no database, only a text that is long enough to look at\n" * 20)
    with pytest.raises(StoreError, match="not a database"):
        Store(str(path))


def test_a_read_only_store(tmp_path: Path) -> None:
    path = tmp_path / "r.db"
    with Store(str(path)) as store:
        store.begin(run())
    with Store(f"sqlite:///file:{path}?mode=ro&uri=true") as store:
        assert store.find("latest") == run()
        with pytest.raises(StoreError, match="readonly"):
            store.put(run().id, record())


def test_passwords_are_not_shown(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as caught:
        Store("postgresql+psycopg://me:secret@127.0.0.1:1/x")
    assert "secret" not in str(caught.value)


def test_default_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUBENCH_STORE", "sqlite:////x.db")
    assert default_url() == "sqlite:////x.db"
    monkeypatch.delenv("GPUBENCH_STORE")
    assert default_url().endswith("results.db")
    assert sqlite_path("postgresql://x/y") is None
    assert sqlite_path("a/b.db") == Path("a")


def test_median_is_a_column(tmp_path: Path) -> None:
    with Store(str(tmp_path / "m.db")) as store:
        store.begin(run())
        store.put(run().id, record(case(0), measurement(2.0, 2.0, 2.0)))
    with sqlite3.connect(tmp_path / "m.db") as connection:
        assert connection.execute("SELECT median_s FROM records").fetchall() == [(2.0,)]


def test_the_write_ahead_log_is_tried_again_while_others_make_the_same_store() -> None:
    """Two that change the mode at once would wait for each other: SQLite fails one at once."""
    import sqlite3

    from gpubench.store.connection import _write_ahead

    answers = ["database is locked", "database is locked", None]

    class Cursor:
        def execute(self, statement: str) -> None:
            problem = answers.pop(0)
            if problem:
                raise sqlite3.OperationalError(problem)

    _write_ahead(Cursor())
    assert not answers
    answers.append("disk I/O error")
    with pytest.raises(sqlite3.OperationalError, match="disk"):
        _write_ahead(Cursor())
