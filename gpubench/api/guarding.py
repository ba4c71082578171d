"""Guard the speed of tests: measure, store, compare with what was accepted, accept."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import TracebackType

from gpubench.analysis.change import Change, change_between, doubts
from gpubench.api.expecting import device_id
from gpubench.api.measuring import Asked, opened
from gpubench.engine.peaks import peaks_of
from gpubench.errors import Unsupported
from gpubench.ports import Device
from gpubench.record import DeviceRef, Environment, Measurement, Record, Run, Skip
from gpubench.spec import Case
from gpubench.store import Acceptance, Store


@dataclass(frozen=True, slots=True)
class Taken:
    """A stored record with the run it is in and the identity of its device."""

    record: Record
    run: Run
    device: str


class Guard:
    """A session of measurements: one run in the store for each device it meets.

    Nothing is opened before the first measurement. Use as a context manager.
    """

    def __init__(self, suite: str, *, store: str | None = None, label: str | None = None) -> None:
        self._suite, self._url, self._label = suite, store, label
        self._store: Store | None = None
        self._runs: dict[str, tuple[Run, int]] = {}

    def __enter__(self) -> Guard:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None
    ) -> None:
        self.close("finished" if kind is None else "interrupted")

    @property
    def store(self) -> Store:
        """The store, opened on first use."""
        if self._store is None:
            self._store = Store(self._url)
        return self._store

    def measure(self, asked: Asked, case: Case) -> Taken:
        """Measure and store; what the function raises is raised, and nothing stored then.

        Raises:
            Unsupported: the device does not have the precision; the skip is stored.
        """
        with opened(asked) as device:
            run, position = self._run(device)
            record = Record(
                case=case,
                device=DeviceRef(device.info.type, device.info.name, device.info.gpu_key),
                outcome=Skip("not measured"),
                started_at=_now(),
                peaks=peaks_of(device.info, case.precision),
            )
            try:
                record = replace(record, outcome=asked.measured_on(device, case))
            except Unsupported as error:
                self.store.put(run.id, replace(record, outcome=Skip(str(error))), position)
                raise
            self.store.put(run.id, record, position)
        return Taken(record, run, device_id(run.environment))

    def compare(self, taken: Taken, threshold: float) -> Change:
        """Compare with the newest accepted level of the case on the same device."""
        now = taken.record.outcome
        assert isinstance(now, Measurement)
        found = self.store.acceptances(taken.record.case.key)
        here = next((a for a in found if a.device == taken.device), None)
        if here is None:
            where = "accepted on another device only" if found else "nothing accepted yet"
            return Change("unknown", f"not judged: {where}")
        level = self.store.record(here.run_id, here.case_key)
        if level is None or not isinstance(level.outcome, Measurement):
            return Change("unknown", f"not judged: the accepted run {here.run_id} is gone")
        change = change_between(now, level.outcome, threshold)
        since = f"accepted {here.accepted_at[:10]}: {here.reason}"
        return replace(change, text=f"{change.text} ({since})")

    def accept(self, taken: Taken, reason: str) -> str | None:
        """Accept the level of a record for its case and device; returns why not, or None.

        A doubtful level is not accepted: it would shadow a good one, and nothing could be
        judged against it.
        """
        outcome = taken.record.outcome
        flags = doubts(outcome) if isinstance(outcome, Measurement) else ("not measured",)
        if flags:
            return ", ".join(flags)
        self.store.accept(
            Acceptance(taken.record.case.key, taken.device, taken.run.id, reason, _now())
        )
        return None

    def close(self, status: str = "finished") -> None:
        """Mark the runs as ended and close the store. Safe to call twice."""
        store, self._store = self._store, None
        if store is None:
            return
        for run, _ in self._runs.values():
            store.finish(run, status)
        self._runs.clear()
        store.close()

    def _run(self, device: Device) -> tuple[Run, int]:
        """The run of a device, begun on first use, and the next record's position in it."""
        name = device.info.torch_name
        if name not in self._runs:
            run = self._begin(device)
            self.store.begin(run)
            self._runs[name] = run, 0
        run, position = self._runs[name]
        self._runs[name] = run, position + 1
        return run, position

    def _begin(self, device: Device) -> Run:
        now = datetime.now(UTC)
        return Run(
            id=f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}",
            suite=self._suite,
            description="measured in tests",
            label=self._label,
            started_at=now.isoformat(timespec="milliseconds"),
            environment=_environment(device),
        )


def _environment(device: Device) -> Environment:
    from gpubench.engine.environment import capture
    from gpubench.engine.worker import sensor_facts

    return capture(device.info, sensor_facts(device.info))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
