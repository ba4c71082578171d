"""The GPU catalogue: datasheet facts, and published measurements of others.

``specs``      typed rows of ``data/gpus.csv``; look-up by key, alias, family or NVML name
``match``      which row a device is, from what its driver reports; rows for unknown devices
``published``  reference measurements shipped with their sources

Importing this package reads nothing and needs only the standard library.
"""

from gpubench.catalogue.match import derive, match
from gpubench.catalogue.specs import GpuSpec, family, find, gpus, with_changes

__all__ = ["GpuSpec", "derive", "family", "find", "gpus", "match", "with_changes"]
