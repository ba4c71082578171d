"""Trace a step of a torch model on the meta device into operations the cost model knows.

No memory is allocated and nothing is computed. Four things differ between the meta device
and a GPU and are put right here, above autograd: dropout would fall apart into several
operators, SDPA into plain attention, LSTM and GRU into a chain of small products, and autocast
would do nothing. Only the bodies of functions import torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from gpubench.model.recurrent import recurrent, understood

if TYPE_CHECKING:
    import torch

PRECISION_OF: Final[Mapping[str, str]] = {
    "torch.float64": "fp64", "torch.float32": "fp32", "torch.float16": "fp16",
    "torch.bfloat16": "bf16",
}  # fmt: skip
PERMUTED_COPY: Final = 1.15
"""A copy that permutes reaches less bandwidth; from prototypes on V100 and A100."""
LAYERNORM_BACKWARD: Final = 6.25
SOFTMAX_BACKWARD: Final = 3.0
"""Passes over the tensor, from measured FP32 steps."""
ATTENTION_BACKWARD: Final = 2.5
"""FLOPs of the fused attention's backward over its forward (Dao, arXiv:2307.08691)."""
BATCH_NORM_BACKWARD: Final = 5.0


@dataclass(frozen=True, slots=True)
class Operation:
    """One operator of a step.

    Attributes:
        phase: ``forward``, ``backward`` or ``optimizer``.
        name: the ATen operator, for people.
        workload, precision, params: as in a suite file, for the cost model.
        weight: times the workload's time (a fused backward pass, say).
    """

    phase: str
    name: str
    workload: str
    precision: str
    params: tuple[tuple[str, float | str], ...]
    weight: float = 1.0


def moved(phase: str, name: str, count: float) -> Operation:
    """An operator that moves ``count`` bytes and does little else.

    As an FP32 copy of the same traffic: 8 bytes an element.
    """
    rows = max(count / 8.0, 1.0)
    params = (("function", "copy"), ("inputs", 1.0), ("rows", float(round(rows))), ("cols", 1.0))
    return Operation(phase, name, "elementwise", "fp32", params)


class Recorder:
    """Gathers the operations of a step, phase by phase."""

    def __init__(self, tf32: bool = False) -> None:
        self.operations: list[Operation] = []
        self.phase = "forward"
        self.again: Callable[[], AbstractContextManager[Any]] = nullcontext
        """Context for what the backward pass computes again: the engine leaves modes behind."""
        self._tf32 = tf32

    def precision(self, tensor: torch.Tensor) -> str:
        """The precision that products of this tensor run in."""
        found = PRECISION_OF.get(str(tensor.dtype), "fp32")
        return "tf32" if found == "fp32" and self._tf32 else found

    def add(
        self, name: str, workload: str, precision: str, weight: float = 1.0, **params: Any
    ) -> None:
        """Record one operator."""
        given = tuple((k, v if isinstance(v, str) else float(v)) for k, v in params.items())
        self.operations.append(Operation(self.phase, name, workload, precision, given, weight))

    def move(self, name: str, count: float) -> None:
        """Record an operator bound by the bytes it moves."""
        if count > 0:
            self.operations.append(moved(self.phase, name, count))

    # ---- one ATen operator

    def record(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: Any) -> None:
        """Classify one dispatched operator by its name, shapes and strides."""
        name = func.overloadpacket.__name__
        handler = _HANDLERS.get(name)
        if handler is not None:
            handler(self, args, out)
            return
        inputs, outputs = _tensors((args, kwargs)), _tensors(out)
        if name in _FREE or (outputs and all(_is_view(o, inputs) for o in outputs)
                             and not func._schema.is_mutable):  # fmt: skip
            return
        read = sum(_real_bytes(t) for t in inputs)
        # An in-place operator writes its first argument, which was counted as read.
        written = sum(_real_bytes(t) for t in outputs)
        factor = (
            PERMUTED_COPY if name in ("clone", "copy_", "_to_copy") and _permutes(inputs) else 1.0
        )
        self.move(name, factor * (read + written))

    def product(self, name: str, a: torch.Tensor, b: torch.Tensor, *, biased: bool = False) -> None:
        """A matrix product; orientation by strides, since a transposed view is free."""
        batch = a.shape[0] if a.dim() == 3 else 1
        m, k, n = a.shape[-2], a.shape[-1], b.shape[-1]
        orientation = ("t" if _transposed(a) else "n") + ("t" if _transposed(b) else "n")
        precision = self.precision(a)
        if batch == 1 and orientation == "nt" and biased:
            self.add(name, "linear", precision, m=m, n=n, k=k)
        else:
            self.add(name, "gemm", precision, m=m, n=n, k=k, batch=batch, transpose=orientation)


def _tensors(value: Any) -> list[torch.Tensor]:
    """Every tensor in nested arguments."""
    import torch
    from torch.utils._pytree import tree_leaves

    return [t for t in tree_leaves(value) if isinstance(t, torch.Tensor)]


def _is_view(out: torch.Tensor, inputs: list[torch.Tensor]) -> bool:
    """Whether an output shares its memory with an input."""
    mine = out.untyped_storage()._cdata
    return any(t.untyped_storage()._cdata == mine for t in inputs)


def _real_bytes(t: torch.Tensor) -> float:
    """Bytes really touched: expanded dimensions (stride 0) are stored once."""
    count = 1
    for size, stride in zip(t.shape, t.stride(), strict=True):
        count *= size if stride != 0 else 1
    return float(count * t.element_size())


def _permutes(inputs: list[torch.Tensor]) -> bool:
    return any(t.dim() > 1 and not t.is_contiguous() for t in inputs)


def _transposed(t: torch.Tensor) -> bool:
    """Whether the last dimension but one is the contiguous one."""
    rows, columns = t.stride()[-2:]
    return bool(columns != 1 and rows == 1 and t.shape[-1] > 1)


def _row_shape(t: torch.Tensor, dim: int) -> tuple[int, int]:
    """(rows, columns) of an operator along ``dim``."""
    columns = max(1, t.shape[dim])
    return max(1, t.numel() // columns), columns


# ---------------------------------------------------------------- operators with a model

_FREE: Final = frozenset({
    "_unsafe_view", "view", "t", "transpose", "permute", "expand", "slice", "select", "alias",
    "detach", "unsqueeze", "squeeze", "split", "unbind", "as_strided", "empty", "empty_like",
    "empty_strided", "new_empty", "lift_fresh", "is_same_size", "_local_scalar_dense",
    "split_with_sizes", "new_empty_strided", "_reshape_alias", "chunk", "narrow",
})  # fmt: skip


def _mm(r: Recorder, args: tuple[Any, ...], _out: Any) -> None:
    r.product("mm", args[0], args[1])


def _addmm(r: Recorder, args: tuple[Any, ...], _out: Any) -> None:
    r.product("addmm", args[1], args[2], biased=True)


def _bmm(r: Recorder, args: tuple[Any, ...], _out: Any) -> None:
    r.product("bmm", args[0], args[1])


def _baddbmm(r: Recorder, args: tuple[Any, ...], _out: Any) -> None:
    r.product("baddbmm", args[1], args[2])


def _softmax(r: Recorder, args: tuple[Any, ...], _out: Any) -> None:
    rows, cols = _row_shape(args[0], int(args[1]))
    r.add("softmax", "softmax", PRECISION_OF.get(str(args[0].dtype), "fp32"), rows=rows, cols=cols)


def _softmax_backward(r: Recorder, args: tuple[Any, ...], _out: Any) -> None:
    r.move("softmax_backward", SOFTMAX_BACKWARD * _real_bytes(args[0]))


def _layer_norm(r: Recorder, args: tuple[Any, ...], _out: Any) -> None:
    cols = 1
    for size in args[1]:
        cols *= int(size)
    rows = max(1, args[0].numel() // cols)
    precision = PRECISION_OF.get(str(args[0].dtype), "fp32")
    r.add("layer_norm", "layernorm", precision, rows=rows, cols=cols)


def _layer_norm_backward(r: Recorder, args: tuple[Any, ...], _out: Any) -> None:
    r.move("layer_norm_backward", LAYERNORM_BACKWARD * _real_bytes(args[0]))


def _batch_norm(r: Recorder, args: tuple[Any, ...], _out: Any) -> None:
    # Training: one pass for the statistics, one to read, one to write.
    r.move("batch_norm", 3.0 * _real_bytes(args[0]))


def _batch_norm_backward(r: Recorder, args: tuple[Any, ...], _out: Any) -> None:
    r.move("batch_norm_backward", BATCH_NORM_BACKWARD * _real_bytes(args[0]))


def _embedding(r: Recorder, _args: tuple[Any, ...], out: Any) -> None:
    r.move("embedding", 2.0 * _real_bytes(out))


def _embedding_backward(r: Recorder, args: tuple[Any, ...], out: Any) -> None:
    # The gradient's rows are added into a table that was cleared first.
    r.move("embedding_backward", 3.0 * _real_bytes(args[0]) + _real_bytes(out))


def _convolution(r: Recorder, args: tuple[Any, ...], out: Any) -> None:
    _conv(r, "convolution", args[0], args[1], out, args[3], args[4], "fprop")
    if args[2] is not None:
        r.move("convolution bias", 2.0 * _real_bytes(out))


def _convolution_backward(r: Recorder, args: tuple[Any, ...], _out: Any) -> None:
    grad, image, weight, stride, padding, mask = (
        args[0],
        args[1],
        args[2],
        args[4],
        args[5],
        args[10],
    )
    for wanted, direction in zip(mask, ("dgrad", "wgrad"), strict=False):
        if wanted:
            _conv(r, "convolution_backward", image, weight, grad, stride, padding, direction)
    if mask[2]:
        r.move("convolution bias gradient", _real_bytes(grad))


def _conv(
    r: Recorder, name: str, image: torch.Tensor, weight: torch.Tensor, out: torch.Tensor,
    stride: Any, padding: Any, direction: str,
) -> None:  # fmt: skip
    """A square 2-d convolution; anything else by the product it amounts to."""
    square = image.dim() == 4 and image.shape[2] == image.shape[3]
    if square and weight.shape[2] == weight.shape[3]:
        r.add(
            name, "conv2d", r.precision(image), batch=image.shape[0], c_in=image.shape[1],
            c_out=weight.shape[0], size=image.shape[2], kernel_size=weight.shape[2],
            stride=stride[0], padding=padding[0], direction=direction,
        )  # fmt: skip
        return
    positions = out.numel() // out.shape[1]
    k = weight.numel() // weight.shape[0]
    r.add(name, "gemm", r.precision(image), m=positions, n=weight.shape[0], k=k, transpose="nt")


_HANDLERS: Final[Mapping[str, Callable[[Recorder, tuple[Any, ...], Any], None]]] = {
    "mm": _mm, "addmm": _addmm, "bmm": _bmm, "baddbmm": _baddbmm,
    "_softmax": _softmax, "_log_softmax": _softmax,
    "_softmax_backward_data": _softmax_backward, "_log_softmax_backward_data": _softmax_backward,
    "native_layer_norm": _layer_norm, "native_layer_norm_backward": _layer_norm_backward,
    "native_batch_norm": _batch_norm, "cudnn_batch_norm": _batch_norm,
    "_native_batch_norm_legit": _batch_norm,
    "native_batch_norm_backward": _batch_norm_backward,
    "embedding": _embedding, "embedding_dense_backward": _embedding_backward,
    "convolution": _convolution, "convolution_backward": _convolution_backward,
}  # fmt: skip


# ---------------------------------------------------------------- modes


@contextmanager
def recording(recorder: Recorder) -> Iterator[None]:
    """Record every operator dispatched within, forward and backward."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    class Record(TorchDispatchMode):
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            if func is torch.ops.aten._local_scalar_dense.default:
                # Nobody knows the value. Checks of inputs ("is anything padded?") are
                # answered with the usual case: all is well.
                return {torch.bool: True}.get(args[0].dtype, 0)
            out = func(*args, **(kwargs or {}))
            recorder.record(func, args, kwargs or {}, out)
            return out

    with Record():  # type: ignore[no-untyped-call]
        yield


@contextmanager
def as_on_a_gpu(recorder: Recorder, autocast: str | None) -> Iterator[None]:
    """Dropout, SDPA and recurrent layers as one operator each, and casts; above autograd.

    Args:
        autocast: ``fp16`` or ``bf16``; None for none.
    """
    import torch
    import torch.nn.functional as F  # noqa: N812
    from torch.overrides import TorchFunctionMode

    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16, None: None}[autocast]
    cached: dict[tuple[str, int], torch.Tensor] = {}
    lowered = {
        F.linear, torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__, torch.bmm,
        torch.Tensor.bmm, torch.mm, torch.addmm, torch.baddbmm, torch.conv2d, F.conv2d,
        torch.conv1d, F.conv1d, F.scaled_dot_product_attention,
    }  # fmt: skip
    raised = {
        F.softmax, torch.softmax, torch.Tensor.softmax, F.log_softmax, F.layer_norm,
        torch.layer_norm, F.cross_entropy, F.binary_cross_entropy,
    }  # fmt: skip

    cells = {torch.lstm: "lstm", torch.gru: "gru"}

    def lower(t: Any) -> Any:
        """Cast as autocast does: weights once a pass, activations each time.

        What checkpointing computes again, it casts again: autocast forgets at its end.
        """
        if dtype is None or not isinstance(t, torch.Tensor) or t.dtype != torch.float32:
            return t
        if not (t.is_leaf and t.requires_grad):
            return t.to(dtype)
        key = (recorder.phase, id(t))
        if key not in cached:
            cached[key] = t.to(dtype)
        return cached[key]

    def lift(t: Any) -> Any:
        half = isinstance(t, torch.Tensor) and t.dtype in (torch.float16, torch.bfloat16)
        return t.float() if half else t

    class Gpu(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            kwargs = kwargs or {}
            if dtype is not None and func in lowered:
                args = tuple(lower(a) for a in args)
                kwargs = {k: lower(v) for k, v in kwargs.items()}
            elif dtype is not None and func in raised:
                args = tuple(lift(a) for a in args)
            cell = cells.get(func)
            if cell is not None and understood(cell, args):
                return recurrent(recorder, cell, args, lower)
            if func is F.dropout:
                return _dropout(*args, **kwargs)
            if func is F.scaled_dot_product_attention:
                return _attention(recorder, *args, **kwargs)
            return func(*args, **kwargs)

    recorder.again = Gpu
    with Gpu():
        yield


def _dropout(x: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """The fused kernel that GPUs run, which keeps a mask of one byte an element."""
    import torch

    del inplace
    return torch.native_dropout(x, p, True)[0] if training and p > 0 else x


def _attention(
    recorder: Recorder, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor,
    attn_mask: Any = None, dropout_p: float = 0.0, is_causal: bool = False, **_more: Any,
) -> Any:  # fmt: skip
    """SDPA as the one kernel it is on a GPU, with its backward."""
    import torch

    del attn_mask, dropout_p
    heads, length, dim = query.shape[-3], query.shape[-2], query.shape[-1]
    batch = query.numel() // (heads * length * dim)
    precision = recorder.precision(query)
    if key.shape[-2] != length:
        # Tokens that look back at a cache: its keys and values are read once, little is computed.
        recorder.move("attention to a cache", sum(_real_bytes(t) for t in (query, key, value)))
        return torch.empty_like(query)

    def note(name: str, weight: float) -> None:
        recorder.add(
            name, "attention", precision, weight, batch=batch, heads=heads, seq_len=length,
            head_dim=dim, causal="true" if is_causal else "false",
        )  # fmt: skip

    class Fused(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, q: Any, k: Any, v: Any) -> Any:
            ctx.shapes = (q, k, v)
            note("attention", 1.0)
            return torch.empty_like(q)

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            del grads
            note("attention_backward", ATTENTION_BACKWARD)
            return tuple(torch.empty_like(t) for t in ctx.shapes)

    return Fused.apply(query, key, value)  # type: ignore[no-untyped-call]
