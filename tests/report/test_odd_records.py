"""Whatever a results file may hold, every format is made and the page works."""

import math
import random

import pandas as pd
import pytest
from rich.console import Console

from gpubench.record import (
    Accuracy,
    Failure,
    Measurement,
    Modelled,
    Peaks,
    Reading,
    Record,
    Samples,
    Skip,
)
from gpubench.report import render
from gpubench.report.table import results_table
from gpubench.spec import Case, Work

SCALES = (0.0, 1e-12, 1e-6, 1e-3, 1.0, 1e6)


def odd_outcome(rng):
    kind = rng.random()
    if kind < 0.2:
        return Skip(rng.choice(["", "why"]))
    if kind < 0.35:
        return Failure(rng.choice(["error", "new_kind"]), "r", rng.choice([None, "", "tb"]))
    times = tuple(rng.choice(SCALES) for _ in range(rng.randint(1, 9)))
    errors, tolerances = (0.0, math.nan, math.inf, 1e-3), (0.0, 1e-2, math.inf)
    accuracy = Accuracy(rng.choice(errors), rng.choice(tolerances), "r")
    reading = Reading(0.0, {"new": 1.0, "clock_hz": math.nan}, ("reason",))
    return Measurement(
        samples=Samples(times, rng.choice([(), times]), rng.choice([{}, {0: "x"}]),
                        launches=rng.choice([(), (len(times),)])),
        method=rng.choice(["loop", "new"]),
        cache="cold",
        stopped_by="new",
        floor_s=rng.choice([None, 0.0]),
        accuracy=rng.choice([None, accuracy]),
        readings=rng.choice([(), (reading,)]),
        flags=rng.choice([(), ("noisy", "new_flag")]),
    )  # fmt: skip


def odd_run(seed, fakes, count=None):
    rng = random.Random(seed)
    works = [None, Work(0.0, 1e6, 0.0, ""), Work(1e9, 0.0, 0.0, "f"), Work(1e30, 1e-3, 1e30, "f")]
    peaks = [Peaks(), Peaks(1e12), Peaks(None, 1e9, "s"), Peaks(1e12, 1e9, "s")]
    values = [0, -3, 1, 2**70, 0.5, True, "x", ""]
    records = [
        Record(
            case=Case(
                key=f"k{i}",
                benchmark=rng.choice(["b", "c", ""]),
                workload=rng.choice(["gemm", "memcpy", "custom"]),
                precision=rng.choice(["fp32", "bf16", "int4", ""]),
                params={rng.choice("mnkab"): rng.choice(values) for _ in range(rng.randint(0, 4))},
                work=rng.choice(works),
                baseline=rng.choice([None, "k0", "k1", "gone"]),
            ),
            device=rng.choice([fakes.CPU, fakes.A100]),
            outcome=odd_outcome(rng),
            peaks=rng.choice(peaks),
            model=rng.choice([Modelled(), Modelled(1.0), Modelled(1.0, 0.5, 2.0, "compute")]),
        )
        for i in range(rng.randint(0, 12) if count is None else count)
    ]
    run = fakes.head(
        "x",
        rng.choice([{}, fakes.GPU_ENV, {"new": None, "gpu.power_limit_w": math.inf}]),
        started_at=rng.choice(["", "2026", "2026-02-03T10:12:00"]),
        planned=rng.choice([None, 3, 99]),
    )
    return run, records


@pytest.mark.parametrize("seed", range(30))
def test_every_format_is_made(seed, fakes, tmp_path):
    given = odd_run(seed, fakes)
    for fmt in ("html", "markdown", "csv", "json"):
        assert render.text([given], fmt)
    path = render.write([given], tmp_path / "x.parquet", "parquet")
    assert len(pd.read_parquet(path)) == len(given[1])
    console = Console(width=300)
    with console.capture() as captured:
        console.print(results_table(given[1]))
    assert "Precision" in captured.get()


@pytest.mark.browser
def test_the_page_works(fakes, visit, tmp_path):
    seen = visit(render.write([odd_run(99, fakes, 80)], tmp_path / "odd.html"))
    seen.draw_all()
    for button in seen.page.query_selector_all(".expand"):
        button.evaluate("b => b.click()")
    for index in range(len(seen.page.query_selector_all("#sample-case option"))):
        seen.page.select_option("#sample-case", index=index)
    seen.page.wait_for_timeout(500)
    for column in range(1, 5):
        seen.page.query_selector(f"th:nth-child({column}) button").evaluate("b => b.click()")
    assert seen.troubles == []
    assert "could not be drawn" not in seen.page.inner_text("main")
