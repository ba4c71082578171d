"""Every operator on the CPU: right results pass, wrong ones do not, work is counted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from gpubench.devices.cpu import CpuDevice
from gpubench.errors import InputError, Unsupported
from gpubench.ports import Workload
from gpubench.registry import workload
from tests.builders import A100, CPU

SMALL: dict[str, dict[str, Any]] = {
    "linear": {"m": 33, "n": 17, "k": 65},
    "elementwise": {"rows": 31, "cols": 65},
    "triad": {"elements": 1001},
    "reduction": {"rows": 37, "cols": 129},
    "embedding": {"tokens": 50, "dim": 24, "vocab": 100},
    "softmax": {"rows": 9, "cols": 129},
    "layernorm": {"rows": 9, "cols": 129},
    "attention": {"batch": 2, "heads": 3, "seq_len": 65, "head_dim": 16},
    "rnn": {"batch": 5, "seq_len": 7, "hidden": 24},
}
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in SMALL),
    *(("elementwise", {"function": f}) for f in ("mul", "div", "pow", "relu", "gelu", "tanh")),
    *(("elementwise", {"function": f}) for f in ("sub", "exp", "sigmoid", "silu", "sqrt", "neg")),
    ("elementwise", {"function": "mul", "inputs": 1}),
    *(("reduction", {"function": f, "axis": a}) for f in ("sum", "mean", "max") for a in (0, 1)),
    *(("rnn", {"cell": c, "direction": d}) for c in ("lstm", "gru", "vanilla")
      for d in ("forward", "forward_backward")),
    *(("attention", {"backend": b, "causal": c, "direction": d}) for b in ("auto", "math", "flash")
      for c in (False, True) for d in ("forward", "forward_backward")),
]  # fmt: skip


def made(name: str, precision: str = "fp32", **params: Any) -> Workload:
    return workload(name).from_params({**SMALL[name], **params}, precision)


@pytest.fixture(scope="module")
def shared() -> CpuDevice:
    return CpuDevice()


@pytest.fixture
def device(shared: CpuDevice) -> Iterator[CpuDevice]:
    shared.prepare("fp32")
    yield shared
    shared.prepare("fp32")


@pytest.mark.parametrize(("name", "params"), VARIANTS)
@pytest.mark.parametrize("precision", ["fp32", "fp64", "bf16"])
def test_right_results_pass_the_check(
    device: CpuDevice, name: str, params: dict[str, Any], precision: str
) -> None:
    work = made(name, precision, **params)
    try:
        accuracy = work.check(device, 5, "normal")
    except (RuntimeError, Unsupported) as error:
        if precision == "bf16" and "not implemented" in str(error):
            pytest.skip(str(error).splitlines()[0])
        raise
    assert accuracy is not None
    assert accuracy.ok, accuracy
    exact = name == "reduction" or params.get("function") in ("relu", "neg", "sqrt", "mul")
    if precision != "fp64" and accuracy.tolerance and not exact:
        # A bound far above the error would let anything pass. FP64 is its own reference.
        assert accuracy.rel_error > accuracy.tolerance / 1000


@pytest.mark.parametrize(("name", "params"), VARIANTS)
def test_a_call_runs_again_and_again_on_its_inputs(
    device: CpuDevice, name: str, params: dict[str, Any]
) -> None:
    call = made(name, **params).build(device, 1, "normal")
    first, second = call(), call()
    for a, b in zip(_tensors(first), _tensors(second), strict=True):
        assert torch.allclose(a, b, rtol=1e-5, atol=1e-6)


def _tensors(found: object) -> list[torch.Tensor]:
    return [t.detach().clone() for t in (found if isinstance(found, tuple) else (found,))]


@pytest.mark.parametrize("data", ["zeros", "uniform", "positive", "wide"])
@pytest.mark.parametrize("name", SMALL)
def test_every_distribution_can_be_checked(device: CpuDevice, name: str, data: str) -> None:
    accuracy = made(name).check(device, 5, data)
    assert accuracy is not None
    assert accuracy.ok, accuracy


@pytest.mark.parametrize("name", SMALL)
def test_keys_and_parameters_agree(name: str) -> None:
    work = made(name)
    again = workload(name).from_params(work.params(), "fp32")
    assert again == work
    assert set(SMALL[name]) <= set(work.identity())
    assert set(work.params()) <= set(workload(name).parameters())


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("elementwise", "add"), ("triad", "add"), ("softmax", "softmax"), ("reduction", "sum"),
        ("embedding", "index_select"),
    ],
)  # fmt: skip
def test_an_element_nobody_wrote_shows(
    device: CpuDevice, monkeypatch: pytest.MonkeyPatch, name: str, target: str
) -> None:
    real = getattr(torch, target)

    def forgets(*args: Any, out: torch.Tensor, **more: Any) -> torch.Tensor:
        if out.dtype == torch.float64:  # the reference
            return real(*args, out=out, **more)
        kept = out.flatten()[-1].clone()
        real(*args, out=out, **more)
        out.view(-1)[-1] = kept
        return out

    def both(*args: Any, **more: Any) -> torch.Tensor:
        return forgets(*args, **more) if "out" in more else real(*args, **more)

    monkeypatch.setattr(torch, target, both)
    accuracy = made(name).check(device, 5, "normal")
    assert accuracy is not None
    assert not accuracy.ok


def test_streams_count_bytes_and_no_flops() -> None:
    work = made("elementwise", "fp16", function="add").work()
    assert work is not None
    assert (work.flops, work.bytes) == (0.0, 3 * 2 * 31 * 65)
    work = made("embedding").work()
    assert work is not None
    assert work.bytes == 50 * (2 * 24 * 4 + 8)
    assert work.footprint_bytes == 50 * (24 * 4 + 8) + 100 * 24 * 4


def test_attention_counts_half_where_half_is_masked() -> None:
    whole, half = (made("attention", causal=c).work() for c in (False, True))
    assert whole is not None
    assert half is not None
    assert whole.flops == 4 * 6 * 65 * 65 * 16
    assert half.flops / whole.flops == (65 + 1) / 2 / 65


def test_flops_of_layers() -> None:
    linear, rnn = made("linear").work(), made("rnn", cell="gru").work()
    assert linear is not None
    assert rnn is not None
    assert linear.flops == 2 * 33 * 17 * 65 + 33 * 17
    assert rnn.flops == 2 * 2 * 7 * 5 * 3 * 24**2


def test_what_a_device_does_not_have_is_told() -> None:
    flash = made("attention", "fp32", backend="flash")
    assert flash.unsupported(A100) == "backend 'flash' takes fp16 and bf16 only"
    assert made("attention", "fp16", backend="flash").unsupported(A100) is None
    assert "needs a CUDA device" in str(made("attention", backend="cudnn").unsupported(CPU))
    assert "skip_input" in str(made("rnn", skip_input=True).unsupported(CPU))
    assert made("elementwise", function="tanh", inputs=2).unsupported(CPU) == "tanh takes one input"


def test_cancelling_is_for_products_only(device: CpuDevice) -> None:
    accuracy = made("linear", k=1024).check(device, 5, "cancelling")
    assert accuracy is not None
    assert accuracy.ok, accuracy
    with pytest.raises(Unsupported, match="defined for gemm and linear only"):
        made("softmax").check(device, 5, "cancelling")


def test_size_stands_for_all_three_of_a_linear_layer() -> None:
    work = workload("linear").from_params({"size": 64}, "fp32")
    assert work.params() == {"m": 64, "n": 64, "k": 64}
    with pytest.raises(InputError) as error:
        workload("linear").from_params({"size": -1}, "fp32")
    assert error.value.key == "size"


def test_one_backend_is_allowed_and_all_of_them_afterwards(device: CpuDevice) -> None:
    work = made("attention", backend="math")
    work.build(device, 1, "normal")
    assert not torch.backends.cuda.flash_sdp_enabled()
    device.prepare("fp32")
    assert torch.backends.cuda.flash_sdp_enabled()
    assert work.observe(device) == {"sdpa.backend": "math"}  # type: ignore[attr-defined]
    chosen = made("attention").observe(device)["sdpa.backend"]  # type: ignore[attr-defined]
    assert chosen in ("flash", "math")


def test_a_seed_gives_the_same_layer_and_leaves_the_users_generator(device: CpuDevice) -> None:
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    a, b = (made("rnn").build(device, 7, "normal")() for _ in range(2))
    assert torch.equal(a, b)  # type: ignore[arg-type]
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_wrong_gradient_shows(device: CpuDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    real = torch.autograd.grad

    def off(out: Any, inputs: Any, *rest: Any) -> Any:
        found = list(real(out, inputs, *rest))
        if out.ndim == 4:  # the measured one; the reference has no batch and heads
            found[2] = found[2] * 1.01
        return tuple(found)

    monkeypatch.setattr(torch.autograd, "grad", off)
    accuracy = made("attention", direction="forward_backward").check(device, 5, "normal")
    assert accuracy is not None
    assert not accuracy.ok
    assert "worst: gradient of V" in accuracy.reference
