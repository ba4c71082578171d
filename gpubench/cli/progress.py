"""Progress of a run on stderr: a bar and a line per finished case."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.text import Text

from gpubench.record import Failure, Measurement, Record, Run, Skip
from gpubench.spec import Case, Plan
from gpubench.stats import summarize
from gpubench.units import percent, scaled, show

if TYPE_CHECKING:
    from rich.console import Console


class Progress:
    """The listener of ``gpubench run``.

    On a terminal there is a bar with the case in hand; elsewhere only a line per case,
    so that the log of a CI job can be read.
    """

    def __init__(self, console: Console, quiet: bool, verbose: bool) -> None:
        self._console, self._quiet, self._verbose = console, quiet, verbose
        self._bars = Bars(
            TextColumn("{task.description}", justify="left"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[now]}"),
            console=console,
            transient=True,
            disable=quiet or not console.is_terminal,
        )
        self._task: int | None = None
        self._inner = self._bars.add_task("", total=None, now="", visible=False)
        self._done = self._todo = 0

    def __enter__(self) -> Progress:
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

    def planned(self, run: Run, plan: Plan, todo: int) -> None:
        """A suite begins."""
        if self._task is not None:
            self._bars.remove_task(self._task)  # type: ignore[arg-type]
        self._task = self._bars.add_task(plan.suite, total=todo, now="")
        self._done, self._todo = 0, todo
        skipped = f", {len(plan.skips)} skipped" if plan.skips else ""
        self.note(f"{plan.suite}: {todo} cases{skipped}; run {run.id}")

    def started(self, case: Case) -> None:
        """A case begins."""
        self._bars.update(self._inner, visible=False)
        self._now(f"{case.benchmark} {case.label} {case.precision}")

    def progress(self, case: Case, samples: int, time_s: float) -> None:
        """A case has some samples."""
        self._bars.update(self._inner, visible=False)
        self._now(
            f"{case.benchmark} {case.label} {case.precision}: {scaled(time_s, 's')}, n={samples}"
        )

    def stage(self, case: Case, text: str, done: int, total: int) -> None:
        """What goes on beside the samples; a bar of its own where its length is known."""
        self._now(f"{case.benchmark} {case.label} {case.precision}: {text}")
        self._bars.update(
            self._inner, description=f"  {text}", completed=done, total=total or None,
            visible=total > 0,
        )  # fmt: skip

    def stored(self, record: Record) -> None:
        """A record is stored."""
        self._bars.update(self._inner, visible=False)
        if isinstance(record.outcome, Skip):
            if self._verbose:
                self.note(f"  skipped  {title(record)}: {record.outcome.reason}")
            return
        self._done += 1
        if self._task is not None:
            self._bars.update(self._task, completed=self._done)  # type: ignore[arg-type]
        if not self._quiet:
            width = len(str(self._todo))
            head = f"[{self._done:{width}}/{self._todo}] "
            self._console.print(Text(head) + line_of(record, self._verbose))

    def _now(self, text: str) -> None:
        if self._task is not None:
            self._bars.update(self._task, now=text)  # type: ignore[arg-type]


def title(record: Record) -> str:
    """Benchmark, label and precision."""
    case = record.case
    return f"{case.benchmark} {case.label} {case.precision}"


def line_of(record: Record, verbose: bool = False) -> Text:
    """One finished case as a line."""
    text = Text(f"{title(record):<44} ")
    outcome = record.outcome
    if isinstance(outcome, Failure):
        return text.append(f"FAILED ({outcome.kind}): {outcome.reason}", style="bold red")
    assert isinstance(outcome, Measurement)
    s, work = summarize(outcome.samples), record.case.work
    text.append(f"{scaled(s.median_s, 's'):>9} ±{percent(s.rel_ci):>6}")
    if work is not None and work.flops:
        text.append(f"  {show('flops_per_s', work.flops / s.median_s):>13}")
    if verbose:
        text.append(
            f"  n={s.n} {outcome.method} {outcome.cache}, stopped by {outcome.stopped_by}",
            style="dim",
        )
        if outcome.accuracy is not None:
            text.append(f", error {show('rel_error', outcome.accuracy.rel_error)}", style="dim")
    if outcome.flags:
        bad = "wrong_result" in outcome.flags
        text.append("  " + " ".join(outcome.flags), style="bold red" if bad else "yellow")
    return text
