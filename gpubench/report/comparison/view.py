"""The view of a comparison: everything a template needs, already decided."""

from __future__ import annotations

from dataclasses import dataclass

from gpubench.report.view import (
    Card,
    Cell,
    ChartSection,
    Column,
    Fact,
    FindingView,
    Row,
    SkipGroup,
)


@dataclass(frozen=True, slots=True)
class SubjectView:
    """One name of the comparison; ``role`` says whether speed-ups are against it."""

    name: str
    title: str
    role: str
    tint: str
    origin: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a table; its first cell links to ``anchor``, where there is one."""

    cells: tuple[Cell, ...]
    anchor: str = ""


@dataclass(frozen=True, slots=True)
class TableView:
    """A short table with one sentence on what it shows."""

    title: str
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    sentence: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Headline:
    """Speed-ups of one subject over the reference: a card for each class and provenance."""

    title: str
    cards: tuple[Card, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """Charts and tables under one heading; ``charts.missing`` says what is left out and why."""

    charts: ChartSection
    tables: tuple[TableView, ...] = ()
    lede: str = ""


@dataclass(frozen=True, slots=True)
class ComparisonView:
    """A whole comparison: verdict, evidence, detail.

    Attributes:
        prefix: put before the anchors of cases; a comparison has its file for itself.
        level: of the verdict; also names its style.
        scope: what the numbers are about, e.g. that nothing was measured.
        headlines: cards; where there are too many subjects for them, ``headline_table``.
    """

    prefix: str
    title: str
    version: str
    suite: str
    description: str
    level: str
    level_mark: str
    headline: str
    coverage: str
    scope: str
    subjects: tuple[SubjectView, ...]
    headlines: tuple[Headline, ...]
    headline_table: TableView | None
    caveats: tuple[FindingView, ...]
    facts: TableView
    evidence: tuple[Section, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    first_rows: tuple[Row, ...]
    table_notes: tuple[str, ...]
    statuses: tuple[str, ...]
    benchmarks: tuple[str, ...]
    precisions: tuple[str, ...]
    missing: tuple[SkipGroup, ...]
    legend: tuple[Fact, ...]

    @property
    def sections(self) -> tuple[ChartSection, ...]:
        """Every section of charts."""
        return tuple(s.charts for s in self.evidence)
