"""Leave-one-GPU-out scores of whole models against measured end-to-end latencies.

Each GPU's steps are predicted with constants fitted without any row of that GPU. The
end-to-end rows themselves are never fitted on.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import fit
import pandas as pd

from gpubench.catalogue import find
from gpubench.model.step import StepSpec, predict_step

HERE = Path(__file__).parent
GPT3 = {
    "gpt3_xl": {"model_type": "gpt2", "n_embd": 3072, "n_layer": 24, "n_head": 24,
                "n_positions": 2048},
    "gpt3_27": {"model_type": "gpt2", "n_embd": 2560, "n_layer": 32, "n_head": 32,
                "n_positions": 2048},
}  # fmt: skip
BUILT_IN = {"bert_large": "bert-large", "gpt2_large": "gpt2-large", "opt_13": "opt-1.3b"}
"""The source's names; its mixture-of-experts models are left out: no such layer is traced."""


def score(fitted_without: bool) -> pd.DataFrame:
    """Measured and predicted seconds of every row."""
    table = pd.read_csv(HERE / "data" / "end_to_end.csv")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        names = dict(BUILT_IN)
        for name, config in GPT3.items():
            path = Path(folder) / f"{name}.json"
            path.write_text(json.dumps(config))
            names[name] = str(path)
        for gpu, group in table[table.model.isin(names)].groupby("gpu"):
            c = fit.fit(gpu) if fitted_without else None
            print(gpu, file=sys.stderr, flush=True)
            for _, r in group.iterrows():
                training, bert = r["mode"] == "training", "bert" in r.model
                head = ("pretraining" if training else "sequence-classification") if bert else "causal-lm"  # fmt: skip  # noqa: E501
                spec = StepSpec(
                    names[r.model], r["mode"], int(r.batch), int(r.seq_len), "eager", head=head
                )
                got = predict_step(find(gpu), spec, c).prediction
                rows.append(
                    {"gpu": gpu, "model": r.model, "mode": r["mode"], "batch": r.batch,
                     "measured_s": r.latency_ms / 1e3, "predicted_s": got.predicted_s,
                     "error": got.predicted_s / (r.latency_ms / 1e3) - 1}
                )  # fmt: skip
    return pd.DataFrame(rows)


if __name__ == "__main__":
    found = score("--in-sample" not in sys.argv)
    print(found.to_string(float_format=lambda v: f"{v:.4g}"))
    means = found.assign(error=found.error.abs() * 100).groupby(["mode", "gpu"]).error
    print(means.agg(["mean", "count"]).round(1).to_string())
    if "--save" in sys.argv:
        found.round(6).to_csv(HERE / "scores_steps.csv", index=False)
