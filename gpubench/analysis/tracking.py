"""One series of a nightly check: what to say of its newest night. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Final

from gpubench.analysis.change import DOUBTS
from gpubench.analysis.level import PRIOR, Night, Prior, Rule
from gpubench.analysis.shift import Shift, judge, scatter
from gpubench.analysis.significance import discoveries, prior_of
from gpubench.store.points import Point
from gpubench.units import percent, scaled

REGRESSION: Final = "regression"
IMPROVEMENT: Final = "improvement"
NOISE: Final = "noise"
INSUFFICIENT: Final = "insufficient data"
STACK: Final = "stack changed"
CLOCK: Final = "clock or power"

VERDICTS: Final = (REGRESSION, STACK, CLOCK, INSUFFICIENT, IMPROVEMENT, NOISE)
"""Worst first."""

SLOWER: Final = (REGRESSION, STACK, CLOCK)
"""Verdicts on a level that is slower than it was, whatever the cause."""

NEAR: Final = 2
"""Nights by which a change point may miss: a stack changed so near is the likely cause."""


@dataclass(frozen=True, slots=True)
class Tracked:
    """A series with the verdict on its newest night.

    Attributes:
        verdict: one of ``VERDICTS``.
        text: the verdict with its numbers, one line.
        points: nights that could be used, oldest first; the newest is judged.
        shift: what the statistics say.
        since: first night at the new level.
        before: last night at the level before.
        accepted: reason of the newest acceptance that counts.
    """

    case_key: str
    verdict: str
    text: str
    points: tuple[Point, ...]
    shift: Shift
    since: Point | None = None
    before: Point | None = None
    accepted: str | None = None

    @property
    def newest(self) -> Point | None:
        """The night that was judged."""
        return self.points[-1] if self.points else None


def track(
    case_key: str,
    points: Sequence[Point],
    *,
    accepted: tuple[str, str] | None = None,
    rule: Rule | None = None,
    prior: Prior = PRIOR,
) -> Tracked:
    """Judge the newest point of a series; ``track_all`` corrects for the other series.

    Args:
        case_key: the case.
        points: its history on one machine, oldest first.
        accepted: (run id, reason) of the newest acceptance.
        rule: what counts as a change.
        prior: what is believed of the noise before any night.
    """
    if not points:
        return Tracked(case_key, INSUFFICIENT, "never measured here", (), Shift("insufficient"))
    newest = points[-1]
    doubts = [f for f in DOUBTS if f in newest.flags]
    usable = _usable(points)
    if doubts:
        verdict = CLOCK if "throttled" in doubts else INSUFFICIENT
        text = f"not judged: this measurement is {', '.join(doubts)}"
        return Tracked(case_key, verdict, text, usable, Shift("insufficient"))
    at = _accepted_index(usable, accepted)
    rule = rule or Rule()
    shift = judge(_nights(usable), rule, at, prior)
    reason = accepted[1] if accepted and at is not None else None
    return _told(Tracked(case_key, NOISE, "", usable, shift, accepted=reason), rule)


def track_all(
    series: Mapping[str, Sequence[Point]],
    accepted: Mapping[str, tuple[str, str]],
    rule: Rule | None = None,
) -> list[Tracked]:
    """Judge many series of one check, holding the share of false alarms among the alarms.

    What noise is usual is learnt from all of them.
    """
    rule = rule or Rule()
    known = [s for p in series.values() if p and (s := scatter(_nights(_usable(p)))) is not None]
    prior = prior_of(known) or PRIOR
    found = [
        track(k, p, accepted=accepted.get(k), rule=rule, prior=prior) for k, p in series.items()
    ]
    believed = discoveries([t.shift.p for t in found], rule.fdr)
    return [
        t if ok or t.verdict not in SLOWER or t.since is None
        else replace(
            t, verdict=NOISE,
            text=f"not believed among {len(found)} cases (false discovery rate"
            f" {percent(rule.fdr)}): {t.text}",
        )
        for t, ok in zip(found, believed, strict=True)
    ]  # fmt: skip


def _usable(points: Sequence[Point]) -> tuple[Point, ...]:
    """The nights that were measured as the newest was, without those in doubt."""
    how = points[-1].how
    return tuple(p for p in points if p.how == how and not any(f in p.flags for f in DOUBTS))


def _nights(points: Sequence[Point]) -> list[Night]:
    return [Night(p.median_s, p.ci_low_s, p.ci_high_s) for p in points]


def _accepted_index(points: Sequence[Point], accepted: tuple[str, str] | None) -> int | None:
    """Where the accepted run stands; a run that is gone or not usable counts for nothing."""
    if accepted is None:
        return None
    return next((i for i, p in enumerate(points) if p.run_id == accepted[0]), None)


def _told(t: Tracked, rule: Rule) -> Tracked:
    """Add the words, and look for the causes that make a slower level no regression."""
    shift, now = t.shift, t.points[-1]
    if shift.verdict == "insufficient":
        count = f"{shift.nights} earlier nights" if shift.nights != 1 else "1 earlier night"
        ratio = f", {_ratio(shift.ratio)}" if shift.ratio else ""
        text = f"{scaled(now.median_s, 's')}{ratio}; {count}"
        return replace(t, verdict=INSUFFICIENT, text=text)
    level, new = "the level", scaled(now.median_s, "s")
    if shift.level and shift.ratio:
        level, new = scaled(shift.level, "s"), scaled(shift.level * shift.ratio, "s")
    noise = percent(shift.noise) if shift.noise is not None else "unknown"
    if shift.verdict == "noise" or shift.since is None:
        ratio = _ratio(shift.ratio) if shift.ratio else "accepted tonight"
        text = f"{scaled(now.median_s, 's')}, {ratio}; noise {noise}"
        return replace(t, verdict=NOISE, text=text)
    since = t.points[shift.since]
    before = t.points[shift.since - 1] if shift.since else None
    passed = len(t.points) - shift.since
    nights = "tonight" if passed == 1 else f"for {passed} nights, since {since.started_at[:10]}"
    text = f"{_ratio(shift.ratio)} {nights}: {level} to {new}, noise {noise}"
    t = replace(t, verdict=IMPROVEMENT, text=text, since=since, before=before)
    if shift.verdict == "improvement":
        return t
    if _stack_changed(t.points, shift.since):
        return replace(t, verdict=STACK)
    if _only_clock(t.points, shift, rule):
        return replace(t, verdict=CLOCK, text=f"{text}; as many cycles as before")
    return replace(t, verdict=REGRESSION)


def _ratio(ratio: float | None) -> str:
    if ratio is None:
        return "no level"
    change = abs(ratio - 1)
    if change < 5e-4:
        return "as the level"
    return f"{percent(change)} {'slower' if ratio > 1 else 'faster'}"


def _stack_changed(points: Sequence[Point], since: int) -> bool:
    """Whether the stack is another one than before the change, changed about when it came."""
    before = points[max(since - 1 - NEAR, 0)].stack
    near = range(max(since - NEAR, 1), min(since + NEAR, len(points) - 1) + 1)
    moved = any(points[i].stack != points[i - 1].stack for i in near)
    return moved and before != points[-1].stack


def _only_clock(points: Sequence[Point], shift: Shift, rule: Rule) -> bool:
    """Whether the cycles stayed where they were while the time grew.

    Less than half of the change is left in cycles, and less than what matters: then the
    clock explains it.
    """
    since = shift.since or 0
    cycles = [p.median_s * p.clock_hz for p in points if p.clock_hz is not None]
    if len(cycles) < len(points) or not since or not shift.ratio:
        return False
    before, after = cycles[max(since - 30, 0) : since], cycles[since:]
    change = median(after) / median(before) - 1
    return change < max(0.5 * (shift.ratio - 1), 0.0) and change < max(rule.floor, 0.01)
