"""Can a run be trusted? Pure functions from results to findings, each with its mend."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from gpubench.analysis.environment_checks import environment_findings
from gpubench.analysis.findings import Finding, cases_text, order
from gpubench.analysis.flags import FLAGS, flag_info
from gpubench.analysis.precision_checks import precision_findings
from gpubench.analysis.quality import quality_findings
from gpubench.analysis.results import MEASURED_CPU, Result
from gpubench.analysis.tensor_cores import simt_findings
from gpubench.record import Failure, Run

TRUSTED: Final = "trusted"
CAVEATS: Final = "caveats"
NOT_TRUSTED: Final = "not_trusted"
NOTHING: Final = "nothing"

CPU_NOTICE: Final = "Measured on CPU: these numbers say nothing about a GPU."

_FAILURE_WORDS: Final = {
    "out_of_memory": "out of memory",
    "timeout": "timed out",
    "crash": "crashed",
    "error": "raised an error",
    "wrong_result": "wrong result",
}
_FAILURE_MENDS: Final = {
    "out_of_memory": "free device memory or use smaller sizes",
    "timeout": "raise `--timeout`",
    "crash": "read the traceback and update driver or libraries",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a run can be trusted.

    Attributes:
        level: ``trusted``, ``caveats``, ``not_trusted`` or ``nothing`` (nothing measured).
        headline: the verdict in one short sentence.
        scope: what the numbers are about; None where that needs no saying.
        findings: worst first.
    """

    level: str
    headline: str
    scope: str | None
    findings: tuple[Finding, ...]


def verdict(run: Run, rows: Sequence[Result]) -> Verdict:
    """Judge one run."""
    found = order(
        [
            *_coverage(run, rows),
            *_failures(rows),
            *_flagged(rows),
            *_intervals(rows),
            *_correctness(rows),
            *_clean_bills(rows),
            *precision_findings(rows),
            *simt_findings(rows),
            *quality_findings(rows),
            *environment_findings(run, rows),
        ]
    )
    scope = CPU_NOTICE if any(r.provenance == MEASURED_CPU for r in rows) else None
    level = _level(found, rows)
    return Verdict(level, _headline(level, found, rows), scope, tuple(found))


def _level(found: Sequence[Finding], rows: Sequence[Result]) -> str:
    if not any(r.summary for r in rows):
        return NOTHING
    severities = {f.severity for f in found}
    if "bad" in severities:
        return NOT_TRUSTED
    return CAVEATS if "warn" in severities else TRUSTED


def _headline(level: str, found: Sequence[Finding], rows: Sequence[Result]) -> str:
    if level == NOTHING:
        return "Nothing was measured"
    if level == TRUSTED:
        on_cpu = all(r.provenance == MEASURED_CPU for r in rows if r.summary)
        return f"These {'CPU ' if on_cpu else ''}results can be trusted"
    if level == CAVEATS:
        count = sum(f.severity == "warn" for f in found)
        return f"Usable, with {count} caveat{'s' if count > 1 else ''}"
    hit = {key for f in found if f.severity == "bad" for key in f.cases}
    measured = sum(r.summary is not None for r in rows)
    if 0 < len(hit) < measured:
        return f"Do not rely on {cases_text(len(hit))}; read the caveats for the rest"
    return "Do not rely on these results as they stand"


def _coverage(run: Run, rows: Sequence[Result]) -> Iterable[Finding]:
    """Whether the run is whole."""
    missing = max(0, run.planned - len(rows)) if run.planned is not None else 0
    if run.status == "interrupted" or (run.status == "finished" and missing):
        what = f"; {missing} of {run.planned} planned cases are missing" if missing else ""
        yield Finding(
            "interrupted",
            "warn",
            f"The run was interrupted{what}.",
            f"Continue it with `gpubench run {run.suite} --resume {run.id}`.",
        )
    elif run.status == "running":
        yield Finding(
            "running",
            "warn",
            "The run had not finished when this report was made"
            + (f"; {missing} of {run.planned} planned cases were to come." if missing else "."),
            "Make the report again once it has.",
        )
    if run.settings.get("quick"):
        yield Finding(
            "quick",
            "warn",
            "Quick mode: fewer cases and shorter measurements than the suite asks for.",
            "Run without `--quick` before quoting a number.",
        )
    if rows and not any(r.summary for r in rows):
        yield Finding(
            "nothing_measured",
            "bad",
            "No case was measured: every one was skipped or failed.",
            "See the reasons below; `gpubench doctor` says what this machine can measure.",
        )
    devices = {(r.record.device.type, r.record.device.name) for r in rows if r.summary}
    if len(devices) > 1:
        names = ", ".join(sorted(name for _, name in devices))
        yield Finding(
            "devices",
            "warn",
            f"The results come from {len(devices)} different devices ({names}).",
            "Compare cases only within one device.",
        )


def _failures(rows: Sequence[Result]) -> Iterable[Finding]:
    kinds: dict[str, list[str]] = defaultdict(list)
    for r in rows:
        if isinstance(r.record.outcome, Failure) and r.record.outcome.kind != "wrong_result":
            kinds[r.record.outcome.kind].append(r.record.case.key)
    if not kinds:
        return
    keys = [key for found in kinds.values() for key in found]
    parts = ", ".join(f"{len(v)} {_FAILURE_WORDS.get(k, k)}" for k, v in kinds.items())
    mends = [_FAILURE_MENDS[k] for k in kinds if k in _FAILURE_MENDS]
    mend = "; ".join(mends) or "read the reasons and tracebacks below"
    yield Finding(
        "failed",
        "warn",
        f"{cases_text(len(keys))} failed ({parts}) and {'has' if len(keys) == 1 else 'have'}"
        " no number.",
        mend[0].upper() + mend[1:] + ".",
        tuple(keys),
    )


def _flagged(rows: Sequence[Result]) -> Iterable[Finding]:
    carriers: dict[str, list[str]] = defaultdict(list)
    for r in rows:
        for flag in r.flags:
            if flag == "tensor_cores_not_used":
                continue  # said with its likely cause, by simt_findings
            if flag == "quick" and r.run.settings.get("quick"):
                continue  # said once, about the run
            carriers[flag].append(r.record.case.key)
    for flag in sorted(carriers, key=lambda f: list(FLAGS).index(f) if f in FLAGS else len(FLAGS)):
        info, keys = flag_info(flag), carriers[flag]
        text = info.many.replace("{cases}", cases_text(len(keys)))  # may name a stranger's flag
        yield Finding(flag, info.severity, text, info.mend or None, tuple(keys))
    spoiled = [r.record.case.key for r in rows if _mostly_spoiled(r)]
    if spoiled:
        yield Finding(
            "mostly_spoiled",
            "bad",
            f"{cases_text(len(spoiled))} had more than half of the samples spoiled, so spoiled"
            " ones had to count.",
            "Remove the cause (see throttling) and measure again.",
            tuple(spoiled),
        )


def _mostly_spoiled(result: Result) -> bool:
    if result.measurement is None:
        return False
    samples = result.measurement.samples
    return 2 * len(samples.spoiled) > len(samples.times_s)


def _intervals(rows: Sequence[Result]) -> Iterable[Finding]:
    """Intervals wider than asked, where no flag has said so already."""
    measured = [r for r in rows if r.summary]
    if not measured:
        return
    wide = [r for r in measured if _rel_ci(r) > r.record.case.policy.target_rel_ci]
    told = {"noisy", "budget", "few_samples"}
    silent = [r for r in wide if not told & set(r.flags)]
    if silent:
        worst = max(_rel_ci(r) for r in silent)
        yield Finding(
            "wide_interval",
            "warn" if worst > 0.05 else "info",
            f"{cases_text(len(silent))} missed the target interval; the widest is"
            f" ±{worst * 100:.2g} % of the median.",
            "Raise `max_time_s`, or quiet the machine.",
            tuple(r.record.case.key for r in silent),
        )
    if not wide:
        targets = {r.record.case.policy.target_rel_ci for r in measured}
        yield Finding(
            "intervals_met",
            "good",
            f"All {len(measured)} medians are known to within ±{max(targets) * 100:.2g} %"
            " (95 % interval)."
            if len(measured) > 1
            else f"The median is known to within ±{max(targets) * 100:.2g} % (95 % interval).",
        )


def _rel_ci(result: Result) -> float:
    summary = result.summary
    if summary is None or summary.n < 2:
        return float("inf")
    return summary.rel_ci


def _correctness(rows: Sequence[Result]) -> Iterable[Finding]:
    checked = [r for r in rows if r.measurement and r.measurement.accuracy]
    unchecked = [r for r in rows if r.measurement and not r.measurement.accuracy]
    wrong = [r for r in rows if "wrong_result" in r.flags]
    if unchecked:
        yield Finding(
            "unchecked",
            "warn",
            f"{cases_text(len(unchecked))} had no check of the result against FP64.",
            "Treat the speed of an unchecked result with care.",
            tuple(r.record.case.key for r in unchecked),
        )
    if checked and not wrong:
        text = f"{cases_text(len(checked))} checked against FP64; every error is within tolerance."
        yield Finding("correct", "good", text)


def _clean_bills(rows: Sequence[Result]) -> Iterable[Finding]:
    """Yield what was looked for on a GPU and found in order."""
    on_gpu = [r for r in rows if r.measurement and r.record.device.type == "cuda"]
    if not on_gpu:
        return
    read = [r for r in on_gpu if r.measurement and r.measurement.readings]
    if len(read) < len(on_gpu):
        yield Finding(
            "no_readings",
            "info",
            f"{cases_text(len(on_gpu) - len(read))} ran without clock and throttle readings, so"
            " throttling cannot be ruled out.",
            "Check with `gpubench doctor` that NVML can be read.",
        )
    elif not any("throttled" in r.flags for r in on_gpu):
        yield Finding("not_throttled", "good", "The device did not throttle while measuring.")
    used = [r for r in on_gpu if _tensor_cores(r) == "used"]
    unknown = [r for r in on_gpu if _tensor_cores(r) == "unknown"]
    if unknown:
        yield Finding(
            "tensor_cores_unknown",
            "info",
            f"Whether Tensor Cores ran could not be told for {cases_text(len(unknown))}.",
            "See the evidence in the details of the case.",
            tuple(r.record.case.key for r in unknown),
        )
    if used and not any("tensor_cores_not_used" in r.flags for r in on_gpu):
        yield Finding(
            "tensor_cores_used", "good", f"Tensor Cores were used in {cases_text(len(used))}."
        )


def _tensor_cores(result: Result) -> str | None:
    m = result.measurement
    return m.tensor_cores.verdict if m and m.tensor_cores else None
