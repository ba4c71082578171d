from __future__ import annotations

import json
from pathlib import Path

from tests.cli.command import TINY, gpubench, write


def test_list() -> None:
    listed = gpubench("suite", "list").stdout
    assert "tensorcore: GEMM with and without Tensor Cores" in listed
    names = [s["name"] for s in json.loads(gpubench("suite", "list", "--format", "json").stdout)]
    assert "tensorcore" in names


def test_show_for_cpu_and_for_a_gpu_of_the_catalogue() -> None:
    on_cpu = json.loads(gpubench("suite", "show", "tensorcore", "--format", "json").stdout)
    on_gpu = json.loads(
        gpubench("suite", "show", "tensorcore", "--device", "v100", "--format", "json").stdout
    )
    assert len(on_gpu["cases"]) > len(on_cpu["cases"])
    reasons = {s["reason"] for s in on_gpu["skips"] if s["precision"] == "tf32"}
    assert any("Ampere" in r for r in reasons)
    assert {c["precision"] for c in on_gpu["cases"]} == {"fp64", "fp32", "fp16"}
    table = gpubench("suite", "show", "tensorcore").stdout
    assert "1024x1024x1024" in table
    assert "s of measuring" in table


def test_check(tmp_path: Path) -> None:
    done = gpubench("suite", "check", write(tmp_path, TINY), "tensorcore")
    assert done.returncode == 0
    assert done.stdout.count(": ok") == 2
    bad = gpubench("suite", "check", write(tmp_path, TINY.replace("fp64", "fp63")))
    assert bad.returncode == 2
    assert "did you mean 'fp64'" in bad.stderr


def test_schema_is_json_schema() -> None:
    schema = json.loads(gpubench("suite", "schema").stdout)
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert "benchmarks" in schema["required"]
