"""One prediction as a derivation: each term with its unit, to be redone by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gpubench.catalogue import GpuSpec
from gpubench.model.bands import evidence
from gpubench.model.constants import described
from gpubench.model.prediction import Prediction
from gpubench.units import scaled


@dataclass(frozen=True, slots=True)
class Line:
    """One step: ``name = value unit`` by ``formula``."""

    name: str
    value: float | str
    unit: str
    formula: str

    def text(self) -> str:
        """For a terminal; seconds and bytes scaled, the exact value kept in ``value``."""
        if isinstance(self.value, str):
            return f"{self.name:<24} {self.value}" + (f"   {self.formula}" if self.formula else "")
        shown = scaled(self.value, self.unit, 4) if self.unit else f"{self.value:.6g}"
        return f"{self.name:<24} {shown:>16}   {self.formula}".rstrip()


def explain(
    gpu: GpuSpec, workload: str, precision: str, params: Mapping[str, object], p: Prediction
) -> list[Line]:
    """Every term of a prediction, inputs first."""
    peak = gpu.peak_flops(precision) if precision else None
    unit = "Tensor Cores" if p.on_tensor_cores else "CUDA cores"
    lines = [
        Line("workload", workload, "", ", ".join(f"{k}={v}" for k, v in params.items()
                                                 if v not in (None, ""))),
        Line("gpu", gpu.key, "", gpu.source),
        Line("precision", precision or "bytes", "", f"arithmetic on {unit}"),
        Line("multiprocessors", float(gpu.sm_count), "", "catalogue"),
        Line("boost clock", gpu.boost_hz, "Hz", "catalogue"),
        Line("peak", peak, "FLOP/s", f"catalogue, dense {precision}") if peak else
        Line("peak", "none", "", ""),
        Line("bandwidth", gpu.memory_bw_bytes_per_s, "B/s", "catalogue, nominal"),
        Line("L2", float(gpu.l2_bytes), "B", "catalogue"),
        Line("power limit", gpu.tdp_w, "W", "catalogue") if gpu.tdp_w else
        Line("power limit", "unknown", "", "no power cap, no energy"),
    ]  # fmt: skip
    group = _group(workload, p.on_tensor_cores)
    for name, d in described().get(group, {}).items():
        origin = "fitted" if d["fitted"] else d.get("source", "set")
        if d.get("on_bound"):
            origin += ", on its bound"
        lines.append(Line(f"{group}.{name}", float(d["value"]), d["unit"] if d["unit"] == "s"
                          else "", f"{d['meaning']} [{origin}]"))  # fmt: skip
    lines += [Line(n, float(t.value[0]), t.unit, t.formula) for n, t in p.terms.items()]
    lines += [
        Line("predicted", p.predicted_s, "s", "time_s"),
        Line("band", f"{scaled(p.low_s, 's', 4)} to {scaled(p.high_s, 's', 4)}", "",
             f"about 80 % of measurements; {evidence(workload, p.on_tensor_cores)}"),
        Line("bound", p.bound or "unknown", "", "the largest of compute, memory and launch"),
    ]  # fmt: skip
    if p.energy_j is not None:
        lines.append(Line("energy", p.energy_j, "J",
                          "idle power x time + arithmetic + device memory"))  # fmt: skip
    return lines


def _group(workload: str, on_tensor: bool) -> str:
    if workload in ("gemm", "linear"):
        return "gemm_tensor" if on_tensor else "gemm"
    name = f"{workload}_tensor"
    return name if on_tensor and name in described() else workload
