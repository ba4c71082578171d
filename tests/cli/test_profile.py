"""``gpubench profile`` from the command line, on the CPU."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.command import TINY, gpubench


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
        assert r["kernels"][0]["name"] == "aten::mm"
        assert r["kernels"][0]["time_s"] > 0
        assert r["energy"]["joules"] is None
        assert r["energy"]["reason"] == "not asked for"
        trace = json.loads(Path(r["facts"]["profile.trace"]).read_text())
        assert any(e.get("name") == "gpubench.call" for e in trace["traceEvents"])
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
