"""gpubench: benchmark, predict, explain and guard GPU performance.

The stages, each a module or package::

    suites/*.yaml -> suite -> plan -> launch -> engine -> record -> store -> analysis -> report
                          ^ devices, workloads, telemetry    ^ model and catalogue

Importing this package imports nothing else, so that the command line starts fast.
"""

__version__ = "0.1.0"
