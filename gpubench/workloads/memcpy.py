"""Copies: within the device's memory, and between host and device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from gpubench.errors import InputError, UnknownName
from gpubench.ports import Call, Device
from gpubench.record import Accuracy
from gpubench.spec import DeviceInfo, Value, Work
from gpubench.units import bytes_iec
from gpubench.workloads.parameters import refuse_rest, whole

if TYPE_CHECKING:
    import torch

DIRECTIONS: Final = ("d2d", "h2d", "d2h")
_DEFAULTS: Final[Mapping[str, Value]] = {"direction": "d2d", "pinned": True}


@dataclass(frozen=True, slots=True)
class Memcpy:
    """Copy ``bytes`` bytes. ``d2d`` stays on the device (on CPU: in main memory).

    ``pinned`` says whether the host side of a transfer is page-locked; without it the
    driver copies through a staging buffer.
    """

    name: ClassVar[str] = "memcpy"

    bytes: int
    precision: str = "fp32"
    direction: str = "d2d"
    pinned: bool = True

    @classmethod
    def parameters(cls) -> Mapping[str, str]:
        """Parameter name -> what it means."""
        return {
            "bytes": "bytes copied in one call",
            "direction": "d2d, h2d (host to device) or d2h (default d2d)",
            "pinned": "page-locked host memory (default true)",
        }

    @classmethod
    def from_params(cls, params: Mapping[str, Value], precision: str) -> Memcpy:
        """Validate; bytes may be written as 1e9.

        Raises:
            InputError: with ``key`` set to the parameter that does not fit.
        """
        given = {**_DEFAULTS, **params}
        size = whole("bytes", given.pop("bytes", None), least=4, most=2**48)
        direction, pinned = given.pop("direction"), given.pop("pinned")
        if direction not in DIRECTIONS:
            raise UnknownName("direction", str(direction), DIRECTIONS).at(key="direction")
        if not isinstance(pinned, bool):
            raise InputError(f"{pinned!r} found", key="pinned", expected="true or false")
        refuse_rest("memcpy", given, cls.parameters())
        return cls(size, precision, str(direction), pinned)

    def params(self) -> Mapping[str, Value]:
        """Canonical parameters with defaults filled in."""
        return {"bytes": self.bytes, "direction": self.direction, "pinned": self.pinned}

    def identity(self) -> Mapping[str, Value]:
        """Parameters that differ from their defaults."""
        return {k: v for k, v in self.params().items() if _DEFAULTS.get(k) != v}

    def label(self) -> str:
        """E.g. ``64 MiB d2d``."""
        host = "" if self.direction == "d2d" else (" pinned" if self.pinned else " pageable")
        return f"{bytes_iec(self.bytes)} {self.direction}{host}"

    def work(self) -> Work:
        """No FLOPs. Within a device each byte is read and written; a transfer counts once."""
        moved = 2 * self.bytes if self.direction == "d2d" else self.bytes
        return Work(
            flops=0.0,
            bytes=float(moved),
            footprint_bytes=2.0 * self.bytes,
            formula="none; d2d counts reading and writing, a transfer the bytes sent",
        )

    def unsupported(self, device: DeviceInfo) -> str | None:
        """A CPU has no other side to transfer to."""
        if device.type == "cpu" and self.direction != "d2d":
            return f"{self.direction} is between host and GPU, and there is no GPU"
        return None

    def build(self, device: Device, seed: int, data: str) -> Call:
        """Two buffers and a call that copies one into the other.

        Transfers from pinned memory are asynchronous, as applications issue them.
        """
        del seed, data  # copies take as long whatever the bytes are
        source, target = self._buffers(device)
        source.fill_(1)
        return lambda: target.copy_(source, non_blocking=True)

    def check(self, device: Device, seed: int, data: str) -> Accuracy:
        """Whether every byte arrived, on fresh random bytes."""
        import torch

        del data
        source, target = self._buffers(device)
        generator = torch.Generator(source.device).manual_seed(seed)
        source.random_(0, 256, generator=generator)
        target.fill_(7)
        target.copy_(source, non_blocking=True)
        device.synchronize()
        # Compared in pieces: a mask as large as the data could be what does not fit.
        step = 2**26
        wrong = sum(
            int((target[i : i + step].cpu() != source[i : i + step].cpu()).sum())
            for i in range(0, len(source), step)
        )
        return Accuracy(wrong / len(source), 0.0, "the source, byte by byte")

    def _buffers(self, device: Device) -> tuple[torch.Tensor, torch.Tensor]:
        import torch

        here = device.info.torch_name
        pin = self.pinned and device.info.type == "cuda"
        places = {"d2d": (here, here), "h2d": ("cpu", here), "d2h": (here, "cpu")}[self.direction]
        source, target = (
            torch.empty(self.bytes, dtype=torch.uint8, device=p, pin_memory=pin and p == "cpu")
            for p in places
        )
        return source, target
