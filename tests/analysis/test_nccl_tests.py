"""The text of nccl-tests: old and new columns, and what does not fit."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gpubench.analysis.nccl_tests import is_nccl_tests, parse
from gpubench.errors import InputError
from gpubench.plan import case_key
from gpubench.record import Measurement
from gpubench.workloads.collectives import Collective

WHEN = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
DATA = Path(__file__).parent / "data"
NEW = (DATA / "all_reduce_perf.txt").read_text()
OLD = (DATA / "old_nccl_tests.txt").read_text()


def parsed(text: str, **more: Any) -> Any:
    return parse(text, file="out.txt", written=WHEN, **more)


def test_new_columns() -> None:
    run, (small, large) = parsed(NEW)
    assert run.suite == "nccl-tests"
    assert run.id.startswith("20240506-070809-")
    assert run.environment.get("group.ranks") == 4
    assert run.environment.get("group.nodes") == 2
    assert run.environment.get("group.hosts") == "node0 node1"
    assert run.environment.get("nccl.version") == "2.20.5+cuda12.4"
    assert small.device.gpu_key == "a100-sxm4-40gb"
    assert isinstance(small.outcome, Measurement)
    assert small.outcome.samples.times_s == (pytest.approx(58.1e-6),)
    assert small.outcome.facts["nccl_tests.in_place_s"] == pytest.approx(57.2e-6)
    # The bus bandwidth that follows is the one that they print: S / t x 2(n-1)/n.
    assert small.case.work.bytes / 58.1e-6 == pytest.approx(27.07e9, rel=1e-3)
    # What nccl-tests found wrong is wrong here.
    assert isinstance(large.outcome, Measurement)
    assert not large.outcome.accuracy.ok
    assert small.outcome.accuracy.ok


def test_a_line_is_the_same_case_as_gpubench_measures() -> None:
    """So that both stand in one row of a comparison."""
    _, (small, _) = parsed(NEW)
    own = Collective.from_params({"op": "all_reduce", "bytes": 2**20, "world_size": 4}, "fp32")
    assert small.case.key == case_key("collective", "fp32", own.identity())
    assert small.case.params == own.params()


def test_old_columns_and_an_op_that_is_not_named() -> None:
    with pytest.raises(InputError, match="which collective it was is not said"):
        parsed(OLD)
    _, (only,) = parsed(OLD, op="all_gather")
    assert (only.case.precision, only.case.params["op"]) == ("fp16", "allgather")
    assert only.outcome.samples.times_s == (pytest.approx(24.1e-6),)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("all_reduce_perf", "sendrecv_perf"), "unknown collective 'sendrecv'"),
        (("58.10   18.05", "many    18.05"), r"out\.txt:14: .*does not fit"),
        (("58.10   18.05   27.07", "58.10   27.07"), r"out\.txt:14: 12 columns; expected 13"),
        (("Rank", "Runk"), "which devices took part"),
    ],
)
def test_what_does_not_fit_is_named(change: tuple[str, str], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        parsed(NEW.replace(*change))


def test_other_files_are_not_taken_for_it() -> None:
    assert is_nccl_tests(NEW)
    assert is_nccl_tests(OLD)
    assert not is_nccl_tests('{"schema_version": 1}')
