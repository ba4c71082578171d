"""What the HTML file carries for its scripts: the exported data, the table, the figures."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any, Final, Protocol

from gpubench import codec
from gpubench.record import Energy, Record, Run
from gpubench.report.view import Cell, Column, FigureView, Group, Row
from gpubench.spec import Policy

DATA_BUDGET: Final = 1_700_000
"""Characters of embedded data up to which no sample is left out."""

_FEWEST: Final = 12
"""Samples a case keeps however large the run is."""

_SAMPLE_CHARS: Final = 12
_DIGITS: Final = 6

_CONTRACT: Final = frozenset(
    {"case", "device", "status", "reason", "times_s", "summary", "work", "model", "energy",
     "ranges", "flags"}
)  # fmt: skip

Json = dict[str, Any]


def escape_script(text: str) -> str:
    """Escape what could end the element or a line; only strings hold these characters."""
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


def compact(value: object) -> str:
    """Strict JSON without spaces."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError:  # a NaN somewhere: only then is the walk over everything worth its time
        finite = json.loads(codec.dumps(value))
        return json.dumps(finite, ensure_ascii=False, separators=(",", ":"))


def packed(text: str) -> str:
    """Text gzipped, in base64: for what only the file's own script reads."""
    return base64.b64encode(gzip.compress(text.encode("utf-8", "replace"), 7, mtime=0)).decode()


def embedded_data(runs: Sequence[tuple[Run, Sequence[Record]]]) -> tuple[str, str]:
    """The exported document(s) for the file, and a note on what was left out.

    Up to ``DATA_BUDGET`` the documents are whole. Beyond it absent values and defaults are
    dropped, then samples are rounded and thinned; summaries stay those of all samples.
    """
    documents = [codec.encode_document(run, records) for run, records in runs]
    counts = [len(r["times_s"]) for d in documents for r in d["records"] if r["times_s"]]
    if 10 * sum(counts) < DATA_BUDGET:
        text = _pack(documents)
        if len(text) <= DATA_BUDGET:
            return escape_script(text), ""
    for document in documents:
        document["records"] = [_lean(r) for r in document["records"]]
    bare = [{**d, "records": [_thinned(r, _FEWEST) for r in d["records"]]} for d in documents]
    spare = DATA_BUDGET - len(_pack(bare))
    kept = max(_FEWEST, _FEWEST + spare // (_SAMPLE_CHARS * max(1, len(counts))))
    for document in documents:
        document["records"] = [_thinned(r, kept) for r in document["records"]]
    note = (
        f"To keep this file small, its data is rounded to {_DIGITS} digits"
        + (f" and holds at most {kept} samples a case" if max(counts, default=0) > kept else "")
        + " and no sensor readings; every statistic was made from all samples at full precision."
        " All of them are in the store: gpubench results export RUN --format json."
    )
    return escape_script(_pack(documents)), note


def _pack(documents: Sequence[Json]) -> str:
    return compact(documents[0] if len(documents) == 1 else list(documents))


def _lean(record: Json) -> Json:
    """Without what a reader fills in: nulls, empty lists, the default policy and energy."""
    lean = {k: v for k, v in record.items() if k in _CONTRACT or v not in (None, [], {})}
    defaults = asdict(Policy())
    case = dict(record["case"])
    case["policy"] = {k: v for k, v in case["policy"].items() if v != defaults[k]}
    lean["case"] = {k: v for k, v in case.items() if v not in (None, "", {}) or k == "params"}
    lean["energy"] = {k: v for k, v in record["energy"].items() if v is not None}
    if record["energy"] == asdict(Energy()):
        lean["energy"] = None
    for key in ("peaks", "model", "samples", "summary"):
        if lean.get(key):
            lean[key] = {k: v for k, v in lean[key].items() if v not in (None, [], {})}
    return {k: v for k, v in lean.items() if k in _CONTRACT or v not in (None, [], {})}


def _thinned(record: Json, kept: int) -> Json:
    """With fewer samples and digits; what is kept of a spoiled sample stays marked."""
    thin: Json = {k: _rounded(v) for k, v in record.items() if k not in ("times_s", "samples")}
    times, samples = record["times_s"], dict(record.get("samples", {}))
    chosen = _choose(len(times), kept, [int(i) for i in samples.get("spoiled", {})])
    new = {old: position for position, old in enumerate(chosen)}
    thin["times_s"] = [_round(times[i]) for i in chosen]
    samples.pop("host_enqueue_s", None)  # its median stays in the summary
    if len(chosen) < len(times):
        samples["thinned_from"] = len(times)
        samples.pop("launches", None)
    if "spoiled" in samples:
        marked = samples["spoiled"].items()
        samples["spoiled"] = {str(new[int(i)]): why for i, why in marked if int(i) in new}
    if samples:
        thin["samples"] = samples
    thin.pop("readings", None)  # the details of the case hold what they say
    return thin


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return _round(value)
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    return [_rounded(v) for v in value] if isinstance(value, list) else value


def _choose(n: int, kept: int, spoiled: Sequence[int]) -> list[int]:
    """Evenly spaced samples in order, with some of the spoiled ones always among them."""
    if n <= kept:
        return list(range(n))
    marked = spoiled[:: -(-len(spoiled) // max(1, kept // 4))] if spoiled else []
    even = kept - len(marked)
    return sorted({*(i * n // even for i in range(even)), *marked})


def _round(value: float) -> float:
    # Counts such as FLOPs are exact integers held in floats; those keep every digit.
    return value if value.is_integer() else float(f"{value:.{_DIGITS}g}")


# ---------------------------------------------------------------- table and figures


class _Strings:
    """Strings by number, since the same ones return in every case."""

    def __init__(self) -> None:
        self._index: dict[str, int] = {}

    def __call__(self, text: str) -> int:
        return self._index.setdefault(text, len(self._index))

    def all(self) -> list[str]:
        return list(self._index)


class CaseTable(Protocol):
    """What has a table of cases: a run, or a comparison."""

    @property
    def prefix(self) -> str:
        """Put before the anchors of its cases."""

    @property
    def columns(self) -> Sequence[Column]:
        """Columns of the table."""

    @property
    def rows(self) -> Sequence[Row]:
        """One a case."""


def table_data(tables: Sequence[CaseTable]) -> str:
    """Rows and details of every table of cases, packed, for the script of the table."""
    strings = _Strings()
    runs = [_run_table(table, strings) for table in tables]
    return packed(compact({"strings": strings.all(), "runs": runs}))


def _run_table(run: CaseTable, strings: _Strings) -> Json:
    return {
        "prefix": run.prefix,
        "columns": [{"title": c.title, "name": c.name, "numeric": c.numeric} for c in run.columns],
        "rows": [_row(row, strings) for row in run.rows],
    }


def _row(row: Row, strings: _Strings) -> list[Any]:
    return [
        row.anchor,
        strings(row.status),
        strings(row.benchmark),
        strings(row.precision),
        strings(row.tone),
        row.index,
        [_cell(c, strings) for c in row.cells],
        [_group(g, strings) for g in row.details],
        row.unit,
    ]


def _cell(cell: Cell, strings: _Strings) -> list[Any]:
    packed: list[Any] = [strings(cell.text), strings(cell.sub)]
    if cell.sort is not None:
        packed.append(float(f"{cell.sort:.9g}"))
    return packed


def _group(group: Group, strings: _Strings) -> list[Any]:
    facts = [[strings(f.label), strings(f.value), strings(f.why)] for f in group.facts]
    return [strings(group.title), facts]


def figure_data(figures: Iterable[FigureView]) -> str:
    """Every figure by its id, packed."""
    return packed(compact({figure.id: figure.spec for figure in figures}))
