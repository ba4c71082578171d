"""A traced pass: which kernels (or, on CPU, operators) one call runs, and for how long.

``torch.profiler`` slows what it watches, so nothing here is a headline time: kernels are timed
by the device and trustworthy, the gaps between them are not.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

from gpubench.ports import Call, Marked
from gpubench.record import Kernel, Range
from gpubench.telemetry.placing import (
    MARK,
    MODULE,
    Event,
    InRange,
    Launch,
    Placed,
    end_us,
    in_ranges,
    module_name,
    of_kernels,
    time_in_phases,
    with_modules,
)
from gpubench.telemetry.ranges import Captured, capture_events, forget_captured, others

SPAN: Final = "gpubench.call"
"""Name of the range around each traced call."""
_DEVICE: Final = frozenset({"kernel", "gpu_memcpy", "gpu_memset"})
_HOST: Final = "cpu_op"
NO_ENERGY: Final = "energy was not measured"
DIFFERING: Final = "the ranges differ from call to call"


@dataclass(frozen=True, slots=True)
class Trace:
    """What a traced pass saw.

    Attributes:
        kernels: per call, the longest first, apart by the module they are of.
        span_s: median wall time of a traced call, tracing included.
        document: Chrome's trace format, as Perfetto reads it, captured ranges in it.
        ranges: NVTX ranges of others in one call, with their device time where every traced call
            had the same ranges.
        extents: where each of them lies on the device, in shares of the call; None where the device
            had nothing to do in it, or the ranges differ from call to call.
        phases: phase -> device time in seconds of a call that marks its phases.
    """

    kernels: tuple[Kernel, ...]
    span_s: float
    document: Mapping[str, Any] = field(default_factory=dict)
    ranges: tuple[Range, ...] = ()
    extents: tuple[tuple[float, float] | None, ...] = ()
    phases: Mapping[str, float] = field(default_factory=dict)


def trace(call: Call, on_cuda: bool, repeat: int = 3) -> Trace:
    """Trace ``repeat`` calls after one that is not."""
    import torch
    from torch.profiler import ProfilerActivity, profile, record_function

    def wait() -> None:
        if on_cuda:
            torch.cuda.synchronize()

    def mark(phase: str) -> None:
        with record_function(f"{MARK}{phase}"):
            pass

    call()
    wait()
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if on_cuda else [])
    marked: object = call
    anchors = []
    forget_captured()
    with annotated(getattr(call, "torch_module", None)), profile(activities=activities) as profiler:
        for _ in range(repeat):
            before = time.monotonic()
            with record_function(SPAN):
                anchors.append((before, time.monotonic()))
                if isinstance(marked, Marked):
                    marked.run(mark)
                else:
                    call()
                wait()
    captured = others(capture_events())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        document = json.loads(path.read_text())
    return digest(document, repeat, captured, anchors)


@contextmanager
def annotated(module: Any) -> Iterator[None]:
    """Annotations around the forward of every submodule of a torch module, for a traced pass."""
    from torch.profiler import record_function

    hooks = []
    for name, part in module.named_modules() if module is not None else ():
        if not name:
            continue
        name = module_name(name, next(part.children(), None) is None)
        opened: list[Any] = []

        def enter(_module: Any, _inputs: Any, name: str = name, opened: list[Any] = opened) -> None:
            opened.append(record_function(f"{MODULE}{name}"))
            opened[-1].__enter__()

        def leave(_module: Any, _inputs: Any, _out: Any, opened: list[Any] = opened) -> None:
            opened.pop().__exit__(None, None, None)

        hooks += [
            part.register_forward_pre_hook(enter),
            part.register_forward_hook(leave, always_call=True),
        ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def digest(
    document: Mapping[str, Any],
    repeat: int,
    captured: Sequence[Captured] = (),
    anchors: Sequence[tuple[float, float]] = (),
) -> Trace:
    """What a Chrome trace with ``repeat`` spans holds.

    Args:
        captured: NVTX ranges of the same time, on the monotonic clock.
        anchors: monotonic times just before and after the beginning of each span.
    """
    events = [e for e in document.get("traceEvents", ()) if e.get("ph") == "X"]
    spans = [e for e in events if e.get("name") == SPAN and e.get("cat") == "user_annotation"]
    spans.sort(key=lambda e: float(e["ts"]))
    lengths = sorted(float(e["dur"]) * 1e-6 for e in spans)
    device = [e for e in events if e.get("cat") in _DEVICE]
    found = of_kernels(events, device) if device else _on_host(events, spans)
    found = with_modules(found, events)
    placed = _on_axis(captured, spans, anchors)
    caller = spans[0].get("tid") if spans else None
    inside, found = in_ranges(found, placed, caller)
    ranges, extents = _ranges(placed, inside, spans)
    return Trace(
        tuple(sorted(_kernels(found, repeat), key=lambda k: -k.time_s)),
        lengths[len(lengths) // 2] if lengths else 0.0,
        _with_ranges(document, placed, spans),
        ranges,
        extents,
        {name: us * 1e-6 / repeat for name, us in time_in_phases(found, events, spans).items()},
    )


def _kernels(found: Sequence[Launch], repeat: int) -> list[Kernel]:
    """Launches by kernel, module and range; grid and block are those of the longest launch."""
    groups: dict[tuple[str, str | None, str | None], list[Launch]] = defaultdict(list)
    for one in found:
        groups[str(one.event["name"]), one.module, one.range].append(one)
    kernels = []
    for (name, module, within), group in groups.items():
        arguments = max(group, key=lambda x: x.own_us).event.get("args", {})
        kernels.append(
            Kernel(
                name=name,
                count=len(group) / repeat,
                time_s=max(0.0, sum(x.own_us for x in group)) * 1e-6 / repeat,
                grid=_shape(arguments.get("grid")),
                block=_shape(arguments.get("block")),
                module=module,
                range=within,
            )
        )
    return kernels


def _shape(value: object) -> tuple[int, ...]:
    return tuple(int(v) for v in value) if isinstance(value, list | tuple) else ()


def _on_host(events: Iterable[Event], spans: Sequence[Event]) -> list[Launch]:
    """Operators on CPU by their own time: what operators they call takes is not theirs."""
    threads: dict[object, list[Event]] = defaultdict(list)
    for e in events:
        if e.get("cat") == _HOST and any(
            float(s["ts"]) <= float(e["ts"]) <= end_us(s) for s in spans
        ):
            threads[e.get("tid")].append(e)
    found = []
    for thread, group in threads.items():
        group.sort(key=lambda e: (float(e["ts"]), -float(e["dur"])))
        own = [float(e["dur"]) for e in group]
        stack: list[int] = []
        for i, e in enumerate(group):
            while stack and end_us(group[stack[-1]]) <= float(e["ts"]):
                stack.pop()
            if stack:
                own[stack[-1]] -= float(e["dur"])
            stack.append(i)
        found += [Launch(float(e["ts"]), thread, t, e) for e, t in zip(group, own, strict=True)]
    return found


def _on_axis(
    captured: Sequence[Captured], spans: Sequence[Event], anchors: Sequence[tuple[float, float]]
) -> list[Placed]:
    """Captured ranges on the axis of the trace, by the beginning of the span best pinned down."""
    pinned = sorted(
        (after - before, float(span["ts"]) - 1e6 * (before + after) / 2)
        for span, (before, after) in zip(spans, anchors, strict=False)
    )
    if not pinned:
        return []
    shift = pinned[0][1]
    return [
        Placed(c.range.name, 1e6 * c.range.start_s + shift, 1e6 * c.range.end_s + shift,
               c.range.depth, c.thread)
        for c in captured
    ]  # fmt: skip


def _ranges(
    placed: Sequence[Placed], inside: Sequence[InRange], spans: Sequence[Event]
) -> tuple[tuple[Range, ...], tuple[tuple[float, float] | None, ...]]:
    """The ranges of the last traced call; device times are medians over the calls."""
    calls = []
    for s in spans:
        calls.append([(p, i) for p, i in zip(placed, inside, strict=True)
                      if float(s["ts"]) <= p.start_us and p.end_us <= end_us(s)])  # fmt: skip
    if not calls:
        return (), ()
    alike = len({tuple((p.name, p.depth) for p, _ in one) for one in calls}) == 1
    begun, length = float(spans[-1]["ts"]), float(spans[-1]["dur"])
    found: list[Range] = []
    extents: list[tuple[float, float] | None] = []
    for n, (p, i) in enumerate(calls[-1]):
        device_s = median(one[n][1].spent_us for one in calls) * 1e-6 if alike else None
        reason = NO_ENERGY if alike else DIFFERING
        start_s, end_s = (p.start_us - begun) * 1e-6, (p.end_us - begun) * 1e-6
        found.append(Range(p.name, start_s, end_s, p.depth, device_s, None, reason))
        there = alike and i.spent_us > 0 and length > 0
        share = (i.first_us - begun) / length, (i.last_us - begun) / length
        extents.append(share if there else None)
    return tuple(found), tuple(extents)


def _with_ranges(
    document: Mapping[str, Any], placed: Sequence[Placed], spans: Sequence[Event]
) -> Mapping[str, Any]:
    """The trace with captured ranges as slices of their threads."""
    process = spans[0].get("pid") if spans else 0
    slices = [
        {"ph": "X", "cat": "nvtx", "name": p.name, "pid": process, "tid": p.thread,
         "ts": p.start_us, "dur": p.end_us - p.start_us}
        for p in placed
    ]  # fmt: skip
    return {**document, "traceEvents": [*document.get("traceEvents", ()), *slices]}


def with_power(
    document: Mapping[str, Any], readings: Sequence[tuple[float, float]]
) -> dict[str, Any]:
    """The trace with power as a counter on the same time axis.

    Args:
        readings: (Unix time in seconds, watts).
    """
    base_us = float(document.get("baseTimeNanoseconds", 0)) / 1e3
    counters = [
        {"name": "power", "ph": "C", "pid": 0, "ts": t * 1e6 - base_us, "args": {"W": watts}}
        for t, watts in readings
    ]
    return {**document, "traceEvents": [*document.get("traceEvents", ()), *counters]}
