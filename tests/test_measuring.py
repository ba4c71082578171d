"""gpubench.measure: in the caller's process, which is left as it was."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch

import gpubench
from gpubench.devices.borrowing import borrowed, device_of, restore, switches_now
from gpubench.errors import InputError, Unsupported

FAST: dict[str, Any] = {
    "min_time_s": 0.002, "max_time_s": 0.02, "warmup_s": 0, "min_samples": 6, "device": "cpu",
    "target_rel_ci": 0.9,
}  # fmt: skip


def test_importing_gpubench_imports_nothing_else() -> None:
    code = (
        "import sys\n"
        "before = set(sys.modules)\n"
        "import gpubench\n"
        "print(sorted(m for m in set(sys.modules) - before if m != 'gpubench'))\n"
        "print(gpubench.measure.__module__, gpubench.Measurement.__name__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert done == ["[]", "gpubench.api.measuring Measurement"]
    with pytest.raises(AttributeError, match="no attribute 'mesure'"):
        gpubench.mesure  # type: ignore[attr-defined]  # noqa: B018


def test_a_measurement_has_samples_accuracy_and_flags() -> None:
    a = torch.rand(32, 32)
    m = gpubench.measure(torch.mm, a, a, reference=torch.mm, flops=2 * 32**3, **FAST)
    s = gpubench.summarize(m)
    assert s == gpubench.summarize(m.samples)
    assert s.n == len(m.samples.times_s) >= 6
    assert 0 < s.ci_low_s <= s.median_s <= s.ci_high_s
    assert (m.method, m.cache, m.input_sets) == ("loop", "hot", 1)
    assert m.accuracy is not None
    assert m.accuracy.ok
    assert "wrong_result" not in m.flags
    wrong = gpubench.measure(torch.mm, a, a, reference=torch.add, **FAST)
    assert "wrong_result" in wrong.flags


def test_keyword_arguments_reach_the_function() -> None:
    seen: list[object] = []

    def fn(x: object, scale: object = None) -> None:
        seen.append((x, scale))

    gpubench.measure(fn, 1, kwargs={"scale": 2}, **FAST)
    assert set(seen) == {(1, 2)}


def test_setup_makes_as_many_input_sets_as_the_cache_policy_needs() -> None:
    made: list[int] = []

    def setup(seed: int, dtype: torch.dtype) -> torch.Tensor:
        made.append(seed)
        return torch.zeros(2**18, dtype=dtype)

    m = gpubench.measure(
        torch.sum, setup=setup, precision="fp64", cache="rotating", seed=5, **FAST
    )  # fmt: skip
    assert m.cache == "rotating"
    assert m.input_sets >= 2
    assert made == list(range(5, 5 + m.input_sets))


def test_rotating_over_one_set_is_called_hot() -> None:
    # A setup without tensors has no footprint to fill a cache with.
    m = gpubench.measure(lambda x: x, setup=lambda: 3, cache="rotating", **FAST)
    assert (m.cache, m.input_sets) == ("hot", 1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"cache": "rotating"}, "cache: rotating over one input set; expected setup="),
        ({"cache": "colt"}, "did you mean 'cold'"),
        ({"min_time": 1}, "did you mean 'min_time_s'"),
        ({"min_time_s": "x"}, "min_time_s: 'x' has the wrong type"),
        ({"max_samples": 0}, "max_samples"),
        ({"launches": 3}, "launches is of worker processes"),
        ({"timeout_s": 3}, "timeout_s is of worker processes"),
        ({"precision": "fp31"}, "did you mean 'fp32'"),
        ({"flops": -1}, "flops: -1 found"),
        ({"bytes": "many"}, "bytes: 'many' found"),
        ({"tolerance": True}, "tolerance: True found"),
        ({"setup": lambda: 1}, "both setup and arguments"),
        ({"device": "gpu"}, "unknown device 'gpu'"),
    ],
)
def test_bad_options(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as caught:
        gpubench.measure(abs, 1, **options)
    assert words in str(caught.value)


def test_a_precision_that_is_missing_is_refused_with_the_reason() -> None:
    with pytest.raises(Unsupported, match="Tensor Core"):
        gpubench.measure(abs, 1, precision="tf32", **FAST)


def test_what_the_function_raises_is_raised_and_nothing_stays_changed() -> None:
    torch.set_float32_matmul_precision("high")
    before = switches_now()
    try:
        with pytest.raises(ZeroDivisionError):
            gpubench.measure(lambda: 1 / 0, **FAST)
        assert switches_now() == before
    finally:
        torch.set_float32_matmul_precision("highest")


def test_auto_is_where_the_tensors_are() -> None:
    assert device_of(3, torch.zeros(1, device="meta"), torch.zeros(1)) == "meta"
    assert device_of(3) is None
    with pytest.raises(InputError, match="unknown device 'meta'"):
        gpubench.measure(torch.sum, torch.zeros(1, device="meta"))


class TestLeftAsItWas:
    def test_threads_switches_and_random_numbers(self) -> None:
        threads = torch.get_num_threads()
        torch.set_num_threads(threads + 1)
        cudnn = torch.backends.cudnn
        deterministic, cudnn.deterministic = cudnn.deterministic, True
        torch.set_float32_matmul_precision("medium")
        torch.manual_seed(11)
        wanted, state = torch.rand(3), torch.get_rng_state()
        torch.manual_seed(11)
        before, seen = switches_now(), []

        def setup() -> torch.Tensor:
            seen.append((torch.get_num_threads(), torch.get_float32_matmul_precision()))
            return torch.rand(4)

        try:
            gpubench.measure(torch.sum, setup=setup, **FAST)
            assert seen[0] == (threads + 1, "highest")
            assert switches_now() == before
            assert torch.get_num_threads() == threads + 1
            assert torch.equal(torch.rand(3), wanted)
            assert torch.equal(torch.get_rng_state(), state)
        finally:
            torch.set_num_threads(threads)
            cudnn.deterministic = deterministic
            torch.set_float32_matmul_precision("highest")

    def test_every_switch_is_read_and_restored(self) -> None:
        flash = torch.backends.cuda.flash_sdp_enabled()
        torch.backends.cuda.enable_flash_sdp(False)
        before = switches_now()
        assert {"float32_matmul_precision", "backends.cudnn.allow_tf32"} <= set(before)
        with borrowed("cpu") as device:
            device.prepare("fp32")
            assert torch.backends.cuda.flash_sdp_enabled()
            torch.set_float32_matmul_precision("medium")
            torch.backends.cudnn.allow_tf32 = not before["backends.cudnn.allow_tf32"]
            torch.backends.cudnn.benchmark = not before["backends.cudnn.benchmark"]
            matmul = torch.backends.cuda.matmul
            matmul.allow_fp16_reduced_precision_reduction = False
            matmul.allow_bf16_reduced_precision_reduction = False
            assert switches_now() != before
        assert switches_now() == before
        torch.backends.cuda.enable_flash_sdp(flash)

    def test_a_process_that_mixes_both_ways_to_set_tf32(self) -> None:
        # torch then refuses to tell the older switches; what it tells is put back.
        code = (
            "import torch\n"
            "from gpubench.devices.borrowing import borrowed, switches_now\n"
            "matmul = torch.backends.cuda.matmul\n"
            "if not hasattr(matmul, 'fp32_precision'): raise SystemExit(0)\n"
            "matmul.fp32_precision = 'tf32'\n"
            "before = switches_now()\n"
            "with borrowed('cpu') as device:\n"
            "    device.prepare('fp32')\n"
            "    assert matmul.fp32_precision == 'ieee', matmul.fp32_precision\n"
            "assert switches_now() == before, (before, switches_now())\n"
            "assert matmul.fp32_precision == 'tf32'\n"
        )
        subprocess.run([sys.executable, "-c", code], check=True)

    def test_restoring_nothing_changes_nothing(self) -> None:
        before = switches_now()
        restore({})
        assert switches_now() == before


@pytest.mark.gpu
class TestOnCuda:
    def test_auto_follows_the_tensors_and_the_stream_is_timed(self) -> None:
        a = torch.rand(1024, 1024, device="cuda")
        m = gpubench.measure(
            torch.mm, a, a, flops=2 * 1024**3, reference=torch.mm, max_time_s=0.5
        )  # fmt: skip
        assert m.method in ("events", "graph_slope", "stream_slope")
        assert m.accuracy is not None
        assert m.accuracy.ok

    def test_short_calls_rotate_over_input_sets(self) -> None:
        def setup(device: torch.device, dtype: torch.dtype) -> torch.Tensor:
            return torch.rand(2**16, device=device, dtype=dtype)

        m = gpubench.measure(torch.neg, setup=setup, device="cuda", max_time_s=0.5)
        assert m.cache == "rotating"
        assert m.input_sets > 1

    def test_switches_generator_and_current_device_are_restored(self) -> None:
        torch.cuda.manual_seed(3)
        a = torch.rand(64, 64, device="cuda")
        before, state = switches_now(), torch.cuda.get_rng_state()
        gpubench.measure(
            torch.mm, setup=lambda device: (a, torch.rand(64, 64, device=device)),
            device="cuda", max_time_s=0.2,
        )  # fmt: skip
        assert switches_now() == before
        assert torch.equal(torch.cuda.get_rng_state(), state)
