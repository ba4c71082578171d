"""Classes of operators: names of traces, of profilers and of libraries' kernels alike."""

from __future__ import annotations

import doctest

import pytest

from gpubench.model import classes
from gpubench.model.classes import CLASSES, OTHER, by_class, class_of


def test_the_example() -> None:
    assert doctest.testmod(classes).failed == 0


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mm", "matrix products"),
        ("aten::addmm", "matrix products"),
        ("autograd::engine::evaluate_function: AddmmBackward0", "matrix products"),
        ("MmBackward0", "matrix products"),
        ("ampere_sgemm_128x64_nn", "matrix products"),
        ("nvjet_hsh_128x256_64x4_1x2_h_bz_coopA_NTT", "matrix products"),
        ("convolution_backward", "convolutions"),
        ("aten::mkldnn_convolution", "convolutions"),
        ("convolution bias gradient", "convolutions"),
        ("attention_backward", "attention"),
        ("aten::_scaled_dot_product_flash_attention_for_cpu", "attention"),
        ("aten::_cudnn_rnn", "recurrent layers"),
        ("layer_norm_backward", "normalisation"),
        ("aten::native_batch_norm", "normalisation"),
        ("softmax", "softmax and loss"),
        ("aten::_log_softmax_backward_data", "softmax and loss"),
        ("aten::nll_loss_forward", "softmax and loss"),
        ("aten::embedding_dense_backward", "embedding"),
        ("aten::_fused_adamw_", "optimizer"),
        ("adamw", "optimizer"),
        ("sgd", "optimizer"),
        ("Optimizer.step#AdamW.step", "optimizer"),
        ("void multi_tensor_apply_kernel<Metadata<4>, FusedAdamMathFunctor>", "optimizer"),
        ("triton_poi_fused_add_gelu_3", "fused by the compiler"),
        ("triton_tem_fused_mm_1", "matrix products"),
        ("aten::gelu_backward", OTHER),
        ("accumulate gradients", OTHER),
        ("_to_copy", OTHER),
        ("void at::native::vectorized_elementwise_kernel<4, at::native::AddFunctor>", OTHER),
    ],
)  # fmt: skip
def test_class_of_an_operator(name: str, expected: str) -> None:
    assert class_of(name) == expected


def test_sums_keep_the_order_of_the_classes_and_leave_none_out() -> None:
    found = by_class([("add", 1.0), ("mm", 2.0), ("addmm", 3.0), ("softmax", 0.0)])
    assert found == {"matrix products": 5.0, OTHER: 1.0}
    assert list(found) == sorted(found, key=CLASSES.index)
