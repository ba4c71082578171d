"""Tracing and summing whole steps; networks small enough to be quick."""

from __future__ import annotations

import builtins
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gpubench.catalogue import find
from gpubench.errors import InputError
from gpubench.model import predict
from gpubench.model.networks import alexnet, build, resnet50
from gpubench.model.step import (
    GAP_S,
    PRODUCT_GAP_S,
    PRODUCTS,
    StepSpec,
    predict_step,
    sum_up,
    trace,
)
from gpubench.model.trace import Operation, Recorder, as_on_a_gpu, recording

pytest.importorskip("transformers")

BERT = {
    "model_type": "bert", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 128, "vocab_size": 500,
}  # fmt: skip


@pytest.fixture
def bert(tmp_path: Path) -> str:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(BERT))
    return str(path)


def spec(model: str, **more: Any) -> StepSpec:
    return StepSpec(model, **{"batch": 2, "seq_len": 32, "head": "sequence-classification", **more})


def products(operations: tuple[Operation, ...]) -> list[Operation]:
    return [o for o in operations if o.workload in ("gemm", "linear", "conv2d", "attention")]


def flops(operations: tuple[Operation, ...]) -> float:
    total = 0.0
    for o in operations:
        p: dict[str, Any] = dict(o.params)
        if o.workload in ("gemm", "linear"):
            total += 2 * p["m"] * p["n"] * p["k"] * p.get("batch", 1)
        elif o.workload == "conv2d":
            out = (p["size"] + 2 * p["padding"] - p["kernel_size"]) // p["stride"] + 1
            total += 2 * p["batch"] * p["c_in"] * p["c_out"] * out**2 * p["kernel_size"] ** 2
    return total


@pytest.mark.parametrize("mode", ["inference", "training"])
def test_flops_are_those_that_torch_counts(bert: str, mode: str) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    s = spec(bert, mode=mode, attention="eager")
    network = build(bert, batch=2, seq_len=32, head=s.head, attention="eager")
    network.module.train(mode == "training")
    with FlopCounterMode(display=False) as counter:
        loss = network.loss(network.module(**network.inputs))
        if mode == "training":
            loss.backward()
    assert flops(trace(s)) == pytest.approx(counter.get_total_flops())


def test_convolutions_forward_and_both_gradients() -> None:
    forward = flops(trace(StepSpec("alexnet", "inference", 4)))
    step = trace(StepSpec("alexnet", "training", 4))
    # AlexNet: 1.43 GFLOP an image (0.71 G multiply-adds); training about three times that.
    assert forward == pytest.approx(4 * 1.43e9, rel=0.01)
    assert 2.8 * forward < flops(step) < 3.0 * forward
    directions = {dict(o.params)["direction"] for o in step if o.workload == "conv2d"}
    assert directions == {"fprop", "dgrad", "wgrad"}


def test_parameters_of_the_built_in_networks() -> None:
    with torch.device("meta"):
        count = {f: sum(p.numel() for p in f().parameters()) for f in (alexnet, resnet50)}
    assert count[alexnet] == 61_100_840
    assert count[resnet50] == 25_557_032


def test_orientations_of_a_linear_layer() -> None:
    recorder = Recorder()
    layer = torch.nn.Linear(16, 8, device="meta")
    x = torch.empty(4, 16, device="meta", requires_grad=True)
    with recording(recorder), as_on_a_gpu(recorder, None):
        out = layer(x)
        recorder.phase = "backward"
        out.square().sum().backward()
    found = {
        (o.phase, o.workload, dict(o.params).get("transpose"))
        for o in products(tuple(recorder.operations))
    }
    assert found == {
        ("forward", "linear", None), ("backward", "gemm", "nn"), ("backward", "gemm", "tn"),
    }  # fmt: skip


def test_views_are_free_and_broadcasts_cost_what_is_stored() -> None:
    recorder = Recorder()
    a, row = torch.empty(100, 10, device="meta"), torch.empty(10, device="meta")
    with recording(recorder):
        a.view(10, 100).t().unsqueeze(0)
        assert not recorder.operations
        a + row.expand(100, 10)
    (only,) = recorder.operations
    assert dict(only.params)["rows"] * 8 == pytest.approx(4 * (1000 + 10 + 1000), abs=8)


def test_sdpa_is_one_operator_with_its_backward(bert: str) -> None:
    found = [
        o for o in trace(spec(bert, mode="training", attention="sdpa")) if o.workload == "attention"
    ]
    assert [o.phase for o in found] == ["forward"] * 2 + ["backward"] * 2
    assert found[0].weight == 1.0 < found[-1].weight
    assert dict(found[0].params)["head_dim"] == 16
    eager = trace(spec(bert, attention="eager"))
    assert not [o for o in eager if o.workload == "attention"]
    assert [o for o in eager if o.workload == "softmax"]


def test_dropout_is_one_kernel(bert: str) -> None:
    names = [o.name for o in trace(spec(bert, mode="training")) if o.phase == "forward"]
    assert "native_dropout" in names
    assert "bernoulli_" not in names


def test_autocast_lowers_products_and_casts_each_weight_once(bert: str) -> None:
    half = trace(spec(bert, mode="training", precision="fp16"))
    assert {o.precision for o in products(half)} == {"fp16"}
    casts = [o for o in half if o.name == "_to_copy" and o.phase == "forward"]
    layers = [o for o in half if o.workload == "linear" and o.phase == "forward"]
    # At least weight and bias of every layer, and nothing like once a product.
    assert len(casts) >= 2 * len(layers) - 2
    plain = trace(spec(bert, mode="training"))
    assert not [o for o in plain if o.name == "_to_copy" and o.phase == "forward"][3:]
    assert flops(half) == flops(plain)


def test_half_precision_inference_stores_the_weights_so(bert: str) -> None:
    half = trace(spec(bert, precision="bf16"))
    assert {o.precision for o in products(half)} == {"bf16"}


def test_tf32_is_a_precision_of_products_alone(bert: str) -> None:
    found = trace(spec(bert, precision="tf32"))
    assert {o.precision for o in products(found)} == {"tf32"}
    assert {o.precision for o in found if o.workload == "softmax"} <= {"fp32"}


def test_lora_trains_less(bert: str) -> None:
    pytest.importorskip("peft")
    full = trace(spec(bert, mode="training", optimizer="adamw"))
    lora = trace(spec(bert, mode="training", optimizer="adamw", adapter="lora"))

    def optimizer_bytes(found: tuple[Operation, ...]) -> float:
        return sum(dict(o.params)["rows"] for o in found if o.phase == "optimizer")  # type: ignore[misc]

    assert optimizer_bytes(lora) < 0.2 * optimizer_bytes(full)


def test_the_step_is_the_sum_of_its_operators(bert: str) -> None:
    gpu = replace(find("a100"), tdp_w=1e6)  # no power limit in the way
    operations = trace(spec(bert))
    step = sum_up(gpu, operations)
    total = 0.0
    for o in operations:
        p = predict(gpu, o.workload, o.precision, dict(o.params))
        gap = PRODUCT_GAP_S if o.workload in PRODUCTS else GAP_S
        # The queue hides all of a launch but the gap to the kernel before.
        total += o.weight * (p.predicted_s - p.launch_s + gap)
    assert step.prediction.predicted_s == pytest.approx(total, rel=1e-6)
    assert sum(s.time_s for s in step.shares) == pytest.approx(step.prediction.predicted_s)
    assert sum(s.count for s in step.shares) == len(operations)


def test_more_work_takes_longer_and_a_faster_gpu_less() -> None:
    a100, v100 = find("a100"), find("v100")
    small = StepSpec("bert-base", "training", 8, 128, precision="fp16")
    large = replace(small, batch=32)
    times = [
        predict_step(gpu, s).prediction.predicted_s
        for gpu, s in ((a100, small), (a100, large), (v100, large))
    ]
    assert times == sorted(times)


def test_the_power_limit_holds_on_average_over_the_step() -> None:
    t4 = find("t4")
    step = predict_step(t4, StepSpec("bert-base", "inference", 16, 256, "eager"))
    p = step.prediction
    assert p.energy_j is not None
    assert t4.tdp_w is not None
    assert p.energy_j / p.predicted_s == pytest.approx(t4.tdp_w, rel=0.03)
    # Long operators alone, each under the limit by itself, take longer: in the step they draw
    # what the memory-bound ones leave.
    large = StepSpec("bert-base", "inference", 256, 256, "eager")
    alone = sum(
        o.weight * predict(t4, o.workload, o.precision, dict(o.params)).predicted_s
        for o in trace(large)
    )
    assert predict_step(t4, large).prediction.predicted_s < alone


class TestBadInput:
    def test_unknown_model_has_a_near_miss(self) -> None:
        with pytest.raises(InputError) as caught:
            trace(StepSpec("bert-bse"))
        assert caught.value.nearest == "bert-base"

    @pytest.mark.parametrize(
        ("params", "words"),
        [
            ({}, "'model' is missing"),
            ({"model": "gpt2", "mode": "trainig"}, "did you mean 'training'"),
            ({"model": "gpt2", "optimizer": "adam"}, "did you mean 'adamw'"),
            ({"model": "gpt2", "batch": "many"}, "positive integer"),
            ({"model": "gpt2", "batch": 1.5}, "positive integer"),
            ({"model": "gpt2", "btach": 1}, "did you mean 'batch'"),
        ],
    )
    def test_parameters(self, params: dict[str, Any], words: str) -> None:
        with pytest.raises(InputError, match=words):
            StepSpec.from_params(params, "fp32")

    def test_precision(self) -> None:
        with pytest.raises(InputError, match="not modelled in fp64"):
            StepSpec.from_params({"model": "gpt2"}, "fp64")
        with pytest.raises(InputError, match="Ampere"):
            predict_step(find("v100"), StepSpec("alexnet", precision="bf16"))

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"{", "not a JSON"), (b"[]", "no 'model_type'"), (b"{}", "no 'model_type'"),
            (b'{"model_type": "brt"}', "did you mean 'bert'"), (b"\xff", "not a JSON"),
        ],
    )  # fmt: skip
    def test_configurations(self, tmp_path: Path, content: bytes, words: str) -> None:
        path = tmp_path / "config.json"
        path.write_bytes(content)
        with pytest.raises(InputError, match=words) as caught:
            trace(StepSpec(str(path)))
        assert caught.value.file == str(path)

    def test_a_missing_file(self) -> None:
        with pytest.raises(InputError, match="cannot read"):
            trace(StepSpec("/nowhere/config.json"))

    def test_more_tokens_than_positions(self, bert: str) -> None:
        with pytest.raises(InputError, match="at most 512"):
            trace(spec(bert, seq_len=4096))

    def test_a_missing_extra_says_how_to_install_it(
        self, bert: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = builtins.__import__

        def without(name: str, *args: Any, **kwargs: Any) -> Any:
            if name == "transformers":
                raise ImportError
            return real(name, *args, **kwargs)

        monkeypatch.setattr(builtins, "__import__", without)
        with pytest.raises(InputError, match=r"gpubench\[models\]"):
            build(bert, batch=1, seq_len=8, head=None, attention="eager")


def test_rows_of_a_file_of_cases(tmp_path: Path, bert: str) -> None:
    from gpubench.model.bulk import predict_cases, read

    path = tmp_path / "c.csv"
    path.write_text(
        "case_id,gpu,workload,precision,model,mode,batch,seq_len,m,n,k\n"
        f"1,a100,model,fp16,{bert},training,2,32,,,\n"
        "2,a100,gemm,fp32,,,,,64,64,64\n"
        "3,a100,model,fp32,nonsense,,,,,,\n"
    )
    got = predict_cases(read(path))
    assert got.predicted_s[0] > 0
    assert got.predicted_s[1] > 0
    assert set(got.errors) == {2}
    assert "unknown model" in got.errors[2]


def time_of(operations: tuple[Operation, ...], phase: str) -> float:
    step = sum_up(find("v100"), operations)
    return sum(s.time_s for s in step.shares if s.phase == phase)


def test_parts_of_a_step_repeat_all_but_the_optimizer(bert: str) -> None:
    whole = trace(spec(bert, mode="training", optimizer="adamw", accumulate=1))
    parts = trace(spec(bert, mode="training", optimizer="adamw", accumulate=4))
    assert time_of(parts, "forward") == pytest.approx(4 * time_of(whole, "forward"))
    assert time_of(parts, "optimizer") == pytest.approx(time_of(whole, "optimizer"))
    # The first part writes its gradients, the others add to them; a label's step adds once.
    added = {
        parts: sum(
            o.name == "accumulate gradients"
            for o in trace(spec(bert, mode="training", accumulate=parts))
        )
        for parts in (None, 1, 2)
    }
    assert added == {None: 1, 1: 0, 2: 1}


def test_a_frozen_backbone_has_no_backward_pass(bert: str) -> None:
    frozen = trace(spec(bert, mode="training", frozen_backbone=True, accumulate=1))
    whole = trace(spec(bert, mode="training", accumulate=1))
    forward = flops(tuple(o for o in frozen if o.phase == "forward"))
    assert forward == flops(tuple(o for o in whole if o.phase == "forward"))
    backward = flops(tuple(o for o in frozen if o.phase == "backward"))
    assert 0 < backward < 0.01 * flops(tuple(o for o in whole if o.phase == "backward"))


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_checkpointing_computes_the_layers_again(bert: str, precision: str) -> None:
    kept = trace(spec(bert, mode="training", precision=precision))
    again = trace(spec(bert, mode="training", precision=precision, checkpointing=True))
    layers = sum(o.workload == "attention" for o in kept if o.phase == "forward")
    more = [o for o in again if o.phase == "backward" and o.name == "attention"]
    assert len(more) == layers == 2
    extra = flops(again) - flops(kept)
    # Both layers of a network whose head and pooler are small.
    assert 0.9 < extra / flops(tuple(o for o in kept if o.phase == "forward")) < 1.0


def test_images_of_another_size() -> None:
    usual = flops(trace(StepSpec("resnet50", "inference", 1)))
    large = flops(trace(StepSpec("resnet50", "inference", 1, image_size=448)))
    assert large == pytest.approx(4 * usual, rel=0.01)


def test_inference_has_no_checkpointing() -> None:
    with pytest.raises(InputError, match="inference has no checkpointing"):
        StepSpec.from_params({"model": "alexnet", "checkpointing": "true"}, "fp32")
    with pytest.raises(InputError, match="expected true or false"):
        StepSpec.from_params({"model": "alexnet", "frozen_backbone": "perhaps"}, "fp32")


def test_classes_add_up_to_the_step(bert: str) -> None:
    found = predict_step(find("v100"), spec(bert, mode="training", optimizer="adamw")).prediction
    assert sum(found.classes.values()) == pytest.approx(found.predicted_s)
    assert {"matrix products", "attention", "normalisation", "optimizer"} <= set(found.classes)


def test_generating_reads_the_prompt_once_and_the_weights_for_every_token() -> None:
    one = StepSpec("gpt2-tiny", "generate", 2, 64, new_tokens=1)
    many = StepSpec("gpt2-tiny", "generate", 2, 64, new_tokens=11)
    prompt = [o for o in trace(one) if o.phase == "prompt"]
    assert list(trace(one)) == prompt
    assert flops(tuple(prompt)) == flops(trace(StepSpec("gpt2-tiny", "inference", 2, 64)))
    decode = [o for o in trace(many) if o.phase == "decode"]
    assert {o.weight for o in decode} == {10.0}
    # Products of a token: one row a dialogue, whatever the prompt.
    assert {dict(o.params)["m"] for o in products(tuple(decode))} == {2.0}
    cached = [o for o in decode if o.name == "attention to a cache"]
    longer = trace(StepSpec("gpt2-tiny", "generate", 2, 128, new_tokens=11))
    more = [o for o in longer if o.name == "attention to a cache"]
    assert len(cached) == len(more) == 2
    # Keys and values of 70 and 134 tokens, the new one among them, and a query of one.
    rows = [dict(o.params)["rows"] for o in (cached[0], more[0])]
    assert rows[1] / rows[0] == pytest.approx((2 * 134 + 1) / (2 * 70 + 1), rel=1e-3)


def test_only_language_models_generate() -> None:
    with pytest.raises(InputError, match="bert-base generates no text"):
        trace(StepSpec("bert-base", "generate"))
    with pytest.raises(InputError, match="no adapter"):
        trace(StepSpec("gpt2-tiny", "generate", adapter="lora"))


def test_dialogue_is_predicted_as_generating() -> None:
    gpu = find("a100-sxm4-40gb")
    talk = {"model": "gpt2-tiny", "batch": 2, "context": 32, "new_tokens": 4}
    same = {"model": "gpt2-tiny", "batch": 2, "seq_len": 32, "new_tokens": 4, "mode": "generate"}
    assert predict(gpu, "dialogue", "fp16", talk) == predict(gpu, "model", "fp16", same)
