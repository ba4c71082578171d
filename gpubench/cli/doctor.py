"""``gpubench doctor``: what this machine can measure."""

from __future__ import annotations

import click

from gpubench.cli.options import console, store_option

MARKS = {
    "ok": ("ok", "green"),
    "info": ("info", "cyan"),
    "warn": ("WARN", "yellow"),
    "bad": ("BAD", "bold red"),
}


@click.command()
@click.option("--format", "fmt", type=click.Choice(["table", "json"]), default="table")
@store_option
def doctor(fmt: str, store: str | None) -> None:
    """Find what would spoil a measurement here, each with the mend.

    Exits 0: findings are advice, not failures.
    """
    from rich.table import Table
    from rich.text import Text

    from gpubench.api import examine

    findings = examine(store)
    if fmt == "json":
        from dataclasses import asdict

        from gpubench.codec import dumps

        click.echo(dumps([asdict(f) for f in findings], indent=1))
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for f in findings:
        mark, style = MARKS[f.status]
        text = Text(f.text)
        if f.mend:
            text.append(f"\n-> {f.mend}", style="italic")
        table.add_row(Text(mark, style=style), Text(f.check), text)
    out = console()
    out.print(table)
    worst = [f for f in findings if f.status in ("bad", "warn")]
    gpu = any(f.check == "architecture" and f.status == "ok" for f in findings)
    what = "a GPU and this CPU" if gpu else "this CPU only"
    out.print(
        Text(
            f"can measure: {what}; "
            + (f"{len(worst)} finding(s) to mend" if worst else "nothing to mend")
        )
    )
