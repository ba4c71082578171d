"""LSTM and GRU layers in traced steps: one operator a layer, as cuDNN runs them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from gpubench.catalogue import find
from gpubench.model import predict
from gpubench.model.recurrent import BACKWARD
from gpubench.model.step import StepSpec, predict_step, trace
from gpubench.model.trace import Operation, Recorder, as_on_a_gpu, recording


def traced(module: torch.nn.Module, shape: tuple[int, ...], half: str | None = None) -> Any:
    """(operations of forward and backward, the outputs) on the meta device."""
    recorder = Recorder()
    x = torch.empty(shape, device="meta", requires_grad=True)
    with recording(recorder), as_on_a_gpu(recorder, half):
        out, states = module(x)
        recorder.phase = "backward"
        out.float().square().sum().backward()
    return [o for o in recorder.operations if o.workload in ("rnn", "linear", "gemm")], out, states


def told(o: Operation) -> tuple[str, str, Any, Any]:
    params = dict(o.params)
    return o.phase, o.workload, params.get("hidden"), params.get("skip_input")


@pytest.mark.parametrize(("cell", "made"), [("lstm", torch.nn.LSTM), ("gru", torch.nn.GRU)])
def test_layers_are_operators_with_their_backward(cell: str, made: Any) -> None:
    found, out, states = traced(made(64, 64, 2, batch_first=True, device="meta"), (8, 5, 64))
    assert [told(o) for o in found] == [
        ("forward", "rnn", 64.0, "false"), ("forward", "rnn", 64.0, "false"),
        ("backward", "rnn", 64.0, "false"), ("backward", "rnn", 64.0, "false"),
    ]  # fmt: skip
    params = dict(found[0].params)
    assert (params["cell"], params["batch"], params["seq_len"]) == (cell, 8.0, 5.0)
    assert [o.weight for o in found] == [1.0, 1.0, BACKWARD[cell], BACKWARD[cell]]
    # What comes out has the shapes that torch gives.
    real = made(64, 64, 2, batch_first=True)(torch.zeros(8, 5, 64))
    assert out.shape == real[0].shape
    ends = states if cell == "lstm" else (states,)
    expected = real[1] if cell == "lstm" else (real[1],)
    assert [s.shape for s in ends] == [s.shape for s in expected]


def test_time_comes_first_by_default() -> None:
    found, out, _ = traced(torch.nn.GRU(32, 32, device="meta"), (7, 3, 32))
    assert dict(found[0].params)["seq_len"] == 7.0
    assert dict(found[0].params)["batch"] == 3.0
    assert out.shape == (7, 3, 32)


def test_other_widths_and_directions_are_products_apart() -> None:
    """Inputs of 20; the second layer reads both directions of the first, 2 x 32 wide."""
    layer = torch.nn.LSTM(20, 32, 2, bidirectional=True, batch_first=True, device="meta")
    found, out, _ = traced(layer, (4, 6, 20))
    forward = [o for o in found if o.phase == "forward"]
    assert [o.workload for o in forward] == ["linear", "rnn"] * 4
    sizes = [dict(o.params) for o in forward if o.workload == "linear"]
    assert [(s["m"], s["n"], s["k"]) for s in sizes] == [
        (24.0, 128.0, 20.0), (24.0, 128.0, 20.0), (24.0, 128.0, 64.0), (24.0, 128.0, 64.0),
    ]  # fmt: skip
    assert {dict(o.params).get("skip_input") for o in forward if o.workload == "rnn"} == {"true"}
    assert out.shape == (4, 6, 64)


def test_autocast_lowers_the_layers() -> None:
    found, out, _ = traced(torch.nn.LSTM(16, 16, device="meta"), (3, 2, 16), half="fp16")
    assert {o.precision for o in found} == {"fp16"}
    assert out.dtype == torch.float16


def test_what_is_not_understood_falls_into_its_products() -> None:
    found, _, _ = traced(torch.nn.LSTM(16, 16, proj_size=8, device="meta"), (3, 2, 16))
    assert "rnn" not in {o.workload for o in found}
    assert len(found) > 3


@pytest.mark.parametrize("gpu", ["p100", "v100", "a100"])
def test_a_step_takes_as_long_as_the_layers_alone(gpu: str) -> None:
    """The recurrent class of a forward pass against the workload ``rnn``, one launch apart."""
    spec = find(gpu)
    step = predict_step(spec, StepSpec.from_params({"model": "lstm", "batch": 20}, "fp32"))
    steps = dict(next(o for o in trace(StepSpec("lstm", batch=20)) if o.workload == "rnn").params)
    alone = predict(spec, "rnn", "fp32", steps)
    shown = step.prediction.classes["recurrent layers"]
    assert shown == pytest.approx(2 * alone.predicted_s, rel=0.05)
    assert step.prediction.launch_s > 0.9 * 2 * alone.launch_s
    # The band of the layers is theirs: wider than that of steps which were measured.
    rest_s = step.prediction.predicted_s - shown
    high_s = 1.15 * rest_s + 2 * alone.high_s
    assert step.prediction.high_s == pytest.approx(high_s, rel=0.02)
    assert step.prediction.high_s > 1.16 * step.prediction.predicted_s


@pytest.mark.parametrize("model", ["lstm", "gru"])
def test_a_step_is_not_a_launch_an_operator_and_time(model: str) -> None:
    training = trace(StepSpec(model, mode="training", batch=20, optimizer="sgd"))
    assert sum(o.workload == "rnn" for o in training) == 4
    assert len(training) < 60
