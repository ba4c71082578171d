"""Whole steps in TF32, mixed precision and FP32 against tables that NVIDIA published.

    python benchmarks/model/score_published.py [--write]

DeepLearningExamples (PyTorch and TensorFlow), one GPU: BERT and ResNet-50, training and
inference. Nothing was ever fitted to these rows. They are throughputs of whole programs: data
loading, fused optimizers and kernels of their containers included.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from gpubench.catalogue import find
from gpubench.catalogue.published import Published, published
from gpubench.model.step import StepSpec, predict_step, sum_up, trace

HERE = Path(__file__).parent
DOCS = HERE.parents[1] / "docs" / "steps.md"
MARK = "<!-- published -->"
MODELS = ("bert-base", "bert-large", "resnet50")
FRAMEWORKS = ("PyTorch", "TensorFlow1")
IMAGES = 256
"""Training tables of ResNet-50 do not say the batch; this is their scripts' default. What an
image costs hardly depends on it at this size."""
MACS_AN_IMAGE = 4.09e9
LEAST_BATCH = 8
"""Below, the host decides: the tables show the same time for one image and for four."""


def spec_of(p: Published) -> tuple[StepSpec, int] | None:
    """What to trace, and the samples of a step; None where the table does not say."""
    g = dict(p.params)
    training = g["mode"] == "training"
    if g["model"] == "resnet50":
        batch = int(str(g.get("batch", IMAGES if training else 0)))
        optimizer = "sgd" if training else "none"
        spec = StepSpec(
            "resnet50", str(g["mode"]), batch, optimizer=optimizer, precision=p.precision
        )
        return (spec, batch) if batch >= LEAST_BATCH else None
    if "seq_len" not in g or not str(g.get("batch", "")).isdigit():
        return None
    batch = int(str(g["batch"]))
    if "accumulated batch" in p.note:
        batch //= int(str(g["grad_accum"]))
    # With accumulation the optimizer runs once in many steps.
    optimizer = "adamw" if training and "grad_accum" not in g else "none"
    head = "pretraining" if g["task"] == "pretrain" else "token-classification"
    if g["task"] in ("finetune-mrpc", "finetune-sst2"):
        head = "sequence-classification"
    spec = StepSpec(str(g["model"]), str(g["mode"]), batch, int(str(g["seq_len"])), "eager",
                    optimizer=optimizer, head=head, precision=p.precision)  # fmt: skip
    return (spec, batch) if batch >= LEAST_BATCH else None


def impossible(p: Published) -> bool:
    """Whether a row in FP32 would be above the GPU's FP32 peak: mislabelled."""
    if p.precision != "fp32" or p.params["model"] != "resnet50":
        return False
    return 2 * MACS_AN_IMAGE * (p.throughput or 0.0) > find(p.gpu_key).fp32_flops


def predicted_s(p: Published, spec: StepSpec, framework: str) -> float:
    """The predicted step as that framework ran it.

    TensorFlow's mixed precision rewrites the graph and keeps FP32 weights, for inference too:
    that is the forward part of a training step without dropout. PyTorch's scripts convert the
    weights.
    """
    gpu = find(p.gpu_key)
    if framework == "TensorFlow1" and spec.precision == "fp16" and spec.mode == "inference":
        traced = trace(replace(spec, mode="training"))
        kept = [o for o in traced if o.phase == "forward" and "dropout" not in o.name]
        return sum_up(gpu, kept).prediction.predicted_s
    return predict_step(gpu, spec).prediction.predicted_s


def score() -> pd.DataFrame:
    """Published and predicted seconds of a step, row by row."""
    rows = []
    for p in published(workload="model"):
        framework = p.note.split(",")[0]
        if p.params.get("model") not in MODELS or framework not in FRAMEWORKS or not p.throughput:
            continue
        found = spec_of(p)
        # Binned sequence lengths: the table's length is the longest, not the usual one.
        if found is None or "binning" in p.note:
            continue
        spec, samples = found
        if impossible(p):
            continue
        predicted = predicted_s(p, spec, framework)
        measured = samples / p.throughput
        rows.append({
            "gpu": p.gpu_key, "precision": p.precision, "framework": framework,
            "model": spec.model, "mode": spec.mode, "batch": spec.batch, "seq_len": spec.seq_len,
            "head": spec.head, "measured_s": measured, "predicted_s": predicted,
            "error": predicted / measured - 1, "where": p.where,
        })  # fmt: skip
    return pd.DataFrame(rows)


def table(found: pd.DataFrame) -> pd.DataFrame:
    """Errors by mode, model, framework, precision and generation of GPU."""
    named = found.assign(
        network=np.where(found.model == "resnet50", "ResNet-50", "BERT"),
        card=found.gpu.str.split("-").str[0].str.upper(),
        size=100 * found.error.abs(),
    )
    keys = ["mode", "network", "framework", "card", "precision"]
    groups = named.groupby(keys)
    return pd.DataFrame({"rows": groups.size(), "error": groups["size"].mean(),
                         "bias": 100 * groups.error.median()}).reset_index()  # fmt: skip


def write_docs(scores: pd.DataFrame) -> None:
    """Put the table between the marks in ``docs/steps.md``."""
    lines = ["| mode | network | framework | GPU | precision | rows | mean absolute error "
             "| median |", "|---|---|---|---|---|---|---|---|"]  # fmt: skip
    lines += [
        f"| {r.mode} | {r.network} | {r.framework} | {r.card} | {r.precision} | {r.rows} "
        f"| {r.error:.0f} % | {r.bias:+.0f} % |"
        for r in scores.itertuples()
    ]
    before, _, rest = DOCS.read_text().partition(MARK)
    after = rest.partition(MARK)[2]
    DOCS.write_text(before + MARK + "\n" + "\n".join(lines) + "\n" + MARK + after)


if __name__ == "__main__":
    found = score()
    scores = table(found)
    print(scores.round(1).to_string(index=False))
    if "--rows" in sys.argv:
        print(found.drop(columns="where").to_string(float_format=lambda v: f"{v:.4g}"))
    if "--write" in sys.argv:
        found.round(6).to_csv(HERE / "scores_published.csv", index=False)
        write_docs(scores)
