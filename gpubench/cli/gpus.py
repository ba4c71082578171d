"""``gpubench gpus``: the catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from gpubench.catalogue import GpuSpec

PRECISIONS = ("fp64", "fp32", "tf32", "fp16", "bf16", "fp8")


@click.command()
@click.argument("name", required=False)
@click.option("--architecture", metavar="NAME", help="Only GPUs of this architecture.")
@click.option("--format", "fmt", type=click.Choice(["table", "csv", "json"]), default="table",
              show_default=True)  # fmt: skip
def gpus(name: str | None, architecture: str | None, fmt: str) -> None:
    """List the GPUs of the catalogue, or show one in full with its sources.

    Peaks are dense FLOP/s of the unit that a precision really uses: fp32 always CUDA cores.
    """
    from gpubench.catalogue import find
    from gpubench.catalogue import gpus as every
    from gpubench.errors import UnknownName

    chosen = [find(name)] if name else list(every())
    if architecture:
        known = {g.architecture for g in every()}
        chosen = [g for g in chosen if g.architecture.lower() == architecture.lower()]
        if architecture.lower() not in {k.lower() for k in known}:
            raise UnknownName("architecture", architecture, known)
    if fmt == "json":
        from gpubench.codec import dumps

        click.echo(dumps([record(g) for g in chosen], indent=1))
    elif fmt == "csv":
        click.echo("".join(csv_lines(chosen)), nl=False)
    elif name:
        print_one(chosen[0])
    else:
        print_table(chosen)


def record(g: GpuSpec) -> dict[str, Any]:
    """Every fact of a row, and the peaks by precision."""
    from dataclasses import fields

    facts: dict[str, Any] = {f.name: getattr(g, f.name) for f in fields(g)}
    facts["aliases"] = list(g.aliases)
    facts["compute_capability"] = ".".join(map(str, g.compute_capability))
    facts["peak_flops"] = {p: g.peak_flops(p) for p in PRECISIONS}
    return facts


def csv_lines(chosen: list[GpuSpec]) -> list[str]:
    """The rows as CSV text, one line an item, header first."""
    import csv
    import io

    rows = [record(g) for g in chosen]
    for r in rows:
        r["aliases"] = ";".join(r["aliases"])
        peaks = r.pop("peak_flops")
        r |= {f"peak_{p}_flops": v for p, v in peaks.items()}
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().splitlines(keepends=True)


def print_table(chosen: list[GpuSpec]) -> None:
    """One line a GPU."""
    from rich.table import Table

    from gpubench.cli.options import console
    from gpubench.units import significant

    table = Table(box=None, pad_edge=False)
    table.add_column("key", no_wrap=True)
    table.add_column("architecture")
    heads = ("cc", "SMs", "GiB", "GB/s", "L2 MiB", "W", *(f"{p} TF" for p in PRECISIONS))
    for head in heads:
        table.add_column(head, justify="right")
    for g in chosen:
        peaks = [g.peak_flops(p) for p in PRECISIONS]
        table.add_row(
            g.key, g.architecture, ".".join(map(str, g.compute_capability)), str(g.sm_count),
            f"{g.memory_bytes / 2**30:.0f}", f"{g.memory_bw_bytes_per_s / 1e9:.0f}",
            f"{g.l2_bytes / 2**20:g}", "–" if g.tdp_w is None else f"{g.tdp_w:.0f}",
            *("–" if p is None else significant(p / 1e12) for p in peaks),
        )  # fmt: skip
    console().print(table)


def print_one(g: GpuSpec) -> None:
    """Everything about one GPU."""
    from gpubench.units import scaled

    def shown(value: float | None, unit: str) -> str:
        return "not published" if value is None else scaled(value, unit, 4)

    major, minor = g.compute_capability
    facts = [
        ("reported as", g.nvml_name),
        ("aliases", ", ".join(g.aliases) or "none"),
        ("architecture", f"{g.architecture} ({g.chip or 'chip unknown'}), compute capability"
                         f" {major}.{minor}, {g.year or 'year unknown'}, {g.form_factor}"),
        ("multiprocessors", f"{g.sm_count} x {g.fp32_cores_per_sm} FP32 lanes,"
                            f" {g.tensor_cores_per_sm} Tensor Cores each"),
        ("clock", f"boost {shown(g.boost_hz, 'Hz')}, base {shown(g.base_hz, 'Hz')}"),
        ("memory", f"{g.memory_bytes / 2**30:g} GiB {g.memory_type},"
                   f" {shown(g.memory_bw_bytes_per_s, 'B/s')}"),
        ("L2", f"{g.l2_bytes / 2**20:g} MiB"),
        ("power limit", shown(g.tdp_w, "W")),
        ("NVLink", "none" if g.nvlink_bytes_per_s is None
                   else f"{shown(g.nvlink_bytes_per_s, 'B/s')}, both directions"),
    ]  # fmt: skip
    click.echo(g.key)
    for title, text in facts:
        click.echo(f"  {title:<16} {text}")
    click.echo("  dense peaks      CUDA cores / Tensor Cores")
    for p in PRECISIONS:
        cores, tensor = g.peak_flops(p, tensor=False), g.peak_flops(p, tensor=True)
        if cores is None and tensor is None:
            click.echo(f"    {p:<14} none: {g.why_not(p)}")
            continue
        pair = [("–" if v is None else scaled(v, "FLOP/s", 4)) for v in (cores, tensor)]
        click.echo(f"    {p:<14} {pair[0]} / {pair[1]}")
    click.echo(f"  source           {g.source}")
    if g.notes:
        click.echo(f"  notes            {g.notes}")
