"""``gpubench calibrate``: a few anchors, kept beside the datasheet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from gpubench.cli.options import console, store_option

if TYPE_CHECKING:
    from gpubench.model.calibration import Calibration, ModelErrors


@click.command()
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--quick", is_flag=True, help="Less careful.")
@click.option("--format", "fmt", type=click.Choice(["table", "json"]), default="table")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@store_option
def calibrate(fmt: str, quiet: bool, **options: Any) -> None:
    """Measure what this device really does, for predictions in later runs.

    Anchors: a large product in every precision, a large copy, the smallest product. They are
    stored beside the datasheet facts, never in place of them, and the errors of both models
    are stated on cases that were no anchors.
    """
    from dataclasses import asdict

    from gpubench import api
    from gpubench.cli.run import execute_listening
    from gpubench.codec import dumps

    request = api.RunRequest(
        suites=("calibrate",), device=options["device"], store=options["store"],
        quick=options["quick"], label="calibrate",
    )  # fmt: skip
    made, errors, _ = execute_listening(lambda listener: api.calibrate(request, listener), quiet)
    if fmt == "json":
        click.echo(dumps({**asdict(made), "errors": asdict(errors)}, indent=1))
    else:
        show(made, errors)


def show(made: Calibration, errors: ModelErrors) -> None:
    """Print a calibration and how well it predicts what was not used for it."""
    from rich.table import Table
    from rich.text import Text

    from gpubench.catalogue import find
    from gpubench.units import percent, scaled

    spec = find(made.gpu_key) if made.gpu_key else None
    table = Table(box=None, pad_edge=False)
    for column in ("", "measured", "datasheet", "share"):
        table.add_column(column, justify="left" if not column else "right")
    rows = [
        (f"{p} product", rate, spec.peak_flops(p) if spec else None, "FLOP/s")
        for p, rate in made.rates.items()
    ]
    if made.bandwidth_bytes_per_s is not None:
        peak = spec.memory_bw_bytes_per_s if spec else None
        rows.append(("copy", made.bandwidth_bytes_per_s, peak, "B/s"))
    if made.launch_s is not None:
        rows.append(("smallest product", made.launch_s, None, "s"))
    if made.clock_hz is not None:
        rows.append(("SM clock under load", made.clock_hz, spec.boost_hz if spec else None, "Hz"))
    for name, value, peak, unit in rows:
        share = percent(value / peak) if peak else "–"
        table.add_row(name, scaled(value, unit), scaled(peak, unit) if peak else "–", share)
    out = console()
    out.print(Text(f"{made.name}: calibrated by run {made.run_id}"))
    out.print(table)
    told = [
        f"{name} {percent(error)}"
        for name, error in (("datasheet", errors.datasheet), ("calibrated", errors.calibrated))
        if error is not None
    ]
    if told:
        out.print(
            Text(
                f"mean absolute error on {errors.cases} cases that were no anchors: "
                + ", ".join(told)
            )
        )
