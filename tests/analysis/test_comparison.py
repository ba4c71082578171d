from __future__ import annotations

from dataclasses import replace

import pytest

from gpubench.analysis.caveats import Caveat, caveats, verdict
from gpubench.analysis.comparison import Comparison, Subject, Value, compare
from gpubench.analysis.gains import class_speedups, disagreements, tensor_core_gains, why
from gpubench.catalogue import find
from gpubench.record import DeviceRef, Environment, Failure, Record
from gpubench.spec import Case
from tests.builders import gemm_case, measurement, record, run

CASES = [gemm_case(p, n) for p in ("fp32", "fp16") for n in (512, 4096)]


def gpu(name: str, *found: Record) -> Subject:
    spec = find(name)
    head = run(f"run-{name}") if found else None
    return Subject(name, spec.name, "gpu", spec, head, {r.case.key: r for r in found})


def on_gpu(case: Case, key: str, time_s: float) -> Record:
    made = record(case, measurement(*[time_s] * 10))
    return replace(made, device=DeviceRef("cuda", "GPU", key))


def both(*found: Record) -> Comparison:
    return compare("t", "", [gpu("a100", *found), gpu("v100")], CASES)


def test_without_runs_everything_is_predicted_with_a_band() -> None:
    c = both()
    assert [r.case.key for r in c.rows] == [x.key for x in CASES]
    for row in c.rows:
        for e in row.entries:
            p = e.values["predicted"]
            assert p.low_s <= p.time_s <= p.high_s
            assert p.bound
            assert "measured" not in e.values
    assert c.reference.name == "v100"


def test_speedups_never_mix_provenances() -> None:
    c = both(on_gpu(CASES[1], "a100-sxm4-40gb", 1e-3))
    row = c.rows[1]
    assert set(row.entries[0].values) >= {"measured", "predicted"}
    assert "measured" not in row.entries[1].values
    found = row.speedup(0)
    assert found is not None
    assert found.provenance == "predicted"
    assert row.speedup(0, "measured") is None
    assert found.low <= found.ratio <= found.high


def test_measured_over_measured_where_both_were() -> None:
    a = gpu("a100", on_gpu(CASES[0], "a100-sxm4-40gb", 1e-3))
    b = gpu("v100", on_gpu(CASES[0], "v100-sxm2-16gb", 3e-3))
    found = compare("t", "", [a, b], CASES).rows[0].speedup(0)
    assert found is not None
    assert (found.provenance, found.ratio) == ("measured", pytest.approx(3.0))


def test_model_error_and_disagreement() -> None:
    expected = both().rows[1].entries[0].values["predicted"]
    right = both(on_gpu(CASES[1], "a100-sxm4-40gb", expected.time_s))
    assert right.rows[1].entries[0].model_error == pytest.approx(0.0)
    assert (0, right.rows[1]) not in disagreements(right)
    wrong = both(on_gpu(CASES[1], "a100-sxm4-40gb", 10 * expected.high_s))
    assert disagreements(wrong)[0] == (0, wrong.rows[1])
    assert wrong.rows[1].entries[0].model_error == pytest.approx(
        expected.time_s / (10 * expected.high_s) - 1
    )


def test_published_values_join_for_the_same_work() -> None:
    deepbench = [gemm_case("fp32"), gemm_case("fp16")]
    from gpubench.plan import case_key
    from gpubench.workloads.gemm import Gemm

    made = Gemm(m=7000, n=2048, k=2048, precision="fp32")
    case = replace(
        deepbench[0], key=case_key("gemm", "fp32", made.identity()), params=made.params()
    )
    c = compare("t", "", [gpu("a100"), gpu("v100")], [case])
    published = c.rows[0].entries[1].values["published"]
    # DeepBench, V100 sheet: 2048 x 7000 x 2048 takes 4.19 ms at 14 TFLOP/s.
    assert 3.5e-3 < published.time_s < 5e-3
    assert "DeepBench" in published.source
    assert "published" not in c.rows[0].entries[0].values


def test_class_means_are_apart_for_each_provenance() -> None:
    a = gpu("a100", *(on_gpu(x, "a100-sxm4-40gb", 1e-3) for x in CASES[:2]))
    b = gpu("v100", *(on_gpu(x, "v100-sxm2-16gb", 2e-3) for x in CASES[:2]))
    found = class_speedups(compare("t", "", [a, b], CASES))
    kinds = {(f.precision, f.provenance): f for f in found}
    assert kinds["fp32", "measured"].ratio == pytest.approx(2.0)
    assert kinds["fp32", "measured"].cases == 2
    assert ("fp16", "measured") not in kinds
    assert kinds["fp16", "predicted"].cases == 2


def test_why_names_bound_and_peaks() -> None:
    c = both()
    text = why(c, c.rows[3], 0)
    assert "compute-bound" in text
    assert "fp16 Tensor Core peak" in text


def test_the_two_terms_of_the_article_add_up() -> None:
    gains = tensor_core_gains(both())
    assert {g.case.precision for g in gains} == {"fp16"}
    for g in gains:
        assert g.tensor_core_s + g.other_s == pytest.approx(g.total_s)
        assert g.gain == pytest.approx(g.cuda_core_s / g.total_s)
    large = [g for g in gains if g.case.params["m"] == 4096]
    assert all(g.gain > 3 for g in large)


def test_a_precision_that_a_gpu_lacks_is_said() -> None:
    c = compare(
        "t", "", [gpu("a100"), gpu("v100")], [gemm_case("tf32", 512)],
        lambda s, x: None if s.spec and s.spec.supports(x.precision) else "no tf32 here",
    )  # fmt: skip
    assert c.rows[0].entries[1].reason == "no tf32 here"
    assert c.rows[0].speedup(0) is None


def test_a_failed_case_keeps_its_reason() -> None:
    failed = replace(record(CASES[0], Failure("crash", "SIGSEGV")), device=DeviceRef("cuda", "G"))
    c = both(failed)
    assert c.rows[0].entries[0].reason == "SIGSEGV"
    assert "predicted" in c.rows[0].entries[0].values


class TestCaveats:
    def runs(self, **facts: tuple[object, object]) -> Comparison:
        subjects = []
        for i in range(2):
            found = {k: v[i] for k, v in facts.items()}
            env = Environment({k.replace("__", "."): v for k, v in found.items()})  # type: ignore[misc]
            head = run(f"r{i}", environment=env)
            subjects.append(
                Subject(f"r{i}", f"r{i}", "run", None, head, {CASES[0].key: record(CASES[0])})
            )
        return compare("t", "", subjects, CASES[:1])

    def test_equal_runs_are_comparable(self) -> None:
        c = self.runs(gpu__driver=("580", "580"))
        assert verdict(c) == "comparable"
        assert caveats(c) == ()

    def test_another_driver_is_a_caveat(self) -> None:
        c = self.runs(gpu__driver=("580", "570"), torch__version=("2.13", "2.13"))
        assert verdict(c) == "comparable with caveats"
        assert caveats(c) == (Caveat("warn", "driver: 580 in r0, 570 in r1."),)

    def test_a_switch_that_was_set_in_one_is_a_caveat(self) -> None:
        c = self.runs(switch__NVIDIA_TF32_OVERRIDE=("0", None))
        assert "NVIDIA_TF32_OVERRIDE" in caveats(c)[0].text

    def test_mig_in_one_is_not_comparable(self) -> None:
        assert verdict(self.runs(gpu__mig=(True, False))) == "not comparable"

    def test_a_cpu_run_beside_a_gpu_is_not_comparable(self) -> None:
        cpu = Subject("r", "r", "run", None, run(), {CASES[0].key: record(CASES[0])})
        c = compare("t", "", [cpu, gpu("v100")], CASES)
        assert verdict(c) == "not comparable"
        assert any("CPU" in x.text for x in caveats(c))


def test_values_are_frozen() -> None:
    with pytest.raises(AttributeError):
        Value("measured", 1, 1, 1, "x").time_s = 2  # type: ignore[misc]
