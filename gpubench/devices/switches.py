"""Process-wide switches of torch that choose algorithms, brought back to their defaults.

A workload may set them for its case; the next case begins with ``Device.prepare``, which
calls this, so that no case inherits the choice of another.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final

import torch

from gpubench.record import Fact

TF32_VARIABLES: Final = (
    "NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "CUBLAS_EMULATE_SINGLE_PRECISION",
)  # fmt: skip
"""Environment variables that decide what FP32 products and convolutions compute in."""


def reset_algorithms() -> None:
    """OneDNN on, cuDNN's heuristic without autotuning, every attention backend allowed."""
    # A descriptor of the module's class, which type checkers take for an attribute.
    setattr(torch.backends.mkldnn, "enabled", True)  # noqa: B010
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = False
    sdp: Any = torch.backends.cuda
    sdp.enable_math_sdp(True)
    sdp.enable_flash_sdp(True)
    sdp.enable_mem_efficient_sdp(True)
    if hasattr(sdp, "enable_cudnn_sdp"):  # from torch 2.5 on
        sdp.enable_cudnn_sdp(True)


def precision_switches() -> Mapping[str, Fact]:
    """Everything that decides between FP32 and TF32, as it stands in this process now."""
    facts: dict[str, Fact] = {
        "switch.float32_matmul_precision": torch.get_float32_matmul_precision(),
        "switch.matmul.allow_tf32": bool(torch.backends.cuda.matmul.allow_tf32),
        "switch.cudnn.allow_tf32": bool(torch.backends.cudnn.allow_tf32),
    }
    return facts | {f"switch.{name}": os.environ.get(name, "not set") for name in TF32_VARIABLES}
