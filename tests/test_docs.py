"""What the documentation says is run or compared with the code."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from gpubench import suite as suites
from gpubench.cli.main import COMMANDS
from gpubench.engine.trust import FLAGS
from gpubench.plan import make_plan
from gpubench.schema import json_schema
from gpubench.spec import Policy
from tests.builders import A100
from tests.cli.command import gpubench
from tests.conftest import ROOT


def blocks(path: str, language: str) -> list[str]:
    text = (ROOT / path).read_text()
    return re.findall(rf"```{language}\n(.*?)```", text, re.S)


def test_the_workload_of_the_guide_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (source,) = blocks("docs/adding-a-workload.md", "python")
    (entry,) = blocks("docs/adding-a-workload.md", "toml")
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package/bench.py").write_text(source)
    info = tmp_path / "my_package-0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 0\n")
    target = re.search(r'saxpy = "(.*)"', entry)
    assert target is not None
    (info / "entry_points.txt").write_text(f"[gpubench.workloads]\nsaxpy = {target[1]}\n")
    (tmp_path / "s.yaml").write_text(
        "schema: 1\nsuite: s\npolicy: {min_time_s: 0.01, max_time_s: 0.1}\nbenchmarks:\n"
        "  - {name: b, workload: saxpy, matrix: {n: [1000], precision: [fp32, bf16]}}\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]]))
    done = gpubench("run", "s.yaml", "--json", "-", "--no-report", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    first, second = json.loads(done.stdout)["records"]
    assert first["accuracy"]["ok"]
    assert first["work"]["flops"] == 2000
    assert second["reason"].startswith("saxpy is written for fp32") or "BF16" in second["reason"]


def test_suites_in_the_readme_are_valid() -> None:
    for text in blocks("README.md", "yaml"):
        assert make_plan(suites.parse(text), A100).cases


def test_the_readme_names_every_command_there_is() -> None:
    text = (ROOT / "README.md").read_text()
    for name in COMMANDS:
        assert f"gpubench {name}" in text
    named = set(re.findall(r"^\| `gpubench (\w+)", text, re.M))
    assert named == set(COMMANDS)


def test_every_flag_and_policy_key_is_documented() -> None:
    timing = (ROOT / "docs/timing.md").read_text()
    for flag in FLAGS:
        assert f"| `{flag}` |" in timing
    suite_files = (ROOT / "docs/suite-files.md").read_text()
    for field in fields(Policy):
        assert f"`{field.name}`" in suite_files
        if not isinstance(field.default, str):
            assert f"{field.default:g}" in suite_files


GENERATED = (ROOT / "docs/reference/suite-schema.md",)
"""Pages that the build makes (docs/hooks.py); ``mkdocs build --strict`` checks links to them."""


def test_links_lead_somewhere() -> None:
    for path in [
        *ROOT.glob("README*.md"),
        ROOT / "CONTRIBUTING.md",
        *(ROOT / "docs").rglob("*.md"),
    ]:
        for target in re.findall(r"\]\(([^)#\s]+)\)", path.read_text()):
            if not target.startswith(("http", "mailto")):
                place = (path.parent / target).resolve()
                assert place.exists() or place in GENERATED, f"{path.name}: {target}"


def test_ci_takes_its_commands_from_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    assert "<!-- ci: test -->\n```\npip install" in text
    script = (ROOT / ".ci/run").read_text()
    assert "readme_command test" in script
    subprocess.run(["bash", "-n", ROOT / ".ci/run"], check=True)
    assert sys.version_info >= (3, 11)


def test_every_workload_and_parameter_is_in_the_reference() -> None:
    from gpubench.registry import WORKLOADS, workload

    rows = {
        m[1]: m[2]
        for line in (ROOT / "docs/workloads.md").read_text().splitlines()
        if (m := re.match(r"\| `([a-z0-9_]+)` \| (.*?) \|", line))
    }
    assert set(rows) == set(WORKLOADS)
    for name, parameters in rows.items():
        assert set(re.findall(r"`([a-z0-9_*]+)`", parameters)) == set(workload(name).parameters())


def test_every_builtin_suite_is_valid_has_a_page_and_runs_on_a_cpu() -> None:
    from gpubench.plan import make_plan
    from tests.builders import CPU

    pages = "\n".join(p.read_text() for p in (ROOT / "docs").rglob("*.md"))
    for name in suites.builtin_names():
        suite = suites.load(suites.locate(name))
        assert f"`{name}`" in pages or f"run {name}" in pages or name == "calibrate", name
        assert make_plan(suite, A100, seed=1).cases
        assert make_plan(suite, CPU, seed=1).cases, name


def test_the_chinese_readme_keeps_up() -> None:
    english, chinese = ((ROOT / name).read_text() for name in ("README.md", "README.zh.md"))
    assert "](README.zh.md)" in english
    assert "](README.md)" in chinese
    bare = [re.findall(r"^```\n(.*?)^```", text, re.S | re.M) for text in (english, chinese)]
    assert bare[0] == bare[1]
    assert len(bare[0]) == 3  # two commands and what they print
    for shape in (r"^## ", r"^- \*\*", r"^\| `gpubench (.*?)` \|"):
        found = [re.findall(shape, text, re.M) for text in (english, chinese)]
        assert found[0] == found[1]
    (shown,) = blocks("README.zh.md", "yaml")
    assert make_plan(suites.parse(shown), A100).cases


def test_the_page_of_the_schema_has_every_key() -> None:
    pytest.importorskip("mkdocs", reason="the documentation's packages are not installed")
    spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs/hooks.py")
    assert spec is not None
    assert spec.loader is not None
    hooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hooks)
    schema = json_schema()
    page = hooks.schema_page(schema)
    for part in (schema, *schema["$defs"].values()):
        for key in part["properties"]:
            assert f"\n| `{key}` |" in page
    assert "| `launches` | integer ≥ 1, ≤ 100 | `1` |" in page
    assert "[Benchmark](#benchmark)" in page
