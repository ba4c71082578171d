"""A comparison -> its view. Every decision about the page is made here or below."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

import gpubench
from gpubench.analysis.caveats import Caveat, caveats, verdict
from gpubench.analysis.comparison import PROVENANCES, Comparison
from gpubench.analysis.gains import tensor_core_gains
from gpubench.report.comparison.cases import OUTSIDE, columns_and_rows, missing_groups
from gpubench.report.comparison.cores import TERMS, gains_figure, gains_table
from gpubench.report.comparison.economy import economy_section
from gpubench.report.comparison.facts import facts_table
from gpubench.report.comparison.figures import model_figure, speedup_figure
from gpubench.report.comparison.headlines import headline_table, headlines
from gpubench.report.comparison.history import history_figure
from gpubench.report.comparison.lists import (
    coverage_sentence,
    disagreements_table,
    extremes_table,
    joined,
)
from gpubench.report.comparison.marks import MARKS, ON_CPU, Names, names_in, on_cpu, tint
from gpubench.report.comparison.roofline import roofline_figure
from gpubench.report.comparison.shares import shares_figures
from gpubench.report.comparison.view import ComparisonView, Section, SubjectView
from gpubench.report.sharebars import TITLE
from gpubench.report.view import ChartSection, Fact, FigureView, FindingView

_LEVELS: Final = {
    "comparable": ("trusted", "✓"),
    "comparable with caveats": ("caveats", "!"),
    "not comparable": ("not_trusted", "✕"),
}
_SEVERITY: Final = {
    "bad": ("✕", "Not comparable"), "warn": ("!", "Caveat"), "info": ("i", "Note"),
}  # fmt: skip
_LEGEND: Final = {
    "measured": "filled circle; median of a stored run on a GPU, with its 95 % interval",
    ON_CPU: "open circle; median of a stored run on a CPU, so it says nothing about a GPU",
    "published": "cross; a time that others published, with its source; nobody gives its spread",
    "predicted": "open diamond on a pale bar; the cost model with its 80 % band, made from"
    " datasheet facts; nothing was run",
}
FIRST_ROWS: Final = 60
"""Rows of the table that stand in the file itself, for readers without scripts."""
MAX_CARD_ROWS: Final = 2
"""Subjects beside the reference that have cards; more of them share a table."""
_METHOD: Final = (
    Fact("Speed-up", "time of the reference / time of the subject, both of one kind: measured over"
         " measured, published over published, predicted over predicted"),
    Fact("Its interval", "pairs opposite ends of the two intervals, so it is rather too wide; that"
         " of a geometric mean is the mean of the ends"),
    Fact("Model error", "predicted / known − 1; known is the measured value, else the published"),
    Fact("Bound", "the largest of the model's terms: arithmetic, memory traffic or launch"),
    Fact("C_TC and C_T", "time of the arithmetic on Tensor Cores, and of everything else"),
    Fact("–", "not known; the details of the case say why"),
    Fact("fp32", "always true FP32 on CUDA cores; TF32 is named tf32"),
)  # fmt: skip


def comparison_view(comparison: Comparison) -> ComparisonView:
    """The view of a comparison."""
    names = names_in(comparison)
    level, mark = _LEVELS[verdict(comparison)]
    found = caveats(comparison)
    columns, rows = columns_and_rows(comparison, names)
    shown = headlines(comparison, names)
    few = len(shown) <= MAX_CARD_ROWS
    return ComparisonView(
        prefix="",
        title=" vs ".join(names.subjects),
        version=gpubench.__version__,
        suite=comparison.suite,
        description=comparison.description,
        level=level if rows else "nothing",
        level_mark=mark if rows else "–",
        headline=_headline(comparison, found),
        coverage=_coverage(comparison, names),
        scope=_scope(comparison, names),
        subjects=_subjects(comparison, names),
        headlines=shown if few else (),
        headline_table=None if few or not rows else headline_table(shown, names),
        caveats=tuple(_caveat(c) for c in found),
        facts=facts_table(comparison, names),
        evidence=_evidence(comparison, names) if rows else (),
        columns=columns,
        rows=rows,
        first_rows=rows[:FIRST_ROWS],
        table_notes=_table_notes(comparison, names),
        statuses=tuple(
            s for s in (OUTSIDE, *PROVENANCES) if any(r.status == s for r in rows)
        ),
        benchmarks=tuple(dict.fromkeys(r.benchmark for r in rows)),
        precisions=tuple(dict.fromkeys(r.precision for r in rows)),
        missing=missing_groups(comparison, names),
        legend=(*_legend(comparison), *_METHOD),
    )  # fmt: skip


def _headline(comparison: Comparison, found: Sequence[Caveat]) -> str:
    if not comparison.rows:
        return "Nothing is known of these names"
    text = verdict(comparison)
    warned = sum(c.severity == "warn" for c in found)
    if text == "comparable with caveats":
        return f"Comparable, with {warned} caveat{'s' if warned > 1 else ''}"
    return text.capitalize()


def _kinds(comparison: Comparison, index: int) -> Counter[str]:
    """How many values of each kind there are of a subject."""
    counts: Counter[str] = Counter()
    for row in comparison.rows:
        counts.update(row.entries[index].values.keys())
    return counts


def _coverage(comparison: Comparison, names: Names) -> str:
    """Say what is known of each subject."""
    parts = []
    for index, name in enumerate(names.subjects):
        counts = _kinds(comparison, index)
        known = [f"{counts[p]} {p}" for p in PROVENANCES if counts[p]]
        parts.append(f"{name}: {joined(known) if known else 'nothing known'}")
    return f"{len(comparison.rows)} cases. {'; '.join(parts)}."


def _scope(comparison: Comparison, names: Names) -> str:
    cpus = [name for i, name in enumerate(names.subjects) if on_cpu(comparison, i)]
    if cpus:
        return f"Measured on CPU: {joined(cpus)}"
    total: Counter[str] = Counter()
    for index in range(len(names.subjects)):
        total += _kinds(comparison, index)
    if total["measured"]:
        return ""
    return "Nothing measured here: published values and predictions" if total["published"] else (
        "Predictions only: nothing was measured"
    )  # fmt: skip


def _subjects(comparison: Comparison, names: Names) -> tuple[SubjectView, ...]:
    last = len(names.subjects) - 1
    return tuple(
        SubjectView(
            name=name,
            title=s.title,
            role="reference" if i == last else "",
            tint=tint(i),
            origin=f"run {s.run.id}" if s.run else "catalogue",
        )
        for i, (name, s) in enumerate(zip(names.subjects, comparison.subjects, strict=True))
    )


def _caveat(caveat: Caveat) -> FindingView:
    mark, word = _SEVERITY[caveat.severity]
    return FindingView(caveat.severity, mark, word, caveat.text, "")


def _legend(comparison: Comparison) -> list[Fact]:
    shown = {p for i in range(len(comparison.subjects)) for p in _kinds(comparison, i)}
    cpu = [on_cpu(comparison, i) for i in range(len(comparison.subjects))]
    if any(cpu):
        shown.add(ON_CPU)
    if all(cpu) and "measured" in shown:
        shown.remove("measured")
    return [Fact(f"{MARKS[k]} {k}", text) for k, text in _LEGEND.items() if k in shown]


def _table_notes(comparison: Comparison, names: Names) -> tuple[str, ...]:
    absent = [
        f"Nothing is {p} of any subject."
        for p in PROVENANCES
        if not any(_kinds(comparison, i)[p] for i in range(len(names.subjects)))
    ]
    return tuple(absent)


# ---------------------------------------------------------------- evidence


def _evidence(comparison: Comparison, names: Names) -> tuple[Section, ...]:
    others = range(len(names.subjects) - 1)
    every = range(len(names.subjects))
    speedups = [f for i in others if (f := speedup_figure(comparison, names, i))]
    extremes = [t for i in others if (t := extremes_table(comparison, names, i))]
    roofline = roofline_figure(comparison, names)
    models = [f for i in every if (f := model_figure(comparison, names, i))]
    worst = disagreements_table(comparison, names)
    history = history_figure(comparison, names)
    over_time = ChartSection("history", "Over time", (history,)) if history else None
    return (
        *([Section(over_time)] if over_time else []),
        Section(
            _charts("speedups", "Speed-up by case", speedups,
                    "No speed-up: of no case is the same kind of value known of two subjects."),
            tuple(extremes),
        ),
        Section(
            _charts("rooflines", "Roofline", [roofline] if roofline else [],
                    "No roofline: fewer than two cases have FLOPs and bytes counted.")
        ),
        _cores(comparison, names),
        *_shares(comparison, names),
        economy_section(comparison, names),
        Section(
            _charts("model", "Model against what is known", models,
                    "No model errors: nothing is measured or published of the predicted cases."),
            (worst,) if worst else (),
            coverage_sentence(comparison),
        ),
    )  # fmt: skip


def _cores(comparison: Comparison, names: Names) -> Section:
    gains = tensor_core_gains(comparison)
    figure = gains_figure(names, gains, len(names.subjects)) if gains else None
    charts = _charts(
        "cores", "Tensor Cores against CUDA cores", [figure] if figure else [],
        "No Tensor Core times: no case is predicted to run on Tensor Cores.",
    )  # fmt: skip
    tables = (gains_table(comparison, names, gains),) if gains else ()
    return Section(charts, tables, TERMS if gains else "")


def _shares(comparison: Comparison, names: Names) -> tuple[Section, ...]:
    """What steps are made of; left out where no case is a step."""
    found = shares_figures(comparison, names)
    return (Section(ChartSection("shares", TITLE, tuple(found))),) if found else ()


def _charts(section_id: str, title: str, found: Sequence[FigureView], missing: str) -> ChartSection:
    return ChartSection(section_id, title, tuple(found), () if found else (missing,))
