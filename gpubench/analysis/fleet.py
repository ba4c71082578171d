"""A fleet: which of its devices are odd, on which hosts, and with what physical hint."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from gpubench.analysis.outliers import LEAST, OutlierRule, Scores, score
from gpubench.record import Environment
from gpubench.store.points import Point

SLOW: Final = "slow"
FAILING: Final = "failing"
FAST: Final = "fast"
WORST: Final = 3
"""Cases that are named for an odd device."""


@dataclass(frozen=True, slots=True)
class Member:
    """One device of a fleet with what was measured on it.

    Attributes:
        name: ``node-7/0``: its slot, or host and GPU.
        model: devices of equal model are compared.
        points: case key -> measurement, the newest.
        failed: case key -> why, where it failed or its result is wrong.
        missing: runs that did not end, as ``suite: 5 of 9 cases``.
        run_ids: of its runs, oldest first.
    """

    name: str
    host: str
    rack: str | None
    device: str
    model: str
    environment: Environment
    points: Mapping[str, Point]
    failed: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    run_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CaseScore:
    """One case of a device against the same case of the others."""

    key: str
    name: str
    ratio: float
    z: float


@dataclass(frozen=True, slots=True)
class Odd:
    """A device that is not like the others.

    Attributes:
        kind: ``slow``, ``failing`` or ``fast``.
        ratio: median over its cases of time / median time of its model.
        z: over all cases.
        p: of both questions together; 0 for one that fails.
        worst: the cases that stand out most.
        text: what is odd, one line.
        hints: what else differs, a line each.
    """

    member: Member
    kind: str
    ratio: float | None
    z: float | None
    p: float
    worst: tuple[CaseScore, ...]
    text: str
    hints: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Group:
    """The devices of one model with their scores, in the order of ``members``."""

    model: str
    members: tuple[Member, ...]
    keys: tuple[str, ...]
    scores: Scores

    def index(self, member: Member) -> int:
        """Where a member stands."""
        return self.members.index(member)


@dataclass(frozen=True, slots=True)
class Fleet:
    """The verdict on a fleet.

    Attributes:
        odd: failing first, then by how improbable they are; fast ones last.
        unmeasured: host or slot -> why it is not whole.
    """

    name: str
    suites: tuple[str, ...]
    started_at: str
    groups: tuple[Group, ...]
    odd: tuple[Odd, ...]
    unmeasured: tuple[tuple[str, str], ...]
    names: Mapping[str, str]
    rule: OutlierRule

    @property
    def members(self) -> tuple[Member, ...]:
        """Every device."""
        return tuple(m for g in self.groups for m in g.members)

    @property
    def bad(self) -> tuple[Odd, ...]:
        """Devices to take out: slow or failing."""
        return tuple(o for o in self.odd if o.kind != FAST)

    @property
    def drain(self) -> tuple[tuple[str, tuple[Odd, ...]], ...]:
        """Hosts to drain with their odd devices, the most of them first."""
        found: dict[str, list[Odd]] = defaultdict(list)
        for odd in self.bad:
            found[odd.member.host].append(odd)
        return tuple(
            (host, tuple(odds)) for host, odds in sorted(
                found.items(), key=lambda pair: (-len(pair[1]), min(o.p for o in pair[1]), pair[0])
            )
        )  # fmt: skip

    @property
    def headline(self) -> str:
        """One sentence."""
        count, hosts = len(self.members), len({m.host for m in self.members})
        of = f"of {count} device{'s' if count != 1 else ''} on {hosts} host{'s' * (hosts != 1)}"
        if self.bad:
            named = ", ".join(h for h, _ in self.drain[:5])
            more = f" and {len(self.drain) - 5} more" if len(self.drain) > 5 else ""
            verb = "is" if len(self.bad) == 1 else "are"
            return f"{len(self.bad)} {of} {verb} odd: drain {named}{more}"
        if not any(g.scores.judged for g in self.groups):
            return f"None {of} could be judged: each model needs {LEAST}"
        return f"None {of} is odd"


def assess(
    name: str,
    suites: Sequence[str],
    started_at: str,
    members: Sequence[Member],
    names: Mapping[str, str],
    rule: OutlierRule | None = None,
    unmeasured: Sequence[tuple[str, str]] = (),
) -> Fleet:
    """Judge a fleet.

    Args:
        members: its devices.
        names: case key -> name for people.
        rule: what makes a device odd.
        unmeasured: hosts or slots that have no device at all, with the reason.
    """
    from gpubench.analysis.fleet_hints import hints

    rule = rule or OutlierRule()
    by_model: dict[str, list[Member]] = defaultdict(list)
    for member in members:
        by_model[member.model].append(member)
    groups = [_group(model, found, rule) for model, found in sorted(by_model.items())]
    odd = [o for g in groups for o in _odd(g, names)]
    odd.sort(key=lambda o: ((FAILING, SLOW, FAST).index(o.kind), o.p, o.member.name))
    bad = {o.member.device for o in odd if o.kind != FAST}
    of_model = {g.model: g for g in groups}
    told = tuple(
        Odd(o.member, o.kind, o.ratio, o.z, o.p, o.worst, o.text,
            hints(o.member, of_model[o.member.model].members, bad))
        for o in odd
    )  # fmt: skip
    missing = [*unmeasured, *((m.name, "; ".join(m.missing)) for m in members if m.missing)]
    return Fleet(name, tuple(suites), started_at, tuple(groups), told, tuple(missing), names, rule)


def _group(model: str, members: Sequence[Member], rule: OutlierRule) -> Group:
    ordered = tuple(sorted(members, key=lambda m: m.name))
    keys = tuple(sorted({k for m in ordered for k in m.points}))
    times = np.full((len(ordered), len(keys)), np.nan)
    for i, member in enumerate(ordered):
        for j, key in enumerate(keys):
            point = member.points.get(key)
            if point is not None and point.median_s > 0 and key not in member.failed:
                times[i, j] = point.median_s
    return Group(model, ordered, keys, score(times, rule))


def _odd(group: Group, names: Mapping[str, str]) -> list[Odd]:
    s = group.scores
    found = []
    for i, member in enumerate(group.members):
        ratio, z = _known(s.overall[i]), _known(s.overall_z[i])
        broken = _only_here(member, group)
        if broken:
            key, why = next(iter(broken.items()))
            more = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
            text = f"{names.get(key, key)}{more}: {why}; measured on its peers"
            found.append(Odd(member, FAILING, ratio, z, 0.0, _worst(group, i, names, 1), text))
        elif s.slow[i] or s.fast[i]:
            sign = 1 if s.slow[i] else -1
            worst = _worst(group, i, names, sign)
            kind, p = (SLOW, s.p_slow[i]) if s.slow[i] else (FAST, s.p_fast[i])
            text = _words(float(s.overall[i]), worst, group, i)
            found.append(Odd(member, kind, ratio, z, float(p), worst, text))
    return found


def _only_here(member: Member, group: Group) -> dict[str, str]:
    """Failed cases that most devices of the model did measure: the device's fault."""
    if len(group.members) < LEAST:
        return {}
    half = len(group.members) / 2
    return {
        k: why for k, why in member.failed.items()
        if sum(k in m.points and k not in m.failed for m in group.members) > half
    }  # fmt: skip


def _worst(group: Group, i: int, names: Mapping[str, str], sign: int) -> tuple[CaseScore, ...]:
    z = group.scores.z[i] if group.scores.judged else np.array([])
    order = [j for j in np.argsort(-sign * z) if math.isfinite(z[j])] if len(z) else []
    return tuple(
        CaseScore(group.keys[j], names.get(group.keys[j], group.keys[j]),
                  float(group.scores.ratios[i, j]), float(z[j]))
        for j in order[:WORST]
    )  # fmt: skip


def _words(overall: float, worst: Sequence[CaseScore], group: Group, i: int) -> str:
    """The whole and the worst case: what is odd in one line."""
    ratios = group.scores.ratios[i]
    cases = int(np.sum(np.isfinite(ratios)))
    text = f"{change(overall)} over {cases} cases" if cases != 1 else change(overall)
    if worst and cases > 1:
        text += f"; {worst[0].name}: {change(worst[0].ratio)} (z {worst[0].z:.1f})"
    return text


def change(ratio: float) -> str:
    """``4.2 % slower``."""
    from gpubench.units import percent

    if abs(ratio - 1) < 5e-4:
        return "as its peers"
    return f"{percent(abs(ratio - 1))} {'slower' if ratio > 1 else 'faster'}"


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
