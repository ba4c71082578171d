from __future__ import annotations

from pathlib import Path

import pytest

from gpubench.engine import doctor
from gpubench.engine.doctor import Finding, examine


def named(findings: list[Finding], check: str) -> Finding:
    return next(f for f in findings if f.check == check)


def test_switches_that_decide_precision_are_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    found = named(examine(), "switches")
    assert (found.status, found.mend) == ("warn", "unset NVIDIA_TF32_OVERRIDE")


def test_a_store_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_a: False)
    assert named(examine(Path("/x")), "disk").status == "bad"


def test_a_full_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from types import SimpleNamespace

    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _p: SimpleNamespace(free=1000))
    assert named(examine(tmp_path), "disk").status == "warn"


def test_a_busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getloadavg", lambda: (99.0, 1.0, 1.0))
    assert named(examine(), "load").status == "warn"
