"""The text that nccl-tests print, as a run, so that its figures stand beside gpubench's.

Lines of old and new versions: without and with the column ``root``, ``error`` or ``#wrong``.
Out-of-place times are taken, as gpubench measures them; those in place are kept as facts.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from gpubench.catalogue.match import match
from gpubench.errors import InputError, UnknownName
from gpubench.plan import case_key
from gpubench.record import (
    Accuracy,
    DeviceRef,
    Environment,
    Fact,
    Measurement,
    Record,
    Run,
    Samples,
)
from gpubench.spec import Case
from gpubench.workloads.collectives import OPS, Collective

SUITE: Final = "nccl-tests"
PRECISIONS: Final = {"float": "fp32", "half": "fp16", "bfloat16": "bf16", "double": "fp64"}
_RANK: Final = re.compile(r"#\s+Rank\s+(\d+)\s.*?\bon\s+(\S+)\s+device\s+\d+\s+\[\S+\]\s+(.+?)\s*$")
_STARTING: Final = re.compile(r"#\s*Collective test starting:\s*(\w+?)_perf")
_COMMAND: Final = re.compile(r"\b(\w+?)_perf\b")
_LIBRARY: Final = re.compile(r"nccl-library=(\d+)|NCCL version (\d[\w.+]*)")
_ROW: Final = re.compile(r"\s*\d+\s+\d+\s+\w+\s")


@dataclass(slots=True)
class _Header:
    """What the lines before the table say."""

    op: str | None = None
    hosts: list[str] = field(default_factory=list)
    gpus: list[str] = field(default_factory=list)
    nccl: str | None = None
    columns: int = 12


def is_nccl_tests(text: str) -> bool:
    """Whether a text looks like the output of nccl-tests."""
    return "busbw" in text and "algbw" in text and "#" in text


def parse(
    text: str, *, file: str, written: datetime, op: str | None = None
) -> tuple[Run, list[Record]]:
    """A run with a record for each line of the table.

    Args:
        file: for messages.
        written: when the file was; nccl-tests do not say.
        op: the collective, where the text does not name it.

    Raises:
        InputError: with file and line: no table, a line that does not fit, an unknown op.
    """
    head = _header(text.splitlines())
    name = _op(op or head.op, file)
    if not head.gpus:
        raise InputError(
            "no line says which devices took part", file=file,
            expected="lines as `#  Rank  0 ... on HOST device  0 [0x07] NVIDIA ...`",
        )  # fmt: skip
    if len(head.gpus) < 2:
        raise InputError("one rank alone sends nothing", file=file, expected="two ranks or more")
    device = _device(head.gpus)
    records = [
        _record(_figures(line, number, head.columns, file), name, len(head.gpus), device)
        for number, line in enumerate(text.splitlines(), 1)
        if _ROW.match(line)
    ]
    found = [r for r in records if r is not None]
    if not found:
        raise InputError("no line of a table with a known type", file=file,
                         expected=f"types {', '.join(PRECISIONS)}")  # fmt: skip
    digest = hashlib.sha256(text.encode()).hexdigest()[:6]
    facts: dict[str, Fact] = {
        "gpu.name": head.gpus[0], "group.ranks": len(head.gpus), "group.backend": "nccl",
        "group.nodes": len(set(head.hosts)), "group.hosts": " ".join(dict.fromkeys(head.hosts)),
        "nccl.version": head.nccl,
    }  # fmt: skip
    run = Run(
        id=f"{written.astimezone(UTC):%Y%m%d-%H%M%S}-{digest}", label=None, suite=SUITE,
        description=f"{OPS[name]} by nccl-tests, imported", planned=len(found),
        started_at=written.astimezone(UTC).isoformat(timespec="seconds"), status="finished",
        environment=Environment({k: v for k, v in facts.items() if v is not None}),
    )  # fmt: skip
    return run, found


def _header(lines: Sequence[str]) -> _Header:
    head = _Header()
    for line in lines:
        rank = _RANK.match(line)
        if rank:
            head.hosts.append(rank.group(2))
            head.gpus.append(rank.group(3))
        named = _STARTING.search(line) or (_COMMAND.search(line) if not head.op else None)
        if named:
            head.op = named.group(1)
        if "busbw" in line and "root" in line.split():
            head.columns = 13
        library = _LIBRARY.search(line)
        if library:
            head.nccl = library.group(1) or library.group(2)
    return head


def _op(name: str | None, file: str) -> str:
    if name is None:
        raise InputError(
            "which collective it was is not said", file=file,
            expected=f"--op with one of {', '.join(OPS.values())}",
        )  # fmt: skip
    bare = name.removesuffix("_perf").replace("_", "")
    if bare not in OPS:
        raise UnknownName("collective", name, OPS.values()).at(file=file)
    return bare


def _device(gpus: Sequence[str]) -> DeviceRef:
    names = dict.fromkeys(gpus)
    spec = match(gpus[0]) if len(names) == 1 else None
    return DeviceRef("cuda", " and ".join(names), spec.key if spec else None)


@dataclass(frozen=True, slots=True)
class _Row:
    """One line: size count type redop [root] time algbw busbw wrong time algbw busbw wrong."""

    size: int
    type: str
    out_s: float
    busbw_gb_s: float
    wrong: str
    in_s: float


def _figures(line: str, number: int, columns: int, file: str) -> _Row:
    parts = line.split()
    if len(parts) != columns:
        raise InputError(
            f"{len(parts)} columns", file=file, line=number,
            expected=f"{columns}, as the head of the table has",
        )  # fmt: skip
    try:
        out_us, _, busbw, wrong, in_us = (parts[i] for i in range(-8, -3))
        row = _Row(
            int(parts[0]), parts[2], float(out_us) * 1e-6, float(busbw), wrong, float(in_us) * 1e-6
        )
    except ValueError as error:
        raise InputError(
            f"{line.strip()[:60]!r} does not fit", file=file, line=number,
            expected="numbers for size, time and bandwidth",
        ) from error  # fmt: skip
    if row.out_s <= 0:
        raise InputError("a time of 0", file=file, line=number, expected="more")
    return row


def _record(row: _Row, op: str, ranks: int, device: DeviceRef) -> Record | None:
    """The record of a line; None for a type, or so few bytes, that no case stands for."""
    precision, size = PRECISIONS.get(row.type), row.size
    if precision is None:
        return None
    if size < 4 * ranks:
        return None
    work = Collective.from_params({"op": op, "bytes": size, "world_size": ranks}, precision)
    case = Case(
        key=case_key("collective", precision, work.identity()), benchmark=SUITE,
        workload="collective", precision=precision, params=work.params(), label=work.label(),
        work=work.work(),
    )  # fmt: skip
    outcome = Measurement(
        samples=Samples(times_s=(row.out_s,), launches=(1,)), method="nccl-tests",
        cache="hot", stopped_by="max_samples", accuracy=_accuracy(row.wrong),
        flags=("few_samples",),
        facts={"nccl_tests.busbw_gb_s": row.busbw_gb_s, "nccl_tests.in_place_s": row.in_s},
    )  # fmt: skip
    return Record(case, device, outcome)


def _accuracy(wrong: str) -> Accuracy | None:
    """nccl-tests' own check: elements that are wrong; None where it was not made."""
    try:
        count = float(wrong)
    except ValueError:  # N/A
        return None
    return Accuracy(count, 1e-2, "nccl-tests' own check (wrong elements, or the largest error)")
