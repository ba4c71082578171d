"""Names to implementations, as ``module:attribute``. Nothing registers by being imported.

Third parties add theirs through entry points of the groups ``gpubench.workloads``:

.. code-block:: toml

    [project.entry-points."gpubench.workloads"]
    my-kernel = "my_package.bench:MyKernel"

A built-in name cannot be taken over by an entry point.
"""

from __future__ import annotations

import importlib
from functools import lru_cache
from importlib.metadata import entry_points
from typing import Any, Final, cast

from gpubench.errors import InputError, UnknownName
from gpubench.ports import Workload

WORKLOADS: Final[dict[str, str]] = {
    "custom": "gpubench.workloads.custom:Custom",
    "gemm": "gpubench.workloads.gemm:Gemm",
    "linear": "gpubench.workloads.linear:Linear",
    "elementwise": "gpubench.workloads.streams:Elementwise",
    "triad": "gpubench.workloads.streams:Triad",
    "reduction": "gpubench.workloads.streams:Reduction",
    "embedding": "gpubench.workloads.streams:Embedding",
    "softmax": "gpubench.workloads.rowwise:Softmax",
    "layernorm": "gpubench.workloads.rowwise:LayerNorm",
    "conv2d": "gpubench.workloads.conv2d:Conv2d",
    "attention": "gpubench.workloads.attention:Attention",
    "rnn": "gpubench.workloads.rnn:Rnn",
    "dialogue": "gpubench.workloads.applications.dialogue:Dialogue",
    "stream": "gpubench.workloads.applications.stream:Stream",
    "ranking": "gpubench.workloads.applications.ranking:Ranking",
    "data_parallel": "gpubench.workloads.data_parallel:DataParallel",
    "collective": "gpubench.workloads.collectives:Collective",
    "memcpy": "gpubench.workloads.memcpy:Memcpy",
    "model": "gpubench.workloads.models.workload:Model",
}

DEVICES: Final[dict[str, str]] = {
    "cpu": "gpubench.devices.cpu:CpuDevice",
    "cuda": "gpubench.devices.cuda:CudaDevice",
}


def load(target: str) -> Any:
    """The object that ``module:attribute`` names.

    Raises:
        InputError: the module or the attribute is not there.
    """
    module, _, attribute = target.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise InputError(f"cannot load {target!r}: {error}") from error


@lru_cache(maxsize=1)
def workload_targets() -> dict[str, str]:
    """Every workload name -> its ``module:attribute``, built-ins and entry points."""
    found = {e.name: e.value for e in entry_points(group="gpubench.workloads")}
    return {**found, **WORKLOADS}


@lru_cache(maxsize=64)
def workload(name: str) -> type[Workload]:
    """The class of a workload.

    Raises:
        UnknownName: no built-in and no entry point has that name.
    """
    targets = workload_targets()
    if name not in targets:
        raise UnknownName("workload", name, targets)
    return cast(type[Workload], load(targets[name]))
