"""The view model: everything a template needs, already decided. No logic here or there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Link:
    """A reference to a case in the same file."""

    anchor: str
    text: str


@dataclass(frozen=True, slots=True)
class Fact:
    """A label and its value; ``why`` says why the value is absent."""

    label: str
    value: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """Facts under one heading."""

    title: str
    facts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class FindingView:
    """A finding as shown; ``mark`` and ``word`` carry the severity without colour."""

    severity: str
    mark: str
    word: str
    text: str
    mend: str
    cases: tuple[Link, ...] = ()
    more: int = 0


@dataclass(frozen=True, slots=True)
class Card:
    """A headline number, or an en dash with the reason."""

    title: str
    value: str
    unit: str
    lines: tuple[str, ...]
    color: str
    absent: bool = False
    link: Link | None = None


@dataclass(frozen=True, slots=True)
class FigureView:
    """A chart: one sentence on what it shows, and the Plotly figure as plain JSON data."""

    id: str
    title: str
    sentence: str
    spec: Mapping[str, Any]
    height: int
    note: str = ""
    wide: bool = False


@dataclass(frozen=True, slots=True)
class ChartSection:
    """Charts on one subject; ``missing`` says why an expected one is not there."""

    id: str
    title: str
    figures: tuple[FigureView, ...]
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table of cases; ``name`` heads it in a copied CSV."""

    title: str
    name: str
    hint: str
    numeric: bool


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell: what is shown, a second line, and what it sorts by."""

    text: str
    sub: str = ""
    sort: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A case in the table.

    Attributes:
        tone: ``ok``, ``warn``, ``bad`` or ``skipped``.
        index: position of its record in the exported document of the run.
        unit: prefixed unit in which its samples are drawn, e.g. ``ms``.
    """

    anchor: str
    status: str
    benchmark: str
    precision: str
    tone: str
    index: int
    cells: tuple[Cell, ...]
    details: tuple[Group, ...]
    unit: str


@dataclass(frozen=True, slots=True)
class SkipGroup:
    """Cases skipped for one reason."""

    reason: str
    count: str
    cases: str


@dataclass(frozen=True, slots=True)
class FailureView:
    """A case that failed."""

    link: Link
    precision: str
    kind: str
    reason: str
    traceback: str


@dataclass(frozen=True, slots=True)
class TableCell:
    """A cell of a plain table; ``link`` replaces the text."""

    text: str
    numeric: bool = False
    link: Link | None = None


@dataclass(frozen=True, slots=True)
class PlainTable:
    """A table that is read as it stands."""

    heads: tuple[str, ...]
    rows: tuple[tuple[TableCell, ...], ...]


@dataclass(frozen=True, slots=True)
class AtlasView:
    """The engines of cuDNN by layer."""

    sentence: str
    figure: FigureView
    table: PlainTable


@dataclass(frozen=True, slots=True)
class RunView:
    """One run: verdict, evidence, detail.

    Attributes:
        prefix: put before every anchor of this run; empty for the first.
        level: of the verdict; also names its style.
        scope: what the numbers are about, e.g. that they were measured on CPU.
    """

    prefix: str
    title: str
    suite: str
    description: str
    device: str
    provenance: str
    level: str
    level_mark: str
    headline: str
    scope: str
    coverage: str
    facts: tuple[Fact, ...]
    cards: tuple[Card, ...]
    findings: tuple[FindingView, ...]
    sections: tuple[ChartSection, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    first_rows: tuple[Row, ...]
    table_notes: tuple[str, ...]
    benchmarks: tuple[str, ...]
    precisions: tuple[str, ...]
    skips: tuple[SkipGroup, ...]
    failures: tuple[FailureView, ...]
    environment: tuple[Group, ...]
    samples_sentence: str
    atlas: AtlasView | None = None


@dataclass(frozen=True, slots=True)
class ReportView:
    """A whole report."""

    title: str
    version: str
    runs: tuple[RunView, ...]
    legend: tuple[Fact, ...]
    data_note: str = ""
    methods: tuple[Fact, ...] = field(default_factory=tuple)
