"""The captured environment for people: grouped, named, with units."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Final

from gpubench.record import Fact as Value
from gpubench.report.view import Fact, Group
from gpubench.units import bytes_iec, scaled

_Show = Callable[[float], str]

_BYTES: Final[_Show] = bytes_iec
_HZ: Final[_Show] = lambda v: scaled(v, "Hz")  # noqa: E731
_WATT: Final[_Show] = lambda v: scaled(v, "W")  # noqa: E731
_CELSIUS: Final[_Show] = lambda v: scaled(v, "°C")  # noqa: E731

NAMES: Final[Mapping[str, tuple[str, _Show | None]]] = {
    "gpu.name": ("Name", None),
    "gpu.uuid": ("UUID", None),
    "gpu.pci_id": ("PCI id", None),
    "gpu.compute_capability": ("Compute capability", None),
    "gpu.sm_count": ("Multiprocessors (SMs)", None),
    "gpu.l2_bytes": ("L2 cache", _BYTES),
    "gpu.memory_bytes": ("Memory", _BYTES),
    "gpu.power_limit_w": ("Power limit", _WATT),
    "gpu.clock_sm_max_hz": ("SM clock, maximum", _HZ),
    "gpu.clock_locked": ("Clocks locked", None),
    "gpu.ecc": ("ECC", None),
    "gpu.mig": ("MIG", None),
    "gpu.persistence": ("Persistence mode", None),
    "gpu.temperature_c": ("Temperature at start", _CELSIUS),
    "gpu.driver": ("Driver", None),
    "cuda.driver_version": ("CUDA, driver", None),
    "cuda.runtime_version": ("CUDA, runtime", None),
    "cudnn.version": ("cuDNN", None),
    "cublas.version": ("cuBLAS", None),
    "nccl.version": ("NCCL", None),
    "torch.version": ("PyTorch", None),
    "torch.cuda": ("PyTorch built for CUDA", None),
    "python.version": ("Python", None),
    "gpubench.version": ("gpubench", None),
    "host.name": ("Host name", None),
    "host.os": ("Operating system", None),
    "host.kernel": ("Kernel", None),
    "cpu.model": ("CPU", None),
    "cpu.cores": ("CPU cores", None),
    "cpu.governor": ("CPU governor", None),
    "cpu.load_1m": ("Load at start (1 min)", None),
    "memory.total_bytes": ("Memory", _BYTES),
    "git.commit": ("Commit", None),
    "git.dirty": ("Uncommitted changes", None),
    "sensor.energy_counter_j": ("Energy counter", None),
    "sensor.power_w": ("Power", None),
    "sensor.utilisation": ("Utilisation", None),
    "sensor.clock_hz": ("SM clock", None),
    "sensor.cpu_clock_hz": ("CPU clock", None),
    "sensor.temperature_c": ("Temperature", None),
    "sensor.memory_used_bytes": ("Memory in use", None),
    "sensor.foreign_processes": ("Other processes", None),
    "sensor.event_reasons": ("Clock event reasons", None),
    "sensor.tensor_activity": ("Tensor pipe activity", None),
    "sensor.sampler": ("All of them", None),
}
"""Fact -> (name, how to show a number); facts not listed keep their key as name."""

_GROUPS: Final = (
    ("GPU", ("gpu",)),
    ("CUDA libraries", ("cuda", "cudnn", "cublas", "nccl")),
    ("Software", ("torch", "python", "gpubench", "git")),
    ("Machine", ("host", "cpu", "memory")),
    ("Precision switches", ("switch",)),
    ("Sensors that are absent", ("sensor",)),
)
_GPU_ONLY: Final = frozenset({"gpu", "cuda", "cudnn", "cublas", "nccl"})
_OTHER: Final = "Other"


def show_fact(key: str, value: Value) -> str:
    """One fact's value for people; an en dash where it is absent."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    show = NAMES.get(key, ("", None))[1]
    if show and not isinstance(value, str):
        return show(float(value))
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else str(value)


def environment_groups(facts: Mapping[str, Value], *, on_gpu: bool) -> tuple[Group, ...]:
    """Every recorded fact in its group, and the expected ones that are missing.

    On a run without a GPU, facts of the GPU stack are only shown where they are known.
    """
    keys = list(NAMES) + sorted(k for k in facts if k not in NAMES)
    grouped: dict[str, list[Fact]] = defaultdict(list)
    for key in keys:
        prefix, value = key.partition(".")[0], facts.get(key)
        if value is None and (prefix == "sensor" or (prefix in _GPU_ONLY and not on_gpu)):
            continue
        title = next((t for t, prefixes in _GROUPS if prefix in prefixes), _OTHER)
        grouped[title].append(_fact(key, value))
    titles = [t for t, _ in _GROUPS] + [_OTHER]
    return tuple(Group(t, tuple(grouped[t])) for t in titles if grouped[t])


def _fact(key: str, value: Value) -> Fact:
    prefix, _, rest = key.partition(".")
    name = NAMES[key][0] if key in NAMES else (rest if prefix == "switch" and rest else key)
    absent = "not set" if prefix == "switch" else "could not be read"
    if value is None:
        return Fact(name, "–", absent)
    return Fact(name, show_fact(key, value))
