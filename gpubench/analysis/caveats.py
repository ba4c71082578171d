"""What limits a comparison: differences of machines, libraries, settings and methods."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Final

from gpubench.analysis.comparison import Comparison, Subject
from gpubench.model.calibration import clocks_of
from gpubench.record import Measurement
from gpubench.units import scaled

CLOCKS_DIFFER: Final = 0.02
"""Relative difference of two runs' SM clocks that is worth a caveat."""


@dataclass(frozen=True, slots=True)
class Caveat:
    """Something that limits the comparison.

    Attributes:
        severity: ``info``, ``warn`` or ``bad`` (not comparable).
        text: one sentence.
    """

    severity: str
    text: str


FACTS_THAT_MATTER: Final = (
    ("gpu.driver", "driver", "warn"), ("torch.version", "torch", "warn"),
    ("torch.cuda", "CUDA", "warn"), ("cudnn.version", "cuDNN", "warn"),
    ("gpu.power_limit_w", "power limit (W)", "warn"), ("gpu.ecc", "ECC", "warn"),
    ("gpu.clock_locked", "locked clocks", "warn"), ("gpu.mig", "MIG", "bad"),
    ("gpubench.version", "gpubench", "info"), ("cpu.model", "CPU", "info"),
    ("cpu.threads_used", "threads", "warn"),
)  # fmt: skip
"""Facts of two runs that must agree for their times to compare, and how much it matters."""


def caveats(comparison: Comparison) -> tuple[Caveat, ...]:
    """What limits the comparison, the gravest first."""
    found: list[Caveat] = []
    runs = [s for s in comparison.subjects if s.run is not None and s.records]
    for one, other in pairwise(runs):
        found += _differences(one, other)
    kinds = {r.device.type for s in comparison.subjects for r in s.records.values()}
    if kinds == {"cpu", "cuda"}:
        found.append(Caveat("bad", "CPU and GPU measurements stand side by side."))
    elif "cpu" in kinds and any(s.kind == "gpu" for s in comparison.subjects):
        found.append(Caveat("bad", "A run on a CPU is compared with GPUs."))
    bad = sum(v.doubtful for r in comparison.rows for e in r.entries for v in e.values.values())
    if bad:
        results = "1 measured result is" if bad == 1 else f"{bad} measured results are"
        text = f"{results} wrong, impossible or otherwise not to rely on: no speed-up uses them."
        found.append(Caveat("warn", text))
    published = {
        e.values["published"].note for r in comparison.rows for e in r.entries
        if "published" in e.values
    }  # fmt: skip
    found += [Caveat("info", f"Published values: {note}.") for note in sorted(published)[:4]]
    if any("predicted" in e.values for r in comparison.rows for e in r.entries):
        found.append(
            Caveat("info", "Predicted values come from datasheet facts; about 80 % of"
                   " measurements on GPUs the model had not seen fall into the band.")
        )  # fmt: skip
    order = ("bad", "warn", "info")
    return tuple(sorted(dict.fromkeys(found), key=lambda c: order.index(c.severity)))


def _differences(one: Subject, other: Subject) -> list[Caveat]:
    """What two runs were not alike in."""
    assert one.run is not None
    assert other.run is not None
    here, there = one.run.environment, other.run.environment

    def told(severity: str, name: str, a: object, b: object) -> Caveat:
        return Caveat(severity, f"{name}: {a} in {one.title}, {b} in {other.title}.")

    found = []
    for key, name, severity in FACTS_THAT_MATTER:
        a, b = here.get(key), there.get(key)
        if a != b and None not in (a, b):
            found.append(told(severity, name, a, b))
    same_kind = here.get("gpu.name") == there.get("gpu.name")
    a, b = here.get("gpu.uuid"), there.get("gpu.uuid")
    if same_kind and a != b and None not in (a, b):
        found.append(told("info", "Not the same board", a, b))
    clock, other_clock = clock_hz(one), clock_hz(other)
    if same_kind and clock and other_clock and abs(clock / other_clock - 1) > CLOCKS_DIFFER:
        a, b = scaled(clock, "Hz"), scaled(other_clock, "Hz")
        found.append(told("warn", "SM clock while measuring", a, b))
    names = set(here.facts) | set(there.facts)
    for key in sorted(n for n in names if n.startswith("switch.")):
        a, b = here.get(key), there.get(key)
        if a != b:
            found.append(told("warn", key.removeprefix("switch."), a, b))
    if one.run.settings.get("quick") != other.run.settings.get("quick"):
        found.append(Caveat("warn", "One of the runs was taken with --quick."))
    found += _other_data(one, other)
    return found


def _other_data(one: Subject, other: Subject) -> list[Caveat]:
    """Cases of one run that the other does not have: they make no speed-up."""
    mine = {k for k, r in one.records.items() if isinstance(r.outcome, Measurement)}
    theirs = {k for k, r in other.records.items() if isinstance(r.outcome, Measurement)}
    alone = len(mine ^ theirs)
    if not alone:
        return []
    only = f"{alone} case{' was' if alone == 1 else 's were'} measured in only one of"
    return [Caveat("info", f"{only} {one.title} and {other.title}: no measured speed-up.")]


def clock_hz(subject: Subject) -> float | None:
    """Median SM clock over the measured cases of a run; None where nobody read it."""
    found = [clock for record in subject.records.values() for clock in clocks_of(record)]
    return median(found) if found else None


def verdict(comparison: Comparison) -> str:
    """``comparable``, ``comparable with caveats`` or ``not comparable``."""
    worst = {c.severity for c in caveats(comparison)}
    if "bad" in worst:
        return "not comparable"
    return "comparable with caveats" if "warn" in worst else "comparable"
