"""Every command of docs/tutorial.md is run in order; every line it promises is looked for."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

PAGE = ROOT / "docs/tutorial.md"
NUMBER = r"[+-]?[\d.]*\d(?:e[+-]?\d+)?|>999"
# What differs from machine to machine, as it is written -> what may stand there.
VARIES = [
    (r"\d{8}-\d{6}-[0-9a-f]{6}", r"\d{8}-\d{6}-[0-9a-f]{6}"),
    (r"[\d.]+ (?:n|µ|m)?s(?![a-z])", rf"(?:{NUMBER}) (?:n|µ|m)?s"),
    (r"[\d.]+ [kMGT]?FLOP/s", rf"(?:{NUMBER}) [kMGT]?FLOP/s"),
    (r"±[\d.]+ %", rf"± ?(?:{NUMBER}) %"),
    (r"\b[\d.]+x(?!\d)", rf"(?:{NUMBER})x"),
    (r"\b[\d.]+e-\d+", rf"(?:{NUMBER})"),
    (r"\.\.\.", r".*"),
]


def pattern(promised: str) -> re.Pattern[str]:
    """What a line of real output must match, white space aside.

    >>> bool(pattern("a  181 µs ±1.3 %").fullmatch("a 2.0 ms ±14 %"))
    True
    >>> bool(pattern("a  181 µs").fullmatch("b 2.0 ms"))
    False
    """
    text, out = " ".join(promised.split()), ""
    either = re.compile("|".join(f"({shape})" for shape, _ in VARIES))
    at = 0
    for found in either.finditer(text):
        out += re.escape(text[at : found.start()]) + VARIES[(found.lastindex or 0) - 1][1]
        at = found.end()
    # An ellipsis swallows the blanks at its sides, so that it may stand for nothing.
    return re.compile(
        (out + re.escape(text[at:])).replace(r"\ .*", " ?.*").replace(r".*\ ", ".* ?")
    )


def steps() -> Iterator[tuple[str, str, list[str]]]:
    """(kind, file or command, lines) of every block of the page that a reader acts on."""
    for info, body in re.findall(r"^```([^\s`][^\n]*)\n(.*?)^```", PAGE.read_text(), re.S | re.M):
        title = re.fullmatch(r'\w+ title="(.*)"', info)
        if title is not None:
            yield "file", title[1], [body]
        elif info == "console":
            first, *rest = re.split(r"^\$ ", body, flags=re.M)
            assert not first, f"a console block starts with its command: {first}"
            for part in rest:
                command, *lines = part.splitlines()
                yield "command", command, lines
        else:
            pytest.fail(f"a block of a kind that is not tested: {info}")


def missing(promised: list[str], output: str) -> str | None:
    """The first promised line that does not follow those before it; None if all do."""
    lines = iter([" ".join(line.split()) for line in output.splitlines()])
    for wanted in promised:
        if wanted.strip() in ("", "..."):
            continue
        shape = pattern(wanted)
        if not any(shape.fullmatch(line) for line in lines):
            return wanted
    return None


def test_a_promise_that_is_not_kept_is_noticed() -> None:
    output = (
        "measured on CPU\n 256x256x256  fp32  15.9 ms ±1.3 %  2.10 GFLOP/s  2.8e-07\nreport: r\n"
    )
    row = "256x256x256 fp32 181 µs ±0.5 % 185 GFLOP/s 2.8e-07 ..."
    assert missing(["measured on CPU", "...", row, "report: ..."], output) is None
    assert missing([row, "measured on CPU"], output) == "measured on CPU"
    assert missing([row.replace("fp32", "fp64")], output) is not None
    assert missing(["256x256x256 fp32 181 µs ±0.5 % 185 GB/s ..."], output) is not None


@pytest.mark.slow
def test_the_tutorial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin/gpubench"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m gpubench "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(program.parent), os.environ["PATH"]]))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # the page shows a machine without a GPU
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    folder = tmp_path / "reader"
    folder.mkdir()
    commands = 0
    for kind, what, lines in steps():
        if kind == "file":
            (folder / what).write_text(lines[0])
            continue
        command, _, remark = what.partition("  # exits with ")
        done = subprocess.run(
            ["bash", "-c", command], cwd=folder, text=True, timeout=300, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        allowed = [int(code) for code in re.findall(r"\d+", remark)] or [0]
        assert done.returncode in allowed, f"{command}\n{done.stdout}"
        line = missing(lines, done.stdout)
        assert line is None, f"{command}\npromised: {line}\n{done.stdout}"
        for report in re.findall(r"^(?:report|dashboard): (.*)$", done.stdout, re.M):
            assert (folder / report).stat().st_size > 10_000
        commands += 1
    assert commands >= 15
