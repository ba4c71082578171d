"""Did it learn, and did a precision learn otherwise than FP32? On the same seeds only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from gpubench.analysis.findings import Finding, cases_text
from gpubench.analysis.results import Result

REFERENCE: Final = "fp32"
LEAST_SEEDS: Final = 2
MEASURES: Final = {"quality.entity_f1": "entity-level F1", "quality.steps": "steps to the target"}

BySeed = dict[object, Result]


def quality_findings(rows: Sequence[Result]) -> Iterable[Finding]:
    """Targets that were not reached, and precisions that differ by more than seeds do."""
    learned = [r for r in rows if _fact(r, "quality.steps") is not None]
    missed = [r for r in learned if r.measurement and not r.measurement.facts["quality.reached"]]
    if missed:
        yield Finding(
            "target_not_reached",
            "warn",
            f"{cases_text(len(missed))} did not learn to the target in the steps they had.",
            "A faster step that learns worse is no gain: look at the loss curve; try another"
            " learning rate, or more steps.",
            tuple(r.record.case.key for r in missed),
        )
    for group in _groups(learned).values():
        for precision, cases in group.items():
            if precision != REFERENCE and REFERENCE in group:
                yield from _differences(precision, cases, group[REFERENCE])


def _groups(learned: Sequence[Result]) -> Mapping[object, dict[str, BySeed]]:
    """Everything but seed and precision -> precision -> seed -> case."""
    groups: dict[object, dict[str, BySeed]] = defaultdict(lambda: defaultdict(dict))
    for r in learned:
        case = r.record.case
        rest = tuple(sorted((k, str(v)) for k, v in case.params.items() if k != "seed"))
        groups[case.benchmark, rest][case.precision][case.params.get("seed", 0)] = r
    return groups


def _differences(precision: str, cases: BySeed, reference: BySeed) -> Iterable[Finding]:
    """A mean difference over the seeds of both that exceeds the spread over seeds of each."""
    seeds = [s for s in cases if s in reference]
    if len(seeds) < LEAST_SEEDS:
        return
    for name, title in MEASURES.items():
        own = [v for s in seeds if (v := _fact(cases[s], name)) is not None]
        base = [v for s in seeds if (v := _fact(reference[s], name)) is not None]
        if len(own) != len(base):
            continue
        spread = max(max(own) - min(own), max(base) - min(base))
        mean, against = sum(own) / len(own), sum(base) / len(base)
        if abs(mean - against) > spread:
            yield Finding(
                "learns_otherwise",
                "warn",
                f"{precision} learns otherwise than {REFERENCE}: {title} {mean:.3g} against"
                f" {against:.3g}, more than {len(seeds)} seeds differ among themselves"
                f" ({spread:.2g}).",
                "Weigh it against the speed-up; more seeds say how sure it is.",
                tuple(cases[s].record.case.key for s in seeds),
            )


def _fact(result: Result, name: str) -> float | None:
    value = result.measurement.facts.get(name) if result.measurement else None
    return float(value) if isinstance(value, int | float) else None
