from __future__ import annotations

from pathlib import Path

import pytest

from gpubench.telemetry.rapl import Rapl


def package(root: Path, number: int, uj: int, most: int = 1_000_000) -> Path:
    folder = root / f"intel-rapl:{number}"
    folder.mkdir()
    (folder / "energy_uj").write_text(f"{uj}\n")
    (folder / "max_energy_range_uj").write_text(f"{most}\n")
    return folder / "energy_uj"


def test_packages_are_summed_and_wraps_taken_out(tmp_path: Path) -> None:
    first, second = package(tmp_path, 0, 999_000), package(tmp_path, 1, 10)
    meter = Rapl(tmp_path)
    assert meter.energy_j() == 0
    first.write_text("500\n")  # wrapped: 1,000,001 - 999,000 + 500
    second.write_text("110\n")
    assert meter.energy_j() == pytest.approx((1501 + 100) * 1e-6)
    assert meter.power_w() is None


def test_no_counter_says_why(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no RAPL counter"):
        Rapl(tmp_path)
