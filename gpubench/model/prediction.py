"""Predictions: one case, or many rows at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gpubench.catalogue import GpuSpec
from gpubench.errors import InputError, UnknownName
from gpubench.model.bands import band, bound
from gpubench.model.constants import constants
from gpubench.model.hardware import Hardware, columns
from gpubench.model.operators import PARAMETERS, evaluate
from gpubench.model.power import total_joules
from gpubench.model.rows import Rows
from gpubench.model.terms import Array, Constants, Detail, Terms
from gpubench.spec import PRECISIONS

_ANY_PRECISION: Final = frozenset({"memcpy", "collective"})
"""Workloads that move bytes; their precision may be left out."""
UNMODELLED: Final[Mapping[str, str]] = {"compile": "false"}
"""Parameters of the workload ``model`` that steps are not modelled in -> the value that
changes nothing."""
STEPS: Final = frozenset({"model", "dialogue"})
"""Workloads that are traced, operator by operator."""
DIALOGUE: Final = {"context": "seq_len"}
"""Parameters of ``dialogue`` by what ``model`` calls them in mode ``generate``."""
TIMELESS: Final = frozenset({
    "corpus", "target_f1", "learning_rate", "steps", "seed", "checkpoint",
})  # fmt: skip
"""Those that change what is learnt, not how long a step takes."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What one case should cost on one GPU.

    Attributes:
        predicted_s: time of one call in seconds.
        low_s, high_s: band that about 80 % of measurements should fall in.
        bound: ``compute``, ``memory`` or ``launch``: the largest of the three below.
        compute_s: arithmetic alone, at the clock that the power limit allows; the article's
            C_TC where it runs on Tensor Cores.
        memory_s: memory traffic alone.
        launch_s: fixed cost of the call.
        energy_j: joules of the call; None where the power model cannot tell.
        on_tensor_cores: whether Tensor Cores do the arithmetic.
        terms: intermediate quantities of the derivation, name -> detail, arrays of shape (1,).
        classes: of a whole step: class of operators -> its seconds (``gpubench.model.classes``).
    """

    predicted_s: float
    low_s: float
    high_s: float
    bound: str | None
    compute_s: float
    memory_s: float
    launch_s: float
    energy_j: float | None
    on_tensor_cores: bool = False
    terms: Mapping[str, Detail] = field(default_factory=dict)
    classes: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Predicted:
    """Predictions of many rows; arrays of shape (rows,), NaN and "" where ``errors`` has the row.

    Attributes:
        blocks: thread blocks of the tiling that the model chose; NaN where it has none.
        errors: row -> why it could not be predicted.
        classes: row of a whole step -> as in ``Prediction``.
    """

    predicted_s: Array
    low_s: Array
    high_s: Array
    compute_s: Array
    memory_s: Array
    launch_s: Array
    energy_j: Array
    blocks: Array
    bound: NDArray[np.object_]
    on_tensor_cores: NDArray[np.bool_]
    errors: Mapping[int, str]
    classes: Mapping[int, Mapping[str, float]] = field(default_factory=dict)


_FLOATS: Final = ("predicted_s", "low_s", "high_s", "compute_s", "memory_s", "launch_s", "energy_j")


def predict(
    gpu: GpuSpec, workload: str, precision: str, params: Mapping[str, object],
    c: Constants | None = None,
) -> Prediction:  # fmt: skip
    """Predict one case.

    Args:
        gpu: a row of the catalogue, derived or what-if.
        workload: a key of ``operators.PARAMETERS``.
        precision: ``fp64 fp32 tf32 fp16 bf16 fp8``.
        params: the workload's parameters as in a suite file.
        c: constants; the shipped ones by default.

    Raises:
        InputError: unknown workload or precision, a precision the GPU lacks, a parameter
            missing or impossible; the message says what was expected.
    """
    _known(workload, precision)
    if workload in STEPS:
        return _step(gpu, workload, precision, params)
    hw = columns([(gpu, _stored(workload, precision))])
    rows = Rows({k: [v] for k, v in _lowered(params).items()}, 1)
    c = constants() if c is None else c
    parts = evaluate(workload, hw, rows, c)
    if rows.errors:
        raise InputError(f"{workload}: {rows.errors[0]}")
    _, terms = parts[0]
    on_tensor = _on_tensor(workload, hw)
    values = _values(workload, on_tensor, hw, terms, c)
    energy = float(values["energy_j"][0])
    floats: dict[str, Any] = {n: float(values[n][0]) for n in _FLOATS if n != "energy_j"}
    return Prediction(
        **floats,
        energy_j=None if np.isnan(energy) else energy,
        bound=str(bound(terms)[0]),
        on_tensor_cores=on_tensor,
        terms=terms.details,
    )


def predict_columns(
    gpus: Sequence[GpuSpec | None],
    workloads: Sequence[str],
    precisions: Sequence[str],
    params: Mapping[str, Sequence[Any]],
    errors: Mapping[int, str] | None = None,
    c: Constants | None = None,
) -> Predicted:
    """Predict many rows, vectorised over all rows of a workload.

    Args:
        gpus: one a row; None where ``errors`` already has the row.
        params: parameter -> one value a row, "" or None where absent.
        errors: rows already known to be bad.

    Returns:
        Arrays in the order of the rows; a bad row has an entry in ``errors``.
    """
    count = len(workloads)
    found: dict[int, str] = dict(errors or {})
    out = {n: np.full(count, np.nan) for n in _FLOATS}
    blocks, bounds = np.full(count, np.nan), np.full(count, "", dtype=object)
    tensor = np.zeros(count, dtype=np.bool_)
    c = constants() if c is None else c
    # Whole steps are traced one by one; the vectorised part passes them over.
    steps = [i for i, w in enumerate(workloads) if w in STEPS and i not in found]
    found.update(dict.fromkeys(steps, ""))
    table, index = _hardware(gpus, workloads, precisions, found)
    kinds: dict[str, list[int]] = {}
    for i, w in enumerate(workloads):
        if i not in found:
            kinds.setdefault(w, []).append(i)
    for workload, members in kinds.items():
        at = np.array(members)
        hw = table.take(index[at])
        wanted = PARAMETERS[workload]
        own = {k: [v[i] for i in members] for k, v in params.items() if k in wanted}
        rows = Rows(own, len(members))
        for mask, terms in evaluate(workload, hw, rows, c):
            some = hw.take(mask)
            on_tensor = _on_tensor(workload, some)
            for name, values in _values(workload, on_tensor, some, terms, c).items():
                out[name][at[mask]] = values
            bounds[at[mask]] = bound(terms)
            if "waves" in terms.details:
                blocks[at[mask]] = terms.details["blocks"].value
            tensor[at[mask]] = on_tensor
        for i, problem in rows.errors.items():
            found[members[i]] = problem
    classes: dict[int, Mapping[str, float]] = {}
    for i in steps:
        known = {*PARAMETERS[workloads[i]], *UNMODELLED, *TIMELESS}
        given = {k: v[i] for k, v in params.items() if k in known}
        try:
            step = _step(gpus[i], workloads[i], precisions[i], given)
        except InputError as error:
            found[i] = str(error)
            continue
        del found[i]
        for name in _FLOATS:
            value = getattr(step, name)
            out[name][i] = np.nan if value is None else value
        bounds[i], tensor[i] = step.bound or "", step.on_tensor_cores
        classes[i] = step.classes
    for i in found:
        bounds[i], blocks[i] = "", np.nan
        for name in _FLOATS:
            out[name][i] = np.nan
    return Predicted(
        **out, blocks=blocks, bound=bounds, on_tensor_cores=tensor, errors=found, classes=classes
    )


def predict_cases(
    cases: Sequence[tuple[GpuSpec | None, str, str, Mapping[str, object]]],
) -> Predicted:
    """Predict many cases, each (GPU, workload, precision, parameters as in a suite file).

    A case whose GPU is None or whose workload the model does not know has an error.
    """
    names = dict.fromkeys(name for *_, params in cases for name in params)
    errors = {
        row: f"the model does not know the workload {workload}"
        for row, (_, workload, *_) in enumerate(cases) if workload not in PARAMETERS
    }  # fmt: skip
    errors |= {row: "not in the catalogue" for row, (gpu, *_) in enumerate(cases) if gpu is None}
    lowered = [_lowered(params) for *_, params in cases]
    return predict_columns(
        [gpu for gpu, *_ in cases],
        [workload for _, workload, *_ in cases],
        [precision for _, _, precision, _ in cases],
        {name: [params.get(name) for params in lowered] for name in names},
        errors,
    )


def _step(
    gpu: GpuSpec | None, workload: str, precision: str, params: Mapping[str, object]
) -> Prediction:
    """A whole step of a model; this alone may import torch."""
    from gpubench.model.step import StepSpec, predict_step

    assert gpu is not None
    return predict_step(gpu, StepSpec.from_params(modelled(params, workload), precision)).prediction


def modelled(params: Mapping[str, object], workload: str = "model") -> dict[str, object]:
    """The parameters of a step that its model knows, as the workload ``model`` names them.

    Raises:
        InputError: one that it does not know would change the time.
    """
    if workload == "dialogue":
        params = {DIALOGUE.get(k, k): v for k, v in params.items()} | {"mode": "generate"}
    for name, neutral in UNMODELLED.items():
        value = params.get(name)
        if value not in (None, "") and str(value).lower() != neutral:
            raise InputError(f"steps are not modelled with {name}: {value}", key=name)
    found = {k: v for k, v in params.items() if k not in UNMODELLED and k not in TIMELESS}
    if found.get("mode") == "train_to_quality":
        found["mode"] = "training"
    return found


def _values(
    workload: str, on_tensor: bool, hw: Hardware, t: Terms, c: Constants
) -> dict[str, Array]:
    low, high = band(workload, on_tensor, hw, t)
    energy = total_joules(hw, t.time_s, t.core_j, t.dram_bytes, t.clock_share, c)
    return {
        "predicted_s": t.time_s, "low_s": low, "high_s": high, "compute_s": t.compute_s,
        "memory_s": t.memory_s, "launch_s": t.launch_s, "energy_j": energy,
    }  # fmt: skip


def _hardware(
    gpus: Sequence[GpuSpec | None], workloads: Sequence[str], precisions: Sequence[str],
    found: dict[int, str],
) -> tuple[Hardware, NDArray[np.intp]]:  # fmt: skip
    """Columns of every distinct (GPU, precision), and each row's place among them."""
    pairs: list[tuple[GpuSpec, str]] = []
    places: dict[tuple[str, str, str], int | str] = {}
    index = np.zeros(len(workloads), dtype=np.intp)
    for i, (gpu, workload, precision) in enumerate(zip(gpus, workloads, precisions, strict=True)):
        if i in found or gpu is None:
            continue
        key = (gpu.key, workload, precision)
        place = places.get(key)
        if place is None:
            place = places[key] = _place(gpu, workload, precision, pairs)
        if isinstance(place, str):
            found[i] = place
        else:
            index[i] = place
    if not pairs:
        pairs = [(g, "fp32") for g in gpus if g is not None][:1]
    return columns(pairs) if pairs else _nothing(), index


def _place(
    gpu: GpuSpec, workload: str, precision: str, pairs: list[tuple[GpuSpec, str]]
) -> int | str:
    try:
        _known(workload, precision)
    except InputError as error:
        return str(error)
    stored = _stored(workload, precision)
    if not gpu.supports(stored):
        return gpu.why_not(stored)
    pairs.append((gpu, stored))
    return len(pairs) - 1


def _nothing() -> Hardware:
    return Hardware(*(np.zeros(0) for _ in fields(Hardware)))


def _known(workload: str, precision: str) -> None:
    if workload not in PARAMETERS:
        raise UnknownName("workload", workload, PARAMETERS)
    if precision not in PRECISIONS and not (workload in _ANY_PRECISION and not precision):
        raise UnknownName("precision", precision, PRECISIONS)


def _stored(workload: str, precision: str) -> str:
    return "fp32" if workload in _ANY_PRECISION else precision


def _on_tensor(workload: str, hw: Hardware) -> bool:
    matrix = workload in ("gemm", "linear", "conv2d", "attention", "rnn")
    return matrix and not bool(np.isnan(hw.tensor_flops[0]))


def _lowered(params: Mapping[str, object]) -> dict[str, object]:
    return {k: str(v).lower() if isinstance(v, bool) else v for k, v in params.items()}
