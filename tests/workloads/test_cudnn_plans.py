"""Searching cuDNN's plans: on a recording, and with the real library for described GPUs."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from gpubench.errors import Unsupported
from gpubench.workloads.cudnn_frontend import Frontend, load
from gpubench.workloads.cudnn_plans import (
    Layer,
    PlanRefused,
    build,
    engine_of,
    notes_of,
    reason_of,
    search,
)
from tests.workloads.cudnn_recording import GPUS, RECORDED, conv, replayed


def reasons(title: str, room: float | None = None) -> dict[str, str | None]:
    frontend = Frontend(replayed(title), handle=True)
    return {f.name: f.reason for f in search(Layer.of(RECORDED[title][1]), frontend, room)}


@pytest.mark.parametrize("title", RECORDED)
def test_every_engine_is_in_the_search_once(title: str) -> None:
    cudnn, found = replayed(title), reasons(title)
    assert list(found)[: len(set(cudnn.answers["heuristic"]))] == list(
        dict.fromkeys(cudnn.answers["heuristic"])
    )
    engines: set[int] = set()
    for name in found:
        for part in name.partition("_")[0].removeprefix("eng").split("+"):
            first, _, last = part.partition("-")
            engines |= set(range(int(first), int(last or first) + 1))
    assert engines == set(range(len(cudnn.answers["engines"])))


def test_engines_that_do_not_take_the_layer_are_one_entry_a_reason() -> None:
    found = reasons("v100 fp32 fprop nchw")
    refused = {n: r for n, r in found.items() if r and "CUDNN_STATUS" in r}
    assert "cuDNN 9.10.2: CUDNN_STATUS_NOT_SUPPORTED_ARCH_MISMATCH" in refused.values()
    assert len(set(refused.values())) == len(refused)


def test_true_fp32_refuses_engines_that_compute_in_less() -> None:
    found = reasons("h200 fp32 fprop nchw")
    # cuDNN's own first choice for FP32 tensors on Hopper is a TF32 engine.
    first = next(iter(found))
    assert found[first] == "not FP32: cuDNN notes TENSOR_CORE of this engine"
    both = "not FP32: cuDNN notes DOWN_CONVERT_INPUTS and TENSOR_CORE of this engine"
    assert found["eng22"] == both
    assert found["eng2"] is None


def test_notes_of_engines_added_by_number_are_their_own() -> None:
    """In one graph with the heuristic's plans they would be the notes of those."""
    title = "h200 fp16 dgrad nhwc"
    cudnn, layer = replayed(title), Layer.of(RECORDED[title][1])
    frontend = Frontend(cudnn, handle=True)
    for engine, answer in cudnn.answers["engines"].items():
        if "notes" in answer:
            assert list(notes_of(layer, frontend, int(engine))) == answer["notes"]
    assert any(not a.get("notes", [1]) for a in cudnn.answers["engines"].values())


def test_a_workspace_that_does_not_fit_is_a_reason() -> None:
    found = reasons("v100 fp32 fprop nchw", room=1e6)
    needs = "needs a workspace of 220 MiB (231,211,008 bytes): no room"
    assert found["eng2_k2=4_k3=0"] == needs
    assert found["eng28"] is None


def test_a_plan_is_found_again_by_name_and_runs_on_its_tensors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    title = "v100 fp32 fprop nchw"
    cudnn, layer = replayed(title), Layer.of(RECORDED[title][1])
    frontend = Frontend(cudnn, handle=True)
    name = cudnn.answers["heuristic"][3]
    plan = build(layer, name, frontend)
    assert plan.facts() == {
        "cudnn.version": "9.10.2",
        "cudnn.engine": engine_of(name),
        "cudnn.heuristic_rank": 3,
        "cudnn.workspace_bytes": cudnn.answers["workspaces"][name],
        "cudnn.numerical_notes": "",
        "cudnn.behavior_notes": "",
    }
    streams = iter([5, 5, 9])
    monkeypatch.setattr(
        torch.cuda, "current_stream",
        lambda: type("S", (), {"cuda_stream": next(streams)}),
    )  # fmt: skip
    a, b, out, room = (torch.zeros(1) for _ in range(4))
    call = plan.bound(a, b, out, room)
    for _ in range(3):
        call()
    kinds = [r[0] for r in cudnn.ran]
    assert kinds == ["stream", name, name, "stream", name]
    assert cudnn.ran[1] == (name, {1: a, 2: b, 3: out}, room, 77)


def test_a_convolution_runs_its_plan_on_operands_and_one_shared_workspace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The whole path of a case but the arithmetic: build twice, call, observe."""
    from gpubench.devices.cpu import CpuDevice
    from gpubench.workloads import cudnn_plans
    from gpubench.workloads.conv2d import Conv2d

    title = "v100 fp32 wgrad nchw"
    cudnn, work = replayed(title), RECORDED[title][1]
    monkeypatch.setattr(cudnn_plans, "on_device", lambda: Frontend(cudnn, handle=True))
    cudnn_plans.built.cache_clear()
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: type("S", (), {"cuda_stream": 0}))
    small = {"batch": 2, "c_in": 4, "c_out": 4, "size": 6, "algorithm": "eng1"}
    one = Conv2d.from_params({**work.params(), **small}, "fp32")
    device = CpuDevice()
    for seed in (1, 2):
        one.build(device, seed, "normal")()
    runs = [r for r in cudnn.ran if r[0] == "eng1"]
    assert len(runs) == 2
    for _, pack, workspace, handle in runs:
        shapes = [tuple(pack[uid].shape) for uid in (1, 2, 3)]
        # Image and gradient of the output in, gradient of the weights out.
        assert shapes == [(2, 4, 6, 6), (2, 4, 6, 6), (4, 4, 3, 3)]
        assert (workspace.dtype, handle) == (torch.uint8, 77)
    assert runs[0][2] is runs[1][2]
    assert not torch.equal(runs[0][1][1], runs[1][1][1])
    assert one.observe(device)["cudnn.engine"] == 1
    assert cudnn_plans.workspace.cache_info().currsize == 0
    cudnn_plans.built.cache_clear()


def test_beyond_the_heuristic_there_is_no_rank() -> None:
    title = "v100 fp32 fprop nchw"
    plan = build(Layer.of(RECORDED[title][1]), "eng2", Frontend(replayed(title), handle=True))
    assert plan.rank is None
    assert plan.workspace_bytes == 231211008


def test_names_of_other_versions_and_lower_precision_are_refused() -> None:
    title = "v100 fp32 fprop nchw"
    layer, frontend = Layer.of(RECORDED[title][1]), Frontend(replayed(title), handle=True)
    with pytest.raises(Unsupported, match=r"cuDNN 9\.10\.2, eng99_k2=1: the heuristic of this"):
        build(layer, "eng99_k2=1", frontend)
    with pytest.raises(Unsupported, match="not FP32: cuDNN notes DOWN_CONVERT_INPUTS"):
        build(layer, "eng8", frontend)


def test_the_status_is_the_reason() -> None:
    error = RuntimeError("detail::finalize() failed with message: , and code: CUDNN_STATUS_X_Y")
    assert reason_of(error) == "CUDNN_STATUS_X_Y"
    assert reason_of(RuntimeError("")) == "RuntimeError"


def test_without_the_extra_the_install_line_is_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "cudnn", None)
    with pytest.raises(Unsupported, match=r"pip install 'gpubench\[cudnn\]'"):
        load()


# ---------------------------------------------------------------- the real library


def real(gpu: str) -> Frontend:
    try:
        return Frontend(load(), device=GPUS[gpu])
    except Unsupported as error:
        pytest.skip(str(error))


def names(layer: Layer, frontend: Frontend) -> Sequence[str]:
    return [f.name for f in search(layer, frontend) if f.reason is None]


@pytest.mark.parametrize("gpu", GPUS)
@pytest.mark.parametrize("direction", ["fprop", "dgrad", "wgrad"])
def test_cudnn_plans_fp32_for_every_architecture(gpu: str, direction: str) -> None:
    frontend, layer = real(gpu), Layer.of(conv("fp32", direction))
    found = names(layer, frontend)
    assert found
    for name in found:
        notes = notes_of(layer, frontend, engine_of(name))
        assert not {"TENSOR_CORE", "DOWN_CONVERT_INPUTS"} & set(notes)
    plan = build(layer, found[-1], frontend)
    assert plan.workspace_bytes >= 0


def test_cudnn_has_tensor_core_engines_from_volta_on() -> None:
    def tensor(gpu: str) -> bool:
        frontend, layer = real(gpu), Layer.of(conv("fp16", layout="nhwc"))
        engines = {engine_of(n) for n in names(layer, frontend)}
        return any("TENSOR_CORE" in notes_of(layer, frontend, e) for e in engines)

    assert [tensor(gpu) for gpu in ("p4", "v100", "a100", "h200")] == [False, True, True, True]


def test_winograd_is_noted_where_the_peer_saw_it_win() -> None:
    frontend, layer = real("v100"), Layer.of(conv("fp32"))
    engines = map(engine_of, names(layer, frontend))
    notes = {n for e in engines for n in notes_of(layer, frontend, e)}
    assert {"WINOGRAD", "WINOGRAD_TILE_4x4"} <= notes


def test_a_layer_nobody_can_plan_is_unsupported() -> None:
    frontend = real("p4")
    layer = Layer.of(conv("bf16"))
    try:
        frontend.heuristic(layer)
    except PlanRefused:
        with pytest.raises(Unsupported, match="has no plan"):
            search(layer, frontend)
    else:
        pytest.skip("this cuDNN plans BF16 on Pascal")


def test_the_recording_is_what_cudnn_says() -> None:
    title = "v100 fp32 wgrad nchw"
    frontend, cudnn = real("v100"), replayed(title)
    layer = Layer.of(RECORDED[title][1])
    if frontend.version != "9.10.2":
        pytest.skip(f"recorded with cuDNN 9.10.2, here is {frontend.version}")
    assert list(frontend.heuristic(layer)) == cudnn.answers["heuristic"]
