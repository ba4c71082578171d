"""``gpubench profile`` from the command line, on the CPU."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from tests.cli.command import TINY, gpubench
from tests.telemetry.test_nsys import export


def test_a_profile_has_kernels_a_trace_and_a_reason_for_no_energy(tmp_path: Path) -> None:
    suite, out = tmp_path / "tiny.yaml", tmp_path / "out"
    suite.write_text(TINY)
    done = gpubench(
        "profile", str(suite), "--device", "cpu", "--output", str(out), "--json", "-",
        "--energy-time", "0", "--filter", "precision == 'fp32'",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    records = json.loads(done.stdout)["records"]
    measured = [r for r in records if r["status"] == "measured"]
    assert len(measured) == 2
    for r in measured:
        kernels = {k["name"]: k for k in r["kernels"]}
        assert kernels["aten::mm"]["time_s"] > 0
        assert r["energy"]["joules"] is None
        assert r["energy"]["reason"] == "not asked for"
        trace = json.loads(Path(r["facts"]["profile.trace"]).read_text())
        assert any(e.get("name") == "gpubench.call" for e in trace["traceEvents"])
        assert all(reading["time_s"] >= 0 for reading in r["readings"])
        # Headline times are those of the timing pass, which nothing traced.
        assert len(r["times_s"]) == r["summary"]["n"]
    assert len(list(out.glob("*.html"))) == 1


def test_the_table_names_kernels_and_the_reason(tmp_path: Path) -> None:
    suite = tmp_path / "tiny.yaml"
    suite.write_text(TINY)
    done = gpubench(
        "profile", str(suite), "--device", "cpu", "--no-report", "--no-traces",
        "--energy-time", "0", "--filter", "precision == 'fp32'", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "aten::mm" in done.stdout
    assert "no energy: not asked for" in done.stdout
    assert not (tmp_path / "reports").exists()


def test_no_suite_is_wrong_usage() -> None:
    assert gpubench("profile").returncode == 2


def test_ranges_of_the_users_own_code_are_captured_without_a_profiler(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import nvtx, torch\n\n\ndef step(n=64):\n"
        "    with nvtx.annotate('forward', domain='mine'):\n"
        "        with nvtx.annotate('product', domain='mine'):\n"
        "            return torch.ones(n, n) @ torch.ones(n, n)\n"
    )
    suite = tmp_path / "own.yaml"
    suite.write_text(
        "schema: 1\nsuite: own\n"
        "policy: {min_time_s: 0.005, max_time_s: 0.05, warmup_s: 0, min_samples: 3}\n"
        "benchmarks: [{name: b, workload: custom, params: {target: 'mine:step', n: 64}}]\n"
    )
    done = gpubench(
        "profile", str(suite), "--device", "cpu", "--json", "-", "--no-report", "--no-traces",
        "--energy-time", "0", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (record,) = json.loads(done.stdout)["records"]
    if "profile.no_ranges" in record["facts"]:
        assert "C compiler" in record["facts"]["profile.no_ranges"]
        return
    found = [(r["name"], r["depth"]) for r in record["ranges"]]
    assert found == [("mine: forward", 0), ("mine: product", 1)]
    outer, inner = record["ranges"]
    assert 0 <= outer["start_s"] <= inner["start_s"] <= inner["end_s"] <= outer["end_s"]
    # Operators of the product are in both; energy was not asked for, and that is the reason.
    assert 0 < inner["device_time_s"] <= outer["device_time_s"]
    assert inner["energy_j"] is None
    assert inner["reason"] == "not asked for"


def test_an_export_of_nsys_is_shown_without_a_suite(tmp_path: Path) -> None:
    file = str(export(tmp_path / "x.sqlite"))
    done = gpubench("profile", "--nsys-export", file)
    assert done.returncode == 0, done.stderr
    assert "forward" in done.stdout
    assert "gemm_kernel" in done.stdout
    document = json.loads(gpubench("profile", "--nsys-export", file, "--json", "-").stdout)
    assert document["ranges"][0]["path"] == ["step"]


def test_nsys_runs_the_suite_and_its_export_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for nsys that runs what it is given and exports a known file."""
    made = export(tmp_path / "made.sqlite")
    program = tmp_path / "bin" / "nsys"
    program.parent.mkdir()
    program.write_text(
        '#!/bin/sh\nfor a in "$@"; do case $a in --output=*) out=${a#--output=};; esac; done\n'
        'while [ "$1" != "-m" ]; do shift; done\n'
        f'"{sys.executable}" "$@" && cp "{made}" "$out.sqlite"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    suite = tmp_path / "tiny.yaml"
    suite.write_text(TINY)
    done = gpubench(
        "profile", str(suite), "--nsys", "--device", "cpu", "--filter", "precision == 'fp32'",
        "--output", str(tmp_path / "out"), cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "gemm_kernel" in done.stdout
    assert "export: " in done.stdout


def test_without_nsys_the_way_out_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = gpubench("profile", "smoke", "--nsys")
    assert done.returncode == 2
    assert "--nsys-export" in done.stderr
