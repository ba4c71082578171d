"""The comparison in a terminal: speed-ups first, then the verdict."""

from __future__ import annotations

from rich import box
from rich.table import Table
from rich.text import Text

from gpubench.analysis.caveats import Caveat, caveats, verdict
from gpubench.analysis.comparison import Comparison
from gpubench.analysis.gains import ClassSpeedup, class_speedups
from gpubench.report.comparison.marks import (
    ABSENT,
    MARKS,
    band_of,
    class_name,
    classes,
    names_in,
    times,
)

_STYLES = {"bad": "bold red", "warn": "yellow", "info": "dim"}
_WORDS = {"bad": "Not comparable", "warn": "Caveat", "info": "Note"}


def summary_table(comparison: Comparison) -> Table:
    """Geometric-mean speed-ups by precision, then verdict and caveats.

    Text from records is never read as markup.
    """
    names = names_in(comparison)
    table = Table(
        title=Text(f"Speed-up over {names.reference}, geometric mean · {comparison.suite}"),
        title_justify="left",
        caption=_verdict(comparison),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for heading in ("Subject", "Class", "Speed-up", "Interval", "From", "Cases"):
        right = heading in ("Speed-up", "Cases")
        table.add_column(heading, justify="right" if right else "left", overflow="fold")
    found: dict[tuple[int, str, str], list[ClassSpeedup]] = {}
    for c in class_speedups(comparison):
        found.setdefault((c.subject, c.workload, c.precision), []).append(c)
    for index, name in enumerate(names.subjects[:-1]):
        for workload, precision in classes(comparison):
            shown = class_name(comparison, workload, precision)
            for c in found.get((index, workload, precision), []):
                table.add_row(
                    Text(name), Text(shown), times(c.ratio), band_of(c.low, c.high),
                    f"{MARKS[c.provenance]} {c.provenance}", str(c.cases),
                )  # fmt: skip
            if (index, workload, precision) not in found:
                table.add_row(Text(name), Text(shown), ABSENT, "", "not known of both", "")
        table.add_section()
    return table


def _verdict(comparison: Comparison) -> Text:
    text = Text(verdict(comparison).capitalize(), style="bold")
    for c in caveats(comparison):
        text.append(f"\n{_line(c)}", style=f"not bold {_STYLES.get(c.severity, '')}")
    return text


def _line(caveat: Caveat) -> str:
    return f"{_WORDS.get(caveat.severity, caveat.severity)}: {caveat.text}"
