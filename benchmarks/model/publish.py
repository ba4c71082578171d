"""Write the reference measurements that ship with the package (run once, kept for the record).

    python benchmarks/model/publish.py SOURCE_FOLDER

Every row names its source: repository, commit, file and row or line. What is not one GPU's
time of one operation, or a single-GPU throughput of a model, is left out.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import sys
from pathlib import Path
from typing import Any

import pandas as pd

OUT = Path(__file__).parents[2] / "gpubench" / "catalogue" / "data"
COLUMNS = ["gpu", "workload", "precision", "params", "metric", "value", "unit", "tensor_cores",
           "source", "where", "note"]  # fmt: skip
DIRECTIONS = {"fwd": "fprop", "bwd_data": "dgrad", "bwd_filter": "wgrad", "bwd_weights": "wgrad"}
PER_CLASS_AND_GPU = 150
NEUSIGHT = "NeuSight (MIT), measured with torch 2.1, CUDA 12.1, TF32 off"


def main(source: Path) -> None:
    rows = [
        *deepbench(pd.read_csv(source / "published" / "deepbench.csv.gz", low_memory=False)),
        *superbench(pd.read_csv(source / "published" / "superbench_logs.csv.gz")),
        *models(pd.read_csv(source / "published" / "deeplearningexamples.csv.gz",
                            low_memory=False)),
        *operators(source / "measured_fp32"),
    ]  # fmt: skip
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with gzip.GzipFile(OUT / "published.csv.gz", "wb", compresslevel=9, mtime=0) as stream:
        stream.write(text.getvalue().encode())
    print(len(rows), "rows,", (OUT / "published.csv.gz").stat().st_size, "bytes")


def row(gpu: str, workload: str, precision: str, params: dict[str, Any], value: float, unit: str,
        tensor: bool, source: str, where: str, note: str = "") -> dict[str, Any]:  # fmt: skip
    clean = {k: int(v) if isinstance(v, float) and v == int(v) else v for k, v in params.items()
             if not (isinstance(v, float) and math.isnan(v))}  # fmt: skip
    return {
        "gpu": gpu, "workload": workload, "precision": precision,
        "params": json.dumps(clean, separators=(",", ":")),
        "metric": "time" if unit == "s" else "throughput", "value": f"{value:.6g}", "unit": unit,
        "tensor_cores": "yes" if tensor else "no", "source": source, "where": where, "note": note,
    }  # fmt: skip


def deepbench(d: pd.DataFrame) -> list[dict[str, Any]]:
    out = []
    d = d[(d.metric == "time") & (d.n_gpus == 1) & d.precision.isin(["fp32", "fp16_mixed"])]
    for r in d.itertuples():
        params = deepbench_params(r)
        if params is None:
            continue
        precision = {"fp32": "fp32", "fp16_mixed": "fp16"}[r.precision]
        notes = [f"CUDA {r.cuda}, cuDNN {r.cudnn}"]
        if isinstance(r.padded, str) and r.padded.startswith("yes"):
            notes.append("dimensions padded to multiples of 8")
        if isinstance(r.algorithm, str):
            notes.append(f"algorithm {r.algorithm}")
        workload = {"gemm": "gemm", "conv": "conv2d", "rnn": "rnn"}[r.workload]
        out.append(row(r.gpu_key, workload, precision, params, r.value / 1e3, "s",
                       r.uses_tensor_cores == "yes", "DeepBench (Apache-2.0)",
                       f"{r.source_path}@{r.source_commit[:12]} {r.sheet} row {r.src_row}",
                       "; ".join(notes)))  # fmt: skip
    return out


def deepbench_params(r: Any) -> dict[str, Any] | None:
    if r.workload == "gemm":
        # Column-major C is row-major C^T = B^T A^T.
        transpose = ("t" if r.trans_b == "T" else "n") + ("t" if r.trans_a == "T" else "n")
        return {"m": r.n, "n": r.m, "k": r.k, "transpose": transpose}
    if r.workload == "rnn" and r.direction == "fwd":
        return {"cell": r.rnn_cell, "batch": r.batch, "seq_len": r.timesteps, "hidden": r.hidden,
                "skip_input": True}  # fmt: skip
    square = (r.filt_w == r.filt_h and r.in_w == r.in_h and r.stride_w == r.stride_h
              and r.pad_w == r.pad_h)  # fmt: skip
    if r.workload == "conv" and square and r.direction in DIRECTIONS:
        return {"batch": r.batch, "c_in": r.in_c, "c_out": r.out_c, "size": r.in_w,
                "kernel_size": r.filt_w, "stride": r.stride_w, "padding": r.pad_w,
                "direction": DIRECTIONS[r.direction]}  # fmt: skip
    return None


def superbench(s: pd.DataFrame) -> list[dict[str, Any]]:
    out = []
    for r in s.itertuples():
        where = f"{r.source_path}@{r.source_commit[:12]} line {r.src_row}"
        source = "superbenchmark test logs (MIT)"
        if r.workload.startswith("memcpy-") and r.value > 0:
            way = r.workload.removeprefix("memcpy-")
            moved = r.size_bytes * (2 if way == "d2d" else 1)
            out.append(row(r.gpu_key, "memcpy", "", {"bytes": r.size_bytes, "direction": way},
                           moved / r.value / 1e9, "s", False, source, where,
                           "pinned memory; from the bandwidth given"))  # fmt: skip
        elif r.metric == "time" and r.variant == "out-of-place":
            out.append(row(r.gpu_key, "collective", "fp32",
                           {"op": r.workload, "bytes": r.size_bytes, "world_size": r.n_gpus},
                           r.value / 1e6, "s", False, source, where, r.framework))  # fmt: skip
    return out


def models(d: pd.DataFrame) -> list[dict[str, Any]]:
    keep = d[(d.metric == "throughput") & (d.n_gpus == 1)
             & d.precision.isin(["fp32", "tf32", "fp16_mixed"])]  # fmt: skip
    out = []
    for r in keep.itertuples():
        params = {"model": r.model_variant if isinstance(r.model_variant, str) else r.workload,
                  "mode": r.phase, "batch": r.batch_per_gpu, "seq_len": r.seq_len,
                  "task": r.task, "grad_accum": r.grad_accum}  # fmt: skip
        notes = [f"{r.framework}, {r.container}"]
        notes += [x for x in (r.gpu_key_note, r.flags) if isinstance(x, str)]
        out.append(row(r.gpu_key, "model", r.precision.replace("fp16_mixed", "fp16"), params,
                       r.value, r.unit, r.uses_tensor_cores == "yes",
                       "NVIDIA/DeepLearningExamples (licence per folder)",
                       f"{r.source_path}@{r.source_commit[:12]} line {r.src_line}",
                       "; ".join(notes)))  # fmt: skip
    return out


def operators(folder: Path) -> list[dict[str, Any]]:
    names = {"gemm_batched": ("gemm", ["batch", "m", "n", "k"]), "linear": ("linear", list("mnk")),
             "elementwise": ("elementwise", ["function", "inputs", "rows", "cols"]),
             "softmax": ("softmax", ["rows", "cols"]),
             "layernorm": ("layernorm", ["rows", "cols"]),
             "conv2d": ("conv2d", ["batch", "c_in", "c_out", "size", "kernel_size", "stride",
                                   "padding"])}  # fmt: skip
    out = []
    for name, (workload, params) in names.items():
        t = pd.read_csv(folder / f"{name}.csv.gz")
        t["line"] = t.groupby("gpu").cumcount()
        for gpu, rows in t.groupby("gpu"):
            some = rows.sample(min(PER_CLASS_AND_GPU, len(rows)), random_state=0).sort_index()
            out += [
                row(str(gpu), workload, "fp32", {p: getattr(r, p) for p in params},
                    r.latency_ms / 1e3, "s", False, NEUSIGHT, f"{name}, {gpu}, row {r.line}",
                    "mean of the best 5 of 25 calls, host time included")
                for r in some.itertuples()
            ]  # fmt: skip
    return out


if __name__ == "__main__":
    main(Path(sys.argv[1]))
