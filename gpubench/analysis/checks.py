"""The verdicts on one run, and the history of one case, as views of them take it."""

from __future__ import annotations

from dataclasses import dataclass

from gpubench.analysis.tracking import (
    INSUFFICIENT,
    NOISE,
    REGRESSION,
    SLOWER,
    VERDICTS,
    Tracked,
)
from gpubench.record import Run
from gpubench.store import Acceptance


@dataclass(frozen=True, slots=True)
class Row:
    """A case of a checked run.

    Attributes:
        name: what tells the case from the others of the run.
        causes: what else changed where the level did, one line each.
    """

    name: str
    benchmark: str
    tracked: Tracked
    causes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Check:
    """The verdicts on one run.

    Attributes:
        rows: worst first.
        problems: why the run is incomplete, one line each; empty for a whole run.
    """

    run: Run
    device: str
    rows: tuple[Row, ...]
    problems: tuple[str, ...]

    def count(self, verdict: str) -> int:
        """Cases with that verdict."""
        return sum(r.tracked.verdict == verdict for r in self.rows)

    @property
    def exit_code(self) -> int:
        """1: a regression; 3: incomplete or not comparable; 0: speed-ups and noise."""
        if self.count(REGRESSION):
            return 1
        slower = any(r.tracked.verdict in SLOWER for r in self.rows)
        return 3 if slower or self.problems else 0

    @property
    def headline(self) -> str:
        """The outcome in one line."""
        if not self.rows:
            return "no case was measured"
        said = {NOISE: "within noise", INSUFFICIENT: "not judged"}
        counts = [f"{self.count(v)} {said.get(v, v)}" for v in VERDICTS if self.count(v)]
        start = "" if self.count(REGRESSION) else "no regression: "
        return start + ", ".join(counts)


@dataclass(frozen=True, slots=True)
class Shown:
    """The history of one case on one machine."""

    row: Row
    run: Run
    device: str
    acceptances: tuple[Acceptance, ...]
