"""Write compact copies of the source measurements to ``data/`` (run once, kept for the record).

    python benchmarks/model/collect.py SOURCE_FOLDER

SOURCE_FOLDER holds ``measured_fp32/`` (NeuSight operator latencies, MIT) and ``published/``
(DeepBench, Apache-2.0; superbenchmark logs, MIT; Zeus, Apache-2.0). Kernel names are left out:
never an input.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

DATA = Path(__file__).parent / "data"
MEASURED = {
    "gemm_batched": ["batch", "m", "n", "k"], "linear": ["m", "n", "k"],
    "elementwise": ["function", "inputs", "rows", "cols"], "softmax": ["rows", "cols"],
    "layernorm": ["rows", "cols"],
    "conv2d": ["batch", "c_in", "c_out", "kernel_size", "size", "stride", "padding"],
}  # fmt: skip
DIRECTIONS = {"fwd": "fprop", "bwd_data": "dgrad", "bwd_filter": "wgrad", "bwd_weights": "wgrad"}


def main(source: Path) -> None:
    for name, params in MEASURED.items():
        t = pd.read_csv(source / "measured_fp32" / f"{name}.csv.gz")
        t["time_s"] = [float(f"{v / 1e3:.6g}") for v in t.latency_ms]
        columns = ["gpu", "split", *params, "time_s"]
        if name == "conv2d":  # host time per call grew as that run went on: keep the order
            t["order"] = (
                t.groupby("gpu").cumcount() / t.groupby("gpu").gpu.transform("size")
            ).round(3)
            columns.append("order")
        save(name, t[columns].drop_duplicates())
    deepbench(pd.read_csv(source / "published" / "deepbench.csv.gz", low_memory=False))
    superbench(pd.read_csv(source / "published" / "superbench_logs.csv.gz"))
    zeus(pd.read_csv(source / "published" / "zeus_power.csv.gz"))
    (DATA / "end_to_end.csv").write_text((source / "measured_fp32" / "end_to_end.csv").read_text())


def deepbench(d: pd.DataFrame) -> None:
    d = d[d.metric == "time"].assign(split="train", gpu=lambda t: t.gpu_key)
    d["time_s"] = [float(f"{v / 1e3:.6g}") for v in d.value]
    g = d[d.workload == "gemm"].copy()
    # DeepBench is column-major: C^T (n x m) = B^T A^T in row-major terms.
    g["transpose"] = [
        ("t" if b == "T" else "n") + ("t" if a == "T" else "n")
        for a, b in zip(g.trans_a, g.trans_b, strict=True)
    ]
    g = g.rename(columns={"m": "n", "n": "m"})
    for precision, name in (("fp16_mixed", "gemm_tensor"), ("fp32", "gemm_deepbench")):
        rows = g[g.precision == precision]
        save(name, whole(rows[["gpu", "split", "m", "n", "k", "transpose", "time_s"]]))
    r = d[(d.workload == "rnn") & (d.direction == "fwd")].rename(
        columns={"rnn_cell": "cell", "timesteps": "seq_len"}
    )
    r["skip_input"] = "true"  # DeepBench measured cuDNN's mode without the input product
    for precision, name in (("fp16_mixed", "rnn_tensor"), ("fp32", "rnn")):
        rows = r[r.precision == precision]
        columns = ["gpu", "split", "cell", "batch", "seq_len", "hidden", "skip_input", "time_s"]
        save(name, whole(rows[columns]))
    c = d[
        (d.workload == "conv")
        & (d.filt_w == d.filt_h)
        & (d.in_w == d.in_h)
        & (d.stride_w == d.stride_h)
        & (d.pad_w == d.pad_h)
    ].copy()
    c["direction"] = c.direction.map(DIRECTIONS)
    c = c.rename(
        columns={
            "in_c": "c_in",
            "out_c": "c_out",
            "filt_w": "kernel_size",
            "in_w": "size",
            "stride_w": "stride",
            "pad_w": "padding",
        }
    )
    columns = ["gpu", "split", *MEASURED["conv2d"], "direction", "time_s"]
    for precision, name in (("fp16_mixed", "conv2d_tensor"), ("fp32", "conv2d_deepbench")):
        save(name, whole(c[c.precision == precision][columns].dropna()))


def superbench(s: pd.DataFrame) -> None:
    out = s[(s.variant == "out-of-place") & (s.metric == "time")]
    save(
        "collective",
        pd.DataFrame(
            {
                "gpu": out.gpu_key,
                "split": "train",
                "op": out.workload,
                "bytes": out.size_bytes,
                "world_size": out.n_gpus,
                "time_s": [float(f"{v / 1e6:.6g}") for v in out.value],
            }
        ),
    )
    m = s[s.workload.str.startswith("memcpy-") & (s.value > 0)]
    moved = m.size_bytes * (1 + (m.workload == "memcpy-d2d"))
    save(
        "memcpy",
        pd.DataFrame(
            {
                "gpu": m.gpu_key,
                "split": "train",
                "bytes": m.size_bytes,
                "direction": m.workload.str.removeprefix("memcpy-"),
                "time_s": [
                    float(f"{b / v / 1e9:.6g}") for b, v in zip(moved, m.value, strict=True)
                ],
            }
        ),
    )


def zeus(z: pd.DataFrame) -> None:
    """Average power and time of an epoch by power limit (Zeus, NSDI 2023 traces, Apache-2.0)."""
    z = z[z.dataset.isin(["imagenet", "squad"])]
    keys = ["gpu_key", "model", "batch", "power_limit_w"]
    t = z.pivot_table(index=keys, columns="metric", values="value", aggfunc="mean").reset_index()
    columns = [*keys, "time_per_epoch", "average_power"]
    t[columns].round(2).to_csv(DATA / "zeus_power.csv", index=False)


def whole(t: pd.DataFrame) -> pd.DataFrame:
    numbers = t.select_dtypes("number").columns.difference(["time_s"])
    return t.astype(dict.fromkeys(numbers, int))


def save(name: str, t: pd.DataFrame) -> None:
    t.to_csv(
        DATA / f"{name}.csv.gz",
        index=False,
        compression={"method": "gzip", "compresslevel": 9, "mtime": 0},
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
