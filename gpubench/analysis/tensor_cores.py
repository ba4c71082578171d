"""Did Tensor Cores run? Every witness with what it says; and why not, where they were asked for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gpubench.analysis.findings import Finding, cases_text
from gpubench.analysis.results import Result
from gpubench.record import Fact
from gpubench.telemetry.kernels import classify

WANT: Final[Mapping[str, int]] = {"tf32": 4, "fp16": 8, "bf16": 8, "fp8": 16}
"""Elements in 16 bytes, the alignment that Tensor Core kernels of cuBLAS ask for (cuBLAS
documentation, "Tensor Core Usage")."""
_SAYS: Final = {"tensor": "used", "not_tensor": "not used", "unknown": "does not say"}


@dataclass(frozen=True, slots=True)
class Witness:
    """One line of the truth table.

    Attributes:
        name: what was looked at.
        says: ``used``, ``not used``, ``asked for``, ``not asked for`` or ``does not say``.
        evidence: what it was told by.
    """

    name: str
    says: str
    evidence: str


def truth_table(result: Result) -> tuple[Witness, ...]:
    """What each witness says; empty where Tensor Cores are no question."""
    m, precision = result.measurement, result.record.case.precision
    cores = m.tensor_cores if m else None
    if m is None or cores is None or cores.verdict == "not_applicable":
        return ()
    found = [Witness("precision", "asked for" if precision in WANT else "not asked for", precision)]
    kernels = cores.kernels
    kinds = {classify(k) for k in kernels} or {"unknown"}
    kind = "tensor" if "tensor" in kinds else ("unknown" if "unknown" in kinds else "not_tensor")
    named = next((k for k in kernels if classify(k) == kind), "no kernel was traced")
    found.append(Witness("kernel family", _SAYS[kind], named))
    for name, start, silent in (
        ("rate", "rate:", "not above the peak of the CUDA cores"),
        ("cuDNN notes", "cuDNN notes:", ""),
        ("NVML GPM", "NVML GPM:", "no readings (Hopper and later have them)"),
    ):
        line = next((e for e in cores.evidence if e.startswith(start)), None)
        if line is not None:
            found.append(Witness(name, _line_says(name, line), line.removeprefix(start).strip()))
        elif silent:
            found.append(Witness(name, "does not say", silent))
    return tuple(found)


def _line_says(name: str, line: str) -> str:
    if name == "cuDNN notes":
        return "used" if "TENSOR_CORE" in line.upper() else "not used"
    if name == "NVML GPM":
        return "not used" if " active 0 %" in line else "used"
    return "used"


def simt_findings(rows: Sequence[Result]) -> Iterable[Finding]:
    """Cases that asked for Tensor Cores and ran without, by the likely cause."""
    by_cause: dict[tuple[str, str, str], list[Result]] = defaultdict(list)
    for r in rows:
        if "tensor_cores_not_used" in r.flags:
            why, mend = likely_cause(r)
            by_cause[r.record.case.precision, why, mend].append(r)
    for (precision, why, mend), group in by_cause.items():
        m = group[0].measurement
        kernel = (
            m.tensor_cores.kernels[0] if m and m.tensor_cores and m.tensor_cores.kernels else ""
        )
        ran = f", `{kernel}` for one" if kernel else ""
        yield Finding(
            "tensor_cores_not_used",
            "warn",
            f"{cases_text(len(group))} asked for {precision} and ran on CUDA cores{ran}. Likely"
            f" cause: {why}.",
            mend,
            tuple(r.record.case.key for r in group),
        )


def likely_cause(result: Result) -> tuple[str, str]:
    """(why Tensor Cores did not run, what to do), from switches, shape and layout."""
    for look in (_switch, _thin, _alignment, _layout):
        found = look(result)
        if found is not None:
            return found
    return (
        "neither switches nor shape nor layout show one; the library chose so",
        "Try a larger size, and another version of the library.",
    )


def _switch(result: Result) -> tuple[str, str] | None:
    if result.record.case.precision != "tf32":
        return None
    env = result.run.environment
    if str(env.get("switch.NVIDIA_TF32_OVERRIDE")) == "0":
        return "NVIDIA_TF32_OVERRIDE=0 forbids TF32 in every library", "Unset it and measure again."
    facts: Mapping[str, Fact] = result.measurement.facts if result.measurement else {}
    conv = result.record.case.workload == "conv2d"
    name = "cudnn.allow_tf32" if conv else "matmul.allow_tf32"
    if facts.get(f"switch.{name}") is False:
        return f"torch's switch {name} was off when it ended", "See what in the process set it."
    return None


def _sizes(result: Result) -> Mapping[str, int]:
    params = result.record.case.params
    return {k: v for k, v in params.items() if isinstance(v, int) and not isinstance(v, bool)}


def _thin(result: Result) -> tuple[str, str] | None:
    sizes = _sizes(result)
    thin = [name for name in ("m", "n") if sizes.get(name) == 1]
    if result.record.case.workload in ("gemm", "linear") and thin:
        return (
            f"with {thin[0]} = 1 it is a product with a vector, which memory bounds",
            "Nothing is lost: Tensor Cores would not make it faster.",
        )
    return None


def _alignment(result: Result) -> tuple[str, str] | None:
    case, sizes = result.record.case, _sizes(result)
    want = WANT.get(case.precision, 1)
    off = [
        f"{what} = {n}" for what, n in _contiguous(case.workload, case.params, sizes) if n % want
    ]
    if not off:
        return None
    return (
        f"{', '.join(off)}: no multiple of {want} elements (16 bytes)",
        f"Pad to a multiple of {want}.",
    )


def _contiguous(
    workload: str, params: Mapping[str, object], sizes: Mapping[str, int]
) -> Iterable[tuple[str, int]]:
    """Lengths of the contiguous dimension of each operand: what its alignment hangs on."""
    if workload in ("gemm", "linear") and {"m", "n", "k"} <= set(sizes):
        how = "nt" if workload == "linear" else str(params.get("transpose", "nn"))
        first, second = ("k" if how[0] == "n" else "m"), ("n" if how[1] == "n" else "k")
        for operand, name in (("A", first), ("B", second), ("C", "n")):
            yield f"leading dimension {name} of {operand}", sizes[name]
    elif workload == "conv2d":
        for name, what in (("c_in", "input channels"), ("c_out", "output channels")):
            if name in sizes:
                yield what, sizes[name]
    elif workload == "attention" and "head_dim" in sizes:
        yield "head_dim", sizes["head_dim"]


def _layout(result: Result) -> tuple[str, str] | None:
    layout = str(result.record.case.params.get("layout", "")).lower()
    if result.record.case.workload == "conv2d" and layout == "nchw":
        return (
            "the layout is NCHW; Tensor Core kernels of cuDNN work on NHWC",
            "Measure `layout: nhwc` (channels last).",
        )
    return None
