"""Run a plan in worker processes on this machine, one at a time, and yield records.

Precision switches are process-wide in torch, so TF32 cases and all others never share a
process. Within a process the cases come in a random order of recorded seed: drift of the
machine then shows as noise, not as a difference between neighbours.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from gpubench.codec import decode_record, encode_case
from gpubench.devices.host import memory_limit_bytes
from gpubench.engine.peaks import peaks_of
from gpubench.engine.trust import with_flags
from gpubench.errors import CaseFailed, GpubenchError
from gpubench.launch.child import Child
from gpubench.launch.job import Job
from gpubench.plan import expanded
from gpubench.ports import Variant
from gpubench.record import (
    DeviceRef,
    Environment,
    Fact,
    Failure,
    Measurement,
    Record,
    Samples,
    Skip,
)
from gpubench.spec import Case, DeviceInfo, Plan, Policy, Profiling
from gpubench.telemetry import ranges

START_TIMEOUT_S: Final = 300.0
MEMORY_SHARE: Final = 0.95

Watch = Callable[[Case, Mapping[str, Any] | None], None]
"""Called with (case, None) when a case starts and (case, message) on its progress."""


class LocalLauncher:
    """Workers on this machine.

    Args:
        device: as in ``--device``.
        quick: whether the plan is a quick one, for the flags.
        memory_limit_bytes: resident memory at which a worker is ended; by default nearly
            all that is available when the launcher is made.
        folder: where the first suite's own code lies, as in ``Plan.folder``.
        profiling: what `gpubench profile` adds to every case.
        nproc: ranks that a worker is made of, by torchrun's engine.
        job: the job of torchrun or Slurm that this process is rank 0 of.
    """

    def __init__(
        self,
        device: str = "auto",
        *,
        quick: bool = False,
        memory_limit_bytes: int | None = None,
        folder: str | None = None,
        profiling: Profiling | None = None,
        nproc: int = 1,
        job: Job | None = None,
    ) -> None:
        self._nproc, self._job = nproc, job
        self._profiling = profiling
        self._request, self._quick = device, quick
        self._limit = memory_limit_bytes or available_memory_bytes()
        self._child: Child | None = None
        self._mode: str | None = None
        self._folder, self._started_for = folder, folder
        self.info: DeviceInfo | None = None
        self.worker_starts = 0

    def __enter__(self) -> LocalLauncher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def connect(self) -> tuple[DeviceInfo, Environment]:
        """Start a worker and learn the device and the environment.

        Raises:
            WorkerRefused: the device that was asked for is not usable.
        """
        message = self._start()
        self.info = device_info(message["device"])
        facts: Mapping[str, Fact] = message["environment"]
        # Later workers must get the very device that was described, not "auto" again.
        together = self.info.world_size > 1
        self._request = self.info.type if together else self.info.torch_name
        return self.info, Environment(facts)

    def expand(self, plan: Plan) -> Plan:
        """The plan with every case that stands for several replaced by those.

        A case that finds none, or whose search fails, becomes a skip with the reason.
        """
        return expanded(plan, self._variants)

    def _variants(self, case: Case) -> Sequence[Variant] | str:
        try:
            message = self._ready(mode_of(case)).expand(encode_case(case), case.policy.timeout_s)
        except CaseFailed as error:
            self._drop()
            return f"the search for its variants failed: {error}"
        if message["reason"] or not message["variants"]:
            return str(message["reason"] or "the device names no variant of it")
        return [Variant(v["params"], v["reason"]) for v in message["variants"]]

    def run(self, plan: Plan, watch: Watch | None = None) -> Iterator[Record]:
        """Measure every case of the plan; skips first, then the cases in random order.

        A case whose policy asks for several launches yields a record after each, every
        one holding all samples so far.
        """
        for skip in plan.skips:
            yield Record(skip.case, ref(plan.device), Skip(skip.reason), started_at=_now())
        self._folder = plan.folder
        rounds = max((c.policy.launches for c in plan.cases), default=0)
        earlier: dict[str, Record] = {}
        for turn in range(rounds):
            if turn:
                self.close()
            cases = [c for c in plan.cases if c.policy.launches > turn]
            for case in shuffled(cases, plan.seed + turn):
                record = self._run_case(case, plan, turn, watch)
                if case.key in earlier:
                    record = merged(earlier[case.key], record, plan)
                earlier[case.key] = record
                yield record

    def _run_case(self, case: Case, plan: Plan, turn: int, watch: Watch | None) -> Record:
        if watch is not None:
            watch(case, None)
        listen = (lambda message: watch(case, message)) if watch is not None else None
        started = _now()
        share = replace(case, policy=share_of(case.policy))
        seed = (plan.seed * 1_000_003 + hash_of(case.key) + turn) % 2**31
        try:
            child = self._ready(mode_of(case))
            # The passes of a profile come on top of what the policy allows for.
            more_s = 60.0 + 3 * self._profiling.work_s if self._profiling else 0.0
            timeout_s = case.policy.timeout_s + more_s
            message = child.run(encode_case(share), seed, timeout_s, listen)
        except CaseFailed as error:
            tail = self._drop()
            failure = Failure(error.kind, str(error), tail or None)
            return Record(
                case, ref(plan.device), failure, started_at=started,
                peaks=peaks_of(plan.device, case.precision),
            )  # fmt: skip
        if message["sticky"]:
            self._drop()
        record = decode_record(message["record"])
        return replace(record, case=case)

    def _ready(self, mode: str) -> Child:
        """A worker for this precision mode; a fresh one if the last served another."""
        # Two suites may each have a module of the same name: they never share a process.
        stranger = self._folder != self._started_for
        changed = stranger or self._mode not in (None, mode)
        if self._child is not None and changed and self._job is None:
            self.close()
        if self._child is None:
            self._start()
        self._mode = mode
        assert self._child is not None
        return self._child

    def _start(self) -> Mapping[str, Any]:
        if self._job is not None and self.worker_starts:
            raise GpubenchError(
                f"the ranks of this job ({self._job.by}) cannot be started again; what was"
                " measured is stored: start a new job with --resume"
            )
        environment = {**self._capturing(), **(self._job.environment if self._job else {})}
        self._child, self._mode = Child(self._limit, environment, self._command()), None
        self._started_for = self._folder
        self.worker_starts += 1
        path = user_path(self._folder)
        try:
            return self._child.hello(
                self._request, self._quick, START_TIMEOUT_S, path, self._profiling
            )
        except GpubenchError:
            self._drop()
            raise

    def _command(self) -> Sequence[str]:
        if self._job is not None:
            return ("gpubench.engine.group", "--join")
        if self._nproc > 1:
            return ("gpubench.engine.group", "--nproc", str(self._nproc))
        return ("gpubench.engine.worker",)

    def _capturing(self) -> Mapping[str, str]:
        """What makes NVTX tell a profiled worker everybody's ranges; nothing outside `profile`."""
        if self._profiling is None or self._profiling.no_capture:
            return {}
        try:
            return {ranges.VARIABLE: str(ranges.library())}
        except ranges.CaptureUnavailable as error:
            self._profiling = replace(self._profiling, no_capture=str(error))
            return {}

    def _drop(self) -> str:
        """End a worker that can no longer be trusted; returns the end of its stderr."""
        child, self._child = self._child, None
        if child is None:
            return ""
        child.kill()
        tail = child.stderr_tail()
        child.close()
        return tail

    def close(self) -> None:
        """End the worker. Safe to call twice."""
        child, self._child = self._child, None
        if child is not None:
            child.close()

    def kill(self) -> None:
        """End the worker at once, for an interrupted run."""
        self._drop()


def shuffled(cases: Sequence[Case], seed: int) -> list[Case]:
    """Cases in random order, those of one precision mode together."""
    order = list(cases)
    random.Random(seed).shuffle(order)
    return sorted(order, key=lambda c: mode_of(c) == "tf32")


def user_path(folder: str | None) -> tuple[str, ...]:
    """Where a suite's own code is looked for: beside the suite, then in the current folder."""
    if folder is None:
        return ()
    return tuple(dict.fromkeys((str(Path(folder).resolve()), str(Path.cwd()))))


def mode_of(case: Case) -> str:
    """Cases of different modes must not share a process."""
    return "tf32" if case.precision == "tf32" else "exact"


def hash_of(key: str) -> int:
    """A number from a case key, equal in every process."""
    return zlib.crc32(key.encode())


def share_of(policy: Policy) -> Policy:
    """The part of the budgets that one of several launches gets."""
    n = policy.launches
    if n == 1:
        return policy
    return replace(
        policy, min_time_s=policy.min_time_s / n, max_time_s=policy.max_time_s / n,
        min_samples=max(3, policy.min_samples // n), max_samples=max(3, policy.max_samples // n),
    )  # fmt: skip


def merged(earlier: Record, later: Record, plan: Plan) -> Record:
    """One record of two launches of the same case; a failure of either is kept."""
    a, b = earlier.outcome, later.outcome
    if not isinstance(a, Measurement):
        return earlier
    if not isinstance(b, Measurement):
        return later
    first, second = a.samples, b.samples
    offset = len(first.times_s)
    samples = Samples(
        times_s=first.times_s + second.times_s,
        host_enqueue_s=first.host_enqueue_s + second.host_enqueue_s,
        spoiled={**first.spoiled, **{i + offset: why for i, why in second.spoiled.items()}},
        calls_per_sample=first.calls_per_sample,
        launches=first.launches + second.launches,
    )
    worse = max(
        (x for x in (a.accuracy, b.accuracy) if x is not None),
        key=lambda x: (not x.ok, x.rel_error), default=None,
    )  # fmt: skip
    outcome = replace(
        a, samples=samples, stopped_by=b.stopped_by, accuracy=worse,
        warmup_calls=a.warmup_calls + b.warmup_calls, measuring_s=a.measuring_s + b.measuring_s,
        readings=a.readings + b.readings,
    )  # fmt: skip
    outcome = with_flags(outcome, earlier.case, plan.device, earlier.peaks, plan.quick)
    return replace(earlier, outcome=outcome)


def ref(device: DeviceInfo) -> DeviceRef:
    """What a record keeps of the device."""
    return DeviceRef(device.type, device.name, device.gpu_key)


def device_info(data: Mapping[str, Any]) -> DeviceInfo:
    """A ``DeviceInfo`` from the worker's message."""
    cc = data.get("compute_capability")
    return DeviceInfo(**{**data, "compute_capability": (cc[0], cc[1]) if cc else None})


def available_memory_bytes() -> int | None:
    """Most memory a worker may take: nearly all there is now."""
    available = memory_limit_bytes()
    return int(available * MEMORY_SHARE) if available else None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
