"""The table of all cases, and the lists of skips and failures."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

from gpubench.analysis import frame
from gpubench.analysis.attribution import attribute_all
from gpubench.analysis.findings import cases_text
from gpubench.analysis.flags import flag_info
from gpubench.analysis.results import IS_BASELINE, Result
from gpubench.analysis.scaling import efficiencies
from gpubench.record import Failure
from gpubench.report.details import detail_groups
from gpubench.report.traces import Ids, doubtful
from gpubench.report.view import Cell, Column, FailureView, Link, Row, SkipGroup
from gpubench.report.wording import FAILURES, plus_minus
from gpubench.units import scaled, show

_Cells = Callable[[Result], Cell]

_ABSENT = Cell("–")


def columns_and_rows(
    results: Sequence[Result], ids: Ids
) -> tuple[tuple[Column, ...], tuple[Row, ...], tuple[str, ...]]:
    """Columns that have something to show, the rows, and a line for each column left out."""
    used: list[tuple[Column, _Cells]] = []
    notes = []
    for column, cell, why in _COLUMNS:
        if not why or any(cell(r) not in (_ABSENT, Cell("baseline")) for r in results):
            used.append((column, cell))
        else:
            notes.append(why)
    names = {r.record.case.key: r.name for r in results}
    scaling = efficiencies(results)
    rows = tuple(
        Row(
            anchor=ids.case(r),
            status=r.record.status,
            benchmark=r.record.case.benchmark,
            precision=r.record.case.precision,
            tone=_tone(r),
            index=index,
            cells=tuple(cell(r) for _, cell in used),
            details=detail_groups(r, names, attributed, scaling.get(r.record.case.key)),
            unit=scaled(r.summary.median_s, "s").rpartition(" ")[2] if r.summary else "",
        )
        for index, (r, attributed) in enumerate(zip(results, attribute_all(results), strict=True))
    )
    return tuple(c for c, _ in used), rows, tuple(notes)


def _tone(result: Result) -> str:
    if result.record.status == "skipped":
        return "skipped"
    if result.record.status == "failed" or doubtful(result):
        return "bad"
    warned = any(flag_info(f).severity == "warn" for f in result.flags)
    return "warn" if warned else "ok"


def _case(r: Result) -> Cell:
    return Cell(r.name, r.record.case.benchmark)


def _precision(r: Result) -> Cell:
    return Cell(r.record.case.precision)


def _time(r: Result) -> Cell:
    if r.summary is None:
        return _ABSENT
    return Cell(show("time_s", r.summary.median_s), plus_minus(r.summary), r.summary.median_s)


def _noise(r: Result) -> Cell:
    if r.summary is None:
        return _ABSENT
    return Cell(show("rel_noise", r.summary.rel_noise), "", r.summary.rel_noise)


def _rate(metric: str) -> _Cells:
    def cell(r: Result) -> Cell:
        rate = r.flops_per_s if metric == "flops_per_s" else r.bytes_per_s
        return Cell(show(metric, rate.value), "", rate.value) if rate else _ABSENT

    return cell


def _share(r: Result) -> Cell:
    if r.share_of_peak is None:
        return _ABSENT
    return Cell(show("share_of_peak", r.share_of_peak), f"of {r.peak_kind}", r.share_of_peak)


def _speedup(r: Result) -> Cell:
    if r.speedup is None:
        return Cell("baseline") if r.speedup_note == IS_BASELINE else _ABSENT
    low, high = show("speedup", r.speedup.low), show("speedup", r.speedup.high)
    return Cell(show("speedup", r.speedup.value), f"{low}–{high}", r.speedup.value)


def _error(r: Result) -> Cell:
    error = r.rel_error
    if error is None:
        return _ABSENT
    sort = error if math.isfinite(error) else None
    return Cell(show("rel_error", error), "" if "wrong_result" not in r.flags else "wrong", sort)


def _notes(r: Result) -> Cell:
    if isinstance(r.record.outcome, Failure):
        kind = r.record.outcome.kind
        return Cell(f"failed: {FAILURES.get(kind, kind)}")
    if r.record.status == "skipped":
        return Cell("skipped", r.reason or "")
    return Cell(", ".join(flag_info(f).title for f in r.flags))


_COLUMNS: Sequence[tuple[Column, _Cells, str]] = (
    (Column("Case", frame.CASE, "What tells this case from others of its benchmark.", False),
     _case, ""),
    (Column("Precision", frame.PRECISION, "fp32 is always true FP32.", False), _precision, ""),
    (Column("Time", frame.TIME, "Median per call, and half its 95 % interval.", True), _time, ""),
    (Column("Noise", frame.REL_NOISE, "Interquartile range of single samples / median.", True),
     _noise, "No noise column: nothing was measured."),
    (Column("Throughput", frame.FLOPS_PER_S, "FLOPs counted / median time.", True),
     _rate("flops_per_s"), "No throughput column: no measured case has its FLOPs counted."),
    (Column("Traffic", frame.BYTES_PER_S, "Compulsory bytes / median time.", True),
     _rate("bytes_per_s"), "No traffic column: no measured case has its bytes counted."),
    (Column("Of peak", frame.SHARE_OF_PEAK, "Share of the peak that binds.", True),
     _share, "No share of peak: no peak is known for this device."),
    (Column("Speed-up", frame.SPEEDUP, "Baseline time / time, and its interval.", True),
     _speedup, "No speed-ups: no case has a measured baseline in this run."),
    (Column("Error", frame.REL_ERROR, "Relative to an FP64 reference.", True),
     _error, "No errors: no result was checked against FP64."),
    (Column("Notes", frame.FLAGS, "Flags; the details explain them.", False), _notes, ""),
)  # fmt: skip


def skip_groups(results: Sequence[Result]) -> tuple[SkipGroup, ...]:
    """Skipped cases by reason, the commonest first."""
    groups: dict[str, list[Result]] = defaultdict(list)
    for r in results:
        if r.record.status == "skipped":
            groups[r.reason or "no reason recorded"].append(r)
    ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
    return tuple(SkipGroup(why, cases_text(len(g)), _which(g)) for why, g in ordered)


def _which(group: Sequence[Result]) -> str:
    counts = Counter((r.record.case.benchmark, r.record.case.precision) for r in group)
    parts = [f"{name} {precision} ({n})" for (name, precision), n in counts.most_common(8)]
    rest = len(counts) - 8
    return ", ".join(parts) + (f" and {rest} more groups" if rest > 0 else "")


def failure_views(results: Sequence[Result], ids: Ids) -> tuple[FailureView, ...]:
    """Failed cases with reason and traceback."""
    return tuple(
        FailureView(
            link=Link(ids.case(r), r.name),
            precision=r.record.case.precision,
            kind=FAILURES.get(r.record.outcome.kind, r.record.outcome.kind),
            reason=r.record.outcome.reason,
            traceback=r.record.outcome.traceback or "",
        )
        for r in results
        if isinstance(r.record.outcome, Failure)
    )
