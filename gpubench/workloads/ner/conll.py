"""CoNLL files: a token a line, its label in the last column, an empty line between sentences."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gpubench.errors import InputError

OUTSIDE: Final = "O"
DOCUMENT: Final = "-DOCSTART-"
_LABEL: Final = re.compile(r"O|[BI]-[A-Za-z]+")


@dataclass(frozen=True, slots=True)
class Sentence:
    """Tokens and their labels, one each, in IOB2: every entity begins with ``B-``."""

    tokens: tuple[str, ...]
    labels: tuple[str, ...]


def read(path: Path) -> list[Sentence]:
    """Every sentence of a file.

    Raises:
        InputError: with file and line: not readable, a line that does not fit, no sentence.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise InputError(f"cannot read: {error.strerror}", file=str(path)) from error
    found = list(_sentences(_tokens(lines, str(path))))
    if not found:
        raise InputError("no sentence in it", file=str(path), expected="CoNLL: token ... label")
    return found


def _tokens(lines: Iterable[bytes], file: str) -> Iterator[tuple[str, str] | None]:
    """(token, label) of each line, None between sentences."""
    columns = 0
    for number, raw in enumerate(lines, 1):
        try:
            parts = raw.decode("utf-8-sig" if number == 1 else "utf-8").split()
        except UnicodeDecodeError as error:
            raise InputError(
                f"not UTF-8: byte {error.start + 1} of the line", file=file, line=number
            ) from error
        if not parts or parts[0] == DOCUMENT:
            yield None
            continue
        if len(parts) < 2:
            raise InputError(
                f"only one column: {parts[0][:40]!r}", file=file, line=number,
                expected="a token and, last, its label",
            )  # fmt: skip
        if columns and len(parts) != columns:
            raise InputError(
                f"{len(parts)} columns", file=file, line=number,
                expected=f"{columns}, as in the lines before",
            )  # fmt: skip
        columns = len(parts)
        if not _LABEL.fullmatch(parts[-1]):
            raise InputError(
                f"{parts[-1][:40]!r} is no label", file=file, line=number,
                expected="O, B-... or I-... in the last column",
            )  # fmt: skip
        yield parts[0], parts[-1]


def _sentences(tokens: Iterable[tuple[str, str] | None]) -> Iterator[Sentence]:
    held: list[tuple[str, str]] = []
    for token in [*tokens, None]:
        if token is not None:
            held.append(token)
        elif held:
            yield Sentence(tuple(t for t, _ in held), iob2([label for _, label in held]))
            held = []


def iob2(labels: Sequence[str]) -> tuple[str, ...]:
    """Labels in which every entity begins with ``B-``; CoNLL-2003 itself is in IOB1."""
    found: list[str] = []
    before = OUTSIDE
    for label in labels:
        begins = label.startswith("I-") and before[2:] != label[2:]
        found.append("B-" + label[2:] if begins else label)
        before = label
    return tuple(found)


def labels_of(sentences: Iterable[Sentence]) -> tuple[str, ...]:
    """Every label, sorted as in the article's table: by kind, ``B-`` first, ``O`` last."""
    found = {label for s in sentences for label in s.labels}
    return tuple(sorted(found, key=lambda x: (x == OUTSIDE, x[2:], x[:1])))
