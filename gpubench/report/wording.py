"""Words for the codes in a record: methods, cache states, stop reasons, provenance."""

from __future__ import annotations

from typing import Final

from gpubench.analysis.results import MEASURED_CPU, MEASURED_CUDA, PREDICTED, PUBLISHED
from gpubench.record import Summary
from gpubench.units import percent

METHODS: Final = {
    "loop": "calls timed together with the CPU clock",
    "events": "one CUDA event pair a sample, cache flushed before each",
    "graph_slope": "CUDA graphs of N and 2N calls; the time is the slope, so launch cost cancels",
    "stream_slope": "N and 2N calls in a stream; the time is the slope, so fixed cost cancels",
    "nccl-tests": "nccl-tests' own: the mean over its iterations, imported",
    "ranks": "all ranks meet, each times its calls, the slowest counts (as nccl-tests)",
}
CACHES: Final = {
    "cold": "flushed before every sample",
    "rotating": "input sets rotate, together larger than the last-level cache",
    "hot": "inputs stay in cache",
}
STOPS: Final = {
    "target_ci": "the target interval was reached",
    "stable_noise": "more samples would no longer have narrowed the interval in time",
    "max_time": "the time budget ended",
    "max_samples": "the largest number of samples was reached",
}
FAILURES: Final = {
    "error": "error",
    "out_of_memory": "out of memory",
    "timeout": "timeout",
    "crash": "crash",
    "wrong_result": "wrong result",
}
TENSOR_CORES: Final = {
    "used": "used",
    "not_used": "not used",
    "unknown": "unknown",
    "not_applicable": "not applicable",
}
MARKERS: Final = {
    MEASURED_CUDA: "filled marker; timed on a CUDA device in this run",
    MEASURED_CPU: "open marker, “(CPU)”; timed on a CPU, so it says nothing about a GPU",
    PUBLISHED: "marker with a dot; taken from a published source, which is named",
    PREDICTED: "words only, in the details of a case; computed by the cost model, with its band",
}
"""Provenance -> how a chart marks it, without colour."""


def explained(code: str, words: dict[str, str]) -> str:
    """A code with what it means: ``loop: calls timed ...``."""
    name = code.replace("_", " ")
    return f"{name}: {words[code]}" if code in words else name


def plus_minus(summary: Summary) -> str:
    """Half the 95 % interval of the median, relative: ``±0.12 %``."""
    if summary.n < 2:
        return "one sample"
    if summary.rel_ci > 9.99:
        return "±>999 %"
    return "±<0.01 %" if summary.rel_ci < 5e-5 else f"±{percent(summary.rel_ci)}"
