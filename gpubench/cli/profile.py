"""``gpubench profile``: measure suites, then energy and kernels of every case."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpubench.cli.nsys import run_under_nsys, show_export
from gpubench.cli.options import console, filter_option, store_option
from gpubench.cli.run import check_writable, execute, finish, request_of
from gpubench.errors import InputError

if TYPE_CHECKING:
    from gpubench.record import Record

KERNELS_SHOWN = 3


@click.command()
@click.argument("suites", nargs=-1, metavar="SUITE...")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--label", metavar="NAME", help="Name of the run, for `report` and `--compare`.")
@store_option
@filter_option
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="As for `run`.")
@click.option("--quick", is_flag=True, help="As for `run`.")
@click.option(
    "--output", type=click.Path(file_okay=False, path_type=Path), default=Path("reports"),
    show_default=True, help="Folder for the report; traces go into `traces` in it.",
)  # fmt: skip
@click.option("--json", "json_path", metavar="PATH", help="Also write JSON; `-`: to stdout, alone.")
@click.option("--no-report", is_flag=True, help="Do not write the HTML report.")
@click.option("--no-traces", is_flag=True, help="Do not write a Perfetto trace a case.")
@click.option("--energy-time", type=click.FloatRange(min=0), default=3.0, show_default=True,
              metavar="SECONDS", help="Work per case for its energy; 0: no energy.")  # fmt: skip
@click.option("--nsys", is_flag=True, help="Run SUITE under Nsight Systems and show its ranges.")
@click.option("--nsys-export", type=click.Path(path_type=Path), metavar="FILE",
              help="Show the ranges of an SQLite export of nsys, anybody's.")  # fmt: skip
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS",
              help="Wall time per case, the passes of the profile apart.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), help="Of order and inputs. [random]")
@click.option("-q", "--quiet", is_flag=True, help="Print the report's path only.")
@click.option("-v", "--verbose", is_flag=True, help="More about every case.")
def profile(suites: tuple[str, ...], **options: Any) -> None:
    """Run SUITE... with passes for energy and kernels after each case's timing.

    Headline times are those of `run`: nothing is traced while they are taken. Energy is of
    repeated calls between edges of the driver's counter; where that cannot be honest it is
    absent with the reason. Traces open in https://ui.perfetto.dev.
    """
    from gpubench.spec import Profiling

    if options["nsys_export"] is not None:
        show_export(options["nsys_export"], options["json_path"])
        return
    if not suites:
        raise InputError("no suite given", expected="e.g. gpubench profile tensorcore")
    if options["nsys"]:
        run_under_nsys(run_arguments(suites, options), options["output"])
        return
    options |= {"resume": None, "lock_clocks": False}
    check_writable(options)
    traces = None if options["no_traces"] else str((options["output"] / "traces").resolve())
    request = request_of(suites, options, Profiling(traces, options["energy_time"]))
    results = execute(request, options)
    if not options["quiet"] and options["json_path"] != "-":
        for result in results:
            console().print(profile_table(result.records))
    finish(results, {**options, "quiet": True}, ())


def run_arguments(suites: tuple[str, ...], options: dict[str, Any]) -> list[str]:
    """The same request as arguments of `gpubench run`."""
    found = [*suites, "--device", options["device"], "--output", str(options["output"])]
    for name, value in (("--label", options["label"]), ("--store", options["store"]),
                        ("--filter", options["filter_text"]), ("--seed", options["seed"]),
                        ("--timeout", options["timeout"])):  # fmt: skip
        if value is not None:
            found += [name, str(value)]
    for setting in options["settings"]:
        found += ["--set", setting]
    return found + (["--quick"] if options["quick"] else [])


def profile_table(records: tuple[Record, ...]) -> Any:
    """Energy and the longest kernels of each case."""
    from rich.table import Table

    from gpubench.analysis.flags import beside_number
    from gpubench.record import Measurement
    from gpubench.stats import joules_per, summarize
    from gpubench.units import scaled

    table = Table("case", "precision", "time", "energy", "kernels, share of their time")
    for r in records:
        if not isinstance(r.outcome, Measurement):
            continue
        energy = f"{scaled(r.energy.joules, 'J')}/call" if r.energy.joules is not None else "–"
        energy += "".join(f"\n{scaled(j, 'J')}/{unit}" for unit, j in joules_per(r).items())
        table.add_row(
            f"{r.case.benchmark} {r.case.label}", r.case.precision,
            "\n".join([scaled(summarize(r.outcome.samples).median_s, "s"),
                       *beside_number(r.outcome.flags)]), energy, kernels_text(r.outcome),
        )  # fmt: skip
    reasons = {r.energy.reason for r in records
               if isinstance(r.outcome, Measurement) and r.energy.joules is None}  # fmt: skip
    table.caption = "; ".join(sorted(f"no energy: {why}" for why in reasons if why)) or None
    return table


def kernels_text(outcome: Any) -> str:
    """The longest kernels with their shares of the time of all."""
    whole = sum(k.time_s for k in outcome.kernels)
    shown = [
        f"{k.time_s / whole:.0%} {k.name}" for k in outcome.kernels[:KERNELS_SHOWN] if whole > 0
    ]
    more = len(outcome.kernels) - len(shown)
    return "\n".join([*shown, *([f"and {more} more"] if more > 0 else [])])
