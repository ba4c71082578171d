from __future__ import annotations

import csv
import io
import json

import pytest

from gpubench.cli.main import invoke


def test_table_lists_every_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["gpus"]) == 0
    out = capsys.readouterr().out
    assert "a100-sxm4-40gb" in out
    assert len(out.strip().splitlines()) == 51


def test_details_of_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["gpus", "A100"]) == 0
    out = capsys.readouterr().out
    assert "19.50 TFLOP/s / –" in out
    assert "source" in out
    assert "Ada, Hopper and later" in out


def test_json_and_csv_agree(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["gpus", "--format", "json", "--architecture", "hopper"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {r["architecture"] for r in rows} == {"Hopper"}
    assert invoke(["gpus", "--format", "csv", "--architecture", "Hopper"]) == 0
    table = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [r["key"] for r in table] == [r["key"] for r in rows]
    assert float(table[0]["peak_fp32_flops"]) == rows[0]["peak_flops"]["fp32"]


@pytest.mark.parametrize("arguments", [["gpus", "a1000"], ["gpus", "--architecture", "hoper"]])
def test_unknown_names_exit_2_with_a_near_miss(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(arguments) == 2
    caught = capsys.readouterr()
    assert "did you mean" in caught.err
    assert caught.out == ""
