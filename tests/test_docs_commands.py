"""Every ``gpubench ...`` line of the documentation names commands and options that exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from gpubench.cli.main import cli
from tests.conftest import ROOT

PAGES = [ROOT / "README.md", ROOT / "README.zh.md", *sorted((ROOT / "docs").rglob("*.md"))]
PROGRAM = re.compile(r"(?:^|\$ |&& |[A-Z_]+=\S+ |`)gpubench (?=[a-z-])")


def command_lines(text: str) -> list[str]:
    """What stands after ``gpubench`` in code blocks and in code spans."""
    fenced = re.findall(r"^ *```[^\n]*\n(.*?)^ *```", text, re.S | re.M)
    rest = re.sub(r"^ *```[^\n]*\n.*?^ *```", "", text, flags=re.S | re.M)
    lines = [line.strip() for block in fenced for line in block.splitlines()]
    lines += re.findall(r"^    (gpubench .*)$", rest, re.M)
    lines += [" ".join(span.split()) for span in re.findall(r"`(gpubench [^`]+)`", rest)]
    return [line[found.end() :] for line in lines if (found := PROGRAM.search(line)) is not None]


def unknown(line: str) -> str | None:
    """What in a command line does not exist; None if all of it does."""
    words = shlex.split(line, comments=True)
    command: click.Command = cli
    context = click.Context(cli, info_name="gpubench")
    while words and isinstance(command, click.Group) and not words[0].startswith("-"):
        word = words.pop(0)
        if word in ("...", "SUITE"):
            return None
        found = command.get_command(context, word)
        if found is None:
            return f"no command {word!r}"
        command = found
        context = click.Context(command, parent=context, info_name=word)
    names = {o for p in command.get_params(context) for o in (*p.opts, *p.secondary_opts)}
    for word in words:
        if word in (">", "|", "&&", ";"):
            return None
        if re.fullmatch(r"--?[a-zA-Z][\w-]*(=.*)?", word) and word.split("=")[0] not in names:
            return f"no option {word!r} of {context.command_path!r}"
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_and_options_exist(page: Path) -> None:
    wrong = [
        f"{line}: {problem}"
        for line in command_lines(page.read_text())
        if (problem := unknown(line)) is not None
    ]
    assert not wrong


def test_what_does_not_exist_is_noticed() -> None:
    text = (
        "see `gpubench predict --gpus a100`\n"
        "```\ngpubench trakc check\n$ gpubench run s --quik\n```\n"
    )
    lines = command_lines(text)
    assert [unknown(line) is not None for line in lines] == [True, True, True]
    assert unknown('run tensorcore --quick --filter "a == 1"  # a comment') is None
    assert unknown("track check --floor 2%") is None
    assert sum(len(command_lines(p.read_text())) for p in PAGES) > 100
