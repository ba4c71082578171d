"""How busy the Tensor pipes are, by NVML's GPU performance monitoring (GPM; Hopper and later).

GPM compares two samples of hardware counters: nvmlGpmSampleGet twice, nvmlGpmMetricsGet between
them. Metric 5, NVML_GPM_METRIC_ANY_TENSOR_UTIL, is the percentage of time in which any Tensor
operation was running (nvml.h). Before Hopper, and in drivers without the calls, there is none.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

import pynvml

LEAST_S: Final = 0.1
"""Between two samples; nearer ones are not compared."""


class Gpm:
    """Tensor activity of one GPU; ``reason`` says why there is none."""

    def __init__(self, handle: Any, clock: Callable[[], float] = time.monotonic) -> None:
        self._handle, self._clock = handle, clock
        self._samples: list[Any] = []
        self._taken_s = float("-inf")
        self.reason: str | None = None
        try:
            if not pynvml.nvmlGpmQueryDeviceSupport(handle).isSupportedDevice:
                self.reason = "this GPU has no performance monitoring by NVML (it came with Hopper)"
                return
            self._samples = [pynvml.nvmlGpmSampleAlloc() for _ in range(2)]
            self._take()
        except (pynvml.NVMLError, AttributeError) as error:
            self.reason = f"NVML GPM: {error}"

    def _take(self) -> None:
        """A new sample in the place of the older one."""
        self._samples.reverse()
        pynvml.nvmlGpmSampleGet(self._handle, self._samples[1])
        self._taken_s = self._clock()

    def tensor_activity(self) -> float | None:
        """Share of the time since the last sample in which Tensor pipes ran; None if too near."""
        if self.reason is not None or self._clock() - self._taken_s < LEAST_S:
            return None
        try:
            self._take()
            asked = pynvml.c_nvmlGpmMetricsGet_t()
            asked.version = pynvml.NVML_GPM_METRICS_GET_VERSION
            asked.numMetrics = 1
            asked.sample1, asked.sample2 = self._samples
            asked.metrics[0].metricId = pynvml.NVML_GPM_METRIC_ANY_TENSOR_UTIL
            found = pynvml.nvmlGpmMetricsGet(asked).metrics[0]
        except pynvml.NVMLError as error:
            self.reason = f"NVML GPM: {error}"
            return None
        return float(found.value) / 100 if found.nvmlReturn == pynvml.NVML_SUCCESS else None
