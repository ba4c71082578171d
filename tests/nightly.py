"""Fill a store with nights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from gpubench.record import Environment, Outcome, Reading, Run, TensorCoreUse
from gpubench.spec import Case
from gpubench.store import Store
from tests.builders import gemm_case, measurement, record, run

GPU = {
    "host.name": "node-7", "gpu.name": "NVIDIA A100-SXM4-40GB", "gpu.uuid": "GPU-1",
    "gpu.driver": "550.54", "torch.version": "2.8.0", "torch.cuda": "12.8",
    "cudnn.version": "9.10.2", "gpu.power_limit_w": 400.0, "git.commit": "a" * 40,
}  # fmt: skip


def night(
    index: int, facts: Mapping[str, Any] | None = None, *, suite: str = "nightly", **more: Any
) -> Run:
    began = datetime(2026, 1, 1, 1, tzinfo=UTC) + timedelta(days=index)
    given = {"status": "finished", "label": f"night-{index}", **more}
    return run(
        f"{began:%Y%m%d-%H%M%S}-abcdef",
        suite=suite,
        started_at=began.isoformat(timespec="milliseconds"),
        environment=Environment({**GPU, **(facts or {})}),
        **given,
    )


def measured(
    time_s: float, clock_hz: float | None = 1.41e9, kernel: str = "ampere_gemm", **more: Any
) -> Outcome:
    """A measurement of eight samples around a median, as tight as on a quiet machine."""
    times = tuple(time_s * (1 + 0.001 * d) for d in (-2, -1, -0.5, 0, 0, 0.5, 1, 2))
    values = {"temperature_c": 60.0, **({"clock_hz": clock_hz} if clock_hz else {})}
    return measurement(
        *times, readings=(Reading(0.0, values),),
        tensor_cores=TensorCoreUse("used", kernels=(kernel,)), **more,
    )  # fmt: skip


def fill(
    store: Store,
    cases: Sequence[tuple[Case, Sequence[Outcome]]],
    heads: Sequence[Run] | None = None,
) -> list[Run]:
    """A run a night with an outcome of each case."""
    count = len(cases[0][1])
    runs = list(heads or [night(i) for i in range(count)])
    for i, head in enumerate(runs):
        store.add(head, [record(c, outcomes[i]) for c, outcomes in cases])
    return runs


def one_case(
    store: Store, times_s: Sequence[float], heads: Sequence[Run] | None = None, **more: Any
) -> list[Run]:
    """Nights of one case, by their medians."""
    return fill(store, [(CASE, [measured(t, **more) for t in times_s])], heads)


CASE = gemm_case()
