"""The engine atlas as shown: a figure of engines by layer, and a table of winner and regret."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import plotly.graph_objects as go

from gpubench.analysis.engines import Choice, Engine, LayerAtlas, atlas
from gpubench.analysis.results import Result
from gpubench.report.traces import Ids, empty_figure, plain
from gpubench.report.view import AtlasView, FigureView, Link, PlainTable, TableCell
from gpubench.units import bytes_iec, percent, scaled, show

LIMITS: Final = (None, 64 * 2**20, 0)
"""Workspaces that plans may take: any, 64 MiB (an old default of frameworks), none."""
_NO_TINT_BEYOND: Final = 4.0
MAX_LAYERS: Final = 60


def atlas_view(results: Sequence[Result], ids: Ids) -> AtlasView | None:
    """The atlas of a run; None where no engine of cuDNN was measured."""
    layers = atlas(results)
    if not layers:
        return None
    return AtlasView(_sentence(layers), _figure(layers, ids), _table(layers, ids))


def _sentence(layers: Sequence[LayerAtlas]) -> str:
    choices = [c for layer in layers if (c := layer.choice())]
    regrets = sorted(c.regret for c in choices if c.regret is not None)
    if not regrets:
        return "The heuristic named none of the plans that were measured."
    wins = sum(r == 0 for r in regrets)
    middle = regrets[len(regrets) // 2]
    return (
        f"The heuristic's first plan was the fastest on {wins} of {len(regrets)} layers; its"
        f" median regret is {percent(middle)}, its largest {percent(regrets[-1])}."
        " Wrong results win nothing."
    )


def _figure(layers: Sequence[LayerAtlas], ids: Ids) -> FigureView:
    shown = layers[:MAX_LAYERS]
    numbers = sorted({e.number for layer in shown for e in layer.engines})
    rows = {n: i for i, n in enumerate(numbers)}
    points = [point for x, layer in enumerate(shown) for point in _column(x, layer, rows)]
    figure = empty_figure()
    fastest = [p for p in points if p[2] is p[4].engines[0]]
    picks = [p for p in points if _is_pick(p[2], p[4])]
    line = {"width": 2, "color": "var(--ink)"}
    figure.add_trace(_trace("engine", points, ids, _tinted([p[3] for p in points])))
    figure.add_trace(
        _trace("fastest", fastest, ids, {"symbol": "star", "size": 8, "color": "var(--bg)",
                                         "line": {"width": 0.5, "color": "var(--ink)"}})
    )  # fmt: skip
    figure.add_trace(
        _trace("heuristic's pick", picks, ids,
               {"symbol": "circle-open", "size": 19, "color": "var(--ink)", "line": line})
    )  # fmt: skip
    figure.update_xaxes(
        tickvals=list(range(len(shown))), tickangle=-40, range=[-0.6, len(shown) - 0.4],
        ticktext=[html.escape(f"{layer.name} {layer.precision}") for layer in shown],
        showgrid=False, automargin=True,
    )  # fmt: skip
    figure.update_yaxes(
        tickvals=list(range(len(numbers))), ticktext=[f"engine {n}" for n in numbers],
        range=[-0.6, len(numbers) - 0.4],
    )  # fmt: skip
    left = len(layers) - len(shown)
    note = f"{left} more layers are in the table only." if left > 0 else ""
    sentence = (
        "Every engine that ran, by layer; of an engine's plans the fastest. Lighter squares are"
        " closer to the fastest (star); the ring is what the heuristic prefers."
    )
    height = min(900, 260 + 22 * len(numbers))
    spec, figure_id = plain(figure), f"{ids.prefix}atlas"
    return FigureView(figure_id, "Engines by layer", sentence, spec, height, note, wide=True)


_Point = tuple[float, int, Engine, float, LayerAtlas]
"""Column, row, engine, its time over the fastest one's, layer."""


def _column(x: int, layer: LayerAtlas, rows: Mapping[int, int]) -> list[_Point]:
    """The engines of a layer; a pick beside a faster plan of its engine stands to its right."""
    best: set[int] = set()
    points: list[_Point] = []
    for e in _fastest_of_each(layer):
        shift = 0.25 if e.number in best else 0.0
        points.append((x + shift, rows[e.number], e, e.time_s / layer.engines[0].time_s, layer))
        best.add(e.number)
    return points


def _trace(name: str, points: Sequence[_Point], ids: Ids, marker: dict[str, Any]) -> Any:
    return go.Scatter(
        x=[p[0] for p in points],
        y=[p[1] for p in points],
        mode="markers",
        name=html.escape(name),
        marker=marker,
        customdata=[ids.case(p[2].result) for p in points],
        text=[_hover(p[2], p[3], p[4]) for p in points],
        hovertemplate="%{text}<extra></extra>",
    )


def _tinted(ratios: Sequence[float]) -> dict[str, Any]:
    """Squares coloured by ratio; the scale reads without colour vision too."""
    bar = {"title": {"text": "time / fastest"}, "thickness": 12, "tickvals": [1, 2, 3, 4],
           "ticktext": ["1x", "2x", "3x", "4x and more"]}  # fmt: skip
    return {"symbol": "square", "size": 13, "color": [min(r, _NO_TINT_BEYOND) for r in ratios],
            "cmin": 1.0, "cmax": _NO_TINT_BEYOND, "colorscale": "Cividis", "reversescale": True,
            "showscale": True, "colorbar": bar}  # fmt: skip


def _fastest_of_each(layer: LayerAtlas) -> list[Engine]:
    """The fastest plan of each engine, and the pick whichever it is."""
    best: dict[int, Engine] = {}
    for e in layer.engines:
        best.setdefault(e.number, e)
    choice = layer.choice()
    pick = choice.pick if choice else None
    others = [pick] if pick and pick is not best[pick.number] else []
    return [*best.values(), *others]


def _is_pick(engine: Engine, layer: LayerAtlas) -> bool:
    choice = layer.choice()
    return choice is not None and choice.pick is not None and engine.result is choice.pick.result


def _hover(e: Engine, ratio: float, layer: LayerAtlas) -> str:
    rank = "beyond the heuristic" if e.rank is None else f"heuristic's choice {e.rank + 1}"
    lines = [
        f"<b>{html.escape(layer.name)}</b> {html.escape(layer.precision)}",
        html.escape(str(e.result.record.case.params.get("algorithm"))),
        f"{scaled(e.time_s, 's')}, {ratio:.2f}x the fastest; {rank}",
        f"workspace {bytes_iec(e.workspace_bytes)}",
        html.escape(", ".join(e.notes) or "no numerical notes"),
    ]
    return "<br>".join(lines)


def _table(layers: Sequence[LayerAtlas], ids: Ids) -> PlainTable:
    heads = ["Layer", "Precision", "Fastest plan", "Time", "Heuristic's pick"]
    heads += [f"Regret, {_limit(limit)}" for limit in LIMITS]
    heads += ["Notes and workspace", "torch: auto, benchmark", "Ran", "Could not run"]
    return PlainTable(tuple(heads), tuple(_row(layer, ids) for layer in layers))


def _limit(limit: int | None) -> str:
    if limit is None:
        return "any workspace"
    return f"up to {bytes_iec(limit)}" if limit else "no workspace"


def _row(layer: LayerAtlas, ids: Ids) -> tuple[TableCell, ...]:
    best = layer.engines[0]
    choice = layer.choice()
    pick = choice.pick if choice else None
    regrets = [TableCell(_regret(layer.choice(limit)), numeric=True) for limit in LIMITS]
    own = ", ".join(
        f"{name} {scaled(r.summary.median_s, 's')}"
        for name in ("auto", "benchmark")
        if (r := layer.torch.get(name)) and r.summary
    )
    return (
        TableCell(layer.name),
        TableCell(layer.precision),
        TableCell("", link=_link(best, ids)),
        TableCell(show("time_s", best.time_s), numeric=True),
        TableCell("–" if pick is None else "", link=_link(pick, ids) if pick else None),
        *regrets,
        TableCell(f"{', '.join(best.notes) or 'none'}; {bytes_iec(best.workspace_bytes)}"),
        TableCell(own or "–"),
        TableCell(str(len(layer.engines)), numeric=True),
        TableCell(str(sum(layer.refused.values())), numeric=True),
    )


def _link(engine: Engine, ids: Ids) -> Link:
    return Link(ids.case(engine.result), str(engine.result.record.case.params.get("algorithm")))


def _regret(choice: Choice | None) -> str:
    if choice is None:
        return "no plan"
    if choice.regret is None:
        return "no pick"
    return "0 %" if math.isclose(choice.regret, 0, abs_tol=5e-4) else percent(choice.regret)
