"""The comparison report: GPUs and runs side by side, in every format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from gpubench.analysis.comparison import Comparison
from gpubench.errors import InputError, UnknownName
from gpubench.report.comparison.build import comparison_view
from gpubench.report.comparison.data import csv_text, document, embedded, parquet
from gpubench.report.comparison.terminal import summary_table
from gpubench.report.page import html_page, templates, write_whole
from gpubench.report.payload import figure_data, table_data

__all__ = ["FORMATS", "summary_table", "text", "write"]

FORMATS: Final = ("html", "markdown", "csv", "json", "parquet")


def write(comparison: Comparison, path: Path, fmt: str = "html") -> Path:
    """Write a comparison and return where it is; folders are made, the file appears whole.

    Raises:
        InputError: an unknown format, a place that cannot be written, or Parquet without
            pyarrow.
    """
    if fmt == "parquet":
        data = parquet(comparison)
    else:
        data = text(comparison, fmt).encode("utf-8", "replace")
    return write_whole(data, path)


def text(comparison: Comparison, fmt: str = "html") -> str:
    """A comparison as text: ``html``, ``markdown``, ``csv`` or ``json``.

    Raises:
        InputError: an unknown format, or one that is not text.
    """
    makers: dict[str, Callable[[Comparison], str]] = {
        "html": _html,
        "markdown": _markdown,
        "csv": csv_text,
        "json": document,
    }
    if fmt not in FORMATS:
        raise UnknownName("report format", fmt, FORMATS)
    if fmt not in makers:
        raise InputError(f"{fmt} is not text", expected="a file to write to")
    return makers[fmt](comparison)


def _html(comparison: Comparison) -> str:
    view = comparison_view(comparison)
    return html_page(
        "comparison.html.j2",
        view,
        data=embedded(comparison),
        table=table_data([view]),
        figures=figure_data(f for section in view.sections for f in section.figures),
        styles=("report.css", "comparison.css"),
    )


def _markdown(comparison: Comparison) -> str:
    return templates().get_template("comparison.md.j2").render(view=comparison_view(comparison))
