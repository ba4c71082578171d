"""What is expected of a record: by the datasheet model, and by a calibration."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gpubench.errors import InputError
from gpubench.record import Environment, Record
from gpubench.store import Store
from gpubench.store.points import device_id

__all__ = ["device_id", "stored_calibration", "with_model"]

if TYPE_CHECKING:
    from gpubench.model.calibration import Calibration


def stored_calibration(store: Store, environment: Environment) -> Calibration | None:
    """The calibration of this device, where there is one."""
    body = store.calibration(device_id(environment))
    if body is None:
        return None
    from gpubench.model.calibration import Calibration

    return Calibration(**body)


def with_model(record: Record, calibration: Calibration | None = None) -> Record:
    """The record with what the cost model expects; as it is where it has no answer.

    Datasheet facts say nothing of a CPU, of a GPU outside the catalogue, of a workload or
    precision that the model does not know; a calibration of this device may.
    """
    if calibration is not None:
        from gpubench.model.calibration import calibrated_s

        expected = calibrated_s(calibration, record.case)
        record = replace(record, model=replace(record.model, calibrated_s=expected))
    if record.device.gpu_key is None or record.model.predicted_s is not None:
        return record
    from gpubench.catalogue import find
    from gpubench.model import predict

    case = record.case
    try:
        p = predict(find(record.device.gpu_key), case.workload, case.precision, case.params)
    except InputError:
        return record
    known = replace(
        record.model, predicted_s=p.predicted_s, low_s=p.low_s, high_s=p.high_s, bound=p.bound,
        classes=p.classes,
    )  # fmt: skip
    return replace(record, model=known)
