"""Stored fleets: their devices, and which of them are odd."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from gpubench.analysis.fleet import Fleet, Member, assess
from gpubench.analysis.outliers import OutlierRule
from gpubench.api.tracking import full_names
from gpubench.errors import InputError, UnknownName
from gpubench.record import Run
from gpubench.store import Store
from gpubench.store.points import device_id


def look(
    names: Sequence[str] = (),
    *,
    store: str | None = None,
    suite: str | None = None,
    rule: OutlierRule | None = None,
    unmeasured: Sequence[tuple[str, str]] = (),
) -> Fleet:
    """Judge a fleet, or all runs of some labels or ids as if they were one.

    Args:
        names: fleets, labels (every run so labelled) or run ids; default: the newest fleet.
        store: its URL.
        suite: only runs of it.
        rule: what makes a device odd.
        unmeasured: hosts or slots without a device, with the reason.

    Raises:
        InputError: nothing of that name, or no fleet at all.
    """
    with Store(store) as opened:
        runs = [r for r in _runs(opened, names) if suite in (None, r.suite)]
        if not runs:
            raise InputError(f"no run of suite {suite!r} among them")
        runs.sort(key=lambda r: (r.started_at, r.id))
        members = _members(opened, runs)
        title = ", ".join(names) if names else str(runs[-1].fleet)
        suites = dict.fromkeys(r.suite for r in runs)
        return assess(
            title, tuple(suites), runs[0].started_at, members, _names(opened, runs), rule,
            unmeasured,
        )  # fmt: skip


def _runs(opened: Store, names: Sequence[str]) -> list[Run]:
    fleets = opened.fleets()
    if not names:
        if not fleets:
            raise InputError(
                f"the store {opened.shown} has no fleet",
                expected="`gpubench run SUITE --launcher ray`, or runs with --fleet NAME",
            )
        return opened.fleet(fleets[0])
    found: dict[str, Run] = {}
    others: list[Run] | None = None
    for name in names:
        hits = opened.fleet(name)
        if not hits:
            others = opened.runs() if others is None else others
            hits = [r for r in others if name in (r.label, r.id)]
        if not hits:
            known = {*fleets, *(r.label for r in others or () if r.label)}
            raise UnknownName("fleet, label or run", name, known)
        found |= {r.id: r for r in hits}
    return list(found.values())


def _members(opened: Store, runs: Sequence[Run]) -> list[Member]:
    """One a device; of several runs of the same suite there the newest counts."""
    newest: dict[str, dict[str, Run]] = defaultdict(dict)
    for run in runs:
        newest[device_id(run.environment)][run.suite] = run
    chosen = [r for of in newest.values() for r in of.values()]
    ids = [r.id for r in chosen]
    points, statuses = opened.measured(ids), opened.statuses(ids)
    found = []
    for device, of in newest.items():
        last = list(of.values())[-1]
        measured = {p.case_key: p for r in of.values() for p in points[r.id]}
        failed = {
            key: _reason(opened, r, key)
            for r in of.values() for (_, key), s in statuses[r.id].items() if s == "failed"
        }  # fmt: skip
        failed |= {k: "a wrong result" for k, p in measured.items() if "wrong_result" in p.flags}
        missing = [
            f"{r.suite}: {len(statuses[r.id])} of {r.planned} cases, run {r.status}"
            for r in of.values()
            if r.status != "finished" or len(statuses[r.id]) < (r.planned or 0)
        ]
        env = last.environment
        gpu, host, rack = env.get("gpu.name"), str(env.get("host.name")), env.get("host.rack")
        cpu = f"{env.get('cpu.model')} (CPU, {env.get('cpu.threads_used')} threads)"
        found.append(Member(
            _name(last, device), host, None if rack is None else str(rack), device,
            str(gpu) if gpu else cpu, env, measured, failed, tuple(missing),
            tuple(r.id for r in of.values()),
        ))  # fmt: skip
    return _distinct(found)


def _name(run: Run, device: str) -> str:
    """The slot; else the host, with the PCI address or UUID of a GPU."""
    slot = run.settings.get("slot")
    env = run.environment
    if slot:
        return str(slot)
    where = env.get("gpu.pci_id") or (device if env.get("gpu.name") else None)
    return f"{env.get('host.name')}/{where}" if where else str(env.get("host.name"))


def _distinct(members: Iterable[Member]) -> list[Member]:
    """Names made unique by the device, where a slot was given two GPUs in turn."""
    members = list(members)
    counts = Counter(m.name for m in members)
    return [
        m if counts[m.name] == 1 else replace(m, name=f"{m.name} {m.device[-8:]}") for m in members
    ]


def _reason(opened: Store, run: Run, key: str) -> str:
    record = opened.record(run.id, key)
    return str(getattr(record.outcome, "reason", "failed")) if record else "failed"


def _names(opened: Store, runs: Sequence[Run]) -> dict[str, str]:
    """Case key -> name, from one run of each suite that has the most records."""
    counts, names = opened.counts(), dict[str, str]()
    for suite in dict.fromkeys(r.suite for r in runs):
        best = max((r for r in runs if r.suite == suite),
                   key=lambda r: sum(counts.get(r.id, {}).values()))  # fmt: skip
        found = opened.records(best.id)
        of = full_names(found)
        names |= {r.case.key: f"{r.case.benchmark} {of[r.case.key]}" for r in found}
    return names
