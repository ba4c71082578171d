"""Run suites and resume runs: every record is stored before the next case begins."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from gpubench import suite as suites
from gpubench.api.expecting import stored_calibration, with_model
from gpubench.errors import GpubenchError, InputError
from gpubench.launch.job import current as current_job
from gpubench.launch.local import LocalLauncher
from gpubench.plan import make_plan
from gpubench.record import Environment, Record, Run
from gpubench.settings import with_settings
from gpubench.spec import Case, DeviceInfo, Plan, Profiling, Suite
from gpubench.store import Store
from gpubench.store.spool import Keeper, deliver_all

if TYPE_CHECKING:
    from gpubench.model.calibration import Calibration


class Listener(Protocol):
    """Told what happens during a run; every method may do nothing."""

    def planned(self, run: Run, plan: Plan, todo: int) -> None:
        """A suite is about to run; ``todo`` cases are left to measure."""

    def started(self, case: Case) -> None:
        """A case begins."""

    def progress(self, case: Case, samples: int, time_s: float) -> None:
        """A case has that many samples; the last took ``time_s`` per call."""

    def stage(self, case: Case, text: str, done: int, total: int) -> None:
        """What goes on in a case beside its samples; ``total`` is 0 where nobody knows."""

    def stored(self, record: Record) -> None:
        """A record is in the store."""

    def note(self, text: str) -> None:
        """One line for people."""


class Notes:
    """A listener that passes notes on and is silent else."""

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note

    def planned(self, *_: object) -> None:
        """Nothing to do."""

    started = progress = stage = stored = planned

    def note(self, text: str) -> None:
        """Pass it on."""
        self._note(text)


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
    profiling: Profiling | None = None
    nproc: int = 1
    fleet: str | None = None


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

    def __init__(self, run_id: str, launcher: str = "") -> None:
        self.run_id = run_id
        how = f"--launcher {launcher} " if launcher else ""
        super().__init__(f"interrupted; continue with: gpubench run {how}--resume {run_id}")


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
    with LocalLauncher(request.device, nproc=request.nproc, job=current_job()) as launcher:
        info, _ = launcher.connect()
        plans = plan_suites(request, loaded, info, seed_of(request))
        return [launcher.expand(p) for p in plans]


def run(request: RunRequest, listener: Listener) -> list[RunResult]:
    """Measure suites; every record is stored before the next case begins.

    Raises:
        InputError: bad suites, device or store; nothing was measured then.
        Interrupted: by Ctrl-C or SIGTERM; what was finished is stored.
    """
    loaded = load_suites(request.suites, request.settings)
    seed = seed_of(request)
    with (
        Store(request.store) as store,
        LocalLauncher(
            request.device,
            quick=request.quick,
            folder=loaded[0].folder,
            profiling=request.profiling,
            nproc=request.nproc,
            job=current_job(),
        ) as launcher,
    ):
        deliver_spooled(store, listener)
        info, environment = launcher.connect()
        listener.note(f"device: {info.torch_name}, {info.name} ({info.note})")
        plans = [launcher.expand(p) for p in plan_suites(request, loaded, info, seed)]
        results = []
        calibration = stored_calibration(store, environment)
        with clocks(request, info, listener):
            for name, plan in zip(request.suites, plans, strict=True):
                head = new_run(request, name, plan, environment)
                store.begin(head)
                results.append(_execute(store, launcher, head, plan, listener, calibration))
        return results


def deliver_spooled(store: Store, listener: Listener) -> None:
    """Bring home what earlier runs had to keep while this store did not answer."""
    for done in deliver_all(store):
        if done.problem is None:
            listener.note(f"delivered {done.records} kept records of run {done.run_id}")
        else:
            listener.note(f"warning: {done.path} is not delivered: {done.problem}")


def resume(name: str, request: RunRequest, listener: Listener) -> RunResult:
    """Continue a run: what is missing or failed is measured, the rest kept.

    Raises:
        InputError: no such run, or its suite or device is no longer the same.
    """
    with Store(request.store) as store:
        deliver_spooled(store, listener)
        head = store.find(name)
        past = head.settings
        if request.suites and str(past.get("suite")) not in request.suites:
            raise InputError(f"run {head.id} is of suite {past.get('suite')!r}")
        again = _resumed_request(request, head)
        loaded = load_suites(again.suites, again.settings)
        folder = loaded[0].folder
        with LocalLauncher(
            again.device,
            quick=again.quick,
            folder=folder,
            profiling=again.profiling,
            nproc=again.nproc,
            job=current_job(),
        ) as launcher:
            info, environment = launcher.connect()
            listener.note(f"device: {info.torch_name}, {info.name} ({info.note})")
            (plan,) = map(launcher.expand, plan_suites(again, loaded, info, seed_of(again)))
            _same_or_refuse(head, plan, environment, listener)
            left = remaining(plan, done_of(store.records(head.id)))
            head = replace(head, status="running", finished_at=None)
            store.update(head)
            calibration = stored_calibration(store, environment)
            with clocks(again, info, listener):
                return _execute(store, launcher, head, left, listener, calibration)


def done_of(found: Sequence[Record]) -> frozenset[tuple[str, str]]:
    """(benchmark, case key) of the records that need not be made again."""
    return frozenset(
        (r.case.benchmark, r.case.key) for r in found if r.status != "failed" and _complete(r)
    )


def remaining(plan: Plan, done: frozenset[tuple[str, str]]) -> Plan:
    """The part of a plan that is not done yet."""
    return replace(
        plan,
        cases=tuple(c for c in plan.cases if (c.benchmark, c.key) not in done),
        skips=tuple(s for s in plan.skips if (s.case.benchmark, s.case.key) not in done),
    )


def _complete(record: Record) -> bool:
    """Whether every process launch the policy asks for has been made."""
    samples = getattr(record.outcome, "samples", None)
    return samples is None or len(samples.launches) >= record.case.policy.launches


def seed_of(request: RunRequest) -> int:
    """The seed that was given, or a random one."""
    return secrets.randbelow(2**31) if request.seed is None else request.seed


def new_run(request: RunRequest, name: str, plan: Plan, environment: Environment) -> Run:
    """The head of a run that is about to begin."""
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
            "profiling": asdict(request.profiling) if request.profiling else None,
            "nproc": request.nproc,
            **({"fleet": request.fleet} if request.fleet else {}),
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
        raise InputError(f"run {head.id} was imported or measured in tests: nothing to resume")
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
        profiling=Profiling(**past["profiling"]) if past.get("profiling") else None,
        nproc=int(past.get("nproc", 1)),
        fleet=past.get("fleet"),
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
        elif message["event"] == "stage":
            listener.stage(case, message["text"], int(message["done"]), int(message["total"]))
        else:
            listener.progress(case, int(message["samples"]), float(message["time_s"]))

    keeper, taken = Keeper(store, head), []
    try:
        for record in launcher.run(plan, watch):
            record = with_model(record, calibration)
            keeper.put(record, positions[record.case.key])
            taken.append((positions[record.case.key], record))
            listener.stored(record)
    except KeyboardInterrupt:
        launcher.kill()
        finished(keeper, "interrupted", listener)
        raise Interrupted(head.id) from None
    except GpubenchError:
        finished(keeper, "interrupted", listener)
        raise
    done = finished(keeper, "finished", listener)
    if keeper.path is not None:
        return RunResult(done, tuple(r for _, r in sorted(taken, key=lambda pair: pair[0])))
    return RunResult(done, tuple(store.records(head.id)))


def finished(keeper: Keeper, status: str, listener: Listener) -> Run:
    """Mark a run as ended, and say where its records are if the store was lost."""
    done = keeper.finish(status)
    if keeper.path is not None:
        listener.note(
            f"warning: {keeper.problem}; {keeper.kept} records are kept in {keeper.path}: the"
            " next run with this store delivers them, or `gpubench results import FILE`"
        )
    elif keeper.kept:
        listener.note(f"the store did not answer for a while; {keeper.kept} records followed")
    return done


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


def clocks(
    request: RunRequest, info: DeviceInfo, listener: Listener
) -> AbstractContextManager[None]:
    """Clocks locked while in it, where that was asked for."""
    return _locked(info, listener) if request.lock_clocks else nullcontext()
