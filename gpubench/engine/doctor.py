"""What this machine can measure and what would spoil a measurement, each with its mend."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gpubench.devices.cuda import why_no_cuda
from gpubench.devices.host import cpu_model, memory_limit_bytes
from gpubench.devices.stack import SWITCH_VARIABLES, gpus_and_mismatches, torch_facts
from gpubench.telemetry.nvml import Nvml, NvmlUnavailable, gpu_uuids
from gpubench.units import bytes_iec, percent, scaled

STATUSES: Final = ("bad", "warn", "info", "ok")
HOT_C: Final = 80.0
LOW_DISK_BYTES: Final = 2**30
BUSY_LOAD: Final = 0.25


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        check: what was looked at, e.g. ``driver``.
        status: ``ok``, ``info`` (worth knowing), ``warn`` (spoils some numbers) or ``bad``
            (something cannot be measured at all).
        text: what was found, one sentence.
        mend: what to do about it; None where nothing needs doing.
    """

    check: str
    status: str
    text: str
    mend: str | None = None


def examine(store_path: Path | None = None) -> list[Finding]:
    """Look at everything; never raises for what it finds."""
    findings = [*_torch(), *_gpus(), *_cpu(), *_switches(), *_disk(store_path or Path.cwd())]
    return sorted(findings, key=lambda f: STATUSES.index(f.status))


# ---------------------------------------------------------------- torch and libraries


def _torch() -> Iterator[Finding]:
    facts, gpus = torch_facts(), gpus_and_mismatches()
    if not gpus:
        yield Finding(
            "torch",
            "info" if facts["torch.cuda"] is None else "bad",
            f"torch {facts['torch.version']} sees no CUDA device: only this CPU can be measured",
            f"to measure a GPU: {why_no_cuda()}",
        )
        return
    yield Finding("torch", "ok", f"torch {facts['torch.version']}, CUDA {facts['torch.cuda']}")
    for name, mismatch in gpus:
        if mismatch:
            problem, _, mend = mismatch.partition("): ")
            yield Finding("architecture", "bad", f"{name}: {problem})", mend)
        else:
            yield Finding("architecture", "ok", f"{name}: torch has code for it")
    if facts.get("cudnn.version"):
        yield Finding("cuDNN", "ok", f"cuDNN {facts['cudnn.version']}")
    else:
        yield Finding(
            "cuDNN", "warn", "torch has no usable cuDNN: convolutions cannot be measured",
            "install torch from its own index, which brings cuDNN",
        )  # fmt: skip


# ---------------------------------------------------------------- GPUs


def _gpus() -> Iterator[Finding]:
    try:
        uuids = gpu_uuids()
    except NvmlUnavailable as error:
        yield Finding(
            "driver", "info", f"no NVIDIA driver answers ({error})",
            "install the NVIDIA driver, or in a container start it with --gpus all",
        )  # fmt: skip
        return
    if not uuids:
        yield Finding("driver", "info", "the NVIDIA driver runs but sees no GPU")
    for uuid in uuids:
        try:
            with Nvml(uuid=uuid) as nvml:
                yield from gpu_findings(nvml)
        except NvmlUnavailable as error:
            yield Finding(
                "NVML", "bad", f"GPU {uuid} does not answer: {error}",
                "see `dmesg` for Xid errors; the GPU may have fallen off the bus",
            )  # fmt: skip


def gpu_findings(nvml: Nvml) -> Iterator[Finding]:
    """Findings about one GPU."""
    facts = nvml.facts()
    name = str(facts.get("gpu.name") or "GPU")
    yield Finding("driver", "ok", f"{name}: driver {facts.get('gpu.driver') or 'unknown'}")
    yield from _sensors(nvml, name)
    yield from _state(nvml, name)
    if facts.get("gpu.mig"):
        yield Finding(
            "MIG", "warn", f"{name}: MIG is on: utilisation is not told, peaks are the whole GPU's",
            "measure the whole GPU, or read shares of peak with that in mind",
        )  # fmt: skip
    if facts.get("gpu.persistence") is False:
        yield Finding(
            "persistence", "info", f"{name}: persistence mode is off: first calls are slow",
            "nvidia-smi -pm 1 (root), if this machine is yours",
        )  # fmt: skip
    if facts.get("gpu.ecc") is False:
        yield Finding("ECC", "info", f"{name}: ECC is off: faster, and not as others run it")


def _sensors(nvml: Nvml, name: str) -> Iterator[Finding]:
    reading = nvml.read()
    values = reading.values if reading else {}
    missing = [k for k in ("clock_hz", "power_w", "temperature_c") if k not in values]
    if nvml.event_reasons() is None:
        missing.append("clock event reasons")
    if missing:
        yield Finding(
            "NVML rights", "warn", f"{name}: cannot be read: {', '.join(missing)}",
            "throttling cannot be seen then; run outside the sandbox or with a newer driver",
        )  # fmt: skip
    else:
        yield Finding("NVML rights", "ok", f"{name}: clocks, power and event reasons can be read")
    admin_only = Path("/proc/driver/nvidia/params")
    try:
        restricted = "RmProfilingAdminOnly: 1" in admin_only.read_text()
    except OSError:
        restricted = False
    if restricted and os.geteuid() != 0:
        yield Finding(
            "performance counters", "info", "hardware counters are for root only",
            "NVreg_RestrictProfilingToAdminUsers=0 for the nvidia kernel module; timing needs none",
        )  # fmt: skip


def _state(nvml: Nvml, name: str) -> Iterator[Finding]:
    reading = nvml.read()
    reasons = reading.reasons if reading else ()
    celsius = reading.values.get("temperature_c") if reading else None
    slow = [
        r for r in reasons if r in ("hw_slowdown", "sw_thermal", "hw_thermal", "hw_power_brake")
    ]
    if slow:
        yield Finding(
            "thermal state", "bad", f"{name}: throttled right now: {', '.join(slow)}",
            "let it cool down, check fans and power cables",
        )  # fmt: skip
    elif celsius is not None and celsius >= HOT_C:
        yield Finding(
            "thermal state", "warn", f"{name}: {celsius:.0f} °C while idle or nearly so",
            "let it cool down first; hot GPUs throttle sooner",
        )  # fmt: skip
    elif celsius is not None:
        yield Finding("thermal state", "ok", f"{name}: {celsius:.0f} °C, no throttle reason")
    if "applications_clocks" in reasons:
        yield Finding("clocks", "info", f"{name}: application clocks hold the SM clock")
    else:
        yield Finding(
            "clocks", "info", f"{name}: clocks are free to boost: expect spread with temperature",
            "gpubench run --lock-clocks (root) for the smallest spread; it restores them",
        )  # fmt: skip
    others = [p for p in nvml.processes() or () if p[0] != os.getpid()]
    busy = nvml.utilisation()
    if others or (busy is not None and busy > 0.05):
        shown = ", ".join(str(pid) for pid, _ in others[:5]) or "not told which"
        share = f", {percent(busy)} busy" if busy is not None else ""
        yield Finding(
            "other processes", "warn", f"{name}: others use the GPU (pid {shown}{share})",
            "end them or wait: their work is in your numbers",
        )  # fmt: skip
    else:
        yield Finding("other processes", "ok", f"{name}: nobody else uses it")


# ---------------------------------------------------------------- host


def _cpu() -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0))
    yield Finding("CPU", "ok", f"{cpu_model()}, {cores} usable")
    governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    try:
        mode = governor.read_text().strip()
    except OSError:
        yield Finding(
            "CPU governor", "info", "the frequency governor cannot be read (a virtual machine?)"
        )
    else:
        if mode == "performance":
            yield Finding("CPU governor", "ok", "performance")
        else:
            yield Finding(
                "CPU governor", "warn", f"{mode}: host times and launch overhead will vary",
                "cpupower frequency-set -g performance (root)",
            )  # fmt: skip
    load = os.getloadavg()[0]
    if load > BUSY_LOAD * cores + 0.5:
        yield Finding(
            "load", "warn", f"load average {load:.1f} on {cores} CPUs: something else is running",
            "end it or wait; CPU results and launch overhead suffer",
        )  # fmt: skip
    else:
        yield Finding("load", "ok", f"load average {load:.1f}")
    memory = memory_limit_bytes()
    if memory is not None:
        yield Finding("memory", "ok", f"{bytes_iec(memory)} available")
    yield from _temperature()


def _temperature() -> Iterator[Finding]:
    hottest = None
    for path in Path("/sys/class/thermal").glob("thermal_zone*/temp"):
        try:
            celsius = int(path.read_text()) / 1000
        except (OSError, ValueError):
            continue
        hottest = max(hottest or celsius, celsius)
    if hottest is not None and hottest >= 90:
        yield Finding(
            "CPU thermal state", "warn", f"{hottest:.0f} °C", "let it cool down; it may throttle"
        )
    elif hottest is not None:
        yield Finding("CPU thermal state", "ok", f"{hottest:.0f} °C")


def _switches() -> Iterator[Finding]:
    deciding = {
        "NVIDIA_TF32_OVERRIDE": "decides TF32 over everybody's head",
        "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "turns FP32 products into TF32",
        "CUBLAS_EMULATE_SINGLE_PRECISION": "lets cuBLAS emulate FP32 with BF16",
        "CUDA_LAUNCH_BLOCKING": "makes every launch wait for the GPU",
        "ONEDNN_DEFAULT_FPMATH_MODE": "lets oneDNN compute FP32 in BF16",
    }
    found = False
    for name in SWITCH_VARIABLES:
        value = os.environ.get(name)
        if name in deciding and value not in (None, "", "STRICT"):
            found = True
            yield Finding("switches", "warn", f"{name}={value} {deciding[name]}", f"unset {name}")
    if not found:
        yield Finding("switches", "ok", "no environment variable changes precision or launches")


def _disk(folder: Path) -> Iterator[Finding]:
    existing = next((p for p in (folder, *folder.parents) if p.exists()), Path("/"))
    free = shutil.disk_usage(existing).free
    if not os.access(existing, os.W_OK):
        yield Finding(
            "disk", "bad", f"the store's folder {folder} cannot be written",
            "--store FILE or GPUBENCH_STORE to put the store elsewhere",
        )  # fmt: skip
    elif free < LOW_DISK_BYTES:
        yield Finding("disk", "warn", f"{scaled(free, 'B')} free where the store is", "make room")
    else:
        yield Finding("disk", "ok", f"{scaled(free, 'B')} free where the store is")
