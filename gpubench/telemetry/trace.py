"""A traced pass: which kernels (or, on CPU, operators) one call runs, and for how long.

``torch.profiler`` slows what it watches, so nothing here is a headline time: kernels are timed
by the device and trustworthy, the gaps between them are not.
"""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from gpubench.ports import Call
from gpubench.record import Kernel

SPAN: Final = "gpubench.call"
"""Name of the range around each traced call."""
_DEVICE: Final = frozenset({"kernel", "gpu_memcpy", "gpu_memset"})
_HOST: Final = "cpu_op"


@dataclass(frozen=True, slots=True)
class Trace:
    """What a traced pass saw.

    Attributes:
        kernels: per call, the longest first.
        span_s: median wall time of a traced call, tracing included.
        document: Chrome's trace format, as Perfetto reads it.
    """

    kernels: tuple[Kernel, ...]
    span_s: float
    document: Mapping[str, Any] = field(default_factory=dict)


def trace(call: Call, on_cuda: bool, repeat: int = 3) -> Trace:
    """Trace ``repeat`` calls after one that is not."""
    import torch
    from torch.profiler import ProfilerActivity, profile, record_function

    def wait() -> None:
        if on_cuda:
            torch.cuda.synchronize()

    call()
    wait()
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if on_cuda else [])
    with profile(activities=activities) as profiler:
        for _ in range(repeat):
            with record_function(SPAN):
                call()
                wait()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        document = json.loads(path.read_text())
    return digest(document, repeat)


def digest(document: Mapping[str, Any], repeat: int) -> Trace:
    """Kernels of a Chrome trace with ``repeat`` spans, by name.

    A kernel's grid and block are those of its longest launch.
    """
    events = [e for e in document.get("traceEvents", ()) if e.get("ph") == "X"]
    spans = [e for e in events if e.get("name") == SPAN and e.get("cat") == "user_annotation"]
    lengths = sorted(float(e["dur"]) * 1e-6 for e in spans)
    device = [e for e in events if e.get("cat") in _DEVICE]
    found = _on_device(device, repeat) if device else _on_host(events, spans, repeat)
    ordered = tuple(sorted(found, key=lambda k: -k.time_s))
    return Trace(ordered, lengths[len(lengths) // 2] if lengths else 0.0, document)


def _on_device(events: Iterable[Mapping[str, Any]], repeat: int) -> list[Kernel]:
    groups: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for e in events:
        groups[str(e["name"])].append(e)
    kernels = []
    for name, group in groups.items():
        longest = max(group, key=lambda e: float(e["dur"]))
        arguments = longest.get("args", {})
        kernels.append(
            Kernel(
                name=name,
                count=len(group) / repeat,
                time_s=sum(float(e["dur"]) for e in group) * 1e-6 / repeat,
                grid=_shape(arguments.get("grid")),
                block=_shape(arguments.get("block")),
                module=str(arguments.get("Module Hierarchy") or "") or None,
            )
        )
    return kernels


def _shape(value: object) -> tuple[int, ...]:
    return tuple(int(v) for v in value) if isinstance(value, list | tuple) else ()


def _on_host(
    events: Iterable[Mapping[str, Any]], spans: Sequence[Mapping[str, Any]], repeat: int
) -> list[Kernel]:
    """Operators on CPU by their own time: what operators they call takes is not theirs."""
    inside = [
        e
        for e in events
        if e.get("cat") == _HOST
        and any(float(s["ts"]) <= float(e["ts"]) <= float(s["ts"]) + float(s["dur"]) for s in spans)
    ]
    own: dict[str, float] = defaultdict(float)
    counts: dict[str, int] = defaultdict(int)
    threads: dict[object, list[Mapping[str, Any]]] = defaultdict(list)
    for e in inside:
        threads[e.get("tid")].append(e)
    for group in threads.values():
        stack: list[Mapping[str, Any]] = []
        for e in sorted(group, key=lambda e: (float(e["ts"]), -float(e["dur"]))):
            while stack and _end(stack[-1]) <= float(e["ts"]):
                stack.pop()
            if stack:
                own[str(stack[-1]["name"])] -= float(e["dur"])
            own[str(e["name"])] += float(e["dur"])
            counts[str(e["name"])] += 1
            stack.append(e)
    return [
        Kernel(name=name, count=counts[name] / repeat, time_s=max(0.0, us) * 1e-6 / repeat)
        for name, us in own.items()
    ]


def _end(event: Mapping[str, Any]) -> float:
    return float(event["ts"]) + float(event["dur"])


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
