"""``gpubench results``: the store."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from gpubench.cli.options import console, filter_option, store_option
from gpubench.errors import InputError


@click.group()
def results() -> None:
    """List, show, export, import and remove stored runs."""


@results.command("list")
@store_option
@click.option("--suite", metavar="NAME", help="Only runs of this suite.")
@click.option("--format", "fmt", type=click.Choice(["table", "json"]), default="table")
def list_(store: str | None, suite: str | None, fmt: str) -> None:
    """List the runs, newest first."""
    from rich.table import Table
    from rich.text import Text

    from gpubench.codec import dumps, encode_run
    from gpubench.store import Store

    with Store(store) as opened:
        found, counts = opened.runs(suite), opened.counts()
        where = opened.shown
    if fmt == "json":
        click.echo(
            dumps([{**encode_run(r), "counts": counts.get(r.id, {})} for r in found], indent=1)
        )
        return
    if not found:
        click.echo(f"no runs in {where}")
        return
    table = Table(box=None, pad_edge=False)
    for column in ("run", "label", "suite", "started", "status", "device"):
        table.add_column(column)
    for column in ("measured", "skipped", "failed"):
        table.add_column(column, justify="right")
    for r in found:
        of = counts.get(r.id, {})
        device = r.environment.get("gpu.name") or r.environment.get("cpu.model") or "–"
        table.add_row(
            r.id, Text(r.label or "–"), Text(r.suite), r.started_at[:19], r.status,
            Text(str(device)), *(str(of.get(s, 0)) for s in ("measured", "skipped", "failed")),
        )  # fmt: skip
    console().print(table)


@results.command()
@click.argument("name", metavar="RUN")
@store_option
@filter_option
def show(name: str, store: str | None, filter_text: str | None) -> None:
    """Show the results of RUN (id, label or `latest`) as a table."""
    from rich.text import Text

    from gpubench.api import select
    from gpubench.report.table import results_table

    ((head, found),) = select([name], store=store, filter_text=filter_text)
    out = console()
    label = f" ({head.label})" if head.label else ""
    out.print(Text(f"{head.suite}: run {head.id}{label}, {head.status}"))
    out.print(results_table(found))


@results.command()
@click.argument("names", nargs=-1, required=True, metavar="RUN...")
@click.option("--format", "fmt", type=click.Choice(["json", "csv", "markdown"]), default="json")
@click.option("-o", "--output", "path", type=click.Path(path_type=Path), help="[default: stdout]")
@store_option
def export(names: tuple[str, ...], fmt: str, path: Path | None, store: str | None) -> None:
    """Write RUN (id, label or `latest`) to stdout or a file."""
    from gpubench import api
    from gpubench.codec import dumps

    chosen = api.select(names, store=store)
    if fmt == "json":
        text = dumps(api.documents(chosen), indent=1)
    else:
        from gpubench.report import render

        text = render.text(chosen, fmt)
    if path is None:
        click.echo(text.rstrip("\n"))
    else:
        path.write_text(text.rstrip("\n") + "\n", encoding="utf-8")
        click.echo(f"wrote {path}", err=True)


@results.command("import")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--op", metavar="NAME", help="Collective of nccl-tests' output that names none.")
@store_option
def import_(files: tuple[str, ...], op: str | None, store: str | None) -> None:
    """Add exported runs to the store; `-` reads stdin. Spool files are delivered.

    The text that nccl-tests print (`all_reduce_perf ... > FILE`) is taken, too.
    """
    from gpubench import api
    from gpubench.store.spool import is_spool

    for file in files:
        if is_spool(Path(file)):
            deliver_spool(Path(file), store)
            continue
        if import_nccl_tests(file, op, store):
            continue
        data = read_json(file)
        try:
            added = api.import_documents(data, store)
        except InputError as error:
            raise error.at(file=file) from None
        for head, count in added:
            click.echo(f"imported run {head.id}: {count} records")


def import_nccl_tests(file: str, op: str | None, store: str | None) -> bool:
    """Import a file of nccl-tests; whether it was one."""
    from datetime import UTC, datetime

    from gpubench import api

    path = Path(file)
    try:
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
    except (OSError, UnicodeDecodeError):
        return False  # what is wrong with it is told by the reader of JSON
    if text.lstrip().startswith(("{", "[")) or not api.is_nccl_tests(text):
        return False
    written = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    head, count = api.import_nccl_tests(text, file=file, written=written, op=op, store=store)
    click.echo(f"imported run {head.id}: {count} records of {head.description}")
    return True


def deliver_spool(path: Path, store: str | None) -> None:
    """Deliver what a run kept while its store was lost; the file is removed then.

    Raises:
        InputError: no spool file, or a store that does not answer; the file stays.
    """
    from gpubench.store import Store
    from gpubench.store.spool import deliver

    with Store(store) as opened:
        done = deliver(path, opened)
    if done.problem is not None:
        raise InputError(f"not delivered, and kept: {done.problem}", file=str(path))
    click.echo(f"delivered run {done.run_id}: {done.records} records")


def read_json(file: str) -> Any:
    """The JSON in a file.

    Raises:
        InputError: unreadable or not JSON, with the line.
    """
    try:
        raw = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return json.loads(raw)
    except OSError as error:
        raise InputError(f"cannot read: {error.strerror}", file=file) from error
    except UnicodeDecodeError as error:
        raise InputError("not UTF-8 text", file=file, expected="exported JSON") from error
    except json.JSONDecodeError as error:
        raise InputError(f"not JSON: {error.msg}", file=file, line=error.lineno) from error
    except RecursionError as error:
        raise InputError("nested too deeply", file=file, expected="exported JSON") from error


@results.command()
@click.argument("names", nargs=-1, required=True, metavar="RUN...")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@store_option
def remove(names: tuple[str, ...], yes: bool, store: str | None) -> None:
    """Remove runs and their records from the store."""
    from gpubench.store import Store

    with Store(store) as opened:
        found = [opened.find(n) for n in names]
        for head in found:
            if not yes:
                if not sys.stdin.isatty():
                    raise InputError("nobody to ask", expected="--yes to remove without asking")
                click.confirm(f"remove run {head.id} of {head.suite}?", abort=True)
            opened.remove(head.id)
            click.echo(f"removed run {head.id}")
