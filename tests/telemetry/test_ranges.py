"""NVTX ranges: captured by the injection library, in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gpubench.telemetry.ranges import (
    VARIABLE,
    Capture,
    CaptureUnavailable,
    Event,
    library,
    ranges_of,
)


@pytest.fixture(scope="session")
def injected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        return library(tmp_path_factory.mktemp("nvtx"))
    except CaptureUnavailable as error:
        pytest.skip(str(error))


def ask(injected: Path, code: str) -> Any:
    script = (
        "import json, threading, nvtx\n"
        "from gpubench.telemetry.ranges import Capture, ranges_of, span\n"
        f"{code}\nprint(json.dumps(answer))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, VARIABLE: str(injected)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_own_ranges_and_others_nest_by_domain(injected: Path) -> None:
    found = ask(
        injected,
        """
with span("case"):
    with nvtx.annotate("mine", domain="user"):
        with nvtx.annotate("inner", domain="user"):
            pass
    with span("measure"):
        pass
    nvtx.push_range("plain")
    nvtx.pop_range()
answer = [(r.name, r.depth, r.end_s >= r.start_s) for r in ranges_of(Capture().events())]
""",
    )
    assert found == [
        ["gpubench: case", 0, True], ["user: mine", 0, True], ["user: inner", 1, True],
        ["gpubench: measure", 1, True], ["plain", 0, True],
    ]  # fmt: skip


def test_threads_lose_nothing(injected: Path) -> None:
    found = ask(
        injected,
        """
def work(n):
    domain = nvtx.get_domain(f"thread-{n}")
    attributes = domain.get_event_attributes(message="step")
    for _ in range(20000):
        domain.push_range(attributes)
        domain.pop_range()

threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
for t in threads: t.start()
for t in threads: t.join()
counts = {}
for r in ranges_of(Capture().events()):
    counts[r.name] = counts.get(r.name, 0) + 1
answer = counts
""",
    )
    assert found == {f"thread-{n}: step": 20000 for n in range(4)}


def test_started_ranges_may_overlap_and_end_elsewhere(injected: Path) -> None:
    found = ask(
        injected,
        """
a = nvtx.start_range("a")
b = nvtx.start_range("b")
t = threading.Thread(target=lambda: nvtx.end_range(a)); t.start(); t.join()
nvtx.end_range(b)
nvtx.start_range("never ends")
capture = Capture()
first = [r.name for r in ranges_of(capture.events())]
capture.reset()
answer = [first, len(capture.events())]
""",
    )
    assert found == [["a", "b"], 0]


def test_a_process_without_the_library_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(CaptureUnavailable, match=VARIABLE):
        Capture()


def test_without_a_compiler_the_reason_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CaptureUnavailable, match="needs a C compiler"):
        library(tmp_path)


def test_what_began_before_the_capture_is_left_out() -> None:
    events = [
        Event(1.0, 0, 1, 7, "", ""), Event(2.0, 0, 0, 7, "", "whole"), Event(3.0, 0, 1, 7, "", ""),
        Event(4.0, 0, 0, 7, "", "open"),
    ]  # fmt: skip
    assert [r.name for r in ranges_of(events)] == ["whole"]
