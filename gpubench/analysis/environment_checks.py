"""Findings about the machine and the software a run was made on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from gpubench.analysis.findings import Finding
from gpubench.analysis.results import Result
from gpubench.record import Fact, Run

TF32_SWITCHES: Final = (
    "NVIDIA_TF32_OVERRIDE",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
    "CUBLAS_EMULATE_SINGLE_PRECISION",
)
"""Environment variables that change what FP32 means behind the program's back."""

_OFF: Final = frozenset({"none", "false", "0", "0.0", "", "off", "no", "disabled", "not set"})

IDENTITY: Final = ("gpu.name", "gpu.driver", "torch.version", "torch.cuda", "gpu.power_limit_w")
"""Facts without which a GPU number cannot be compared with another."""


def environment_findings(run: Run, rows: Sequence[Result]) -> Iterable[Finding]:
    """Yield what the environment says about the trust in a run."""
    yield from _switches(run)
    yield from _host(run, rows)
    if run.environment.get("git.dirty") is True:
        yield Finding(
            "git_dirty",
            "info",
            "The source tree had uncommitted changes, so the commit does not name this code.",
            "Commit before a run that should be repeatable.",
        )
    if any(r.record.device.type == "cuda" for r in rows):
        yield from _gpu(run)


def _on(value: Fact) -> bool:
    return str(value).lower() not in _OFF


def _switches(run: Run) -> Iterable[Finding]:
    found = [s for s in TF32_SWITCHES if _on(run.environment.get(f"switch.{s}"))]
    if found:
        yield Finding(
            "tf32_override",
            "warn",
            f"{', '.join(found)} {'is' if len(found) == 1 else 'are'} set: results called FP32"
            " may not be true FP32.",
            f"Unset with `unset {' '.join(found)}` and run again.",
        )


def _watched(rows: Sequence[Result]) -> bool:
    """Whether the CPU use of others was measured while the cases were."""
    return any(
        "foreign_cpus" in reading.values
        for r in rows if r.measurement
        for reading in r.measurement.readings
    )  # fmt: skip


def _host(run: Run, rows: Sequence[Result]) -> Iterable[Finding]:
    governor = run.environment.get("cpu.governor")
    if isinstance(governor, str) and governor not in ("performance", ""):
        yield Finding(
            "governor",
            "info",
            f"The CPU governor is “{governor}”, so host times may vary with the load.",
            "Set it with `cpupower frequency-set -g performance`.",
        )
    load, cores = run.environment.get("cpu.load_1m"), run.environment.get("cpu.cores")
    busy = _number(load) is not None and _number(cores) is not None
    # The load average lags by a minute; what was measured beside the cases is better, and
    # the flag `contended` tells it.
    if busy and not _watched(rows) and float(load or 0) > 0.5 * float(cores or 0):
        yield Finding(
            "host_busy",
            "warn",
            f"The host was busy when the run began: load {float(load or 0):.1f} on"
            f" {int(float(cores or 0))} cores.",
            "Measure on a quiet machine.",
        )


def _number(value: Fact) -> float | None:
    return None if isinstance(value, bool | str) or value is None else float(value)


def _gpu(run: Run) -> Iterable[Finding]:
    env = run.environment
    locked = env.get("gpu.clock_locked")
    if locked is True:
        yield Finding("clocks_locked", "good", "The GPU clocks were locked.")
    elif locked is False:
        yield Finding(
            "clocks_unlocked",
            "info",
            "The GPU clocks were not locked; they move with heat and power.",
            "Use `--lock-clocks` (needs root) to compare runs closely.",
        )
    if _on(env.get("gpu.mig")):
        yield Finding(
            "mig",
            "info",
            "The GPU is partitioned (MIG): peaks of the whole card do not apply.",
            "Compare only with runs on the same partition.",
        )
    missing = [key for key in IDENTITY if env.get(key) is None]
    if missing:
        yield Finding(
            "unidentified",
            "warn",
            f"Not recorded: {', '.join(missing)}; this run cannot be compared safely.",
            "Check with `gpubench doctor` that NVML can be read.",
        )
