"""Measured minus modelled time of a case, split into what the measurement itself can tell.

    measured - predicted = launch + clock + rest

*launch*: where the host took longer to submit a call than the device would have run it, the
device waited for the difference. *clock*: where the SM clock during the measurement was below
the boost clock that the datasheet rate assumes, compute-bound work took longer by that factor,
beyond what the prediction already allows for the power limit. The *rest* is unexplained: another
kernel than expected, cache, quantisation, or the model's own error; hints are given, not
seconds, since nothing measured says how many.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from gpubench.analysis.results import Result
from gpubench.catalogue import find
from gpubench.errors import InputError


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the difference.

    Attributes:
        name: ``launch``, ``clock`` or ``rest``.
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
    difference = s.median_s - model.predicted_s
    parts = [p for p in (_launch(result), _clock(result)) if p is not None]
    rest = difference - sum(p.seconds for p in parts)
    inside = model.low_s is not None and model.low_s <= s.median_s <= (model.high_s or 0.0)
    hints = "; ".join(_hints(result))
    why = "within the band of the model" if inside else "outside the band of the model"
    return (*parts, Part("rest", rest, f"{why}{'; ' + hints if hints else ''}"))


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


def _hints(result: Result) -> list[str]:
    m, found = result.measurement, []
    if "tensor_cores_not_used" in result.flags:
        found.append("Tensor Cores were asked for and did not run")
    if "not_true_fp32" in result.flags:
        found.append("Tensor Cores ran where true FP32 was asked for")
    if "hot_cache" in result.flags:
        found.append("operands stayed in L2, which the model does not count on")
    if m is not None and m.facts.get("cudnn.numerical_notes"):
        found.append(f"cuDNN notes {m.facts['cudnn.numerical_notes']}")
    return found
