"""What the driver of a fleet does with what nodes tell it; a launcher by script, no cluster."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gpubench.api import fleet as fleets
from gpubench.api.fleet import FleetResult, resume_fleet, run_fleet
from gpubench.api.running import Interrupted, RunRequest
from gpubench.api.slot import Job
from gpubench.codec import dumps, encode_record, encode_run
from gpubench.errors import InputError, StoreError
from gpubench.launch.ray import Event, Node, Slot
from gpubench.record import Environment, Record, Run
from gpubench.store import Store
from gpubench.store.spool import spool_folder
from tests.builders import gemm_case, record, run
from tests.cli.command import TINY, write

CASES = tuple(gemm_case(size=n) for n in (16, 24, 32))
LOST = "lost"


def head(device: str, fleet: str, number: int, host: str = "a") -> Run:
    facts = {"host.name": host, "gpu.uuid": device, "gpu.name": "NVIDIA H100"}
    settings = {
        "fleet": fleet, "suite": "s.yaml", "plan": "p", "set": [], "filter": None, "seed": 1,
        "quick": False, "timeout_s": None, "lock_clocks": False,
    }  # fmt: skip
    return run(f"2026-{device}-{number}", suite="tiny", environment=Environment(facts),
               settings=settings, planned=len(CASES))  # fmt: skip


class Scripted:
    """A launcher whose tasks say what a function of (slot, job, attempt) yields."""

    nodes_now: tuple[Node, ...] = (Node("1", "a", 2, 8.0),)
    script: Any = None

    def __init__(self, address: str | None) -> None:
        self.tasks: list[tuple[Slot, Iterator[Any]]] = []
        self.jobs: list[tuple[Slot, Job]] = []
        self.cancelled = False
        Scripted.last = self

    last: Scripted

    def __enter__(self) -> Scripted:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def nodes(self, known: tuple[str, ...] = ()) -> list[Node]:
        return [n for n in self.nodes_now if n.id not in known]

    def start(self, slot: Slot, target: str, payload: bytes) -> None:
        job: Job = pickle.loads(payload)
        attempt = 1 + sum(s.name == slot.name for s, _ in self.jobs)
        self.jobs.append((slot, job))
        self.tasks.append((slot, iter(type(self).script(slot, job, attempt))))

    @property
    def busy(self) -> int:
        return len(self.tasks)

    def events(self) -> Iterator[Event]:
        for task in list(self.tasks):
            slot, messages = task
            message = next(messages, None)
            if isinstance(message, Mapping):
                yield Event(slot, message)
                continue
            self.tasks.remove(task)
            if isinstance(message, Exception):
                raise message
            yield Event(slot) if message is None else replace(message, slot=slot)

    def cancel(self) -> None:
        self.cancelled = True
        self.tasks.clear()


class Silent:
    def __init__(self) -> None:
        self.notes: list[str] = []
        self.ends: dict[str, str | None] = {}

    def planned(self, *_: object) -> None: ...

    def began(self, *_: object) -> None: ...

    def stored(self, slot: str, record: Record) -> None: ...

    def ended(self, slot: str, problem: str | None) -> None:
        self.ends[slot] = problem

    def note(self, text: str) -> None:
        self.notes.append(text)


def measuring(slot: Slot, job: Job, device: str, number: int, until: int = 9) -> Iterator[Any]:
    """What a node yields: only what ``earlier`` does not have, as `slot.measure` does."""
    known = job.earlier.get(device, {}).get("tiny")
    of = known.run if known else head(device, str(job.request.fleet), number, slot.node.host)
    left = [c for c in CASES if not known or (c.benchmark, c.key) not in known.done]
    if not left:
        yield {"event": "nothing", "device": device}
        return
    yield {"event": "head", "run": dumps(encode_run(of)), "device": device, "todo": len(left),
           "notes": []}  # fmt: skip
    for case in left[:until]:
        position = CASES.index(case)
        yield {"event": "record", "run": of.id, "position": position,
               "record": dumps(encode_record(record(case)))}  # fmt: skip
    if until >= len(left):
        yield {"event": "end", "run": of.id}
    else:
        yield Event(slot, problem="the worker is lost", retry=True)


@pytest.fixture
def go(tmp_path: Path, store_url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    suite = write(tmp_path, TINY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fleets, "RayLauncher", Scripted)

    def run_it(script: Any, nodes: tuple[Node, ...] | None = None, resume: bool = False) -> Any:
        monkeypatch.setattr(Scripted, "script", staticmethod(script))
        monkeypatch.setattr(Scripted, "nodes_now", nodes or (Node("1", "a", 2, 8.0),))
        listener = Silent()
        request = RunRequest((suite,), store=store_url, fleet="f")
        found: FleetResult
        if resume:
            found = resume_fleet("f", replace(request, suites=()), listener)
        else:
            found = run_fleet(request, listener)
        return found, listener

    return run_it


def test_a_gpu_given_twice_is_found_out(go: Any) -> None:
    """The second task gets the GPU that the first gave back: the other one is missing."""

    def script(slot: Slot, job: Job, attempt: int) -> Iterator[Any]:
        if slot.name == "a/1" and attempt == 1:
            yield {"event": "nothing", "device": "GPU-0"}
            return
        yield from measuring(slot, job, "GPU-0" if slot.name == "a/0" else "GPU-1", attempt)

    found, listener = go(lambda *a: late(script, *a))
    assert found.problems == ()
    assert {r.run.environment.get("gpu.uuid") for r in found.results} == {"GPU-0", "GPU-1"}
    slot, job = Scripted.last.jobs[-1]
    assert (slot.name, slot.gpus, job.choose) == ("a/1", 2, True)
    assert "GPU-0" in job.earlier
    assert any("it was given a GPU that is measured already" in n for n in listener.notes)


def late(script: Any, slot: Slot, job: Job, attempt: int) -> Iterator[Any]:
    """The second slot speaks when the first is done."""
    if slot.name == "a/1" and attempt == 1:
        for _ in range(6):
            yield {"event": "nothing", "device": "GPU-0"}
    yield from script(slot, job, attempt)


def test_a_lost_worker_is_tried_again_with_what_it_has(go: Any, store_url: str) -> None:
    def script(slot: Slot, job: Job, attempt: int) -> Iterator[Any]:
        device = f"GPU-{slot.name[-1]}"
        first = attempt == 1 and slot.name == "a/1"
        yield from measuring(slot, job, device, attempt, until=2 if first else 9)

    found, _ = go(script)
    assert found.problems == ()
    assert [len(r.records) for r in found.results] == [3, 3]
    (again,) = [j for s, j in Scripted.last.jobs if j.choose]
    known = again.earlier["GPU-1"]["tiny"]
    assert len(known.done) == 2
    with Store(store_url) as store:
        assert {r.status for r in store.fleet("f")} == {"finished"}


def test_three_attempts_then_it_is_given_up(go: Any) -> None:
    def script(slot: Slot, job: Job, attempt: int) -> Iterator[Any]:
        if slot.name == "a/1":
            yield Event(slot, problem="the worker is lost: killed", retry=True)
            return
        yield from measuring(slot, job, "GPU-0", attempt)

    found, listener = go(script)
    assert found.problems == (("a/1", "the worker is lost: killed"),)
    assert listener.ends == {"a/0": None, "a/1": "the worker is lost: killed"}
    assert sum(s.name == "a/1" for s, _ in Scripted.last.jobs) == 3


def test_resuming_measures_what_is_missing_only(go: Any) -> None:
    def broken(slot: Slot, job: Job, attempt: int) -> Iterator[Any]:
        for message in measuring(slot, job, f"GPU-{slot.name[-1]}", attempt, until=1):
            yield message if isinstance(message, dict) else Event(slot, problem="no more")

    found, _ = go(broken)
    assert [w for w, _ in found.problems] == ["a/0", "a/1"]
    assert [len(r.records) for r in found.results] == [1, 1]
    assert {r.run.status for r in found.results} == {"interrupted"}

    found, _ = go(
        lambda s, j, a: measuring(s, j, f"GPU-{s.name[-1]}", 9), resume=True
    )  # fmt: skip
    assert found.problems == ()
    assert [len(r.records) for r in found.results] == [3, 3]
    assert [r.run.id for r in found.results] == ["2026-GPU-0-1", "2026-GPU-1-1"]
    with pytest.raises(InputError, match="there is a fleet 'f' already"):
        go(broken)


def test_a_lost_store_keeps_every_record(
    go: Any, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes away with the first record, for heads and records alike, and comes back."""
    real = {name: getattr(Store, name) for name in ("put", "begin", "update", "has_run")}

    def gone(*_: object, **__: object) -> Any:
        raise StoreError("the store does not answer: gone")

    def script(slot: Slot, job: Job, attempt: int) -> Iterator[Any]:
        for number, message in enumerate(measuring(slot, job, f"GPU-{slot.name[-1]}", attempt)):
            if number == 1 and slot.name == "a/0":
                for name in real:
                    monkeypatch.setattr(Store, name, gone)
            yield message

    found, listener = go(script)
    for name, function in real.items():
        monkeypatch.setattr(Store, name, function)
    assert len(list(spool_folder().iterdir())) == 2
    assert any("records are kept in" in n for n in listener.notes)
    found, listener = go(lambda s, j, a: measuring(s, j, f"GPU-{s.name[-1]}", 9), resume=True)
    assert sum("delivered" in n for n in listener.notes) == 2
    assert [len(r.records) for r in found.results] == [3, 3]
    assert not list(spool_folder().iterdir())


def test_interrupting_marks_the_runs_and_frees_the_cluster(go: Any, store_url: str) -> None:
    def script(slot: Slot, job: Job, attempt: int) -> Iterator[Any]:
        for message in measuring(slot, job, f"GPU-{slot.name[-1]}", attempt):
            if message["event"] == "end" and slot.name == "a/1":
                raise KeyboardInterrupt
            yield message

    with pytest.raises(Interrupted, match="--launcher ray --resume f"):
        go(script)
    assert Scripted.last.cancelled
    with Store(store_url) as store:
        statuses = sorted(r.status for r in store.fleet("f"))
    assert "interrupted" in statuses
    assert "running" not in statuses


def test_nodes_that_cannot_measure_are_problems_with_their_host(go: Any) -> None:
    bad = Node("2", "b", 2, 8.0, problem="no gpubench there: pip install gpubench")
    found, listener = go(
        lambda s, j, a: measuring(s, j, f"GPU-{s.name[-1]}", a), (Node("1", "a", 2, 8.0), bad)
    )
    assert found.problems == (("b", "no gpubench there: pip install gpubench"),)
    assert any(n.startswith("warning: b: no gpubench there") for n in listener.notes)
    with pytest.raises(InputError, match="there is a fleet"):
        go(lambda *_: iter(()))


def test_no_node_that_can_measure(go: Any) -> None:
    bad = Node("2", "b", 2, 8.0, problem="no gpubench there: pip install gpubench")
    with pytest.raises(InputError, match="no node can measure; b: no gpubench there"):
        go(lambda *_: iter(()), (bad,))
