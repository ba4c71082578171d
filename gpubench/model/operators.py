"""From workload names and parameters to terms: the one place that knows every operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpubench.model import attention as attention_model
from gpubench.model import collective as collective_model
from gpubench.model import conv as conv_model
from gpubench.model import memory as memory_model
from gpubench.model import rnn as rnn_model
from gpubench.model.gemm import Shape, gemm
from gpubench.model.hardware import Hardware
from gpubench.model.rows import Rows
from gpubench.model.tensorcore import tensor_gemm
from gpubench.model.terms import Array, Constants, Terms

_Compute = Callable[[Hardware, NDArray[np.bool_], bool, Constants], Terms]
"""Parameters already read: (hardware, mask, on Tensor Cores, constants) to terms."""

FUNCTIONS: Final = {
    "add": 2.0, "sub": 2.0, "mul": 2.0, "div": 2.0, "pow": 2.0, "relu": 1.0, "gelu": 1.0,
    "tanh": 1.0, "exp": 1.0, "sigmoid": 1.0, "silu": 1.0, "sqrt": 1.0, "neg": 1.0, "copy": 1.0,
}  # fmt: skip
"""Pointwise functions and how many operands they take by default."""

_UNFUSED: Final = ("math", "eager")
_BACKENDS: Final = {"auto": 1.0, "sdpa": 1.0, "flash": 1.0, "efficient": 1.0,
                    "mem_efficient": 1.0, "cudnn": 1.0} | dict.fromkeys(_UNFUSED, 0.0)  # fmt: skip
_TRANSPOSES: Final = {"nn": 0.0, "nt": 1.0, "tn": 2.0, "tt": 3.0}
_BOOLEANS: Final = {"false": 0.0, "true": 1.0, "0": 0.0, "1": 1.0, "no": 0.0, "yes": 1.0}
_DIRECTIONS: Final = {"fprop": 0.0, "dgrad": 1.0, "wgrad": 2.0}
_CONV_ALGORITHMS: Final = {
    "auto": 0.0, "default": 0.0, "heuristic": 0.0, "benchmark": 0.0, "implicit": 1.0,
    "implicit_gemm": 1.0, "implicit_precomp_gemm": 1.0, "winograd_nonfused": 2.0,
    "winograd": 3.0, "winograd_fused": 3.0, "deterministic": 0.0, "all": 0.0,
}  # fmt: skip
_ENGINE: Final = "eng"
"""Names of cuDNN's plans begin so; which of its algorithms one is, the model does not know."""
_LAYOUTS: Final = {"nchw": 0.0, "nhwc": 1.0, "channels_last": 1.0}
_COPIES: Final = {"d2d": 0.0, "h2d": 1.0, "d2h": 2.0}

PARAMETERS: Final[Mapping[str, tuple[str, ...]]] = {
    "gemm": ("m", "n", "k", "size", "batch", "transpose"),
    "linear": ("m", "n", "k", "size"),
    "elementwise": ("function", "inputs", "rows", "cols"),
    "triad": ("elements",),
    "reduction": ("function", "rows", "cols", "axis"),
    "embedding": ("tokens", "dim", "vocab"),
    "softmax": ("rows", "cols"),
    "layernorm": ("rows", "cols"),
    "memcpy": ("bytes", "direction"),
    "conv2d": ("batch", "c_in", "c_out", "size", "kernel_size", "stride", "padding",
               "direction", "algorithm", "layout", "width", "kernel_width"),
    "attention": ("batch", "heads", "seq_len", "head_dim", "causal", "backend", "direction"),
    "rnn": ("cell", "batch", "seq_len", "hidden", "skip_input", "direction"),
    "collective": ("op", "bytes", "world_size"),
    "dialogue": ("model", "batch", "context", "new_tokens", "attention"),
    "model": ("model", "mode", "batch", "seq_len", "attention", "adapter", "optimizer", "head",
              "accumulate", "frozen_backbone", "checkpointing", "image_size", "new_tokens"),
}  # fmt: skip
"""Parameters of each workload that the model reads; ``precision`` is one of all."""


def evaluate(
    workload: str, hw: Hardware, rows: Rows, c: Constants
) -> list[tuple[NDArray[np.bool_], Terms]]:
    """Terms of cases of one workload, in groups by the unit that does the arithmetic.

    Args:
        workload: a key of ``PARAMETERS``.
        hw: columns of the same cases.
        rows: their parameters; bad cases are marked in ``rows.errors``.

    Returns:
        (mask of shape (cases,), terms of the cases in it), the masks covering all cases.
    """
    compute = _OPERATORS[workload](rows)
    on_tensor = ~np.isnan(hw.tensor_flops)
    if workload not in _ON_MATRIX_UNITS:
        on_tensor = np.zeros_like(on_tensor)
    found = []
    with np.errstate(all="ignore"):  # rows already marked as bad may hold anything
        for tensor in (False, True):
            mask = on_tensor == tensor
            if mask.any():
                found.append((mask, compute(hw.take(mask), mask, tensor, c)))
    return found


def _gemm(rows: Rows) -> _Compute:
    size = rows.number("size", 0.0, least=0.0)
    m, n, k = (_or_size(rows, name, size) for name in ("m", "n", "k"))
    batch = rows.number("batch", 1.0)
    code = rows.choice("transpose", _TRANSPOSES, "nn")
    a_along_k = np.where(code < 2, 1.0, 0.0)
    b_along_k = np.where(code % 2 == 1, 1.0, 0.0)
    shape = (batch, m, n, k, a_along_k, b_along_k, np.zeros_like(m))
    return _product(shape)


def _linear(rows: Rows) -> _Compute:
    size = rows.number("size", 0.0, least=0.0)
    m, n, k = (_or_size(rows, name, size) for name in ("m", "n", "k"))
    one = np.ones_like(m)
    return _product((one, m, n, k, one, one, one))


def _product(columns: tuple[Array, ...]) -> _Compute:
    def compute(hw: Hardware, mask: NDArray[np.bool_], tensor: bool, c: Constants) -> Terms:
        shape = Shape(*(column[mask] for column in columns))
        return tensor_gemm(hw, shape, c) if tensor else gemm(hw, shape, c)

    return compute


def _or_size(rows: Rows, name: str, size: Array) -> Array:
    """``name``, or ``size`` where it is not given."""
    if not rows.has(name):
        rows.mark(size < 1, f"{name}: missing (size gives m, n and k at once)")
        return np.maximum(size, 1.0)
    if not (size > 0).any():
        return rows.number(name)
    given = rows.number(name, 0.0, least=0.0)
    value = np.where(given > 0, given, size)
    rows.mark(value < 1, f"{name}: missing (size gives m, n and k at once)")
    return np.maximum(value, 1.0)


def _elementwise(rows: Rows) -> _Compute:
    operands = rows.choice("function", FUNCTIONS, "add")
    given = rows.number("inputs", 0.0, least=0.0)
    inputs = np.where(given > 0, given, operands)
    elements = rows.number("rows") * rows.number("cols", 1.0)
    return lambda hw, mask, _t, c: memory_model.elementwise(hw, inputs[mask], elements[mask], c)


def _triad(rows: Rows) -> _Compute:
    elements = rows.number("elements")
    two = np.full_like(elements, 2.0)
    return lambda hw, mask, _t, c: memory_model.elementwise(hw, two[mask], elements[mask], c)


def _reduction(rows: Rows) -> _Compute:
    """The matrix read once; what is written does not count beside it."""
    elements = rows.number("rows") * rows.number("cols")
    rows.number("axis", 1.0, least=0.0)
    none = np.zeros_like(elements)
    return lambda hw, mask, _t, c: memory_model.elementwise(hw, none[mask], elements[mask], c)


def _embedding(rows: Rows) -> _Compute:
    """Looked-up rows read and written; indices count little, and repeats are read again."""
    elements = rows.number("tokens") * rows.number("dim")
    rows.number("vocab")
    one = np.ones_like(elements)
    return lambda hw, mask, _t, c: memory_model.elementwise(hw, one[mask], elements[mask], c)


def _softmax(rows: Rows) -> _Compute:
    r, cols = rows.number("rows"), rows.number("cols")
    return lambda hw, mask, _t, c: memory_model.softmax(hw, r[mask], cols[mask], c)


def _layernorm(rows: Rows) -> _Compute:
    r, cols = rows.number("rows"), rows.number("cols")
    return lambda hw, mask, _t, c: memory_model.layernorm(hw, r[mask], cols[mask], c)


def _memcpy(rows: Rows) -> _Compute:
    size = rows.number("bytes")
    way = rows.choice("direction", _COPIES, "d2d")
    over_bus, to_host = np.where(way > 0, 1.0, 0.0), np.where(way == 2, 1.0, 0.0)
    return lambda hw, mask, _t, c: memory_model.memcpy(
        hw, size[mask], over_bus[mask], to_host[mask], c
    )


def _conv2d(rows: Rows) -> _Compute:
    kernel = rows.number("kernel_size", 3.0)
    rows.replace("algorithm", _ENGINE, "auto")
    size = rows.number("size")
    width, kernel_width = (
        np.where(own > 0, own, square)
        for own, square in (
            (rows.number("width", 0.0, least=0.0), size),
            (rows.number("kernel_width", 0.0, least=0.0), kernel),
        )
    )
    columns = (
        rows.number("batch", 1.0), rows.number("c_in"), rows.number("c_out"),
        rows.number("size"), kernel, rows.number("stride", 1.0),
        rows.number("padding", 0.0, least=0.0), rows.choice("direction", _DIRECTIONS, "fprop"),
        rows.choice("algorithm", _CONV_ALGORITHMS, "auto"), rows.choice("layout", _LAYOUTS, "nchw"),
        width, kernel_width,
    )  # fmt: skip
    for side, span in ((size, kernel), (width, kernel_width)):
        rows.mark(side + 2 * columns[6] < span, "kernel_size: larger than the padded image")

    def compute(hw: Hardware, mask: NDArray[np.bool_], tensor: bool, c: Constants) -> Terms:
        shape = conv_model.ConvShape(*(column[mask] for column in columns))
        run = conv_model.tensor_conv2d if tensor else conv_model.conv2d
        return run(hw, shape, c)

    return compute


def _attention(rows: Rows) -> _Compute:
    groups = rows.number("batch", 1.0) * rows.number("heads", 1.0)
    seq, dim = rows.number("seq_len"), rows.number("head_dim", 64.0)
    causal = rows.choice("causal", _BOOLEANS, "false")
    fused = rows.choice("backend", _BACKENDS, "auto") > 0
    _forward_only(rows, "attention")

    def compute(hw: Hardware, mask: NDArray[np.bool_], tensor: bool, c: Constants) -> Terms:
        g, s, d, causally = groups[mask], seq[mask], dim[mask], causal[mask]
        whole = attention_model.fused(hw, tensor, g, s, d, causally, c)
        if fused[mask].all():
            return whole
        apart = attention_model.unfused(hw, tensor, g, s, d, causally, c)
        return _mix(fused[mask], whole, apart) if fused[mask].any() else apart

    return compute


def _forward_only(rows: Rows, workload: str) -> None:
    backward = rows.choice("direction", {"forward": 0.0, "forward_backward": 1.0}, "forward")
    rows.mark(backward > 0, f"direction: the model knows the forward pass of {workload} only")


def _mix(first: NDArray[np.bool_], a: Terms, b: Terms) -> Terms:
    return Terms(
        np.where(first, a.time_s, b.time_s), np.where(first, a.compute_s, b.compute_s),
        np.where(first, a.memory_s, b.memory_s), np.where(first, a.launch_s, b.launch_s),
        np.where(first, a.core_j, b.core_j), np.where(first, a.dram_bytes, b.dram_bytes),
        np.where(first, a.clock_share, b.clock_share), {},
    )  # fmt: skip


def _rnn(rows: Rows) -> _Compute:
    gates = rows.choice("cell", {k: float(v) for k, v in rnn_model.GATES.items()}, "lstm")
    batch, hidden = rows.number("batch", 1.0), rows.number("hidden")
    steps = rows.number("seq_len", 1.0)
    skip = rows.choice("skip_input", _BOOLEANS, "false")
    _forward_only(rows, "rnn")
    return lambda hw, mask, tensor, c: rnn_model.rnn(
        hw, tensor, gates[mask], batch[mask], steps[mask], hidden[mask], skip[mask], c
    )


def _collective(rows: Rows) -> _Compute:
    names = {name: float(i) for i, name in enumerate(collective_model.OPS)}
    aliases = {"all_reduce": 0.0, "all_gather": 1.0, "reduce_scatter": 2.0, "all_to_all": 3.0}
    op = rows.choice("op", {**names, **aliases}, "allreduce")
    size, world = rows.number("bytes"), rows.number("world_size", 2.0, least=2.0)
    return lambda hw, mask, _t, c: collective_model.collective(
        hw, op[mask], size[mask], world[mask], c
    )


_OPERATORS: Final[Mapping[str, Callable[[Rows], _Compute]]] = {
    "gemm": _gemm, "linear": _linear, "elementwise": _elementwise, "triad": _triad,
    "reduction": _reduction, "embedding": _embedding, "softmax": _softmax,
    "layernorm": _layernorm, "memcpy": _memcpy, "conv2d": _conv2d, "attention": _attention,
    "rnn": _rnn, "collective": _collective,
}  # fmt: skip
_ON_MATRIX_UNITS: Final = frozenset({"gemm", "linear", "conv2d", "attention", "rnn"})
