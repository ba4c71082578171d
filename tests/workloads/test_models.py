"""The workload ``model``: real steps of tiny networks on CPU."""

from __future__ import annotations

import json
import types
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gpubench.catalogue import find
from gpubench.engine.runner import Runner
from gpubench.errors import InputError, Unsupported
from gpubench.model import predict
from gpubench.model.prediction import modelled
from gpubench.model.step import StepSpec
from gpubench.plan import case_key
from gpubench.ports import Workload
from gpubench.record import Failure, Measurement
from gpubench.spec import Case, DeviceInfo, Policy
from gpubench.workloads.models import checking, fitting
from gpubench.workloads.models.assembly import answering, assemble, random_batch
from gpubench.workloads.models.fitting import fitted_step, largest_fitting
from gpubench.workloads.models.phases import PhaseClock, ranges_of
from gpubench.workloads.models.step import Step
from gpubench.workloads.models.workload import Model

CPU = DeviceInfo(type="cpu", name="a CPU")
TINY = {"model": "bert-tiny", "mode": "training", "batch": 2, "seq_len": 16}
NER = {**TINY, "head": "token-classification", "optimizer": "adamw"}


def model(precision: str = "fp32", **params: Any) -> Model:
    return Model.from_params(params, precision)


@pytest.fixture(scope="module")
def device() -> Any:
    from gpubench.devices.cpu import CpuDevice

    return CpuDevice()


# ---------------------------------------------------------------- parameters


@pytest.mark.parametrize(
    ("params", "key", "said"),
    [
        ({"model": "bert-bse"}, "model", "did you mean 'bert-base'"),
        ({"model": "alexnet", "seq_len": 8}, "seq_len", "no sequence"),
        ({"model": "alexnet", "image_size": 64}, "image_size", "resnet50"),
        ({"model": "alexnet", "head": "causal-lm"}, "head", "no head"),
        ({"model": "bert-tiny", "head": "token-clasification"}, "head", "token-classification"),
        ({"model": "bert-tiny", "head": "image-classification"}, "head", "for images"),
        ({"model": "bert-tiny", "optimizer": "adamw"}, "optimizer", "mode: training"),
        ({"model": "bert-tiny", "accumulate": 2}, "accumulate", "mode: training"),
        ({"model": "resnet50", "mode": "training", "adapter": "lora"}, "adapter", "transformers"),
        ({**TINY, "adapter": "lora", "frozen_backbone": True}, "frozen_backbone", "already"),
        ({"model": "vae", "mode": "training", "frozen_backbone": True}, "frozen_backbone", "head"),
        ({"model": "lstm", "mode": "training", "checkpointing": True}, "checkpointing", "layers"),
        ({"model": "bert-tiny", "btach": 2}, "btach", "did you mean 'batch'"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(params: Any, key: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        model(**params)
    assert caught.value.key == key


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "cannot read"), ("{", "not a JSON"), ("[1]", "model_type"), ("{}", "model_type")],
)
def test_a_configuration_that_cannot_be_read(
    tmp_path: Path, content: str | None, said: str
) -> None:
    path = tmp_path / "config.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=said) as caught:
        model(model=str(path))
    assert caught.value.file == str(path)


def test_an_unknown_architecture_fails_with_its_nearest(tmp_path: Path, device: Any) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"model_type": "bertt"}))
    outcome = run(device, model(model=str(path), batch=1, seq_len=8))
    assert isinstance(outcome, Failure)
    assert "unknown model_type 'bertt'" in outcome.reason
    assert "did you mean 'bert'" in outcome.reason


def test_saying_what_holds_anyway_is_the_same_case() -> None:
    plain = model(model="bert-tiny")
    said = model(model="bert-tiny", seq_len=512, head="sequence-classification")
    assert plain == said
    assert plain.params()["seq_len"] == 512
    assert dict(plain.identity()) == {"model": "bert-tiny"}
    again = Model.from_params(said.params(), "fp32")
    assert again == plain


def test_parameters_join_with_the_cost_model() -> None:
    for params in (
        NER, {**NER, "adapter": "lora"}, {"model": "gpt2-tiny", "batch": 3},
        {"model": "resnet50", "mode": "training", "optimizer": "sgd"},
        {"model": "gru", "seq_len": 4}, {"model": "vae"},
    ):  # fmt: skip
        own = model(**params)
        spec = StepSpec.from_params(modelled(own.params()), "fp32")
        assert (spec.model, spec.batch, spec.mode) == (own.model, own.batch, own.mode)
        assert spec.adapter == own.adapter


def test_the_cost_model_refuses_what_it_does_not_know() -> None:
    gpu = find("a100-sxm4-40gb")
    assert predict(gpu, "model", "fp32", model(**NER).params()).predicted_s > 0
    with pytest.raises(InputError, match="compile"):
        predict(gpu, "model", "fp32", model(**NER, compile=True).params())


def test_a_step_that_learns_is_predicted_as_the_step_it_is() -> None:
    gpu = find("a100-sxm4-40gb")
    learns = model(**{**NER, "mode": "train_to_quality"}, steps=5).params()
    plain = model(**{**NER, "mode": "training"}).params()
    assert predict(gpu, "model", "fp32", learns) == predict(gpu, "model", "fp32", plain)


def test_skips_say_how_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    lora = model(**NER, adapter="lora")
    assert lora.unsupported(CPU) is None
    monkeypatch.setattr(
        "gpubench.workloads.models.workload.find_spec", lambda n: None if n == "peft" else n
    )
    assert lora.unsupported(CPU) == "peft is not installed: pip install 'gpubench[models]'"
    monkeypatch.setattr("gpubench.workloads.models.workload.find_spec", lambda n: None)
    assert "transformers is not installed" in (model(**NER).unsupported(CPU) or "")
    assert model(model="alexnet").unsupported(CPU) is None


def test_formats_that_steps_do_not_have() -> None:
    assert "fp64" in (model("fp64", model="alexnet").unsupported(CPU) or "")
    assert "fp8" in (model("fp8", model="alexnet").unsupported(CPU) or "")


def test_compiling_needs_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = model(**NER, compile=True)
    monkeypatch.setattr("gpubench.workloads.models.workload.shutil.which", lambda _: None)
    assert "C++ compiler" in (compiled.unsupported(CPU) or "")
    assert compiled.unsupported(replace(CPU, type="cuda")) is None


# ---------------------------------------------------------------- what is trained


def trained(spec: Model) -> dict[str, int]:
    module = assemble(spec, "meta").module
    return {n: p.numel() for n, p in module.named_parameters() if p.requires_grad}


def test_lora_trains_two_thin_matrices_a_projection_and_the_head() -> None:
    found = trained(model(**NER, adapter="lora"))
    layers, hidden, rank, labels = 2, 128, 8, 9
    adapters = layers * 2 * 2 * rank * hidden
    assert sum(n for name, n in found.items() if "lora_" in name) == adapters
    assert sum(found.values()) == adapters + hidden * labels + labels


def test_a_frozen_backbone_trains_the_head_alone() -> None:
    assert sum(trained(model(**NER, frozen_backbone=True)).values()) == 128 * 9 + 9
    vision = trained(model(model="alexnet", mode="training", frozen_backbone=True))
    assert sum(vision.values()) == 4096 * 1000 + 1000


def test_a_frozen_backbone_gets_no_gradients(device: Any) -> None:
    step = Step(model(**NER, frozen_backbone=True), device, 1, "normal")
    step.loss().backward()
    with_gradient = {n for n, p in step.made.module.named_parameters() if p.grad is not None}
    assert with_gradient == {"classifier.weight", "classifier.bias"}


def test_a_head_that_shares_its_weights_cannot_be_trained_alone() -> None:
    with pytest.raises(InputError, match="shares its weights"):
        assemble(model(model="gpt2-tiny", mode="training", frozen_backbone=True), "meta")


# ---------------------------------------------------------------- a step


def test_parts_of_a_step_add_up_to_the_mean_gradient(device: Any) -> None:
    import torch

    step = Step(model(**NER, accumulate=2), device, 1, "normal")
    step.made.module.eval()  # without dropout, so that both ways see the same
    step._run_module = step.made.module
    weight = step.made.module.get_parameter("classifier.weight")
    expected = sum(torch.autograd.grad(step.loss(b), weight)[0] for b in step._batches) / 2
    seen: list[torch.Tensor] = []

    def mark(phase: str) -> None:
        if phase == "backward" and weight.grad is not None:
            seen.append(weight.grad.clone())

    step.run(mark)
    assert len(seen) == 2
    torch.testing.assert_close(seen[-1], expected)


def test_a_step_changes_what_is_trained_and_nothing_else(device: Any) -> None:
    import torch

    step = Step(model(**NER, adapter="lora"), device, 1, "normal")
    before = {n: p.clone() for n, p in step.made.module.named_parameters()}
    step()
    for name, p in step.made.module.named_parameters():
        assert torch.equal(p, before[name]) is not p.requires_grad, name


def test_the_same_seed_is_the_same_step(device: Any) -> None:
    one, two, other = (Step(model(**TINY), device, seed, "normal") for seed in (5, 5, 6))
    for step in (one, two, other):
        step.made.module.eval()
    assert one.loss().item() == two.loss().item()
    assert one.loss().item() != other.loss().item()


def test_checkpointing_changes_no_gradient(device: Any) -> None:
    import torch

    steps = [
        Step(model(model="alexnet", mode="training", batch=1, checkpointing=c), device, 3, "normal")
        for c in (False, True)
    ]
    found = []
    for step in steps:
        step.made.module.eval()
        step.loss().backward()
        found.append([p.grad for p in step.made.module.parameters()])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b)


def test_a_loss_that_is_not_finite_is_a_failure(
    device: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "checked", lambda *_: None)
    monkeypatch.setattr(
        "gpubench.workloads.models.assembly.Assembled.loss",
        lambda _self, outputs, _batch: outputs.logits.sum() * float("nan"),
    )
    outcome = run(device, model(**NER))
    assert isinstance(outcome, Failure)
    assert outcome.kind == "wrong_result"


# ---------------------------------------------------------------- what it takes


def test_flops_are_those_of_torchs_counter_on_the_real_network(device: Any) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    for params in ({**NER, "attention": "eager"}, {"model": "vae", "mode": "training", "batch": 4}):
        spec = model(**params)
        step = Step(spec, device, 1, "normal")
        with FlopCounterMode(display=False) as counter:
            step()
        assert step.observe(device)["flops_per_step"] == counter.get_total_flops() > 0


def test_flops_of_a_forward_pass_by_hand(device: Any) -> None:
    step = Step(model(model="vae", batch=4), device, 1, "normal")
    products = 784 * 400 + 2 * 400 * 20 + 20 * 400 + 400 * 784
    assert step.observe(device)["flops_per_step"] == 2 * 4 * products


def test_facts_of_a_training_step(device: Any) -> None:
    facts = Step(model(**NER, accumulate=3), device, 1, "normal").observe(device)
    assert (facts["samples_per_step"], facts["tokens_per_step"]) == (6, 96)
    count = facts["parameters"]
    assert isinstance(count, int)
    assert facts["gradients_bytes"] == 4 * count
    state = facts["optimizer_state_bytes"]
    assert isinstance(state, int)
    assert 8 * count <= state < 8 * count + 4096  # two moments, and a step count each
    more = Step(model(**{**NER, "batch": 4}), device, 1, "normal").observe(device)
    assert more["activations_bytes"] == pytest.approx(2 * facts["activations_bytes"], rel=0.1)


def test_checkpointing_does_not_count_as_more_work(device: Any) -> None:
    plain = Step(model(**NER), device, 1, "normal").observe(device)
    again = Step(model(**NER, checkpointing=True), device, 1, "normal").observe(device)
    assert plain["flops_per_step"] == again["flops_per_step"]
    assert "activations_bytes" not in again


# ---------------------------------------------------------------- ranges


class Event:
    """A timing event of a device whose clock the test moves on."""

    now_ms = 0.0

    def record(self) -> None:
        self.at = Event.now_ms

    def elapsed_time(self, other: Event) -> float:
        return other.at - self.at


def test_phases_on_a_device_are_the_times_between_its_events() -> None:
    waited = []
    clock = PhaseClock(Event, lambda: waited.append(True))
    clock.start()
    for phase, took_ms in (("data", 5.0), ("forward", 2.0), ("backward", 4.0), ("forward", 3.0)):
        Event.now_ms += took_ms
        clock.mark(phase)
    spent = clock.stop()
    assert spent["forward"] == pytest.approx(5e-3)
    assert spent["backward"] == pytest.approx(4e-3)
    assert spent["data"] != pytest.approx(5e-3)  # the host's work, by the host's clock
    assert len(waited) == 2


def test_phases_on_a_host_add_up_to_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    readings: Iterator[float] = iter([10.0, 10.5, 12.0, 12.25])
    monkeypatch.setattr(
        "gpubench.workloads.models.phases.time.perf_counter", lambda: next(readings)
    )
    clock = PhaseClock(None, lambda: None)
    clock.start()
    for phase in ("data", "forward", "backward"):
        clock.mark(phase)
    assert clock.stop() == {"data": 0.5, "forward": 1.5, "backward": 0.25}


def test_phases_run_alone_do_what_they_do_in_the_step(device: Any) -> None:
    import torch

    step = Step(model(**NER), device, 1, "normal")
    alone = step.repeatable()
    assert set(alone) == {"host_to_device", "forward", "backward", "optimizer"}
    for p in step.made.module.parameters():
        p.grad = None
    first, again = alone["forward"](), alone["forward"]()
    assert isinstance(first, torch.Tensor)
    assert isinstance(again, torch.Tensor)
    # Dropout differs.
    assert float(first.detach()) == pytest.approx(float(again.detach()), rel=0.2)
    # A backward pass adds to the gradients that are there; over one kept graph, the same ones.
    alone["backward"]()
    once = {n: p.grad.clone() for n, p in step.made.module.named_parameters() if p.grad is not None}
    alone["backward"]()
    for name, p in step.made.module.named_parameters():
        if name in once:
            assert p.grad is not None
            torch.testing.assert_close(p.grad, 2 * once[name], rtol=1e-4, atol=1e-7)
    assert len(once) > 10
    before = {n: p.detach().clone() for n, p in step.made.module.named_parameters()}
    alone["optimizer"]()
    moved = [n for n, p in step.made.module.named_parameters() if not torch.equal(p, before[n])]
    assert set(moved) == set(once)
    alone["host_to_device"]()
    inference = Step(model(model="vae", batch=4), device, 1, "normal").repeatable()
    assert set(inference) == {"host_to_device", "forward"}


def test_ranges_follow_one_another_with_median_lengths() -> None:
    steps = [{"data": 1.0, "forward": f} for f in (2.0, 9.0, 3.0)]
    data, forward = ranges_of(steps)
    assert (data.start_s, data.end_s, data.device_time_s) == (0.0, 1.0, None)
    assert (forward.start_s, forward.end_s, forward.device_time_s) == (1.0, 4.0, 3.0)


def run(device: Any, spec: Model, **policy: Any) -> Any:
    work: Workload = spec
    small = {"min_time_s": 0.0, "max_time_s": 0.05, "warmup_s": 0.0, "min_samples": 2}
    case = Case(
        key=case_key("model", spec.precision, work.identity()), benchmark="b", workload="model",
        precision=spec.precision, params=work.params(), policy=Policy(**{**small, **policy}),
    )  # fmt: skip
    return Runner(device).run(case, 3)[0].outcome


@pytest.mark.parametrize(
    "params",
    [
        NER, {**NER, "adapter": "lora"}, {**NER, "accumulate": 2, "checkpointing": True},
        {"model": "gpt2-tiny", "mode": "training", "batch": 1, "seq_len": 8, "optimizer": "sgd"},
        {"model": "resnet50", "mode": "training", "batch": 1, "image_size": 64},
        {"model": "vae", "mode": "training", "batch": 4, "optimizer": "adamw"},
        {"model": "gru", "mode": "training", "batch": 1, "seq_len": 3, "optimizer": "sgd"},
    ],
)  # fmt: skip
def test_training_steps_run_are_right_and_say_where_they_go(
    device: Any, params: dict[str, Any]
) -> None:
    outcome = run(device, model(**params))
    assert isinstance(outcome, Measurement), outcome
    assert outcome.accuracy is not None
    assert outcome.accuracy.ok
    names = [r.name for r in outcome.ranges]
    assert names == ["data", "host_to_device", "forward", "backward", "optimizer"]
    assert all(r.end_s >= r.start_s for r in outcome.ranges)
    assert outcome.facts["flops_per_step"]


@pytest.mark.parametrize("name", ["bert-tiny", "gpt2-tiny", "lstm", "vae"])
def test_forward_passes_run_and_are_right(device: Any, name: str) -> None:
    length = {} if name == "vae" else {"seq_len": 8}
    outcome = run(device, model(model=name, batch=2, **length))
    assert isinstance(outcome, Measurement), outcome
    assert outcome.accuracy is not None
    assert outcome.accuracy.ok
    assert [r.name for r in outcome.ranges] == ["data", "host_to_device", "forward"]


def test_the_check_tells_precisions_apart(device: Any) -> None:
    half = checking.checked(model("bf16", **NER), device, 1, "normal")
    whole = checking.checked(model("fp32", **NER), device, 1, "normal")
    assert half is not None
    assert whole is not None
    assert whole.rel_error < 1e-5 < 1e-3 < half.rel_error
    assert half.ok
    assert not replace(half, tolerance=whole.tolerance).ok


def test_networks_too_large_are_not_checked(device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert checking.checked(model(**NER), device, 1, "normal") is not None
    monkeypatch.setattr(checking, "MOST_ON_CPU", 1e6)
    assert checking.checked(model(**NER), device, 1, "normal") is None


# ---------------------------------------------------------------- memory


@pytest.mark.parametrize("limit", [0, 1, 2, 7, 30, 31])
def test_the_largest_batch_is_found_by_bisection(limit: int) -> None:
    tried: list[int] = []

    def fits(batch: int) -> bool:
        tried.append(batch)
        return batch <= limit

    assert largest_fitting(32, fits) == (limit, limit + 1)
    assert len(tried) <= 5


def test_the_largest_batch_of_many_is_found_to_a_few_percent() -> None:
    low, high = largest_fitting(4096, lambda batch: batch <= 1000)
    assert low <= 1000 < high
    assert high - low <= low // 32


def test_a_batch_that_does_not_fit_is_a_skip_that_says_what_does(
    device: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    class Small:
        def __init__(self, spec: Model, *_: object) -> None:
            made.append(spec.batch)
            if spec.batch > 5:
                raise MemoryError

        def __call__(self) -> None:
            return None

    monkeypatch.setattr(fitting, "Step", Small)
    monkeypatch.setattr(fitting, "_known", {})
    with pytest.raises(Unsupported, match=r"batch of 16 .* largest that fits is 5"):
        fitted_step(model(model="vae", batch=16), device, 1, "normal")
    tries = len(made)
    with pytest.raises(Unsupported, match=r"batch of 64 .* largest that fits is 5"):
        fitted_step(model(model="vae", batch=64), device, 1, "normal")
    assert len(made) == tries  # known by then
    fitted_step(model(model="vae", batch=4), device, 1, "normal")
    assert made[-1] == 4


def test_a_host_is_asked_before_its_memory_runs_out(
    device: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "_known", {})
    spec = model(model="vae", mode="training", optimizer="sgd", batch=64)
    # A sample leaves a few KB: much more than the rest fits, and much less does not.
    held = 2 * 4 * 652_824
    small = types.SimpleNamespace(
        info=replace(device.info, memory_bytes=held + 300_000), synchronize=lambda: None
    )
    largest = fitting.estimated_largest(spec, small, 1, "normal")
    assert largest is not None
    assert 5 < largest < 60
    with pytest.raises(Unsupported, match=f"largest that fits is {largest}"):
        fitted_step(spec, small, 1, "normal")
    roomy = types.SimpleNamespace(info=replace(device.info, memory_bytes=2**30),
                                  synchronize=lambda: None)  # fmt: skip
    assert fitted_step(spec, roomy, 1, "normal").spec == spec


def test_other_errors_are_no_lack_of_memory(device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(fitting, "Step", broken)
    with pytest.raises(RuntimeError, match="mat1"):
        fitted_step(model(model="vae", batch=16), device, 1, "normal")


# ---------------------------------------------------------------- checkpoints


class Payload:
    """What a pickle may do when it is read."""

    def __reduce__(self) -> Any:
        return print, ("code ran",)


def test_pickled_code_is_refused_and_does_not_run(
    tmp_path: Path, device: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    path = tmp_path / "weights.bin"
    torch.save({"x": Payload()}, path)
    outcome = run(device, model(**NER, checkpoint=str(path)))
    assert isinstance(outcome, Failure)
    assert "holds pickled code" in outcome.reason
    assert "safetensors" in outcome.reason
    assert "code ran" not in capsys.readouterr().out


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_weights_of_a_file_are_loaded(tmp_path: Path, device: Any, suffix: str) -> None:
    import torch
    from safetensors.torch import save_file

    bias = torch.arange(9.0)
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pt":
        torch.save({"classifier.bias": bias}, path)
    else:
        save_file({"classifier.bias": bias}, path)
    made = assemble(model(**NER, checkpoint=str(path)), "cpu")
    assert torch.equal(made.module.get_parameter("classifier.bias"), bias)


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    import torch

    path = tmp_path / "weights.pt"
    torch.save({"conv.weight": torch.zeros(3)}, path)
    with pytest.raises(InputError, match="none of its 1 tensors fits"):
        assemble(model(**NER, checkpoint=str(path)), "cpu")


def test_a_local_configuration_runs(tmp_path: Path, device: Any) -> None:
    path = tmp_path / "mine" / "config.json"
    path.parent.mkdir()
    config = {"model_type": "bert", "hidden_size": 32, "num_hidden_layers": 1,
              "num_attention_heads": 2, "intermediate_size": 64, "vocab_size": 100}  # fmt: skip
    path.write_text(json.dumps(config))
    spec = model(model=str(path), head="token-classification", batch=2, seq_len=8, mode="training")
    assert spec.label() == "mine training 2x8 token-classification"
    assert isinstance(run(device, spec), Measurement)


def test_inputs_are_within_the_vocabulary_and_targets_within_the_classes() -> None:
    with answering():
        made = assemble(model(**NER), "meta")
    batch = random_batch(made, 64, 1, "normal")
    assert 0 <= int(batch["input_ids"].min()) < int(batch["input_ids"].max()) < 30522
    assert batch["target0"].shape == (64, 16)
    assert int(batch["target0"].max()) == 8


def test_generating_is_a_dialogue_checked_without_its_cache(device: Any) -> None:
    spec = model(model="gpt2-tiny", mode="generate", seq_len=8, new_tokens=3)
    assert spec.label() == "gpt2-tiny generate 1x8+3"
    tokens: Any = spec.build(device, 1, "normal")()
    assert tokens.shape == (1, 8 + 3 - 1)
    found = spec.check(device, 1, "normal")
    assert found is not None
    assert found.ok
    assert spec.params()["new_tokens"] == 3
    assert "new_tokens" not in model(model="gpt2-tiny").params()


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ({"model": "bert-tiny", "mode": "generate"}, "bert-tiny generates no text"),
        ({"model": "gpt2-tiny", "mode": "generate", "optimizer": "sgd"}, "generate has no optim"),
        ({"model": "gpt2-tiny", "mode": "generate", "adapter": "lora"}, "generate has no adapter"),
        ({"model": "gpt2-tiny", "new_tokens": 3}, "inference has no new_tokens"),
    ],
)
def test_what_generates_nothing_is_refused(params: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        model(**params)
