"""``gpubench profile`` with Nsight Systems: run under it, read its exports."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpubench.cli.options import console
from gpubench.errors import InputError, PartialFailure

if TYPE_CHECKING:
    from gpubench.telemetry.nsys import NsysExport

KERNELS_SHOWN = 3


def show_export(path: Path, json_path: str | None) -> None:
    """Ranges of an export with their device time and kernels, as a table or JSON."""
    from gpubench.telemetry.nsys import read

    found = read(path)
    if json_path:
        from dataclasses import asdict

        from gpubench.codec import dumps

        text = dumps(asdict(found), indent=1)
        if json_path == "-":
            click.echo(text)
        else:
            Path(json_path).write_text(text + "\n", encoding="utf-8")
        return
    console().print(_table(found))
    for line in found.missing:
        click.echo(f"note: {line}", err=True)


def _table(export: NsysExport) -> Any:
    from rich.table import Table

    from gpubench.units import scaled

    table = Table("range", "count", "host time", "device time", "own device time", "kernels")
    for r in export.ranges:
        kernels = [f"{k.count:g}x {scaled(k.time_s, 's')} {k.name}" for k in r.kernels]
        more = len(kernels) - KERNELS_SHOWN
        table.add_row(
            "  " * (len(r.path) - 1) + r.path[-1], str(r.count), scaled(r.host_s, "s"),
            scaled(r.device_s, "s"), scaled(r.own_device_s, "s"),
            "\n".join([*kernels[:KERNELS_SHOWN], *([f"and {more} more"] if more > 0 else [])]),
        )  # fmt: skip
    return table


def run_under_nsys(arguments: list[str], output: Path) -> None:
    """`gpubench run` under Nsight Systems, then what it saw.

    Raises:
        InputError: nsys is not installed.
        PartialFailure: nsys or the run under it failed.
    """
    program = shutil.which("nsys")
    if program is None:
        raise InputError(
            "--nsys: Nsight Systems is not installed (no `nsys` on the PATH)",
            expected="`nsys`, or --nsys-export FILE to read an export made elsewhere",
        )
    output.mkdir(parents=True, exist_ok=True)
    base = output / time.strftime("nsys-%Y%m%d-%H%M%S")
    command = [program, "profile", "--trace=nvtx,cuda", "--sample=none", "--export=sqlite",
               "--force-overwrite=true", f"--output={base}", sys.executable, "-m", "gpubench",
               "run", *arguments]  # fmt: skip
    status = subprocess.run(command, check=False).returncode
    export = base.with_suffix(".sqlite")
    if not export.exists():
        raise PartialFailure(f"nsys ended with status {status} and left no export")
    show_export(export, None)
    click.echo(f"export: {export}")
    if status:
        raise PartialFailure(f"the run under nsys ended with status {status}")
