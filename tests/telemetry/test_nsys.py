"""nsys exports built from the documented schema, old and new columns."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from gpubench.errors import InputError
from gpubench.telemetry.nsys import read


def export(path: Path, *, new: bool = True, kernels: bool = True, ranges: bool = True) -> Path:
    """Two threads; ``step`` holds ``forward`` and ``backward``; a kernel ends after its range."""
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE StringIds (id INTEGER PRIMARY KEY, value TEXT)")
        names = ["forward", "gemm_kernel", "add_kernel", "void gemm_kernel<float>()"]
        db.executemany("INSERT INTO StringIds VALUES (?, ?)", enumerate(names, 1))
        if ranges:
            extra = ", textId INTEGER, domainId INTEGER" if new else ""
            db.execute(
                "CREATE TABLE NVTX_EVENTS (start INTEGER, end INTEGER, eventType INTEGER,"
                f" text TEXT, globalTid INTEGER{extra})"
            )
            rows = [
                (0, 1000, 59, "step", 1), (100, 400, 59, None if new else "forward", 1),
                (500, 900, 59, "backward", 1), (2000, 3000, 59, "step", 1),
                (0, 5000, 59, "other thread", 2), (50, None, 59, "never ends", 1),
                (70, 80, 33, "a mark", 1),
            ]  # fmt: skip
            for row in rows:
                more = ((1 if row[3] is None else None), 0) if new else ()
                db.execute(f"INSERT INTO NVTX_EVENTS VALUES ({', '.join('?' * (5 + len(more)))})",
                           (*row, *more))  # fmt: skip
        if kernels:
            name = "demangledName" if new else "shortName"
            db.execute(
                "CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL (start INTEGER, end INTEGER,"
                f" correlationId INTEGER, {name} INTEGER"
                + (", gridX INTEGER, gridY INTEGER, gridZ INTEGER, blockX INTEGER, blockY INTEGER,"
                   " blockZ INTEGER)" if new else ")")
            )  # fmt: skip
            db.execute(
                "CREATE TABLE CUPTI_ACTIVITY_KIND_RUNTIME (start INTEGER, end INTEGER,"
                " correlationId INTEGER, globalTid INTEGER)"
            )
            launches = [
                # launched at, thread, kernel start, end, name
                (150, 1, 300, 800, 2), (160, 1, 800, 900, 3), (600, 1, 950, 1950, 2),
                (950, 1, 1950, 1960, 3), (2500, 1, 2600, 2700, 2), (1500, 1, 1961, 1971, 3),
                (150, 2, 10, 20, 3),
            ]  # fmt: skip
            for i, (at, tid, start, end, label) in enumerate(launches):
                shape = (4, 2, 1, 128, 1, 1) if new else ()
                marks = ", ".join("?" * (4 + len(shape)))
                db.execute(
                    f"INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES ({marks})",
                    (start, end, i, label, *shape),
                )
                db.execute(
                    "INSERT INTO CUPTI_ACTIVITY_KIND_RUNTIME VALUES (?, ?, ?, ?)",
                    (at, at + 5, i, tid),
                )
    return path


@pytest.mark.parametrize("new", [True, False])
def test_kernels_belong_to_the_innermost_range_of_their_launch(tmp_path: Path, new: bool) -> None:
    found = {r.path: r for r in read(export(tmp_path / "x.sqlite", new=new)).ranges}
    assert list(found) == [
        ("step",), ("other thread",), ("step", "forward"), ("step", "backward"), ("(no range)",),
    ]  # fmt: skip
    step = found["step",]
    assert (step.count, step.host_s) == (2, pytest.approx(2e-6))
    # Its own: a kernel launched after backward and one of the second step.
    assert step.own_device_s == pytest.approx(110e-9)
    assert step.device_s == pytest.approx((110 + 600 + 1000) * 1e-9)
    forward = found["step", "forward"]
    # The kernel runs on beyond the end of the range; it was launched in it.
    assert [(k.name, k.count) for k in forward.kernels] == [("gemm_kernel", 1), ("add_kernel", 1)]
    assert forward.device_s == pytest.approx(600e-9)
    assert forward.kernels[0].grid == ((4, 2, 1) if new else ())
    assert found["other thread",].device_s == pytest.approx(10e-9)
    assert found["(no range)",].kernels[0].count == 1


def test_what_was_not_recorded_is_said(tmp_path: Path) -> None:
    found = read(export(tmp_path / "a.sqlite", kernels=False))
    assert found.missing == ("no kernels were recorded (nsys profile --trace=cuda)",)
    found = read(export(tmp_path / "b.sqlite", ranges=False))
    assert "no NVTX ranges" in found.missing[0]
    assert found.ranges[0].path == ("(no range)",)


def test_other_files_are_refused_in_one_message(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read(tmp_path / "none")
    text = tmp_path / "text.sqlite"
    text.write_text("hello " * 1000)
    with pytest.raises(InputError, match="not an SQLite export of nsys"):
        read(text)
    with sqlite3.connect(tmp_path / "other.sqlite") as db:
        db.execute("CREATE TABLE t (x)")
    with pytest.raises(InputError, match="no table StringIds"):
        read(tmp_path / "other.sqlite")
