"""A device inside the user's own process, which is left as it was found."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from operator import attrgetter
from typing import Any, Final

import torch

from gpubench.devices.opening import open_device
from gpubench.ports import Device

SWITCHES: Final = (
    "backends.cudnn.allow_tf32",
    "backends.cudnn.benchmark",
    "backends.cudnn.deterministic",
    "backends.cuda.matmul.allow_fp16_reduced_precision_reduction",
    "backends.cuda.matmul.allow_bf16_reduced_precision_reduction",
    "backends.mkldnn.enabled",
    # torch 2.9 split the two switches of TF32 by operator. These come last: where both
    # ways are there, they hold the exact state.
    "backends.cuda.matmul.fp32_precision",
    "backends.cudnn.conv.fp32_precision",
    "backends.cudnn.rnn.fp32_precision",
    "backends.mkldnn.matmul.fp32_precision",
    "backends.mkldnn.conv.fp32_precision",
    "backends.mkldnn.rnn.fp32_precision",
)
"""Attributes below ``torch`` that preparing a precision may change."""


BACKENDS: Final = ("math", "flash", "mem_efficient", "cudnn")
"""Attention backends that torch allows, each by a getter and a setter."""


@contextmanager
def borrowed(request: str) -> Iterator[Device]:
    """The device that ``request`` names, in this process.

    torch keeps the threads it has, which are the user's choice here. Its switches and
    random generators, and the current CUDA device, are as before afterwards.

    Raises:
        InputError: it is not there, or the request is not understood.
    """
    switches, threads = switches_now(), torch.get_num_threads()
    current = torch.cuda.current_device() if torch.cuda.is_initialized() else None
    try:
        device, _note = open_device(request)
        if device.info.type == "cpu":
            torch.set_num_threads(threads)
            device.info = replace(device.info, sm_count=threads)
        index = device.info.index
        with torch.random.fork_rng([] if index is None else [index], device_type="cuda"):
            yield device
    finally:
        torch.set_num_threads(threads)
        restore(switches)
        if current is not None:
            torch.cuda.set_device(current)


def switches_now() -> dict[str, Any]:
    """Every switch -> its value; one that this torch lacks or cannot tell is left out.

    A process that uses both of torch's ways to set TF32 cannot read the older switches.
    """
    found: dict[str, Any] = {}
    with contextlib.suppress(RuntimeError):
        found["float32_matmul_precision"] = torch.get_float32_matmul_precision()
    for name in SWITCHES:
        with contextlib.suppress(AttributeError, RuntimeError):
            found[name] = attrgetter(name)(torch)
    for name in BACKENDS:
        with contextlib.suppress(AttributeError):  # cudnn: from torch 2.5 on
            found[f"sdp {name}"] = getattr(torch.backends.cuda, f"{name}_sdp_enabled")()
    return found


def restore(switches: dict[str, Any]) -> None:
    """Set the switches to what ``switches_now`` found."""
    for name, value in switches.items():
        if name == "float32_matmul_precision":
            torch.set_float32_matmul_precision(value)
        elif name.startswith("sdp "):
            getattr(torch.backends.cuda, f"enable_{name.removeprefix('sdp ')}_sdp")(value)
        else:
            owner, _, attribute = name.rpartition(".")
            setattr(attrgetter(owner)(torch), attribute, value)


def device_of(*values: object) -> str | None:
    """The device of the first tensor among values, as ``--device`` would name it."""
    tensor = next((v for v in values if isinstance(v, torch.Tensor)), None)
    return None if tensor is None else str(tensor.device)
