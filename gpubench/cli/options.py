"""Options that several commands share, and the console they print to."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

F = TypeVar("F", bound="Callable[..., Any]")

WIDE = 200


def store_option(function: F) -> F:
    """``--store URL``."""
    return click.option(
        "--store",
        metavar="URL",
        help="Result store: a file or SQLAlchemy URL. [default: GPUBENCH_STORE, else a SQLite"
        " file in your data folder]",
    )(function)


def filter_option(function: F) -> F:
    """``--filter EXPR``."""
    return click.option(
        "--filter",
        "filter_text",
        metavar="EXPR",
        help="Only cases that match: a condition (\"precision == 'bf16' and m >= 1024\") or a"
        " glob over benchmark names.",
    )(function)


def console(*, stderr: bool = False) -> Console:
    """A console without colour unless it is a terminal, and wide where it is not."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else WIDE
    return Console(file=stream, width=width, highlight=False, soft_wrap=False)
