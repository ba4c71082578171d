"""nvidia-cudnn-frontend, on a device or on the description of one.

Without a GPU, cuDNN (9.8 on) plans for a device described in JSON: heuristics, support and
building work, running does not. Tests plan for GPUs that are not there in this way.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from gpubench.errors import Unsupported
from gpubench.workloads.cudnn_plans import INSTALL, NOTES, Layer, PlanRefused, engine_of

if TYPE_CHECKING:
    import torch

MODES: Final = ("A", "FALLBACK")


def load() -> Any:
    """The frontend's module.

    Raises:
        Unsupported: it is not installed, or finds no cuDNN; with what to do.
    """
    # torch brings the cuDNN that its own convolutions use: the frontend must find it loaded.
    import torch

    del torch
    try:
        cudnn = importlib.import_module("cudnn")
        cudnn.backend_version()
    except ImportError as error:
        raise Unsupported(f"every cuDNN engine needs the cudnn extra: {INSTALL}") from error
    except Exception as error:
        raise Unsupported(f"nvidia-cudnn-frontend finds no cuDNN library: {error}") from error
    return cudnn


def describe_device(
    compute_capability: tuple[int, int],
    *,
    sm_count: int,
    memory_bytes: int,
    l2_bytes: int,
    sm_clock_hz: float,
    memory_clock_hz: float,
    shared_optin_bytes: int,
    blocks_per_sm: int = 32,
    threads_per_sm: int = 2048,
) -> str:
    """A device in cuDNN's JSON, from the figures of the CUDA C++ Programming Guide."""
    major, minor = compute_capability
    return json.dumps({
        "version": 1, "deviceName": "described", "cudaDeviceId": 0,
        "deviceVer": 100 * major + 10 * minor, "driverVer": 12080,
        "maxGridSize": [2**31 - 1, 65535, 65535], "maxBlockSize": [1024, 1024, 64],
        "regsPerBlock": 65536, "maxRegistersPerSM": 65536, "warpSize": 32,
        "multiProcessorCount": sm_count, "smClockRateKHz": int(sm_clock_hz / 1e3),
        "memClockRateKHz": int(memory_clock_hz / 1e3), "l2CacheSize": l2_bytes,
        "maxSharedMemoryPerBlock": 49152, "maxSharedMemoryPerBlockOptin": shared_optin_bytes,
        "reservedSharedMemoryPerBlock": 1024 if major >= 8 else 0, "pciDeviceId": 0,
        "maxCtasPerSM": blocks_per_sm, "maxThreadsPerSM": threads_per_sm, "isTccDriver": 0,
        "supportCoopLaunch": 1, "totalGlobalMem": memory_bytes,
    })  # fmt: skip


class Frontend:
    """A ``Planner`` on the frontend.

    Args:
        handle: make a handle of the current device; without it plans can only be looked at.
        device: a device in cuDNN's JSON, instead of a handle.
    """

    def __init__(self, cudnn: Any, *, handle: bool = False, device: str | None = None) -> None:
        self._cudnn = cudnn
        self._handle = cudnn.create_handle() if handle else None
        self._properties = None if device is None else cudnn.create_device_properties(device)
        self._stream: int | None = None
        v = int(cudnn.backend_version())
        self.version = f"{v // 10000}.{v // 100 % 100}.{v % 100}"

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        """The frontend's errors, some of which are no RuntimeError, as ``PlanRefused``."""
        try:
            yield
        except (RuntimeError, self._cudnn.cudnnGraphNotSupportedError) as error:
            raise PlanRefused(str(error)) from error

    def heuristic(self, layer: Layer) -> Sequence[str]:
        """Names of the heuristic's plans, mode A first, then FALLBACK."""
        graph, _ = self._planned(layer)
        return [graph.get_plan_name_at_index(i) for i in range(graph.get_execution_plan_count())]

    def engine_count(self, layer: Layer) -> int:
        """Engines the library has for this operation."""
        graph, _ = self._graph(layer)
        return int(graph.get_engine_count())

    def default_plan(self, layer: Layer, engine: int) -> str:
        """Name of the plan with the engine's default knobs."""
        graph, _ = self._alone(layer, engine)
        return str(graph.get_plan_name_at_index(0))

    def build(self, layer: Layer, name: str) -> tuple[int, Sequence[str], object]:
        """Workspace, behaviour notes and runner of one plan."""
        graph, tensors = self._planned(layer)
        names = [graph.get_plan_name_at_index(i) for i in range(graph.get_execution_plan_count())]
        if name in names:
            index = names.index(name)
        elif "_" in name:
            raise PlanRefused("the heuristic of this cuDNN on this device names no such plan")
        else:
            graph, tensors = self._alone(layer, engine_of(name))
            index = 0
        with self._refusals():
            graph.build_plan_at_index(index)
        workspace = int(graph.get_workspace_size_plan_at_index(index))
        behavior = [n.name for n in graph.get_behavior_notes_for_plan_at_index(index)]
        return workspace, behavior, self._runner(graph, tensors, index)

    def carries(self, layer: Layer, engine: int, note: str) -> bool:
        """Whether the engine, alone in a graph, is refused once the note is deselected."""
        known = getattr(self._cudnn.numerical_note, note, None)
        if known is None:
            return False
        return note in self._notes(layer, engine)

    @lru_cache(maxsize=4096)  # noqa: B019  # one planner lives as long as its process
    def _notes(self, layer: Layer, engine: int) -> frozenset[str]:
        found = set()
        for name in self._note_names():
            graph, index = self._found(layer, engine)
            graph.deselect_numeric_notes([getattr(self._cudnn.numerical_note, name)])
            try:
                with self._refusals():
                    graph.build_plan_at_index(index)
            except PlanRefused:
                found.add(name)
        # An engine that cannot be built at all would seem to carry every note.
        return frozenset() if len(found) == len(self._note_names()) else frozenset(found)

    def _note_names(self) -> list[str]:
        return [n for n in NOTES if hasattr(self._cudnn.numerical_note, n)]

    def _found(self, layer: Layer, engine: int) -> tuple[Any, int]:
        """A graph where the engine's plan has an index whose notes are its own."""
        try:
            return self._alone(layer, engine)[0], 0
        except PlanRefused:
            graph, _ = self._planned(layer)
            for i in range(graph.get_execution_plan_count()):
                if engine_of(graph.get_plan_name_at_index(i)) == engine:
                    return graph, i
            raise

    def _planned(self, layer: Layer) -> tuple[Any, Mapping[str, Any]]:
        graph, tensors = self._graph(layer)
        with self._refusals():
            graph.create_execution_plans([getattr(self._cudnn.heur_mode, m) for m in MODES])
        return graph, tensors

    def _alone(self, layer: Layer, engine: int) -> tuple[Any, Mapping[str, Any]]:
        graph, tensors = self._graph(layer)
        with self._refusals():
            graph.create_execution_plan(engine, {})
        return graph, tensors

    def _graph(self, layer: Layer) -> tuple[Any, Mapping[str, Any]]:
        """The operation graph of a layer and its two inputs and output."""
        cudnn = self._cudnn
        kind = getattr(cudnn.data_type, layer.dtype.upper())
        compute = cudnn.data_type.DOUBLE if layer.dtype == "double" else cudnn.data_type.FLOAT
        where = {"handle": self._handle} if self._handle is not None else {
            "device_property": self._properties
        }  # fmt: skip
        graph = cudnn.pygraph(
            io_data_type=kind, intermediate_data_type=compute, compute_data_type=compute, **where
        )

        def tensor(dims: tuple[int, int, int, int]) -> Any:
            strides = _strides(dims, layer.layout)
            return graph.tensor(dim=list(dims), stride=strides, data_type=kind)

        geometry = {"padding": [layer.padding] * 2, "stride": [layer.stride] * 2,
                    "dilation": [1, 1]}  # fmt: skip
        x, w, y = layer.image, layer.filters, layer.result
        if layer.direction == "fprop":
            a, b, dims = tensor(x), tensor(w), y
            out = graph.conv_fprop(image=a, weight=b, **geometry)
        elif layer.direction == "dgrad":
            a, b, dims = tensor(y), tensor(w), x
            out = graph.conv_dgrad(loss=a, filter=b, **geometry)
        else:
            a, b, dims = tensor(x), tensor(y), w
            out = graph.conv_wgrad(image=a, loss=b, **geometry)
        out.set_output(True).set_dim(list(dims)).set_stride(_strides(dims, layer.layout))
        out.set_data_type(kind)
        with self._refusals():
            graph.validate()
            graph.build_operation_graph()
        return graph, {"a": a, "b": b, "out": out}

    def _runner(self, graph: Any, tensors: Mapping[str, Any], index: int) -> Callable[..., None]:
        """Runs a built plan on torch tensors, on torch's current stream."""
        cudnn, handle = self._cudnn, self._handle
        uids = [tensors[name].get_uid() for name in ("a", "b", "out")]

        def run(
            a: torch.Tensor, b: torch.Tensor, out: torch.Tensor, workspace: torch.Tensor
        ) -> None:
            import torch

            stream = torch.cuda.current_stream().cuda_stream
            if stream != self._stream:  # CUDA graphs are captured on a stream of their own
                cudnn.set_stream(handle=handle, stream=stream)
                self._stream = stream
            pack = dict(zip(uids, (a, b, out), strict=True))
            graph.execute_plan_at_index(pack, workspace, index=index, handle=handle)

        return run


def _strides(dims: tuple[int, int, int, int], layout: str) -> list[int]:
    """Strides of NCHW dimensions stored as NCHW or NHWC."""
    _, c, h, w = dims
    return [c * h * w, h * w, w, 1] if layout == "nchw" else [c * h * w, 1, w * c, c]
