from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpubench import suite as suites
from gpubench.errors import InputError
from gpubench.plan import case_key, make_plan
from gpubench.spec import Case, DeviceInfo, Plan, Suite
from tests.builders import A100, CPU

HEAD = "schema: 1\nsuite: t\nbenchmarks:\n"


def suite(body: str) -> Suite:
    lines = "".join(f"    {line}\n" for line in body.strip().splitlines())
    return suites.parse(f"{HEAD}  - name: b\n    workload: gemm\n{lines}", file="s.yaml")


def plan(body: str, device: DeviceInfo = A100, **more: object) -> Plan:
    return make_plan(suite(body), device, **more)  # type: ignore[arg-type]


def test_matrix_is_a_product_in_order() -> None:
    p = plan("matrix: {precision: [fp32, bf16], size: [8, 16]}")
    assert [(c.precision, c.params["m"]) for c in p.cases] == [
        ("fp32", 8), ("fp32", 16), ("bf16", 8), ("bf16", 16),
    ]  # fmt: skip


def test_zip_runs_in_parallel_and_multiplies_with_matrix_and_cases() -> None:
    p = plan("matrix: {batch: [1, 2]}\nzip: {m: [8, 16], n: [4, 5]}\ncases: [{k: 3}, {k: 7}]")
    found = {(c.params["batch"], c.params["m"], c.params["n"], c.params["k"]) for c in p.cases}
    assert len(p.cases) == 8
    assert found == {(b, m, n, k) for b in (1, 2) for m, n in ((8, 4), (16, 5)) for k in (3, 7)}


def test_cpu_and_quick_overrides() -> None:
    body = (
        "matrix: {size: [1024, 2048], precision: [fp32]}\n"
        "cpu: {matrix: {size: [64]}, policy: {max_time_s: 1}}\n"
        "quick: {matrix: {size: [512]}}"
    )
    assert [c.params["m"] for c in plan(body).cases] == [1024, 2048]
    on_cpu = plan(body, CPU)
    assert [(c.params["m"], c.policy.max_time_s) for c in on_cpu.cases] == [(64, 1)]
    quick = plan(body, quick=True)
    assert [c.params["m"] for c in quick.cases] == [512]
    assert quick.quick
    assert quick.cases[0].policy.max_time_s < on_cpu.cases[0].policy.max_time_s
    assert [c.params["m"] for c in plan(body, CPU, quick=True).cases] == [64]


def test_cpu_skip_gives_its_reason_to_every_case() -> None:
    p = plan("matrix: {size: [8, 16]}\ncpu: {skip: GPU only}", CPU)
    assert not p.cases
    assert {s.reason for s in p.skips} == {"GPU only"}


def test_skips_name_the_architecture_and_the_bytes() -> None:
    p = plan("matrix: {precision: [tf32, fp32], size: [64, 100000]}", CPU)
    reasons = {(s.case.precision, s.case.params["m"]): s.reason for s in p.skips}
    assert "Tensor Core" in reasons["tf32", 64]
    assert "120,000,000,000 bytes" in reasons["fp32", 100000]
    assert [c.params["m"] for c in p.cases] == [64]


def test_skip_and_only_see_names_as_given_and_the_device() -> None:
    body = (
        "matrix: {size: [8, 16, 32]}\n"
        "skip: [{if: size > 16, reason: too large}]\n"
        "only: [\"device.type == 'cuda'\", size != 8]"
    )
    p = plan(body)
    assert [c.params["m"] for c in p.cases] == [16]
    assert [s.reason for s in p.skips] == ["only: size != 8", "too large"]
    assert len(plan(body, CPU).cases) == 0


def test_baselines_are_keys_of_running_cases() -> None:
    p = plan(
        "matrix: {precision: [fp32, tf32, bf16], size: [8, 16]}\nbaseline: {precision: fp32}", CPU
    )
    by = {(c.precision, c.params["m"]): c for c in p.cases}
    assert by["bf16", 8].baseline == by["fp32", 8].key
    assert by["fp32", 8].baseline is None
    alone = plan(
        "matrix: {precision: [fp32, bf16]}\nparams: {size: 8}\nbaseline: {precision: fp32}",
        filter_text="precision == 'bf16'",
    )
    assert [c.baseline for c in alone.cases] == [None]


def test_filter() -> None:
    body = "matrix: {precision: [fp32, bf16], size: [8, 16]}"
    p = plan(body, filter_text="size == 8 and precision == 'bf16'")
    assert [(c.precision, c.params["m"]) for c in p.cases] == [("bf16", 8)]
    with pytest.raises(InputError, match="matches none of 4 cases"):
        plan(body, filter_text="size == 9")


@pytest.mark.parametrize(
    ("body", "line", "key", "words"),
    [
        ("matrix: {size: [8, 8]}", 4, "benchmarks[0]", "duplicate case"),
        ("cases: [{size: 8}, {m: 8, n: 8, k: 8}]", 4, "benchmarks[0]", "duplicate case"),
        ("matrix:\n  precision: [fp32]\n  size: [8, -1]", 8, "benchmarks[0].matrix.size", "range"),
        ("params: {m: 8, n: 8}", 4, "benchmarks[0].k", "needs 'k'"),
        ("matrix: {precision: [fp31]}\nparams: {size: 8}", 6, "benchmarks[0].matrix.precision",
         "did you mean 'fp32'"),
        ("params: {size: 8, transpose: xy}", 6, "benchmarks[0].params.transpose",
         "expected one of"),
        ("zip: {m: [1, 2], n: [1]}\nparams: {k: 3}", 6, "benchmarks[0].zip", "differ in length"),
        ("cases: []", 6, "benchmarks[0].cases", "empty"),
        ("cases:\n  - {size: 8}\n  - {size: big}", 8, "benchmarks[0].cases[1].size", "no size"),
        ("matrix: {size: [8]}\nskip: [sise > 3]", 7, "benchmarks[0].skip[0]",
         "did you mean 'size'"),
        ("matrix: {size: [8], cache: [warm]}", 6, "benchmarks[0].matrix.cache", "expected one of"),
        ("params: {size: true}", 6, "benchmarks[0].params.size", "no size"),
        ("params: {size: 8.5}", 6, "benchmarks[0].params.size", "no size"),
    ],
)  # fmt: skip
def test_errors_name_their_place(body: str, line: int, key: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        plan(body)
    error = caught.value
    assert words in str(error)
    assert (error.file, error.line, error.key) == ("s.yaml", line, key)


def test_a_billion_cases_are_refused_at_once() -> None:
    values = list(range(1, 1001))
    with pytest.raises(InputError, match="1,000,000,000 cases") as caught:
        plan(f"matrix: {{m: {values}, n: {values}, k: {values}}}")
    assert caught.value.key == "benchmarks[0].matrix"


def test_the_same_work_twice_in_a_suite_is_refused() -> None:
    text = (
        f"{HEAD}  - {{name: a, workload: gemm, params: {{size: 8}}}}\n"
        "  - {name: b, workload: gemm, params: {m: 8, n: 8, k: 8}}\n"
    )
    with pytest.raises(InputError, match="duplicate case: 'b: 8x8x8 fp32'"):
        make_plan(suites.parse(text), CPU)


def test_cache_and_data_are_part_of_the_identity_only_when_given() -> None:
    p = plan("matrix: {cache: [auto, cold, hot], data: [normal, zeros]}\nparams: {size: 8}")
    assert len({c.key for c in p.cases}) == 6
    assert {(c.policy.cache, c.policy.data) for c in p.cases} >= {("cold", "zeros")}


class TestKey:
    """A key may never change: histories hang on it."""

    def test_known_keys(self) -> None:
        assert case_key("gemm", "fp32", {"m": 256, "n": 256, "k": 256}) == "gemm-fp32-b99da1092d2f"

    def test_shorthand_and_defaults_do_not_matter(self) -> None:
        a = plan("params: {size: 64}").cases[0].key
        b = plan("params: {m: 64, n: 64, k: 64, batch: 1, transpose: nn}").cases[0].key
        c = plan("params: {k: 64.0, n: 64, m: 64, precision: fp32}", CPU).cases[0].key
        assert a == b == c

    def test_benchmark_name_and_policy_do_not_matter(self) -> None:
        a = plan("params: {size: 64}").cases[0]
        b = plan("params: {size: 64}\npolicy: {max_time_s: 9}", quick=True).cases[0]
        assert a.key == b.key


dims = st.lists(st.integers(1, 64), min_size=1, max_size=4, unique=True)
precisions = st.lists(
    st.sampled_from(["fp64", "fp32", "tf32", "fp16", "bf16"]), min_size=1, unique=True
)


@settings(max_examples=80, deadline=None)
@given(dims, dims, dims, precisions, st.sampled_from([A100, CPU]))
def test_every_point_is_planned_or_skipped_exactly_once(
    m: list[int], n: list[int], k: list[int], formats: list[str], device: DeviceInfo
) -> None:
    p = plan(f"matrix: {{m: {m}, n: {n}, k: {k}, precision: {formats}}}", device)
    everything: list[Case] = [*p.cases, *(s.case for s in p.skips)]
    assert len(everything) == len(m) * len(n) * len(k) * len(formats)
    assert len({c.key for c in everything}) == len(everything)
    assert all(s.reason for s in p.skips)
    assert not {c.precision for c in p.cases} & set(device.unsupported)
    again = plan(f"matrix: {{precision: {formats}, k: {k}, n: {n}, m: {m}}}", device)
    assert {c.key for c in again.cases} == {c.key for c in p.cases}
