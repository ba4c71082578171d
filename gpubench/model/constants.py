"""The fitted constants, with their meaning, bounds and units.

``constants.json`` is written by ``benchmarks/model/fit.py``; the model reads values only.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

from gpubench.model.terms import Constants


@cache
def described() -> dict[str, dict[str, dict[str, Any]]]:
    """Class -> name -> {value, low, high, unit, meaning, fitted, on_bound, source}."""
    path = resources.files("gpubench.model") / "constants.json"
    loaded: dict[str, dict[str, dict[str, Any]]] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


@cache
def constants() -> Constants:
    """Class -> name -> value, in SI units."""
    return {g: {n: float(d["value"]) for n, d in names.items()} for g, names in described().items()}
