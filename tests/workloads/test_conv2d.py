from __future__ import annotations

from typing import Any

import pytest
import torch

from gpubench.devices.cpu import CpuDevice
from gpubench.errors import InputError, Unsupported
from gpubench.workloads.conv2d import Conv2d
from gpubench.workloads.cudnn_plans import Layer
from tests.builders import A100, CPU


def conv(precision: str = "fp32", **params: Any) -> Conv2d:
    given = {"c_in": 3, "c_out": 5, "size": 9, "batch": 3, "padding": 1, **params}
    return Conv2d.from_params(given, precision)


@pytest.fixture(scope="module")
def device() -> CpuDevice:
    return CpuDevice()


def test_flops_are_those_of_the_direct_sum() -> None:
    work = conv(size=11, width=7, kernel_size=3, kernel_width=2, stride=2, padding=0, batch=4)
    assert work.out == (5, 3)
    w = work.work()
    assert w.flops == 2 * 4 * 5 * (5 * 3) * 3 * (3 * 2)
    assert w.bytes == 4 * (4 * 3 * 11 * 7 + 5 * 3 * 3 * 2 + 4 * 5 * 5 * 3)


@pytest.mark.parametrize("direction", ["fprop", "dgrad", "wgrad"])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("algorithm", ["auto", "onednn", "native"])
@pytest.mark.parametrize("precision", ["fp32", "fp64"])
def test_right_results_pass_the_check(
    device: CpuDevice, direction: str, layout: str, algorithm: str, precision: str
) -> None:
    work = conv(precision, direction=direction, layout=layout, algorithm=algorithm)
    device.prepare(precision)
    accuracy = work.check(device, 5, "normal")
    assert accuracy.ok, accuracy
    device.prepare(precision)


@pytest.mark.parametrize("direction", ["fprop", "dgrad", "wgrad"])
def test_strides_rectangles_and_many_images(device: CpuDevice, direction: str) -> None:
    work = conv(direction=direction, size=12, width=20, kernel_size=5, kernel_width=3, stride=2,
                batch=7, c_out=12)  # fmt: skip
    accuracy = work.check(device, 5, "normal")
    assert accuracy.ok, accuracy
    assert {"fprop": "2 of 7 images", "dgrad": "2 of 7 images", "wgrad": "8 of 12 filters"}[
        direction
    ] in accuracy.reference


@pytest.mark.parametrize("direction", ["fprop", "dgrad", "wgrad"])
def test_a_wrong_result_does_not_pass(
    device: CpuDevice, direction: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = conv(direction=direction)
    real = Conv2d._call

    def scaled(self: Conv2d, x: torch.Tensor, w: torch.Tensor, g: torch.Tensor) -> Any:
        call, out = real(self, x, w, g)
        return (lambda: call() * 1.001), out

    monkeypatch.setattr(Conv2d, "_call", scaled)
    assert not work.check(device, 5, "normal").ok


@pytest.mark.parametrize("terms", [(8, 1), (64, 3), (512, 3)])
def test_tf32_in_place_of_fp32_does_not_pass(terms: tuple[int, int]) -> None:
    work = conv(c_in=terms[0], kernel_size=terms[1], size=16)
    x, w, _ = work._operands(CpuDevice(), 1, "normal")
    rounded = [(t.view(torch.int32) + 0x1000 & ~0x1FFF).view(torch.float32) for t in (x, w)]
    out = torch.nn.functional.conv2d(*(t.double() for t in rounded), None, 1, 1)
    reference = torch.nn.functional.conv2d(x.double(), w.double(), None, 1, 1)
    error = float((out - reference).norm() / reference.norm())
    assert error > 3 * work.tolerance()
    assert error < conv("tf32", c_in=terms[0], kernel_size=terms[1], size=16).tolerance()


def test_operands_lie_in_the_layout(device: CpuDevice) -> None:
    for layout, order in (("nchw", torch.contiguous_format), ("nhwc", torch.channels_last)):
        for t in conv(layout=layout)._operands(device, 1, "normal"):
            assert t.is_contiguous(memory_format=order)


def test_native_turns_onednn_off_and_the_next_case_has_it_on(device: CpuDevice) -> None:
    conv(algorithm="native").build(device, 1, "normal")
    assert not torch.backends.mkldnn.enabled
    device.prepare("fp32")
    assert torch.backends.mkldnn.enabled


@pytest.mark.parametrize(
    ("params", "key", "text"),
    [
        ({"kernel_size": 12}, "kernel_size", "does not fit into 9 + 2 * 1"),
        ({"kernel_width": 12}, "kernel_width", "does not fit"),
        ({"algorithm": "winogard"}, "algorithm", "unknown algorithm"),
        ({"layout": "nhwcc"}, "layout", "did you mean 'nhwc'"),
        ({"c_in": 0}, "c_in", "out of range"),
        ({"dilation": 2}, "dilation", "no parameter 'dilation'"),
    ],
)
def test_bad_parameters_name_themselves(params: dict[str, Any], key: str, text: str) -> None:
    with pytest.raises(InputError) as error:
        conv(**params)
    assert error.value.key == key
    assert text in str(error.value)


def test_a_missing_parameter_says_what_it_is() -> None:
    with pytest.raises(InputError, match="conv2d needs 'c_out'; expected channels of the output"):
        Conv2d.from_params({"c_in": 3, "size": 8}, "fp32")


def test_algorithms_belong_to_devices() -> None:
    assert conv(algorithm="eng12_k5=1").unsupported(A100) is None
    assert conv(algorithm="native").unsupported(A100) == (
        "algorithm 'native' needs a CPU; here there are auto, benchmark, deterministic, all"
    )
    assert "needs a CUDA device" in str(conv(algorithm="eng12").unsupported(CPU))


def test_without_the_extra_all_is_a_skip_with_the_install_line(
    device: CpuDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    from gpubench.workloads import cudnn_plans

    cudnn_plans.on_device.cache_clear()
    monkeypatch.setitem(sys.modules, "cudnn", None)
    with pytest.raises(Unsupported, match=r"pip install 'gpubench\[cudnn\]'"):
        conv(algorithm="all").expand(device)


def test_identity_leaves_defaults_out_and_layers_follow_the_precision() -> None:
    assert conv(padding=0, batch=1).identity() == {"c_in": 3, "c_out": 5, "size": 9}
    assert [Layer.of(conv(p)).exact for p in ("fp32", "tf32", "fp16")] == [True, False, False]
    assert Layer.of(conv("tf32")).dtype == "float"


def test_labels_name_shape_direction_and_algorithm() -> None:
    assert conv().label() == "3x3x9x9 k5 3x3/1 fprop nchw"
    assert conv(algorithm="eng1_k2=4", width=4).label() == "3x3x9x4 k5 3x3/1 fprop nchw eng1_k2=4"
