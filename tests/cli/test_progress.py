"""Progress on a terminal: a bar of cases, and one for what takes long within a case."""

from __future__ import annotations

import io

from rich.console import Console

from gpubench.cli.progress import Progress
from gpubench.spec import DeviceInfo, Plan
from tests.builders import gemm_case, run

CASE = gemm_case()


def drawn(told: list[tuple[str, int, int]]) -> str:
    """What a terminal shows after the last of what was told."""
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=160, color_system=None)
    progress = Progress(console, quiet=False, verbose=False)
    device = DeviceInfo(type="cpu", name="a CPU")
    progress.planned(run(), Plan("s", "", device=device, cases=(CASE,), skips=(), seed=1), 1)
    progress.started(CASE)
    for said in told:
        progress.stage(CASE, *said)
    console.print(progress._bars.get_renderable())
    return file.getvalue()


def test_learning_has_a_bar_of_its_own() -> None:
    seen = drawn([("check against FP64", 0, 0), ("learning, F1 0.62 of 0.9", 75, 600)])
    assert "learning, F1 0.62 of 0.9" in seen
    assert "75/600" in seen


def test_what_has_no_known_length_is_named_without_a_bar() -> None:
    seen = drawn([("learning, F1 0.62 of 0.9", 75, 600), ("taking it apart", 0, 0)])
    assert "taking it apart" in seen
    assert "600" not in seen
