"""The examples of docs/your-kernel.md are run as they stand."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gpubench.pytest_plugin import pytest_addoption
from gpubench.workloads.custom import Custom
from gpubench.workloads.kernel import OFFERED, TOLERANCES
from tests.cli.command import gpubench as command
from tests.conftest import ROOT
from tests.test_docs import blocks

PAGE = "docs/your-kernel.md"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "my_kernels.py").write_text(blocks(PAGE, "python")[0])
    return tmp_path


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )


def test_the_suite(folder: Path) -> None:
    (folder / "my-kernels.yaml").write_text(blocks(PAGE, "yaml")[0])
    done = command(
        "run", "my-kernels.yaml", "--quick", "--set", "rows=64", "--set", "cols=[32, 64]",
        "--device", "cpu", "--json", "-", "--no-report", cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = {
        (r["case"]["params"]["cols"], r["case"]["precision"]): r
        for r in json.loads(done.stdout)["records"]
    }
    assert set(found) == {(c, p) for c in (32, 64) for p in ("fp32", "bf16")}
    fp32 = found[64, "fp32"]
    assert fp32["accuracy"]["ok"]
    assert 0 < fp32["accuracy"]["rel_error"] < 1e-6
    assert fp32["work"]["flops"] == 4 * 64 * 64
    assert fp32["work"]["bytes"] == 129 * 64 * 4
    assert found[32, "bf16"]["work"]["bytes"] == 129 * 32 * 2
    assert found[32, "bf16"]["case"]["baseline"] in (None, found[32, "fp32"]["case"]["key"])


def test_from_python(folder: Path) -> None:
    (folder / "script.py").write_text(blocks(PAGE, "python")[1])
    done = python(folder, "script.py")
    assert done.returncode == 0, done.stderr
    first, second, third = done.stdout.splitlines()
    assert re.fullmatch(r"[\d.]+ µs, 95 % interval [\d.]+ to [\d.]+", first)
    assert "cache hot" in second
    assert int(third.split()[0]) > 1


def test_in_a_test(folder: Path) -> None:
    (folder / "test_norm.py").write_text(blocks(PAGE, "python")[2])
    done = python(folder, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout
    assert len(re.findall(r"test_norm test_rmsnorm\[\d+\] +fp32 .*FLOP/s", done.stdout)) == 2
    listed = command("results", "list", cwd=folder)
    assert "pytest" in listed.stdout, os.environ["GPUBENCH_STORE"]


def test_the_page_names_every_parameter_option_and_default() -> None:
    text = (ROOT / PAGE).read_text()
    for name in {*Custom.parameters(), *OFFERED} - {"*"}:
        assert f"`{name}`" in text
    shown = re.search(r"^\| \| (1e-12.*) \|$", text, re.M)
    assert shown is not None
    assert [float(v) for v in shown[1].split("|")] == list(TOLERANCES.values())
    options: list[str] = []

    class Group:
        def addoption(self, name: str, **_: object) -> None:
            options.append(name)

    class Parser:
        def getgroup(self, *_: object) -> Group:
            return Group()

        def addini(self, name: str, *_: object, **__: object) -> None:
            options.append(name)

    pytest_addoption(Parser())  # type: ignore[arg-type]
    for option in options:
        assert option in text
