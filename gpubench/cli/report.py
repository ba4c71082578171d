"""``gpubench report``: render stored runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gpubench.cli.options import filter_option, store_option
from gpubench.errors import GateFailed, InputError, PartialFailure

TEXTS = ("markdown", "csv", "json")
FORMATS = ("html", "markdown", "csv", "json", "parquet")


@click.command()
@click.argument("names", nargs=-1, metavar="[RUN]...")
@click.option("-o", "--output", "path", type=click.Path(path_type=Path),
              help="File, or `-` for stdout. [default: reports/...; text: stdout]")  # fmt: skip
@click.option("--format", "fmt", type=click.Choice(FORMATS), default=None,
              help="[default: by the suffix of -o, else html]")  # fmt: skip
@click.option("--compare", is_flag=True,
              help="Compare the names: runs, labels, GPUs; the last is the reference.")  # fmt: skip
@click.option("--fleet", is_flag=True,
              help="Odd devices of a fleet, hosts to drain; default: the newest.")  # fmt: skip
@click.option("--fail-on-outlier", is_flag=True,
              help="With --fleet: exit 1 if a device is odd, 3 if one is not whole.")  # fmt: skip
@click.option("--prices", type=click.Path(path_type=Path), metavar="FILE",
              help="With --compare: CSV or YAML of currency per GPU hour: the cost.")  # fmt: skip
@click.option("--suite", metavar="NAME",
              help="Only runs of this suite; with --compare the suite's cases.")  # fmt: skip
@filter_option
@store_option
def report(names: tuple[str, ...], compare: bool, fleet: bool, **options: Any) -> None:
    """Render stored runs: ids, labels or `latest`; default: the newest.

    \b
    gpubench report                         the newest run
    gpubench report --compare a100 v100     two GPUs nobody need have
    gpubench report --compare after before  two runs by label
    gpubench report --fleet                 which GPU is the odd one?
    """  # noqa: D301  # click reads the character, not the escape
    if options["fail_on_outlier"] and not fleet:
        raise InputError("--fail-on-outlier judges a fleet", expected="--fleet with it")
    if options["prices"] and not compare:
        raise InputError("--prices is the cost of a comparison", expected="--compare with it")
    if compare and fleet:
        raise InputError("--compare and --fleet exclude each other")
    if fleet:
        judge_fleet(names, options)
    elif compare:
        compare_names(names, options)
    else:
        render_runs(names, options)


def compare_names(names: tuple[str, ...], options: dict[str, Any]) -> None:
    """Runs and GPUs side by side."""
    from gpubench import api
    from gpubench.report import comparison as render

    path: Path | None = options["path"]
    fmt = options["fmt"] or format_of(path)
    found = api.compare(
        names, store=options["store"], suite=options["suite"], filter_text=options["filter_text"],
        prices=options["prices"],
    )  # fmt: skip
    if str(path) == "-" or (path is None and fmt in TEXTS):
        click.echo(render.text(found, fmt).rstrip("\n"))
        return
    if path is None:
        stem = "-vs-".join(s.name.replace("/", "-") for s in found.subjects)
        path = Path("reports") / f"{found.suite}-{stem}.{fmt}"
    written = render.write(found, path, fmt)
    if fmt == "html":
        from gpubench.cli.options import console

        console().print(render.summary_table(found))
    click.echo(f"report: {written}")


def judge_fleet(names: tuple[str, ...], options: dict[str, Any]) -> None:
    """Which devices are odd, as a page, and as an exit code where that was asked for."""
    from gpubench.api import fleets
    from gpubench.report import fleet as render

    if options["filter_text"]:
        raise InputError("--filter does not go with --fleet", expected="--suite NAME")
    path: Path | None = options["path"]
    fmt = options["fmt"] or format_of(path)
    found = fleets.look(names, store=options["store"], suite=options["suite"])
    if str(path) == "-" or (path is None and fmt in TEXTS):
        click.echo(render.text(found, fmt).rstrip("\n"))
    else:
        stem = "-".join(found.name.replace("/", "-").split(", "))[:80]
        suffix = {"markdown": "md"}.get(fmt, fmt)
        written = render.write(found, path or Path("reports") / f"fleet-{stem}.{suffix}", fmt)
        click.echo(f"{found.headline}\nreport: {written}")
    if options["fail_on_outlier"] and found.bad:
        raise GateFailed(f"--fail-on-outlier: {found.headline}")
    if options["fail_on_outlier"] and found.unmeasured:
        where, why = found.unmeasured[0]
        raise PartialFailure(
            f"{len(found.unmeasured)} of the fleet not measured whole, first {where}: {why}"
        )


def render_runs(names: tuple[str, ...], options: dict[str, Any]) -> None:
    """Stored runs as one report."""
    from gpubench import api

    path: Path | None = options["path"]
    fmt = options["fmt"] or format_of(path)
    chosen = api.select(
        names, store=options["store"], suite=options["suite"], filter_text=options["filter_text"]
    )
    if str(path) == "-" or (path is None and fmt in TEXTS):
        from gpubench.report import render

        if fmt == "parquet":
            raise InputError("parquet is not text", expected="-o FILE.parquet")
        click.echo(render.text(chosen, fmt).rstrip("\n"))
        return
    written = api.write_report(chosen, path or Path("reports") / api.report_name(chosen, fmt), fmt)
    click.echo(f"report: {written}")


def format_of(path: Path | None) -> str:
    """The format that a file name's suffix means; html where it means none."""
    suffix = path.suffix.lstrip(".").lower() if path else ""
    return {"md": "markdown", "htm": "html"}.get(suffix, suffix if suffix in FORMATS else "html")
