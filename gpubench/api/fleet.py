"""Run suites on every device of a cluster; every record is stored as it arrives.

A fleet is many ordinary runs, one a device and suite, that share a name (``Run.fleet``):
`results`, `report` and `track` see each as they see any run.
"""

from __future__ import annotations

import json
import pickle
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from gpubench.api.expecting import stored_calibration, with_model
from gpubench.api.running import (
    Interrupted,
    Notes,
    RunRequest,
    RunResult,
    deliver_spooled,
    done_of,
    finished,
    load_suites,
    seed_of,
)
from gpubench.api.slot import TARGET, Earlier, Job
from gpubench.codec import decode_record, decode_run
from gpubench.errors import InputError, StoreError, UnknownName
from gpubench.launch.ray import Event, Node, RayLauncher, Slot, slots_of
from gpubench.record import Record, Run
from gpubench.spec import Suite
from gpubench.store import Store
from gpubench.store.points import device_id
from gpubench.store.spool import Keeper, spool_folder

ATTEMPTS: Final = 3
"""Times that a slot is tried before it is given up."""


class FleetListener(Protocol):
    """Told what happens in a fleet; every method may do nothing."""

    def planned(self, fleet: str, slots: Sequence[str]) -> None:
        """The fleet is about to run on these slots."""

    def began(self, slot: str, run: Run, todo: int) -> None:
        """A slot knows its device and has that many cases to measure."""

    def stored(self, slot: str, record: Record) -> None:
        """A record of a slot is in the store."""

    def ended(self, slot: str, problem: str | None) -> None:
        """A slot is done, or given up with the problem."""

    def note(self, text: str) -> None:
        """One line for people."""


@dataclass(frozen=True, slots=True)
class FleetResult:
    """What came of a fleet.

    Attributes:
        results: of every device, as stored.
        problems: host or slot with what kept it from being measured whole.
    """

    name: str
    results: tuple[RunResult, ...]
    problems: tuple[tuple[str, str], ...]


@dataclass
class _Place:
    """A slot on its way: its attempts, its runs that are open, the device it turned out to be."""

    slot: Slot
    attempts: int = 1
    device: str | None = None
    keepers: dict[str, Keeper] = field(default_factory=dict)
    refused: str | None = None


def run_fleet(
    request: RunRequest,
    listener: FleetListener,
    *,
    address: str | None = None,
    per_node: bool = False,
) -> FleetResult:
    """Measure suites on every device of a Ray cluster.

    Raises:
        InputError: bad suites, no cluster, no node that can measure, or a fleet of that name.
        Interrupted: by Ctrl-C or SIGTERM; what was finished is stored, the cluster is free.
    """
    loaded = load_suites(request.suites, request.settings)
    name = request.fleet or f"fleet-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    with Store(request.store) as store:
        if store.fleet(name):
            raise InputError(
                f"there is a fleet {name!r} already", expected=f"another name, or --resume {name}"
            )
        given = replace(request, fleet=name)
        return _Fleet(store, given, tuple(loaded), seed_of(request), listener).run(
            address, per_node
        )


def resume_fleet(
    name: str,
    request: RunRequest,
    listener: FleetListener,
    *,
    address: str | None = None,
    per_node: bool = False,
) -> FleetResult:
    """Continue a fleet: devices and cases that are missing or failed are measured.

    Raises:
        InputError: as ``run_fleet``; no fleet of that name, or its suite has changed.
    """
    with Store(request.store) as store:
        runs = store.fleet(name)
        if not runs:
            raise UnknownName("fleet", name, store.fleets())
        past = runs[0].settings
        suites = tuple(dict.fromkeys(str(r.settings["suite"]) for r in runs))
        if request.suites and set(request.suites) - set(suites):
            raise InputError(f"fleet {name} is of {', '.join(suites)}")
        given = replace(
            request, suites=suites, fleet=name, filter=past["filter"], settings=tuple(past["set"]),
            quick=bool(past["quick"]), timeout_s=past["timeout_s"], label=runs[0].label,
            lock_clocks=bool(past["lock_clocks"]),
        )  # fmt: skip
        loaded = tuple(load_suites(given.suites, given.settings))
        return _Fleet(store, given, loaded, int(past["seed"]), listener).run(address, per_node)


class _Fleet:
    """One invocation: slots, attempts, and where the records go."""

    def __init__(
        self,
        store: Store,
        request: RunRequest,
        suites: tuple[Suite, ...],
        seed: int,
        listener: FleetListener,
    ) -> None:
        self.store, self.request, self.suites, self.seed = store, request, suites, seed
        self.listener, self.notes = listener, Notes(listener.note)
        self.name = request.fleet or ""
        self.earlier: dict[str, dict[str, dict[str, Earlier]]] = {}
        self.problems: dict[str, str] = {}
        self.places: dict[str, _Place] = {}
        self.done: dict[str, set[tuple[str, str]]] = {}
        self.measured: set[str] = set()
        self.calibrations: dict[str, Any] = {}
        self.seen: set[str] = set()

    def run(self, address: str | None, per_node: bool) -> FleetResult:
        deliver_spooled(self.store, self.notes)
        for known in self.store.fleet(self.name):
            self.done[known.id] = set(done_of(self.store.records(known.id)))
            self._remember(known)
        with RayLauncher(address) as launcher:
            slots = self._slots(launcher.nodes(), per_node, first=True)
            self.listener.planned(self.name, [s.name for s in slots])
            try:
                self._start(launcher, slots)
                while launcher.busy:
                    for event in launcher.events():
                        self._take(launcher, event, per_node)
            except KeyboardInterrupt:
                launcher.cancel()
                for place in self.places.values():
                    self._close(place, "interrupted")
                raise Interrupted(self.name, "ray") from None
        results = tuple(self._results())
        return FleetResult(self.name, results, tuple(sorted(self.problems.items())))

    def _slots(self, nodes: Sequence[Node], per_node: bool, *, first: bool) -> list[Slot]:
        """Slots of nodes that can measure; the others are problems with their host."""
        self.seen |= {n.id for n in nodes}
        able = [n for n in nodes if n.problem is None]
        for node in nodes:
            if node.problem is not None:
                self.problems[node.host] = node.problem
                self.listener.note(f"warning: {node.host}: {node.problem}")
        if first and not able:
            why = "; ".join(f"{h}: {p}" for h, p in list(self.problems.items())[:3])
            raise InputError(f"--launcher ray: no node can measure; {why}")
        slots = slots_of(able, self.request.device, per_node) if able else []
        idle = len(able) - len({s.node.id for s in slots})
        if idle and first and any(s.gpus for s in slots):
            self.listener.note(f"{idle} nodes have no GPU and are not measured (--device cpu does)")
        return slots

    def _start(self, launcher: RayLauncher, slots: Sequence[Slot]) -> None:
        for slot in slots:
            name, count = slot.name, 2
            while name in self.places:  # two nodes of the same host
                name, count = f"{slot.name}#{count}", count + 1
            self.places[name] = _Place(replace(slot, name=name))
            self._submit(launcher, self.places[name])

    def _submit(self, launcher: RayLauncher, place: _Place, *, choose: bool = False) -> None:
        slot = place.slot
        job = Job(
            replace(self.request, device=slot.device), self.suites, self.seed, slot.name,
            self.earlier.get(slot.node.host, {}), choose,
        )  # fmt: skip
        launcher.start(slot, TARGET, pickle.dumps(job))

    # ---- messages

    def _take(self, launcher: RayLauncher, event: Event, per_node: bool) -> None:
        place = self.places[event.slot.name]
        message = event.message
        if message is None:
            self._end(launcher, place, event, per_node)
        elif message["event"] == "head":
            self._head(place, message)
        elif message["event"] == "record":
            record = with_model(
                decode_record(json.loads(message["record"])), self.calibrations.get(message["run"])
            )
            place.keepers[message["run"]].put(record, int(message["position"]))
            self.done[message["run"]] |= done_of([record])
            self.listener.stored(event.slot.name, record)
        elif message["event"] == "end":
            self._remember(finished(place.keepers.pop(message["run"]), "finished", self.notes))
        elif message["event"] == "nothing":
            place.device = str(message["device"])
        else:
            place.refused = str(message["problem"])

    def _head(self, place: _Place, message: Mapping[str, Any]) -> None:
        head = decode_run(json.loads(message["run"]))
        place.device = str(message["device"])
        for text in message["notes"]:
            self.listener.note(f"{place.slot.name}: {text}")
        place.keepers[head.id] = keeper = Keeper(self.store, head)
        keeper.open()
        self.done.setdefault(head.id, set())
        if keeper.path is None:
            self.calibrations[head.id] = stored_calibration(self.store, head.environment)
        self.listener.began(place.slot.name, head, int(message["todo"]))

    def _end(self, launcher: RayLauncher, place: _Place, event: Event, per_node: bool) -> None:
        """A task has ended: done, to be tried again, or given up."""
        slot = place.slot
        problem = place.refused or event.problem
        self._close(place, "interrupted")
        # Two tasks may be given the same GPU, one after the other: then another is missing.
        twice = problem is None and slot.gpus == 1 and place.device in self.measured
        if place.device and problem is None:
            self.measured.add(place.device)
        again = (event.retry and not event.node_lost and place.refused is None) or twice
        if again and place.attempts < ATTEMPTS:
            place.attempts += 1
            place.device = None
            why = problem or "it was given a GPU that is measured already"
            self.listener.note(f"{slot.name}: {why}; attempt {place.attempts} of {ATTEMPTS}")
            if slot.gpus:  # hold all GPUs of the node, to choose the one that is missing
                place.slot = replace(slot, gpus=slot.node.gpus)
            self._submit(launcher, place, choose=slot.gpus > 0 and not per_node)
            return
        if problem is not None:
            self.problems[slot.name] = problem
        self.listener.ended(slot.name, problem)
        if event.node_lost:
            # Its devices cannot be measured elsewhere; a node that came in its place can be.
            fresh = self._slots(launcher.nodes(tuple(self.seen)), per_node, first=False)
            if fresh:
                self.listener.note(f"measured in its place: {', '.join(s.name for s in fresh)}")
                self._start(launcher, fresh)

    def _close(self, place: _Place, status: str) -> None:
        """End the runs of a slot that are open, and keep in mind what they have."""
        for keeper in place.keepers.values():
            self._remember(finished(keeper, status, self.notes))
        place.keepers.clear()

    # ---- what the store has

    def _remember(self, run: Run) -> None:
        host, device = str(run.environment.get("host.name")), device_id(run.environment)
        known = self.earlier.setdefault(host, {}).setdefault(device, {})
        known[run.suite] = Earlier(run, frozenset(self.done[run.id]))

    def _results(self) -> Iterator[RunResult]:
        try:
            for run in self.store.fleet(self.name):
                yield RunResult(run, tuple(self.store.records(run.id)))
        except StoreError as error:
            self.problems["store"] = f"{error}; what it lacks is kept in {spool_folder()}"
