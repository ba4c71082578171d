from __future__ import annotations

import json
from pathlib import Path

import pytest

from gpubench.codec import SCHEMA_VERSION
from gpubench.store import Store
from tests.builders import gemm_case, record, run
from tests.cli.command import gpubench

ID = "20260101-000000-aaaaaa"


@pytest.fixture(autouse=True)
def stored(store_url: str) -> None:
    with Store(store_url) as store:
        store.begin(run(ID, label="old"))
        store.put(ID, record())
        store.put(ID, record(gemm_case("bf16")), 1)


def test_list_and_show() -> None:
    listed = gpubench("results", "list").stdout
    assert ID in listed
    assert "old" in listed
    assert json.loads(gpubench("results", "list", "--format", "json").stdout)[0]["counts"] == {
        "measured": 2
    }
    shown = gpubench("results", "show", "latest").stdout
    assert "64x64x64" in shown
    assert "bf16" in shown


def test_export_takes_id_label_and_latest_and_import_takes_it_back(tmp_path: Path) -> None:
    texts = {n: gpubench("results", "export", n).stdout for n in (ID, "old", "latest")}
    assert len(set(texts.values())) == 1
    path = tmp_path / "r.json"
    path.write_text(texts["old"])
    other = f"sqlite:///{tmp_path / 'other.db'}"
    done = gpubench("results", "import", str(path), "--store", other)
    assert done.stdout == f"imported run {ID}: 2 records\n"
    assert gpubench("results", "export", "latest", "--store", other).stdout == texts["old"]
    again = gpubench("results", "import", str(path), "--store", other)
    assert again.returncode == 2
    assert "already" in again.stderr


def test_import_from_stdin(tmp_path: Path) -> None:
    text = gpubench("results", "export", "old").stdout
    other = f"sqlite:///{tmp_path / 'other.db'}"
    assert gpubench("results", "import", "-", "--store", other, stdin=text).returncode == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not JSON"),
        ("[]", ""),
        ("{}", "not a gpubench result"),
        (f'{{"schema_version": {SCHEMA_VERSION + 1}}}', "newer gpubench"),
        ('{"schema_version": 1, "run": {"id": 3}}', "run.id"),
        ("[" * 100_000, "nested too deeply"),
        ("\x00", "not JSON"),
    ],
)
def test_bad_imports_change_nothing(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    done = gpubench("results", "import", str(path))
    assert "Traceback" not in done.stderr
    if text != "[]":
        assert done.returncode == 2
        assert words in done.stderr
        assert "bad.json" in done.stderr
    assert len(json.loads(gpubench("results", "list", "--format", "json").stdout)) == 1


def test_remove_asks_unless_told(store_url: str) -> None:
    refused = gpubench("results", "remove", "old")
    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    assert gpubench("results", "remove", "old", "--yes").returncode == 0
    with Store(store_url) as store:
        assert store.runs() == []
        assert store.records(ID) == []
    assert "no runs" in gpubench("results", "list").stdout
