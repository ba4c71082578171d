"""A report in a format: HTML, Markdown, CSV, JSON or Parquet."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from gpubench import codec
from gpubench.analysis.frame import frame
from gpubench.errors import InputError, UnknownName
from gpubench.record import Record, Run
from gpubench.report.build import report_view
from gpubench.report.payload import embedded_data, figure_data, packed, table_data

Runs = Sequence[tuple[Run, Sequence[Record]]]

FORMATS: Final = ("html", "markdown", "csv", "json", "parquet")
_SCRIPTS: Final = ("theme.js", "charts.js", "table.js")


def write(runs: Runs, path: Path, fmt: str = "html") -> Path:
    """Write a report and return where it is; folders are made, the file appears whole.

    Raises:
        InputError: an unknown format, no runs, a place that cannot be written, or Parquet
            without pyarrow.
    """
    data = _parquet(runs) if fmt == "parquet" else text(runs, fmt).encode("utf-8", "replace")
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            temporary.write_bytes(data)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            f"the report cannot be written: {error.strerror or error}", file=str(path)
        ) from error
    return path


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


# ---------------------------------------------------------------- templates


@lru_cache(maxsize=1)
def _templates() -> Environment:
    found = Environment(
        loader=PackageLoader("gpubench.report", "templates"),
        autoescape=lambda name: name is not None and name.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["code"] = _code
    found.filters["md"] = _md
    found.filters["mdcode"] = _md_code
    return found


def _code(text: str) -> Markup:
    """Escape, then set what stands between backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _md(text: str) -> str:
    """Text from a stranger as Markdown that shows it and does nothing else."""
    flat = re.sub(r"\s+", " ", text).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*_\[\]|~!#])", r"\\\1", flat)


def _md_code(text: str) -> str:
    """The same, but what stands between backticks stays code."""
    parts = re.split(r"(`[^`\n|]+`)", text)
    return "".join(part if part[:1] == "`" and len(part) > 2 else _md(part) for part in parts)


def _asset(name: str) -> str:
    return resources.files("gpubench.report").joinpath("assets", name).read_text("utf-8")


@lru_cache(maxsize=1)
def _plotly() -> tuple[str, str]:
    """Plotly's bundle, gzipped in base64, and the CSP hash of the script it unpacks to."""
    source = _asset("vendor/plotly-basic.min.js")
    return packed(source), _csp_hash(source.encode())


def _csp_hash(source: bytes) -> str:
    digest = base64.b64encode(hashlib.sha256(source).digest()).decode("ascii")
    return f"'sha256-{digest}'"


def _html(runs: Runs) -> str:
    data, note = embedded_data(runs)
    view = report_view(runs, note)
    plotly, plotly_hash = _plotly()
    script = "\n".join(_asset(name) for name in _SCRIPTS)
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src {plotly_hash} {_csp_hash(script.encode())}",
            "style-src 'unsafe-inline'",
            "img-src data: blob:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    return _templates().get_template("report.html.j2").render(
        view=view,
        policy=policy,
        style=Markup(_asset("report.css")),
        script=Markup(script),
        plotly=plotly,
        plotly_license=_asset("vendor/plotly-basic.LICENSE.txt"),
        data=Markup(data),
        table=table_data(view),
        figures=figure_data(view),
    )  # fmt: skip


def _markdown(runs: Runs) -> str:
    return _templates().get_template("report.md.j2").render(view=report_view(runs))
