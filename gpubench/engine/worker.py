"""The child process: reads cases from stdin, writes records to stdout, one JSON a line.

It speaks the file format (``gpubench.codec``). Messages to it::

    {"op": "hello", "device": "auto", "quick": false, "path": ["/where/user/code/lies"],
     "profiling": null}
    {"op": "case", "case": {...}, "seed": 7}
    {"op": "expand", "case": {...}}

and from it::

    {"event": "ready", "device": {...}, "environment": {...}}
    {"event": "refused", "problem": "...", "expected": "..."}
    {"event": "progress", "samples": 40, "time_s": 0.001}
    {"event": "stage", "text": "learning", "done": 75, "total": 600}
    {"event": "record", "record": {...}, "sticky": false}
    {"event": "expanded", "variants": [{"params": {...}, "reason": null}], "reason": null}

End of input ends it. Whatever a library prints goes to stderr, so that it cannot
corrupt the protocol.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from gpubench.codec import decode_case, dumps, encode_record
from gpubench.devices.opening import open_device, translate_cuda, wake
from gpubench.errors import InputError, Unsupported
from gpubench.ports import Device, Expandable, Variant
from gpubench.record import Fact
from gpubench.registry import workload
from gpubench.spec import Case, DeviceInfo, Profiling

if TYPE_CHECKING:
    from gpubench.telemetry.sampler import Sampler

PROGRESS_EVERY_S: Final = 0.1
PR_SET_PDEATHSIG: Final = 1


def die_with_parent() -> None:
    """Ask the kernel to end this process when the parent goes, even by SIGKILL (Linux)."""
    parent = os.getppid()
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    except (OSError, AttributeError):
        return
    if os.getppid() != parent:  # it went while we were asking
        os._exit(1)


def prefer_for_oom() -> None:
    """If the machine runs out of memory, it should be this process that goes."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")
    except OSError:
        pass


class Worker:
    """One child: a device, a runner, and the line protocol around them."""

    def __init__(self, source: IO[str], sink: IO[str]) -> None:
        self._source, self._sink = source, sink
        self._last_progress = 0.0

    def serve(self) -> int:
        """Answer messages until the input ends; returns the exit status."""
        lines = self._lines()
        hello = next(lines, None)
        if hello is None:
            return 0
        message = json.loads(hello)
        try:
            device = self._open(message["device"])
        except InputError as error:
            self._send({"event": "refused", "problem": error.problem, "expected": error.expected})
            return 0
        profiling = message.get("profiling")
        runner = self._runner(
            device, bool(message.get("quick")), Profiling(**profiling) if profiling else None
        )
        # In front, as the folder of a script is: the user's own module is the one meant.
        path = message.get("path", [])
        sys.path[:] = [*path, *(p for p in sys.path if p not in path)]
        wake(device)
        # What the imports made stays: collecting it anew before each case takes 0.1 s.
        gc.collect()
        gc.freeze()
        for line in lines:
            request = json.loads(line)
            if request["op"] == "expand":
                self._expand(device, decode_case(request["case"], None))
            else:
                self._serve_case(runner, request)
            # A sticky error has been told; the parent starts a fresh process.
        return 0

    def _lines(self) -> Iterator[str]:
        """Messages to this worker, until there are no more."""
        return iter(self._source)

    def _open(self, request: str) -> Device:
        """The device that was asked for.

        Raises:
            InputError: it cannot be used.
        """
        return open_device(request)[0]

    def _more_facts(self) -> Mapping[str, Fact]:
        """What else belongs to the environment."""
        return {}

    def _runner(self, device: Device, quick: bool, profiling: Profiling | None) -> Any:
        from gpubench.engine.environment import capture
        from gpubench.engine.runner import Runner

        device.prepare("fp32")
        probe, facts = open_probe(device.info)
        tracer = None
        if device.info.type == "cuda":
            from gpubench.telemetry.kernels import TorchTracer

            tracer = TorchTracer(device.info)
        environment = capture(device.info, facts)
        self._send(
            {
                "event": "ready",
                "device": asdict(device.info),
                "environment": {**environment.facts, **self._more_facts()},
            }
        )
        profiler = open_profiler(device, profiling) if profiling else None
        return Runner(device, probe, tracer, translate_cuda, quick, profiler, self._stage)

    def _serve_case(self, runner: Any, message: Mapping[str, Any]) -> None:
        case = with_work(decode_case(message["case"], None))
        record, sticky = runner.run(case, int(message["seed"]), self._progress)
        self._send({"event": "record", "record": encode_record(record), "sticky": sticky})

    def _expand(self, device: Device, case: Case) -> None:
        """Name the cases that this one stands for on the device."""
        work = workload(case.workload).from_params(case.params, case.precision)
        variants: Sequence[Variant] = ()
        reason = None
        try:
            device.prepare(case.precision)
            assert isinstance(work, Expandable)
            variants = work.expand(device)
        except Unsupported as error:
            reason = str(error)
        except Exception as error:  # told as a reason; the run goes on without them
            known = translate_cuda(error)
            reason = str(known) if known else f"{type(error).__name__}: {error}"
        self._send(
            {
                "event": "expanded",
                "variants": [{"params": dict(v.params), "reason": v.reason} for v in variants],
                "reason": reason,
            }
        )

    def _progress(self, samples: int, time_s: float) -> None:
        now = time.monotonic()
        if now - self._last_progress >= PROGRESS_EVERY_S:
            self._last_progress = now
            self._send({"event": "progress", "samples": samples, "time_s": time_s})

    def _stage(self, text: str, done: int, total: int) -> None:
        self._send({"event": "stage", "text": text, "done": done, "total": total})

    def _send(self, message: Mapping[str, Any]) -> None:
        self._sink.write(dumps(message) + "\n")
        self._sink.flush()


def open_profiler(device: Device, wanted: Profiling) -> Any:
    """A profiler with the best meter there is: NVML's, or RAPL's on a CPU."""
    from gpubench.engine.profiling import Profiler
    from gpubench.telemetry.nvml import Nvml, NvmlUnavailable
    from gpubench.telemetry.rapl import Rapl

    meter: Any = None
    reason = "not asked for"
    if wanted.work_s > 0 and device.info.type == "cuda":
        try:
            meter = Nvml(uuid=device.info.uuid)
        except NvmlUnavailable as error:
            reason = str(error)
    elif wanted.work_s > 0:
        try:
            meter = Rapl()
        except OSError as error:
            reason = str(error)
    folder = Path(wanted.folder) if wanted.folder else None
    return Profiler(device, meter, reason, folder, wanted.work_s, wanted.no_capture)


def with_work(case: Case) -> Case:
    """The case with FLOPs and bytes counted anew by its workload."""
    work = workload(case.workload).from_params(case.params, case.precision)
    return replace(case, work=work.work())


def sensor_facts(device: DeviceInfo) -> Mapping[str, Fact]:
    """What the sensors of a device say once, and which of them it does not have."""
    if device.type != "cuda":
        from gpubench.telemetry.host import host_gaps

        return host_gaps()
    from gpubench.telemetry.nvml import Nvml, NvmlUnavailable

    try:
        with Nvml(uuid=device.uuid) as nvml:
            return {**nvml.facts(), **nvml.gaps(), "gpu.nvml": "in use"}
    except NvmlUnavailable as error:
        return {"gpu.nvml": str(error)}


def open_probe(device: DeviceInfo) -> tuple[Sampler | None, Mapping[str, Fact]]:
    """A sampler beside this process; without NVML none on a GPU, the reason as a fact."""
    from gpubench.telemetry.sampler import Sampler

    facts = sensor_facts(device)
    if device.type == "cpu" and device.world_size > 1:
        return None, {**facts, "sensor.sampler": "ranks of a host would count as each other's load"}
    if device.type == "cuda" and facts["gpu.nvml"] != "in use":
        return None, facts
    try:
        return Sampler(facts, str(facts["gpu.uuid"]) if device.type == "cuda" else None), facts
    except OSError as error:  # no room for its memory, or no process to be had
        return None, {**facts, "sensor.sampler": f"the sampler did not start: {error}"}


def main() -> int:
    """Entry point of ``python -m gpubench.engine.worker``."""
    die_with_parent()
    prefer_for_oom()
    # The protocol keeps the real stdout; everything else that prints goes to stderr.
    sink = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    try:
        return Worker(sys.stdin, sink).serve()
    except (BrokenPipeError, KeyboardInterrupt):
        return 1


if __name__ == "__main__":
    sys.exit(main())
