"""Look up the names of a comparison and gather what is known of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gpubench import suite as suites
from gpubench.errors import InputError, UnknownName
from gpubench.plan import make_plan
from gpubench.record import Record, Run
from gpubench.spec import MANY_RANKS, PRECISIONS, Case, DeviceInfo, Suite
from gpubench.store import Store
from gpubench.units import bytes_iec

if TYPE_CHECKING:
    from gpubench.analysis.comparison import Comparison, Subject


def compare(
    names: Sequence[str],
    *,
    store: str | None,
    suite: str | None = None,
    filter_text: str | None = None,
    prices: Path | None = None,
) -> Comparison:
    """Runs, labels, GPUs by key or alias, side by side; works with an empty store.

    A GPU brings published values and predictions, and the newest stored run of it, where
    there is one. The cases are those of the named suite (``tensorcore`` by default) or,
    where only runs are named, the runs' own.

    Raises:
        InputError: fewer than two names, one that nobody knows, or nothing in common;
            prices that cannot be read.
    """
    from gpubench.analysis.comparison import compare as gather
    from gpubench.model.cost import read_prices

    priced = read_prices(prices) if prices else None
    if len(names) < 2:
        raise InputError("--compare needs two names or more", expected="e.g. --compare a100 v100")
    with Store(store) as opened:
        stored = opened.runs()
        subjects = [_subject(n, opened, stored, suite) for n in names]
    wanted = suite or next((s.run.suite for s in subjects if s.kind == "run" and s.run), None)
    loaded = _suite_or_none(wanted or "tensorcore")
    cases = _compared_cases(subjects, loaded, filter_text)
    name = loaded.name if loaded else str(wanted)
    return gather(name, loaded.description if loaded else "", subjects, cases, _cannot_run, priced)


def _subject(name: str, opened: Store, stored: Sequence[Run], suite: str | None) -> Subject:
    """Look a name up as run id, run label, GPU key or alias, in this order."""
    from gpubench.analysis.comparison import Subject
    from gpubench.catalogue import find, gpus

    run = next((r for r in stored if r.id == name), None) or next(
        (r for r in stored if r.label == name), None
    )
    if run is None and name == "latest" and stored:
        run = stored[0]
    if run is not None:
        found = {r.case.key: r for r in opened.records(run.id)}
        key = next((r.device.gpu_key for r in found.values() if r.device.gpu_key), None)
        device = next((r.device.name for r in found.values()), "no records")
        title = f"{run.label or run.id} ({device})"
        return Subject(name, title, "run", find(key) if key else None, run, found)
    try:
        spec = find(name)
    except UnknownName:
        known = {r.id for r in stored} | {r.label for r in stored if r.label}
        aliases = {a for g in gpus() for a in (g.key, g.family, *g.aliases)}
        raise UnknownName("run, label or GPU", name, known | aliases) from None
    run, found = _newest_of(opened, stored, spec.key, suite)
    return Subject(name, spec.name, "gpu", spec, run, found)


def _newest_of(
    opened: Store, stored: Sequence[Run], gpu_key: str, suite: str | None
) -> tuple[Run | None, dict[str, Record]]:
    """The newest run (of a suite) on a GPU with its records; (None, nothing) without one."""
    for run in stored:
        if suite not in (None, run.suite) or run.environment.get("gpu.name") is None:
            continue
        found = {r.case.key: r for r in opened.records(run.id)}
        if any(r.device.gpu_key == gpu_key for r in found.values()):
            return run, found
    return None, {}


def _suite_or_none(name: str) -> Suite | None:
    """The suite of that name; None for a run's suite whose file is not here."""
    try:
        return suites.load(suites.locate(name))
    except InputError:
        if "/" in name or name.endswith((".yaml", ".yml")):
            raise
        return None


def _compared_cases(
    subjects: Sequence[Subject], loaded: Suite | None, filter_text: str | None
) -> list[Case]:
    """The suite's cases on a GPU without limits, or those of the runs where only runs are named."""
    cases = [r.case for s in subjects for r in s.records.values() if s.kind == "run"]
    if loaded is not None and not cases:
        anything = DeviceInfo(type="cuda", name="any GPU", world_size=MANY_RANKS)
        cases = list(make_plan(loaded, anything, filter_text=filter_text).cases)
    elif filter_text:
        from gpubench.expression import compile_filter, names_of

        matches, device = (
            compile_filter(filter_text),
            DeviceInfo(type="cuda", name="any GPU", world_size=MANY_RANKS),
        )
        cases = [c for c in cases if matches(c, names_of(c, device))]
    if not cases:
        raise InputError("there is nothing to compare: no case is known of any of these names")
    return cases


def _cannot_run(subject: Subject, case: Case) -> str | None:
    """Why a GPU of the catalogue cannot run a case: its precision or its memory."""
    spec = subject.spec
    if spec is None:
        return "no datasheet facts, so no prediction" if subject.kind == "gpu" else None
    if case.precision not in PRECISIONS:  # an imported run may hold anything
        return f"precision {case.precision!r} is not known"
    if not spec.supports(case.precision):
        return spec.why_not(case.precision)
    if case.work and case.work.footprint_bytes > spec.memory_bytes:
        return f"needs {bytes_iec(case.work.footprint_bytes)}, has {bytes_iec(spec.memory_bytes)}"
    return None
