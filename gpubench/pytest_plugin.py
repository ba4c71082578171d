"""The ``gpubench`` fixture for pytest: measure in a test, store, compare with what was accepted.

::

    def test_rmsnorm(gpubench):
        m = gpubench(rmsnorm, x, w, flops=4 * x.numel())

pytest loads this module whenever gpubench is installed, so it imports nothing until a
test uses the fixture.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Unpack

import pytest

if TYPE_CHECKING:
    from gpubench.analysis.change import Change
    from gpubench.api.guarding import Guard, Taken
    from gpubench.api.measuring import Options
    from gpubench.record import Measurement

ROW: Final = "gpubench"
"""Name of the property of a test's report that carries a row of the summary."""


@dataclass(slots=True)
class Measured:
    """One measurement of a test, until its report is made."""

    taken: Taken
    change: Change | None = None
    note: str = ""


GUARD: Final = pytest.StashKey["Guard"]()
MEASURED: Final = pytest.StashKey[list[Measured]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of the command line, and the suite's name in the configuration file."""
    group = parser.getgroup("gpubench", "GPU benchmarks (gpubench)")
    group.addoption("--gpubench-store", metavar="URL", help="Store; default as for `gpubench run`.")
    group.addoption("--gpubench-label", metavar="NAME", help="Name of the run in the store.")
    group.addoption(
        "--gpubench-compare", action="store_true",
        help="Fail a test that is slower than the level last accepted on this device.",
    )  # fmt: skip
    group.addoption(
        "--gpubench-threshold", type=_share, default=None, metavar="SHARE",
        help="Slow-down that matters for --gpubench-compare: 0.05 or 5%%. [5%%]",
    )  # fmt: skip
    group.addoption(
        "--gpubench-accept", metavar="REASON",
        help="Accept the levels of the tests that pass, for later comparisons.",
    )  # fmt: skip
    group.addoption("--gpubench-disable", action="store_true", help="Skip tests that measure.")
    parser.addini("gpubench_suite", "Suite name of the runs that tests store.", default="pytest")


def _share(text: str) -> float:
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no share; expected 0.05 or 5%")
    return share


def pytest_configure(config: pytest.Config) -> None:
    """Refuse options that contradict each other."""
    accept = config.getoption("--gpubench-accept")
    if accept is not None and config.getoption("--gpubench-compare"):
        raise pytest.UsageError("--gpubench-compare and --gpubench-accept: one at a time")
    if accept is not None and not accept.strip():
        raise pytest.UsageError("--gpubench-accept needs a reason, e.g. 'new fused kernel'")


@dataclass(slots=True)
class Bench:
    """What the fixture hands out: call it with a function and its arguments."""

    item: pytest.Item
    guard: Guard
    measured: list[Measured] = field(default_factory=list)

    def __call__(
        self,
        fn: Any,
        *args: Any,
        name: str = "",
        params: Mapping[str, Any] | None = None,
        **options: Unpack[Options],
    ) -> Measurement:
        """Measure ``fn(*args)``; options are those of ``gpubench.measure``.

        Args:
            fn: what to measure.
            args: its arguments.
            name: tells several measurements of one test apart.
            params: more that identifies the work; part of the case's key and shown with it.
            options: ``setup``, ``reference``, ``flops``, ``precision``, ``min_time_s``, ...

        Fails the test where the result is wrong against ``reference`` or, with
        ``--gpubench-compare``, slower than accepted. Skips it where the device does not
        have the precision.
        """
        from gpubench.api.measuring import ask
        from gpubench.errors import InputError, Unsupported

        __tracebackhide__ = True
        asked = ask(fn, args, options)
        # Not the path: it is relative to a root that pytest may find elsewhere next time.
        module = getattr(getattr(self.item, "module", None), "__name__", "")
        test = f"{self.item.nodeid.partition('::')[2]} {name}".strip()
        identity = {**(params or {}), "target": f"{module}:{test}"}
        suite = str(self.item.config.getini("gpubench_suite"))
        if suite != "pytest":  # projects that share a store may have tests of equal names
            identity["suite"] = suite
        case = asked.case(module[-100:], test, identity)
        if any(m.taken.record.case.key == case.key for m in self.measured):
            raise InputError(
                f"{case.label!r} is measured twice", expected="a name= or params= of its own"
            )
        try:
            taken = self.guard.measure(asked, case)
        except Unsupported as error:
            pytest.skip(str(error))
        self.measured.append(Measured(taken))
        return self._judged(self.measured[-1])

    def _judged(self, entry: Measured) -> Measurement:
        from gpubench.analysis.change import THRESHOLD

        config, outcome = self.item.config, entry.taken.record.outcome
        if TYPE_CHECKING:
            assert isinstance(outcome, Measurement)
        if "wrong_result" in outcome.flags and outcome.accuracy is not None:
            pytest.fail(
                f"{entry.taken.record.case.label}: wrong result: relative error"
                f" {outcome.accuracy.rel_error:.2g} against {outcome.accuracy.reference},"
                f" at most {outcome.accuracy.tolerance:.2g} is right",
                pytrace=False,
            )
        if config.getoption("--gpubench-compare"):
            threshold = config.getoption("--gpubench-threshold")
            change = self.guard.compare(entry.taken, THRESHOLD if threshold is None else threshold)
            entry.change, entry.note = change, change.text
            if change.verdict == "slower":
                pytest.fail(f"{entry.taken.record.case.label}: {change.text}", pytrace=False)
        return outcome


@pytest.fixture
def gpubench(request: pytest.FixtureRequest) -> Bench:
    """What a test measures with: a function, its arguments and options of ``measure``."""
    from gpubench.api.guarding import Guard

    config = request.config
    if config.getoption("--gpubench-disable"):
        pytest.skip("--gpubench-disable")
    if GUARD not in config.stash:
        config.stash[GUARD] = Guard(
            str(config.getini("gpubench_suite")),
            store=config.getoption("--gpubench-store"),
            label=config.getoption("--gpubench-label"),
        )
    bench = Bench(request.node, config.stash[GUARD])
    request.node.stash[MEASURED] = bench.measured
    return bench


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Accept what a passed test measured; hand its rows to the summary.

    The rows travel with the report, so that they also arrive from workers of pytest-xdist.
    """
    report = yield
    if call.when == "call" and MEASURED in item.stash:
        reason = item.config.getoption("--gpubench-accept")
        for entry in item.stash[MEASURED]:
            if reason is not None:
                entry.note = _accepted(item.config.stash[GUARD], entry, reason, report.passed)
            report.user_properties.append((ROW, json.dumps(_row(entry))))
    return report


def _accepted(guard: Guard, entry: Measured, reason: str, passed: bool) -> str:
    if not passed:
        return "not accepted: the test did not pass"
    why_not = guard.accept(entry.taken, reason)
    return f"not accepted: {why_not}" if why_not else "accepted"


def _row(entry: Measured) -> dict[str, Any]:
    from gpubench.stats import summarize

    record = entry.taken.record
    outcome: Any = record.outcome
    s = summarize(outcome.samples)
    return {
        "name": f"{record.case.benchmark} {record.case.label}",
        "precision": record.case.precision,
        "device": record.device.name,
        "run": entry.taken.run.id,
        "median_s": s.median_s,
        "rel_ci": s.rel_ci,
        "flops": record.case.work.flops if record.case.work else 0.0,
        "bytes": record.case.work.bytes if record.case.work else 0.0,
        "flags": list(outcome.flags),
        "note": entry.note,
    }


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line a measurement."""
    rows = [
        json.loads(str(value))
        for reports in terminalreporter.stats.values()
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if name == ROW and getattr(report, "when", None) == "call"
    ]
    if not rows:
        return
    terminalreporter.section("gpubench")
    width = max(len(row["name"]) for row in rows)
    for row in sorted(rows, key=lambda r: str(r["name"])):
        terminalreporter.write_line(f"{row['name']:<{width}}  {_line(row)}".rstrip())
    runs = sorted({row["run"] for row in rows})
    terminalreporter.write_line(f"stored: {', '.join(runs)}; gpubench report {runs[-1]}")


def _line(row: Mapping[str, Any]) -> str:
    from gpubench.units import percent, scaled

    median_s = row["median_s"]
    parts = [row["precision"], f"{scaled(median_s, 's')} ±{percent(row['rel_ci'])}"]
    for amount, unit in ((row["flops"], "FLOP/s"), (row["bytes"], "B/s")):
        if amount and median_s:
            parts.append(scaled(amount / median_s, unit))
    return "  ".join([*parts, *row["flags"], *([row["note"]] if row["note"] else [])])


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """End the runs."""
    guard = session.config.stash.get(GUARD, None)
    if guard is not None:
        interrupted = exitstatus == pytest.ExitCode.INTERRUPTED
        guard.close("interrupted" if interrupted else "finished")
