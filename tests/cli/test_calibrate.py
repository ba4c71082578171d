from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.command import TINY, gpubench, write

pytestmark = pytest.mark.slow


def test_calibration_is_kept_and_used_by_later_runs(tmp_path: Path) -> None:
    done = gpubench("calibrate", "--device", "cpu", "--quick", "--format", "json", "-q")
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    assert made["rates"]["fp32"] > 1e8
    assert made["bandwidth_bytes_per_s"] > 1e8
    assert made["errors"]["cases"] >= 4
    assert made["errors"]["datasheet"] is None
    run = gpubench("run", write(tmp_path, TINY), "--json", "-", "--no-report", "-q")
    found = {
        (r["case"]["precision"], r["status"]): r["model"]["calibrated_s"]
        for r in json.loads(run.stdout)["records"]
    }
    assert found["fp32", "measured"] > 0
    assert found["fp64", "measured"] > 0


def test_the_table_states_the_errors_of_the_models() -> None:
    done = gpubench("calibrate", "--device", "cpu", "--quick")
    assert done.returncode == 0, done.stderr
    assert "fp32 product" in done.stdout
    assert "were no anchors" in done.stdout
