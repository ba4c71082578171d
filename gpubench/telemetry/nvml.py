"""NVML: sensors and facts of one GPU, matched by UUID or PCI address, never by index.

Whatever a driver or an architecture does not offer is None; only a missing driver is an
error, and that one is told with its mend.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import pynvml

from gpubench.errors import GpubenchError
from gpubench.record import Fact, Reading
from gpubench.telemetry.gpm import Gpm

T = TypeVar("T")

REASONS: Final[Mapping[int, str]] = {
    0x1: "gpu_idle", 0x2: "applications_clocks", 0x4: "sw_power_cap", 0x8: "hw_slowdown",
    0x10: "sync_boost", 0x20: "sw_thermal", 0x40: "hw_thermal", 0x80: "hw_power_brake",
    0x100: "display_clocks",
}  # fmt: skip
"""Bits of nvmlDeviceGetCurrentClocksEventReasons (nvml.h)."""
POWER_AVERAGE_FIELD: Final = 185
POWER_INSTANT_FIELD: Final = 186
"""NVML_FI_DEV_POWER_AVERAGE and _INSTANT; GetPowerUsage is a 1 s average on most chips since
Ampere. Older drivers know neither field."""


class NvmlUnavailable(GpubenchError):
    """No NVML on this machine, or not for this user; the message says which."""


def _maybe(call: Callable[..., T], *args: object) -> T | None:
    """A reading, or None where this driver, chip or user cannot have it."""
    try:
        return call(*args)
    except (pynvml.NVMLError, AttributeError, TypeError, ValueError):
        # AttributeError: this version of the binding lacks the function.
        return None


class Nvml:
    """One GPU by NVML. Use as a context manager; shuts NVML down at the end.

    Args:
        uuid: as torch or the driver reports it, with or without ``GPU-``.
        pci_bus_id: ``0000:65:00.0``; used where there is no UUID.
        worker_pid: the process whose work is watched: not a foreign one. This one by default.

    Raises:
        NvmlUnavailable: no driver, no rights, or no such GPU.
    """

    def __init__(
        self, uuid: str | None = None, pci_bus_id: str | None = None, worker_pid: int | None = None
    ) -> None:
        self._worker_pid = worker_pid or os.getpid()
        self._monitor: Gpm | None = None
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            raise NvmlUnavailable(f"NVML cannot be used: {error}") from error
        try:
            self._handle = self._find(uuid, pci_bus_id)
        except pynvml.NVMLError as error:
            self.close()
            raise NvmlUnavailable(
                f"NVML does not know GPU {uuid or pci_bus_id}: {error}"
            ) from error

    @staticmethod
    def _find(uuid: str | None, pci_bus_id: str | None) -> Any:
        if uuid:
            for name in (uuid, f"GPU-{uuid}" if not uuid.startswith("GPU-") else uuid[4:]):
                handle = _maybe(pynvml.nvmlDeviceGetHandleByUUID, name)
                if handle is not None:
                    return handle
        if pci_bus_id:
            return pynvml.nvmlDeviceGetHandleByPciBusId(pci_bus_id)
        if uuid is None:
            return pynvml.nvmlDeviceGetHandleByIndex(0)
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)

    def __enter__(self) -> Nvml:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Shut NVML down; safe to call twice."""
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()

    # ---- sensors

    def read(self) -> Reading | None:
        """Every sensor and the event reasons now; None if nothing answers."""
        h = self._handle
        instant, average = self._powers()
        memory = _maybe(pynvml.nvmlDeviceGetMemoryInfo, h)
        sm_mhz = _maybe(pynvml.nvmlDeviceGetClockInfo, h, pynvml.NVML_CLOCK_SM)
        memory_mhz = _maybe(pynvml.nvmlDeviceGetClockInfo, h, pynvml.NVML_CLOCK_MEM)
        celsius = _maybe(pynvml.nvmlDeviceGetTemperature, h, pynvml.NVML_TEMPERATURE_GPU)
        found = {
            "clock_hz": sm_mhz * 1e6 if sm_mhz is not None else None,
            "memory_clock_hz": memory_mhz * 1e6 if memory_mhz is not None else None,
            "power_w": instant if instant is not None else average,
            "power_average_w": average,
            "energy_counter_j": self.energy_j(),
            "utilisation": self.utilisation(),
            "temperature_c": float(celsius) if celsius is not None else None,
            "memory_used_bytes": float(memory.used) if memory is not None else None,
            "foreign_processes": self.foreign_processes(),
            "tensor_activity": self._gpm().tensor_activity(),
        }
        values = {name: value for name, value in found.items() if value is not None}
        reasons = self.event_reasons()
        if not values and reasons is None:
            return None
        return Reading(0.0, values, reasons or ())

    def _gpm(self) -> Gpm:
        """Performance monitoring, opened at the first reading."""
        if self._monitor is None:
            self._monitor = Gpm(self._handle)
        return self._monitor

    def power_w(self) -> float | None:
        """Board power: the instant reading where there is one, else the average."""
        instant, average = self._powers()
        return instant if instant is not None else average

    def _powers(self) -> tuple[float | None, float | None]:
        """(instant, average) board power in watts, each None where it is not told."""
        ids = [POWER_INSTANT_FIELD, POWER_AVERAGE_FIELD]
        fields = _maybe(pynvml.nvmlDeviceGetFieldValues, self._handle, ids) or ()
        told = [f.value.uiVal * 1e-3 if f.nvmlReturn == 0 and f.value.uiVal else None
                for f in fields]  # fmt: skip
        instant, average = told if len(told) == 2 else (None, None)
        if average is None:
            milliwatts = _maybe(pynvml.nvmlDeviceGetPowerUsage, self._handle)
            average = milliwatts * 1e-3 if milliwatts is not None else None
        return instant, average

    def energy_j(self) -> float | None:
        """The energy counter, since the driver was loaded; None before Volta."""
        millijoules = _maybe(pynvml.nvmlDeviceGetTotalEnergyConsumption, self._handle)
        return millijoules * 1e-3 if millijoules is not None else None

    def event_reasons(self) -> tuple[str, ...] | None:
        """Active clock event reasons; older drivers call them throttle reasons."""
        for name in (
            "nvmlDeviceGetCurrentClocksEventReasons",
            "nvmlDeviceGetCurrentClocksThrottleReasons",
        ):
            function = getattr(pynvml, name, None)
            bits = _maybe(function, self._handle) if function else None
            if bits is not None:
                return tuple(text for bit, text in REASONS.items() if bits & bit)
        return None

    # ---- facts

    def facts(self) -> Mapping[str, Fact]:
        """Everything about the GPU and driver that belongs into the environment."""
        h = self._handle
        memory = _maybe(pynvml.nvmlDeviceGetMemoryInfo, h)
        clocks = {
            name: _maybe(pynvml.nvmlDeviceGetMaxClockInfo, h, kind)
            for name, kind in (("sm", pynvml.NVML_CLOCK_SM), ("memory", pynvml.NVML_CLOCK_MEM))
        }
        power_mw = _maybe(pynvml.nvmlDeviceGetEnforcedPowerLimit, h)
        ecc, mig = _maybe(pynvml.nvmlDeviceGetEccMode, h), _maybe(pynvml.nvmlDeviceGetMigMode, h)
        # Corrected, uncorrected, pending, failed; Ampere and later.
        rows = _maybe(pynvml.nvmlDeviceGetRemappedRows, h)
        errors = (pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_AGGREGATE_ECC)
        version = _maybe(pynvml.nvmlSystemGetCudaDriverVersion_v2)
        reading = self.read()
        return {
            "gpu.driver": _text(_maybe(pynvml.nvmlSystemGetDriverVersion)),
            "cuda.driver_version": f"{version // 1000}.{version % 1000 // 10}" if version else None,
            "gpu.name": _text(_maybe(pynvml.nvmlDeviceGetName, h)),
            "gpu.uuid": _text(_maybe(pynvml.nvmlDeviceGetUUID, h)),
            "gpu.pci_id": _pci(_maybe(pynvml.nvmlDeviceGetPciInfo, h)),
            "gpu.vbios": _text(_maybe(pynvml.nvmlDeviceGetVbiosVersion, h)),
            "gpu.memory_bytes": int(memory.total) if memory else None,
            "gpu.power_limit_w": power_mw * 1e-3 if power_mw else None,
            "gpu.clock_sm_max_hz": clocks["sm"] * 1e6 if clocks["sm"] else None,
            "gpu.clock_memory_max_hz": clocks["memory"] * 1e6 if clocks["memory"] else None,
            "gpu.clock_locked": self.clock_locked(),
            "gpu.ecc": bool(ecc[0]) if ecc else None,
            "gpu.ecc_uncorrected": _maybe(pynvml.nvmlDeviceGetTotalEccErrors, h, *errors),
            "gpu.remapped_rows": rows[0] + rows[1] if rows else None,
            "gpu.remap_failed": bool(rows[3]) if rows else None,
            "gpu.mig": bool(mig[0]) if mig else None,
            "gpu.persistence": _flag(_maybe(pynvml.nvmlDeviceGetPersistenceMode, h)),
            "gpu.temperature_c": reading.values.get("temperature_c") if reading else None,
            "gpu.pcie_width": _maybe(pynvml.nvmlDeviceGetCurrPcieLinkWidth, h),
            "gpu.pcie_generation": _maybe(pynvml.nvmlDeviceGetCurrPcieLinkGeneration, h),
            "gpu.pcie_width_max": _maybe(pynvml.nvmlDeviceGetMaxPcieLinkWidth, h),
        }

    def clock_locked(self) -> bool | None:
        """Whether application clocks hold the SM clock below its maximum.

        Clocks locked with ``nvidia-smi -lgc`` cannot be read back through NVML; they
        show as the ``applications_clocks`` event reason while the GPU is busy.
        """
        reasons = self.event_reasons()
        return None if reasons is None else "applications_clocks" in reasons

    def processes(self) -> list[tuple[int, int | None]] | None:
        """(pid, bytes used) of processes computing on the GPU; None where not told."""
        found = _maybe(pynvml.nvmlDeviceGetComputeRunningProcesses, self._handle)
        if found is None:
            return None
        return [
            (int(p.pid), None if p.usedGpuMemory is None else int(p.usedGpuMemory)) for p in found
        ]

    def foreign_processes(self) -> float | None:
        """Processes that compute on the GPU beside the one whose work is watched.

        In a container the driver tells ids of the host: where the worker's own is not among
        them, one of them is taken to be the worker.
        """
        found = self.processes()
        if found is None:
            return None
        others = [pid for pid, _ in found if pid != self._worker_pid]
        return float(len(others) - 1 if others and len(others) == len(found) else len(others))

    def gaps(self) -> Mapping[str, Fact]:
        """Facts on what is absent here, and why: ``sensor.energy_counter_j`` -> in words."""
        h = self._handle
        found: dict[str, Fact] = {}
        mig = _maybe(pynvml.nvmlDeviceGetMigMode, h)
        for name, call, arguments in (
            ("energy_counter_j", pynvml.nvmlDeviceGetTotalEnergyConsumption, ()),
            ("power_w", pynvml.nvmlDeviceGetPowerUsage, ()),
            ("utilisation", pynvml.nvmlDeviceGetUtilizationRates, ()),
            ("clock_hz", pynvml.nvmlDeviceGetClockInfo, (pynvml.NVML_CLOCK_SM,)),
            ("temperature_c", pynvml.nvmlDeviceGetTemperature, (pynvml.NVML_TEMPERATURE_GPU,)),
            ("memory_used_bytes", pynvml.nvmlDeviceGetMemoryInfo, ()),
            ("foreign_processes", pynvml.nvmlDeviceGetComputeRunningProcesses, ()),
        ):
            try:
                call(h, *arguments)
            except pynvml.NVMLError as error:
                found[f"sensor.{name}"] = _why_not(name, error, bool(mig and mig[0]))
        if self._gpm().reason is not None:
            found["sensor.tensor_activity"] = self._gpm().reason
        if self.event_reasons() is None:
            found["sensor.event_reasons"] = "this driver tells no clock event reasons"
        return found

    def utilisation(self) -> float | None:
        """Share of the last sampling window in which some kernel ran; no MIG device has it."""
        rates = _maybe(pynvml.nvmlDeviceGetUtilizationRates, self._handle)
        return rates.gpu / 100 if rates is not None else None

    @contextlib.contextmanager
    def locked_clocks(self, hz: float) -> Any:
        """Lock the SM clock; always restored. Needs root.

        Raises:
            NvmlUnavailable: the clock could not be locked.
        """
        mhz = round(hz / 1e6)
        try:
            pynvml.nvmlDeviceSetGpuLockedClocks(self._handle, mhz, mhz)
        except (pynvml.NVMLError, AttributeError) as error:
            raise NvmlUnavailable(f"clocks cannot be locked (needs root): {error}") from error
        try:
            yield
        finally:
            _maybe(pynvml.nvmlDeviceResetGpuLockedClocks, self._handle)


def _why_not(sensor: str, error: Any, mig: bool) -> str:
    """Why a sensor is absent, in words."""
    if isinstance(error, pynvml.NVMLError_NoPermission):
        return "this user may not read it (NVML: no permission)"
    if isinstance(error, pynvml.NVMLError_FunctionNotFound):
        return "this driver is too old to tell it"
    if isinstance(error, pynvml.NVMLError_GpuIsLost):
        return "the GPU has fallen off the bus"
    if mig and sensor in ("utilisation", "power_w", "energy_counter_j"):
        return "with MIG on it is not told for a part of a GPU"
    if sensor == "energy_counter_j" and isinstance(error, pynvml.NVMLError_NotSupported):
        return "this GPU has no energy counter (it came with Volta)"
    return f"NVML: {error}"


def _text(value: object) -> str | None:
    """Older bindings return bytes."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value) if value is not None else None


def _flag(value: int | None) -> bool | None:
    return None if value is None else bool(value)


def _pci(info: Any) -> str | None:
    return _text(info.busId) if info is not None else None


def gpu_uuids() -> list[str]:
    """UUIDs of every GPU that NVML sees.

    Raises:
        NvmlUnavailable: no driver, or no rights.
    """
    try:
        pynvml.nvmlInit()
        try:
            handles = [
                pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())
            ]
            return [str(_text(pynvml.nvmlDeviceGetUUID(h))) for h in handles]
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        raise NvmlUnavailable(f"NVML cannot be used: {error}") from error
