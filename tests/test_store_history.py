from __future__ import annotations

import multiprocessing
import sqlite3
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gpubench.errors import InputError, StoreError
from gpubench.record import Environment, Failure, Reading, Run
from gpubench.store import STORE_VERSION, Acceptance, Store
from gpubench.store.points import device_id
from gpubench.store.spool import Keeper, deliver, deliver_all, spool_folder
from tests import postgres
from tests.builders import gemm_case, measurement, record, run


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    reason = postgres.missing()
    if reason:
        pytest.skip(reason)
    # Not under pytest's folder: a server that does not run as root cannot look into it.
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        data = Path(name) / "pg"
        data.mkdir()
        with postgres.running(data) as started:
            yield started


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty store of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'h.db'}"
    return emptied(request.getfixturevalue("server"))


def emptied(server: postgres.Server) -> str:
    import psycopg

    with psycopg.connect(
        host="127.0.0.1", port=server.port, user=postgres.USER, dbname="postgres", autocommit=True
    ) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return server.url


def night(index: int, **facts: object) -> Run:
    known = {"host.name": "here", "cpu.model": "Test CPU", "torch.version": "2.8", **facts}
    return run(
        f"2026{index:04d}-000000-aaaaaa",
        started_at=f"2026-01-{index + 1:02d}T01:00:00.000+00:00",
        environment=Environment(known),  # type: ignore[arg-type]
    )


def test_a_history_is_by_case_machine_and_stack(url: str) -> None:
    read = measurement(
        flags=("noisy", "budget"),
        readings=(Reading(0, {"clock_hz": 1.4e9}), Reading(1, {"clock_hz": 1.2e9})),
    )
    with Store(url) as store:
        for i in range(4):
            head = night(i, **({"torch.version": "2.9"} if i == 3 else {}))
            store.begin(head)
            store.put(head.id, record(outcome=read))
            store.put(head.id, record(gemm_case("fp64"), Failure("crash", "SIGSEGV")), 1)
        elsewhere = night(9, **{"host.name": "there"})
        store.add(elsewhere, [record()])
        device = device_id(night(0).environment)
        found = store.points(device)
        (points,) = found.values()
        assert [p.run_id for p in points] == [night(i).id for i in range(4)]
        assert points[0].clock_hz == pytest.approx(1.3e9)
        assert points[0].flags == ("noisy", "budget")
        assert points[0].how == "loop/hot/normal"
        assert points[0].median_s == pytest.approx(1.0e-3)
        assert [p.stack == points[0].stack for p in points] == [True, True, True, False]
        assert len(store.points(device, until=points[1].started_at)[gemm_case().key]) == 2
        assert len(store.points(device, since=points[1].started_at)[gemm_case().key]) == 3
        assert store.points(device, "other") == {}
        assert store.points(device, case_keys=["nothing"]) == {}
        there = device_id(elsewhere.environment)
        assert store.machines() == sorted([(device, "test"), (there, "test")])
        store.remove(night(0).id)
        assert len(store.points(device)[gemm_case().key]) == 3


def test_a_replaced_record_replaces_its_point(url: str) -> None:
    with Store(url) as store:
        store.begin(night(0))
        store.put(night(0).id, record(outcome=measurement(1.0, 1.0)))
        store.put(night(0).id, record(outcome=measurement(2.0, 2.0)))
        (points,) = store.points(device_id(night(0).environment)).values()
        assert [p.median_s for p in points] == [2.0]
        store.put(night(0).id, record(outcome=Failure("crash", "SIGSEGV")))
        assert store.points(device_id(night(0).environment)) == {}


def test_the_same_work_in_two_benchmarks_is_one_point(url: str) -> None:
    with Store(url) as store:
        store.begin(night(0))
        store.put(night(0).id, record(outcome=measurement(1.0, 1.0)))
        twin = replace(gemm_case(), benchmark="again")
        store.put(night(0).id, record(twin, measurement(2.0, 2.0)), 1)
        assert [len(p) for p in store.points(device_id(night(0).environment)).values()] == [1]


def test_an_older_store_is_upgraded(url: str) -> None:
    import sqlalchemy as sa

    with Store(url) as store:
        store.begin(night(0))
        store.put(night(0).id, record())
        expected = store.points(device_id(night(0).environment))
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE history"))
        connection.execute(sa.text("UPDATE gpubench_meta SET value = '1' WHERE name = 'version'"))
    with Store(url) as store:
        assert store.points(device_id(night(0).environment)) == expected
        assert store.records(night(0).id) == [record()]
    with engine.connect() as connection:
        version = connection.execute(sa.text("SELECT value FROM gpubench_meta")).scalar()
    engine.dispose()
    assert version == str(STORE_VERSION)


def test_a_store_from_before_fleets_is_upgraded(url: str) -> None:
    import sqlalchemy as sa

    with Store(url) as store:
        store.begin(night(0))
        store.put(night(0).id, record())
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP INDEX runs_by_fleet"))
        connection.execute(sa.text("ALTER TABLE runs DROP COLUMN fleet"))
        connection.execute(sa.text("UPDATE gpubench_meta SET value = '2' WHERE name = 'version'"))
    engine.dispose()
    with Store(url) as store:
        assert store.fleets() == []
        store.begin(replace(night(1), settings={"fleet": "f"}))
        assert [r.id for r in store.fleet("f")] == [night(1).id]
        assert store.records(night(0).id) == [record()]


def test_an_index_of_an_older_store_is_replaced(url: str) -> None:
    import sqlalchemy as sa

    Store(url).close()
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP INDEX history_of_series"))
        connection.execute(sa.text("CREATE INDEX history_of_case ON history (case_key, device)"))
        connection.execute(sa.text("UPDATE gpubench_meta SET value = '3' WHERE name = 'version'"))
    with Store(url) as store:
        store.begin(night(0))
        store.put(night(0).id, record())
    names = {i["name"] for i in sa.inspect(engine).get_indexes("history")}
    engine.dispose()
    assert names >= {"history_of_series", "history_of_device"}
    assert "history_of_case" not in names


def test_one_case_is_not_looked_for_in_the_whole_history(store_url: str) -> None:
    """SQLite has no statistics to choose an index by, however many rows there are."""
    import sqlalchemy as sa

    from gpubench.store.schema import history

    with Store(store_url) as store:
        rows = [
            {"run_id": f"r{n:03d}", "benchmark": "b", "case_key": f"c{i}", "device": "gpu",
             "stack": "s", "suite": "nightly", "started_at": f"{n:03d}", "how": "h",
             "median_s": 1.0, "ci_low_s": 1.0, "ci_high_s": 1.0, "flags": ""}
            for n in range(400) for i in range(50)
        ]  # fmt: skip
        with store._engine.begin() as connection:
            connection.execute(history.insert(), rows)
        asked: list[tuple[str, object]] = []
        sa.event.listen(
            store._engine, "before_cursor_execute",
            lambda _c, _cursor, statement, values, *_: asked.append((statement, values)),
        )  # fmt: skip
        assert len(store.points("gpu", "nightly", case_keys=["c7"])["c7"]) == 400
        statement, values = next(a for a in asked if "FROM history" in a[0])
        with store._engine.connect() as connection:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all()
    assert "history_of_series (case_key=? AND device=? AND suite=?)" in str(plan)


def test_a_fleet_is_its_runs(url: str) -> None:
    with Store(url) as store:
        for i, name in enumerate(("old", "new", "new", None)):
            settings = {"fleet": name} if name else {}
            store.add(replace(night(i), settings=settings), [record()])
        assert store.fleets() == ["new", "old"]
        assert [r.id for r in store.fleet("new")] == [night(1).id, night(2).id]
        assert store.fleet("nobody") == []
        ids = [night(i).id for i in range(4)]
        assert {k: len(v) for k, v in store.measured(ids).items()} == dict.fromkeys(ids, 1)
        statuses = store.statuses([*ids, "unknown"])
        assert statuses["unknown"] == {}
        assert list(statuses[ids[0]].values()) == ["measured"]
        # An export keeps the name.
        store.remove(ids[1])
        assert [r.id for r in store.fleet("new")] == [ids[2]]


def test_a_newer_store_is_refused_whatever_it_is(url: str) -> None:
    import sqlalchemy as sa

    Store(url).close()
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE gpubench_meta SET value = '99' WHERE name = 'version'"))
        connection.execute(sa.text("DROP TABLE history"))
    engine.dispose()
    with pytest.raises(StoreError, match=r"newer gpubench.*pip install -U"):
        Store(url)


def _write(url: str, index: int, count: int) -> None:
    with Store(url) as store:
        head = night(index)
        store.begin(head)
        for i in range(count):
            store.put(head.id, record(replace(gemm_case(), key=f"k{i:04d}")))


def test_many_writers_of_one_new_store(url: str) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(url, i, 25)) for i in range(4)]
    for w in writers:
        w.start()
    for w in writers:
        w.join(120)
        assert w.exitcode == 0
    with Store(url) as store:
        found = store.points(device_id(night(0).environment))
        assert len(found) == 25
        assert {len(p) for p in found.values()} == {4}


def test_acceptances_of_a_device(url: str) -> None:
    with Store(url) as store:
        for i in range(3):
            store.accept(Acceptance("k", "d", f"r{i}", "why", "2026-01-01"))
        store.accept(Acceptance("other", "d", "r9", "why", "2026-01-01"))
        store.accept(Acceptance("k", "elsewhere", "r8", "why", "2026-01-01"))
        assert {k: a.run_id for k, a in store.accepted_on("d").items()} == {
            "k": "r2",
            "other": "r9",
        }


# ---- the store is lost in mid-run


@pytest.fixture(autouse=True)
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GPUBENCH_SPOOL", str(tmp_path / "spool"))
    assert spool_folder() == tmp_path / "spool"
    return tmp_path / "spool"


def keep(index: int) -> object:
    return record(replace(gemm_case(), key=f"k{index}"))


def test_a_lost_server_loses_no_record(server: postgres.Server, spool: Path) -> None:
    url = emptied(server)
    with Store(url) as store:
        store.begin(night(0))
        keeper = Keeper(store, night(0))
        keeper.put(keep(0), 0)  # type: ignore[arg-type]
        server.stop()
        keeper.put(keep(1), 1)  # type: ignore[arg-type]
        keeper.put(keep(2), 2)  # type: ignore[arg-type]
        assert keeper.finish("finished").status == "finished"
        assert keeper.path is not None
        assert keeper.kept == 2
    server.start()
    with Store(url) as store:
        assert [r.case.key for r in store.records(night(0).id)] == ["k0"]
        (done,) = deliver_all(store)
        assert (done.problem, done.records) == (None, 2)
        assert [r.case.key for r in store.records(night(0).id)] == ["k0", "k1", "k2"]
        assert store.find("latest").status == "finished"
        assert deliver_all(store) == []
    assert list(spool.iterdir()) == []


def test_a_server_that_comes_back_during_the_run(server: postgres.Server) -> None:
    url = emptied(server)
    with Store(url) as store:
        store.begin(night(0))
        keeper = Keeper(store, night(0))
        server.stop()
        keeper.put(keep(0), 0)  # type: ignore[arg-type]
        server.start()
        keeper.put(keep(1), 1)  # type: ignore[arg-type]
        keeper.finish("finished")
        assert keeper.path is None
        assert [r.case.key for r in store.records(night(0).id)] == ["k0", "k1"]
        assert store.find("latest").status == "finished"


class Lost(Store):
    """A store that stops answering."""

    lost = False

    def put(self, *a: object, **k: object) -> None:
        if self.lost:
            raise StoreError("the store does not answer: gone")
        super().put(*a, **k)  # type: ignore[arg-type]


def spooled(url: str) -> Path:
    with Lost(url) as store:
        store.begin(night(0))
        keeper = Keeper(store, night(0))
        keeper.put(keep(0), 0)  # type: ignore[arg-type]
        store.lost = True
        keeper.put(keep(1), 1)  # type: ignore[arg-type]
        keeper.finish("interrupted")
        assert keeper.path is not None
        return keeper.path


def test_delivery_may_be_repeated_and_cut_short(store_url: str) -> None:
    path = spooled(store_url)
    kept = path.read_bytes()
    with Store(store_url) as store:
        for content in (kept, kept, kept + b'{"record": {"case"'):
            path.write_bytes(content)
            done = deliver(path, store)
            assert (done.problem, done.records) == (None, 1)
            assert not path.exists()
            assert [r.case.key for r in store.records(night(0).id)] == ["k0", "k1"]


def test_a_spool_goes_to_its_own_store_only(store_url: str, tmp_path: Path) -> None:
    path = spooled(store_url)
    with Store(str(tmp_path / "other.db")) as other:
        assert deliver_all(other) == []
        assert path.exists()
        # Asked for by name it may go anywhere: the run is added where it is not known.
        assert deliver(path, other).records == 1
        assert [r.case.key for r in other.records(night(0).id)] == ["k1"]


def test_what_a_run_is_writing_is_left_alone(store_url: str) -> None:
    with Lost(store_url) as store:
        store.begin(night(0))
        keeper = Keeper(store, night(0))
        store.lost = True
        keeper.put(keep(0), 0)  # type: ignore[arg-type]
        with Store(store_url) as other:
            (done,) = deliver_all(other)
            assert done.problem is not None
            assert "writing" in done.problem
            assert keeper.path is not None
            assert keeper.path.exists()


def test_neither_store_nor_spool(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUBENCH_SPOOL", "/dev/null/spool")
    with Lost(store_url) as store:
        store.begin(night(0))
        store.lost = True
        with pytest.raises(StoreError, match=r"gone; and the spool .* cannot be written"):
            Keeper(store, night(0)).put(keep(0), 0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not JSON"),
        ("[]\n", "no object"),
        ('{"spool": 99}\n', "pip install -U"),
        ('{"spool": 1}\n', "holds no run"),
        ('{"spool": 1}\n{"record": {"case": 1}}\n{}\n', ":2"),
    ],
)
def test_files_that_are_no_spool(text: str, words: str, tmp_path: Path, store_url: str) -> None:
    path = tmp_path / "x.spool.jsonl"
    path.write_text(text)
    with Store(store_url) as store, pytest.raises(InputError, match=words):
        deliver(path, store)
    assert path.exists()


def test_a_locked_store_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpubench.store.connection.SQLITE_TIMEOUT_S", 0.1)
    path = tmp_path / "l.db"
    with Store(str(path)) as store:
        store.begin(night(0))
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match=r"locked; expected the other process to finish"):
            store.put(night(0).id, record())
        holder.execute("ROLLBACK")
        store.put(night(0).id, record())
