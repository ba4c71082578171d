"""Facts of the subjects side by side, with their ratios to the reference."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from gpubench.analysis.caveats import clock_hz
from gpubench.analysis.comparison import Comparison, Subject
from gpubench.catalogue import GpuSpec
from gpubench.record import Fact as Value
from gpubench.report.comparison.marks import ABSENT, Names, times
from gpubench.report.comparison.view import Line, TableView
from gpubench.report.environment import show_fact
from gpubench.report.view import Cell, Column
from gpubench.spec import PRECISIONS
from gpubench.units import bytes_iec, scaled

_Number = Callable[[GpuSpec], float | None]

_NUMBERS: Final[tuple[tuple[str, _Number, Callable[[float], str]], ...]] = (
    ("Memory bandwidth", lambda g: g.memory_bw_bytes_per_s, lambda v: scaled(v, "B/s")),
    ("Memory", lambda g: g.memory_bytes, bytes_iec),
    ("L2 cache", lambda g: g.l2_bytes, bytes_iec),
    ("Multiprocessors (SMs)", lambda g: g.sm_count, lambda v: f"{v:.0f}"),
    ("Boost clock", lambda g: g.boost_hz, lambda v: scaled(v, "Hz")),
    ("Power limit (TDP)", lambda g: g.tdp_w, lambda v: scaled(v, "W")),
    ("NVLink, both directions", lambda g: g.nvlink_bytes_per_s, lambda v: scaled(v, "B/s")),
    ("FLOP/B at the fp16 peak",
     lambda g: (g.peak_flops("fp16") or 0) / g.memory_bw_bytes_per_s or None,
     lambda v: scaled(v, "FLOP/B")),
)  # fmt: skip


def facts_table(comparison: Comparison, names: Names) -> TableView:
    """Datasheet facts and runs, one column a subject."""
    columns = [Column("Fact", "fact", "", False)]
    columns += [
        Column(name, name, subject.title, True)
        for name, subject in zip(names.subjects, comparison.subjects, strict=True)
    ]
    lines = [
        *_texts(comparison), *_peaks(comparison), *_numbers(comparison), *_conditions(comparison)
    ]  # fmt: skip
    return TableView(
        "Facts side by side",
        tuple(columns),
        tuple(lines),
        "Dense datasheet peaks with FP32 accumulation; below each value its ratio to"
        f" {names.reference}.",
        _sources(comparison, names),
    )


def _line(label: str, cells: list[Cell]) -> Iterator[Line]:
    if any(c.text != ABSENT for c in cells):
        yield Line((Cell(label), *cells))


def _texts(comparison: Comparison) -> Iterator[Line]:
    for label, pick in (("Device", _device), ("Architecture", _architecture), ("Run", _run)):
        yield from _line(label, [Cell(pick(s) or ABSENT) for s in comparison.subjects])


def _device(subject: Subject) -> str:
    found = dict.fromkeys(r.device.name for r in subject.records.values())
    if subject.kind == "run" and found:
        on_cpu = any(r.device.type == "cpu" for r in subject.records.values())
        return next(iter(found)) + (" (CPU)" if on_cpu else "")
    return subject.title


def _architecture(subject: Subject) -> str:
    g = subject.spec
    if g is None:
        return ""
    year = f", {g.year}" if g.year else ""
    major, minor = g.compute_capability
    return f"{g.architecture} {g.chip}, {major}.{minor}{year}"


def _run(subject: Subject) -> str:
    if subject.run is None:
        return ""
    env = subject.run.environment
    stack = [
        f"{title} {env.get(key)}"
        for title, key in (("PyTorch", "torch.version"), ("CUDA", "torch.cuda"),
                           ("driver", "gpu.driver"))
        if env.get(key) is not None
    ]  # fmt: skip
    return " · ".join([subject.run.id, *stack])


_CONDITIONS: Final = (
    ("gpu.driver", "Driver"), ("torch.version", "PyTorch"), ("torch.cuda", "CUDA"),
    ("cudnn.version", "cuDNN"), ("gpu.power_limit_w", "Power limit as set"), ("gpu.ecc", "ECC"),
    ("gpu.clock_locked", "Clocks locked"), ("gpu.mig", "MIG"), ("cpu.threads_used", "Threads"),
)  # fmt: skip
"""Conditions of the runs; what differs is a caveat as well."""


def _conditions(comparison: Comparison) -> Iterator[Line]:
    """Under what the stored runs were taken."""
    began = [s.run.started_at[:16].replace("T", " ") if s.run and s.records else ABSENT
             for s in comparison.subjects]  # fmt: skip
    yield from _line("Began", [Cell(b) for b in began])
    for key, label in _CONDITIONS:
        told = [s.run.environment.get(key) if s.run else None for s in comparison.subjects]
        differs = len({str(v) for v in told if v is not None}) > 1
        yield from _line(label, [
            Cell(_told(key, v), "differs" if differs else "") if v is not None else Cell(ABSENT)
            for v in told
        ])  # fmt: skip
    clocks = [clock_hz(s) for s in comparison.subjects]
    yield from _line("SM clock while measuring",
                     [Cell(scaled(c, "Hz")) if c else Cell(ABSENT) for c in clocks])  # fmt: skip


def _told(key: str, value: Value) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return show_fact(key, value)


def _peaks(comparison: Comparison) -> Iterator[Line]:
    for precision in PRECISIONS:
        used = [s.spec.peak_flops(precision) if s.spec else None for s in comparison.subjects]
        reference = used[-1]
        cells = []
        for subject, peak in zip(comparison.subjects, used, strict=True):
            if subject.spec is None or not peak:
                cells.append(Cell(ABSENT, "" if subject.spec is None else "no such units"))
                continue
            units = "Tensor Cores" if subject.spec.peak_flops(precision, True) else "CUDA cores"
            cells.append(Cell(scaled(peak, "FLOP/s"), _ratio(peak, reference, subject, comparison,
                                                             units)))  # fmt: skip
        yield from _line(f"{precision} peak", cells)


def _ratio(
    value: float,
    reference: float | None,
    subject: Subject,
    comparison: Comparison,
    said: str = "",
) -> str:
    parts = [said] if said else []
    if reference and value != reference and subject is not comparison.reference:
        parts.append(times(value / reference))
    return " · ".join(parts)


def _numbers(comparison: Comparison) -> Iterator[Line]:
    for label, pick, text in _NUMBERS:
        values = [pick(s.spec) if s.spec else None for s in comparison.subjects]
        cells = [
            Cell(text(v), _ratio(v, values[-1], s, comparison)) if v else Cell(ABSENT)
            for s, v in zip(comparison.subjects, values, strict=True)
        ]
        yield from _line(label, cells)


def _sources(comparison: Comparison, names: Names) -> str:
    """Where the facts come from, and what to know about them."""
    parts = []
    for name, subject in zip(names.subjects, comparison.subjects, strict=True):
        g = subject.spec
        said = f"{g.source}{f' ({g.notes})' if g.notes else ''}" if g else "not in the catalogue"
        parts.append(f"{name}: {said}.")
    return " ".join(["Sources.", *parts])
