"""What a step is made of: the share of each class of operators, measured and predicted.

Shares are of the operators' own time added up. Measured, that is device time of kernels (on
CPU time within operators), so gaps between them are in no share.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gpubench.model.classes import MATRIX, by_class
from gpubench.record import Measurement, Record


@dataclass(frozen=True, slots=True)
class Shares:
    """Classes of operators and what each takes of a step.

    Attributes:
        provenance: ``measured`` or ``predicted``.
        times_s: class -> seconds a step, in the order of ``gpubench.model.classes.CLASSES``.
    """

    provenance: str
    times_s: Mapping[str, float]

    @property
    def total_s(self) -> float:
        """All classes together."""
        return sum(self.times_s.values())

    def share(self, name: str) -> float:
        """The part of one class, 0 to 1."""
        return self.times_s.get(name, 0.0) / self.total_s if self.total_s > 0 else 0.0

    @property
    def matrix_share(self) -> float:
        """The part of what matrix units can do: the article's C_TC over C_TC + C_T."""
        return sum(self.share(name) for name in MATRIX)


def measured_shares(record: Record) -> Shares | None:
    """From the traced operators; None where a step was not traced."""
    outcome = record.outcome
    if not isinstance(outcome, Measurement) or not outcome.operators:
        return None
    return Shares("measured", by_class((o.name, o.time_s) for o in outcome.operators))


def predicted_shares(record: Record) -> Shares | None:
    """What the cost model expected on the device that ran; None where it had no answer."""
    return Shares("predicted", record.model.classes) if record.model.classes else None
