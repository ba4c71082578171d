"""What limits a comparison: differences of machines, libraries, settings and methods."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from gpubench.analysis.comparison import Comparison
from gpubench.record import Run


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
    runs = [(s.title, s.run) for s in comparison.subjects if s.run is not None and s.records]
    for (title, run), (other_title, other) in pairwise(runs):
        found += _differences(title, run, other_title, other)
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


def _differences(title: str, run: Run, other_title: str, other: Run) -> list[Caveat]:
    found = []
    for key, name, severity in FACTS_THAT_MATTER:
        a, b = run.environment.get(key), other.environment.get(key)
        if a != b and None not in (a, b):
            found.append(Caveat(severity, f"{name}: {a} in {title}, {b} in {other_title}."))
    names = set(run.environment.facts) | set(other.environment.facts)
    for key in sorted(n for n in names if n.startswith("switch.")):
        a, b = run.environment.get(key), other.environment.get(key)
        if a != b:
            name = key.removeprefix("switch.")
            found.append(Caveat("warn", f"{name}: {a} in {title}, {b} in {other_title}."))
    if run.settings.get("quick") != other.settings.get("quick"):
        found.append(Caveat("warn", "One of the runs was taken with --quick."))
    return found


def verdict(comparison: Comparison) -> str:
    """``comparable``, ``comparable with caveats`` or ``not comparable``."""
    worst = {c.severity for c in caveats(comparison)}
    if "bad" in worst:
        return "not comparable"
    return "comparable with caveats" if "warn" in worst else "comparable"
