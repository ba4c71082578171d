"""The table of results in a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal

from rich import box
from rich.table import Table
from rich.text import Text

from gpubench.analysis.findings import cases_text
from gpubench.analysis.flags import flag_info
from gpubench.analysis.results import IS_BASELINE, MEASURED_CPU, Result, results
from gpubench.record import Failure, Record, Run
from gpubench.report.wording import FAILURES, plus_minus
from gpubench.units import percent, show

_STYLES = {"bad": "bold red", "warn": "yellow", "info": "dim"}


def results_table(records: Sequence[Record], title: str | None = None) -> Table:
    """A rich table of measured and failed cases by benchmark; skips below it, by reason.

    Columns without a single value are left out. Text from records is never read as markup.
    """
    rows = results(Run("", "", ""), records)
    ran = [r for r in rows if r.record.status != "skipped"]
    on_cpu = any(r.provenance == MEASURED_CPU for r in rows if r.summary)
    heading = " · ".join(t for t in (title, MEASURED_CPU if on_cpu else None) if t)
    table = Table(
        title=Text(heading) if heading else None,
        title_justify="left",
        caption=_skips(rows),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    used = [c for c in _COLUMNS if c[3] or any(c[2](r).plain not in ("", "baseline") for r in ran)]
    for name, justify, _, _ in used:
        table.add_column(
            name, justify=justify, no_wrap=name not in ("Case", "Notes"), overflow="fold",
            min_width=12 if name == "Case" else None,
        )  # fmt: skip
    benchmarks = list(dict.fromkeys(r.record.case.benchmark for r in ran))
    for benchmark in benchmarks:
        if len(benchmarks) > 1:
            table.add_row(Text(benchmark, style="bold"))
        for r in (r for r in ran if r.record.case.benchmark == benchmark):
            table.add_row(*(cell(r) for _, _, cell, _ in used))
        table.add_section()
    return table


def _skips(rows: Sequence[Result]) -> Text | None:
    reasons = Counter(r.reason or "no reason" for r in rows if r.record.status == "skipped")
    if not reasons:
        return None
    lines = [f"{cases_text(n)} skipped: {why}" for why, n in reasons.most_common()]
    return Text("\n".join(lines), style="dim")


def _case(r: Result) -> Text:
    return Text(r.name)


def _precision(r: Result) -> Text:
    return Text(r.record.case.precision)


def _time(r: Result) -> Text:
    if r.summary is None:
        return Text("–")
    return Text(f"{show('time_s', r.summary.median_s)} {plus_minus(r.summary)}")


def _rate(r: Result) -> Text:
    return Text(show(r.rate_metric, r.rate.value) if r.rate else "")


def _share(r: Result) -> Text:
    return Text(percent(r.share_of_peak) if r.share_of_peak is not None else "")


def _speedup(r: Result) -> Text:
    if r.speedup is None:
        return Text("baseline" if r.speedup_note == IS_BASELINE else "", style="dim")
    return Text(show("speedup", r.speedup.value))


def _error(r: Result) -> Text:
    return Text(show("rel_error", r.rel_error) if r.rel_error is not None else "")


def _notes(r: Result) -> Text:
    outcome = r.record.outcome
    if isinstance(outcome, Failure):
        kind = FAILURES.get(outcome.kind, outcome.kind)
        return Text(f"{kind}: {outcome.reason}", style=_STYLES["bad"])
    parts = [
        Text(info.title, style=_STYLES.get(info.severity, "")) for info in map(flag_info, r.flags)
    ]
    return Text(", ").join(parts)


_COLUMNS: Sequence[tuple[str, Literal["left", "right"], Callable[[Result], Text], bool]] = (
    ("Case", "left", _case, True),
    ("Precision", "left", _precision, True),
    ("Time", "right", _time, True),
    ("Throughput", "right", _rate, False),
    ("Of peak", "right", _share, False),
    ("Speed-up", "right", _speedup, False),
    ("Error", "right", _error, False),
    ("Notes", "left", _notes, False),
)
