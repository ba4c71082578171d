"""The use cases: run, report, doctor, results. Parsing and printing belong to ``cli``."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from gpubench import suite as suites
from gpubench.codec import decode_document, encode_document
from gpubench.errors import GpubenchError, InputError, UnknownName
from gpubench.launch.local import LocalLauncher
from gpubench.plan import make_plan
from gpubench.record import Environment, Modelled, Record, Run
from gpubench.settings import with_settings
from gpubench.spec import PRECISIONS, Case, DeviceInfo, Plan, Suite
from gpubench.store import Store
from gpubench.units import bytes_iec

if TYPE_CHECKING:
    from gpubench.analysis.comparison import Comparison, Subject
    from gpubench.engine.doctor import Finding
    from gpubench.model.calibration import Calibration, ModelErrors


class Listener(Protocol):
    """Told what happens during a run; every method may do nothing."""

    def planned(self, run: Run, plan: Plan, todo: int) -> None:
        """A suite is about to run; ``todo`` cases are left to measure."""

    def started(self, case: Case) -> None:
        """A case begins."""

    def progress(self, case: Case, samples: int, time_s: float) -> None:
        """A case has that many samples; the last took ``time_s`` per call."""

    def stored(self, record: Record) -> None:
        """A record is in the store."""

    def note(self, text: str) -> None:
        """One line for people."""


@dataclass(frozen=True, slots=True)
class RunRequest:
    """Everything ``gpubench run`` was asked for."""

    suites: tuple[str, ...]
    device: str = "auto"
    label: str | None = None
    store: str | None = None
    filter: str | None = None
    settings: tuple[str, ...] = ()
    quick: bool = False
    seed: int | None = None
    timeout_s: float | None = None
    lock_clocks: bool = False


@dataclass(frozen=True, slots=True)
class RunResult:
    """A run with its records, as they are in the store."""

    run: Run
    records: tuple[Record, ...]

    @property
    def failed(self) -> tuple[Record, ...]:
        """Records that failed or whose result is wrong."""
        return tuple(r for r in self.records if r.status == "failed" or "wrong_result" in flags(r))


class Interrupted(GpubenchError):
    """A run was interrupted; everything finished is in the store.

    Attributes:
        run_id: what ``--resume`` takes.
    """

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        super().__init__(f"interrupted; continue with: gpubench run --resume {run_id}")


def flags(record: Record) -> tuple[str, ...]:
    """Flags of a record; none for one that was not measured."""
    return getattr(record.outcome, "flags", ())


def load_suites(names: Sequence[str], settings: Sequence[str]) -> list[Suite]:
    """Read, validate and adjust suites, before any device is touched."""
    return [with_settings(suites.load(suites.locate(n)), settings) for n in names]


def plan_suites(
    request: RunRequest, loaded: Sequence[Suite], device: DeviceInfo, seed: int
) -> list[Plan]:
    """Lay the suites out for a device."""
    return [
        make_plan(
            s, device, filter_text=request.filter, quick=request.quick, seed=seed,
            timeout_s=request.timeout_s,
        )
        for s in loaded
    ]  # fmt: skip


def dry_run(request: RunRequest) -> list[Plan]:
    """The plans that a run would follow on this device; nothing is measured or stored."""
    loaded = load_suites(request.suites, request.settings)
    with LocalLauncher(request.device) as launcher:
        info, _ = launcher.connect()
    return plan_suites(request, loaded, info, _seed(request))


def run(request: RunRequest, listener: Listener) -> list[RunResult]:
    """Measure suites; every record is stored before the next case begins.

    Raises:
        InputError: bad suites, device or store; nothing was measured then.
        Interrupted: by Ctrl-C or SIGTERM; what was finished is stored.
    """
    loaded = load_suites(request.suites, request.settings)
    seed = _seed(request)
    with (
        Store(request.store) as store,
        LocalLauncher(request.device, quick=request.quick) as launcher,
    ):
        info, environment = launcher.connect()
        listener.note(f"device: {info.torch_name}, {info.name} ({info.note})")
        plans = plan_suites(request, loaded, info, seed)
        results = []
        calibration = stored_calibration(store, info, environment)
        with _clocks(request, info, listener):
            for name, plan in zip(request.suites, plans, strict=True):
                head = _new_run(request, name, plan, environment)
                store.begin(head)
                results.append(_execute(store, launcher, head, plan, listener, calibration))
        return results


def resume(name: str, request: RunRequest, listener: Listener) -> RunResult:
    """Continue a run: what is missing or failed is measured, the rest kept.

    Raises:
        InputError: no such run, or its suite or device is no longer the same.
    """
    with Store(request.store) as store:
        head = store.find(name)
        past = head.settings
        if request.suites and str(past.get("suite")) not in request.suites:
            raise InputError(f"run {head.id} is of suite {past.get('suite')!r}")
        again = _resumed_request(request, head)
        loaded = load_suites(again.suites, again.settings)
        with LocalLauncher(again.device, quick=again.quick) as launcher:
            info, environment = launcher.connect()
            listener.note(f"device: {info.torch_name}, {info.name} ({info.note})")
            (plan,) = plan_suites(again, loaded, info, _seed(again))
            _same_or_refuse(head, plan, environment, listener)
            done = {
                (r.case.benchmark, r.case.key)
                for r in store.records(head.id)
                if r.status != "failed" and _complete(r)
            }
            left = replace(
                plan,
                cases=tuple(c for c in plan.cases if (c.benchmark, c.key) not in done),
                skips=tuple(s for s in plan.skips if (s.case.benchmark, s.case.key) not in done),
            )
            head = replace(head, status="running", finished_at=None)
            store.update(head)
            calibration = stored_calibration(store, info, environment)
            with _clocks(again, info, listener):
                return _execute(store, launcher, head, left, listener, calibration)


def _complete(record: Record) -> bool:
    """Whether every process launch the policy asks for has been made."""
    samples = getattr(record.outcome, "samples", None)
    return samples is None or len(samples.launches) >= record.case.policy.launches


def _seed(request: RunRequest) -> int:
    return secrets.randbelow(2**31) if request.seed is None else request.seed


def _new_run(request: RunRequest, name: str, plan: Plan, environment: Environment) -> Run:
    now = datetime.now(UTC)
    return Run(
        id=f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}",
        suite=plan.suite,
        description=plan.description,
        label=request.label,
        started_at=now.isoformat(timespec="milliseconds"),
        environment=environment,
        planned=len(plan.cases) + len(plan.skips),
        settings={
            # Where the file was: a resumed run may start in another folder.
            "suite": name if not Path(name).exists() else str(Path(name).resolve()),
            "device": plan.device.torch_name,
            "filter": request.filter,
            "set": list(request.settings),
            "quick": request.quick,
            "seed": plan.seed,
            "timeout_s": request.timeout_s,
            "lock_clocks": request.lock_clocks,
            "plan": plan_digest(plan),
        },
    )


def plan_digest(plan: Plan) -> str:
    """A fingerprint of what a plan measures and how."""
    parts = [f"{c.benchmark} {c.key} {c.policy}" for c in plan.cases]
    parts += [f"{s.case.benchmark} {s.case.key} skipped" for s in plan.skips]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _resumed_request(request: RunRequest, head: Run) -> RunRequest:
    past: Mapping[str, Any] = head.settings
    if "suite" not in past:
        raise InputError(f"run {head.id} was imported and cannot be resumed")
    return replace(
        request,
        suites=(str(past["suite"]),),
        device=str(past["device"]),
        filter=past["filter"],
        settings=tuple(past["set"]),
        quick=bool(past["quick"]),
        seed=int(past["seed"]),
        timeout_s=past["timeout_s"],
        lock_clocks=bool(past["lock_clocks"]),
    )


def _same_or_refuse(head: Run, plan: Plan, now: Environment, listener: Listener) -> None:
    if head.settings["plan"] != plan_digest(plan):
        raise InputError(
            f"the suite of run {head.id} has changed since it began", expected="a new run"
        )
    then = head.environment
    for key in ("host.name", "gpu.uuid", "cpu.model"):
        if then.get(key) != now.get(key):
            raise InputError(
                f"run {head.id} began on another machine: {key} was {then.get(key)!r},"
                f" is {now.get(key)!r}",
                expected="a new run",
            )
    for key in ("gpu.driver", "torch.version", "cudnn.version", "gpubench.version", "git.commit"):
        if then.get(key) != now.get(key):
            listener.note(f"warning: {key} was {then.get(key)}, is {now.get(key)} now")


def _execute(
    store: Store,
    launcher: LocalLauncher,
    head: Run,
    plan: Plan,
    listener: Listener,
    calibration: Calibration | None,
) -> RunResult:
    listener.planned(head, plan, len(plan.cases))
    # Measured in random order, read in the suite's.
    positions = {key: i for i, key in enumerate(plan.order)}

    def watch(case: Case, message: Mapping[str, Any] | None) -> None:
        if message is None:
            listener.started(case)
        else:
            listener.progress(case, int(message["samples"]), float(message["time_s"]))

    try:
        for record in launcher.run(plan, watch):
            record = with_model(record, calibration)
            store.put(head.id, record, positions[record.case.key])
            listener.stored(record)
    except KeyboardInterrupt:
        launcher.kill()
        store.finish(head, "interrupted")
        raise Interrupted(head.id) from None
    except GpubenchError:
        store.finish(head, "interrupted")
        raise
    done = store.finish(head, "finished")
    return RunResult(done, tuple(store.records(head.id)))


def device_id(info: DeviceInfo, environment: Environment) -> str:
    """Identity of a device for calibrations: a GPU's UUID, or a CPU with its host and threads."""
    if info.uuid:
        return info.uuid
    return f"{environment.get('host.name')}/{info.type}/{info.name}/{info.sm_count}"


def stored_calibration(
    store: Store, info: DeviceInfo, environment: Environment
) -> Calibration | None:
    """The calibration of this device, where there is one."""
    body = store.calibration(device_id(info, environment))
    if body is None:
        return None
    from gpubench.model.calibration import Calibration

    return Calibration(**body)


def calibrate(
    request: RunRequest, listener: Listener
) -> tuple[Calibration, ModelErrors, RunResult]:
    """Measure the anchors of ``request.suites`` on this device and keep what they say."""
    from gpubench.model.calibration import calibrate as make
    from gpubench.model.calibration import model_errors

    (result,) = run(request, listener)
    info = DeviceInfo(
        type=result.records[0].device.type,
        name=result.records[0].device.name,
        uuid=_text_fact(result.run, "gpu.uuid"),
        sm_count=_threads(result.run),
    )
    device = device_id(info, result.run.environment)
    made = make(result.records, device, result.run.id, result.run.started_at)
    with Store(request.store) as store:
        store.put_calibration(device, asdict(made))
    return made, model_errors(made, result.records), result


def _text_fact(run: Run, key: str) -> str | None:
    value = run.environment.get(key)
    return None if value is None else str(value)


def _threads(run: Run) -> int | None:
    value = run.environment.get("cpu.threads_used")
    return value if isinstance(value, int) else None


def with_model(record: Record, calibration: Calibration | None = None) -> Record:
    """The record with what the cost model expects; as it is where it has no answer.

    Datasheet facts say nothing of a CPU, of a GPU outside the catalogue, of a workload or
    precision that the model does not know; a calibration of this device may.
    """
    if calibration is not None:
        from gpubench.model.calibration import calibrated_s

        expected = calibrated_s(calibration, record.case)
        record = replace(record, model=replace(record.model, calibrated_s=expected))
    if record.device.gpu_key is None or record.model.predicted_s is not None:
        return record
    from gpubench.catalogue import find
    from gpubench.model import predict

    case = record.case
    try:
        p = predict(find(record.device.gpu_key), case.workload, case.precision, case.params)
    except InputError:
        return record
    calibrated = record.model.calibrated_s
    modelled = Modelled(p.predicted_s, p.low_s, p.high_s, p.bound, calibrated)
    return replace(record, model=modelled)


@contextmanager
def _locked(info: DeviceInfo, listener: Listener) -> Iterator[None]:
    """Lock the SM clock to the base clock; the parent restores it whatever a worker does."""
    from gpubench.catalogue import find
    from gpubench.telemetry.nvml import Nvml, NvmlUnavailable

    if info.type != "cuda":
        raise InputError("--lock-clocks needs a CUDA device", expected="--device cuda")
    base_hz = find(info.gpu_key).base_hz if info.gpu_key else None
    if base_hz is None:
        raise InputError(f"--lock-clocks: the base clock of {info.name!r} is not known")
    try:
        with Nvml(uuid=info.uuid) as nvml, nvml.locked_clocks(base_hz):
            listener.note(f"SM clock locked to {base_hz / 1e6:.0f} MHz until the run ends")
            yield
    except NvmlUnavailable as error:
        raise InputError(f"--lock-clocks: {error}") from error


def _clocks(
    request: RunRequest, info: DeviceInfo, listener: Listener
) -> AbstractContextManager[None]:
    return _locked(info, listener) if request.lock_clocks else nullcontext()


# ---------------------------------------------------------------- compare


def compare(
    names: Sequence[str],
    *,
    store: str | None,
    suite: str | None = None,
    filter_text: str | None = None,
) -> Comparison:
    """Runs, labels, GPUs by key or alias, side by side; works with an empty store.

    A GPU brings published values and predictions, and the newest stored run of it, where
    there is one. The cases are those of the named suite (``tensorcore`` by default) or,
    where only runs are named, the runs' own.

    Raises:
        InputError: fewer than two names, one that nobody knows, or nothing in common.
    """
    from gpubench.analysis.comparison import compare as gather

    if len(names) < 2:
        raise InputError("--compare needs two names or more", expected="e.g. --compare a100 v100")
    with Store(store) as opened:
        stored = opened.runs()
        subjects = [_subject(n, opened, stored, suite) for n in names]
    wanted = suite or next((s.run.suite for s in subjects if s.kind == "run" and s.run), None)
    loaded = _suite_or_none(wanted or "tensorcore")
    cases = _compared_cases(subjects, loaded, filter_text)
    name = loaded.name if loaded else str(wanted)
    return gather(name, loaded.description if loaded else "", subjects, cases, _cannot_run)


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
    run = next(
        (r for r in stored if _is_of(opened, r, spec.key) and suite in (None, r.suite)), None
    )
    found = {r.case.key: r for r in opened.records(run.id)} if run else {}
    return Subject(name, spec.name, "gpu", spec, run, found)


def _is_of(opened: Store, run: Run, gpu_key: str) -> bool:
    return run.environment.get("gpu.name") is not None and any(
        r.device.gpu_key == gpu_key for r in opened.records(run.id)
    )


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
        anything = DeviceInfo(type="cuda", name="any GPU")
        cases = list(make_plan(loaded, anything, filter_text=filter_text).cases)
    elif filter_text:
        from gpubench.expression import compile_filter, names_of

        matches, device = compile_filter(filter_text), DeviceInfo(type="cuda", name="any GPU")
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


# ---------------------------------------------------------------- report


def select(
    names: Sequence[str],
    *,
    store: str | None,
    suite: str | None = None,
    filter_text: str | None = None,
) -> list[tuple[Run, list[Record]]]:
    """Stored runs by id, label or ``latest``; default: the newest (of a suite).

    Raises:
        InputError: nothing fits.
    """
    with Store(store) as opened:
        if names:
            found = [opened.find(n) for n in names]
        else:
            found = opened.runs(suite)[:1]
            if not found:
                of = f" of suite {suite!r}" if suite else ""
                raise InputError(f"the store {opened.shown} has no run{of}")
        chosen = [(r, opened.records(r.id)) for r in found if suite in (None, r.suite)]
    if filter_text:
        chosen = [(r, _filtered(r, rs, filter_text)) for r, rs in chosen]
    if not chosen:
        raise InputError(f"no run of suite {suite!r} among those named")
    return chosen


def _filtered(run: Run, found: Sequence[Record], text: str) -> list[Record]:
    from gpubench.expression import compile_filter, names_of

    matches = compile_filter(text)
    kept = []
    for record in found:
        device = DeviceInfo(
            type=record.device.type, name=record.device.name, gpu_key=record.device.gpu_key
        )
        if matches(record.case, names_of(record.case, device)):
            kept.append(record)
    if not kept:
        raise InputError(f"--filter {text!r} matches none of the {len(found)} cases of {run.id}")
    return kept


def write_report(
    chosen: Sequence[tuple[Run, Sequence[Record]]], path: Path, fmt: str = "html"
) -> Path:
    """Render runs into a file."""
    from gpubench.report import render

    return render.write(chosen, path, fmt)


def report_name(chosen: Sequence[tuple[Run, Sequence[Record]]], fmt: str) -> str:
    """Default file name of a report."""
    suffix = {"markdown": "md"}.get(fmt, fmt)
    stem = "-".join(dict.fromkeys(r.suite for r, _ in chosen))[:80]
    return f"{stem}-{chosen[0][0].id}.{suffix}"


def documents(chosen: Sequence[tuple[Run, Sequence[Record]]]) -> Any:
    """What ``--json`` holds: the document of one run, a list of several."""
    encoded = [encode_document(r, rs) for r, rs in chosen]
    return encoded[0] if len(encoded) == 1 else encoded


def import_documents(data: object, store: str | None) -> list[tuple[Run, int]]:
    """Add exported runs to the store: all of them or none.

    Returns:
        (run, number of records) each.

    Raises:
        InputError: not a document, or a run of that id is there already.
    """
    parsed = [decode_document(d) for d in (data if isinstance(data, list) else [data])]
    with Store(store) as opened:
        known = {r.id for r in opened.runs()}
        for head, _ in parsed:
            if head.id in known:
                raise InputError(
                    f"the store has a run {head.id!r} already", expected="`results remove` first"
                )
        for head, found in parsed:
            opened.add(head, found)
    return [(head, len(found)) for head, found in parsed]


def examine(store: str | None) -> list[Finding]:
    """``gpubench doctor``: findings, the gravest first."""
    from gpubench.engine.doctor import examine as look
    from gpubench.store import default_url, sqlite_path

    return look(sqlite_path(store or default_url()))
