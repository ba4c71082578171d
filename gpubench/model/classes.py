"""Classes of operators that a step is made of, from the names of operators.

The same classes for what a trace predicts (``addmm``, ``layer_norm_backward``) and for what a
profiler saw (``aten::addmm``, ``AddmmBackward0``, names of libraries' kernels), so that both
can stand side by side. The article's C_TC is the first four, on Tensor Cores where the
precision has them; its C_T is the rest.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

OTHER: Final = "elementwise and copies"
CLASSES: Final = (
    "matrix products", "convolutions", "attention", "recurrent layers", "normalisation",
    "softmax and loss", "embedding", "optimizer", "fused by the compiler", OTHER,
)  # fmt: skip
"""In the order in which they are shown."""
MATRIX: Final = frozenset(CLASSES[:4])
"""Classes whose arithmetic matrix units do."""

# Looked for in this order in the bare, lower-case name: "attention" before "softmax", since
# fused attention is both, and the optimizer first, since its kernels name what they update.
_PARTS: Final = (
    ("matrix products", ("triton_tem_",)),
    ("fused by the compiler", ("triton_", "cpp_fused", "compiledfunction", "compiled region")),
    ("optimizer", ("optimizer", "_fused_adam", "_fused_sgd", "fusedadam", "fusedsgd",
                   "multi_tensor", "multitensor", "_foreach", "zero_grad", "unscale")),
    ("attention", ("attention", "flash", "fmha")),
    ("recurrent layers", ("rnn", "lstm", "gru")),
    ("convolutions", ("conv", "winograd", "wgrad2d", "dgrad2d")),
    ("normalisation", ("layer_norm", "layernorm", "batch_norm", "batchnorm", "group_norm",
                       "groupnorm", "rms_norm")),
    ("softmax and loss", ("softmax", "nll_loss", "nllloss", "cross_entropy", "binary_cross",
                          "mse_loss", "loss")),
    ("embedding", ("embedding",)),
    ("matrix products", ("addmm", "bmm", "matmul", "gemm", "gemv", "linear", "nvjet", "cutlass",
                         "addbmm", "einsum")),
)  # fmt: skip
_EXACT: Final = {
    "mm": "matrix products", "mmbackward": "matrix products", "sgd": "optimizer",
    "adamw": "optimizer", "none": "optimizer", "mv": "matrix products", "dot": "matrix products",
}  # fmt: skip


def class_of(name: str) -> str:
    """The class of an operator, or of a kernel where no operator is known.

    >>> [class_of(n) for n in ("aten::mm", "AddmmBackward0", "aten::_fused_adamw_", "add_")]
    ['matrix products', 'matrix products', 'optimizer', 'elementwise and copies']
    """
    # Template arguments of a kernel hold colons of their own.
    bare = name if "<" in name else name.rsplit("::", 1)[-1].rsplit(": ", 1)[-1]
    bare = bare.strip().lower().rstrip("0123456789")
    if bare in _EXACT:
        return _EXACT[bare]
    for cls, parts in _PARTS:
        if any(part in bare for part in parts):
            return cls
    return OTHER


def by_class(times: Iterable[tuple[str, float]]) -> dict[str, float]:
    """(operator, seconds) summed by class, in the order of ``CLASSES``; empty ones left out."""
    sums = dict.fromkeys(CLASSES, 0.0)
    for name, time_s in times:
        sums[class_of(name)] += time_s
    return {name: time_s for name, time_s in sums.items() if time_s > 0}
