"""The GPU catalogue: datasheet facts as typed rows, in SI units.

``data/gpus.csv`` holds one row per board. Reading it needs only the standard library, so
that listing GPUs stays instant.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, fields, replace
from functools import cache
from importlib import resources
from typing import Final

from gpubench.errors import InputError, UnknownName
from gpubench.spec import PRECISIONS

_TERA: Final = 1e12
_GIB: Final = 2**30
_MIB: Final = 2**20

_FIRST_WITH: Final = {
    "tf32": "Ampere and later (compute capability 8.0)",
    "bf16": "Ampere and later (compute capability 8.0)",
    "fp8": "Ada, Hopper and later (compute capability 8.9)",
    "fp16": "Pascal and later (compute capability 6.0)",
}


@dataclass(frozen=True, slots=True)
class GpuSpec:
    """Datasheet facts of one GPU. Absent facts are None.

    Attributes:
        key: stable identity, e.g. ``a100-sxm4-40gb``.
        family: name shared by close variants.
        nvml_name: what the driver reports (newer drivers prefix ``NVIDIA``).
        aliases: other accepted names.
        compute_capability: (major, minor).
        sm_count: streaming multiprocessors.
        fp32_cores_per_sm: FP32 lanes per multiprocessor.
        boost_hz: boost clock; base_hz: guaranteed clock.
        memory_bytes, memory_type, memory_bw_bytes_per_s: device memory.
        l2_bytes: last-level cache; l1_shared_bytes_per_sm, shared_max_bytes_per_sm.
        tdp_w: board power limit.
        nvlink_bytes_per_s: both directions, all links; None without NVLink.
        fp64_flops ... fp8_tensor_flops: dense peaks in FLOP/s (INT8: operations/s);
            ``fp16_flops`` is without Tensor Cores, ``*_tensor_flops`` with FP32 accumulation.
        source: where the row comes from; notes: what to know about it.
    """

    key: str
    family: str
    nvml_name: str
    aliases: tuple[str, ...]
    architecture: str
    chip: str
    compute_capability: tuple[int, int]
    year: int | None
    form_factor: str
    sm_count: int
    fp32_cores_per_sm: int
    tensor_cores_per_sm: int
    boost_hz: float
    base_hz: float | None
    memory_bytes: int
    memory_type: str
    memory_bw_bytes_per_s: float
    l2_bytes: int
    l1_shared_bytes_per_sm: int | None
    shared_max_bytes_per_sm: int | None
    tdp_w: float | None
    nvlink_bytes_per_s: float | None
    pcie_gen: int | None
    fp64_flops: float | None
    fp64_tensor_flops: float | None
    fp32_flops: float
    fp16_flops: float | None
    tf32_tensor_flops: float | None
    fp16_tensor_flops: float | None
    fp16_tensor_fp16acc_flops: float | None
    bf16_tensor_flops: float | None
    int8_ops: float | None
    int8_path: str | None
    fp8_tensor_flops: float | None
    source: str
    notes: str

    @property
    def name(self) -> str:
        """The marketing name without the vendor."""
        return self.nvml_name.removeprefix("NVIDIA ")

    @property
    def has_tensor_cores(self) -> bool:
        """Whether any Tensor Core peak is published."""
        return self.fp16_tensor_flops is not None

    def peak_flops(self, precision: str, tensor: bool | None = None) -> float | None:
        """Dense peak in FLOP/s.

        Args:
            precision: ``fp64 fp32 tf32 fp16 bf16 fp8``. ``fp32`` is always CUDA cores.
            tensor: True for Tensor Cores, False for CUDA cores, None for the unit that the
                precision really uses (the Tensor Cores where there are any).

        Returns:
            FLOP/s; None where that unit has no such precision.
        """
        on_tensor = {
            "fp64": self.fp64_tensor_flops,
            "fp32": None,
            "tf32": self.tf32_tensor_flops,
            "fp16": self.fp16_tensor_flops,
            "bf16": self.bf16_tensor_flops,
            "fp8": self.fp8_tensor_flops,
        }
        on_cores = {"fp64": self.fp64_flops, "fp32": self.fp32_flops, "fp16": self.fp16_flops}
        if precision not in on_tensor:
            raise UnknownName("precision", precision, PRECISIONS)
        if tensor is True:
            return on_tensor[precision]
        if tensor is False:
            return on_cores.get(precision)
        return on_tensor[precision] or on_cores.get(precision)

    def supports(self, precision: str) -> bool:
        """Whether matrix work of this precision runs natively."""
        return self.peak_flops(precision) is not None

    def why_not(self, precision: str) -> str:
        """Why ``precision`` is missing, naming the architectures that have it; "" if present."""
        if self.supports(precision):
            return ""
        major, minor = self.compute_capability
        where = _FIRST_WITH.get(precision, "other GPUs")
        return (
            f"{self.key} ({self.architecture}, compute capability {major}.{minor}) has no "
            f"{precision} units; {where} have"
        )


def gpus() -> tuple[GpuSpec, ...]:
    """Every row of the catalogue, oldest architecture first."""
    return _load()


def find(name: str) -> GpuSpec:
    """The row called ``name``: a key, an alias, an NVML name or a family; case is ignored.

    Raises:
        UnknownName: nothing is so called; the message names the nearest.
    """
    wanted = _fold(name)
    index = _index()
    if wanted in index:
        return index[wanted]
    raise UnknownName("GPU", name, [g.key for g in _load()] + list(_aliases()))


def family(name: str) -> tuple[GpuSpec, ...]:
    """Every row of the family that ``name`` belongs to."""
    chosen = find(name)
    return tuple(g for g in _load() if g.family == chosen.family)


def with_changes(spec: GpuSpec, changes: dict[str, float]) -> GpuSpec:
    """A GPU that does not exist: ``spec`` with some numbers replaced.

    Peaks follow ``sm_count`` and ``boost_hz`` in proportion unless set themselves.

    Args:
        changes: field or short name (``memory_bw``, ``sm``, ``boost``, ``tdp``, ``l2``,
            ``memory``, ``nvlink``, ``fp32`` ...) -> value in SI units.

    Raises:
        UnknownName: a name that is no numeric field; InputError: a value not above 0.
    """
    numeric = [f.name for f in fields(GpuSpec) if isinstance(getattr(spec, f.name), int | float)]
    absent = [f.name for f in fields(GpuSpec) if getattr(spec, f.name) is None]
    settable = [n for n in (*numeric, *absent) if n not in _NOT_NUMBERS]
    values: dict[str, float] = {}
    for given, value in changes.items():
        field_name = _short_names(settable).get(given.strip().lower())
        if field_name is None:
            raise UnknownName("GPU field", given, [*settable, *_SHORT])
        if not value > 0:
            raise InputError(
                f"what-if {given}={value:g} is not possible", expected="a value above 0"
            )
        values[field_name] = round(value) if field_name in _WHOLE else value
    scale = values.get("sm_count", spec.sm_count) / spec.sm_count
    scale *= values.get("boost_hz", spec.boost_hz) / spec.boost_hz
    scale *= values.get("fp32_cores_per_sm", spec.fp32_cores_per_sm) / spec.fp32_cores_per_sm
    for peak in _PEAKS:
        old = getattr(spec, peak)
        if peak not in values and old is not None:
            values[peak] = old * scale
    text = ", ".join(f"{k}={v:g}" for k, v in changes.items())
    return replace(
        spec,
        key=f"{spec.key}+{text.replace(' ', '')}",
        aliases=(),
        source=f"what-if of {spec.key}: {text}",
        **values,  # type: ignore[arg-type]
    )


_PEAKS: Final = tuple(f.name for f in fields(GpuSpec) if f.name.endswith(("_flops", "_ops")))
_WHOLE: Final = frozenset({"sm_count", "fp32_cores_per_sm", "memory_bytes", "l2_bytes"})
_NOT_NUMBERS: Final = frozenset({"year", "pcie_gen", "int8_path", "tensor_cores_per_sm"})
_SHORT: Final = {
    "memory_bw": "memory_bw_bytes_per_s",
    "bandwidth": "memory_bw_bytes_per_s",
    "sm": "sm_count",
    "boost": "boost_hz",
    "clock": "boost_hz",
    "tdp": "tdp_w",
    "power": "tdp_w",
    "l2": "l2_bytes",
    "memory": "memory_bytes",
    "nvlink": "nvlink_bytes_per_s",
    "fp64": "fp64_flops",
    "fp32": "fp32_flops",
    "tf32": "tf32_tensor_flops",
    "fp16": "fp16_tensor_flops",
    "bf16": "bf16_tensor_flops",
    "fp8": "fp8_tensor_flops",
}


def _short_names(settable: list[str]) -> dict[str, str]:
    return {**{n: n for n in settable}, **{s: n for s, n in _SHORT.items() if n in settable}}


def _fold(name: str) -> str:
    return " ".join(name.strip().lower().replace("_", "-").split())


@cache
def _load() -> tuple[GpuSpec, ...]:
    path = resources.files("gpubench.catalogue") / "data" / "gpus.csv"
    with path.open("r", encoding="utf-8") as stream:
        return tuple(_row(row) for row in csv.DictReader(stream))


@cache
def _aliases() -> dict[str, GpuSpec]:
    return {alias: g for g in _load() for alias in g.aliases}


@cache
def _index() -> dict[str, GpuSpec]:
    index: dict[str, GpuSpec] = {}
    for g in _load():  # a family or NVML name shared by variants means the first of them
        for shared in (g.family, g.nvml_name, g.name):
            index.setdefault(_fold(shared), g)
    for g in _load():
        for own in (*g.aliases, g.key):
            index[_fold(own)] = g
    return index


def _number(text: str, scale: float = 1.0) -> float | None:
    return float(text) * scale if text else None


def _whole(text: str, scale: int = 1) -> int | None:
    return round(float(text) * scale) if text else None


def _row(r: dict[str, str]) -> GpuSpec:
    major, minor = r["compute_capability"].split(".")
    return GpuSpec(
        key=r["key"],
        family=r["family"],
        nvml_name=r["nvml_name"],
        aliases=tuple(a for a in r["aliases"].split(";") if a),
        architecture=r["architecture"],
        chip=r["chip"],
        compute_capability=(int(major), int(minor)),
        year=_whole(r["year"]),
        form_factor=r["form_factor"],
        sm_count=int(r["sm_count"]),
        fp32_cores_per_sm=int(r["fp32_cores_per_sm"]),
        tensor_cores_per_sm=int(r["tensor_cores_per_sm"] or 0),
        boost_hz=float(r["boost_mhz"]) * 1e6,
        base_hz=_number(r["base_mhz"], 1e6),
        memory_bytes=round(float(r["memory_gb"]) * _GIB),
        memory_type=r["memory_type"],
        memory_bw_bytes_per_s=float(r["memory_bw_gbs"]) * 1e9,
        l2_bytes=round(float(r["l2_mb"]) * _MIB),
        l1_shared_bytes_per_sm=_whole(r["l1_shared_kb_per_sm"], 1024),
        shared_max_bytes_per_sm=_whole(r["shared_max_kb_per_sm"], 1024),
        tdp_w=_number(r["tdp_w"]),
        nvlink_bytes_per_s=_number(r["nvlink_gbs"], 1e9),
        pcie_gen=_whole(r["pcie_gen"]),
        fp64_flops=_number(r["fp64_tflops"], _TERA),
        fp64_tensor_flops=_number(r["fp64_tensor_tflops"], _TERA),
        fp32_flops=float(r["fp32_tflops"]) * _TERA,
        fp16_flops=_number(r["fp16_tflops"], _TERA),
        tf32_tensor_flops=_number(r["tf32_tensor_tflops"], _TERA),
        fp16_tensor_flops=_number(r["fp16_tensor_tflops"], _TERA),
        fp16_tensor_fp16acc_flops=_number(r["fp16_tensor_fp16acc_tflops"], _TERA),
        bf16_tensor_flops=_number(r["bf16_tensor_tflops"], _TERA),
        int8_ops=_number(r["int8_tops"], _TERA),
        int8_path=r["int8_path"] or None,
        fp8_tensor_flops=_number(r["fp8_tensor_tflops"], _TERA),
        source=r["source"].rstrip(", "),
        notes=r["notes"],
    )
