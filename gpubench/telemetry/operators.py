"""Which operators a step is made of, and what each takes, from a traced pass.

On a GPU an operator has the device time of the kernels that were launched within it: the
profiler gives a kernel the ``External id`` of the innermost operator around its launch. On a
CPU it has its own time, without that of the operators it calls. Tracing slows the host, so
these are shares of a step, never its headline time.
"""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

from gpubench.record import Operator

STEP: Final = "gpubench.step"
PHASE: Final = "gpubench.phase."
"""Names of the marks at the ends of phases begin so."""
DEVICE: Final = frozenset({"kernel", "gpu_memcpy", "gpu_memset"})
HOST: Final = "cpu_op"
Event = Mapping[str, Any]


def traced_operators(
    run: Callable[[Callable[[str], None]], object], on_cuda: bool, repeat: int = 3
) -> list[Operator]:
    """Trace ``repeat`` steps after one that is not.

    Args:
        run: does a step and calls its argument with the name of each phase that ends.

    Raises:
        RuntimeError: the profiler cannot be used.
    """
    import torch
    from torch.profiler import ProfilerActivity, profile, record_function

    def mark(phase: str) -> None:
        with record_function(PHASE + phase):
            pass

    def wait() -> None:
        if on_cuda:
            torch.cuda.synchronize()

    run(mark)
    wait()
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if on_cuda else [])
    with profile(activities=activities) as profiler:
        for _ in range(repeat):
            with record_function(STEP):
                run(mark)
                wait()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        return operators_of(json.loads(path.read_text()))


def operators_of(document: Event) -> list[Operator]:
    """Operators of a Chrome trace of some steps, the longest first; medians over the steps."""
    events = [e for e in document.get("traceEvents", ()) if e.get("ph") == "X"]
    marks = [e for e in events if e.get("cat") == "user_annotation"]
    spans = sorted((float(e["ts"]), _end(e)) for e in marks if e.get("name") == STEP)
    ends = sorted(
        (float(e["ts"]), str(e["name"]).removeprefix(PHASE))
        for e in marks
        if str(e.get("name", "")).startswith(PHASE)
    )
    device = [e for e in events if e.get("cat") in DEVICE]
    host = [e for e in events if e.get("cat") == HOST]
    found = _launched(device, host) if device else own_times(host)
    steps: list[_Step] = [defaultdict(lambda: [0.0, 0.0]) for _ in spans]
    for e, time_us in found:
        at = float(e["ts"])
        for (begin, end), sums in zip(spans, steps, strict=True):
            if begin <= at <= end:
                phase = _phase(at, end, ends) if e.get("cat") == HOST else ""
                entry = sums[str(e["name"]), phase]
                entry[0] += 1
                entry[1] += time_us
    return _typical(steps)


def _phase(at: float, end: float, ends: Sequence[tuple[float, str]]) -> str:
    """The phase that ends next, or the last of the step ending at ``end``."""
    following = next((name for t, name in ends if at <= t <= end), None)
    if following is not None:
        return following
    return next((name for t, name in reversed(ends) if t <= end), "")


_Step = dict[tuple[str, str], list[float]]
"""(operator, phase) -> [calls, microseconds] of one step."""


def _typical(steps: Sequence[_Step]) -> list[Operator]:
    """Medians over the steps: one that was interrupted must not decide a share."""
    operators = []
    for name, phase in dict.fromkeys(key for sums in steps for key in sums):
        seen = [sums.get((name, phase), [0.0, 0.0]) for sums in steps]
        count, time_us = (median(values) for values in zip(*seen, strict=True))
        if time_us > 0:
            operators.append(Operator(name, phase, count, time_us * 1e-6))
    return sorted(operators, key=lambda o: -o.time_s)


def _launched(device: Sequence[Event], host: Sequence[Event]) -> Iterator[tuple[Event, float]]:
    """(operator, device microseconds), one a kernel; the kernel itself where none launched it."""
    by_id = {e["args"]["External id"]: e for e in host if "External id" in e.get("args", {})}
    for kernel in device:
        launcher = by_id.get(kernel.get("args", {}).get("External id"), kernel)
        yield launcher, float(kernel["dur"])


def own_times(events: Iterable[Event]) -> Iterator[tuple[Event, float]]:
    """(operator, its microseconds without those of operators within it), a thread at a time."""
    threads: dict[object, list[Event]] = defaultdict(list)
    for e in events:
        threads[e.get("tid")].append(e)
    for group in threads.values():
        ordered = sorted(group, key=lambda e: (float(e["ts"]), -float(e["dur"])))
        own = [float(e["dur"]) for e in ordered]
        stack: list[int] = []
        for i, e in enumerate(ordered):
            while stack and _end(ordered[stack[-1]]) <= float(e["ts"]):
                stack.pop()
            if stack:
                own[stack[-1]] -= float(e["dur"])
            stack.append(i)
        yield from zip(ordered, own, strict=True)


def _end(event: Event) -> float:
    return float(event["ts"]) + float(event["dur"])
