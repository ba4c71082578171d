"""Fill a store with a fleet of made-up GPUs, some of them with planted faults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gpubench.record import DeviceRef, Environment, Failure, Outcome, Reading, Record, Run
from gpubench.store import Store
from tests.builders import gemm_case, measurement
from tests.builders import run as make_run

FACTS: dict[str, Any] = {
    "gpu.name": "NVIDIA H100 80GB HBM3", "gpu.driver": "570.86", "gpu.power_limit_w": 700.0,
    "gpu.pcie_width": 16, "gpu.pcie_width_max": 16, "gpu.pcie_generation": 5, "gpu.ecc": True,
    "gpu.ecc_uncorrected": 0, "gpu.remapped_rows": 0, "torch.version": "2.8.0",
}  # fmt: skip
CASES = tuple(gemm_case(p, n) for p in ("bf16", "fp32", "tf32") for n in (256, 1024, 4096))


def outcome(time_s: float, clock_hz: float = 1.755e9, temperature_c: float = 62.0) -> Outcome:
    times = tuple(time_s * (1 + 0.0005 * d) for d in (-2, -1, 0, 0, 1, 2))
    values = {"clock_hz": clock_hz, "temperature_c": temperature_c, "power_w": 640.0}
    return measurement(*times, readings=(Reading(0.0, values),))


def device_run(host: int, index: int, fleet: str, facts: Mapping[str, Any], **more: Any) -> Run:
    name = f"node-{host:03d}"
    environment = {
        **FACTS, "host.name": name, "host.rack": f"r{host // 4}",
        "gpu.uuid": f"GPU-{host:03d}-{index}", **facts,
    }  # fmt: skip
    given: dict[str, Any] = {
        "suite": "acceptance", "status": "finished", "planned": len(CASES),
        "environment": Environment({k: v for k, v in environment.items() if v != "absent"}),
        "settings": {"fleet": fleet, "slot": f"{name}/{index}"}, **more,
    }  # fmt: skip
    return make_run(f"20260701-0102{index:02d}-{host:06d}", **given)


def fill(
    store: Store,
    hosts: int = 8,
    gpus: int = 8,
    *,
    fleet: str = "acceptance",
    slow: Mapping[tuple[int, int], float] | None = None,
    facts: Mapping[tuple[int, int], Mapping[str, Any]] | None = None,
    clocks: Mapping[tuple[int, int], float] | None = None,
    broken: Mapping[tuple[int, int], str] | None = None,
    seed: int = 1,
) -> None:
    """A run a GPU: good ones differ by 0.7 % in everything and by 0.4 % in each case.

    Args:
        slow: (host, gpu) -> ratio of its times.
        facts: (host, gpu) -> facts that differ.
        clocks: (host, gpu) -> its SM clock.
        broken: (host, gpu) -> why its first case fails.
    """
    rng = np.random.default_rng(seed)
    for host in range(hosts):
        for index in range(gpus):
            at = (host, index)
            head = device_run(host, index, fleet, (facts or {}).get(at, {}))
            whole = rng.normal(0, 0.007) + np.log((slow or {}).get(at, 1.0))
            clock = (clocks or {}).get(at, 1.755e9 * float(np.exp(rng.normal(0, 0.003))))
            found = []
            for k, case in enumerate(CASES):
                time_s = 1e-3 * (k + 1) * float(np.exp(whole + rng.normal(0, 0.004)))
                result = outcome(time_s, clock)
                if k == 0 and at in (broken or {}):
                    result = Failure("error", (broken or {})[at])
                found.append(Record(case, DeviceRef("cuda", str(FACTS["gpu.name"])), result))
            store.add(head, found)
