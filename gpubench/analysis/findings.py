"""A finding: one sentence about a run, how bad it is, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

SEVERITIES: Final = ("bad", "warn", "info", "good")
"""Worst first."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding.

    Attributes:
        code: stable name, e.g. ``throttled``.
        severity: one of ``SEVERITIES``; ``bad`` takes trust away, ``warn`` is a caveat.
        text: one sentence.
        mend: what to do about it, where something can be done.
        cases: keys of the cases it is about; empty where it is about the run.
    """

    code: str
    severity: str
    text: str
    mend: str | None = None
    cases: tuple[str, ...] = ()


def order(found: Iterable[Finding]) -> list[Finding]:
    """Worst first, otherwise in the order found."""
    return sorted(found, key=lambda f: SEVERITIES.index(f.severity))


def cases_text(count: int) -> str:
    """``1 case`` or ``N cases``."""
    return "1 case" if count == 1 else f"{count:,} cases".replace(",", " ")
