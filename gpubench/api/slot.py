"""One device of a fleet: what a node does when it is told to measure. Runs on the node."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from gpubench.api.running import (
    Notes,
    RunRequest,
    clocks,
    new_run,
    plan_digest,
    plan_suites,
    remaining,
)
from gpubench.codec import dumps, encode_record, encode_run
from gpubench.errors import GpubenchError
from gpubench.launch.local import LocalLauncher
from gpubench.record import Run
from gpubench.spec import Suite
from gpubench.store.points import device_id

TARGET: Final = f"{__name__}:measure"

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Earlier:
    """A run of the same fleet that is not complete, or is.

    Attributes:
        done: (benchmark, case key) of what need not be measured again.
    """

    run: Run
    done: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Job:
    """What a slot is asked to do; travels pickled, between equal versions of gpubench.

    Attributes:
        suites: read and validated where the fleet was started; nodes need no files.
        slot: its name, kept in the settings of the run.
        earlier: device -> suite -> what this fleet has of it already.
        choose: hold every GPU of the node and take one that ``earlier`` does not have whole:
            a second attempt must not be given a GPU that was measured meanwhile.
    """

    request: RunRequest
    suites: tuple[Suite, ...]
    seed: int
    slot: str
    earlier: Mapping[str, Mapping[str, Earlier]] = field(default_factory=dict)
    choose: bool = False


def measure(payload: bytes) -> Iterator[Message]:
    """Measure suites on the device of this process, a message a record.

    Yields:
        ``head`` with a run and what is left of it, ``record`` each, ``end`` of the run;
        ``nothing`` where the device was measured whole before; ``refused`` with the problem
        and the mend where this node cannot measure.
    """
    job: Job = pickle.loads(payload)
    try:
        yield from _measured(job)
    except GpubenchError as error:
        yield {"event": "refused", "problem": _with_mend(str(error))}


def _measured(job: Job) -> Iterator[Message]:
    if job.choose:
        os.environ["CUDA_VISIBLE_DEVICES"] = _unmeasured(job)
    request = job.request
    told: list[str] = []
    with LocalLauncher(
        request.device, quick=request.quick, folder=job.suites[0].folder
    ) as launcher:
        info, environment = launcher.connect()
        device, idle = device_id(environment), True
        with clocks(request, info, Notes(told.append)):
            for name, suite in zip(request.suites, job.suites, strict=True):
                (plan,) = map(launcher.expand, plan_suites(request, [suite], info, job.seed))
                known = job.earlier.get(device, {}).get(suite.name)
                if known is None:
                    fresh = new_run(request, name, plan, environment)
                    known = Earlier(replace(fresh, settings={**fresh.settings, "slot": job.slot}))
                elif known.run.settings.get("plan") != plan_digest(plan):
                    problem = f"suite {suite.name} has changed since the fleet began: a new fleet"
                    yield {"event": "refused", "problem": problem}
                    return
                left = remaining(plan, known.done)
                if not left.cases and not left.skips:
                    continue
                idle = False
                positions = {key: i for i, key in enumerate(plan.order)}
                head = replace(known.run, status="running", finished_at=None)
                yield {"event": "head", "run": dumps(encode_run(head)), "device": device,
                       "todo": len(left.cases), "notes": told}  # fmt: skip
                for record in launcher.run(left):
                    at = positions[record.case.key]
                    yield {"event": "record", "run": head.id, "position": at,
                           "record": dumps(encode_record(record))}  # fmt: skip
                yield {"event": "end", "run": head.id}
    if idle:
        yield {"event": "nothing", "device": device}


def _unmeasured(job: Job) -> str:
    """UUID of a GPU that is not measured whole yet; begun ones first."""
    from gpubench.telemetry.nvml import NvmlUnavailable, gpu_uuids

    try:
        here = gpu_uuids()
    except NvmlUnavailable as error:
        raise GpubenchError(f"the GPU to measure cannot be chosen: {error}") from error
    return choose(here, job.earlier, [s.name for s in job.suites])


def choose(
    here: Sequence[str],
    earlier: Mapping[str, Mapping[str, Earlier]],
    suites: Sequence[str],
) -> str:
    """Of the GPUs of a node one that was begun and not finished, else one that was not begun.

    Raises:
        GpubenchError: every one was measured.
    """
    begun = [u for u in here if u in earlier and not _whole(earlier[u], suites)]
    fresh = [u for u in here if u not in earlier]
    if not begun and not fresh:
        raise GpubenchError("every GPU of the node was measured")
    return (begun or fresh)[0]


def _whole(found: Mapping[str, Earlier], suites: Sequence[str]) -> bool:
    return all(s in found and len(found[s].done) >= (found[s].run.planned or 0) for s in suites)


def _with_mend(problem: str) -> str:
    """A problem in one line, with what to install where a module is missing."""
    lines = problem.strip().splitlines()
    missing = next((x for x in reversed(lines) if "No module named" in x), None)
    if missing is None:
        return " ".join(lines)[:500]
    name = missing.rpartition("'")[0].rpartition("'")[2]
    return f"{lines[0].rstrip(':')}: {missing.strip()}: pip install {name}"
