"""Plans of cuDNN for one convolution: which there are, what they are, how to run one.

Through nvidia-cudnn-frontend (extra ``cudnn``). A *plan* is an engine with values of its
knobs; the heuristic names some in the order of its preference (mode A, then FALLBACK), and
every engine beyond those is tried with its default knobs. Indices of plans mean nothing
from one search to the next, names do (within one version of cuDNN).

The frontend has no getter of numerical notes, but it can refuse plans by note: a plan that
is built before ``deselect_numeric_notes([NOTE])`` and refused after it carries the note.
That is asked of one engine at a time: frontend 1.26 files the notes of engines that were
added by number under the indices of the heuristic's plans.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Protocol

from gpubench.errors import Unsupported
from gpubench.ports import Call
from gpubench.record import Fact
from gpubench.units import bytes_iec

if TYPE_CHECKING:
    import torch

    from gpubench.workloads.conv2d import Conv2d

INSTALL: Final = "pip install 'gpubench[cudnn]'"
NOTES: Final = (
    "TENSOR_CORE", "DOWN_CONVERT_INPUTS", "REDUCED_PRECISION_REDUCTION", "FFT", "NONDETERMINISTIC",
    "WINOGRAD", "WINOGRAD_TILE_4x4", "WINOGRAD_TILE_6x6", "WINOGRAD_TILE_13x13",
    "STRICT_NAN_PROP",
)  # fmt: skip
"""cudnnBackendNumericalNote_t, as the frontend names them."""
LOWER_PRECISION: Final = frozenset({"TENSOR_CORE", "DOWN_CONVERT_INPUTS"})
"""Notes of engines that compute FP32 tensors in TF32 or FP16."""
_STATUS: Final = re.compile(r"CUDNN_STATUS_\w+")


class PlanRefused(Exception):
    """cuDNN does not take a layer, an engine or a plan; the message has its status."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A convolution as cuDNN is told of it; dimensions are NCHW whatever the layout.

    Attributes:
        image, filters, result: dimensions of x, w and y.
        dtype: ``float``, ``half``, ``bfloat16`` or ``double``, of all three.
        exact: whether engines that compute in lower precision are refused.
    """

    direction: str
    image: tuple[int, int, int, int]
    filters: tuple[int, int, int, int]
    result: tuple[int, int, int, int]
    padding: int
    stride: int
    layout: str
    dtype: str
    exact: bool

    @classmethod
    def of(cls, conv: Conv2d) -> Layer:
        """The layer of a ``Conv2d``."""
        return cls(
            direction=conv.direction,
            image=(conv.batch, conv.c_in, *conv.image),
            filters=(conv.c_out, conv.c_in, *conv.kernel),
            result=(conv.batch, conv.c_out, *conv.out),
            padding=conv.padding,
            stride=conv.stride,
            layout=conv.layout,
            dtype={"fp64": "double", "fp32": "float", "tf32": "float", "fp16": "half",
                   "bf16": "bfloat16"}[conv.precision],
            exact=conv.precision == "fp32",
        )  # fmt: skip


class Planner(Protocol):
    """What a search needs of cuDNN; a fake of it stands for the library in tests."""

    version: str

    def heuristic(self, layer: Layer) -> Sequence[str]:
        """Names of the plans that the heuristic gives, the preferred one first."""

    def engine_count(self, layer: Layer) -> int:
        """Engines the library has for this operation, runnable or not."""

    def default_plan(self, layer: Layer, engine: int) -> str:
        """Name of the plan of one engine with its default knobs.

        Raises:
            PlanRefused: the engine does not take this layer; with cuDNN's reason.
        """

    def build(self, layer: Layer, name: str) -> tuple[int, Sequence[str], object]:
        """(workspace in bytes, behaviour notes, what runs it) of one plan.

        Raises:
            PlanRefused: cuDNN refuses it; with its reason.
        """

    def carries(self, layer: Layer, engine: int, note: str) -> bool:
        """Whether an engine has a numerical note."""


@dataclass(frozen=True, slots=True)
class Found:
    """A plan that a search found; ``reason`` says why it cannot run."""

    name: str
    reason: str | None = None


def search(layer: Layer, planner: Planner, room_bytes: float | None = None) -> list[Found]:
    """Every plan for a layer: the heuristic's in its order, then the other engines.

    Engines that do not take the layer are one entry a reason, not one an engine.

    Args:
        room_bytes: memory left for a workspace; None where that is not known.

    Raises:
        Unsupported: cuDNN has no plan at all, with its reason.
    """
    try:
        preferred = list(dict.fromkeys(planner.heuristic(layer)))
    except PlanRefused as error:
        raise Unsupported(f"cuDNN {planner.version} has no plan: {reason_of(error)}") from error
    refused: dict[str, list[int]] = {}
    beyond: list[str] = []
    seen = {engine_of(name) for name in preferred}
    for engine in range(planner.engine_count(layer)):
        if engine in seen:
            continue
        try:
            beyond.append(planner.default_plan(layer, engine))
        except PlanRefused as error:
            refused.setdefault(reason_of(error), []).append(engine)
    notes = {e: notes_of(layer, planner, e) for e in {engine_of(n) for n in (*preferred, *beyond)}}
    found = []
    for name in (*preferred, *beyond):
        found.append(Found(name, _why_not(layer, planner, name, notes, room_bytes)))
    for reason, engines in refused.items():
        found.append(Found(_listed(engines), f"cuDNN {planner.version}: {reason}"))
    return found


def _why_not(
    layer: Layer, planner: Planner, name: str, notes: Mapping[int, Sequence[str]],
    room_bytes: float | None,
) -> str | None:  # fmt: skip
    lower = sorted(LOWER_PRECISION & set(notes[engine_of(name)]))
    if layer.exact and lower:
        return f"not FP32: cuDNN notes {' and '.join(lower)} of this engine"
    try:
        workspace, _, _ = planner.build(layer, name)
    except PlanRefused as error:
        return f"cuDNN {planner.version} refuses to build it: {reason_of(error)}"
    if room_bytes is not None and workspace > room_bytes:
        return f"needs a workspace of {bytes_iec(workspace)} ({workspace:,} bytes): no room"
    return None


def notes_of(layer: Layer, planner: Planner, engine: int) -> tuple[str, ...]:
    """Numerical notes of an engine, found by exclusion."""
    return tuple(n for n in NOTES if planner.carries(layer, engine, n))


def engine_of(name: str) -> int:
    """The engine's number in the name of a plan.

    >>> engine_of("eng62_k2=5_k13=1")
    62
    """
    match = re.match(r"eng(\d+)", name)
    assert match, name
    return int(match[1])


def reason_of(error: Exception) -> str:
    """The status in an error of the frontend, or its first line."""
    text = str(error).strip()
    status = _STATUS.findall(text)
    return status[-1] if status else (text.splitlines() or [type(error).__name__])[0][:200]


def _listed(engines: Sequence[int]) -> str:
    """``eng3+5-8+11``: engines as one name.

    >>> _listed([3, 5, 6, 7, 8, 11])
    'eng3+5-8+11'
    """
    spans: list[list[int]] = []
    for engine in engines:
        if spans and engine == spans[-1][1] + 1:
            spans[-1][1] = engine
        else:
            spans.append([engine, engine])
    return "eng" + "+".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan that is built and can run.

    Attributes:
        rank: place in the heuristic's list, from 0; None for an engine beyond it.
        run: called with (input, input, output, workspace) as torch tensors.
    """

    name: str
    version: str
    rank: int | None
    workspace_bytes: int
    notes: tuple[str, ...]
    behavior: tuple[str, ...]
    run: Callable[..., None] = field(compare=False)

    def bound(
        self, a: torch.Tensor, b: torch.Tensor, out: torch.Tensor, workspace: torch.Tensor
    ) -> Call:
        """A call on these tensors."""
        run = self.run
        return lambda: run(a, b, out, workspace)

    def facts(self) -> Mapping[str, Fact]:
        """What the record keeps of it."""
        return {
            "cudnn.version": self.version,
            "cudnn.engine": engine_of(self.name),
            "cudnn.heuristic_rank": self.rank,
            "cudnn.workspace_bytes": self.workspace_bytes,
            "cudnn.numerical_notes": ", ".join(self.notes),
            "cudnn.behavior_notes": ", ".join(self.behavior),
        }


@lru_cache(maxsize=4)
def built(layer: Layer, name: str) -> Plan:
    """Build one plan on this device by its name.

    Raises:
        Unsupported: no cudnn extra; or this cuDNN has no such plan or refuses it.
    """
    return build(layer, name, on_device())


def build(layer: Layer, name: str, planner: Planner) -> Plan:
    """Build one plan by its name; see ``built``."""
    try:
        preferred = list(planner.heuristic(layer))
        workspace, behavior, run = planner.build(layer, name)
    except PlanRefused as error:
        raise Unsupported(f"cuDNN {planner.version}, {name}: {reason_of(error)}") from error
    notes = notes_of(layer, planner, engine_of(name))
    lower = sorted(LOWER_PRECISION & set(notes))
    if layer.exact and lower:
        raise Unsupported(f"not FP32: cuDNN notes {' and '.join(lower)} of this engine")
    rank = preferred.index(name) if name in preferred else None
    assert callable(run)
    return Plan(name, planner.version, rank, workspace, notes, tuple(behavior), run)


@lru_cache(maxsize=1)
def on_device() -> Planner:
    """The planner of the current CUDA device.

    Raises:
        Unsupported: the extra is not installed, or its library does not load.
    """
    from gpubench.workloads.cudnn_frontend import Frontend, load

    return Frontend(load(), handle=True)


@lru_cache(maxsize=1)
def workspace(size_bytes: int, device: str) -> torch.Tensor:
    """Scratch memory that all input sets of a case share, as frameworks share theirs.

    Calls follow each other on one stream, so none sees another's; one set of its own for each
    would multiply what is often larger than the operands.
    """
    import torch

    return torch.empty(max(size_bytes, 1), dtype=torch.uint8, device=device)
