"""Findings on what was learned."""

from __future__ import annotations

from dataclasses import replace

from gpubench.analysis.findings import Finding
from gpubench.analysis.quality import quality_findings
from gpubench.analysis.results import results
from gpubench.record import Record
from gpubench.spec import Case
from tests.builders import measurement, record, run


def learned(precision: str, seed: int, f1: float, steps: int = 100, reached: bool = True) -> Record:
    case = Case(
        key=f"model-{precision}-{seed}", benchmark="learns", workload="model",
        precision=precision, params={"model": "bert-tiny", "seed": seed},
    )  # fmt: skip
    facts = {"quality.entity_f1": f1, "quality.steps": steps, "quality.reached": reached}
    return record(case, replace(measurement(*[0.1] * 8), facts=facts))


def found(*records: Record) -> list[Finding]:
    return list(quality_findings(results(run(), records)))


def test_a_target_that_was_not_reached_is_told() -> None:
    (one,) = found(learned("fp32", 0, 0.9), learned("fp32", 1, 0.2, reached=False))
    assert (one.code, one.cases) == ("target_not_reached", ("model-fp32-1",))


def test_a_difference_within_the_spread_of_seeds_is_none() -> None:
    assert not found(
        learned("fp32", 0, 0.90), learned("fp32", 1, 0.94),
        learned("bf16", 0, 0.89), learned("bf16", 1, 0.92),
    )  # fmt: skip


def test_a_difference_beyond_the_spread_of_seeds_is_a_finding() -> None:
    (one,) = found(
        learned("fp32", 0, 0.90), learned("fp32", 1, 0.92),
        learned("bf16", 0, 0.80), learned("bf16", 1, 0.81),
    )  # fmt: skip
    assert one.code == "learns_otherwise"
    assert "bf16 learns otherwise than fp32: entity-level F1 0.805 against 0.91" in one.text
    assert one.cases == ("model-bf16-0", "model-bf16-1")


def test_more_steps_to_the_same_target_are_a_finding() -> None:
    (one,) = found(
        learned("fp32", 0, 0.90, 100), learned("fp32", 1, 0.91, 125),
        learned("fp16", 0, 0.90, 300), learned("fp16", 1, 0.91, 325),
    )  # fmt: skip
    assert "steps to the target 312 against 112" in one.text


def test_other_seeds_and_single_seeds_are_not_compared() -> None:
    assert not found(learned("fp32", 0, 0.90), learned("bf16", 0, 0.10))
    assert not found(
        learned("fp32", 0, 0.90), learned("fp32", 1, 0.92),
        learned("bf16", 2, 0.10), learned("bf16", 3, 0.10),
    )  # fmt: skip
