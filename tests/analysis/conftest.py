import pytest

from gpubench.analysis.results import results
from gpubench.record import (
    Accuracy,
    DeviceRef,
    Environment,
    Measurement,
    Peaks,
    Reading,
    Record,
    Run,
    Samples,
)
from gpubench.spec import Case, Policy, Work


class Build:
    """Records and runs in one line each, all in order unless said otherwise."""

    cpu = DeviceRef("cpu", "Some CPU")
    gpu = DeviceRef("cuda", "Some GPU", "a100-sxm4-40gb")

    def case(self, key="k", precision="fp32", baseline=None, workload="gemm", **params):
        params = params or {"m": 10, "n": 10, "k": 10}
        return Case(key=key, benchmark="b", workload=workload, precision=precision,
                    params=params, policy=Policy(), work=Work(2000.0, 100.0, 100.0, "2mnk"),
                    baseline=baseline)  # fmt: skip

    def measured(self, key="k", times=(1.0,) * 20, device=None, flags=(), accuracy=None,
                 spoiled=None, peaks=None, readings=None, cores=None, **case):  # fmt: skip
        device = device or self.cpu
        if readings is None:
            readings = (Reading(0.0, {"clock_hz": 1e9}),) if device.type == "cuda" else ()
        return Record(
            case=self.case(key, **case),
            device=device,
            outcome=Measurement(
                samples=Samples(tuple(times), spoiled=spoiled or {}),
                method="loop",
                cache="cold",
                stopped_by="target_ci",
                accuracy=Accuracy(1e-8, 1e-6, "FP64") if accuracy is None else accuracy or None,
                tensor_cores=cores,
                readings=readings,
                flags=flags,
            ),
            peaks=peaks or Peaks(),
        )

    def record(self, outcome, key="k", device=None, **case):
        return Record(self.case(key, **case), device or self.cpu, outcome)

    def run(self, env=None, **changes):
        given = {"id": "r1", "suite": "s", "started_at": "2026-01-01T00:00:00+00:00",
                 "status": "finished", "environment": Environment(env or {})}  # fmt: skip
        return Run(**(given | changes))

    def results(self, *records, **changes):
        return results(self.run(**changes), records)


@pytest.fixture
def build():
    return Build()
