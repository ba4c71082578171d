"""The templates for nightly jobs: they parse, and what they call exists."""

from __future__ import annotations

import configparser
import re
import subprocess
from pathlib import Path

import click
import pytest
import yaml

from gpubench.cli.main import cli

FOLDER = Path(__file__).parents[1] / "docs" / "templates"
FILES = sorted(p.name for p in FOLDER.iterdir())


FLEETS = ("slurm-array.sh", "slurm-ray.sh")


def test_all_are_linked_from_their_page() -> None:
    for page, names in (("fleet", FLEETS), ("tracking", set(FILES) - set(FLEETS))):
        text = (FOLDER.parent / f"{page}.md").read_text()
        assert [n for n in names if f"(templates/{n})" not in text] == []


@pytest.mark.parametrize("name", [n for n in FILES if not n.endswith(".timer")])
def test_commands_and_options_exist(name: str) -> None:
    text = (FOLDER / name).read_text()
    calls = re.findall(r"gpubench (run|report|doctor|track (?:check|publish))([^\n|']*)", text)
    needed = {"run", "report"} if name in FLEETS else {"run", "track check", "track publish"}
    assert {c for c, _ in calls} >= needed
    for words, rest in calls:
        command: click.Command | None = cli
        for word in words.split():
            assert isinstance(command, click.Group)
            command = command.get_command(click.Context(command), word)
        assert command is not None
        known = {o for p in command.params for o in p.opts}
        assert set(re.findall(r"(?<!\S)--?[a-z][a-z-]*", rest)) <= known, (words, rest)


def test_the_workflow_is_yaml_with_the_steps_in_order() -> None:
    found = yaml.safe_load((FOLDER / "github-actions.yml").read_text())
    (job,) = found["jobs"].values()
    assert [s["name"] for s in job["steps"] if "run" in s] == ["Measure", "Check"]
    for step in job["steps"]:
        script = re.sub(r"\$\{\{.*?\}\}", "x", step.get("run", ""))
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)


@pytest.mark.parametrize("visible", ["0,1,2", ""])
def test_a_task_of_the_array_measures_every_gpu_of_its_node(visible: str, tmp_path: Path) -> None:
    """The script itself, with a gpubench that writes down how it was called."""
    (tmp_path / "venv/bin").mkdir(parents=True)
    (tmp_path / "venv/bin/activate").write_text(f'PATH="{tmp_path}:$PATH"\n')
    fake = tmp_path / "gpubench"
    log = tmp_path / "calls"
    fake.write_text(
        f'#!/usr/bin/env bash\necho "$GPUBENCH_HOST $GPUBENCH_RACK $@" >>{log}\n'
        'case "$*" in *cuda:1*) exit 3;; esac\n'
    )
    fake.chmod(0o755)
    given = {
        "SLURM_ARRAY_JOB_ID": "77", "SLURMD_NODENAME": "n5", "CUDA_VISIBLE_DEVICES": visible,
        "SLURM_TOPOLOGY_ADDR": "s0.rack4.n5", "GPUBENCH_VENV": str(tmp_path / "venv"),
        "GPUBENCH_STORE": "postgresql+psycopg://u@h/d", "HOME": str(tmp_path),
        "PATH": "/usr/bin:/bin",
    }  # fmt: skip
    done = subprocess.run(
        ["bash", str(FOLDER / "slurm-array.sh")], env=given, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    devices = [f"cuda:{i}" for i in range(3)] if visible else ["cpu"]
    assert log.read_text().splitlines() == [
        f"n5 rack4 run nightly --device {d} --fleet slurm-77 --label n5 --no-report"
        for d in devices
    ], done.stderr
    # The worst code of its GPUs is the code of the task.
    assert done.returncode == (3 if visible else 0)
    del given["GPUBENCH_STORE"]
    refused = subprocess.run(
        ["bash", str(FOLDER / "slurm-array.sh")], env=given, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert refused.returncode != 0
    assert "a PostgreSQL URL" in refused.stderr


def test_the_jobs_and_the_units_are_well_formed() -> None:
    for name in ("slurm-nightly.sh", *FLEETS):
        subprocess.run(["bash", "-n", str(FOLDER / name)], check=True)
    for name, section in (("service", "Service"), ("timer", "Timer")):
        parser = configparser.RawConfigParser(strict=False)
        parser.read(FOLDER / f"gpubench-nightly.{name}")
        assert section in parser.sections()
