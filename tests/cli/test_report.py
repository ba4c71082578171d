from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from gpubench.store import Store
from tests.builders import gemm_case, record, run
from tests.cli.command import gpubench


@pytest.fixture(autouse=True)
def stored(store_url: str) -> None:
    with Store(store_url) as store:
        store.begin(run("20260101-000000-aaaaaa", label="old", started_at="2026-01-01T00:00:00"))
        store.put("20260101-000000-aaaaaa", record())
        store.begin(run("20260102-000000-bbbbbb", started_at="2026-01-02T00:00:00"))
        store.put("20260102-000000-bbbbbb", record(gemm_case("bf16", 32)))
        store.put("20260102-000000-bbbbbb", record(gemm_case("fp32", 32)), 1)


def test_default_is_the_newest_as_html(tmp_path: Path) -> None:
    done = gpubench("report", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "report: reports/test-20260102-000000-bbbbbb.html\n"
    page = (tmp_path / "reports/test-20260102-000000-bbbbbb.html").read_text()
    assert "20260102-000000-bbbbbb" in page


def test_text_formats_go_to_stdout(tmp_path: Path) -> None:
    rows = list(csv.reader(io.StringIO(gpubench("report", "--format", "csv").stdout)))
    assert len(rows) == 3
    body = json.loads(gpubench("report", "old", "--format", "json").stdout)
    assert body["run"]["label"] == "old"
    markdown = gpubench("report", "old", "--format", "markdown").stdout
    assert markdown.startswith("#")
    assert "gemm" in markdown or "64x64x64" in markdown


def test_the_suffix_decides_the_format(tmp_path: Path) -> None:
    for name in ("a.md", "a.csv", "a.json", "a.parquet", "a.html"):
        done = gpubench("report", "-o", name, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / name).stat().st_size > 50
    import pandas as pd

    assert len(pd.read_parquet(tmp_path / "a.parquet")) == 2


def test_several_runs_in_one_report(tmp_path: Path) -> None:
    done = gpubench("report", "old", "latest", "-o", "both.html", cwd=tmp_path)
    assert done.returncode == 0
    page = (tmp_path / "both.html").read_text()
    assert "aaaaaa" in page
    assert "bbbbbb" in page


def test_filter(tmp_path: Path) -> None:
    done = gpubench("report", "--format", "csv", "--filter", "precision == 'bf16'")
    assert len(done.stdout.strip().splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing"], "unknown run"),
        (["--suite", "other"], "no run of suite 'other'"),
        (["--filter", "m == 5"], "matches none"),
        (["--format", "parquet", "-o", "-"], "not text"),
        (["--format", "pdf"], "pdf"),
        (["-o", "/proc/x/y.html"], "cannot"),
    ],
)
def test_bad_usage(tmp_path: Path, arguments: list[str], words: str) -> None:
    done = gpubench("report", *arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
