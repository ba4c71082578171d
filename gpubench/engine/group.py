"""Several ranks behind the one protocol of a worker.

``python -m gpubench.engine.group --nproc N`` starts N ranks with torchrun's engine and passes
messages between its own pipes and rank 0, which serves them together with the others. With
``--join`` this very process is one rank of a job that somebody else started (torchrun, srun).

When a rank is lost, the process says so::

    {"event": "lost", "kind": "crash", "reason": "rank 1 died of SIGSEGV; the others were ended"}
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, Final

from gpubench.codec import decode_case, dumps, encode_record
from gpubench.devices.group import (
    Group,
    GroupDevice,
    device_request,
    run_ranks,
)
from gpubench.devices.opening import open_device
from gpubench.engine.worker import Worker, die_with_parent, prefer_for_oom, with_work
from gpubench.errors import CaseFailed, InputError
from gpubench.ports import Device
from gpubench.record import DeviceRef, Fact, Failure, Record, Skip
from gpubench.spec import Case, DeviceInfo

MEETING_SHARE: Final = 0.6
PARTING_SHARE: Final = 0.15
"""Parts of a case's timeout after which a rank is given up while it is measured, and when it
should be done: before the parent ends all, so that the missing one can be named."""
GRACE_S: Final = 3.0
"""Time for rank 0 to fail by itself once another has (most failures are everybody's), and for
the engine to tell what a rank died of."""


class Rank(Worker):
    """One rank; rank 0 alone has a line to the parent, and passes on what comes over it."""

    def __init__(self, group: Group, source: IO[str] | None, sink: IO[str] | None) -> None:
        # Only rank 0 reads and writes; see ``_lines`` and ``_send``.
        super().__init__(source or sys.stdin, sink or sys.stderr)
        self._group = group
        self._case = 0
        self._info: DeviceInfo | None = None
        self._sending = threading.Lock()

    def _lines(self) -> Iterator[str]:
        while True:
            line = self._group.broadcast(self._source.readline() if self._group.rank == 0 else None)
            if not line:
                return
            yield line

    def _open(self, request: str) -> Device:
        """The device of this rank; what is wrong on one of them is refused by all."""
        problem: InputError | None = None
        device: Device | None = None
        try:
            device, _note = open_device(device_request(request, self._group))
        except InputError as error:
            problem = error
        said = (problem.problem, problem.expected) if problem else None
        for rank, told in enumerate(self._group.gather(said)):
            if told:
                raise InputError(f"rank {rank}: {told[0]}", expected=told[1])
        assert device is not None
        self._group.use(device.info.type)
        together = GroupDevice(device, self._group)
        self._info = together.info
        return together

    def _more_facts(self) -> Mapping[str, Fact]:
        return self._group.facts()

    def _serve_case(self, runner: Any, message: Mapping[str, Any]) -> None:
        case = with_work(decode_case(message["case"], None))
        self._case += 1
        self._group.timeout_s = MEETING_SHARE * case.policy.timeout_s
        done = threading.Event()
        if self._group.rank == 0:
            threading.Thread(target=self._watch, args=(self._case, case, done), daemon=True).start()
        record, sticky = runner.run(case, int(message["seed"]), self._progress)
        done.set()
        self._group.timeout_s = PARTING_SHARE * case.policy.timeout_s
        record, sticky = self._together(record, sticky)
        if sticky:
            # If a rank died, torchrun's engine knows of what: it ends this process and says so.
            time.sleep(GRACE_S)
        self._send({"event": "record", "record": encode_record(record), "sticky": sticky})

    def _watch(self, number: int, case: Case, done: threading.Event) -> None:
        """On rank 0: speak for it if another rank failed and it waits for that one for ever."""
        while not done.wait(0.2):
            found = self._group.failure(number)
            if found is None or done.wait(GRACE_S):
                continue
            rank, kind, reason = found
            info = self._info
            assert info is not None
            record = Record(
                case, DeviceRef(info.type, info.name, info.gpu_key),
                Failure(kind, f"rank {rank}: {reason}"),
            )  # fmt: skip
            self._send({"event": "record", "record": encode_record(record), "sticky": True})
            os._exit(1)  # the main thread hangs in a collective; the parent ends the others

    def _together(self, record: Record, sticky: bool) -> tuple[Record, bool]:
        """Rank 0's record, unless some rank could not do it."""
        outcome = record.outcome
        told = None
        if isinstance(outcome, Failure):
            told = (outcome.kind, outcome.reason, outcome.traceback)
            if self._group.rank:
                self._group.tell_failure(self._case, outcome.kind, outcome.reason)
        elif isinstance(outcome, Skip):
            told = ("skipped", outcome.reason, None)
        try:
            answers = self._group.gather((told, sticky))
        except CaseFailed as error:
            reason = f"{outcome.reason}; {error}" if isinstance(outcome, Failure) else str(error)
            return replace(record, outcome=Failure(error.kind, reason)), True
        for rank, (bad, _) in enumerate(answers):
            if bad is None:
                continue
            kind, reason, trace = bad
            if kind == "skipped":
                outcome = Skip(reason)
            else:
                outcome = Failure(kind, f"rank {rank}: {reason}", trace)
            return replace(record, outcome=outcome), any(s for _, s in answers)
        return record, any(s for _, s in answers)

    def _send(self, message: Mapping[str, Any]) -> None:
        if self._group.rank == 0:
            with self._sending:
                super()._send(message)


def serve_rank(address: str) -> None:
    """What each rank runs: join, and for rank 0 connect to the socket at ``address``."""
    die_with_parent()
    prefer_for_oom()
    os.dup2(2, 1)  # what libraries print is no message
    group = Group.join()
    if group.rank == 0:
        line = socket.socket(socket.AF_UNIX)
        line.connect(address)
        source, sink = (line.makefile(mode, encoding="utf-8") for mode in ("r", "w"))
        Rank(group, source, sink).serve()
    else:
        Rank(group, None, None).serve()
    group.leave()


def lead(count: int) -> int:
    """Start the ranks, and pass messages on until they end."""
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as door:
        address = str(Path(folder) / "rank0")
        door.bind(address)
        door.listen(1)
        threading.Thread(target=_relay, args=(door, out), daemon=True).start()
        try:
            run_ranks(count, serve_rank, address)
        except CaseFailed as error:
            lost = {"event": "lost", "kind": error.kind, "reason": str(error)}
            out.write(dumps(lost).encode() + b"\n")
            return 1
    return 0


def _relay(door: socket.socket, out: IO[bytes]) -> None:
    line, _ = door.accept()

    def forward() -> None:
        # By the file descriptor: a thread in a buffered read would hold up the exit.
        while chunk := os.read(0, 1 << 16):
            line.sendall(chunk)
        line.shutdown(socket.SHUT_WR)

    threading.Thread(target=forward, daemon=True).start()
    while chunk := line.recv(1 << 16):
        out.write(chunk)


def join() -> int:
    """Be one rank of a job that is there already; rank 0 speaks over this process's pipes."""
    sink = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    group = Group.join()
    Rank(group, sys.stdin, sink).serve()
    group.leave()
    return 0


def main(arguments: list[str]) -> int:
    """Entry point of ``python -m gpubench.engine.group``."""
    die_with_parent()
    prefer_for_oom()
    try:
        if arguments == ["--join"]:
            return join()
        return lead(int(arguments[arguments.index("--nproc") + 1]))
    except (BrokenPipeError, KeyboardInterrupt):
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
