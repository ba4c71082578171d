"""``gpubench suite``: look at suites without running them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from gpubench.cli.options import console, filter_option

if TYPE_CHECKING:
    from gpubench.spec import Plan


@click.group()
def suite() -> None:
    """List, show and check suites; print their JSON Schema."""


@suite.command("list")
@click.option("--format", "fmt", type=click.Choice(["table", "json"]), default="table")
def list_(fmt: str) -> None:
    """List the built-in suites."""
    from gpubench.suite import builtin_folder, builtin_names, load

    found = [
        (name, load(builtin_folder() / f"{name}.yaml", name=f"{name}.yaml"))
        for name in builtin_names()
    ]
    if fmt == "json":
        from gpubench.codec import dumps

        rows = [
            {"name": n, "description": s.description, "benchmarks": [b.name for b in s.benchmarks]}
            for n, s in found
        ]
        click.echo(dumps(rows, indent=1))
        return
    for name, s in found:
        names = ", ".join(b.name for b in s.benchmarks)
        click.echo(f"{name}: {s.description} ({names})")


@suite.command()
@click.argument("name", metavar="SUITE")
@click.option("--device", default="cpu", show_default=True,
              help="Plan for: cpu, auto, cuda[:N], or a GPU of the catalogue.")  # fmt: skip
@filter_option
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="As for `run`.")
@click.option("--quick", is_flag=True, help="As for `run`.")
@click.option("--format", "fmt", type=click.Choice(["table", "json"]), default="table")
def show(name: str, device: str, fmt: str, **options: Any) -> None:
    """Show the planned cases of a suite, and what would be skipped and why."""
    from gpubench.api import load_suites
    from gpubench.plan import make_plan

    (loaded,) = load_suites([name], options["settings"])
    plan = make_plan(
        loaded, described(device), filter_text=options["filter_text"], quick=options["quick"]
    )
    if fmt == "json":
        from gpubench.codec import dumps, encode_case

        body = {
            "suite": plan.suite,
            "cases": [encode_case(c) for c in plan.cases],
            "skips": [{**encode_case(s.case), "reason": s.reason} for s in plan.skips],
        }
        click.echo(dumps(body, indent=1))
    else:
        print_plan(plan)


@suite.command()
@click.argument("names", nargs=-1, required=True, metavar="SUITE...")
def check(names: tuple[str, ...]) -> None:
    """Validate suites: exit 0, or 2 with file, line, key and what was expected."""
    from gpubench.api import load_suites
    from gpubench.plan import make_plan

    for name in names:
        (loaded,) = load_suites([name], ())
        counts = []
        for kind in ("cuda", "cpu"):
            plan = make_plan(loaded, anything(kind))
            counts.append(f"{len(plan.cases) + len(plan.skips)} cases on {kind}")
        click.echo(f"{name}: ok, {', '.join(counts)}")


@suite.command()
def schema() -> None:
    """Print the JSON Schema of suite files, for editors."""
    from gpubench.codec import dumps
    from gpubench.schema import json_schema

    click.echo(dumps(json_schema(), indent=2))


def anything(kind: str) -> Any:
    """A device of that type without limits, for checking a suite on any machine."""
    from gpubench.spec import MANY_RANKS, DeviceInfo

    return DeviceInfo(type=kind, name=f"any {kind} device", world_size=MANY_RANKS)


def described(device: str) -> Any:
    """The device to plan for: a live one, or one described by the catalogue."""
    from gpubench.catalogue import find
    from gpubench.launch.local import LocalLauncher
    from gpubench.spec import MANY_RANKS, DeviceInfo

    if device == "cpu":
        return anything("cpu")
    if device == "auto" or device.startswith("cuda"):
        with LocalLauncher(device) as launcher:
            return launcher.connect()[0]
    spec = find(device)
    missing = {
        p: spec.why_not(p) for p in ("fp64", "fp32", "tf32", "fp16", "bf16", "fp8")
        if not spec.supports(p)
    }  # fmt: skip
    return DeviceInfo(
        type="cuda",
        name=spec.nvml_name,
        gpu_key=spec.key,
        architecture=spec.architecture,
        compute_capability=spec.compute_capability,
        world_size=MANY_RANKS,
        memory_bytes=int(spec.memory_bytes),
        cache_bytes=int(spec.l2_bytes) if spec.l2_bytes else None,
        sm_count=spec.sm_count,
        unsupported=missing,
    )


def print_plan(plan: Plan) -> None:
    """The cases and skips of a plan as a table, and how long it takes at least."""
    from rich.table import Table
    from rich.text import Text

    from gpubench.units import scaled

    table = Table(title=None, box=None, pad_edge=False)
    for column in ("benchmark", "case", "precision", "FLOPs", "bytes", "key"):
        table.add_column(column, justify="right" if column in ("FLOPs", "bytes") else "left")
    for case in plan.cases:
        work = case.work
        table.add_row(
            Text(case.benchmark),
            Text(case.label),
            case.precision,
            scaled(work.flops, "FLOP") if work else "–",
            scaled(work.bytes, "B") if work else "–",
            case.key,
        )
    out = console()
    out.print(table)
    reasons: dict[str, int] = {}
    for skip in plan.skips:
        reasons[skip.reason] = reasons.get(skip.reason, 0) + 1
    for reason, count in reasons.items():
        out.print(Text(f"skipped {count}: {reason}"))
    least = sum(c.policy.min_time_s + c.policy.warmup_s for c in plan.cases)
    most = sum(c.policy.max_time_s + c.policy.warmup_s for c in plan.cases)
    out.print(
        Text(
            f"{plan.suite}: {len(plan.cases)} cases on {plan.device.name},"
            f" {len(plan.skips)} skipped; {least:.0f} to {most:.0f} s of measuring"
        )
    )
