"""What Ray runs on a node, before anything of gpubench is known to be there.

Sent by value: this module imports nothing but the standard library, so that a node without
gpubench can still say so. Messages are dictionaries with the key ``event``.
"""

from __future__ import annotations

import importlib
import os
import platform
import sys
from collections.abc import Iterator
from typing import Any

Message = dict[str, Any]


def probe() -> Message:
    """Who this node is and which gpubench it has; ``problem`` where it has none that works."""
    found: Message = {
        "host": os.environ.get("GPUBENCH_HOST") or platform.node(),
        "rack": os.environ.get("GPUBENCH_RACK") or None,
        "python": sys.version.split()[0],
        "version": None,
        "problem": None,
    }
    try:
        found["version"] = importlib.import_module("gpubench").__version__
    except Exception as error:
        found["problem"] = f"{type(error).__name__}: {error}"
    return found


def measure(target: str, payload: bytes, cpus: float, rack: str | None) -> Iterator[Message]:
    """Hand a payload to ``module:function`` of the node's gpubench and pass on what it yields.

    Args:
        target: a generator function of one argument.
        payload: its argument, pickled by the driver.
        cpus: CPUs that this task holds; Ray sets ``OMP_NUM_THREADS`` to as many where the
            user has not (Ray documentation, "Resources"), which a benchmark must not inherit.
        rack: what Ray's label of the node says, where ``GPUBENCH_RACK`` says nothing.
    """
    if os.environ.get("OMP_NUM_THREADS") == str(max(int(cpus), 1)):
        del os.environ["OMP_NUM_THREADS"]
    if rack and not os.environ.get("GPUBENCH_RACK"):
        os.environ["GPUBENCH_RACK"] = rack
    module, _, name = target.partition(":")
    yield from getattr(importlib.import_module(module), name)(payload)
