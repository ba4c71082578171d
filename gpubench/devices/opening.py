"""Open the device that was asked for; translate its errors."""

from __future__ import annotations

import time
from typing import Final

import torch

from gpubench.devices.cpu import CpuDevice
from gpubench.devices.cuda import CudaDevice, why_no_cuda
from gpubench.errors import CaseFailed, InputError
from gpubench.ports import Device

WAKE_S: Final = 0.5
"""Time that a fresh worker computes before its first case."""


def wake(device: Device) -> None:
    """Multiply matrices for ``WAKE_S``: clocks rise, threads start, pages are touched."""
    a = torch.rand(512, 512, device=device.info.torch_name)
    until = time.perf_counter() + WAKE_S
    while time.perf_counter() < until:
        torch.mm(a, a)
        device.synchronize()


def open_device(request: str) -> tuple[Device, str]:
    """The device that ``--device`` asks for, and one line on how it was chosen.

    Raises:
        InputError: it is not there, or the request is not understood.
    """
    kind, _, index = request.partition(":")
    if kind == "auto":
        if torch.cuda.is_available():
            kind, note = "cuda", "auto: a CUDA device is there"
        else:
            kind, note = "cpu", f"auto: no CUDA device; that would need {why_no_cuda()}"
    else:
        note = f"asked for with --device {request}"
    if kind == "cpu" and not index:
        return CpuDevice(note), note
    if kind == "cuda" and (not index or index.isdigit()):
        return CudaDevice(int(index or 0), note), note
    raise InputError(f"unknown device {request!r}", expected="auto, cpu, cuda or cuda:N")


def translate_cuda(error: BaseException) -> CaseFailed | None:
    """CUDA's errors by what they mean for the process.

    After an illegal address, a failed assertion or a launch failure every later call in
    the same context fails: the process has to go (CUDA Runtime API, cudaError_t).
    """
    text = str(error).strip()
    first = text.splitlines()[0] if text else type(error).__name__
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return CaseFailed("out_of_memory", first)
    if isinstance(error, MemoryError) or "can't allocate memory" in text:
        return CaseFailed("out_of_memory", first or "out of memory")
    accelerator = getattr(torch, "AcceleratorError", ())
    if isinstance(error, accelerator) or "CUDA error" in text or "device-side assert" in text:
        return CaseFailed("error", first, sticky=_context_is_broken())
    return None


def _context_is_broken() -> bool:
    if not torch.cuda.is_available():
        return False
    try:
        torch.cuda.synchronize()
    except RuntimeError:
        return True
    return False
