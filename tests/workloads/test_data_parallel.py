"""Data-parallel steps: parameters, pieces, and two real ranks that learn together."""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch

from gpubench import suite as suites
from gpubench.errors import InputError
from gpubench.launch.local import LocalLauncher
from gpubench.plan import make_plan
from gpubench.record import Measurement
from gpubench.spec import DeviceInfo
from gpubench.workloads.data_parallel import BUCKET_BYTES, DataParallel, units_of
from tests.conftest import PLUGIN, ROOT

pytest.importorskip("transformers")


def test_parameters_that_the_model_would_refuse() -> None:
    with pytest.raises(InputError, match="alexnet has no sequence"):
        DataParallel.from_params({"model": "alexnet", "seq_len": 8}, "fp32")
    with pytest.raises(InputError, match="sharded gradients are not scaled"):
        DataParallel.from_params({"strategy": "fsdp"}, "fp16")
    with pytest.raises(InputError, match="did you mean 'fsdp'"):
        DataParallel.from_params({"strategy": "fsp"}, "fp32")


def test_too_few_ranks_are_said_with_the_mend() -> None:
    work = DataParallel.from_params({"model": "alexnet", "world_size": 4}, "fp32")
    alone = DeviceInfo(type="cpu", name="a CPU", world_size=2)
    assert work.unsupported(alone) == "needs 4 ranks, has 2: --nproc 4, torchrun or srun"


def test_layers_of_a_stack_are_gathered_one_by_one() -> None:
    layers = torch.nn.ModuleList([torch.nn.Linear(2, 2) for _ in range(3)])
    module = torch.nn.ModuleDict({"stack": layers, "head": torch.nn.Linear(2, 2)})
    assert units_of(module) == list(layers)
    assert units_of(torch.nn.Linear(2, 2)) == []


@pytest.fixture(scope="module")
def measured() -> dict[str, Measurement]:
    """Two ranks, both strategies, and one rank alone beside a rank that looks on."""
    patch = pytest.MonkeyPatch()
    patch.setenv("PYTHONPATH", os.pathsep.join([str(PLUGIN), str(ROOT)]))
    patch.setenv("OMP_NUM_THREADS", "1")
    text = (
        "schema: 1\nsuite: t\n"
        "policy: {min_time_s: 0.01, max_time_s: 0.1, warmup_s: 0, timeout_s: 90, min_samples: 3}\n"
        "benchmarks:\n  - name: b\n    workload: data_parallel\n"
        "    params: {precision: fp32, model: bert-tiny, batch: 2, seq_len: 16}\n"
        "    cases: [{strategy: ddp}, {strategy: fsdp}, {strategy: ddp, world_size: 1}]\n"
    )
    with LocalLauncher("cpu", nproc=2) as launcher:
        info, _ = launcher.connect()
        found = list(launcher.run(make_plan(suites.parse(text), info, seed=4)))
        assert launcher.worker_starts == 1
    patch.undo()
    kept: dict[str, Any] = {}
    for r in found:
        assert isinstance(r.outcome, Measurement), r.outcome
        kept[f"{r.case.params['strategy']} {r.case.params['world_size']}"] = r.outcome
    return kept


@pytest.mark.parametrize("kind", ["ddp 2", "fsdp 2", "ddp 1"])
def test_averaged_gradients_are_those_of_all_samples(
    measured: dict[str, Measurement], kind: str
) -> None:
    accuracy = measured[kind].accuracy
    assert accuracy is not None
    assert accuracy.ok, accuracy


@pytest.mark.parametrize("kind", ["ddp 2", "fsdp 2"])
def test_communication_is_taken_apart(measured: dict[str, Measurement], kind: str) -> None:
    facts: Any = measured[kind].facts
    assert facts["samples_per_step"] == 4
    assert facts["parallel.communication_s"] > 0
    assert 0 <= facts["parallel.hidden_share"] <= 1
    expected = max(0.0, facts["parallel.step_s"] - facts["parallel.compute_s"])
    assert facts["parallel.exposed_s"] == pytest.approx(expected)
    # BERT-tiny's parameters, whichever way they are cut.
    assert 10e6 < facts["parallel.sent_bytes"] < BUCKET_BYTES


def test_one_rank_alone_communicates_with_nobody(measured: dict[str, Measurement]) -> None:
    facts = measured["ddp 1"].facts
    assert facts["samples_per_step"] == 2
    assert "parallel.communication_s" not in facts
