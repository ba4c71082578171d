from __future__ import annotations

import csv
import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from gpubench.record import DeviceRef, Environment
from gpubench.store import Store
from tests.builders import gemm_case, measurement, record, run
from tests.cli.command import gpubench

CASE = gemm_case("fp16", 4096)


def stored(url: str, id: str, label: str | None, time_s: float) -> None:
    made = replace(
        record(CASE, measurement(*[time_s] * 10)),
        device=DeviceRef("cuda", "NVIDIA A100-SXM4-40GB", "a100-sxm4-40gb"),
    )
    env = Environment({"gpu.name": "NVIDIA A100-SXM4-40GB", "gpu.driver": "580.1"})
    with Store(url) as store:
        store.begin(run(id, label=label, suite="tensorcore", environment=env))
        store.put(id, made)


def test_two_gpus_with_an_empty_store(tmp_path: Path) -> None:
    done = gpubench("report", "--compare", "a100", "v100", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    path = tmp_path / "reports/tensorcore-a100-vs-v100.html"
    assert "report: reports/tensorcore-a100-vs-v100.html" in done.stdout
    assert "predicted" in done.stdout
    assert "Speed-up over v100" in done.stdout
    assert path.stat().st_size < 2_000_000


def test_prices_add_the_cost(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("currency: EUR\na100: 1.9\nv100: 1.2\n")
    command = ("report", "--compare", "a100", "v100", "--format", "markdown")
    done = gpubench(*command, "--prices", "p.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "### Cost in EUR" in done.stdout
    assert "per EFLOP" in done.stdout
    (tmp_path / "bad.yaml").write_text("a10: -3\n")
    for arguments, words in (
        ((*command, "--prices", "bad.yaml"), "bad.yaml"),
        ((*command, "--prices", "none.yaml"), "cannot read prices"),
        (("report", "--prices", "p.yaml"), "--compare"),
    ):
        done = gpubench(*arguments, cwd=tmp_path)
        assert (done.returncode, words in done.stderr) == (2, True), done.stderr
        assert done.stderr.count("\n") == 1


def test_no_torch_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys; from gpubench import api; from gpubench.report import comparison;"
        "c = api.compare(['a100', 'v100'], store=None); comparison.text(c, 'html');"
        "print([m for m in ('torch', 'pandas', 'plotly') if m in sys.modules])"
    )
    import subprocess

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr


def test_three_names(tmp_path: Path) -> None:
    done = gpubench("report", "--compare", "h100", "a100", "v100", "-o", "three.md", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "three.md").read_text()
    assert "## h100 over v100" in text
    assert "a100 over v100: most and least" in text


def test_csv_says_where_each_value_comes_from() -> None:
    done = gpubench("report", "--compare", "a100", "v100", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert {r["provenance"] for r in rows} == {"predicted", "published", ""}
    assert all(r["reason"] for r in rows if not r["provenance"])
    assert all(r["source"] for r in rows if r["provenance"])


def test_json_and_filter() -> None:
    done = gpubench(
        "report", "--compare", "a100", "v100", "--format", "json",
        "--filter", "precision == 'fp16' and m == n == k",
    )  # fmt: skip
    body = json.loads(done.stdout)["comparison"]
    assert body["reference"] == "v100"
    assert {c["case"]["precision"] for c in body["cases"]} == {"fp16"}
    assert [s["provenance"] for s in body["speedups"]] == ["predicted"]


def test_stored_runs_join_with_a_model_error(store_url: str) -> None:
    stored(store_url, "20260101-000000-aaaaaa", None, 7e-4)
    done = gpubench("report", "--compare", "a100", "v100", "--format", "json")
    cases = json.loads(done.stdout)["comparison"]["cases"]
    mine = next(c for c in cases if c["case"]["key"] == CASE.key)["subjects"]["a100"]
    assert mine["values"]["measured"]["time_s"] == pytest.approx(7e-4)
    assert mine["values"]["measured"]["source"] == "run 20260101-000000-aaaaaa"
    assert "model_error" in mine
    assert set(mine["speedups"]) == {"predicted"}  # v100 has nothing measured


def test_two_runs_by_label(store_url: str) -> None:
    stored(store_url, "20260101-000000-aaaaaa", "before", 8e-4)
    stored(store_url, "20260102-000000-bbbbbb", "after", 6e-4)
    done = gpubench("report", "--compare", "after", "before", "--format", "json")
    body = json.loads(done.stdout)["comparison"]
    measured = next(s for s in body["speedups"] if s["provenance"] == "measured")
    assert measured["geometric_mean"] == pytest.approx(8 / 6)


def test_suite(tmp_path: Path) -> None:
    suite = tmp_path / "mine.yaml"
    suite.write_text(
        "schema: 1\nsuite: mine\nbenchmarks:\n  - name: one\n    workload: gemm\n"
        "    params: {precision: fp16, size: 512}\n"
    )
    done = gpubench("report", "--compare", "a100", "v100", "--suite", str(suite), "-o", "a.html",
                    cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.html").stat().st_size > 100_000


def test_the_suffix_decides_the_format(tmp_path: Path) -> None:
    for name in ("a.md", "a.csv", "a.json", "a.parquet"):
        done = gpubench("report", "--compare", "a100", "v100", "-o", name, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    import pandas as pd

    found = pd.read_parquet(tmp_path / "a.parquet")
    assert set(found["subject"]) == {"a100", "v100"}
    assert found["time_s"].dtype == "float64"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["a100"], "two names"),
        (["a100", "v10"], "v100"),
        (["a100", "v100", "--suite", "tensorcor"], "nothing to compare"),
        (["a100", "v100", "--filter", "m == 5"], "matches none"),
        (["a100", "v100", "--format", "parquet", "-o", "-"], "not text"),
        (["a100", "v100", "-o", "/proc/x/y.html"], "cannot"),
    ],
)
def test_bad_usage(tmp_path: Path, arguments: list[str], words: str) -> None:
    done = gpubench("report", "--compare", *arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr + done.stdout
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_an_imported_run_of_an_unknown_precision_is_compared_all_the_same(
    tmp_path: Path, store_url: str
) -> None:
    with Store(store_url) as store:
        store.begin(run(label="odd"))
        store.put(run().id, record(replace(gemm_case(), precision="fp3")))
    done = gpubench("report", "--compare", "odd", "a100", "-o", "c.html", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
