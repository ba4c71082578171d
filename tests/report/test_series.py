"""Which cases of a benchmark make a line."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gpubench.analysis.results import results
from gpubench.plan import case_key
from gpubench.record import Record, Run
from gpubench.registry import workload
from gpubench.report.axes import sweep_axis
from gpubench.report.series import crossed, series_of
from gpubench.spec import Case, Policy
from tests.builders import measurement, record

RUN = Run(id="r", suite="s", started_at="2026-01-01T00:00:00+00:00")


def made(name: str, precision: str = "fp32", cache: str = "auto", **params: Any) -> Record:
    work = workload(name).from_params(params, precision)
    case = Case(
        key=case_key(name, precision, {**work.identity(), "cache": cache}), benchmark="b",
        workload=name, precision=precision, params=work.params(), policy=Policy(cache=cache),
        work=work.work(), label=work.label(),
    )  # fmt: skip
    return replace(record(), case=case, outcome=measurement())


def drawn(records: list[Record]) -> tuple[str | None, bool, list[str]]:
    rows = results(RUN, records)
    axis = sweep_axis(rows)
    assert axis is not None
    return axis.param, axis.lines, [s.name for s in series_of(rows, axis.param)]


def test_a_sweep_by_precision_is_as_it_was() -> None:
    rows = [made("gemm", p, size=n) for p in ("fp32", "fp64") for n in (64, 128)]
    assert drawn(rows) == ("k", True, ["fp64", "fp32"])


def test_cache_states_are_lines_of_their_own() -> None:
    rows = [made("memcpy", cache=c, bytes=n) for c in ("hot", "cold") for n in (2**20, 2**24)]
    assert drawn(rows) == ("bytes", True, ["fp32 hot", "fp32 cold"])


def test_backends_and_masks_are_lines_of_their_own() -> None:
    rows = [
        made("attention", seq_len=s, backend=b, causal=c)
        for s in (128, 256) for b in ("math", "flash") for c in (True, False)
    ]  # fmt: skip
    assert drawn(rows) == (
        "seq_len", True,
        ["fp32 causal math", "fp32 not causal math", "fp32 causal flash", "fp32 not causal flash"],
    )  # fmt: skip


def test_without_a_size_the_largest_choice_is_the_axis() -> None:
    rows = [
        made("elementwise", p, rows=64, cols=64, function=f)
        for p in ("fp32", "fp64") for f in ("add", "gelu", "tanh")
    ]  # fmt: skip
    # The operands follow from the function: they are no size.
    assert drawn(rows) == ("function", False, ["fp64", "fp32"])


def test_shapes_from_a_list_are_not_taken_for_variants() -> None:
    shapes = [(16, 32, 64, "nn"), (64, 32, 128, "nt"), (128, 128, 16, "tn"), (8, 8, 512, "nn")]
    rows = [made("gemm", m=m, n=n, k=k, transpose=t) for m, n, k, t in shapes]
    assert crossed(results(RUN, rows)) == ()
    assert drawn(rows) == (None, False, ["fp32"])


def test_too_many_variants_fall_back_to_precision() -> None:
    names = [f"eng{i}" for i in range(20)]
    rows = [
        made("conv2d", c_in=8, c_out=8, size=s, padding=1, algorithm=a)
        for s in (16, 32) for a in names
    ]  # fmt: skip
    assert drawn(rows)[2] == ["fp32"]


def test_variants_of_one_precision_differ_in_colour_and_of_several_in_marker() -> None:
    one = [made("attention", seq_len=s, backend=b) for s in (64, 128) for b in ("math", "flash")]
    lines = series_of(results(RUN, one), "seq_len")
    assert len({s.color for s in lines}) == 2
    two = [*one, *(made("attention", "fp64", seq_len=s, backend=b) for s in (64, 128)
                   for b in ("math", "flash"))]  # fmt: skip
    lines = series_of(results(RUN, two), "seq_len")
    assert len({(s.color, s.symbol) for s in lines}) == 4
    assert len({s.color for s in lines}) == 2
