from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from gpubench.cli.main import invoke

HEADER = "case_id,gpu,workload,precision,m,n,k,rows,cols\n"
OUTPUT = ["case_id", "gpu", "predicted_s", "low_s", "high_s", "bound", "compute_s", "memory_s",
          "launch_s", "energy_j"]  # fmt: skip


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    path = tmp_path / "cases.csv"
    path.write_text(
        HEADER + "one,a100,gemm,bf16,4096,4096,4096,,\n" + "two,V100,softmax,fp32,,,,8192,1024\n"
    )
    return path


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_cases_keep_order_and_columns(cases: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["predict", "--cases", str(cases)]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0].split(",") == OUTPUT
    rows = rows_of(out)
    assert [r["case_id"] for r in rows] == ["one", "two"]
    assert rows[1]["gpu"] == "V100"
    for r in rows:
        assert 0 < float(r["low_s"]) < float(r["predicted_s"]) < float(r["high_s"])


def test_a_bad_row_keeps_its_place_and_exits_3(
    cases: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases.write_text(
        cases.read_text() + "three,v100,gemm,bf16,64,64,64,,\n" + "four,a200,gemm,fp32,1,1,1,,\n"
        "five,t4,gemm,fp32,64,64,64,,\n" + "six,t4,gem,fp32,64,64,64,,\n"
        '"se,ven",t4,gemm,fp32,64,64,\n' + "eight,t4,layernorm,fp32,,,,8,8,9\n"
    )
    assert invoke(["predict", "--cases", str(cases)]) == 3
    caught = capsys.readouterr()
    rows = rows_of(caught.out)
    assert [r["case_id"] for r in rows] == ["one", "two", "three", "four", "five", "six",
                                            "se,ven", "eight"]  # fmt: skip
    assert "Ampere" in rows[2]["error"]
    assert "did you mean" in rows[3]["error"]
    assert rows[4]["error"] == ""
    assert float(rows[4]["predicted_s"]) > 0
    assert "did you mean 'gemm'" in rows[5]["error"]
    assert "k: missing" in rows[6]["error"]
    assert "fields" in rows[7]["error"]
    assert rows[2]["predicted_s"] == ""
    assert "6 of 8" not in caught.err
    assert "5 of 8" in caught.err


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "case_id"), ("case_id,gpu,workload\n", "precision"),
     (HEADER.replace("rows", "row"), "did you mean 'rows'"),
     (HEADER.strip() + ",m\n", "twice")],
)  # fmt: skip
def test_bad_files_exit_2(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    assert invoke(["predict", "--cases", str(path)]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert "bad.csv" in err
    assert "Traceback" not in err


def test_missing_file_exits_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["predict", "--cases", str(tmp_path / "none.csv")]) == 2
    assert "cannot read" in capsys.readouterr().err


def test_empty_table_of_cases_is_fine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "empty.csv"
    path.write_text(HEADER)
    assert invoke(["predict", "--cases", str(path)]) == 0
    assert capsys.readouterr().out.strip().split(",") == OUTPUT


def test_what_if(cases: Path, capsys: pytest.CaptureFixture[str]) -> None:
    invoke(["predict", "--cases", str(cases)])
    before = rows_of(capsys.readouterr().out)
    assert invoke(["predict", "--cases", str(cases), "--what-if", "memory_bw=8e12"]) == 0
    after = rows_of(capsys.readouterr().out)
    assert float(after[1]["predicted_s"]) < 0.5 * float(before[1]["predicted_s"])
    assert invoke(["predict", "--cases", str(cases), "--what-if", "memory_bv=8e12"]) == 2
    assert "did you mean 'memory_bw'" in capsys.readouterr().err
    assert invoke(["predict", "--cases", str(cases), "--what-if", "memory_bw"]) == 2


def test_prices(cases: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    yaml, table = tmp_path / "p.yaml", tmp_path / "p.csv"
    yaml.write_text("currency: EUR\na100: 3.6\n")
    table.write_text("gpu,price_per_hour\na100,3.6\n")
    for path in (yaml, table):
        assert invoke(["predict", "--cases", str(cases), "--prices", str(path)]) == 0
        rows = rows_of(capsys.readouterr().out)
        expected = float(rows[0]["predicted_s"]) * 1000 * 0.001
        assert float(rows[0]["cost_per_1000"]) == pytest.approx(expected, rel=1e-4)
        assert rows[1]["cost_per_1000"] == ""
    yaml.write_text("a1000: 2\n")
    assert invoke(["predict", "--cases", str(cases), "--prices", str(yaml)]) == 2
    assert "did you mean 'a100'" in capsys.readouterr().err
    table.write_text("gpu,price_per_hour\na100,free\n")
    assert invoke(["predict", "--cases", str(cases), "--prices", str(table)]) == 2
    assert "p.csv:2" in capsys.readouterr().err


def test_explain(cases: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["predict", "--cases", str(cases), "--explain"]) == 0
    out = capsys.readouterr().out
    for word in ("tile_x", "waves", "dram_bytes", "TFLOP/s", "Tensor Cores", "fitted", "80 %"):
        assert word in out
    assert invoke(["predict", "--cases", str(cases), "--explain", "--format", "json"]) == 0
    assert any(t["name"] == "waves" for t in json.loads(capsys.readouterr().out)[0]["terms"])


def test_suite_on_several_gpus(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["predict", "tensorcore", "--gpu", "a100", "v100", "--format", "csv"]) == 0
    rows = rows_of(capsys.readouterr().out)
    assert {r["gpu"] for r in rows} == {"a100-sxm4-40gb", "v100-sxm2-16gb"}
    assert invoke(["predict", "tensorcore", "--gpu", "a100", "--gpu", "v100"]) == 0
    assert "80 % band" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [["predict"], ["predict", "tensorcore"], ["predict", "tensorcore", "--gpu", "a1000"],
     ["predict", "tensorcor", "--gpu", "a100"]],
)  # fmt: skip
def test_wrong_usage_exits_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(arguments) == 2
    assert capsys.readouterr().out == ""


def test_operators_need_no_torch(cases: Path) -> None:
    code = (
        "import sys; from gpubench.cli.main import invoke\n"
        f"assert invoke(['predict', '--cases', {str(cases)!r}]) == 0\n"
        "heavy = {'torch', 'pandas', 'scipy', 'plotly', 'sqlalchemy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_whole_models_among_operators(
    cases: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "models.csv"
    path.write_text(
        "case_id,gpu,workload,precision,model,mode,batch,m,n,k\n"
        "a,a100,gemm,fp32,,,,256,256,256\nb,a100,model,fp32,resnet50,inference,8,,,\n"
        "c,a100,model,fp32,resnet5,inference,8,,,\n"
    )
    assert invoke(["predict", "--cases", str(path)]) == 3
    rows = rows_of(capsys.readouterr().out)
    assert float(rows[1]["predicted_s"]) > 10 * float(rows[0]["predicted_s"])
    assert "did you mean 'resnet50'" in rows[2]["error"]
    assert invoke(["predict", "--cases", str(path), "--explain"]) == 3
    assert "calls" in capsys.readouterr().out
