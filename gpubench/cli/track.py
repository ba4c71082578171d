"""``gpubench track``: nightly regression tracking."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpubench.cli.options import console, store_option
from gpubench.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpubench.analysis.checks import Check, Shown
    from gpubench.analysis.level import Rule

FORMATS = ("table", "markdown", "junit", "json", "github")


def share(_context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """``0.05`` or ``5%``; between 0 and 1."""
    if value is None:
        return None
    try:
        number = float(value.strip().removesuffix("%")) / (100 if value.strip()[-1:] == "%" else 1)
    except ValueError:
        number = -1.0
    if not 0 < number < 1:
        raise InputError(
            f"{value!r} is no share", key=parameter.opts[0], expected="e.g. 2% or 0.02"
        )
    return number


def rule_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The thresholds of a check."""
    for option in (
        click.option("--fdr", callback=share, metavar="SHARE",
                     help="False alarms among the alarms of one check, at most. [default: 5%]"),
        click.option("--fast", callback=share, metavar="SHARE",
                     help="Change from which one night is enough. [default: 5%]"),
        click.option("--floor", callback=share, metavar="SHARE",
                     help="Smallest change that matters: what two runs of the same thing differ"
                     " by. [default: 1%]"),
    ):  # fmt: skip
        function = option(function)
    return function


def make_rule(floor: float | None, fast: float | None, fdr: float | None) -> Rule:
    """The rule with what was given in place of the defaults."""
    from dataclasses import replace

    from gpubench.analysis.level import Rule

    rule = Rule()
    return replace(rule, floor=floor or rule.floor, fast=fast or rule.fast, fdr=fdr or rule.fdr)


@click.group()
def track() -> None:
    """Guard the speed of every case, night after night.

    \b
    gpubench run nightly                          every night
    gpubench track check                          exit code 1: a regression
    gpubench track accept --reason "driver 570"   known; do not alarm again
    gpubench track publish site                   a dashboard of files
    """  # noqa: D301 - click wants the character itself


@track.command()
@click.argument("name", metavar="[RUN]", default="latest")
@click.option("--format", "fmt", type=click.Choice(FORMATS), default="table", show_default=True)
@click.option("-o", "--output", "path", type=click.Path(path_type=Path), help="[default: stdout]")
@click.option("--all", "everything", is_flag=True, help="Every case, not only what changed.")
@rule_options
@store_option
def check(
    name: str, fmt: str, path: Path | None, everything: bool, store: str | None, **given: Any
) -> int:
    """Judge RUN (id, label or `latest`) against the history of its machine.

    Exit code 0: speed-ups and noise; 1: a regression; 3: the run is incomplete, or slower
    with another stack or clock, so that it cannot be compared.
    """
    from gpubench.api.tracking import check as judge
    from gpubench.report import checks

    found = judge(name, store=store, rule=make_rule(**given))
    if fmt == "table" and path is None:
        print_check(found, everything)
        return found.exit_code
    if fmt == "table":
        raise InputError("a table is for terminals", expected="--format markdown, junit, json")
    text = checks.text(found, fmt)
    if path is None:
        click.echo(text.rstrip("\n"))
    else:
        from gpubench.report.page import write_whole

        write_whole((text.rstrip("\n") + "\n").encode("utf-8", "replace"), path)
        click.echo(f"{found.headline}; wrote {path}", err=True)
    return found.exit_code


def print_check(found: Check, everything: bool) -> None:
    """The headline, what keeps the run from being whole, and the rows."""
    from rich.text import Text

    from gpubench.report.checks import shown, table

    out = console()
    out.print(Text(f"{found.run.suite}: run {found.run.id} on {found.device}"))
    out.print(Text(found.headline, style="bold"))
    for problem in found.problems:
        out.print(Text(f"incomplete: {problem}"))
    if shown(found, everything=everything):
        out.print()
        out.print(table(found, everything=everything))


@track.command()
@click.argument("case")
@click.option("--run", "name", metavar="RUN", default="latest", show_default=True,
              help="Up to this run, on its machine.")  # fmt: skip
@click.option("--nights", type=click.IntRange(1), default=30, show_default=True)
@rule_options
@store_option
def show(case: str, name: str, nights: int, store: str | None, **given: Any) -> None:
    """Show the history of CASE: its key, its name, or a glob over `benchmark name`."""
    from gpubench.api.tracking import show as look

    for found in look(case, store=store, name=name, rule=make_rule(**given)):
        print_history(found, nights)


def print_history(found: Shown, nights: int) -> None:
    """The verdict, its causes, and the last nights with their changes."""
    from rich.table import Table
    from rich.text import Text

    from gpubench.units import percent, scaled

    out, t = console(), found.row.tracked
    out.print(Text(f"{found.row.benchmark} {found.row.name}  ({t.case_key}) on {found.device}"))
    out.print(Text(f"{t.verdict}: {t.text}", style="bold"))
    for cause in found.row.causes:
        out.print(Text(f"  {cause}"))
    for a in found.acceptances:
        out.print(Text(f"accepted {a.accepted_at[:10]} (run {a.run_id}): {a.reason}"))
    table = Table(box=None, pad_edge=False)
    for column in ("night", "run", "median", "±", "clock", "stack", ""):
        table.add_column(column)
    changes, stack = set(t.shift.changes), None
    for i, p in enumerate(t.points):
        marks = [*(["level changed"] if i in changes else [])]
        marks += ["stack changed"] if stack not in (None, p.stack) else []
        stack = p.stack
        if i < len(t.points) - nights:
            continue
        half = (p.ci_high_s - p.ci_low_s) / 2 / p.median_s if p.median_s else 0.0
        clock = scaled(p.clock_hz, "Hz") if p.clock_hz else "–"
        table.add_row(
            p.started_at[:16].replace("T", " "), p.run_id, scaled(p.median_s, "s"), percent(half),
            clock, p.stack, ", ".join(marks),
        )  # fmt: skip
    out.print(table)


@track.command()
@click.argument("name", metavar="[RUN]", default="latest")
@click.option("--reason", required=True, metavar="TEXT", help="Why this level is right.")
@click.option("--case", "cases", multiple=True, metavar="CASE",
              help="Only this case (key, name or glob); repeatable.")  # fmt: skip
@click.option("--all", "everything", is_flag=True, help="Every measured case of the run.")
@rule_options
@store_option
def accept(
    name: str, reason: str, cases: tuple[str, ...], everything: bool, store: str | None,
    **given: Any,
) -> None:  # fmt: skip
    """Accept the levels of RUN: by default of the cases that are slower than before."""
    from gpubench.api.tracking import accept as take

    if cases and everything:
        raise InputError("--case and --all exclude each other")
    done = take(
        reason, name=name, cases=cases, everything=everything, store=store, rule=make_rule(**given)
    )
    for case in done.names:
        click.echo(f"accepted {case}")
    for case, why in done.refused:
        click.echo(f"not accepted {case}: {why}", err=True)
    count = len(done.names)
    click.echo(f"accepted {count} level{'' if count == 1 else 's'} of run {done.run.id}")
    if done.refused and not count:
        raise InputError("nothing was accepted")


@track.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option("--suite", metavar="NAME", help="Only histories of this suite.")
@click.option("--url", metavar="URL", default="", help="Where DIR will be served, for the feed.")
@rule_options
@store_option
def publish(folder: Path, suite: str | None, url: str, store: str | None, **given: Any) -> None:
    """Write a static dashboard into DIR: open its index.html, or serve it from any host."""
    from gpubench.api.publishing import publish as write

    written = write(folder, store=store, suite=suite, url=url, rule=make_rule(**given))
    click.echo(f"dashboard: {written}")
