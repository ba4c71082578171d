"""The software below a measurement: torch, the libraries it brings, the switches it has."""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, version
from typing import Final

import torch

from gpubench.devices.cuda import wheel_mismatch
from gpubench.devices.switches import TF32_VARIABLES
from gpubench.record import Fact

SWITCH_VARIABLES: Final = (
    "NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "CUBLAS_EMULATE_SINGLE_PRECISION",
    "CUBLAS_WORKSPACE_CONFIG", "CUDA_VISIBLE_DEVICES", "CUDA_LAUNCH_BLOCKING",
    "CUDA_DEVICE_MAX_CONNECTIONS", "CUDA_MODULE_LOADING", "PYTORCH_CUDA_ALLOC_CONF",
    "TORCH_BLAS_PREFER_CUBLASLT", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_PROC_BIND",
    "KMP_AFFINITY", "ONEDNN_DEFAULT_FPMATH_MODE", "ONEDNN_MAX_CPU_ISA", "LD_PRELOAD",
)  # fmt: skip
"""Environment variables that change what runs or how fast; recorded where set."""


def torch_facts() -> dict[str, Fact]:
    """Versions of torch and of the libraries it brings."""
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
            "nccl.version": _nccl(),
            "cublas.version": _distribution("nvidia-cublas", "nvidia-cublas-cu12"),
        }
    return facts


def switch_facts() -> dict[str, Fact]:
    """Settings that decide precision and algorithms, as they stand in this process."""
    facts: dict[str, Fact] = {
        f"switch.{name}": os.environ[name] for name in SWITCH_VARIABLES if name in os.environ
    }
    # What decides TF32 is told even where it is not set: that, too, is an answer.
    facts |= {f"switch.{name}": os.environ.get(name, "not set") for name in TF32_VARIABLES}
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


def gpus_and_mismatches() -> list[tuple[str, str | None]]:
    """Every CUDA device that torch sees -> why this build has no code for it, or None."""
    architectures = torch.cuda.get_arch_list()
    return [
        (
            f"cuda:{i} {torch.cuda.get_device_name(i)}",
            wheel_mismatch(torch.cuda.get_device_capability(i), architectures),
        )
        for i in range(torch.cuda.device_count() if torch.cuda.is_available() else 0)
    ]


def _dotted(version: int | None) -> str | None:
    """CuDNN's integer: 91002 is 9.10.2, 8902 is 8.9.2."""
    if version is None:
        return None
    if version >= 90000:
        return f"{version // 10000}.{version // 100 % 100}.{version % 100}"
    return f"{version // 1000}.{version // 100 % 10}.{version % 100}"


def _nccl() -> str | None:
    try:
        return ".".join(map(str, torch.cuda.nccl.version()))
    except (AttributeError, RuntimeError, TypeError):
        return None


def _distribution(*names: str) -> str | None:
    for name in names:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return None
