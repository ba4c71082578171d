from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gpubench.cli.main import COMMANDS
from tests.cli.command import TINY, gpubench, write

HEAVY = ("torch", "pandas", "plotly", "pynvml", "nvtx", "numpy", "sqlalchemy", "pydantic")


def loaded(*arguments: str) -> set[str]:
    """Modules that a command imports, of those that matter."""
    code = (
        "import sys, json, contextlib, io\n"
        "from gpubench.cli.main import invoke\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        f"    status = invoke({list(arguments)!r})\n"
        "print(json.dumps([status, [m for m in sys.modules]]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    status, modules = json.loads(done.stdout)
    assert status == 0, done.stderr
    return {m for m in modules if m in (*HEAVY, "yaml", "rich", "jinja2", "scipy")}


def test_help_imports_only_click() -> None:
    assert loaded("--help") == set()
    for command in ("run", "report", "suite", "results", "doctor"):
        assert loaded(command, "--help") & set(HEAVY) == set()


def test_suite_check_and_report_touch_no_torch(tmp_path: Path, store_url: str) -> None:
    from gpubench.store import Store
    from tests.builders import record, run

    with Store(store_url) as store:
        store.begin(run())
        store.put(run().id, record())
    suite = write(tmp_path, TINY)
    out = str(tmp_path / "r.html")
    for command in (("suite", "check", suite), ("report", "-o", out), ("results", "list")):
        assert not loaded(*command) & {"torch", "pynvml", "nvtx"}


def test_every_command_is_there_and_documented() -> None:
    done = gpubench("--help")
    assert done.returncode == 0
    for name, (_, text) in COMMANDS.items():
        assert name in done.stdout
        assert text[:30] in done.stdout
        own = gpubench(name, "--help")
        assert own.returncode == 0, own.stderr
        assert "Usage:" in own.stdout


def test_no_arguments_show_the_help() -> None:
    done = gpubench()
    assert "Commands:" in done.stdout + done.stderr


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_no_colour_when_not_a_terminal(stream: str) -> None:
    done = gpubench("suite", "show", "tensorcore")
    assert "\x1b[" not in getattr(done, stream)


def test_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    done = subprocess.run(
        f"{sys.executable} -m gpubench suite schema | head -1", shell=True, capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout == "{\n"
    assert done.stderr == ""
