"""A report in a format: HTML, Markdown, CSV, JSON or Parquet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from gpubench import codec
from gpubench.analysis.frame import frame
from gpubench.errors import InputError, UnknownName
from gpubench.record import Record, Run
from gpubench.report.build import report_view
from gpubench.report.page import html_page, templates, write_whole
from gpubench.report.payload import embedded_data, figure_data, table_data

Runs = Sequence[tuple[Run, Sequence[Record]]]

FORMATS: Final = ("html", "markdown", "csv", "json", "parquet")


def write(runs: Runs, path: Path, fmt: str = "html") -> Path:
    """Write a report and return where it is; folders are made, the file appears whole.

    Raises:
        InputError: an unknown format, no runs, a place that cannot be written, or Parquet
            without pyarrow.
    """
    data = _parquet(runs) if fmt == "parquet" else text(runs, fmt).encode("utf-8", "replace")
    return write_whole(data, path)


def text(runs: Runs, fmt: str = "html") -> str:
    """A report as text: ``html``, ``markdown``, ``csv`` or ``json``.

    Raises:
        InputError: an unknown format, one that is not text, or no runs.
    """
    makers: dict[str, Callable[[Runs], str]] = {
        "html": _html,
        "markdown": _markdown,
        "csv": lambda given: frame(given).to_csv(index=False, lineterminator="\n"),
        "json": _json,
    }
    if fmt not in FORMATS:
        raise UnknownName("report format", fmt, FORMATS)
    if fmt not in makers:
        raise InputError(f"{fmt} is not text", expected="a file to write to")
    if not runs:
        raise InputError("there is no run to report on")
    return makers[fmt](runs)


def _json(runs: Runs) -> str:
    documents = [codec.encode_document(run, records) for run, records in runs]
    whole: object = documents[0] if len(documents) == 1 else documents
    return codec.dumps(whole, indent=2) + "\n"


def _parquet(runs: Runs) -> bytes:
    if not runs:
        raise InputError("there is no run to report on")
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise InputError(
            "Parquet needs pyarrow", expected="it installed: pip install 'gpubench[parquet]'"
        ) from error
    return frame(runs).to_parquet(None, index=False, engine="pyarrow")


def _html(runs: Runs) -> str:
    data, note = embedded_data(runs)
    view = report_view(runs, note)
    drawn = [f for run in view.runs for section in run.sections for f in section.figures]
    drawn += [run.atlas.figure for run in view.runs if run.atlas]
    return html_page(
        "report.html.j2",
        view,
        data=data,
        table=table_data(view.runs),
        figures=figure_data(drawn),
        styles=("report.css",),
    )


def _markdown(runs: Runs) -> str:
    return templates().get_template("report.md.j2").render(view=report_view(runs))
