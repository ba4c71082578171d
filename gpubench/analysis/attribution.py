"""Measured minus modelled time of a case, split into what the measurement itself can tell.

    measured - predicted = launch + clock + waves + kernel + cache + rest

*launch*: where the host took longer to submit a call than the device would have run it, the
device waited for the difference. *clock*: where the SM clock during the measurement was below
the boost clock that the datasheet rate assumes, compute-bound work took longer by that factor,
beyond what the prediction already allows for the power limit. *waves*: where the traced kernel's
grid fills the multiprocessors worse (or better) in its last wave than the tiling that the model
chose, the arithmetic took longer (or less) by that. *kernel*: where Tensor Cores were asked for and
did not run, the model's time of the same product on CUDA cores, less what it expected. *cache*:
where the operands stayed in L2 and a memory-bound call was faster than memory, the time saved.
The *rest* is unexplained: other effects, or the model's own error; hints are given, not seconds,
since nothing measured says how many. None explains more than there is left to explain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import median
from typing import Final

from gpubench.analysis.results import Result
from gpubench.catalogue import find
from gpubench.errors import InputError
from gpubench.model.prediction import Prediction, predict
from gpubench.units import scaled

_MAIN_SHARE: Final = 0.8
"""Share of a call's kernels that one must have for its grid to speak for the call."""
_ILL_FILLED: Final = 0.05
"""Share of the predicted time that an ill filled last wave costs, to be worth a hint."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the difference.

    Attributes:
        name: ``launch``, ``clock``, ``waves``, ``kernel``, ``cache`` or ``rest``.
        seconds: positive where it made the case slower than predicted.
        why: in words, with the figures it rests on.
    """

    name: str
    seconds: float
    why: str


def attribute(result: Result) -> tuple[Part, ...]:
    """Parts of measured minus predicted; empty where there is no prediction."""
    s, model = result.summary, result.record.model
    if s is None or model.predicted_s is None:
        return ()
    difference = left = s.median_s - model.predicted_s
    parts = []
    for look in (_launch, _clock, _kernel, _waves, _cache):
        part = look(result)
        if part is None:
            continue
        seconds = _within(part.seconds, left)
        if seconds:
            parts.append(replace(part, seconds=seconds))
            left -= seconds
    rest = difference - sum(p.seconds for p in parts)
    inside = model.low_s is not None and model.low_s <= s.median_s <= (model.high_s or 0.0)
    hints = "; ".join(_hints(result))
    why = "within the band of the model" if inside else "outside the band of the model"
    return (*parts, Part("rest", rest, f"{why}{'; ' + hints if hints else ''}"))


def _within(seconds: float, left: float) -> float:
    """As much of ``seconds`` as is left to explain in its direction."""
    if seconds > 0:
        return min(seconds, max(0.0, left))
    return max(seconds, min(0.0, left))


def _launch(result: Result) -> Part | None:
    s, predicted = result.summary, result.record.model.predicted_s
    if s is None or predicted is None or s.host_enqueue_s is None:
        return None
    waited = s.host_enqueue_s - predicted
    if "launch_bound" not in result.flags or waited <= 0:
        return None
    waited = min(waited, max(0.0, s.median_s - predicted))
    return Part("launch", waited, "the host submits calls slower than the device runs them")


def _clock(result: Result) -> Part | None:
    """Time lost to a clock below boost, where compute is what binds."""
    m, s, key = result.measurement, result.summary, result.record.device.gpu_key
    model = result.record.model
    if m is None or s is None or key is None or model.bound != "compute":
        return None
    clocks = [r.values["clock_hz"] for r in m.readings if "clock_hz" in r.values]
    try:
        boost_hz = find(key).boost_hz
    except InputError:
        return None
    if not clocks or not boost_hz:
        return None
    clock_hz = median(clocks)
    predicted = model.predicted_s or 0.0
    lost = predicted * (boost_hz / clock_hz - 1)
    if lost <= 0.01 * predicted:
        return None
    # The prediction may have allowed for part of it: it never explains more than there is.
    lost = min(lost, max(0.0, s.median_s - predicted))
    reasons = sorted({reason for r in m.readings for reason in r.reasons} - {"gpu_idle"})
    because = f" ({', '.join(reasons)})" if reasons else ""
    ghz = f"{clock_hz / 1e9:.2f} GHz of {boost_hz / 1e9:.2f} GHz boost"
    return Part("clock", lost, f"the SM clock was {ghz}{because}")


def _modelled(result: Result, precision: str | None = None) -> Prediction | None:
    """The model's terms of the case, or of the same work in another precision."""
    case, key = result.record.case, result.record.device.gpu_key
    if key is None:
        return None
    try:
        return predict(find(key), case.workload, precision or case.precision, case.params)
    except (InputError, KeyError, ValueError):
        return None  # a workload the model has no word on


def _kernel(result: Result) -> Part | None:
    """Time lost to CUDA cores where Tensor Cores were expected."""
    if "tensor_cores_not_used" not in result.flags:
        return None
    expected, plain = _modelled(result), _modelled(result, "fp32")
    if expected is None or plain is None or not expected.on_tensor_cores:
        return None
    lost = plain.predicted_s - expected.predicted_s
    return Part("kernel", lost, "another kernel than expected: it ran on CUDA cores")


def _waves(result: Result) -> Part | None:
    """Time that the last wave of the traced kernel cost more than that of the model's tiling."""
    m, model = result.measurement, _modelled(result)
    if m is None or model is None or "waves" not in model.terms or not m.kernels:
        return None
    main, whole = m.kernels[0], sum(k.time_s for k in m.kernels)
    key = result.record.device.gpu_key
    if not main.grid or key is None or main.time_s < _MAIN_SHARE * whole:
        return None
    sm = find(key).sm_count
    blocks = float(math.prod(main.grid))
    expected = float(model.terms["blocks"].value[0])
    # Of the same work, cut into other tiles: only how well the last wave is filled differs.
    ours, theirs = (math.ceil(b / sm) / (b / sm) for b in (blocks, expected))
    seconds = model.compute_s * (ours / theirs - 1)
    if abs(seconds) < 0.01 * model.predicted_s:
        return None
    waves, assumed = math.ceil(blocks / sm), math.ceil(expected / sm)
    return Part(
        "waves", seconds,
        f"{blocks:g} blocks run in {waves} waves on {sm} multiprocessors, {1 / ours:.0%} of them"
        f" filled; the model assumed {expected:g} in {assumed}, {1 / theirs:.0%} filled",
    )  # fmt: skip


def _cache(result: Result) -> Part | None:
    """Time saved where a memory-bound call had its operands in L2."""
    s, model = result.summary, result.record.model
    if "hot_cache" not in result.flags or model.bound != "memory" or s is None:
        return None
    saved = s.median_s - (model.predicted_s or 0.0)
    return Part("cache", saved, "operands stayed in L2: faster than memory") if saved < 0 else None


def _hints(result: Result) -> list[str]:
    m, found = result.measurement, []
    if "tensor_cores_not_used" in result.flags:
        found.append("Tensor Cores were asked for and did not run")
    model = _modelled(result) if m is not None and not m.kernels else None
    if model is not None and "waves" in model.terms:
        key = result.record.device.gpu_key
        filled = float(model.terms["blocks"].value[0]) / find(key or "").sm_count
        lost = model.compute_s * (1 - filled / math.ceil(filled))
        if lost > _ILL_FILLED * (result.record.model.predicted_s or 0.0):
            found.append(f"the prediction holds {scaled(lost, 's')} of a last wave ill filled")
    if "not_true_fp32" in result.flags:
        found.append("Tensor Cores ran where true FP32 was asked for")
    if "hot_cache" in result.flags:
        found.append("operands stayed in L2, which the model does not count on")
    if m is not None and m.facts.get("cudnn.numerical_notes"):
        found.append(f"cuDNN notes {m.facts['cudnn.numerical_notes']}")
    return found
