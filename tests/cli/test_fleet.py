"""Fleets from the command line, without a cluster."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import pytest

from gpubench.cli.main import invoke
from gpubench.store import Store
from tests.cli.command import TINY, write
from tests.fleets import fill


def cli(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = invoke(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_report_fleet_and_its_gate(
    store_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Store(store_url) as store:
        fill(store, 4, 8, fleet="bad", slow={(2, 1): 1.15})
    page = tmp_path / "f.html"
    code, out, err = cli(capsys, "report", "--fleet", "-o", str(page))
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "1 of 32 devices on 4 hosts is odd: drain node-002"
    assert page.read_text().startswith("<!DOCTYPE html>")
    code, out, err = cli(
        capsys, "report", "--fleet", "bad", "--format", "json", "--fail-on-outlier"
    )
    assert code == 1
    assert json.loads(out)["drain"] == [{"host": "node-002", "devices": ["node-002/1"]}]
    assert err == (
        "gpubench: error: --fail-on-outlier: 1 of 32 devices on 4 hosts is odd: drain node-002\n"
    )
    code, out, _ = cli(capsys, "report", "--fleet", "bad", "--format", "markdown")
    assert (code, out.startswith("## Fleet bad")) == (0, True)


def test_a_good_fleet_passes_and_one_that_is_not_whole_ends_with_three(
    store_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with Store(store_url) as store:
        fill(store, 4, 8)
    arguments = ("report", "--fleet", "--format", "json", "--fail-on-outlier")
    assert cli(capsys, *arguments)[0] == 0
    with Store(store_url) as store:
        run = store.fleet("acceptance")[0]
        store.finish(run, "interrupted")
    code, _, err = cli(capsys, *arguments)
    assert code == 3
    assert "1 of the fleet not measured whole, first node-000/0" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["report", "--fail-on-outlier"], "--fail-on-outlier judges a fleet"),
        (["report", "--fleet", "--compare"], "exclude each other"),
        (["report", "--fleet"], "has no fleet"),
        (["report", "--fleet", "--filter", "x"], "--filter does not go with --fleet"),
        (["run", "tiny", "--per-node"], "--per-node is for a cluster"),
        (["run", "tiny", "--address", "h:1"], "--address is for a cluster"),
        (["run", "smoke", "--launcher", "ray", "--dry-run"], "--dry-run looks at one machine"),
        (["run", "smoke", "--launcher", "ray", "--address", "nohow"], "HOST:PORT"),
        (["run", "--launcher", "ray", "--resume", "nobody"], "unknown fleet 'nobody'"),
    ],
)
def test_bad_input_is_one_message(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    if "nohow" in arguments:
        pytest.importorskip("ray")
    monkeypatch.chdir(tmp_path)
    code, _, err = cli(capsys, *arguments)
    assert code == 2
    assert len(err.strip().splitlines()) == 1
    assert words in err


def test_without_ray_the_mend_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **named: Any) -> Any:
        if name == "ray":
            raise ImportError("No module named 'ray'")
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    code, _, err = cli(capsys, "run", write(tmp_path, TINY), "--launcher", "ray", "--no-report")
    assert code == 2
    assert "Ray is not installed" in err
    assert "pip install 'gpubench[ray]'" in err


def test_a_run_may_be_one_of_a_fleet(
    tmp_path: Path, store_url: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """As the job array does it: no launcher, only a name, a host and a rack."""
    monkeypatch.setenv("GPUBENCH_HOST", "node-9")
    monkeypatch.setenv("GPUBENCH_RACK", "r7")
    suite = write(tmp_path, TINY)
    code, _, err = cli(
        capsys, "run", suite, "--device", "cpu", "--fleet", "job-17", "--no-report", "-q"
    )
    assert code == 0, err
    with Store(store_url) as store:
        (run,) = store.fleet("job-17")
        assert store.fleets() == ["job-17"]
    assert run.environment.get("host.name") == "node-9"
    assert run.environment.get("host.rack") == "r7"
    code, out, _ = cli(capsys, "report", "--fleet", "job-17", "--format", "json")
    (device,) = json.loads(out)["models"][0]["devices"]
    assert (device["host"], device["rack"]) == ("node-9", "r7")
