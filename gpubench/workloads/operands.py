"""Operands of workloads: storage types, distributions, and errors against FP64."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from gpubench.errors import Unsupported
from gpubench.ports import Device

if TYPE_CHECKING:
    import torch

# Unit roundoff u of each format: half the spacing of numbers at 1. Higham, Accuracy and
# Stability of Numerical Algorithms, 2nd ed., section 2.1. TF32 has 10 explicit bits.
ROUNDOFF: Final[Mapping[str, float]] = {
    "fp64": 2.0**-53, "fp32": 2.0**-24, "tf32": 2.0**-11, "fp16": 2.0**-11, "bf16": 2.0**-8,
}  # fmt: skip


def torch_dtype(precision: str) -> torch.dtype:
    """The storage type of a precision; TF32 is stored as FP32."""
    import torch

    return {
        "fp64": torch.float64, "fp32": torch.float32, "tf32": torch.float32,
        "fp16": torch.float16, "bf16": torch.bfloat16,
    }[precision]  # fmt: skip


def seeded(device: Device, seed: int) -> torch.Generator:
    """A generator on the device."""
    import torch

    return torch.Generator(device.info.torch_name).manual_seed(seed)


@contextmanager
def seeded_weights(device: Device, seed: int) -> Iterator[None]:
    """Generators of torch's own, which make weights: seeded within, as before afterwards."""
    import torch

    cuda = device.info.type == "cuda"
    with torch.random.fork_rng(devices=[device.info.index or 0] if cuda else []):
        torch.manual_seed(seed)
        yield


def filled(
    device: Device, shape: Sequence[int], precision: str, data: str, generator: torch.Generator
) -> torch.Tensor:
    """A new contiguous tensor on the device, filled from the distribution."""
    import torch

    values = torch.empty(tuple(shape), dtype=torch_dtype(precision), device=device.info.torch_name)
    fill(values, data, generator)
    return values


def fill(values: torch.Tensor, data: str, generator: torch.Generator) -> None:
    """Fill a tensor in place from the distribution that ``Policy.data`` names.

    ``wide`` has magnitudes spread evenly over 14 powers of two and random signs;
    ``positive`` is uniform in [0, 1), where nothing cancels.

    Raises:
        Unsupported: ``cancelling`` is a relation between two operands, not a distribution.
    """
    if data == "zeros":
        values.zero_()
    elif data == "uniform":
        values.uniform_(-1.0, 1.0, generator=generator)
    elif data == "positive":
        values.uniform_(0.0, 1.0, generator=generator)
    elif data == "wide":
        values.uniform_(-14.0, 0.0, generator=generator).exp2_()
        signs = values.new_empty(values.shape).uniform_(-1.0, 1.0, generator=generator)
        values.copysign_(signs)
    elif data == "normal":
        values.normal_(generator=generator)
    else:
        raise Unsupported(f"data: {data} is defined for gemm and linear only")


def checkable(data: str) -> str:
    """The distribution to check results on: zeros would hide unwritten outputs."""
    return "normal" if data == "zeros" else data


def rel_error(out: torch.Tensor, reference: torch.Tensor) -> float:
    """||out - reference|| / ||reference|| in the Frobenius norm; NaN where that is 0 / 0."""
    error = float((out.double() - reference.double()).norm())
    norm = float(reference.double().norm())
    return error / norm if norm > 0 else (0.0 if error == 0 else math.nan)


def sum_tolerance(precision: str, terms: int) -> float:
    """Largest relative error that is right for sums of ``terms`` products.

    Rounding errors of independent random terms grow as sqrt(terms) u (Higham and Mary, SIAM
    J. Sci. Comput. 41(5), 2019); inputs and output rounded once add 2 u. Formats that
    accumulate in FP32 have its u in the second part. The bounds of FP32 and TF32 are so far
    apart that TF32 in place of FP32 shows.
    """
    u = ROUNDOFF[precision]
    accumulate = 2.0**-53 if precision == "fp64" else 2.0**-24
    rounding = 2 * u if precision in ("tf32", "fp16", "bf16") else 4 * u
    return rounding + math.sqrt(terms) * accumulate
