"""Money: a price list (currency per GPU hour) and the cost of calls."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpubench.catalogue import GpuSpec, find
from gpubench.errors import InputError, UnknownName


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices per GPU hour.

    Attributes:
        per_hour: catalogue key -> currency units an hour.
        by_family: family -> the same, for variants without their own price.
        currency: as the file names it; "" if it does not.
    """

    per_hour: Mapping[str, float]
    by_family: Mapping[str, float]
    currency: str

    def per_1000(self, gpu: GpuSpec, time_s: float) -> float | None:
        """Cost of 1,000 calls of ``time_s``; None without a price."""
        price = self.per_hour.get(gpu.key, self.by_family.get(gpu.family))
        return None if price is None else price / 3600.0 * time_s * 1000.0


def read_prices(path: Path) -> Prices:
    """Read a price list.

    CSV with columns ``gpu`` and ``price_per_hour`` (and optionally ``currency``), or YAML with
    one ``gpu: price`` a line (and optionally ``currency: EUR``).

    Raises:
        InputError: not readable, an unknown GPU, a price that is no number above 0.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read prices: {error}", file=str(path)) from error
    yaml = path.suffix.lower() in (".yaml", ".yml")
    entries, currency = _from_yaml(text, path) if yaml else _from_csv(text, path)
    per_hour: dict[str, float] = {}
    by_family: dict[str, float] = {}
    for line, name, raw in entries:
        try:
            gpu = find(name)
        except UnknownName as error:
            raise error.at(file=str(path), line=line) from error
        price = _price(raw, path, line)
        per_hour[gpu.key] = price
        by_family.setdefault(gpu.family, price)
    if not per_hour:
        raise InputError("no prices in it", file=str(path), expected="one price a GPU")
    return Prices(per_hour, by_family, currency)


def _price(raw: Any, path: Path, line: int | None) -> float:
    try:
        price = float(raw)
    except (TypeError, ValueError):
        price = 0.0
    if not 0 < price < float("inf"):
        raise InputError(f"price {raw!r} is not possible", file=str(path), line=line,
                         expected="currency units per GPU hour, above 0")  # fmt: skip
    return price


def _from_csv(text: str, path: Path) -> tuple[list[tuple[int | None, str, Any]], str]:
    reader = csv.DictReader(text.splitlines())
    names = [n.strip() for n in reader.fieldnames or []]
    column = next((n for n in ("price_per_hour", "per_hour", "price") if n in names), None)
    if "gpu" not in names or column is None:
        raise InputError("not a price list", file=str(path), line=1,
                         expected="a header with the columns gpu and price_per_hour")  # fmt: skip
    reader.fieldnames = names
    rows = [(reader.line_num, r) for r in reader]
    currency = next((r["currency"] for _, r in rows if r.get("currency")), "")
    return [(line, r["gpu"] or "", r[column]) for line, r in rows], currency


def _from_yaml(text: str, path: Path) -> tuple[list[tuple[int | None, str, Any]], str]:
    import yaml

    try:
        loaded = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"not YAML: {error}", file=str(path)) from error
    if not isinstance(loaded, dict):
        raise InputError("not a price list", file=str(path), expected="lines of the form a100: 1.5")
    currency = str(loaded.pop("currency", ""))
    body = loaded.pop("prices", None) or loaded
    return [(None, str(k), v) for k, v in body.items()], currency
