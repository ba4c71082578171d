"""A whole step of a model: the sum of its operators, each by its own model.

    t(step) = sum over operators of weight * t(operator)

The sum is the article's C_GPU = sum f_i C_GPU,i with operators for neurons. Two things act
on the sum and not on single operators: the power limit, which holds on average over a
window longer than any kernel, so that memory-bound kernels lend headroom to products; and
the queue, which hides the host's part of every launch but the gap between two kernels. A
host that cannot keep the queue filled makes a step longer than predicted here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

import numpy as np

from gpubench.catalogue import GpuSpec
from gpubench.errors import InputError, UnknownName, Unsupported
from gpubench.model.adapting import adapted
from gpubench.model.classes import by_class
from gpubench.model.networks import BUILT_IN, TEXT_TOKENS, build, generates
from gpubench.model.prediction import Prediction, predict_columns
from gpubench.model.terms import Constants
from gpubench.model.trace import Operation, Recorder, as_on_a_gpu, recording

MODES: Final = ("inference", "training", "generate")
ADAPTERS: Final = ("none", "lora")
OPTIMIZERS: Final = ("none", "sgd", "adamw")
PARAMETERS: Final = {
    "model": "a built-in name or the path of a Hugging Face config.json",
    "mode": "inference, training or generate",
    "batch": "samples a step",
    "seq_len": "tokens a sample",
    "attention": "eager or sdpa",
    "adapter": "none or lora",
    "optimizer": "none, sgd or adamw",
    "head": "what is on top of the model",
    "accumulate": "parts whose gradients are added up before a step",
    "frozen_backbone": "whether only the head is trained",
    "checkpointing": "whether activations are computed again in the backward pass",
    "image_size": "pixels along a side of an image",
    "new_tokens": "tokens generated after a prompt of seq_len",
}
LOW, HIGH = 0.9, 1.15
"""Ends of a step's band / prediction: 80 % of the left-out rows of docs/steps.md fall within."""
GENERATING_HIGH: Final = 3.0
"""End of the band of ``generate`` / prediction: no measured row stands behind it, and a host
that submits a token's small kernels one by one is often slower than the device runs them."""
NEW_TOKENS: Final = 32
GAP_S: Final = 3e-6
PRODUCT_GAP_S: Final = 5e-6
"""Between kernels that were queued in time, from measured steps of several GPUs. What one
call costs by itself (the operators' launch terms) is mostly the host's part, which a queue
hides."""
PRODUCTS: Final = frozenset({"gemm", "linear", "conv2d", "attention", "rnn"})


@dataclass(frozen=True, slots=True)
class StepSpec:
    """What to trace; hashable, so that a trace serves every GPU.

    Attributes:
        accumulate: parts of a step, whose first writes its gradients and the others add to
            them. None: one part that adds to gradients which are there already, as in the
            measured steps of docs/steps.md.
    """

    model: str
    mode: str = "inference"
    batch: int = 1
    seq_len: int | None = None
    attention: str = "sdpa"
    adapter: str = "none"
    optimizer: str = "none"
    head: str | None = None
    precision: str = "fp32"
    accumulate: int | None = None
    frozen_backbone: bool = False
    checkpointing: bool = False
    image_size: int | None = None
    new_tokens: int = NEW_TOKENS

    @classmethod
    def from_params(cls, params: Mapping[str, Any], precision: str) -> StepSpec:
        """From the parameters of workload ``model``; empty ones have their defaults.

        Raises:
            InputError: a name or number that does not fit, with near misses.
        """
        given = {k: v for k, v in params.items() if v not in (None, "")}
        for name in given:
            if name not in PARAMETERS:
                raise UnknownName("parameter of model", name, PARAMETERS).at(key=name)
        if "model" not in given:
            raise InputError("'model' is missing", key="model", expected=PARAMETERS["model"])
        for name, known in (("mode", MODES), ("adapter", ADAPTERS), ("optimizer", OPTIMIZERS)):
            if name in given and given[name] not in known:
                raise UnknownName(name, str(given[name]), known).at(key=name)
        if precision not in ("fp32", "tf32", "fp16", "bf16"):
            raise InputError(
                f"steps are not modelled in {precision}", expected="fp32, tf32, fp16 or bf16"
            )
        read: dict[str, Any] = {k: str(v) for k, v in given.items()}
        for name in ("batch", "seq_len", "accumulate", "image_size", "new_tokens"):
            if name in given:
                read[name] = _count(name, given[name])
        for name in ("frozen_backbone", "checkpointing"):
            if name in given:
                read[name] = _switch(name, given[name])
                mode = read.get("mode", "inference")
                if read[name] and mode != "training":
                    raise InputError(f"{mode} has no {name}", key=name, expected="training")
        return cls(**read, precision=precision)


def _switch(name: str, value: Any) -> bool:
    found = {"true": True, "1": True, "false": False, "0": False}.get(str(value).lower())
    if found is None:
        raise InputError(f"{value!r} found", key=name, expected="true or false")
    return found


def _count(name: str, value: Any) -> int:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = 0.0
    if number < 1 or number != int(number):
        raise InputError(f"{value!r} found", key=name, expected="a positive integer")
    return int(number)


@lru_cache(maxsize=64)
def trace(spec: StepSpec) -> tuple[Operation, ...]:
    """Operations of the second step: gradients are there already and are added to.

    Raises:
        InputError: unknown model, missing extra, a model that cannot be traced.
    """
    import torch

    if spec.mode == "generate":
        return _generation(spec)
    network = build(
        spec.model, batch=spec.batch, seq_len=spec.seq_len, head=spec.head,
        attention=spec.attention,
    )  # fmt: skip
    training = spec.mode == "training"
    recorder = Recorder(tf32=spec.precision == "tf32")
    try:
        module = adapted(
            network.module, adapter=spec.adapter, frozen_backbone=spec.frozen_backbone,
            checkpointing=spec.checkpointing, again=lambda: recorder.again(),
        ).train(training)  # fmt: skip
    except Unsupported as error:
        raise InputError(str(error)) from error
    half = spec.precision if spec.precision in ("fp16", "bf16") else None
    if half and not training:
        # Inference in half precision stores the weights so; training keeps FP32 masters.
        module.to({"fp16": torch.float16, "bf16": torch.bfloat16}[half])
        half = None
    inputs = dict(network.inputs)
    if spec.image_size and "input" in inputs:
        inputs["input"] = inputs["input"].new_empty(spec.batch, 3, spec.image_size, spec.image_size)
    if not training:
        first = next(module.parameters())
        inputs = {k: v.to(first.dtype) if v.is_floating_point() else v for k, v in inputs.items()}
    try:
        with recording(recorder), as_on_a_gpu(recorder, half if training else None):
            with torch.set_grad_enabled(training):
                outputs = module(**inputs)
            if training:
                loss = network.loss(outputs)
                recorder.phase = "backward"
                loss.backward()
    except (RuntimeError, NotImplementedError, TypeError, ValueError, AttributeError) as error:
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else ""
        raise InputError(
            f"{spec.model!r} cannot be traced: {type(error).__name__}: {first_line}", key="model"
        ) from error
    if not training:
        return tuple(recorder.operations)
    parts = spec.accumulate or 1
    recorder.operations = [replace(o, weight=o.weight * parts) for o in recorder.operations]
    _after_backward(recorder, module, spec)
    return tuple(recorder.operations)


def _generation(spec: StepSpec) -> tuple[Operation, ...]:
    """Reading a prompt, then one token at a time from a cache of keys and values.

    Every token after the first is charged as the one in the middle of the answer.

    Raises:
        InputError: no causal language model, or one that cannot be traced.
    """
    if spec.adapter != "none" or spec.optimizer != "none":
        raise InputError("generate has no adapter and no optimizer", key="mode")
    if spec.model in BUILT_IN and not generates(spec.model):
        raise InputError(
            f"{spec.model} generates no text", key="model",
            expected=f"one of {', '.join(filter(generates, BUILT_IN))}, or a config.json",
        )  # fmt: skip
    if spec.head not in (None, "causal-lm"):
        raise InputError("only a language model generates", key="head", expected="causal-lm")
    recorder = Recorder(tf32=spec.precision == "tf32")
    cache = _read_prompt(spec, spec.seq_len or TEXT_TOKENS, recorder)[1]
    del cache
    if spec.new_tokens > 1:
        middle = (spec.seq_len or TEXT_TOKENS) + spec.new_tokens // 2
        module, cache = _read_prompt(spec, middle, Recorder())
        token = Recorder(tf32=spec.precision == "tf32")
        token.phase = "decode"
        _run(spec, module, spec.batch, 1, token, cache)
        recorder.operations += [
            replace(o, weight=o.weight * (spec.new_tokens - 1)) for o in token.operations
        ]
    return tuple(recorder.operations)


def _read_prompt(spec: StepSpec, tokens: int, recorder: Recorder) -> tuple[Any, Any]:
    """(network, cache of keys and values) after a prompt."""
    import torch

    network = build(
        spec.model, batch=spec.batch, seq_len=tokens, head="causal-lm", attention=spec.attention
    )
    module = network.module.eval()
    if spec.precision in ("fp16", "bf16"):
        module.to({"fp16": torch.float16, "bf16": torch.bfloat16}[spec.precision])
    recorder.phase = "prompt"
    return module, _run(spec, module, spec.batch, tokens, recorder, None)


def _run(
    spec: StepSpec, module: Any, batch: int, tokens: int, recorder: Recorder, cache: Any
) -> Any:
    """One forward pass over some tokens on the meta device; returns the cache it leaves."""
    import torch

    ids = torch.zeros(batch, tokens, dtype=torch.int64, device="meta")
    try:
        with recording(recorder), as_on_a_gpu(recorder, None), torch.no_grad():
            return module(ids, past_key_values=cache, use_cache=True).past_key_values
    except (RuntimeError, NotImplementedError, TypeError, ValueError, AttributeError) as error:
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else ""
        raise InputError(
            f"{spec.model!r} cannot be traced generating: {type(error).__name__}: {first_line}",
            key="model",
        ) from error


def _after_backward(recorder: Recorder, module: Any, spec: StepSpec) -> None:
    """Gradient accumulation (read two, write one) and the optimizer's pass."""
    trained = [p for p in module.parameters() if p.requires_grad]
    count = sum(p.numel() for p in trained)
    additions = 1 if spec.accumulate is None else spec.accumulate - 1
    recorder.move("accumulate gradients", 12.0 * count * additions)
    recorder.phase = "optimizer"
    # SGD reads weight and gradient and writes the weight; AdamW two moments besides.
    recorder.move(spec.optimizer, {"none": 0.0, "sgd": 12.0, "adamw": 28.0}[spec.optimizer] * count)


@dataclass(frozen=True, slots=True)
class Share:
    """What a class of operators takes of a step."""

    phase: str
    name: str
    count: float
    time_s: float


@dataclass(frozen=True, slots=True)
class Step:
    """A predicted step.

    Attributes:
        prediction: the sum, with its band.
        shares: time by phase and operator, the longest first.
    """

    prediction: Prediction
    shares: tuple[Share, ...]


def predict_step(gpu: GpuSpec, spec: StepSpec, c: Constants | None = None) -> Step:
    """Predict a step on a GPU.

    Raises:
        InputError: the GPU lacks the precision, or the model cannot be traced.
    """
    if not gpu.supports(spec.precision):
        raise InputError(gpu.why_not(spec.precision))
    step = sum_up(gpu, trace(spec), c)
    if spec.mode != "generate":
        return step
    high_s = GENERATING_HIGH * step.prediction.predicted_s
    return replace(step, prediction=replace(step.prediction, high_s=high_s))


def sum_up(gpu: GpuSpec, operations: Sequence[Operation], c: Constants | None = None) -> Step:
    """The sum of operators on a GPU, under a power limit that holds on average."""
    unique = Counter(
        (o.workload, o.precision, o.params, o.phase, o.name, o.weight) for o in operations
    )
    keys = list(unique)
    counts = np.array([unique[k] * k[5] for k in keys])
    columns = _evaluate(gpu, keys, c)
    energy = float(np.nansum(columns["energy_j"] * counts))
    total = float((columns["predicted_s"] * counts).sum())
    if gpu.tdp_w:
        columns, total, energy = _at_the_limit(gpu, keys, counts, columns, total, energy, c)
    times = columns["predicted_s"] * counts
    by_name: dict[tuple[str, str], list[float]] = {}
    for key, count, time_s in zip(keys, counts, times, strict=True):
        entry = by_name.setdefault((key[3], key[4]), [0.0, 0.0])
        entry[0] += float(count)
        entry[1] += float(time_s)
    shares = [Share(phase, name, n, t) for (phase, name), (n, t) in by_name.items()]
    shares.sort(key=lambda s: -s.time_s)
    prediction = _total(columns, counts, total, energy)
    classes = by_class((s.name, s.time_s) for s in shares)
    return Step(replace(prediction, classes=classes), tuple(shares))


def _evaluate(gpu: GpuSpec, keys: Sequence[Any], c: Constants | None) -> dict[str, Any]:
    """Predictions of distinct operators, vectorised."""
    params: dict[str, list[Any]] = {}
    for i, key in enumerate(keys):
        for name, value in key[2]:
            params.setdefault(name, [""] * len(keys))[i] = value
    found = predict_columns(
        [gpu] * len(keys), [k[0] for k in keys], [k[1] for k in keys], params, c=c
    )
    if found.errors:
        row, problem = next(iter(found.errors.items()))
        raise InputError(f"{keys[row][4]}: {problem}")
    names = ("compute_s", "memory_s", "energy_j", "on_tensor_cores")
    gap_s = np.array([GAP_S if k[0] not in PRODUCTS else PRODUCT_GAP_S for k in keys])
    # A recurrent layer waits for the whole GPU at every time step, also within a queue of work.
    chained = np.array([k[0] == "rnn" for k in keys])
    waits_s = np.where(chained, found.launch_s, 0.0)
    alone_s = found.predicted_s - found.launch_s + waits_s
    in_step_s = alone_s + gap_s
    return {
        **{n: getattr(found, n) for n in names},
        "launch_s": gap_s + waits_s,
        "predicted_s": in_step_s,
        # No measured step holds a recurrent layer: it keeps the wide band that it has alone.
        "low_s": np.where(chained, found.low_s, LOW * in_step_s),
        "high_s": np.where(chained, found.high_s + gap_s, HIGH * in_step_s),
    }


def _at_the_limit(
    gpu: GpuSpec, keys: Sequence[Any], counts: Any, columns: dict[str, Any], total: float,
    energy: float, c: Constants | None,
) -> tuple[dict[str, Any], float, float]:  # fmt: skip
    """Move the limit that single kernels see until the average meets the real one.

    The board's limit acts on power averaged over a window much longer than a kernel: a product
    may draw more while what surrounds it draws less, and no kernel of a step has the pauses
    before it whose credit a single short call runs on. Bisection over the limit.
    """
    assert gpu.tdp_w is not None
    low, high = (1.0, 2.5) if energy / total < gpu.tdp_w else (0.5, 1.0)
    for _ in range(12):
        middle = (low + high) / 2
        tried = _evaluate(replace(gpu, tdp_w=gpu.tdp_w * middle), keys, c)
        time_s = float((tried["predicted_s"] * counts).sum())
        joules = float(np.nansum(tried["energy_j"] * counts))
        if joules / time_s > gpu.tdp_w:
            high = middle
        else:
            low, columns, total, energy = middle, tried, time_s, joules
        if high - low < 0.02:
            break
    return columns, total, energy


def _total(columns: dict[str, Any], counts: Any, total: float, energy: float) -> Prediction:
    sums = {n: float((columns[n] * counts).sum()) for n in ("compute_s", "memory_s", "launch_s")}
    bound = max(sums, key=lambda n: sums[n]).removesuffix("_s")
    return Prediction(
        predicted_s=total,
        low_s=float((columns["low_s"] * counts).sum()),
        high_s=float((columns["high_s"] * counts).sum()),
        bound=bound,
        compute_s=sums["compute_s"],
        memory_s=sums["memory_s"],
        launch_s=sums["launch_s"],
        energy_j=energy if energy > 0 else None,
        on_tensor_cores=bool(columns["on_tensor_cores"].any()),
    )
