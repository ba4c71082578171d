"""Runs and records -> the view model. Every decision about a report is made here or below."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import gpubench
from gpubench.analysis.findings import Finding
from gpubench.analysis.results import MEASURED_CPU, PREDICTED, Result, results
from gpubench.analysis.verdicts import Verdict, verdict
from gpubench.record import Record, Run
from gpubench.report import figures
from gpubench.report.applications import application_sections
from gpubench.report.atlas import atlas_view
from gpubench.report.cards import cards
from gpubench.report.distributions import noise_figure
from gpubench.report.environment import environment_groups
from gpubench.report.errors import error_figures
from gpubench.report.expectations import model_figures
from gpubench.report.figures import MAX_FIGURES
from gpubench.report.quality import quality_sections
from gpubench.report.ranges import range_sections
from gpubench.report.roofline import roofline_figure
from gpubench.report.rows import columns_and_rows, failure_views, skip_groups
from gpubench.report.scaling import scaling_sections
from gpubench.report.shares import share_sections
from gpubench.report.steps import step_sections
from gpubench.report.timeline import timeline_figures
from gpubench.report.traces import Ids
from gpubench.report.view import (
    ChartSection,
    Fact,
    FigureView,
    FindingView,
    Link,
    ReportView,
    RunView,
)
from gpubench.report.wording import MARKERS
from gpubench.units import scaled

FIRST_ROWS: Final = 60
"""Rows of the table that stand in the file itself, for readers without scripts."""

_SEVERITY: Final = {
    "bad": ("✕", "Problem"),
    "warn": ("!", "Caveat"),
    "info": ("i", "Note"),
    "good": ("✓", "Good"),
}
_LEVEL_MARK: Final = {"trusted": "✓", "caveats": "!", "not_trusted": "✕", "nothing": "–"}
_CASES_NAMED: Final = 4


def report_view(runs: Sequence[tuple[Run, Sequence[Record]]], data_note: str = "") -> ReportView:
    """The view of one or several runs."""
    views = tuple(
        run_view(run, records, "" if i == 0 else f"run{i + 1}-")
        for i, (run, records) in enumerate(runs)
    )
    title = views[0].title if len(views) == 1 else f"{len(views)} runs"
    predicted = any(r.model.predicted_s is not None for _, records in runs for r in records)
    shown = [v.provenance for v in views] + ([PREDICTED] if predicted else [])
    legend = tuple(
        Fact(name, text) for name, text in MARKERS.items() if any(name in s for s in shown)
    )
    return ReportView(title, gpubench.__version__, views, legend, data_note)


def run_view(run: Run, records: Sequence[Record], prefix: str = "") -> RunView:
    """The view of one run; ``prefix`` keeps its anchors apart from other runs'."""
    ids, rows = Ids(prefix), results(run, records)
    judged = verdict(run, rows)
    columns, table, notes = columns_and_rows(rows, ids)
    ran = tuple(r for r in table if r.status != "skipped")
    return RunView(
        prefix=prefix,
        title=run.label or run.suite,
        suite=run.suite,
        description=run.description,
        device=_device(run, rows),
        provenance=", ".join(sorted({r.provenance for r in rows if r.summary})),
        level=judged.level,
        level_mark=_LEVEL_MARK[judged.level],
        headline=judged.headline,
        scope=judged.scope or "",
        coverage=_coverage(run, rows),
        facts=_facts(run),
        cards=cards(rows, ids),
        findings=_findings(judged, rows, ids),
        sections=_sections(rows, ids),
        columns=columns,
        rows=table,
        first_rows=(ran or table)[:FIRST_ROWS],
        table_notes=notes,
        benchmarks=tuple(dict.fromkeys(r.benchmark for r in table)),
        precisions=tuple(dict.fromkeys(r.precision for r in table)),
        skips=skip_groups(rows),
        failures=failure_views(rows, ids),
        environment=environment_groups(
            run.environment.facts, on_gpu=any(r.record.device.type == "cuda" for r in rows)
        ),
        samples_sentence=_samples_sentence(rows),
        atlas=atlas_view(rows, ids),
    )


def _device(run: Run, rows: Sequence[Result]) -> str:
    names = Counter(r.record.device.name for r in rows)
    if names:
        first, rest = names.most_common(1)[0][0], len(names) - 1
        return first + (f" and {rest} more" if rest else "")
    for key in ("gpu.name", "cpu.model"):
        if run.environment.get(key):
            return str(run.environment.get(key))
    return "no device recorded"


def _coverage(run: Run, rows: Sequence[Result]) -> str:
    counts = Counter(r.record.status for r in rows)
    parts = [
        f"{counts[s]:,} {s}".replace(",", " ")
        for s in ("measured", "skipped", "failed")
        if counts[s]
    ]
    if run.planned is not None and run.planned > len(rows):
        parts.append(f"{run.planned - len(rows)} not reached")
    return " · ".join(parts) or "no cases"


def _facts(run: Run) -> tuple[Fact, ...]:
    """What identifies a run, under its title."""
    env = run.environment
    stack = [
        f"{name} {env.get(key)}"
        for name, key in (("PyTorch", "torch.version"), ("CUDA", "torch.cuda"),
                          ("driver", "gpu.driver"))
        if env.get(key) is not None
    ]  # fmt: skip
    found = [
        Fact("Run", run.id),
        Fact("Started", _moment(run.started_at)),
    ]
    spent = _duration(run.started_at, run.finished_at)
    if spent:
        found.append(Fact("Took", spent))
    if stack:
        found.append(Fact("Stack", " · ".join(stack)))
    return tuple(found)


def _parse(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        return None


def _moment(text: str) -> str:
    moment = _parse(text)
    if moment is None:
        return text
    zone = (
        " UTC" if moment.utcoffset() is None or not moment.utcoffset() else moment.strftime(" %z")
    )
    return moment.strftime("%Y-%m-%d %H:%M") + zone


def _duration(start: str | None, end: str | None) -> str | None:
    first, last = _parse(start), _parse(end)
    if first is None or last is None or (first.tzinfo is None) != (last.tzinfo is None):
        return None
    seconds = (last - first).total_seconds()
    if seconds < 0:
        return None
    if seconds < 120:
        return scaled(seconds, "s")
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _findings(judged: Verdict, rows: Sequence[Result], ids: Ids) -> tuple[FindingView, ...]:
    by_key = {r.record.case.key: r for r in rows}
    return tuple(_finding(f, [by_key[k] for k in f.cases if k in by_key], ids)
                 for f in judged.findings)  # fmt: skip


def _finding(finding: Finding, cases: Sequence[Result], ids: Ids) -> FindingView:
    mark, word = _SEVERITY[finding.severity]
    named = cases[:_CASES_NAMED]
    links = tuple(Link(ids.case(r), f"{r.name} {r.record.case.precision}") for r in named)
    more = len(cases) - len(named)
    return FindingView(finding.severity, mark, word, finding.text, finding.mend or "", links, more)


def _sections(rows: Sequence[Result], ids: Ids) -> tuple[ChartSection, ...]:
    if not any(r.summary for r in rows):
        return ()
    return (
        *scaling_sections(rows, ids),
        *application_sections(rows, ids),
        *step_sections(rows, ids),
        *share_sections(rows, ids),
        *quality_sections(rows, ids),
        _section(f"{ids.prefix}throughput", "Throughput by size and precision",
                 figures.throughput_figures(rows, ids),
                 "No throughput chart: no benchmark has two measured cases with counted work.",
                 [r.record.case.benchmark for r in rows if r.rate]),
        _section(f"{ids.prefix}speedups", "Speed-up against the baseline",
                 figures.speedup_figures(rows, ids),
                 "No speed-up chart: no benchmark has two cases with a measured baseline.",
                 [r.record.case.benchmark for r in rows if r.speedup]),
        _section(f"{ids.prefix}rooflines", "Roofline",
                 [f for f in [roofline_figure(rows, ids)] if f],
                 "No roofline: fewer than two measured cases have FLOPs and bytes counted."),
        _section(f"{ids.prefix}models", "Cost model against measurement",
                 model_figures(rows, ids), _no_model(rows)),
        _section(f"{ids.prefix}errors", "Error against FP64",
                 error_figures(rows, ids),
                 "No error chart: no result has an error against FP64 to show."),
        *range_sections(rows, ids),
        *_timeline(rows, ids),
        _section(f"{ids.prefix}noise-section", "Sample distributions",
                 [f for f in [noise_figure(rows, ids)] if f],
                 "No distributions: no sample was kept."),
    )  # fmt: skip


def _timeline(rows: Sequence[Result], ids: Ids) -> list[ChartSection]:
    """Sensors along the run; left out, without a word, where none was read."""
    found = timeline_figures(rows, ids)
    title = "While it ran"
    return [ChartSection(f"{ids.prefix}timeline", title, tuple(found), ())] if found else []


def _no_model(rows: Sequence[Result]) -> str:
    if any(r.provenance == MEASURED_CPU for r in rows):
        return (
            "No model chart: a CPU has no datasheet for the cost model. `gpubench calibrate`"
            " measures one, and later runs show it here."
        )
    return "No model chart: the cost model has no word on this device or these workloads."


def _section(
    section_id: str,
    title: str,
    found: Sequence[FigureView],
    missing: str,
    benchmarks: Sequence[str] = (),
) -> ChartSection:
    """A section of charts; ``benchmarks`` are those that a chart each was looked for."""
    notes = [] if found else [missing]
    if len(found) > MAX_FIGURES:
        notes.append(f"{len(found) - MAX_FIGURES} more benchmarks are in the table of cases only.")
    drawn = {f.title for f in found}
    alone = [name for name in dict.fromkeys(benchmarks) if name not in drawn]
    if found and alone:
        named = ", ".join(alone[:6]) + (f" and {len(alone) - 6} more" if len(alone) > 6 else "")
        notes.append(f"Not drawn, having a single size: {named}; the table of cases has them.")
    return ChartSection(section_id, title, tuple(found[:MAX_FIGURES]), tuple(notes))


def _samples_sentence(rows: Sequence[Result]) -> str:
    if not any(r.summary for r in rows):
        return ""
    spoiled = any(r.summary and r.summary.n_spoiled for r in rows)
    marks = " Crosses are spoiled samples, which do not count." if spoiled else ""
    where = " (on CPU)" if all(r.provenance == MEASURED_CPU for r in rows if r.summary) else ""
    return (
        f"Every sample of one case{where} in the order taken, with the median and its 95 %"
        f" interval, and how often each time occurred.{marks}"
    )
