"""Stored runs: select, render, export and import them; look at the machine."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpubench.codec import decode_document, encode_document
from gpubench.errors import InputError
from gpubench.record import Record, Run
from gpubench.spec import DeviceInfo
from gpubench.store import Store

if TYPE_CHECKING:
    from gpubench.engine.doctor import Finding


def select(
    names: Sequence[str],
    *,
    store: str | None,
    suite: str | None = None,
    filter_text: str | None = None,
) -> list[tuple[Run, list[Record]]]:
    """Stored runs by id, label or ``latest``; default: the newest (of a suite).

    Raises:
        InputError: nothing fits.
    """
    with Store(store) as opened:
        if names:
            found = [opened.find(n) for n in names]
        else:
            found = opened.runs(suite)[:1]
            if not found:
                of = f" of suite {suite!r}" if suite else ""
                raise InputError(f"the store {opened.shown} has no run{of}")
        chosen = [(r, opened.records(r.id)) for r in found if suite in (None, r.suite)]
    if filter_text:
        chosen = [(r, _filtered(r, rs, filter_text)) for r, rs in chosen]
    if not chosen:
        raise InputError(f"no run of suite {suite!r} among those named")
    return chosen


def _filtered(run: Run, found: Sequence[Record], text: str) -> list[Record]:
    from gpubench.expression import compile_filter, names_of

    matches = compile_filter(text)
    kept = []
    for record in found:
        device = DeviceInfo(
            type=record.device.type, name=record.device.name, gpu_key=record.device.gpu_key
        )
        if matches(record.case, names_of(record.case, device)):
            kept.append(record)
    if not kept:
        raise InputError(f"--filter {text!r} matches none of the {len(found)} cases of {run.id}")
    return kept


def write_report(
    chosen: Sequence[tuple[Run, Sequence[Record]]], path: Path, fmt: str = "html"
) -> Path:
    """Render runs into a file."""
    from gpubench.report import render

    return render.write(chosen, path, fmt)


def report_name(chosen: Sequence[tuple[Run, Sequence[Record]]], fmt: str) -> str:
    """Default file name of a report."""
    suffix = {"markdown": "md"}.get(fmt, fmt)
    stem = "-".join(dict.fromkeys(r.suite for r, _ in chosen))[:80]
    return f"{stem}-{chosen[0][0].id}.{suffix}"


def documents(chosen: Sequence[tuple[Run, Sequence[Record]]]) -> Any:
    """What ``--json`` holds: the document of one run, a list of several."""
    encoded = [encode_document(r, rs) for r, rs in chosen]
    return encoded[0] if len(encoded) == 1 else encoded


def import_documents(data: object, store: str | None) -> list[tuple[Run, int]]:
    """Add exported runs to the store: all of them or none.

    Returns:
        (run, number of records) each.

    Raises:
        InputError: not a document, or a run of that id is there already.
    """
    parsed = [decode_document(d) for d in (data if isinstance(data, list) else [data])]
    with Store(store) as opened:
        known = {r.id for r in opened.runs()}
        for head, _ in parsed:
            if head.id in known:
                raise InputError(
                    f"the store has a run {head.id!r} already", expected="`results remove` first"
                )
        for head, found in parsed:
            opened.add(head, found)
    return [(head, len(found)) for head, found in parsed]


def import_nccl_tests(
    text: str, *, file: str, written: datetime, op: str | None, store: str | None
) -> tuple[Run, int]:
    """Add what nccl-tests printed as a run.

    Raises:
        InputError: no such text, or it is in the store already.
    """
    from gpubench.analysis.nccl_tests import parse

    head, found = parse(text, file=file, written=written, op=op)
    with Store(store) as opened:
        if head.id in {r.id for r in opened.runs()}:
            raise InputError(f"the store has it already, as run {head.id!r}", file=file)
        opened.add(head, found)
    return head, len(found)


def is_nccl_tests(text: str) -> bool:
    """Whether a text looks like the output of nccl-tests."""
    from gpubench.analysis.nccl_tests import is_nccl_tests as looks_so

    return looks_so(text)


def examine(store: str | None) -> list[Finding]:
    """``gpubench doctor``: findings, the gravest first."""
    from gpubench.engine.doctor import examine as look
    from gpubench.store import default_url, sqlite_path

    return look(sqlite_path(store or default_url()))
