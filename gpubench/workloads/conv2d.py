"""Two-dimensional convolution: forward, gradient of the input, gradient of the weights."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from gpubench.errors import InputError, nearest
from gpubench.ports import Call, Device, Variant
from gpubench.record import Accuracy, Fact
from gpubench.spec import ELEMENT_BYTES, DeviceInfo, Value, Work
from gpubench.workloads import cudnn_plans
from gpubench.workloads.operands import (
    ROUNDOFF,
    checkable,
    filled,
    rel_error,
    seeded,
    sum_tolerance,
)
from gpubench.workloads.parameters import Declared, chosen, read_field, sized

if TYPE_CHECKING:
    import torch

DIRECTIONS: Final = ("fprop", "dgrad", "wgrad")
LAYOUTS: Final = ("nchw", "nhwc")
ON_CUDA: Final = ("auto", "benchmark", "deterministic", "all")
ON_CPU: Final = ("auto", "onednn", "native")
ALGORITHMS: Final = tuple(dict.fromkeys((*ON_CUDA, *ON_CPU)))
ENGINE: Final = re.compile(r"eng\d+[\w=+.,-]*")
CHECK_IMAGES: Final = 2
CHECK_FILTERS: Final = 8

_WINOGRAD_FACTOR: Final = 16.0
"""Winograd's transforms lose accuracy: up to two decimal digits for 6x6 tiles of FP32
(Barabasz et al., ACM TOMS 46(4), 2020). Any library may choose it, so every FP32 bound is
this much wider; TF32 in place of FP32 still misses it."""


def _algorithm(name: str, value: Value | None) -> str:
    text = str(value)
    if text not in ALGORITHMS and not ENGINE.fullmatch(text):
        raise InputError(
            f"unknown algorithm {text!r}", key=name, nearest=nearest(text, ALGORITHMS),
            expected=f"one of {', '.join(ALGORITHMS)}, or the name of a cuDNN plan",
        )  # fmt: skip
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Conv2d(Declared):
    """Cross-correlation of ``batch`` images, as in torch: y = x * w, one group, no dilation.

    x is batch x c_in x size x width, w is c_out x c_in x kernel_size x kernel_width; both
    ``width`` are 0 for square ones. ``direction`` says which of y, the gradient of x (dgrad)
    and the gradient of w (wgrad) is computed.

    ``algorithm`` on CUDA: ``auto`` (what cuDNN's heuristic gives torch), ``benchmark``
    (torch tries and keeps the fastest), ``deterministic``, ``all`` (every engine of cuDNN,
    each a case of its own) or the name of one cuDNN plan, as ``all`` finds it. On CPU:
    ``auto``, ``onednn`` or ``native`` (oneDNN off).
    """

    name: ClassVar[str] = "conv2d"

    precision: str
    c_in: int = sized("channels of the input")
    c_out: int = sized("channels of the output")
    size: int = sized("height of the input, and its width unless that is given")
    batch: int = sized("images", 1)
    kernel_size: int = sized("height of the filters, and their width unless given", 3)
    stride: int = sized("stride in both dimensions", 1)
    padding: int = sized("zeros on every side", 0, least=0)
    direction: str = chosen("fprop, dgrad or wgrad", DIRECTIONS, "fprop")
    algorithm: str = read_field(
        "auto, benchmark, deterministic, all or a cuDNN plan; on CPU onednn or native",
        _algorithm, "auto",
    )  # fmt: skip
    layout: str = chosen("nchw or nhwc", LAYOUTS, "nchw")
    width: int = sized("width of the input; 0: as its height", 0, least=0)
    kernel_width: int = sized("width of the filters; 0: as their height", 0, least=0)

    def refuse_impossible(self) -> None:
        """The filter must fit into the padded image.

        Raises:
            InputError: it does not.
        """
        for name, kernel, side in zip(
            ("kernel_size", "kernel_width"), self.kernel, self.image, strict=True
        ):
            if kernel > side + 2 * self.padding:
                key = name if getattr(self, name) else "kernel_size"
                raise InputError(
                    f"a filter of {kernel} does not fit into {side} + 2 * {self.padding}",
                    key=key, expected=f"at most {side + 2 * self.padding}",
                )  # fmt: skip

    @property
    def image(self) -> tuple[int, int]:
        """Height and width of the input."""
        return self.size, self.width or self.size

    @property
    def kernel(self) -> tuple[int, int]:
        """Height and width of the filters."""
        return self.kernel_size, self.kernel_width or self.kernel_size

    @property
    def out(self) -> tuple[int, int]:
        """Height and width of the output."""
        p, q = (
            (side + 2 * self.padding - kernel) // self.stride + 1
            for side, kernel in zip(self.image, self.kernel, strict=True)
        )
        return p, q

    @property
    def expands(self) -> bool:
        """``all`` stands for every plan of cuDNN."""
        return self.algorithm == "all"

    def label(self) -> str:
        """E.g. ``32x64x56x56 k64 3x3/1 fprop nhwc eng62_k2=5``."""
        (h, w), (r, s) = self.image, self.kernel
        text = f"{self.batch}x{self.c_in}x{h}x{w} k{self.c_out} {r}x{s}/{self.stride}"
        text += f" {self.direction} {self.layout}"
        return text if self.algorithm == "auto" else f"{text} {self.algorithm}"

    def work(self) -> Work:
        """FLOPs of the direct sum, whatever the algorithm does; tensors moved once each."""
        p, q = self.out
        r, s = self.kernel
        element = ELEMENT_BYTES[self.precision]
        moved = element * (
            self.batch * self.c_in * math.prod(self.image)
            + self.c_out * self.c_in * r * s
            + self.batch * self.c_out * p * q
        )
        return Work(
            flops=2.0 * self.batch * self.c_out * p * q * self.c_in * r * s,
            bytes=float(moved),
            footprint_bytes=float(moved),
            formula="2 * batch * c_out * P * Q * c_in * R * S (direct sum)",
        )

    def unsupported(self, device: DeviceInfo) -> str | None:
        """Whether the device has the algorithm."""
        if self.precision == "fp8":
            return "conv2d does not offer fp8: its operands need scale factors"
        known = ON_CPU if device.type == "cpu" else ON_CUDA
        if self.algorithm in known or (device.type == "cuda" and ENGINE.match(self.algorithm)):
            return None
        where = "a CUDA device" if device.type == "cpu" else "a CPU"
        return f"algorithm {self.algorithm!r} needs {where}; here there are {', '.join(known)}"

    def expand(self, device: Device) -> Sequence[Variant]:
        """Every plan of cuDNN for this convolution, those that cannot run with the reason.

        Raises:
            Unsupported: no cudnn extra, or cuDNN cannot plan it at all.
        """
        memory = device.info.memory_bytes
        room = None if memory is None else memory - self.work().footprint_bytes
        found = cudnn_plans.search(cudnn_plans.Layer.of(self), cudnn_plans.on_device(), room)
        own = {k: v for k, v in self.params().items() if k != "algorithm"}
        return [Variant({**own, "algorithm": f.name}, f.reason) for f in found]

    def observe(self, device: Device) -> Mapping[str, Fact]:
        """Name, notes, workspace and heuristic rank of the cuDNN plan that ran."""
        if not ENGINE.match(self.algorithm):
            return {}
        del device
        plan = cudnn_plans.built(cudnn_plans.Layer.of(self), self.algorithm)
        cudnn_plans.workspace.cache_clear()  # the next case may need the memory
        return plan.facts()

    def build(self, device: Device, seed: int, data: str) -> Call:
        """Operands on the device and a call that convolves them."""
        self._switch(device)
        x, w, g = self._operands(device, seed, data)
        return self._call(x, w, g)[0]

    def check(self, device: Device, seed: int, data: str) -> Accuracy:
        """Frobenius-norm error of part of the result against FP64 on fresh inputs.

        Images of fprop and dgrad, and filters of wgrad, are independent of each other, so
        a few of them stand for all: ``CHECK_IMAGES`` and ``CHECK_FILTERS``.
        """
        import torch

        self._switch(device)
        x, w, g = self._operands(device, seed, checkable(data))
        call, fixed = self._call(x, w, g)
        if fixed is not None:
            fixed.fill_(math.nan)
        result = call()
        device.synchronize()
        out = result if fixed is None else fixed
        assert isinstance(out, torch.Tensor)
        part, reference, said = self._reference(x, w, g, out)
        return Accuracy(
            rel_error(part, reference),
            self.tolerance(),
            f"FP64 convolution of the same operands: {said}",
        )

    def tolerance(self) -> float:
        """Largest relative error that is right, with room for Winograd transforms."""
        p, q = self.out
        terms = {
            "fprop": self.c_in * math.prod(self.kernel),
            "dgrad": self.c_out * math.prod(self.kernel),
            "wgrad": self.batch * p * q,
        }[self.direction]
        plain = sum_tolerance(self.precision, terms)
        if self.precision in ("fp32", "fp64"):
            return _WINOGRAD_FACTOR * plain
        # Transformed tiles are stored in 16 bits between the kernels: a few roundings more.
        return plain + 6 * ROUNDOFF[self.precision]

    def _switch(self, device: Device) -> None:
        """Set what chooses the algorithm; ``Device.prepare`` sets it back for other cases."""
        import torch

        if device.info.type == "cpu":
            # A descriptor of the module's class, which type checkers take for an attribute.
            setattr(torch.backends.mkldnn, "enabled", self.algorithm != "native")  # noqa: B010
        else:
            torch.backends.cudnn.benchmark = self.algorithm == "benchmark"
            torch.backends.cudnn.deterministic = self.algorithm == "deterministic"

    def _operands(
        self, device: Device, seed: int, data: str
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Image, weights, and gradient of the output, in the layout."""
        import torch

        generator = seeded(device, seed)
        order = torch.channels_last if self.layout == "nhwc" else torch.contiguous_format

        def tensor(*shape: int) -> torch.Tensor:
            values = filled(device, shape, self.precision, data, generator)
            return values.contiguous(memory_format=order)

        x = tensor(self.batch, self.c_in, *self.image)
        w = tensor(self.c_out, self.c_in, *self.kernel)
        return x, w, tensor(self.batch, self.c_out, *self.out)

    def _call(
        self, x: torch.Tensor, w: torch.Tensor, g: torch.Tensor
    ) -> tuple[Call, torch.Tensor | None]:
        """The call, and the output where it is the same one each time."""
        import torch

        if ENGINE.match(self.algorithm):
            return self._plan_call(x, w, g)
        stride, padding = [self.stride] * 2, [self.padding] * 2
        if self.direction == "fprop":
            conv = torch.nn.functional.conv2d
            return (lambda: conv(x, w, None, stride, padding)), None
        backward = torch.ops.aten.convolution_backward
        wanted = [self.direction == "dgrad", self.direction == "wgrad", False]
        index = 0 if self.direction == "dgrad" else 1
        arguments = (g, x, w, None, stride, padding, [1, 1], False, [0, 0], 1, wanted)
        return (lambda: backward(*arguments)[index]), None

    def _plan_call(
        self, x: torch.Tensor, w: torch.Tensor, g: torch.Tensor
    ) -> tuple[Call, torch.Tensor]:
        import torch

        plan = cudnn_plans.built(cudnn_plans.Layer.of(self), self.algorithm)
        out = torch.empty_like({"fprop": g, "dgrad": x, "wgrad": w}[self.direction])
        inputs = {"fprop": (x, w), "dgrad": (g, w), "wgrad": (x, g)}[self.direction]
        workspace = cudnn_plans.workspace(plan.workspace_bytes, str(x.device))
        return plan.bound(*inputs, out, workspace), out

    def _reference(
        self, x: torch.Tensor, w: torch.Tensor, g: torch.Tensor, out: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, str]:
        """(part of the result, the same in FP64, what part it is)."""
        import torch
        from torch.nn.grad import conv2d_input, conv2d_weight

        stride, padding = self.stride, self.padding
        few = slice(0, CHECK_IMAGES)
        images = f"{min(CHECK_IMAGES, self.batch)} of {self.batch} images"
        x, w, g = (t.double().contiguous() for t in (x, w, g))
        if self.direction == "fprop":
            y = torch.nn.functional.conv2d(x[few], w, None, stride, padding)
            return out[few], y, images
        if self.direction == "dgrad":
            shape = [len(x[few]), *x.shape[1:]]
            dx = conv2d_input(shape, w, g[few], stride, padding)
            return out[few], dx, images
        filters = slice(0, CHECK_FILTERS)
        shape = [len(w[filters]), *w.shape[1:]]
        dw = conv2d_weight(x, shape, g[:, filters], stride, padding)
        said = f"{len(w[filters])} of {self.c_out} filters"
        return out[filters], dw, said
