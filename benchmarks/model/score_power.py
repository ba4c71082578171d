"""Predicted power against Zeus' traces: whole training steps under power limits.

    python benchmarks/model/score_power.py [--write]

Zeus (NSDI 2023, Apache-2.0) gives the time and average power of an epoch by GPU, batch and
power limit. ResNet-50 on ImageNet and BERT-base on SQuAD are steps that can be traced; its other
models cannot, or leave the GPU waiting for the host. The precision is not stated: FP32 is
assumed, and TF32 on Ampere, as PyTorch had it then. Nothing was fitted to these rows.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd

from gpubench.catalogue import find
from gpubench.model.step import StepSpec, predict_step

HERE = Path(__file__).parent
DOCS = HERE.parents[1] / "docs" / "model.md"
MARK = "<!-- power -->"
SAMPLES = {"resnet50": 1_281_167, "bert_base_uncased": 88_524}
"""Samples an epoch: images of ImageNet, windows of 384 tokens of SQuAD 1.1."""
LEAST_BATCH = {"resnet50": 64, "bert_base_uncased": 12}
"""Smaller ones wait for the host."""


def spec_of(model: str, batch: int, precision: str) -> StepSpec:
    """The step that was run."""
    if model == "resnet50":
        return StepSpec("resnet50", "training", batch, optimizer="sgd", precision=precision)
    return StepSpec("bert-base", "training", batch, 384, "eager", optimizer="adamw",
                    head="token-classification", precision=precision)  # fmt: skip


def score() -> pd.DataFrame:
    """Measured and predicted seconds and watts, row by row."""
    rows = []
    for r in pd.read_csv(HERE / "data" / "zeus_power.csv").itertuples():
        if r.batch < LEAST_BATCH[r.model]:
            continue
        gpu = find(r.gpu_key)
        spec = spec_of(r.model, int(r.batch), "tf32" if gpu.supports("tf32") else "fp32")
        got = predict_step(replace(gpu, tdp_w=float(r.power_limit_w)), spec).prediction
        step_s = r.time_per_epoch * r.batch / SAMPLES[r.model]
        watts = (got.energy_j or 0.0) / got.predicted_s
        rows.append({
            "gpu": r.gpu_key, "model": r.model, "batch": r.batch, "limit_w": r.power_limit_w,
            "measured_w": r.average_power, "predicted_w": watts,
            "measured_s": step_s, "predicted_s": got.predicted_s,
            "power_error": watts / r.average_power - 1, "time_error": got.predicted_s / step_s - 1,
            "energy_error": (got.energy_j or 0.0) / (r.average_power * step_s) - 1,
        })  # fmt: skip
    return pd.DataFrame(rows)


def table(found: pd.DataFrame) -> pd.DataFrame:
    """Mean absolute errors in percent by GPU and model, and medians with their sign."""
    out = []
    for (gpu, model), r in found.groupby(["gpu", "model"]):
        line: dict[str, object] = {"gpu": gpu, "model": model, "rows": len(r)}
        for name in ("power", "time", "energy"):
            line[name] = 100 * r[f"{name}_error"].abs().mean()
            line[f"{name}_bias"] = 100 * r[f"{name}_error"].median()
        out.append(line)
    return pd.DataFrame(out)


def write_docs(scores: pd.DataFrame) -> None:
    """Put the table between the marks in ``docs/model.md``."""
    lines = ["| GPU | model | rows | power | time | energy |", "|---|---|---|---|---|---|"]
    for r in scores.to_dict("records"):
        cells = [f"{r[n]:.0f} % ({r[n + '_bias']:+.0f})" for n in ("power", "time", "energy")]
        lines.append(f"| {r['gpu']} | {r['model']} | {r['rows']} | {' | '.join(cells)} |")
    before, _, rest = DOCS.read_text().partition(MARK)
    after = rest.partition(MARK)[2]
    DOCS.write_text(before + MARK + "\n" + "\n".join(lines) + "\n" + MARK + after)


if __name__ == "__main__":
    found = score()
    scores = table(found)
    print(scores.round(1).to_string(index=False))
    if "--rows" in sys.argv:
        print(found.to_string(float_format=lambda v: f"{v:.4g}"))
    if "--write" in sys.argv:
        found.round(5).to_csv(HERE / "scores_power.csv", index=False)
        write_docs(scores)
