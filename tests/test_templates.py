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


def test_all_are_linked_from_the_page() -> None:
    page = (FOLDER.parent / "tracking.md").read_text()
    assert [n for n in FILES if f"(templates/{n})" not in page] == []


@pytest.mark.parametrize("name", [n for n in FILES if not n.endswith(".timer")])
def test_commands_and_options_exist(name: str) -> None:
    text = (FOLDER / name).read_text()
    calls = re.findall(r"gpubench (run|doctor|track (?:check|publish))([^\n|']*)", text)
    assert {c for c, _ in calls} >= {"run", "track check", "track publish"}
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


def test_the_job_and_the_units_are_well_formed() -> None:
    subprocess.run(["bash", "-n", str(FOLDER / "slurm-nightly.sh")], check=True)
    for name, section in (("service", "Service"), ("timer", "Timer")):
        parser = configparser.RawConfigParser(strict=False)
        parser.read(FOLDER / f"gpubench-nightly.{name}")
        assert section in parser.sections()
