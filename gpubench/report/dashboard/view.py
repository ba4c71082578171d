"""What the dashboard shows: frozen, ready for the templates."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from gpubench.analysis.checks import Check, Row
from gpubench.analysis.tracking import CLOCK, IMPROVEMENT, INSUFFICIENT, REGRESSION, STACK
from gpubench.store import Acceptance

TONES = {
    REGRESSION: "bad", STACK: "warn", CLOCK: "warn", INSUFFICIENT: "info", IMPROVEMENT: "good",
}  # fmt: skip
"""Verdict -> the tone of its mark; noise has none."""

MARKS = {"bad": "!", "warn": "!", "info": "i", "good": "✓", "quiet": "="}


@dataclass(frozen=True, slots=True)
class StackChange:
    """A night on which the stack was another one than the night before."""

    number: int
    index: int
    at: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CasePage:
    """One case on one machine."""

    row: Row
    file: str
    machine: str
    suite: str
    stacks: tuple[StackChange, ...]
    acceptances: tuple[Acceptance, ...]
    spark: Markup
    wide: Markup
    narrow: Markup

    @property
    def tone(self) -> str:
        """``bad``, ``warn``, ``info``, ``good`` or ``quiet``."""
        return TONES.get(self.row.tracked.verdict, "quiet")

    @property
    def mark(self) -> str:
        """The sign within the mark."""
        return MARKS[self.tone]


@dataclass(frozen=True, slots=True)
class Machine:
    """One suite on one machine: its newest run and the pages of its cases, worst first."""

    title: str
    anchor: str
    check: Check
    pages: tuple[CasePage, ...]

    @property
    def tone(self) -> str:
        """Tone of the box around the headline."""
        return {0: "trusted", 1: "not_trusted"}.get(self.check.exit_code, "caveats")

    @property
    def seal(self) -> str:
        """The sign in the box."""
        return "✓" if self.check.exit_code == 0 else "!"


@dataclass(frozen=True, slots=True)
class Dashboard:
    """The whole site."""

    title: str
    version: str
    made_at: str
    url: str
    machines: tuple[Machine, ...]
