from __future__ import annotations

import json
import os
import signal
import sqlite3
import time
from pathlib import Path
from subprocess import Popen

import pytest

from gpubench.codec import decode_document
from gpubench.store import Store
from tests.cli.command import HOSTILE, TINY, gpubench, start, write


def test_a_run_measures_stores_prints_and_reports(tmp_path: Path, store_url: str) -> None:
    done = gpubench("run", write(tmp_path, TINY), "--label", "mine", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "24x24x24" in done.stdout
    assert "skipped" in done.stdout
    assert "device: cpu" in done.stderr
    (report,) = (tmp_path / "reports").glob("tiny-*.html")
    assert f"report: {report.relative_to(tmp_path)}" in done.stdout
    assert 'id="gpubench-data"' in report.read_text()
    with Store(store_url) as store:
        run = store.find("mine")
        found = store.records(run.id)
    assert run.status == "finished"
    assert run.planned == len(found) == 6
    assert [(r.case.precision, r.status) for r in found] == [
        ("fp32", "measured"), ("fp32", "measured"), ("tf32", "skipped"), ("tf32", "skipped"),
        ("fp64", "measured"), ("fp64", "measured"),
    ]  # fmt: skip
    assert run.environment.get("torch.version")
    assert found[4].case.baseline == found[0].case.key


def test_json_stdout_holds_json_alone(tmp_path: Path) -> None:
    done = gpubench("run", write(tmp_path, TINY), "--json", "-", "--no-report", cwd=tmp_path)
    assert done.returncode == 0
    run, found = decode_document(json.loads(done.stdout))
    assert run.suite == "tiny"
    assert len(found) == 6
    assert not (tmp_path / "reports").exists()
    assert "\x1b[" not in done.stderr


def test_json_file_quiet_and_output(tmp_path: Path) -> None:
    done = gpubench(
        "run", write(tmp_path, TINY), "-q", "--json", "out/r.json", "--output", "there",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.startswith("report: there/tiny-")
    assert json.loads((tmp_path / "out/r.json").read_text())["schema_version"] == 1


def test_several_suites_make_several_runs_and_one_report(tmp_path: Path, store_url: str) -> None:
    other = write(tmp_path, TINY.replace("suite: tiny", "suite: other"), "o.yaml")
    done = gpubench("run", write(tmp_path, TINY), other, "--json", "-", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [d["run"]["suite"] for d in json.loads(done.stdout)] == ["tiny", "other"]
    with Store(store_url) as store:
        assert len(store.runs()) == 2
    assert len(list((tmp_path / "reports").iterdir())) == 1


def test_dry_run_stores_nothing(tmp_path: Path, store_url: str) -> None:
    done = gpubench("run", write(tmp_path, TINY), "--dry-run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "4 cases" in done.stdout
    assert "skipped 2" in done.stdout
    assert not Path(store_url.removeprefix("sqlite:///")).exists()


def test_filter_set_and_seed(tmp_path: Path) -> None:
    done = gpubench(
        "run", write(tmp_path, TINY), "--filter", "precision == 'fp32'", "--set", "size=[8]",
        "--set", "policy.max_samples=4", "--seed", "11", "--json", "-", "--no-report",
        cwd=tmp_path,
    )  # fmt: skip
    body = json.loads(done.stdout)
    (record,) = body["records"]
    assert record["case"]["params"]["m"] == 8
    assert record["summary"]["n"] == 4
    assert body["run"]["settings"]["seed"] == 11


def test_failed_cases_exit_3_and_the_rest_is_stored(tmp_path: Path, store_url: str) -> None:
    suite = write(tmp_path, HOSTILE % "{behaviour: raise}, {behaviour: ok}, {behaviour: segfault}")
    done = gpubench("run", suite, cwd=tmp_path)
    assert done.returncode == 3
    assert "2 case(s) failed" in done.stderr
    assert "Traceback" not in done.stderr
    with Store(store_url) as store:
        assert store.counts()[store.find("latest").id] == {"failed": 2, "measured": 1}
    assert list((tmp_path / "reports").glob("*.html"))


def test_a_wrong_result_exits_3(tmp_path: Path) -> None:
    done = gpubench("run", write(tmp_path, HOSTILE % "{behaviour: wrong}"), cwd=tmp_path)
    assert done.returncode == 3
    assert "wrong result" in done.stderr


def test_fail_on_is_a_gate(tmp_path: Path) -> None:
    # Three samples, wherever they lie, are too few to state an interval.
    suite = write(tmp_path, TINY.replace("min_samples: 3", "min_samples: 3, max_samples: 3"))
    done = gpubench("run", suite, "--fail-on", "few_samples", "--no-report", cwd=tmp_path)
    assert done.returncode == 1
    assert "few_samples" in done.stderr
    done = gpubench("run", suite, "--fail-on", "throttled", "--no-report", cwd=tmp_path)
    assert done.returncode == 0


def test_timeout(tmp_path: Path) -> None:
    suite = write(tmp_path, HOSTILE % "{behaviour: hang}, {behaviour: ok}")
    done = gpubench("run", suite, "--timeout", "5", "--json", "-", "--no-report", cwd=tmp_path)
    assert done.returncode == 3
    kinds = {
        r["case"]["params"]["behaviour"]: (r["status"], r.get("failure", {}).get("kind"))
        for r in json.loads(done.stdout)["records"]
    }
    assert kinds == {"hang": ("failed", "timeout"), "ok": ("measured", None)}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run"], "no suite given"),
        (["run", "nowhere.yaml"], "no suite file 'nowhere.yaml'"),
        (["run", "tensorcor"], "did you mean 'tensorcore'"),
        (["run", "tensorcore", "--device", "gpu"], "unknown device 'gpu'"),
        (["run", "tensorcore", "--set", "sise=3"], "did you mean 'size'"),
        (["run", "tensorcore", "--filter", "m >"], "cannot read the condition"),
        (["run", "tensorcore", "--filter", "m == 3"], "matches none"),
        (["run", "tensorcore", "--fail-on", "noise"], "did you mean 'noisy'"),
        (["run", "tensorcore", "--store", "nonsense://"], "is no store"),
        (["run", "tensorcore", "--resume", "latest"], "is empty"),
        (["run", "tensorcore", "tensorcore", "--resume", "x"], "--resume continues one run"),
        (["run", "tensorcore", "--output", "/proc/nowhere"], "cannot write"),
        (["run", "tensorcore", "--timeout", "-1"], "timeout"),
        (["run", "tensorcore", "--nonsense"], "--nonsense"),
        (["runn"], "Did you mean 'run'"),
        (["run", "."], "is a folder"),
        (["run", "tensorcore", "--lock-clocks", "--device", "cpu"], "--lock-clocks"),
    ],
)
def test_bad_usage_is_one_message_and_exit_2(
    tmp_path: Path, arguments: list[str], words: str
) -> None:
    done = gpubench(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    message = [line for line in done.stderr.splitlines() if "rror" in line]
    assert len(message) == 1


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "empty"),
        (b"\x7fELF\xff\x00", "not UTF-8"),
        (b"a: !!python/object/apply:os.system ['touch owned']", "not allowed"),
        (b"a: &a [*a]", "contains itself"),
        (b"schema: 1\nsuite: x\nbenchmarks:\n - {name: a, workload: gemm, nope: 1}", "s.yaml:4"),
    ],
)
def test_hostile_suites(tmp_path: Path, raw: bytes, words: str) -> None:
    (tmp_path / "s.yaml").write_bytes(raw)
    for command in (["run", "s.yaml"], ["suite", "check", "s.yaml"]):
        done = gpubench(*command, cwd=tmp_path)
        assert done.returncode == 2
        assert words in done.stderr
        assert done.stderr.count("\n") == 1
    assert not (tmp_path / "owned").exists()


def wait_for_records(path: Path, count: int, process: Popen[str]) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if path.exists():
            try:
                with sqlite3.connect(path) as connection:
                    (stored,) = connection.execute("SELECT count(*) FROM records").fetchone()
                if stored >= count:
                    return
            except sqlite3.OperationalError:
                pass
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    raise AssertionError("no records in time")


SLOW = HOSTILE % ", ".join(f"{{behaviour: slow, index: {i}}}" for i in range(9))
SLOW = SLOW.replace("min_time_s: 0.005, max_time_s: 0.05", "min_time_s: 0.8, max_time_s: 1")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGKILL, -9), (signal.SIGINT, 130), (signal.SIGTERM, 130)]
)
def test_an_ended_run_keeps_what_was_finished_and_resumes(
    tmp_path: Path, store_url: str, number: int, status: int
) -> None:
    path = Path(store_url.removeprefix("sqlite:///"))
    process = start("run", write(tmp_path, SLOW), "--no-report", cwd=tmp_path)
    wait_for_records(path, 3, process)
    os.kill(process.pid, number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == status, stderr
    with Store(store_url) as store:
        run = store.find("latest")
        before = {r.case.key: r for r in store.records(run.id)}
    assert 3 <= len(before) < 9
    assert all(r.status == "measured" for r in before.values())
    assert run.status == ("running" if number == signal.SIGKILL else "interrupted")
    if number != signal.SIGKILL:
        assert f"gpubench run --resume {run.id}" in stderr
        assert "Traceback" not in stderr

    done = gpubench("run", "--resume", run.id, "--no-report", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with Store(store_url) as store:
        after = {r.case.key: r for r in store.records(run.id)}
        assert len(store.runs()) == 1
        assert store.find("latest").status == "finished"
    assert len(after) == 9
    # What was measured before is kept as it was, not measured again.
    assert all(after[key] == r for key, r in before.items())


def test_resume_measures_failed_cases_again(tmp_path: Path, store_url: str) -> None:
    suite = write(tmp_path, HOSTILE % "{behaviour: raise}, {behaviour: ok}")
    assert gpubench("run", suite, "--label", "a", "--no-report", cwd=tmp_path).returncode == 3
    done = gpubench("run", "--resume", "a", "--no-report", cwd=tmp_path)
    assert done.returncode == 3
    assert "hostile: 1 cases" in done.stderr


def test_resume_refuses_a_changed_suite(tmp_path: Path) -> None:
    suite = write(tmp_path, TINY)
    assert gpubench("run", suite, "--no-report", cwd=tmp_path).returncode == 0
    write(tmp_path, TINY.replace("[16, 24]", "[16, 32]"))
    done = gpubench("run", "--resume", "latest", cwd=tmp_path)
    assert done.returncode == 2
    assert "has changed since" in done.stderr


def test_two_runs_write_one_store_at_once(tmp_path: Path, store_url: str) -> None:
    suite = write(tmp_path, TINY)
    running = [start("run", suite, "--no-report", "-q", cwd=tmp_path) for _ in range(2)]
    for process in running:
        _, stderr = process.communicate(timeout=120)
        assert process.returncode == 0, stderr
    with Store(store_url) as store:
        runs = store.runs()
        assert len(runs) == 2
        assert all(len(store.records(r.id)) == 6 for r in runs)


def test_it_runs_where_only_the_source_tree_is(tmp_path: Path) -> None:
    """``python -m gpubench`` with no installed distribution of that name on the path."""
    done = gpubench("--version", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith("gpubench, version")
