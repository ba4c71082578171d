"""Which devices of a cluster get a task, and which GPU a second attempt takes."""

from __future__ import annotations

import pytest

from gpubench.api.slot import Earlier, choose
from gpubench.errors import GpubenchError, InputError
from gpubench.launch.ray import Node, slots_of
from tests.builders import run

HEAD, A, B = Node("1", "head", 0, 8.0), Node("2", "a", 8, 64.0), Node("3", "b", 4, 2.0)


def test_a_task_a_gpu_and_none_for_nodes_without() -> None:
    found = slots_of([HEAD, A, B], "auto", False)
    assert [s.name for s in found] == [*(f"a/{i}" for i in range(8)), *(f"b/{i}" for i in range(4))]
    assert {(s.device, s.gpus) for s in found} == {("cuda", 1)}
    # All tasks of a node fit it, also where there are fewer CPUs than GPUs.
    assert sum(s.cpus for s in found if s.node is B) <= B.cpus


def test_one_a_node_holds_all_its_gpus() -> None:
    found = slots_of([HEAD, A, B], "cuda", True)
    assert [(s.name, s.gpus) for s in found] == [("a", 8), ("b", 4)]


def test_cpus_where_there_is_no_gpu_or_it_was_asked_for() -> None:
    assert [(s.name, s.device, s.cpus) for s in slots_of([HEAD], "auto", False)] == [
        ("head", "cpu", 8.0)
    ]
    assert [s.name for s in slots_of([HEAD, A], "cpu", False)] == ["head", "a"]
    assert [s.name for s in slots_of([Node("9", "driver", 0, 0.0), HEAD], "auto", False)] == [
        "head"
    ]


@pytest.mark.parametrize(
    ("nodes", "device", "words"),
    [
        ([HEAD], "cuda", "no node has a GPU"),
        ([A], "cuda:1", "is the device of one machine"),
        ([Node("9", "driver", 0, 0.0)], "auto", "no node offers a CPU or a GPU"),
    ],
)
def test_nothing_to_measure(nodes: list[Node], device: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        slots_of(nodes, device, False)


def test_a_second_attempt_takes_what_is_missing() -> None:
    whole = Earlier(run(planned=2), frozenset({("b", "1"), ("b", "2")}))
    part = Earlier(run(planned=2), frozenset({("b", "1")}))
    here = ["GPU-0", "GPU-1", "GPU-2"]
    assert choose(here, {"GPU-0": {"s": whole}}, ["s"]) == "GPU-1"
    assert choose(here, {"GPU-0": {"s": whole}, "GPU-2": {"s": part}}, ["s"]) == "GPU-2"
    # Of two suites one is missing: not whole.
    assert choose(["GPU-0"], {"GPU-0": {"s": whole}}, ["s", "t"]) == "GPU-0"
    with pytest.raises(GpubenchError, match="every GPU of the node was measured"):
        choose(here, {g: {"s": whole} for g in here}, ["s"])
