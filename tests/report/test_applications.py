"""Applications in a report: what users wait for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gpubench.analysis.applications import loads
from gpubench.analysis.results import results
from gpubench.record import DeviceRef, Record
from gpubench.report.build import report_view
from gpubench.report.view import FigureView
from gpubench.spec import Case, Value
from tests.builders import measurement, record, run

STREAM = {
    "stream.service_s": 0.01, "stream.capacity_per_s": 100.0, "stream.breaks_at_per_s": 95.0,
    "stream.p50_s_at_0.3": 0.011, "stream.p99_s_at_0.3": 0.02,
    "stream.p50_s_at_1.2": 0.5, "stream.p99_s_at_1.2": 1.5,
    "stream.p50_s_at_0.95": 0.03, "stream.p99_s_at_0.95": 0.06,
}  # fmt: skip


def made(workload: str, params: dict[str, Value], facts: dict[str, Any]) -> Record:
    key = f"{workload}-{'-'.join(map(str, params.values()))}"
    case = Case(
        key=key, benchmark=workload, workload=workload, precision="fp32", params=params, label=key
    )
    m = replace(measurement(*[0.01] * 8), facts=facts)
    return replace(record(case, m), device=DeviceRef("cpu", "a CPU"))


def figures(records: list[Record]) -> dict[str, FigureView]:
    (view,) = report_view([(run(), records)]).runs
    return {
        f.title: f for s in view.sections if s.title == "What users wait for" for f in s.figures
    }


def test_loads_come_in_order_with_their_rates() -> None:
    (result,) = results(run(), [made("stream", {"model": "bert"}, STREAM)])
    assert [(one.share, one.rate_per_s) for one in loads(result)] == [
        (0.3, 30.0), (0.95, 95.0), (1.2, 120.0),
    ]  # fmt: skip


def test_latency_under_load_shows_both_percentiles_and_where_it_breaks() -> None:
    figure = figures([made("stream", {"model": "bert"}, STREAM)])["stream: latency under load"]
    p99, p50 = figure.spec["data"]
    assert p99["y"] == [0.02, 0.06, 1.5]
    assert p50["line"]["dash"] == "dot"
    assert "breaks at 95 requests/s, 95% of its capacity" in figure.sentence


def test_dialogue_by_batch_a_line_a_context() -> None:
    talks = [
        made("dialogue", {"batch": b, "context": c},
             {"dialogue.tokens_per_s": 100.0 * b, "dialogue.first_token_s": 0.1 * c})
        for b in (1, 8) for c in (32, 128)
    ]  # fmt: skip
    found = figures(talks)
    assert [t["y"] for t in found["dialogue: tokens a second"].spec["data"]] == [[100.0, 800.0]] * 2
    first = found["dialogue: time to the first token"].spec["data"]
    assert sorted(t["y"][0] for t in first) == [3.2, 12.8]


def test_ranking_by_candidates() -> None:
    ranked = [made("ranking", {"candidates": n}, {"ranking.candidates": 4 * n}) for n in (10, 100)]
    (line,) = figures(ranked)["ranking: candidates a second"].spec["data"]
    assert line["y"] == [4000.0, 40000.0]


def test_details_say_it_in_words_and_once() -> None:
    (view,) = report_view([(run(), [made("stream", {"model": "bert"}, STREAM)])]).runs
    titles = [g.title for g in view.rows[0].details]
    assert "What users wait for" in titles
    labels = [f.label for g in view.rows[0].details for f in g.facts]
    assert "At 95 requests/s (95% of capacity)" in labels
    assert not any(label.startswith("stream.") for label in labels)
