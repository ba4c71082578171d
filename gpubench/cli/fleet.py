"""``gpubench run --launcher ray``: the same command over every device of a cluster."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.text import Text

from gpubench.cli.options import console
from gpubench.cli.progress import line_of
from gpubench.cli.run import finish, listening
from gpubench.errors import InputError, PartialFailure
from gpubench.record import Record, Run, Skip

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from gpubench.api import RunRequest
    from gpubench.api.fleet import FleetResult

STRAGGLERS = 3
"""Slots that are named when so few are left."""


class FleetProgress:
    """Live progress over all slots: a bar of cases on a terminal, a line a record elsewhere."""

    def __init__(self, out: Console, quiet: bool, verbose: bool) -> None:
        self._console, self._quiet, self._verbose = out, quiet, verbose
        self._bars = Bars(
            TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(),
            TimeElapsedColumn(), TextColumn("{task.fields[now]}"),
            console=out, transient=True, disable=quiet or not out.is_terminal,
        )  # fmt: skip
        self._task: Any = None
        self._left: dict[str, int] = {}
        self._open: set[str] = set()
        self._done = self._todo = self._slots = 0

    def __enter__(self) -> FleetProgress:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        del kind, value, trace
        self._bars.stop()

    def note(self, text: str) -> None:
        """One line for people."""
        if not self._quiet:
            self._console.print(Text(text))

    def planned(self, fleet: str, slots: Sequence[str]) -> None:
        """The fleet begins."""
        self._slots, self._open = len(slots), set(slots)
        self._task = self._bars.add_task("cases", total=None, now=f"{len(slots)} slots")
        shown = ", ".join(slots[:8]) + (" ..." if len(slots) > 8 else "")
        many = "s" if len(slots) != 1 else ""
        self.note(f"fleet {fleet}: {len(slots)} slot{many}: {shown}")

    def began(self, slot: str, run: Run, todo: int) -> None:
        """A slot knows its device."""
        self._open.add(slot)
        self._left[slot] = self._left.get(slot, 0) + todo
        self._todo += todo
        name = run.environment.get("gpu.name") or f"{run.environment.get('cpu.model')} (CPU)"
        self.note(f"{slot}: {name}; {todo} cases; run {run.id}")
        self._show()

    def stored(self, slot: str, record: Record) -> None:
        """A record is stored."""
        if isinstance(record.outcome, Skip):
            return
        self._done += 1
        self._left[slot] = self._left.get(slot, 1) - 1
        self._show()
        if not self._quiet and (self._verbose or record.status == "failed"):
            head = f"[{self._done}/{self._todo}] {slot}: "
            self._console.print(Text(head) + line_of(record, self._verbose))

    def ended(self, slot: str, problem: str | None) -> None:
        """A slot is done or given up."""
        self._open.discard(slot)
        if problem is not None:
            self.note(f"{slot}: NOT MEASURED WHOLE: {problem}")
        else:
            self.note(f"{slot}: done; {self._waiting()}")
        self._show()

    def _waiting(self) -> str:
        count = len(self._open)
        if 0 < count <= STRAGGLERS:
            names = (f"{s} ({self._left[s]} cases)" if s in self._left else s for s in self._open)
            return "waiting for " + ", ".join(sorted(names))
        return f"{count} slots to go"

    def _show(self) -> None:
        if self._task is not None:
            self._bars.update(
                self._task, completed=self._done, total=self._todo or None, now=self._waiting()
            )


def run_fleet(
    request: RunRequest, options: dict[str, Any], gates: tuple[str, ...]
) -> None:  # fmt: skip
    """Run or resume a fleet, then its page, JSON and the exit code of a run."""
    from gpubench.api import fleet

    if options["dry_run"]:
        raise InputError("--dry-run looks at one machine", expected="it without --launcher")
    place = {"address": options["address"], "per_node": options["per_node"]}

    def go(listener: Any) -> FleetResult:
        if options["resume"]:
            return fleet.resume_fleet(options["resume"], request, listener, **place)
        return fleet.run_fleet(request, listener, **place)

    watching = FleetProgress(console(stderr=True), options["quiet"], options["verbose"])
    found = listening(go, watching)
    _told(found, options, gates)


def _told(found: FleetResult, options: dict[str, Any], gates: tuple[str, ...]) -> None:
    """The fleet's page in place of a report a device; the exit code of a run."""
    if found.results and not options["no_report"]:
        from gpubench.api.fleets import look
        from gpubench.report.fleet import write as write_page

        path = Path(options["output"]) / f"{found.name}.html"
        seen = look([found.name], store=options["store"])
        written = write_page(seen, path, "html")
        click.echo(f"{seen.headline}\nreport: {written}", err=options["json_path"] == "-")
    quiet = {**options, "no_report": True, "quiet": True}
    problems = [f"{where}: {why}" for where, why in found.problems]
    for text in problems:
        click.echo(f"not measured whole: {text}", err=True)
    finish(list(found.results), quiet, gates)
    if problems:
        raise PartialFailure(
            f"{len(problems)} of the fleet not measured whole, first {problems[0]};"
            f" the rest is stored: gpubench run --launcher ray --resume {found.name}"
        )
