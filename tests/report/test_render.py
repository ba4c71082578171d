import builtins
import csv
import io
import json
import re
import subprocess
import sys
from dataclasses import replace
from html import unescape

import pandas as pd
import pytest

from gpubench import codec
from gpubench.errors import InputError
from gpubench.record import Measurement
from gpubench.report import payload, render


def test_html_holds_the_exported_document_whole(gpu, embedded):
    data = embedded(render.text([gpu]))
    assert data == json.loads(codec.dumps(codec.encode_document(*gpu)))
    run, records = codec.decode_document(data)
    assert run == gpu[0]
    assert records == gpu[1]


def test_several_runs_make_a_list_of_documents(gpu, cpu, embedded):
    html = render.text([gpu, cpu])
    assert [d["run"]["id"] for d in embedded(html)] == [gpu[0].id, cpu[0].id]
    assert [d["run"]["id"] for d in json.loads(render.text([gpu, cpu], "json"))] == [
        gpu[0].id, cpu[0].id,
    ]  # fmt: skip


def test_a_large_run_is_thinned_with_a_note_and_true_summaries(fakes, embedded):
    run, records = fakes.large_run(600, 300)
    html = render.text([(run, records)])
    data = embedded(html)
    assert "To keep this file small" in html
    assert "gpubench results export" in html
    first, given = data["records"][0], codec.encode_record(records[0])
    assert first["samples"]["thinned_from"] == 300
    assert payload._FEWEST <= len(first["times_s"]) < 300
    assert first["summary"]["median_s"] == pytest.approx(given["summary"]["median_s"], rel=1e-5)
    assert first["summary"]["n"] == 300
    _, back = codec.decode_document(data)
    assert [r.case for r in back] == [r.case for r in records]
    assert len(render.text([(run, records)], "json")) > 3 * len(json.dumps(data))


def test_thinning_keeps_spoiled_samples_marked():
    record = codec.encode_record(_spoiled_record())
    thin = payload._thinned(payload._lean(record), 12)
    assert len(thin["times_s"]) <= 12 + 3
    for index in thin["samples"]["spoiled"]:
        assert thin["times_s"][int(index)] == 9.0
    assert thin["samples"]["spoiled"]


def _spoiled_record():
    import fake_runs

    _, records = fake_runs.gpu_run()
    record = next(r for r in records if isinstance(r.outcome, Measurement))
    times = [1.0] * 100
    times[40:60] = [9.0] * 20
    samples = replace(
        record.outcome.samples,
        times_s=tuple(times), spoiled=dict.fromkeys(range(40, 60), "thermal"), host_enqueue_s=(),
    )  # fmt: skip
    return replace(record, outcome=replace(record.outcome, samples=samples))


def test_a_thousand_cases_stay_under_three_megabytes(fakes):
    html = render.text([fakes.large_run(1000, 80)])
    assert len(html.encode()) < 3_000_000


def test_html_forbids_the_network_and_embeds_the_library_once(gpu):
    html = render.text([gpu, gpu])
    policy = unescape(re.search(r'Content-Security-Policy" content="([^"]*)"', html)[1])
    assert "default-src 'none'" in policy
    script = next(p for p in policy.split("; ") if p.startswith("script-src"))
    assert "unsafe" not in script
    assert len(re.findall("sha256-", script)) == 2
    assert html.count('id="plotly-gzip"') == 1
    assert not re.search(r'<(script|link|img|iframe)[^>]+(src|href)="(?!data:)', html)


def test_nothing_in_the_page_is_absent_by_accident(gpu, cpu):
    for run in (gpu, cpu):
        html = re.sub(r"<script.*?</script>", "", render.text([run]), flags=re.DOTALL)
        assert "None" not in html
        assert "nan" not in re.sub(r"[a-z]nan|nan[a-z]", "", html.lower())
        assert "Undefined" not in html
        for tag in ("p", "li", "dd", "dt", "h2", "h3", "ul", "tbody", "figcaption", "section"):
            assert not re.search(rf"<{tag}[^>]*>\s*</{tag}>", html), tag


def test_cpu_results_are_marked_as_such_in_every_format(cpu):
    html = render.text([cpu])
    assert "Measured on CPU: these numbers say nothing about a GPU." in html
    assert html.count("measured on CPU") >= 2
    assert "nothing about a GPU" in render.text([cpu], "markdown")
    table = pd.read_csv(io.StringIO(render.text([cpu], "csv")))
    assert set(table["provenance"]) == {"measured on CPU"}


def test_no_headline_number_is_invented(cpu):
    html = render.text([cpu])
    cards = re.findall(r'<li class="card(.*?)</li>', html, re.DOTALL)
    absent = [c for c in cards if c.startswith(" absent")]
    assert len(absent) == 3
    for card in absent:
        assert "–" in card
        assert "skipped: " in card


def test_unreliable_results_make_no_headline(gpu):
    run, records = gpu
    bf16 = [r for r in records if r.case.precision == "bf16"]
    wrong = [
        replace(r, outcome=replace(r.outcome, flags=("above_peak",)))
        for r in bf16 if isinstance(r.outcome, Measurement)
    ]  # fmt: skip
    html = render.text([(run, wrong)])
    card = re.search(r'<li class="card(.*?)</li>', html, re.DOTALL)[1]
    assert "–" in card
    assert "unreliable" in card


def test_markdown_has_verdict_first_and_every_case(gpu):
    text = render.text([gpu], "markdown")
    lines = text.splitlines()
    assert lines[0] == "# NVIDIA A100-SXM4-40GB"
    assert lines[2].startswith("**Do not rely on 1 case")
    ran = [r for r in gpu[1] if r.status != "skipped"]
    assert len([x for x in lines if re.match(r"\| (square|deep|skinny|misal)", x)]) == len(ran)
    assert "`nvidia-smi -q -d ECC`" in text


def test_markdown_table_rows_all_have_the_columns_of_the_head(gpu):
    lines = render.text([gpu], "markdown").splitlines()
    head = next(i for i, x in enumerate(lines) if x.startswith("| benchmark"))
    widths = {x.count("|") for x in lines[head:] if x.startswith(("| square", "| benchmark"))}
    assert len(widths) == 1


def test_csv_and_json_round(gpu):
    rows = list(csv.DictReader(io.StringIO(render.text([gpu], "csv"))))
    assert len(rows) == len(gpu[1])
    assert codec.decode_document(json.loads(render.text([gpu], "json"))) == (gpu[0], gpu[1])


def test_parquet_holds_the_frame(gpu, tmp_path):
    path = render.write([gpu], tmp_path / "deep" / "er" / "x.parquet", "parquet")
    assert len(pd.read_parquet(path)) == len(gpu[1])


def test_parquet_without_pyarrow_says_what_to_install(gpu, tmp_path, monkeypatch):
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == "pyarrow":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(InputError, match=r"pip install 'gpubench\[parquet\]'"):
        render.write([gpu], tmp_path / "x.parquet", "parquet")
    assert not list(tmp_path.iterdir())


def test_write_makes_folders_replaces_whole_and_leaves_nothing_behind(cpu, tmp_path):
    path = tmp_path / "a" / "b" / "report.html"
    assert render.write([cpu], path) == path
    first = path.read_text()
    render.write([cpu], path)
    assert path.read_text() == first  # the same input gives the same bytes
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]


def test_a_failed_write_keeps_the_old_report(cpu, tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")

    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(InputError, match="No space left"):
        render.write([cpu], path)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_wrong_use_is_told_in_one_message(cpu, tmp_path):
    with pytest.raises(InputError, match="did you mean 'html'"):
        render.text([cpu], "htm")
    with pytest.raises(InputError, match="no run"):
        render.text([])
    with pytest.raises(InputError, match="no run"):
        render.write([], tmp_path / "x.parquet", "parquet")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        render.write([cpu], tmp_path / "file" / "x.html")


def test_a_run_without_records_or_environment_still_makes_a_report(fakes):
    run = fakes.head("empty", {})
    html = render.text([(run, [])])
    assert "Nothing was measured" in html
    assert 'id="environment"' in html  # the expected facts, each with its dash
    assert 'id="cases"' not in html
    assert "Nothing was measured" in render.text([(run, [])], "markdown")


def test_reporting_imports_no_device_library():
    code = (
        "import sys, gpubench.report.render, gpubench.report.table\n"
        "bad = {'torch', 'pynvml', 'nvtx'} & set(sys.modules)\n"
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_terminal_table_needs_neither_pandas_nor_plotly():
    code = (
        "import sys, gpubench.report.table\n"
        "bad = {'pandas', 'plotly', 'torch'} & set(sys.modules)\n"
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
