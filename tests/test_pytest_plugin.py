"""The pytest fixture, in pytest runs of their own."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import gpubench
from gpubench.analysis.change import change_between
from gpubench.api.guarding import Guard
from gpubench.record import Measurement, Samples
from gpubench.store import Acceptance, Store

pytest_plugins = ["pytester"]

FAST = (
    'FAST = {"min_time_s": 0, "max_time_s": 30, "warmup_s": 0, "min_samples": 8,'
    ' "max_samples": 8, "target_rel_ci": 0.9, "device": "cpu"}\n'
)

SLEEPS = (
    FAST
    + """
import os, time

def test_sleep(gpubench):
    gpubench(time.sleep, float(os.environ.get("SLEEP_S", "0.0002")), **FAST)
"""
)


@pytest.fixture(scope="module", autouse=True)
def everything_imported() -> None:
    """The runs below are in this process, and pytester forgets what they import first."""
    gpubench.measure(sum, [1], min_time_s=0, max_time_s=0.01, device="cpu")
    Guard("s").close()


@pytest.fixture
def quiet(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    pytester.makeini("[pytest]\n")
    # What else runs on this machine is not the matter here.
    monkeypatch.setattr("gpubench.engine.trust.FOREIGN_CPUS", 1e9)
    return pytester


def runs(pytester: pytest.Pytester, store_url: str, *more: str) -> pytest.RunResult:
    return pytester.runpytest_inprocess(
        "-p", "no:cacheprovider", f"--gpubench-store={store_url}", *more
    )


def test_the_plugin_is_an_entry_point_and_imports_nothing() -> None:
    (found,) = [e for e in entry_points(group="pytest11") if e.name == "gpubench"]
    assert found.value == "gpubench.pytest_plugin"
    code = (
        "import pytest, sys\n"
        "before = set(sys.modules)\n"
        "import gpubench.pytest_plugin\n"
        "new = {m for m in set(sys.modules) - before if not m.startswith('gpubench')}\n"
        "print(sorted(new), [m for m in sys.modules if m.startswith('gpubench.')])\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[] ['gpubench.pytest_plugin']"


def test_results_go_into_the_store(quiet: pytest.Pytester, store_url: str) -> None:
    quiet.makepyfile(
        test_here=FAST
        + """
import pytest, torch

@pytest.mark.parametrize("n", [8, 16])
def test_mm(gpubench, n):
    a = torch.rand(n, n)
    m = gpubench(torch.mm, a, a, flops=2 * n**3, reference=torch.mm, **FAST)
    assert len(m.samples.times_s) >= 6

def test_two(gpubench):
    gpubench(sum, [1], name="one", **FAST)
    gpubench(sum, [1, 2], name="two", params={"size": 2}, **FAST)
"""
    )
    done = runs(quiet, store_url, "--gpubench-label", "mine")
    done.assert_outcomes(passed=3)
    done.stdout.re_match_lines([r"=+ gpubench =+", r"test_here test_mm\[16\] +fp32 .*FLOP/s"])
    with Store(store_url) as store:
        run = store.find("mine")
        found = store.records(run.id)
    assert (run.suite, run.status) == ("pytest", "finished")
    assert run.environment.get("torch.version")
    assert [r.case.label for r in found] == [
        "test_mm[8]", "test_mm[16]", "test_two one", "test_two two"
    ]  # fmt: skip
    assert len({r.case.key for r in found}) == 4
    assert all(r.status == "measured" for r in found)
    assert found[3].case.params == {"target": "test_here:test_two two", "size": 2}
    assert found[0].case.work is not None
    assert found[0].case.work.flops == 2 * 8**3


def test_keys_do_not_depend_on_the_root_folder(quiet: pytest.Pytester, store_url: str) -> None:
    path = quiet.makepyfile(test_here=SLEEPS)
    keys = []
    for folder in (path.parent, path.parent.parent):
        runs(quiet, store_url, f"--rootdir={folder}", str(path)).assert_outcomes(passed=1)
        with Store(store_url) as store:
            keys += [r.case.key for r in store.records(store.find("latest").id)]
    assert len(keys) == 2
    assert len(set(keys)) == 1


def test_a_suite_name_of_its_own_changes_the_keys(quiet: pytest.Pytester, store_url: str) -> None:
    quiet.makepyfile(test_here=SLEEPS)
    runs(quiet, store_url).assert_outcomes(passed=1)
    quiet.makeini("[pytest]\ngpubench_suite = mine\n")
    runs(quiet, store_url).assert_outcomes(passed=1)
    with Store(store_url) as store:
        second, first = store.runs()
        assert [first.suite, second.suite] == ["pytest", "mine"]
        assert store.records(first.id)[0].case.key != store.records(second.id)[0].case.key


def test_what_goes_wrong_in_a_test(quiet: pytest.Pytester, store_url: str) -> None:
    quiet.makepyfile(
        FAST
        + """
import torch

def test_raises(gpubench):
    gpubench(lambda: 1 / 0, **FAST)

def test_wrong(gpubench):
    gpubench(torch.add, torch.ones(2), torch.ones(2), reference=torch.sub, **FAST)

def test_wrong_shape(gpubench):
    gpubench(torch.neg, torch.ones(2), reference=torch.sum, **FAST)

def test_twice(gpubench):
    gpubench(sum, [1], **FAST)
    gpubench(sum, [1], **FAST)

def test_option(gpubench):
    gpubench(sum, [1], min_time=3)

def test_precision(gpubench):
    gpubench(sum, [1], precision="tf32", **FAST)

def test_after_all_this(gpubench):
    gpubench(sum, [1], **FAST)
"""
    )
    done = runs(quiet, store_url, "-rs")
    done.assert_outcomes(passed=1, failed=5, skipped=1)
    done.stdout.fnmatch_lines_random(
        [
            "E*ZeroDivisionError: division by zero",
            "test_wrong: wrong result: relative error inf against sub*",
            "*returned shapes [[](2,)], the reference [[]()]*",
            "*'test_twice' is measured twice; expected a name= or params= of its own",
            "*unknown option 'min_time'*did you mean 'min_time_s'?",
            "*tf32 is a Tensor Core format*",
        ]
    )
    with Store(store_url) as store:
        found = store.records(store.find("latest").id)
    assert {r.case.label: r.status for r in found} == {
        "test_wrong": "measured", "test_twice": "measured", "test_precision": "skipped",
        "test_after_all_this": "measured",
    }  # fmt: skip


def test_disabled_tests_are_skipped(quiet: pytest.Pytester, store_url: str) -> None:
    quiet.makepyfile(SLEEPS)
    runs(quiet, store_url, "--gpubench-disable").assert_outcomes(skipped=1)
    with Store(store_url) as store:
        assert store.runs() == []


class TestAcceptAndCompare:
    @pytest.fixture
    def project(
        self, quiet: pytest.Pytester, store_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> pytest.Pytester:
        quiet.makepyfile(test_here=SLEEPS)
        monkeypatch.setenv("SLEEP_S", "0.002")
        return quiet

    def test_from_accepted_to_slower_to_accepted_again(
        self, project: pytest.Pytester, store_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        done = runs(project, store_url, "--gpubench-compare")
        done.assert_outcomes(passed=1)
        done.stdout.fnmatch_lines(["*not judged: nothing accepted yet"])

        runs(project, store_url, "--gpubench-accept", "first").assert_outcomes(passed=1)
        # Sleeping is exact enough that it is the same within a threshold of 10x.
        done = runs(project, store_url, "--gpubench-compare", "--gpubench-threshold=900%")
        done.assert_outcomes(passed=1)
        done.stdout.fnmatch_lines(["*same: *(accepted *: first)"])

        monkeypatch.setenv("SLEEP_S", "0.02")
        done = runs(project, store_url, "--gpubench-compare")
        done.assert_outcomes(failed=1)
        done.stdout.re_match_lines(
            [r"test_sleep: slower: 20\S* ms \(.* to .*\) now, 2\S* ms \(.*\) accepted; .*x .*first"]
        )
        monkeypatch.setenv("SLEEP_S", "0.0002")
        for _ in range(5):  # on a busy machine an interval may reach as far as the old level
            done = runs(project, store_url, "--gpubench-compare")
            done.assert_outcomes(passed=1)
            if "faster: " in done.stdout.str():
                break
        done.stdout.fnmatch_lines(["*faster: *"])

        monkeypatch.setenv("SLEEP_S", "0.02")
        runs(project, store_url, "--gpubench-accept", "needed").assert_outcomes(passed=1)
        done = runs(project, store_url, "--gpubench-compare", "--gpubench-threshold=9")
        done.assert_outcomes(passed=1)
        done.stdout.fnmatch_lines(["*same: *(accepted *: needed)"])
        with Store(store_url) as store:
            (key,) = {r.case.key for r in store.records(store.find("latest").id)}
            assert [a.reason for a in store.acceptances(key)] == ["needed", "first"]

    def test_failed_and_doubtful_levels_are_not_accepted(
        self, project: pytest.Pytester, store_url: str
    ) -> None:
        project.makepyfile(
            test_here=FAST
            + """
import time

def test_fails_later(gpubench):
    gpubench(time.sleep, 0.001, **FAST)
    assert False

def test_few(gpubench):
    gpubench(time.sleep, 0.001, **{**FAST, "min_samples": 1, "max_samples": 3})
"""
        )
        done = runs(project, store_url, "--gpubench-accept", "hope")
        done.assert_outcomes(passed=1, failed=1)
        done.stdout.fnmatch_lines_random(
            ["*not accepted: the test did not pass", "*not accepted: few_samples"]
        )
        with sqlite3.connect(store_url.removeprefix("sqlite:///")) as raw:
            assert raw.execute("select count(*) from accepted").fetchone() == (0,)

    def test_another_device_or_a_removed_run_is_not_judged(
        self, project: pytest.Pytester, store_url: str
    ) -> None:
        runs(project, store_url, "--gpubench-accept", "first").assert_outcomes(passed=1)
        with Store(store_url) as store:
            run = store.find("latest")
            key = store.records(run.id)[0].case.key
            store.remove(run.id)
        done = runs(project, store_url, "--gpubench-compare")
        done.assert_outcomes(passed=1)
        done.stdout.fnmatch_lines([f"*not judged: the accepted run {run.id} is gone"])
        with sqlite3.connect(store_url.removeprefix("sqlite:///")) as raw:
            raw.execute("update accepted set device = 'GPU-elsewhere'")
        done = runs(project, store_url, "--gpubench-compare")
        done.assert_outcomes(passed=1)
        done.stdout.fnmatch_lines(["*not judged: accepted on another device only"])
        with Store(store_url) as store:
            assert [a.device for a in store.acceptances(key)] == ["GPU-elsewhere"]

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (["--gpubench-compare", "--gpubench-accept=x"], "*one at a time*"),
            (["--gpubench-accept= "], "*needs a reason*"),
            (["--gpubench-threshold=much"], "*'much' is no share*"),
            (["--gpubench-threshold=-3%"], "*'-3%' is no share*"),
        ],
    )
    def test_options_that_make_no_sense(
        self, project: pytest.Pytester, store_url: str, options: list[str], words: str
    ) -> None:
        done = runs(project, store_url, *options)
        assert done.ret == pytest.ExitCode.USAGE_ERROR
        done.stderr.fnmatch_lines([words])


def test_rows_travel_with_the_reports(quiet: pytest.Pytester, store_url: str) -> None:
    """What pytest-xdist sends from its workers is a report as plain data."""
    quiet.makepyfile(SLEEPS)
    quiet.makeconftest(
        """
import json, pathlib

def pytest_runtest_logreport(report):
    if report.when == "call":
        text = json.dumps(report._to_json()["user_properties"])
        pathlib.Path("sent.json").write_text(text)
"""
    )
    runs(quiet, store_url).assert_outcomes(passed=1)
    ((name, text),) = json.loads((quiet.path / "sent.json").read_text())
    assert name == "gpubench"
    assert json.loads(text)["name"].endswith(" test_sleep")


def test_an_unused_guard_opens_no_store(tmp_path: Path) -> None:
    with Guard("s", store=str(tmp_path / "x.db")):
        pass
    assert not (tmp_path / "x.db").exists()


def test_acceptances_are_appended(store_url: str) -> None:
    first = Acceptance("k", "d", "r1", "because", "2026-01-01T00:00:00.000+00:00")
    second = replace(first, run_id="r2", reason="fused")
    elsewhere = replace(first, device="e")
    with Store(store_url) as store:
        for given in (first, elsewhere, second, replace(first, case_key="other")):
            store.accept(given)
    with Store(store_url) as store:
        assert store.acceptances("k") == [second, elsewhere, first]
        assert store.acceptances("unknown") == []


def test_a_store_from_before_acceptances_gets_the_table(store_url: str) -> None:
    with Store(store_url):
        pass
    path = store_url.removeprefix("sqlite:///")
    with sqlite3.connect(path) as raw:
        raw.execute("drop table accepted")
    with Store(store_url) as store:
        assert store.acceptances("k") == []


def test_one_record_of_a_run(store_url: str) -> None:
    from tests.builders import record, run

    with Store(store_url) as store:
        store.begin(run())
        store.put(run().id, record())
        assert store.record(run().id, record().case.key) == record()
        assert store.record(run().id, "other") is None
        assert store.record("other", record().case.key) is None


class TestChange:
    """The rule itself, on made-up samples."""

    @staticmethod
    def of(median_s: float, *flags: str, spread: float = 0.001, **more: str) -> Measurement:
        times = tuple(median_s * (1 + spread * (i - 10)) for i in range(21))
        given = {"method": "loop", "cache": "hot", "stopped_by": "target_ci", **more}
        return Measurement(samples=Samples(times), flags=flags, **given)  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("now_s", "spread", "threshold", "verdict"),
        [
            (1.00, 0.001, 0.05, "same"),
            (1.04, 0.001, 0.05, "same"),  # certain, but too small to matter
            (1.06, 0.001, 0.05, "slower"),
            (1.06, 0.001, 0.10, "same"),
            (1.20, 0.040, 0.05, "same"),  # large, but the intervals overlap
            (0.90, 0.001, 0.05, "faster"),
            (0.96, 0.001, 0.05, "same"),
            (1.03, 0.001, 0.00, "slower"),
        ],
    )
    def test_slower_is_certain_and_matters(
        self, now_s: float, spread: float, threshold: float, verdict: str
    ) -> None:
        change = change_between(
            self.of(now_s, spread=spread), self.of(1.0, spread=spread), threshold
        )
        assert change.verdict == verdict
        assert change.ratio == pytest.approx(now_s)
        assert change.low is not None
        assert change.high is not None
        assert change.low < now_s < change.high

    @pytest.mark.parametrize("flag", ["few_samples", "contended", "throttled", "drifting"])
    def test_doubts_on_either_side_make_no_verdict(self, flag: str) -> None:
        for now, accepted in ((self.of(9, flag), self.of(1)), (self.of(9), self.of(1, flag))):
            change = change_between(now, accepted)
            assert (change.verdict, change.ratio) == ("unknown", None)
            assert flag in change.text

    def test_other_methods_and_cache_states_are_not_compared(self) -> None:
        change = change_between(self.of(9, cache="cold"), self.of(1))
        assert change.text == "not judged: cache cold now, hot accepted"
        change = change_between(self.of(9), self.of(1, method="events"))
        assert change.text == "not judged: method loop now, events accepted"

    def test_a_time_of_zero_has_no_ratio(self) -> None:
        assert change_between(self.of(1), self.of(0)).verdict == "unknown"
