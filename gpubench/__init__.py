"""gpubench: benchmark, predict, explain and guard GPU performance.

The stages, each a module or package::

    suites/*.yaml -> suite -> plan -> launch -> engine -> record -> store -> analysis -> report
                          ^ devices, workloads, telemetry    ^ model and catalogue

From Python: ``gpubench.measure(fn, ...)`` and ``gpubench.summarize(measurement)``.
Importing this package imports nothing else, so that the command line and pytest start
fast; the names of ``__all__`` are loaded when they are first used. Their types are in
``__init__.pyi``: an import here, even one for type checkers, would tie every layer to all.
"""

__version__ = "0.1.0"

_LAZY = {
    "measure": "gpubench.api.measuring",
    "summarize": "gpubench.api.measuring",
    "Measurement": "gpubench.record",
    "Summary": "gpubench.record",
}

__all__ = ["Measurement", "Summary", "__version__", "measure", "summarize"]


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module 'gpubench' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_LAZY[name]), name)
