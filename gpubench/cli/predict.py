"""``gpubench predict``: the cost model alone, no hardware needed."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpubench.errors import InputError, PartialFailure

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpubench.catalogue import GpuSpec
    from gpubench.model.bulk import Cases
    from gpubench.model.cost import Prices
    from gpubench.model.prediction import Predicted
    from gpubench.spec import Case


class ManyGpus(click.Command):
    """Lets ``--gpu`` take several names: ``--gpu a100 v100``, or ``--gpu a100 --gpu v100``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Repeat ``--gpu`` before every word that follows it up to the next option."""
        out: list[str] = []
        taking = False
        for word in args:
            if word == "--gpu":
                taking = True
                continue
            if word.startswith("-"):
                taking = False
            out += ["--gpu", word] if taking else [word]
        if taking and args and args[-1] == "--gpu":
            out.append("--gpu")
        return super().parse_args(ctx, out)


@click.command(cls=ManyGpus)
@click.argument("suite", required=False)
@click.option(
    "--gpu",
    "gpu_names",
    multiple=True,
    metavar="NAME...",
    help="GPUs of the catalogue; several names may follow.",
)
@click.option(
    "--cases",
    type=click.Path(path_type=Path),
    metavar="FILE.csv",
    help="Predict the cases of a file: case_id, gpu, workload, precision, parameters.",
)
@click.option(
    "--explain", "explained", is_flag=True, help="Print each term of the predictions with its unit."
)
@click.option(
    "--what-if",
    "what_if",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a GPU, e.g. memory_bw=2039e9 or sm=132; SI units; repeatable.",
)
@click.option(
    "--prices",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="CSV or YAML of currency per GPU hour: adds the cost of 1,000 calls.",
)
@click.option("--filter", "filter_text", metavar="EXPR", help="As for `run`.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="As for `run`.")
@click.option("--format", "fmt", type=click.Choice(["table", "csv", "json"]), default=None,
              help="Default: a table for a suite, CSV for --cases.")  # fmt: skip
@click.option(
    "-o",
    "output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write there instead of to stdout.",
)
def predict(
    suite: str | None, gpu_names: tuple[str, ...], cases: Path | None, explained: bool,
    what_if: tuple[str, ...], prices: Path | None, filter_text: str | None,
    settings: tuple[str, ...], fmt: str | None, output: Path | None,
) -> None:  # fmt: skip
    """Predict times of a SUITE on GPUs you need not have, or of a file of cases.

    \b
    gpubench predict tensorcore --gpu a100 v100
    gpubench predict --cases cases.csv > predicted.csv
    gpubench predict tensorcore --gpu a100 --what-if memory_bw=2039e9 --explain
    """  # noqa: D301 (click reads the backspace)
    changes = parse_changes(what_if)
    from gpubench.model.cost import read_prices

    price_list = read_prices(prices) if prices else None
    change = changer(changes)
    if cases is not None:
        if suite or gpu_names:
            raise InputError("--cases names its own GPUs and cases; leave out SUITE and --gpu")
        table, got = predicted_file(cases, change)
    elif suite:
        if not gpu_names:
            raise InputError("predict needs a GPU", expected="--gpu NAME..., e.g. --gpu a100 v100")
        table, got = predicted_suite(suite, gpu_names, filter_text, settings, change)
    else:
        raise InputError("predict needs something to predict",
                         expected="SUITE --gpu NAME..., or --cases FILE.csv")  # fmt: skip
    chosen = fmt or ("csv" if cases is not None else "table")
    text = rendered(table, got, price_list, change, chosen, explained)
    if output is not None:
        output.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
        sys.stdout.flush()
    if got.errors:
        first = min(got.errors)
        raise PartialFailure(
            f"{len(got.errors)} of {table.count} cases could not be predicted;"
            f" the first is case {table.columns['case_id'][first]!r}: {got.errors[first]}"
        )


def parse_changes(what_if: tuple[str, ...]) -> dict[str, float]:
    """``key=value`` pairs; the keys are checked where the GPU is known."""
    changes: dict[str, float] = {}
    for text in what_if:
        key, sign, value = text.partition("=")
        try:
            number = float(value)
        except ValueError:
            number = float("nan")
        if not sign or number != number:
            raise InputError(f"--what-if {text!r} is not possible",
                             expected="key=value with a number, e.g. memory_bw=2039e9")  # fmt: skip
        changes[key.strip()] = number
    return changes


def changer(changes: dict[str, float]) -> Callable[[GpuSpec], GpuSpec]:
    """A function that applies the what-if to a GPU."""
    from gpubench.catalogue import find, with_changes

    if changes:
        with_changes(find("a100"), changes)  # a wrong key is wrong for every GPU: say so once
    return lambda g: with_changes(g, changes) if changes else g


def predicted_file(path: Path, change: Callable[[GpuSpec], GpuSpec]) -> tuple[Cases, Predicted]:
    """The cases of a file, and their predictions."""
    from gpubench.model.bulk import predict_cases, read

    table = read(path)
    return table, predict_cases(table, change)


def predicted_suite(
    suite: str, gpu_names: tuple[str, ...], filter_text: str | None, settings: tuple[str, ...],
    change: Callable[[GpuSpec], GpuSpec],
) -> tuple[Cases, Predicted]:  # fmt: skip
    """The cases of a suite on each GPU, and their predictions."""
    from gpubench.api import load_suites
    from gpubench.catalogue import find
    from gpubench.cli.suite import described
    from gpubench.model.bulk import Cases, predict_cases
    from gpubench.plan import make_plan

    (loaded,) = load_suites([suite], settings)
    ids: list[str] = []
    gpus: list[str] = []
    found: list[Case] = []
    errors: dict[int, str] = {}
    for name in gpu_names:
        key = find(name).key
        plan = make_plan(loaded, described(key), filter_text=filter_text)
        for planned in plan.cases:
            ids.append(f"{planned.benchmark}:{planned.label or planned.key}")
            gpus.append(key)
            found.append(planned)
        reasons = Counter(skip.reason for skip in plan.skips)
        for reason, count in reasons.items():
            click.echo(f"skipped {count} on {key}: {reason}", err=True)
    names = sorted({p for case in found for p in case.params})
    columns: dict[str, list[Any]] = {
        "case_id": ids, "gpu": gpus, "workload": [c.workload for c in found],
        "precision": [c.precision for c in found],
    }  # fmt: skip
    for name in names:
        columns[name] = [text(case.params.get(name, "")) for case in found]
    table = Cases(columns, len(found), errors)
    return table, predict_cases(table, change)


def text(value: object) -> object:
    """A parameter as a file of cases would hold it."""
    return str(value).lower() if isinstance(value, bool) else value


def costs(
    table: Cases, got: Predicted, prices: Prices | None, change: Callable[[GpuSpec], GpuSpec]
) -> list[float | None] | None:
    """Cost of 1,000 calls a row; None without a price list."""
    del change  # a what-if changes the hardware, not what an hour of it costs
    if prices is None:
        return None
    from gpubench.catalogue import find

    out: list[float | None] = []
    for i, name in enumerate(table.columns["gpu"]):
        bad = i in got.errors
        out.append(None if bad else prices.per_1000(find(name), float(got.predicted_s[i])))
    return out


def rendered(
    table: Cases, got: Predicted, prices: Prices | None, change: Callable[[GpuSpec], GpuSpec],
    fmt: str, explained: bool,
) -> str:  # fmt: skip
    """The output in the chosen format."""
    from gpubench.model.bulk import lines

    cost = costs(table, got, prices, change)
    if explained and fmt != "json":
        return "\n".join(explanations(table, got, change))
    if fmt == "csv":
        return "".join(lines(table, got, cost))
    if fmt == "json":
        return as_json(table, got, cost, change, explained)
    return as_table(table, got, cost, prices.currency if prices else "")


def explanations(table: Cases, got: Predicted, change: Callable[[GpuSpec], GpuSpec]) -> list[str]:
    """Text lines of the derivation of each case."""
    out: list[str] = []
    for i in range(table.count):
        out.append(f"# case {table.columns['case_id'][i]}")
        if i in got.errors:
            out += [f"error: {got.errors[i]}", ""]
            continue
        out += [line.text() for line in derivation(table, i, change)] + [""]
    return out


def derivation(table: Cases, i: int, change: Callable[[GpuSpec], GpuSpec]) -> list[Any]:
    """The lines of one case."""
    from gpubench.catalogue import find
    from gpubench.model import predict as predict_one
    from gpubench.model.bulk import REQUIRED
    from gpubench.model.explain import explain
    from gpubench.model.operators import PARAMETERS
    from gpubench.model.prediction import STEPS

    row = {name: values[i] for name, values in table.columns.items()}
    gpu, workload = change(find(row["gpu"])), row["workload"].strip()
    if workload in STEPS:
        return model_derivation(gpu, workload, row)
    params = {k: v for k, v in row.items() if k not in REQUIRED and k in PARAMETERS[workload]}
    precision = row["precision"].strip().lower()
    p = predict_one(gpu, workload, precision, params)
    return explain(gpu, workload, precision, params, p)


def model_derivation(gpu: GpuSpec, workload: str, row: dict[str, Any]) -> list[Any]:
    """A whole model as the sum of its operators, the longest first."""
    from gpubench.model.explain import Line
    from gpubench.model.operators import PARAMETERS
    from gpubench.model.prediction import modelled
    from gpubench.model.step import StepSpec, predict_step
    from gpubench.units import percent

    own: dict[str, Any] = {n: row[n] for n in PARAMETERS[workload] if n in row}
    step = predict_step(
        gpu, StepSpec.from_params(modelled(own, workload), row["precision"].strip().lower())
    )
    lines = [Line("gpu", gpu.key, "", gpu.source)]
    total_s = step.prediction.predicted_s
    lines += [
        Line(f"class: {name}", time_s, "s", f"{percent(time_s / total_s)} of the step")
        for name, time_s in step.prediction.classes.items()
    ]
    lines += [Line(f"{s.phase} {s.name}", s.time_s, "s", f"{s.count:g} calls") for s in step.shares]
    return [*lines, Line("predicted", step.prediction.predicted_s, "s", "the sum")]


def as_json(
    table: Cases, got: Predicted, cost: list[float | None] | None,
    change: Callable[[GpuSpec], GpuSpec], explained: bool,
) -> str:  # fmt: skip
    """A list of records; absent numbers are null."""
    from gpubench.codec import dumps

    rows: list[dict[str, Any]] = []
    for i in range(table.count):
        row: dict[str, Any] = {n: table.columns[n][i] for n in ("case_id", "gpu", "workload",
                                                                "precision")}  # fmt: skip
        failed = i in got.errors
        for name in ("predicted_s", "low_s", "high_s", "compute_s", "memory_s", "launch_s",
                     "energy_j"):  # fmt: skip
            value = float(getattr(got, name)[i])
            row[name] = None if value != value else value
        row["bound"] = got.bound[i] or None
        if cost is not None:
            row["cost_per_1000"] = cost[i]
        row["error"] = got.errors.get(i)
        if explained and not failed:
            row["terms"] = [
                {"name": t.name, "value": t.value, "unit": t.unit, "formula": t.formula}
                for t in derivation(table, i, change)
            ]
        rows.append(row)
    return str(dumps(rows, indent=1)) + "\n"


def as_table(table: Cases, got: Predicted, cost: list[float | None] | None, currency: str) -> str:
    """One line a case for people."""
    import io

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from gpubench.units import scaled, significant

    shown = Table(box=None, pad_edge=False)
    for head in ("case", "gpu", "precision"):
        shown.add_column(head, no_wrap=head != "case")
    for head in ("predicted", "80 % band", "bound", "compute", "memory", "launch", "energy"):
        shown.add_column(head, justify="left" if head == "bound" else "right", no_wrap=True)
    if cost is not None:
        shown.add_column(f"{currency or 'cost'} / 1000", justify="right")
    for i in range(table.count):
        start = [Text(str(table.columns[n][i])) for n in ("case_id", "gpu", "precision")]
        if i in got.errors:
            shown.add_row(*start, Text(f"error: {got.errors[i]}"))
            continue
        energy = float(got.energy_j[i])
        cells = [
            scaled(float(got.predicted_s[i]), "s"),
            f"{scaled(float(got.low_s[i]), 's')} – {scaled(float(got.high_s[i]), 's')}",
            str(got.bound[i]),
            *(scaled(float(getattr(got, n)[i]), "s") if getattr(got, n)[i] > 0 else "–"
              for n in ("compute_s", "memory_s", "launch_s")),
            "–" if energy != energy else scaled(energy, "J"),
        ]  # fmt: skip
        if cost is not None:
            value = cost[i]
            cells.append("–" if value is None else significant(value, 4))
        shown.add_row(*start, *cells)
    stream = io.StringIO()
    width = None if sys.stdout.isatty() else 200
    Console(file=stream, width=width, highlight=False, no_color=True).print(shown)
    return stream.getvalue()
