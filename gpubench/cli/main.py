"""The command group. Commands load when called, so that ``--help`` needs only click."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any, Final

import click

import gpubench
from gpubench.errors import GateFailed, GpubenchError, InputError, PartialFailure

COMMANDS: Final = {
    "run": ("gpubench.cli.run:run", "Run suites, store every result, write the report."),
    "profile": ("gpubench.cli.profile:profile", "Run suites with energy, kernels and traces."),
    "report": ("gpubench.cli.report:report", "Render stored runs."),
    "suite": ("gpubench.cli.suite:suite", "List, show and check suites; the JSON Schema."),
    "results": ("gpubench.cli.results:results", "The store: list, show, export, import, remove."),
    "doctor": ("gpubench.cli.doctor:doctor", "What this machine can measure, what would spoil it."),
    "gpus": ("gpubench.cli.gpus:gpus", "The catalogue of GPUs: datasheet facts and peaks."),
    "calibrate": ("gpubench.cli.calibrate:calibrate", "Measure what this device really does."),
    "track": ("gpubench.cli.track:track", "Nightly regressions: check, show, accept, publish."),
    "predict": ("gpubench.cli.predict:predict", "Predicted times, no hardware needed."),
}
"""Command -> (module:attribute, short help)."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the documentation."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None for an unknown one."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with a near miss in the message."""
        from gpubench.errors import nearest

        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in COMMANDS:
            close = nearest(name, COMMANDS)
            hint = f" Did you mean {close!r}?" if close else ""
            ctx.fail(f"No such command {name!r}.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table, importing none of them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(gpubench.__version__, prog_name="gpubench")
def cli() -> None:
    """Benchmark, predict, explain and guard GPU performance.

    \b
    gpubench doctor                 what can this machine measure?
    gpubench run tensorcore         GEMM with and without Tensor Cores
    gpubench report                 the newest run again
    """  # noqa: D301  # click reads the character, not the escape


def main() -> None:
    """Entry point; the only place that turns errors into exit codes."""
    sys.exit(invoke(sys.argv[1:]))


def invoke(arguments: list[str], **extra: Any) -> int:
    """Run the command line; returns the exit code of the contract."""
    try:
        status = cli.main(arguments, prog_name="gpubench", standalone_mode=False, **extra)
        return int(status or 0)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.Abort:
        return 130
    except click.ClickException as error:
        error.show()
        return 2
    except GpubenchError as error:
        return _told(error)
    except KeyboardInterrupt:
        click.echo("gpubench: interrupted", err=True)
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone; do not complain about it again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _told(error: GpubenchError) -> int:
    """One message on stderr, and the exit code of that kind of error."""
    click.echo(f"gpubench: error: {error}", err=True)
    if type(error).__name__ == "Interrupted":
        return 130
    codes = ((InputError, 2), (GateFailed, 1), (PartialFailure, 3))
    return next((code for kind, code in codes if isinstance(error, kind)), 2)
