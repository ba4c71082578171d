"""Everything about machine and software that a number depends on, captured once a run."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import gpubench
from gpubench.devices.host import cpu_model
from gpubench.record import Environment, Fact
from gpubench.spec import DeviceInfo

FACTS: Final[Mapping[str, tuple[str, str]]] = {
    "gpubench.version": ("gpubench", ""),
    "host.name": ("Host", ""),
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
    "gpu.mig": ("MIG", ""),
    "gpu.persistence": ("Persistence mode", ""),
    "gpu.temperature_c": ("Temperature at start", "°C"),
    "gpu.nvml": ("NVML", ""),
    "git.commit": ("Commit of the working folder", ""),
    "git.dirty": ("Uncommitted changes", ""),
}
"""Fact -> (title, unit). Keys ``switch.*`` are settings that change results."""

SWITCH_VARIABLES: Final = (
    "NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "CUBLAS_EMULATE_SINGLE_PRECISION",
    "CUBLAS_WORKSPACE_CONFIG", "CUDA_VISIBLE_DEVICES", "CUDA_LAUNCH_BLOCKING",
    "CUDA_DEVICE_MAX_CONNECTIONS", "CUDA_MODULE_LOADING", "PYTORCH_CUDA_ALLOC_CONF",
    "TORCH_BLAS_PREFER_CUBLASLT", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_PROC_BIND",
    "KMP_AFFINITY", "ONEDNN_DEFAULT_FPMATH_MODE", "ONEDNN_MAX_CPU_ISA", "LD_PRELOAD",
)  # fmt: skip
"""Environment variables that change what runs or how fast; recorded where set."""


def capture(device: DeviceInfo, gpu_facts: Mapping[str, Fact] | None = None) -> Environment:
    """The environment of a worker that is about to measure on ``device``."""
    facts: dict[str, Fact] = {"gpubench.version": gpubench.__version__}
    facts |= host_facts()
    facts |= torch_facts()
    if device.type == "cuda":
        facts |= {
            "gpu.name": device.name,
            "gpu.uuid": device.uuid,
            "gpu.compute_capability": ".".join(map(str, device.compute_capability or ())),
            "gpu.sm_count": device.sm_count,
            "gpu.l2_bytes": device.cache_bytes,
        }
        facts |= {k: v for k, v in (gpu_facts or {}).items() if v is not None or k not in facts}
    facts |= switch_facts()
    facts |= git_facts(Path.cwd())
    return Environment(facts)


def host_facts() -> dict[str, Fact]:
    """Machine, kernel, CPU and memory."""
    return {
        "host.name": platform.node(),
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


def torch_facts() -> dict[str, Fact]:
    """Versions of torch and of the libraries it brings."""
    import torch

    facts: dict[str, Fact] = {
        "torch.version": torch.__version__,
        "torch.git": str(torch.version.git_version)[:12],
        "torch.cuda": torch.version.cuda,
        "torch.cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "torch.blas": "oneDNN" if torch.backends.mkldnn.is_available() else "MKL or OpenBLAS",
        "cpu.threads_used": torch.get_num_threads(),
    }
    if torch.cuda.is_available():
        facts |= {
            "cudnn.version": _dotted(torch.backends.cudnn.version()),
            "cuda.runtime_version": torch.version.cuda,
            "nccl.version": _nccl(torch),
            "cublas.version": _distribution("nvidia-cublas", "nvidia-cublas-cu12"),
        }
    return facts


def switch_facts() -> dict[str, Fact]:
    """Settings that decide precision and algorithms, as they stand in this process."""
    import torch

    facts: dict[str, Fact] = {
        f"switch.{name}": os.environ[name] for name in SWITCH_VARIABLES if name in os.environ
    }
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    facts |= {
        "switch.torch.float32_matmul_precision": (
            f"{torch.get_float32_matmul_precision()} (high for tf32 cases)"
        ),
        "switch.torch.deterministic": torch.are_deterministic_algorithms_enabled(),
    }
    if torch.cuda.is_available():
        facts |= {
            "switch.cudnn.allow_tf32": f"{cudnn.allow_tf32} (True for tf32 cases)",
            "switch.cudnn.benchmark": cudnn.benchmark,
            "switch.cudnn.deterministic": cudnn.deterministic,
            "switch.cublas.fp16_reduced_precision_reduction": bool(
                matmul.allow_fp16_reduced_precision_reduction
            ),
            "switch.cublas.bf16_reduced_precision_reduction": bool(
                matmul.allow_bf16_reduced_precision_reduction
            ),
        }
    return facts


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


def _dotted(version: int | None) -> str | None:
    """CuDNN's integer: 91002 is 9.10.2, 8902 is 8.9.2."""
    if version is None:
        return None
    if version >= 90000:
        return f"{version // 10000}.{version // 100 % 100}.{version % 100}"
    return f"{version // 1000}.{version // 100 % 10}.{version % 100}"


def _nccl(torch: Any) -> str | None:
    try:
        return ".".join(map(str, torch.cuda.nccl.version()))
    except (AttributeError, RuntimeError, TypeError):
        return None


def _distribution(*names: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    for name in names:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return None
