"""Plots of the leave-one-GPU-out predictions, as small SVG files for the documentation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

IMG = Path(__file__).parents[2] / "docs" / "img"
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#666666"]
CLASSES = ["gemm_batched", "linear", "elementwise", "softmax", "layernorm", "conv2d",
           "gemm_tensor", "rnn"]  # fmt: skip
SIDE, GAP, POINTS = 210, 56, 120


def draw(rows: pd.DataFrame) -> None:
    """Write ``model-parity.svg`` and ``model-residuals.svg``."""
    IMG.mkdir(parents=True, exist_ok=True)
    (IMG / "model-parity.svg").write_text(parity(rows))
    (IMG / "model-residuals.svg").write_text(residuals(rows))


def parity(rows: pd.DataFrame) -> str:
    """Predicted against measured, one panel a class, one colour a GPU."""
    body = []
    for i, name in enumerate(CLASSES):
        x0, y0 = 50 + (i % 4) * (SIDE + GAP), 40 + (i // 4) * (SIDE + 96)
        body.append(parity_panel(rows[rows.name == name], name, x0, y0))
    return page(50 + 4 * (SIDE + GAP), 40 + 2 * (SIDE + 96), body,
                "Predicted against measured time, one GPU left out at a time")  # fmt: skip


def parity_panel(r: pd.DataFrame, name: str, x0: int, y0: int) -> str:
    logs = np.log10(np.concatenate([r.time_s, r.predicted_s]))
    low, high = np.floor(logs.min() * 2) / 2, np.ceil(logs.max() * 2) / 2

    def at(v: float) -> float:
        return SIDE * (v - low) / (high - low)

    out = [f'<rect x="{x0}" y="{y0}" width="{SIDE}" height="{SIDE}" class="frame"/>',
           f'<line x1="{x0}" y1="{y0 + SIDE}" x2="{x0 + SIDE}" y2="{y0}" class="equal"/>',
           f'<text x="{x0}" y="{y0 - 8}" class="title">{name}</text>']  # fmt: skip
    for tick in range(int(np.ceil(low)), int(np.floor(high)) + 1):
        label = {-5: "10 µs", -4: "0.1 ms", -3: "1 ms", -2: "10 ms", -1: "0.1 s", 0: "1 s",
                 1: "10 s"}.get(tick, f"1e{tick}")  # fmt: skip
        out.append(f'<text x="{x0 + at(tick):.0f}" y="{y0 + SIDE + 15}" class="tick mid">'
                   f"{label}</text>")  # fmt: skip
        out.append(f'<text x="{x0 - 4}" y="{y0 + SIDE - at(tick) + 4:.0f}" class="tick end">'
                   f"{label}</text>")  # fmt: skip
    for j, (gpu, g) in enumerate(r.groupby("gpu")):
        some = g.sample(min(POINTS, len(g)), random_state=0)
        colour = COLOURS[j % len(COLOURS)]
        places = [
            (x0 + at(np.log10(m)), y0 + SIDE - at(np.log10(p)))
            for m, p in zip(some.time_s, some.predicted_s, strict=True)
        ]
        dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="1.6"/>' for x, y in places)
        out.append(f'<g fill="{colour}" fill-opacity="0.55">{dots}</g>')
        out.append(f'<text x="{x0 + 2 + (j % 2) * 105}" y="{y0 + SIDE + 30 + 12 * (j // 2)}" '
                   f'class="key" fill="{colour}">{gpu}</text>')  # fmt: skip
    return "\n".join(out)


def residuals(rows: pd.DataFrame) -> str:
    """Median and 10 to 90 % range of predicted / measured by class and GPU."""
    rows = rows[rows.name.isin(CLASSES)]
    body, y, width = [], 40, 520
    for mark in (-50, -25, 0, 25, 50):
        x = 260 + width * (mark + 60) / 120
        body.append(f'<line x1="{x}" y1="30" x2="{x}" y2="HEIGHT" class="grid"/>')
        body.append(f'<text x="{x}" y="24" class="tick mid">{mark:+d} %</text>')
    for name in CLASSES:
        r = rows[rows.name == name]
        body.append(f'<text x="10" y="{y + 12}" class="title">{name}</text>')
        for gpu, g in r.groupby("gpu"):
            y += 15
            quantiles = np.quantile(100 * (g.predicted_s / g.time_s - 1), [0.1, 0.5, 0.9])
            a, m, b = (260 + width * (np.clip(q, -60, 60) + 60) / 120 for q in quantiles)
            body.append(f'<text x="250" y="{y + 12}" class="tick end">{gpu}</text>')
            body.append(f'<line x1="{a:.0f}" y1="{y + 8}" x2="{b:.0f}" y2="{y + 8}" class="bar"/>')
            body.append(f'<circle cx="{m:.0f}" cy="{y + 8}" r="3.5" fill="{COLOURS[0]}"/>')
        y += 26
    return page(800, y + 10, body, "Predicted / measured - 1: median and 10 to 90 %").replace(
        "HEIGHT", str(y)
    )


def page(width: int, height: int, body: list[str], title: str) -> str:
    style = ("text{font-family:sans-serif}.title{font-size:13px;font-weight:bold}"
             ".tick,.key{font-size:10px}.mid{text-anchor:middle}.end{text-anchor:end}"
             ".frame{fill:none;stroke:#888}.equal{stroke:#444;stroke-dasharray:4 3}"
             ".grid{stroke:#ddd}"
             ".bar{stroke:#0072b2;stroke-width:3;stroke-opacity:.45}")  # fmt: skip
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'role="img"><title>{title}</title><style>{style}</style>'
            f'<rect width="{width}" height="{height}" fill="#fff"/>' + "\n".join(body)
            + "</svg>\n")  # fmt: skip


__all__ = ["draw"]
