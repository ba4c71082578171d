"""Process-wide switches of torch that choose algorithms, brought back to their defaults.

A workload may set them for its case; the next case begins with ``Device.prepare``, which
calls this, so that no case inherits the choice of another.
"""

from __future__ import annotations

from typing import Any

import torch


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
