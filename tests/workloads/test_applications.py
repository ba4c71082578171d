"""Dialogue, stream and ranking: small ones on CPU, and an open loop on a clock of its own."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from gpubench.devices.cpu import CpuDevice
from gpubench.errors import InputError
from gpubench.ports import Workload
from gpubench.registry import workload
from gpubench.stats import quantile
from gpubench.workloads.applications import dialogue, stream
from gpubench.workloads.applications.stream import arrivals, open_loop

SMALL: dict[str, dict[str, Any]] = {
    "dialogue": {"model": "gpt2-tiny", "batch": 2, "context": 12, "new_tokens": 5},
    "stream": {"model": "bert-tiny", "seq_len": 16, "seconds": 1},
    "ranking": {"users": 3, "candidates": 40, "items": 500, "history": 7, "dim": 16},
}


def made(name: str, precision: str = "fp32", **params: Any) -> Workload:
    return workload(name).from_params({**SMALL[name], **params}, precision)


@pytest.fixture(scope="module")
def device() -> CpuDevice:
    return CpuDevice()


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_right_results_pass_the_check(device: CpuDevice, name: str, precision: str) -> None:
    accuracy = made(name, precision).check(device, 3, "normal")
    assert accuracy is not None
    assert accuracy.ok, accuracy


def test_a_cache_that_is_misread_shows(device: CpuDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    real = dialogue.Generation.prefill

    def forgets(self: dialogue.Generation) -> Any:
        scores, cache = real(self)
        layer = cache.layers[0]
        layer.keys = layer.keys.roll(1, -2)  # keys no longer lie beside their values
        return scores, cache

    monkeypatch.setattr(dialogue.Generation, "prefill", forgets)
    accuracy = made("dialogue").check(device, 3, "normal")
    assert accuracy is not None
    assert not accuracy.ok


def test_an_answer_has_all_its_tokens_and_is_the_same_again(device: CpuDevice) -> None:
    call = made("dialogue").build(device, 4, "normal")
    first, second = call(), call()
    assert isinstance(first, torch.Tensor)
    assert first.shape == (2, 12 + 4)  # the last token is known by its scores
    assert torch.equal(first, second)  # type: ignore[arg-type]


def test_dialogue_tells_first_token_and_rate(device: CpuDevice) -> None:
    call: Any = made("dialogue").build(device, 4, "normal")
    facts = call.observe(device)
    assert facts["dialogue.first_token_s"] > 0
    assert facts["dialogue.tokens_per_s"] > 0


def test_a_stream_tells_percentiles_by_load(
    device: CpuDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "LOADS", (0.3, 1.2))
    call: Any = made("stream").build(device, 4, "normal")
    facts = call.observe(device)
    assert facts["stream.capacity_per_s"] == pytest.approx(1 / facts["stream.service_s"])
    for load in ("0.3", "1.2"):
        assert 0 < facts[f"stream.p50_s_at_{load}"] <= facts[f"stream.p99_s_at_{load}"]


@pytest.mark.parametrize(("true", "found"), [(0.93, 0.95), (0.1, 0.1125), (1.19, 1.2), (2.0, None)])
def test_the_breaking_load_is_narrowed_down(true: float, found: float | None) -> None:
    told: list[tuple[str, int, int]] = []
    at = stream.breaking_load(lambda load: load >= true, lambda *said: told.append(said))
    assert at == (None if found is None else pytest.approx(found))
    rounds = len(stream.LOADS) + (stream.HALVINGS if found else 0)
    assert [done for _, done, _ in told] == list(range(rounds))


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


def test_latency_counts_from_when_a_request_was_due() -> None:
    clock = Clock()
    found = open_loop(lambda: clock.wait(0.1), [0.0, 0.01, 0.02, 1.0], clock, clock.wait)
    assert found == pytest.approx([0.1, 0.19, 0.28, 0.1])


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_the_open_loop_queues_as_theory_says(load: float) -> None:
    """M/D/1: mean wait is load / (2 (1 - load)) service times (Pollaczek-Khinchine)."""
    clock = Clock()
    due = arrivals(load, 200_000, 1)
    latencies = open_loop(lambda: clock.wait(1.0), due, clock, clock.wait)
    wait = sum(latencies) / len(latencies) - 1.0
    assert wait == pytest.approx(load / (2 * (1 - load)), rel=0.05)
    assert quantile(sorted(latencies), 0.99) > 2.0


def test_arrivals_have_their_rate_and_seed() -> None:
    assert arrivals(10.0, 20_000, 3)[-1] == pytest.approx(2000, rel=0.03)
    assert arrivals(10.0, 5, 3) == arrivals(10.0, 5, 3) != arrivals(10.0, 5, 4)


def test_impossible_parameters_are_refused() -> None:
    with pytest.raises(InputError, match="at most 1024 together") as error:
        made("dialogue", context=1020, new_tokens=10)
    assert error.value.key == "context"
    with pytest.raises(InputError, match="multiple of 4"):
        made("ranking", dim=18)
    with pytest.raises(InputError, match="did you mean 'gpt2"):
        made("dialogue", model="gpt2-tiny2")


def test_ranking_counts_lookups_and_products() -> None:
    work = made("ranking").work()
    assert work is not None
    assert work.bytes == 2 * 4 * 3 * 47 * 16
    assert work.footprint_bytes > 500 * 16 * 4


def test_without_the_extra_the_install_line_is_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.builders import CPU

    for module in (dialogue, stream):
        monkeypatch.setattr(module, "find_spec", lambda _name: None)
    for name in ("dialogue", "stream"):
        assert "pip install 'gpubench[models]'" in str(made(name).unsupported(CPU))
