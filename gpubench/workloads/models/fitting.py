"""Which batch fits into memory: found by trying, said where one does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from gpubench.errors import Unsupported
from gpubench.ports import Device
from gpubench.workloads.models.counting import activations_bytes, held_bytes
from gpubench.workloads.models.step import Step

if TYPE_CHECKING:
    from gpubench.workloads.models.workload import Model

ESTIMATED: Final = 64
"""Training batches from which on memory is estimated before a host is asked for it."""
PROBE: Final = 2

_known: dict[Model, tuple[int, int]] = {}
"""Step of one sample -> (largest batch that fitted, smallest that did not), in this process:
a suite asks for ever larger batches of the same step."""


def fitted_step(spec: Model, device: Device, seed: int, data: str) -> Step:
    """The step of a spec.

    Raises:
        Unsupported: its batch does not fit; the reason says the largest that does.
    """
    known = _known.get(replace(spec, batch=1))
    if known is not None and spec.batch >= known[1]:
        raise too_large(spec, known[0])
    if device.info.type == "cpu" and spec.trains and spec.batch >= ESTIMATED:
        largest = estimated_largest(spec, device, seed, data)
        if largest is not None and spec.batch > largest:
            raise too_large(spec, largest)
    try:
        return Step(spec, device, seed, data)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    # Outside the handler: the traceback would hold on to what the step had allocated.
    device.release()
    found = largest_fitting(spec.batch, lambda batch: _fits(spec, batch, device, seed, data))
    _known[replace(spec, batch=1)] = found
    raise too_large(spec, found[0])


def estimated_largest(spec: Model, device: Device, seed: int, data: str) -> int | None:
    """The largest training batch by what two samples leave in memory; None if unknown.

    A host gives memory until it runs out and the process is ended, so it is asked before. What
    the backward pass needs besides is not in it: this is an upper bound.
    """
    memory = device.info.memory_bytes
    probe = Step(replace(spec, batch=PROBE, accumulate=1), device, seed, data)
    activations = activations_bytes(probe, device)
    if not memory or not activations:
        return None
    fixed = held_bytes(probe)
    return max(0, int((memory - fixed) * PROBE // activations))


def too_large(spec: Model, largest: int) -> Unsupported:
    """The reason for people."""
    if not largest:
        return Unsupported(f"{spec.model} does not fit into memory, even with one sample")
    return Unsupported(
        f"a batch of {spec.batch} does not fit into memory: the largest that fits is {largest}"
    )


def largest_fitting(too_many: int, fits: Callable[[int], bool]) -> tuple[int, int]:
    """(largest batch that fits, smallest known not to), by bisection to about 3 %.

    Args:
        too_many: a batch that does not fit.
    """
    low, high = 0, too_many
    while high - low > max(1, low // 32):
        middle = (low + high) // 2
        if fits(middle):
            low = middle
        else:
            high = middle
    return low, high


def _fits(spec: Model, batch: int, device: Device, seed: int, data: str) -> bool:
    try:
        step = Step(replace(spec, batch=batch), device, seed, data)
        step()
        device.synchronize()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return False
    finally:
        device.release()
    return True


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out, on a GPU or on the host."""
    import torch

    return isinstance(error, torch.cuda.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )
