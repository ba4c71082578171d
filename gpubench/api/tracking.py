"""Nightly regression tracking: check a run, show a history, accept a level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase

from gpubench.analysis.causes import Side, causes
from gpubench.analysis.change import doubts
from gpubench.analysis.checks import Check, Row, Shown
from gpubench.analysis.level import Rule
from gpubench.analysis.naming import case_names
from gpubench.analysis.tracking import SLOWER, VERDICTS, Tracked, track, track_all
from gpubench.errors import InputError, UnknownName
from gpubench.record import Failure, Measurement, Record, Run
from gpubench.store import Acceptance, Store
from gpubench.store.points import device_id


def full_names(found: Sequence[Record]) -> dict[str, str]:
    """Case key -> its name with the precision, where the name does not have it already."""
    short = case_names(found)
    return {
        r.case.key: short[r.case.key]
        if r.case.precision in short[r.case.key].split()
        else f"{short[r.case.key]} {r.case.precision}"
        for r in found
    }


def check(name: str = "latest", *, store: str | None = None, rule: Rule | None = None) -> Check:
    """Judge every case of a run against its history on the same machine.

    Raises:
        InputError: no such run.
    """
    with Store(store) as opened:
        return check_run(opened, opened.find(name), rule)


def check_run(opened: Store, run: Run, rule: Rule | None = None) -> Check:
    """As ``check``, in a store that is open."""
    device = device_id(run.environment)
    found = opened.records(run.id)
    keys = {r.case.key for r in found if isinstance(r.outcome, Measurement)}
    series = opened.points(device, run.suite, until=run.started_at)
    # Only histories that end with this run are judged by it.
    judged = {
        k: p[: 1 + next(i for i, x in enumerate(p) if x.run_id == run.id)]
        for k, p in series.items()
        if k in keys and any(x.run_id == run.id for x in p)
    }
    given = {k: (a.run_id, a.reason) for k, a in opened.accepted_on(device).items()}
    tracked = track_all(judged, given, rule)
    names, records = full_names(found), {r.case.key: r for r in found}
    rows = [
        Row(names[t.case_key], records[t.case_key].case.benchmark, t, _causes(opened, t, run))
        for t in tracked
    ]
    order = {v: i for i, v in enumerate(VERDICTS)}
    rows.sort(key=lambda r: (order[r.tracked.verdict], -(r.tracked.shift.ratio or 0), r.name))
    return Check(run, device, tuple(rows), tuple(_problems(run, found)))


def _causes(opened: Store, tracked: Tracked, run: Run) -> tuple[str, ...]:
    """What changed between the last night at the old level and the first at the new one."""
    if tracked.since is None or tracked.before is None:
        return ()
    sides = [
        Side(_run(opened, p.run_id, run), opened.record(p.run_id, tracked.case_key))
        for p in (tracked.before, tracked.since)
    ]
    return causes(*sides)


def _run(opened: Store, run_id: str, run: Run) -> Run:
    return run if run_id == run.id else opened.run(run_id)


def _problems(run: Run, found: Sequence[Record]) -> list[str]:
    problems = []
    if run.status != "finished":
        problems.append(f"the run is {run.status}: `gpubench run --resume {run.id}` continues it")
    missing = max((run.planned or 0) - len(found), 0)
    if missing:
        problems.append(f"{missing} of {run.planned} planned cases have no result")
    failed = [r for r in found if isinstance(r.outcome, Failure)]
    names = full_names(found)
    for record in failed[:5]:
        outcome = record.outcome
        assert isinstance(outcome, Failure)
        problems.append(f"{names[record.case.key]} failed ({outcome.kind}): {outcome.reason}")
    if len(failed) > 5:
        problems.append(f"{len(failed) - 5} more cases failed")
    return problems


def show(
    wanted: str, *, store: str | None = None, name: str = "latest", rule: Rule | None = None
) -> list[Shown]:
    """The histories of the cases of a run whose key, or name by a glob, is ``wanted``.

    Raises:
        UnknownName: no case of the run fits.
    """
    with Store(store) as opened:
        run = opened.find(name)
        device = device_id(run.environment)
        found = opened.records(run.id)
        names = full_names(found)
        chosen = _chosen(found, [wanted])
        keys = [r.case.key for r in chosen]
        series = opened.points(device, run.suite, case_keys=keys, until=run.started_at)
        given = {k: (a.run_id, a.reason) for k, a in opened.accepted_on(device).items()}
        shown = []
        for record in chosen:
            key = record.case.key
            told = track(key, series.get(key, ()), accepted=given.get(key), rule=rule)
            row = Row(names[key], record.case.benchmark, told, _causes(opened, told, run))
            past = tuple(a for a in opened.acceptances(key) if a.device == device)
            shown.append(Shown(row, run, device, past))
        return shown


def _chosen(found: Sequence[Record], wanted: Sequence[str]) -> list[Record]:
    """Records by key, by the start of a key, by name or by a glob over ``benchmark name``."""
    names = full_names(found)
    chosen: dict[str, Record] = {}
    for text in wanted:
        hits = [
            r for r in found
            if r.case.key == text
            or text in (names[r.case.key], r.case.benchmark)
            or (len(text) >= 6 and r.case.key.startswith(text))
            or fnmatchcase(f"{r.case.benchmark} {names[r.case.key]}", text)
        ]  # fmt: skip
        if not hits:
            known = {names[r.case.key] for r in found} | {r.case.benchmark for r in found}
            raise UnknownName("case", text, known)
        chosen |= {r.case.key: r for r in hits}
    return list(chosen.values())


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of an acceptance: names of cases, and (name, why not) of the others."""

    run: Run
    names: tuple[str, ...]
    refused: tuple[tuple[str, str], ...]


def accept(
    reason: str,
    *,
    name: str = "latest",
    cases: Sequence[str] = (),
    everything: bool = False,
    store: str | None = None,
    rule: Rule | None = None,
) -> Accepted:
    """Accept the levels of a run: of the named cases, of all, or of those that are slower.

    Raises:
        InputError: no reason, no such run or case, or nothing that needs accepting.
    """
    if not reason.strip():
        raise InputError("an empty reason", key="--reason", expected="why this level is right")
    with Store(store) as opened:
        run = opened.find(name)
        found = opened.records(run.id)
        names, device = full_names(found), device_id(run.environment)
        if cases:
            chosen = _chosen(found, cases)
        elif everything:
            chosen = [r for r in found if isinstance(r.outcome, Measurement)]
        else:
            slower = {
                r.tracked.case_key
                for r in check_run(opened, run, rule).rows
                if r.tracked.verdict in SLOWER
            }
            chosen = [r for r in found if r.case.key in slower]
            if not chosen:
                raise InputError(
                    f"no case of run {run.id} is slower than its level",
                    expected="--case CASE or --all to accept levels all the same",
                )
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        done, refused = [], []
        for record in chosen:
            why = _unacceptable(record)
            if why:
                refused.append((names[record.case.key], why))
                continue
            opened.accept(Acceptance(record.case.key, device, run.id, reason.strip(), now))
            done.append(names[record.case.key])
    return Accepted(run, tuple(done), tuple(refused))


def _unacceptable(record: Record) -> str:
    """Why a level must not be accepted: it would shadow a good one. Empty if it may."""
    if not isinstance(record.outcome, Measurement):
        return "not measured"
    return ", ".join(doubts(record.outcome))
