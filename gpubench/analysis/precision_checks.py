"""Was the precision that was asked for the one that ran? By switches, and by the errors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from gpubench.analysis.findings import Finding, cases_text
from gpubench.analysis.results import Result

_ROUNDING: Final = frozenset({"gemm", "linear", "conv2d", "attention", "rnn"})
"""Workloads whose inputs TF32 rounds."""
_TF32_ROUNDOFF: Final = 2.0**-11
_TOO_EXACT: Final = _TF32_ROUNDOFF / 16
"""Rounding both inputs to 10 bits leaves an error near the unit roundoff; FP32's is a
thousand times less, so a sixteenth tells them apart with room on both sides."""
_SWITCHES: Final = ("switch.matmul.allow_tf32", "switch.cudnn.allow_tf32")


def precision_findings(rows: Sequence[Result]) -> Iterable[Finding]:
    """Cases where something other than the setting asked for ran."""
    measured = [r for r in rows if r.measurement and r.record.device.type == "cuda"]
    exact = [r for r in measured if _too_exact(r)]
    if exact:
        yield Finding(
            "tf32_did_not_round",
            "warn",
            f"{cases_text(len(exact))} asked for TF32 with errors as small as FP32's: TF32 did"
            " not run.",
            "Look at the switches and kernels in the details of the case: an override, an"
            " alignment or a layout that TF32 kernels do not take.",
            tuple(r.record.case.key for r in exact),
        )
    against = [r for r in measured if _against(r)]
    if against:
        yield Finding(
            "switch_against_precision",
            "bad",
            f"{cases_text(len(against))} ran with switches that contradict the precision asked"
            " for.",
            "Something set them in the process; see “As it ran” in the details of the case.",
            tuple(r.record.case.key for r in against),
        )


def _too_exact(result: Result) -> bool:
    case, error = result.record.case, result.rel_error
    asked = case.precision == "tf32" and case.workload in _ROUNDING
    # Cancellation only makes errors larger, so small ones say the same on any data.
    return asked and error is not None and 0 < error < _TOO_EXACT


def _against(result: Result) -> bool:
    """Whether a TF32 switch, read back after the case, differs from what its precision needs."""
    m, precision = result.measurement, result.record.case.precision
    if m is None or precision not in ("fp32", "tf32"):
        return False
    found = [m.facts[name] for name in _SWITCHES if name in m.facts]
    return any(value is not (precision == "tf32") for value in found)
