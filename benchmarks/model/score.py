"""Leave-one-GPU-out scores, comparison with the roofline, bands and their coverage."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import fit
import measured
import numpy as np
import pandas as pd

from gpubench.catalogue import find
from gpubench.model.roofline import roofline_s

HERE = Path(__file__).parent
BANDS = Path(__file__).parents[2] / "gpubench" / "model" / "bands.json"


def left_out(classes: list[str]) -> pd.DataFrame:
    """Every row predicted by constants fitted without its GPU."""
    tables = {n: measured.load(n) for n in classes}
    used = {g for n in classes for groups, cs, _ in fit.STAGES if n in cs for g in groups}
    used |= {"elementwise", "gemm", "power"} if used & {"conv2d", "rnn", "gemm_tensor"} else set()
    if used & {"softmax", "layernorm"}:
        used |= {"elementwise"}
    parts = []
    for gpu in sorted({g for t in tables.values() for g in t.gpu.unique()}):
        values = fit.fit(gpu, lambda g: g in used)
        print("left out", gpu, flush=True, file=sys.stderr)
        for name, table in tables.items():
            rows = table[table.gpu == gpu]
            if len(rows):
                parts.append(predicted(name, rows, values))
    return pd.concat(parts, ignore_index=True)


def predicted(name: str, rows: pd.DataFrame, values: fit.Values) -> pd.DataFrame:
    prepared = fit.prepare(name, rows)
    t = prepared.terms(values)
    kind = measured.CLASSES[name]
    rest = rows[[p for p in kind.params if p not in ("function", "op")]]
    return rest.assign(
        name=name, gpu=rows.gpu.to_numpy(), split=rows.split.to_numpy(),
        time_s=rows.time_s.to_numpy(), predicted_s=t.time_s, compute_s=t.compute_s,
        memory_s=t.memory_s, launch_s=t.launch_s, clock_share=t.clock_share,
        roofline_s=roofline_s(kind.workload, kind.precision, find(rows.gpu.iloc[0]),
                              {p: rows[p].to_numpy() for p in kind.params}),
    )  # fmt: skip


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """class, gpu -> rows, error of model and roofline in percent, bias, band coverage."""
    scored = rows[rows.time_s >= rows.name.map(lambda n: measured.CLASSES[n].floor_s)]
    out = []
    for (name, gpu), r in scored.groupby(["name", "gpu"]):
        ratio = r.predicted_s / r.time_s
        out.append({
            "class": name, "gpu": gpu, "rows": len(r),
            "model": 100 * (ratio - 1).abs().mean(),
            "roofline": 100 * (r.roofline_s / r.time_s - 1).abs().mean(),
            "bias": 100 * float(np.expm1(np.median(np.log(ratio)))),
        })
    return pd.DataFrame(out)


if __name__ == "__main__":
    names = sys.argv[1:] or list(measured.CLASSES)
    rows = left_out(names)
    scores = table(rows)
    pd.set_option("display.width", 200)
    print(scores.round(1).to_string(index=False))
    print(scores.groupby("class")[["model", "roofline"]].mean().round(1).to_string())
