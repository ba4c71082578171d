"""The source article's model of C_GPU, in sound units, with its worked example corrected.

The article writes ``C_GPU = sum_i f_i * C_GPU,i`` with ``f_i = m C_TensorCore + k C_Tensor``:
the time of a model is the sum, over its parts, of matrix work on Tensor Cores and of other
tensor work. Read so that units agree, the factor C_GPU,i is a pure number (the share of a
part's work that is not overlapped), since seconds times seconds would be seconds squared.
"""

from __future__ import annotations

from collections.abc import Sequence


def c_gpu(
    parts: Sequence[tuple[float, float]], tensor_core_s: float, tensor_s: float, factor: float
) -> float:
    """Time of a model as the article sums it, in seconds.

    Args:
        parts: (matrix products m, other tensor operations k) of each part.
        tensor_core_s: time of one matrix product.
        tensor_s: time of one other tensor operation.
        factor: pure number that scales every part.

    The article's example: 1000 neurons of 5 products and 2 other operations, factor 0.1,
    1 us a product on Tensor Cores and 10 us an other operation. It states 3 ms; the sum is
    500 x 1 us + 200 x 10 us:

    >>> neurons = [(5, 2)] * 1000
    >>> with_tensor_cores = c_gpu(neurons, 1e-6, 10e-6, 0.1)
    >>> round(with_tensor_cores * 1e3, 6)
    2.5

    Without Tensor Cores, 10 us a product, it states 100 ms; the sum is
    500 x 10 us + 200 x 10 us:

    >>> without = c_gpu(neurons, 10e-6, 10e-6, 0.1)
    >>> round(without * 1e3, 6)
    7.0

    So Tensor Cores that are 10 times faster speed the model up 2.8 times, not 33 times: what
    they do not touch (2 ms of the 7) bounds the gain (Amdahl).

    >>> round(without / with_tensor_cores, 6)
    2.8
    """
    return sum(m * tensor_core_s + k * tensor_s for m, k in parts) * factor
