"""Scaled dot-product attention by torch's backends, forward or with its gradients."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from gpubench.errors import Unsupported
from gpubench.ports import Call, Device
from gpubench.record import Accuracy, Fact
from gpubench.spec import ELEMENT_BYTES, DeviceInfo, Work
from gpubench.workloads.operands import checkable, filled, rel_error, seeded, sum_tolerance
from gpubench.workloads.parameters import Declared, chosen, flagged, sized

if TYPE_CHECKING:
    import torch

BACKENDS: Final = ("auto", "math", "flash", "mem_efficient", "cudnn")
ON_CPU: Final = ("auto", "math", "flash")
DIRECTIONS: Final = ("forward", "forward_backward")
CHECK_QUERIES: Final = 128
CHECK_SEQUENCE: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention(Declared):
    """softmax(Q Kᵀ / sqrt(head_dim)) V for batch x heads groups of seq_len x head_dim.

    ``backend`` is torch's: ``auto`` (what it chooses here), ``math`` (separate kernels),
    ``flash``, ``mem_efficient`` or ``cudnn``. ``forward_backward`` adds the gradients of Q,
    K and V; the time of the gradients alone is the difference of the two.
    """

    name: ClassVar[str] = "attention"

    precision: str
    batch: int = sized("sequences", 1)
    heads: int = sized("heads", 1)
    seq_len: int = sized("tokens of a sequence, queries and keys alike")
    head_dim: int = sized("features of a head", 64)
    causal: bool = flagged("whether a token sees only those before it", default=False)
    backend: str = chosen("auto, math, flash, mem_efficient or cudnn", BACKENDS, "auto")
    direction: str = chosen("forward or forward_backward", DIRECTIONS, "forward")

    def label(self) -> str:
        """E.g. ``8x12x1024x64 causal flash``."""
        text = f"{self.batch}x{self.heads}x{self.seq_len}x{self.head_dim}"
        text += " causal" if self.causal else ""
        text += "" if self.direction == "forward" else " fwd+bwd"
        return text if self.backend == "auto" else f"{text} {self.backend}"

    def work(self) -> Work:
        """Two products forward; backward is counted as 2.5 times that (Dao, 2023)."""
        groups = self.batch * self.heads
        seen = (self.seq_len + 1) / 2 if self.causal else self.seq_len
        forward = 4.0 * groups * self.seq_len * seen * self.head_dim
        tensor = float(ELEMENT_BYTES[self.precision] * groups * self.seq_len * self.head_dim)
        both = self.direction == "forward_backward"
        # Backward reads Q, K, V, O and the gradient of O, and writes three gradients.
        moved = tensor * (12 if both else 4)
        footprint = tensor * (8 if both else 4)
        if self.backend == "math":
            scores = ELEMENT_BYTES[self.precision] * groups * float(self.seq_len) ** 2
            footprint += scores * (4 if both else 3)
        return Work(
            flops=forward * (3.5 if both else 1.0), bytes=moved, footprint_bytes=footprint,
            formula="4 * batch * heads * seq_len^2 * head_dim"
            + (", half of it if causal" if self.causal else "")
            + (", * 3.5 with the backward pass" if both else ""),
        )  # fmt: skip

    def unsupported(self, device: DeviceInfo) -> str | None:
        """What torch's documentation of the backends rules out."""
        if self.precision == "fp8":
            return "attention does not offer fp8"
        if device.type == "cpu":
            if self.backend in ON_CPU:
                return None
            return f"backend {self.backend!r} needs a CUDA device; a CPU has {', '.join(ON_CPU)}"
        cc = device.compute_capability or (0, 0)
        if self.backend in ("flash", "cudnn"):
            if cc < (8, 0):
                return f"backend {self.backend!r} needs Ampere or newer (compute capability 8.0)"
            if self.precision not in ("fp16", "bf16"):
                return f"backend {self.backend!r} takes fp16 and bf16 only"
        if self.backend == "mem_efficient" and self.precision == "fp64":
            return "backend 'mem_efficient' does not take fp64"
        return None

    def build(self, device: Device, seed: int, data: str) -> Call:
        """Q, K, V on the device and the call, with the one backend allowed."""
        self._allow_only()
        tensors = self._operands(device, seed, data)
        call = self._call(*tensors)
        _first(call)
        return call

    def check(self, device: Device, seed: int, data: str) -> Accuracy:
        """One batch and head of the result, and of the gradient of Q, against FP64.

        Rows of both depend on one query each, so ``CHECK_QUERIES`` of them are checked; the
        gradients of K and V sum over all queries, and are checked whole where the sequence is
        no longer than ``CHECK_SEQUENCE``.
        """
        self._allow_only()
        q, k, v, g = self._operands(device, seed, checkable(data))
        found: Any = _first(self._call(q, k, v, g))
        device.synchronize()
        outs = found if isinstance(found, tuple) else (found,)
        names = ("output", "gradient of Q", "gradient of K", "gradient of V")
        error, worst = 0.0, names[0]
        for name, got, expected in zip(names, outs, self._reference(q, k, v, g), strict=False):
            if expected is None:
                continue
            part, reference = expected
            this = rel_error(part(got), reference)
            if not this <= error:
                error, worst = this, name
        return Accuracy(
            error, self.tolerance(), f"FP64 attention of one batch and head; worst: {worst}"
        )

    def tolerance(self) -> float:
        """Largest right error; half formats round the weights before the second product."""
        room = 8.0 if self.direction == "forward_backward" else 4.0
        return room * sum_tolerance(self.precision, self.seq_len + self.head_dim)

    def observe(self, device: Device) -> Mapping[str, Fact]:
        """The backend that torch chose, where it was asked to choose."""
        if self.backend != "auto":
            return {"sdpa.backend": self.backend}
        import torch

        q, k, v, _ = self._operands(device, 0, "zeros")
        if self.direction == "forward_backward":
            q.requires_grad_(True)
        choose = getattr(torch, "_fused_sdp_choice", None)
        if choose is None:
            return {"sdpa.backend": None}
        number = choose(q, k, v, None, 0.0, self.causal)
        names = {0: "math", 1: "flash", 2: "mem_efficient", 3: "cudnn"}
        return {"sdpa.backend": names.get(int(number), str(number))}

    def _allow_only(self) -> None:
        """Process-wide switches; ``Device.prepare`` sets them back for other cases."""
        import torch

        allowed = {self.backend} if self.backend != "auto" else set(BACKENDS)
        sdp: Any = torch.backends.cuda
        sdp.enable_math_sdp("math" in allowed)
        sdp.enable_flash_sdp("flash" in allowed)
        sdp.enable_mem_efficient_sdp("mem_efficient" in allowed)
        if hasattr(sdp, "enable_cudnn_sdp"):
            sdp.enable_cudnn_sdp("cudnn" in allowed)

    def _operands(self, device: Device, seed: int, data: str) -> tuple[torch.Tensor, ...]:
        """Q, K, V and the gradient of the output."""
        generator = seeded(device, seed)
        shape = (self.batch, self.heads, self.seq_len, self.head_dim)
        q, k, v, g = (filled(device, shape, self.precision, data, generator) for _ in range(4))
        if self.direction == "forward_backward":
            for t in (q, k, v):
                t.requires_grad_(True)
        return q, k, v, g

    def _call(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, g: torch.Tensor) -> Call:
        import torch

        attend, causal = torch.nn.functional.scaled_dot_product_attention, self.causal
        if self.direction == "forward":
            return lambda: attend(q, k, v, is_causal=causal)

        def both() -> tuple[torch.Tensor, ...]:
            out = attend(q, k, v, is_causal=causal)
            return (out, *torch.autograd.grad(out, (q, k, v), g))

        return both

    def _reference(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, g: torch.Tensor
    ) -> list[Any]:
        """For the output and each gradient: (how to cut the part, the part in FP64)."""
        import torch

        s, whole = self.seq_len, self.seq_len <= CHECK_SEQUENCE
        both = self.direction == "forward_backward"
        if both and whole:
            rows = torch.arange(s, device=q.device)
        else:
            order = torch.randperm(s, generator=torch.Generator().manual_seed(s))
            rows = order[:CHECK_QUERIES].sort().values.to(q.device)
        one = [t.detach()[0, 0].double() for t in (q, k, v, g)]
        q0, k0, v0 = (t.requires_grad_(both) for t in (one[0][rows], one[1], one[2]))
        scores = q0 @ k0.t() / math.sqrt(self.head_dim)
        if self.causal:
            future = torch.arange(s, device=q.device)[None, :] > rows[:, None]
            scores = scores.masked_fill(future, -math.inf)
        out = torch.softmax(scores, -1) @ v0

        def cut(t: torch.Tensor) -> torch.Tensor:
            return t.detach()[0, 0][rows]

        if not both:
            return [(cut, out)]
        dq, dk, dv = torch.autograd.grad(out, (q0, k0, v0), one[3][rows])
        full = [(lambda t: t[0, 0], d) if whole else None for d in (dk, dv)]
        return [(cut, out.detach()), (cut, dq), *full]


def _first(call: Call) -> object:
    """The first call, where torch says that no allowed backend takes the inputs."""
    try:
        return call()
    except RuntimeError as error:
        if "No available kernel" in str(error) or "No viable backend" in str(error):
            raise Unsupported(f"torch: {str(error).splitlines()[0]}") from error
        raise
