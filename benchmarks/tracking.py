"""Nightly tracking: alarms, true and false, and how long history queries and a check take.

``rates`` runs the same synthetic histories through gpubench, through asv's step detection and
through a plain threshold of 5 %; ``size`` fills a store with a million measurements. asv is
no dependency: give the Python of an environment that has it with ``--asv PYTHON``, or its
column stays empty.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from saving import report

sys.path.insert(0, str(Path(__file__).parents[1]))

from gpubench.analysis.level import PRIOR, Rule
from gpubench.analysis.shift import judge, scatter
from gpubench.analysis.significance import prior_of
from gpubench.analysis.tracking import REGRESSION, track, track_all
from gpubench.store import Store
from gpubench.store.points import Point
from gpubench.store.schema import history
from tests import postgres
from tests.histories import LEVEL_S, NOISE, History, make, nights_of

KINDS = (
    "stationary", "step", "large_step", "missing", "drift", "spike", "outlier", "bimodal", "driver",
)  # fmt: skip
WITHIN = {"drift": 60, "spike": 3}
SEED = 2026
FRESH = 8191
"""Of the histories that no choice of the rule has seen."""

ASV = r"""
import json, sys
from asv.step_detect import detect_regressions, detect_steps
def alarm(times):
    return bool(detect_regressions(detect_steps(times), threshold=0.05 if FIVE else 0.0)[2])
FIVE = sys.argv[1] == "five"
json.dump([alarm(t) for t in json.load(sys.stdin)], sys.stdout)
"""


def ours(times: np.ndarray, _history: History) -> bool:
    return judge(nights_of(times)).verdict == "regression"


def tracked(times: np.ndarray, known: History) -> bool:
    """With clocks and stacks, as `track check` sees a series."""
    points = [
        Point("k", str(i), f"{i:04d}", stack(known, i), "h", t, t * 0.997, t * 1.003,
              None if known.clocks_hz is None else float(known.clocks_hz[i]), None, None, ())
        for i, t in enumerate(times)
    ]  # fmt: skip
    return track("k", points).verdict == REGRESSION


def stack(known: History, i: int) -> str:
    return "new" if getattr(known, "driver", False) and i >= (known.slower_from or 0) else "old"


def five_percent(times: np.ndarray, _history: History) -> bool:
    """Tonight against the median of the ten nights before."""
    return len(times) > 10 and times[-1] > 1.05 * statistics.median(times[-11:-1])


def histories(kind: str, count: int, seed: int = SEED) -> list[History]:
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    if kind != "driver":
        return [make(kind, rng) for _ in range(count)]
    found = [make("step", rng) for _ in range(count)]

    class WithDriver(History):
        driver = True

    return [WithDriver(h.times_s, h.slower_from, h.clocks_hz) for h in found]


def episodes(h: History, alarm: Callable[[np.ndarray, History], bool], nights: range) -> int:
    """Times an alarm begins, over nights."""
    alarms, on = 0, False
    for k in nights:
        now = alarm(h.times_s[: k + 1], h)
        alarms += int(now and not on)
        on = now
    return alarms


def could_alarm(h: History, k: int) -> bool:
    """Whether some window that ends on night k is 2.5 true noises above the true level.

    An alarm needs four and staying one three; the first nights, whose noise is not known yet,
    are judged all. It saves nine tenths of the time where nothing ever happens.
    """
    x = np.log(h.times_s[max(0, k - 29) : k + 1] / LEVEL_S) / NOISE
    means = np.cumsum(x[::-1]) / np.sqrt(np.arange(1, len(x) + 1))
    return k < 20 or bool(means.max() > 2.5)


def score(
    kind: str, count: int, alarm: Callable[[np.ndarray, History], bool], seed: int = SEED
) -> dict[str, float]:
    """Found within the nights allowed, and false alarms before the truth (or ever, without)."""
    found, false, nights = 0, 0, 0
    for h in histories(kind, count, seed):
        end = len(h.times_s) if h.slower_from is None else h.slower_from
        false += episodes(h, alarm, range(1, end))
        nights += end
        if h.slower_from is not None:
            ends = range(end, end + WITHIN.get(kind, 4))
            found += any(alarm(h.times_s[: k + 1], h) for k in ends)
    return {"found": found / count, "false_alarms": false, "series_nights": nights}


def score_asv(kind: str, count: int, python: str, how: str) -> dict[str, float]:
    """Likewise: regressions that stand at the end of the true level, and after the last night.

    asv judges a whole history, so a false alarm that came and went on some night in between
    is not counted: its figures are a lower bound.
    """
    found_in, false_in, nights = [], [], 0
    for h in histories(kind, count):
        end = len(h.times_s) if h.slower_from is None else h.slower_from
        false_in.append(h.times_s[:end].tolist())
        nights += end
        if h.slower_from is not None:
            found_in.append(h.times_s[: end + WITHIN.get(kind, 4)].tolist())
    answers = []
    for given in (found_in, false_in):
        done = subprocess.run(
            [python, "-c", ASV, how], input=json.dumps(given), capture_output=True, text=True,
            check=True,
        )  # fmt: skip
        answers.append(sum(json.loads(done.stdout)))
    return {"found": answers[0] / count, "false_alarms": answers[1], "series_nights": nights}


def rates(count: int, asv: str | None, kinds: tuple[str, ...]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for kind in kinds:
        plain = kind in ("bimodal", "driver")
        table[kind] = {
            "gpubench": score(kind, count, tracked if plain else ours),
            "threshold of 5 %": score(kind, count, five_percent),
        }
        if asv:
            table[kind]["asv"] = score_asv(kind, count, asv, "all")
            table[kind]["asv, 5 %"] = score_asv(kind, count, asv, "five")
        print(kind, table[kind], file=sys.stderr, flush=True)
    return table


def screened(times: np.ndarray, history: History) -> bool:
    return could_alarm(history, len(times) - 1) and ours(times, history)


def careful(times: np.ndarray, _history: History) -> bool:
    """As ``ours``, with ``--fast 20%``."""
    return judge(nights_of(times), Rule(fast=0.2)).verdict == "regression"


def many(count: int = 2000) -> dict[str, Any]:
    """The two targets on ten times as many histories of a fresh seed, for gpubench alone."""
    within = {4: 0, 5: 0}
    for h in histories("step", count, FRESH):
        told = [ours(h.times_s[: (h.slower_from or 0) + n], h) for n in range(1, 6)]
        for nights in within:
            within[nights] += any(told[:nights])
    return {
        "seed": FRESH,
        "histories": count,
        "step_found_within": {str(n): k / count for n, k in within.items()},
        "stationary": score("stationary", count, screened, FRESH),
        "stationary_judged_all_and_screened": [
            score("stationary", 100, alarm, FRESH + 1)["false_alarms"] for alarm in (ours, screened)
        ],
        "outlier_fast_20": score("outlier", count // 10, careful, FRESH),
    }


def together(count: int = 2000) -> dict[str, Any]:
    """The two targets where a check has 200 cases of equal noise, as `track check` sees them.

    What the other cases say of the noise is taken from 200 histories when they were 60 nights
    old, and kept: less than a check knows later. The first 60 nights are judged without it.
    """
    seed = FRESH + 100
    young = [nights_of(h.times_s[:60]) for h in histories("stationary", 200, seed + 1)]
    prior = prior_of([s for n in young if (s := scatter(n)) is not None])
    assert prior is not None

    def alarm(times: np.ndarray, history: History) -> bool:
        known = prior if len(times) > 60 else PRIOR
        return (
            could_alarm(history, len(times) - 1)
            and judge(nights_of(times), prior=known).verdict == "regression"
        )

    return {
        "seed": seed,
        "histories": count,
        "prior": {"noise": prior[0], "degrees_of_freedom": prior[1]},
        "step": score("step", count, alarm, seed),
        "stationary": score("stationary", count, alarm, seed),
    }


def sizes() -> dict[str, Any]:
    """The same in SQLite and, where it is installed, in a PostgreSQL server of its own."""
    with tempfile.TemporaryDirectory() as folder:
        found = {"sqlite": size(f"{folder}/big.db")}
        if postgres.missing() is None:
            with postgres.running(Path(tempfile.mkdtemp(dir="/tmp"))) as server:
                found["postgresql"] = size(server.url)
    return found


def size(url: str, series: int = 1000, nights: int = 1000) -> dict[str, Any]:
    """A million measurements: the history of a case, and a check of 1,000 series x 365 nights."""
    rng = np.random.default_rng(SEED)
    with Store(url) as store:
        for night in range(nights):
            times = 1e-3 * np.exp(rng.normal(0, 0.01, series))
            with store._engine.begin() as connection:
                connection.execute(
                    history.insert(), [_row(i, night, t) for i, t in enumerate(times)]
                )
        one = []
        for i in range(0, series, 20):
            began = time.perf_counter()
            (points,) = store.points("gpu", "nightly", case_keys=[f"case-{i:05d}"]).values()
            one.append(time.perf_counter() - began)
            assert len(points) == nights
        began, cpu = time.perf_counter(), time.process_time()
        past = store.points("gpu", "nightly", since=f"{nights - 365:05d}")
        read_s = time.perf_counter() - began
        assert {len(p) for p in past.values()} == {365}
        verdicts = track_all(past, {})
        whole_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu
    return {
        "measurements": series * nights,
        "history_of_one_case_ms": {"median": 1e3 * statistics.median(one), "worst": 1e3 * max(one)},
        "check": {
            "series": series, "nights": 365, "read_s": read_s, "whole_s": whole_s, "cpu_s": cpu_s,
            "false_alarms": sum(t.verdict == REGRESSION for t in verdicts),
        },
    }  # fmt: skip


def _row(case: int, night: int, time_s: float) -> dict[str, Any]:
    return {
        "run_id": f"run-{night:05d}", "benchmark": "b", "case_key": f"case-{case:05d}",
        "device": "gpu", "stack": "s", "suite": "nightly", "started_at": f"{night:05d}", "how": "h",
        "median_s": float(time_s), "ci_low_s": time_s * 0.997, "ci_high_s": time_s * 1.003,
        "clock_hz": 1.41e9, "temperature_c": 60.0, "power_w": 300.0, "flags": "",
    }  # fmt: skip


if __name__ == "__main__":
    asv = sys.argv[sys.argv.index("--asv") + 1] if "--asv" in sys.argv else None
    parts = ("rates", "many", "together", "size")
    what = [a for a in parts if a in sys.argv] or list(parts)
    count = int(sys.argv[sys.argv.index("--count") + 1]) if "--count" in sys.argv else 200
    chosen = tuple(k for k in KINDS if k in sys.argv) or KINDS
    figures: dict[str, Any] = {"seed": SEED, "histories": count}
    if "rates" in what:
        figures["rates"] = rates(count, asv, chosen)
    if "many" in what:
        figures["many"] = many()
    if "together" in what:
        figures["together"] = together()
    if "size" in what:
        figures["size"] = sizes()
    report("tracking", figures)
