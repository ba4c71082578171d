"""``gpubench report``: render stored runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gpubench.cli.options import filter_option, store_option

FORMATS = ("html", "markdown", "csv", "json", "parquet")


@click.command()
@click.argument("names", nargs=-1, metavar="[RUN]...")
@click.option("-o", "--output", "path", type=click.Path(path_type=Path),
              help="File, or `-` for stdout. [default: reports/...; text: stdout]")  # fmt: skip
@click.option("--format", "fmt", type=click.Choice(FORMATS), default=None,
              help="[default: by the suffix of -o, else html]")  # fmt: skip
@click.option("--suite", metavar="NAME", help="Only runs of this suite.")
@filter_option
@store_option
def report(names: tuple[str, ...], **options: Any) -> None:
    """Render stored runs: ids, labels or `latest`; default: the newest."""
    from gpubench import api

    path: Path | None = options["path"]
    fmt = options["fmt"] or format_of(path)
    chosen = api.select(
        names, store=options["store"], suite=options["suite"], filter_text=options["filter_text"]
    )
    if str(path) == "-" or (path is None and fmt in ("markdown", "csv", "json")):
        from gpubench.report import render

        if fmt == "parquet":
            from gpubench.errors import InputError

            raise InputError("parquet is not text", expected="-o FILE.parquet")
        click.echo(render.text(chosen, fmt).rstrip("\n"))
        return
    written = api.write_report(chosen, path or Path("reports") / api.report_name(chosen, fmt), fmt)
    click.echo(f"report: {written}")


def format_of(path: Path | None) -> str:
    """The format that a file name's suffix means; html where it means none."""
    suffix = path.suffix.lstrip(".").lower() if path else ""
    return {"md": "markdown", "htm": "html"}.get(suffix, suffix if suffix in FORMATS else "html")
