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
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Final

from gpubench.analysis.results import Result
from gpubench.catalogue import GpuSpec, find
from gpubench.errors import InputError
from gpubench.model.calibration import clocks_of
from gpubench.model.prediction import STEPS, predict_cases
from gpubench.units import scaled

SWITCHED: Final = "tensor_cores_not_used"
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


@dataclass(frozen=True, slots=True)
class _Expected:
    """The model's terms of a case.

    Attributes:
        blocks: thread blocks of the tiling that the model chose; None where it has none.
    """

    predicted_s: float
    compute_s: float
    on_tensor_cores: bool
    blocks: float | None


@dataclass(frozen=True, slots=True)
class _Case:
    """A result with the model's terms of its work, and of the same work in FP32."""

    result: Result
    expected: _Expected | None
    plain: _Expected | None


def attribute(result: Result) -> tuple[Part, ...]:
    """Parts of measured minus predicted; empty where there is no prediction."""
    return attribute_all([result])[0]


def attribute_all(results: Sequence[Result]) -> list[tuple[Part, ...]]:
    """The same of many results, in their order, predicted together."""
    own = _expected(results, [r.record.case.precision for r in results])
    switched = [r for r in results if SWITCHED in r.flags]
    plain = dict(zip(map(id, switched), _expected(switched, ["fp32"] * len(switched)), strict=True))
    return [
        _parts(_Case(r, e, plain.get(id(r)))) for r, e in zip(results, own, strict=True)
    ]  # fmt: skip


def _expected(results: Sequence[Result], precisions: Sequence[str]) -> list[_Expected | None]:
    """The model's terms; None for what the model has no word on.

    Whole steps are traced one by one and have no tiling: only where their kernels are in question.
    """
    found: list[_Expected | None] = [None] * len(results)
    cases = [r.record.case for r in results]
    known = [
        i for i, (r, case) in enumerate(zip(results, cases, strict=True))
        if r.summary is not None and r.record.device.gpu_key is not None
        and (case.workload not in STEPS or SWITCHED in r.flags)
    ]  # fmt: skip
    gpus = {key: _gpu(key) for key in {results[i].record.device.gpu_key or "" for i in known}}
    rows = predict_cases([
        (gpus[results[i].record.device.gpu_key or ""], cases[i].workload, precisions[i],
         cases[i].params) for i in known
    ])  # fmt: skip
    for n, i in enumerate(known):
        if n not in rows.errors:
            blocks = float(rows.blocks[n])
            found[i] = _Expected(
                float(rows.predicted_s[n]), float(rows.compute_s[n]),
                bool(rows.on_tensor_cores[n]), None if math.isnan(blocks) else blocks,
            )  # fmt: skip
    return found


def _gpu(key: str) -> GpuSpec | None:
    try:
        return find(key)
    except InputError:
        return None


def _parts(case: _Case) -> tuple[Part, ...]:
    result = case.result
    s, model = result.summary, result.record.model
    if s is None or model.predicted_s is None:
        return ()
    difference = left = s.median_s - model.predicted_s
    parts = []
    for part in (_launch(result), _clock(result), _kernel(case), _waves(case), _cache(result)):
        if part is None:
            continue
        seconds = _within(part.seconds, left)
        if seconds:
            parts.append(replace(part, seconds=seconds))
            left -= seconds
    rest = difference - sum(p.seconds for p in parts)
    inside = model.low_s is not None and model.low_s <= s.median_s <= (model.high_s or 0.0)
    hints = "; ".join(_hints(case))
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
    clocks, gpu = clocks_of(result.record), _gpu(key)
    if not clocks or gpu is None or not gpu.boost_hz:
        return None
    boost_hz, clock_hz = gpu.boost_hz, median(clocks)
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


def _kernel(case: _Case) -> Part | None:
    """Time lost to CUDA cores where Tensor Cores were expected."""
    expected, plain = case.expected, case.plain
    if expected is None or plain is None or not expected.on_tensor_cores:
        return None
    lost = plain.predicted_s - expected.predicted_s
    return Part("kernel", lost, "another kernel than expected: it ran on CUDA cores")


def _waves(case: _Case) -> Part | None:
    """Time that the last wave of the traced kernel cost more than that of the model's tiling."""
    m, model = case.result.measurement, case.expected
    if m is None or model is None or model.blocks is None or not m.kernels:
        return None
    main, whole = m.kernels[0], sum(k.time_s for k in m.kernels)
    key = case.result.record.device.gpu_key
    alike = sum(k.time_s for k in m.kernels if (k.name, k.grid) == (main.name, main.grid))
    if not main.grid or key is None or alike < _MAIN_SHARE * whole:
        return None
    sm = find(key).sm_count
    blocks = float(math.prod(main.grid))
    expected = model.blocks
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


def _hints(case: _Case) -> list[str]:
    result = case.result
    m, found = result.measurement, []
    if SWITCHED in result.flags:
        found.append("Tensor Cores were asked for and did not run")
    model = case.expected if m is not None and not m.kernels else None
    if model is not None and model.blocks is not None:
        key = result.record.device.gpu_key
        filled = model.blocks / find(key or "").sm_count
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
