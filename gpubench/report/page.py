"""The HTML page around any report, and files that appear whole."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from gpubench.errors import InputError
from gpubench.report.payload import packed

PLAIN_SCRIPTS: Final = ("theme.js", "tables.js", "plain.js")
"""Of pages without charts that a script draws."""
_SCRIPTS: Final = (*PLAIN_SCRIPTS, "charts.js", "table.js")


def write_whole(data: bytes, path: Path) -> Path:
    """Write a file so that it appears whole, making its folders.

    Raises:
        InputError: a place that cannot be written.
    """
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


@lru_cache(maxsize=1)
def templates() -> Environment:
    """The templates, with the filters ``code``, ``md`` and ``mdcode``."""
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


def html_page(
    template: str, view: object, *, data: str, table: str, figures: str, styles: tuple[str, ...]
) -> str:
    """A view as one file that works offline.

    Args:
        data: JSON for other programs, escaped for a script element.
        table, figures: packed, for the page's own scripts.
        styles: assets that make its style, in order.
    """
    plotly, plotly_hash = _plotly()
    script = joined(*_SCRIPTS)
    policy = script_policy(script, plotly_hash)
    return templates().get_template(template).render(
        view=view,
        policy=policy,
        style=Markup(joined(*styles)),
        script=Markup(script),
        plotly=plotly,
        plotly_license=asset("vendor/plotly-basic.LICENSE.txt"),
        data=Markup(data),
        table=table,
        figures=figures,
    )  # fmt: skip


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


def script_policy(script: str, *more: str) -> str:
    """The content security policy of a page: this script, hashes of others, no network."""
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {' '.join([*more, _csp_hash(script.encode())])}",
            "style-src 'unsafe-inline'",
            "img-src data: blob:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def joined(*names: str) -> str:
    """Several files of ``assets``, one after the other."""
    return "\n".join(map(asset, names))


@lru_cache(maxsize=16)
def asset(name: str) -> str:
    """The text of a file in ``assets``."""
    return resources.files("gpubench.report").joinpath("assets", name).read_text("utf-8")


@lru_cache(maxsize=1)
def _plotly() -> tuple[str, str]:
    """Plotly's bundle, gzipped in base64, and the CSP hash of the script it unpacks to."""
    source = asset("vendor/plotly-basic.min.js")
    return packed(source), _csp_hash(source.encode())


def _csp_hash(source: bytes) -> str:
    digest = base64.b64encode(hashlib.sha256(source).digest()).decode("ascii")
    return f"'sha256-{digest}'"
