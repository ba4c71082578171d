"""Cases that stand for several, named by the device in the worker."""

from __future__ import annotations

import json
from pathlib import Path

from gpubench import suite as suites
from gpubench.launch.local import LocalLauncher
from gpubench.plan import make_plan, variant_of
from gpubench.record import Measurement
from gpubench.store import Store
from tests.builders import A100, CPU
from tests.cli.command import gpubench

POLICY = "policy: {min_time_s: 0.005, max_time_s: 0.05, warmup_s: 0, min_samples: 3}\n"
SUITE = (
    f"schema: 1\nsuite: many\n{POLICY}benchmarks:\n"
    "  - name: b\n    workload: hostile\n"
    "    cases: [{behaviour: ok}, {behaviour: many}, {behaviour: none},"
    " {behaviour: expand_raise}, {behaviour: expand_segfault}]\n"
)


def test_a_case_becomes_its_variants_and_others_stay() -> None:
    with LocalLauncher("cpu") as launcher:
        info, _ = launcher.connect()
        plan = make_plan(suites.parse(SUITE), info, seed=1)
        whole = launcher.expand(plan)
        assert [c.label for c in whole.cases] == ["ok 0", "ok 1", "ok 2"]
        reasons = {s.case.label: s.reason for s in whole.skips}
        assert reasons.pop("expand_segfault 0").startswith(
            "the search for its variants failed: the worker died of SIGSEGV"
        )
        assert reasons == {
            "ok 3": "three is too many",
            "none 0": "nothing of the kind here: pip install something",
            "expand_raise 0": "ValueError: lost count",
        }
        # Where the case stood in the suite its variants stand, in the order of the device.
        named = {c.key: c.label for c in (*whole.cases, *(s.case for s in whole.skips))}
        assert [named[k] for k in whole.order] == [
            "ok 0", "ok 1", "ok 2", "ok 3", "none 0", "expand_raise 0", "expand_segfault 0",
        ]  # fmt: skip
        found = list(launcher.run(whole))
        facts = [r.outcome.facts for r in found if isinstance(r.outcome, Measurement)]
        assert sorted(int(f["hostile.index"] or 0) for f in facts) == [0, 1, 2]
        assert facts[0]["hostile.rank"] is None


def test_keys_of_variants_keep_the_axes_of_their_case() -> None:
    text = SUITE.replace("cases:", "matrix: {cache: [cold, hot]}\n    cases:")
    plan = make_plan(suites.parse(text), CPU, seed=1)
    many = [c for c in plan.cases if c.params["behaviour"] == "many"]
    variants = [variant_of(c, {"behaviour": "ok", "index": 0}) for c in many]
    plain = [c for c in plan.cases if c.params["behaviour"] == "ok"]
    assert [v.key for v in variants] == [c.key for c in plain]
    assert len({v.key for v in variants}) == 2


def test_a_run_stores_variants_and_resumes_them(tmp_path: Path) -> None:
    suite = tmp_path / "many.yaml"
    suite.write_text(SUITE)
    url = str(tmp_path / "s.db")
    done = gpubench("run", str(suite), "--device", "cpu", "--store", url, "--no-report")
    assert done.returncode == 0, done.stderr
    with Store(url) as store:
        run = store.runs()[0]
        assert run.planned == 7
        assert store.counts()[run.id] == {"measured": 3, "skipped": 4}
    again = gpubench("run", str(suite), "--resume", run.id, "--store", url, "--no-report")
    assert again.returncode == 0, again.stderr
    exported = gpubench("results", "export", run.id, "--store", url, "--format", "json")
    records = json.loads(exported.stdout)["records"]
    facts = records[1]["facts"]
    assert (facts["hostile.index"], facts["hostile.rank"]) == (1, None)
    # Beside them, what decided the precision of the case.
    assert facts["switch.float32_matmul_precision"] == "highest"


def test_all_engines_on_a_gpu_are_one_case_until_the_device_names_them() -> None:
    text = (
        "schema: 1\nsuite: t\nbenchmarks:\n  - {name: b, workload: conv2d,"
        " params: {c_in: 64, c_out: 64, size: 56, padding: 1, algorithm: all}}\n"
    )
    plan = make_plan(suites.parse(text), A100, seed=1)
    assert [c.params["algorithm"] for c in plan.cases] == ["all"]
    plan = make_plan(suites.parse(text), CPU, seed=1)
    assert "needs a CUDA device" in plan.skips[0].reason
