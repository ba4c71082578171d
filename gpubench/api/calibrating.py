"""Measure the anchors of a device and keep what they say."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from gpubench.api.expecting import device_id
from gpubench.api.running import Listener, RunRequest, RunResult, run
from gpubench.store import Store

if TYPE_CHECKING:
    from gpubench.model.calibration import Calibration, ModelErrors


def calibrate(
    request: RunRequest, listener: Listener
) -> tuple[Calibration, ModelErrors, RunResult]:
    """Measure the anchors of ``request.suites`` on this device and keep what they say."""
    from gpubench.model.calibration import calibrate as make
    from gpubench.model.calibration import model_errors

    (result,) = run(request, listener)
    device = device_id(result.run.environment)
    made = make(result.records, device, result.run.id, result.run.started_at)
    with Store(request.store) as store:
        store.put_calibration(device, asdict(made))
    return made, model_errors(made, result.records), result
