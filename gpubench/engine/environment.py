"""Everything about machine and software that a number depends on, captured once a run."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import gpubench
from gpubench.devices.host import cpu_model
from gpubench.devices.stack import switch_facts, torch_facts
from gpubench.record import Environment, Fact
from gpubench.spec import DeviceInfo

FACTS: Final[Mapping[str, tuple[str, str]]] = {
    "gpubench.version": ("gpubench", ""),
    "host.name": ("Host", ""),
    "host.rack": ("Rack, from GPUBENCH_RACK", ""),
    "host.os": ("Operating system", ""),
    "host.kernel": ("Kernel", ""),
    "host.container": ("In a container", ""),
    "cpu.model": ("CPU", ""),
    "cpu.cores": ("CPUs this process may use", ""),
    "cpu.threads_used": ("Threads that torch uses", ""),
    "cpu.governor": ("CPU frequency governor", ""),
    "cpu.load_1m": ("Load average, 1 min", ""),
    "memory.total_bytes": ("Memory", "B"),
    "python.version": ("Python", ""),
    "torch.version": ("torch", ""),
    "torch.git": ("torch commit", ""),
    "torch.cuda": ("CUDA that torch was built with", ""),
    "torch.blas": ("BLAS of torch on CPU", ""),
    "torch.cpu_capability": ("Widest CPU instructions of torch", ""),
    "cuda.driver_version": ("CUDA of the driver", ""),
    "cuda.runtime_version": ("CUDA runtime", ""),
    "cudnn.version": ("cuDNN", ""),
    "cublas.version": ("cuBLAS", ""),
    "nccl.version": ("NCCL", ""),
    "gpu.name": ("GPU", ""),
    "gpu.uuid": ("UUID", ""),
    "gpu.pci_id": ("PCI address", ""),
    "gpu.pcie_width": ("PCIe lanes", ""),
    "gpu.pcie_generation": ("PCIe generation", ""),
    "gpu.pcie_width_max": ("PCIe lanes of the slot and the GPU, at most", ""),
    "gpu.vbios": ("VBIOS", ""),
    "gpu.driver": ("Driver", ""),
    "gpu.compute_capability": ("Compute capability", ""),
    "gpu.sm_count": ("Streaming multiprocessors", ""),
    "gpu.l2_bytes": ("L2 cache", "B"),
    "gpu.memory_bytes": ("Memory", "B"),
    "gpu.power_limit_w": ("Power limit", "W"),
    "gpu.clock_sm_max_hz": ("Highest SM clock", "Hz"),
    "gpu.clock_memory_max_hz": ("Highest memory clock", "Hz"),
    "gpu.clock_locked": ("Application clocks set", ""),
    "gpu.ecc": ("ECC", ""),
    "gpu.ecc_uncorrected": ("Uncorrected ECC errors in its life", ""),
    "gpu.remapped_rows": ("Memory rows remapped", ""),
    "gpu.remap_failed": ("Remapping of a row failed", ""),
    "gpu.mig": ("MIG", ""),
    "gpu.persistence": ("Persistence mode", ""),
    "gpu.temperature_c": ("Temperature at start", "°C"),
    "gpu.nvml": ("NVML", ""),
    "group.ranks": ("Ranks", ""),
    "group.nodes": ("Nodes of the ranks", ""),
    "group.hosts": ("Hosts of the ranks", ""),
    "group.backend": ("Backend of collectives", ""),
    "git.commit": ("Commit of the working folder", ""),
    "git.dirty": ("Uncommitted changes", ""),
}
"""Fact -> (title, unit). Keys ``switch.*`` are settings that change results; ``sensor.*`` say why
a sensor of that name is absent."""


def capture(device: DeviceInfo, sensor_facts: Mapping[str, Fact] | None = None) -> Environment:
    """The environment of a worker that is about to measure on ``device``."""
    facts: dict[str, Fact] = {"gpubench.version": gpubench.__version__}
    facts |= host_facts()
    facts |= torch_facts()
    facts |= {k: v for k, v in (sensor_facts or {}).items() if k.startswith("sensor.")}
    if device.type == "cuda":
        facts |= {
            "gpu.name": device.name,
            "gpu.uuid": device.uuid,
            "gpu.compute_capability": ".".join(map(str, device.compute_capability or ())),
            "gpu.sm_count": device.sm_count,
            "gpu.l2_bytes": device.cache_bytes,
        }
        facts |= {k: v for k, v in (sensor_facts or {}).items() if v is not None or k not in facts}
    facts |= switch_facts()
    facts |= git_facts(Path.cwd())
    return Environment(facts)


def host_facts() -> dict[str, Fact]:
    """Machine, kernel, CPU and memory."""
    return {
        # In a container the node's name is not the machine's: whoever starts it may say so.
        "host.name": os.environ.get("GPUBENCH_HOST") or platform.node(),
        "host.rack": os.environ.get("GPUBENCH_RACK") or None,
        "host.os": _os_name(),
        "host.kernel": platform.release(),
        "host.container": Path("/.dockerenv").exists() or Path("/run/.containerenv").exists(),
        "cpu.model": cpu_model(),
        "cpu.cores": len(os.sched_getaffinity(0)),
        "cpu.governor": _first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "cpu.load_1m": round(os.getloadavg()[0], 2),
        "memory.total_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "python.version": sys.version.split()[0],
    }


def git_facts(folder: Path) -> dict[str, Fact]:
    """Commit and cleanliness of the repository around ``folder``; None outside one."""
    commit = _command("git", "-C", str(folder), "rev-parse", "HEAD")
    if commit is None:
        return {"git.commit": None, "git.dirty": None}
    status = _command("git", "-C", str(folder), "status", "--porcelain", "--untracked-files=no")
    return {"git.commit": commit, "git.dirty": None if status is None else bool(status)}


def _command(*words: str) -> str | None:
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _first_line(path: str) -> str | None:
    try:
        return Path(path).read_text().strip() or None
    except OSError:
        return None


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        return platform.system()
