"""A page of every kind that gpubench writes, made of made-up runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gpubench.analysis.comparison import Comparison, Subject, compare
from gpubench.api.fleets import look
from gpubench.api.publishing import publish
from gpubench.catalogue import find
from gpubench.record import Record, Run
from gpubench.report import comparison, render
from gpubench.report import fleet as fleets
from gpubench.store import Store
from tests import fleets as members
from tests.nightly import fill, measured, night

KINDS = ("run", "comparison", "dashboard", "case", "fleet")


def compared(run: Run, records: Sequence[Record]) -> Comparison:
    """A run beside an earlier one of the same machine and beside a GPU that is not here."""
    spec = find("a100")
    by_key = {r.case.key: r for r in records}
    before = replace(run, id=f"{run.id}-before", label="before")
    subjects = [
        Subject("after", "after", "run", spec, run, by_key),
        Subject("before", "before", "run", spec, before, by_key),
        Subject("v100", find("v100").name, "gpu", find("v100"), None, {}),
    ]
    return compare(run.suite, run.description, subjects, [r.case for r in records])


def write_pages(run: Run, records: Sequence[Record], folder: Path) -> dict[str, Path]:
    """Kind of page -> its file."""
    index = dashboard(records, folder)
    fleet = str(folder / "fleet.db")
    with Store(fleet) as store:
        odd = {(1, 1): {"gpu.driver": "565.57", "gpu.ecc_uncorrected": 12}}
        members.fill(store, 4, 8, slow={(1, 1): 1.2}, facts=odd, broken={(2, 0): "CUDA error"})
    return {
        "run": render.write([(run, list(records))], folder / "run.html"),
        "comparison": comparison.write(compared(run, records), folder / "comparison.html"),
        "dashboard": index,
        "case": next(p for p in sorted((index.parent / "cases").iterdir())),
        "fleet": fleets.write(look(["acceptance"], store=fleet), folder / "fleet.html"),
    }


def dashboard(records: Sequence[Record], folder: Path) -> Path:
    """Thirty nights of four cases, the newest five slower, with another driver, or faster."""
    cases = [r.case for r in records if r.status == "measured"][:4]
    ratios = (1.0, 1.08, 1.0, 0.9)
    nights = [
        (case, [measured(1e-3 * (ratio if i >= 25 else 1.0) * (1 + 0.001 * (i % 3)))
                for i in range(30)])
        for case, ratio in zip(cases, ratios, strict=True)
    ]  # fmt: skip
    heads = [night(i, {"gpu.driver": "570.86"} if i >= 20 else {}) for i in range(30)]
    url = str(folder / "nights.db")
    with Store(url) as store:
        fill(store, nights, heads)
    return publish(folder / "site", store=url)
