"""A run whose store stops answering half-way, from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpubench.cli.main import invoke
from gpubench.errors import StoreError
from gpubench.record import Record
from gpubench.store import Store
from gpubench.store.spool import spool_folder
from tests.cli.command import TINY, write


def test_a_run_outlives_its_store(
    tmp_path: Path,
    store_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    suite = write(tmp_path, TINY)
    arguments = ["run", suite, "--device", "cpu", "--no-report"]
    put, update = Store.put, Store.update
    lost = {"after": 1}

    def failing(self: Store, run_id: str, record: Record, position: int = 0) -> None:
        if lost["after"] == 0:
            raise StoreError("the store does not answer: gone")
        lost["after"] -= 1
        put(self, run_id, record, position)

    def no_update(self: Store, *_: object) -> None:
        raise StoreError("the store does not answer: gone")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "put", failing)
        patch.setattr(Store, "update", no_update)
        assert invoke(arguments) == 0
    assert Store.update is update
    said = capsys.readouterr().err
    assert "5 records are kept in" in said
    (kept,) = spool_folder().iterdir()
    with Store(store_url) as store:
        first = store.find("latest")
        assert (first.status, len(store.records(first.id))) == ("running", 1)

    assert invoke(arguments) == 0
    assert f"delivered 5 kept records of run {first.id}" in capsys.readouterr().err
    assert not kept.exists()
    with Store(store_url) as store:
        assert store.run(first.id).status == "finished"
        found = store.records(first.id)
        assert len(found) == 6
        second = store.find("latest")
        assert [r.case.key for r in found] == [r.case.key for r in store.records(second.id)]
