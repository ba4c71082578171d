"""Parameters of many cases as columns: defaults, checks, and one error a bad case."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubench.errors import UnknownName
from gpubench.model.terms import Array


class Rows:
    """Columns of raw parameter values; a bad value marks its case and goes on.

    Attributes:
        count: cases.
        errors: row -> what is wrong with it, the first thing only.
    """

    def __init__(self, columns: Mapping[str, Sequence[Any]], count: int) -> None:
        self._columns = columns
        self.count = count
        self.errors: dict[int, str] = {}

    def has(self, name: str) -> bool:
        """Whether any case gives ``name``."""
        return any(v not in (None, "") for v in self._columns.get(name, ()))

    def number(
        self, name: str, default: float | None = None, *, least: float = 1.0,
        whole: bool = True,
    ) -> Array:  # fmt: skip
        """A numeric column, shape (count,); bad rows hold ``least`` and are marked."""
        raw = self._columns.get(name)
        if raw is None:
            if default is not None:
                return np.full(self.count, default)
            raw = [None] * self.count
        try:
            values = np.array(raw, dtype=np.float64)
        except (TypeError, ValueError):
            values = np.array([self._one(name, i, v, default) for i, v in enumerate(raw)])
        if default is not None:
            # NumPy takes None for NaN, but a case that does not give the parameter has the default.
            absent = [i for i in np.flatnonzero(np.isnan(values)) if raw[int(i)] is None]
            values[absent] = default
        good = np.isfinite(values) & (values >= least)
        if whole:
            good &= values == np.floor(values)
        for i in np.nonzero(~good)[0]:
            self._mark_number(int(i), name, raw[int(i)], least, whole)
        return np.where(good, values, max(least, 1.0))

    def choice(self, name: str, codes: Mapping[str, float], default: str | None) -> Array:
        """A column of words as numbers, shape (count,); unknown words are marked."""
        raw = self._columns.get(name)
        if raw is None and default is not None:
            return np.full(self.count, codes[default])
        if raw is None:
            raw = [None] * self.count
        known: dict[Any, float] = dict(codes)
        if default is not None:
            known[None] = known[""] = codes[default]
        out = np.empty(self.count)
        for i, word in enumerate(raw):
            code = known.get(word)
            if code is None:
                code = self._fold(i, name, word, codes)
                known[word] = code
            if math.isnan(code):
                self._mark_choice(i, name, word, codes)
                code = next(iter(codes.values()))
            out[i] = code
        return out

    def replace(self, name: str, start: str, by: str) -> None:
        """Read every word of a column that begins with ``start`` as ``by``."""
        raw = self._columns.get(name)
        if raw is not None:
            found = [by if str(v).startswith(start) else v for v in raw]
            self._columns = {**self._columns, name: found}

    def mark(self, where: NDArray[np.bool_], problem: str) -> None:
        """Mark every case where ``where`` holds."""
        for i in np.nonzero(where)[0]:
            self.errors.setdefault(int(i), problem)

    def _one(self, name: str, i: int, value: Any, default: float | None) -> float:
        if value in (None, ""):
            return math.nan if default is None else default
        try:
            return float(value)
        except (TypeError, ValueError):
            self.errors.setdefault(i, f"{name}: {value!r} is not a number")
            return math.nan

    def _mark_number(self, i: int, name: str, value: Any, least: float, whole: bool) -> None:
        if value in (None, ""):
            self.errors.setdefault(i, f"{name}: missing")
        else:
            kind = "a whole number" if whole else "a number"
            self.errors.setdefault(
                i, f"{name}: {value} is not possible; expected {kind} of at least {least:g}"
            )

    @staticmethod
    def _fold(_i: int, _name: str, word: Any, codes: Mapping[str, float]) -> float:
        return codes.get(str(word).strip().lower(), math.nan) if word is not None else math.nan

    def _mark_choice(self, i: int, name: str, word: Any, codes: Mapping[str, float]) -> None:
        if word in (None, ""):
            self.errors.setdefault(i, f"{name}: missing; expected one of {', '.join(codes)}")
        else:
            self.errors.setdefault(i, f"{name}: {UnknownName(name, str(word), codes)}")
