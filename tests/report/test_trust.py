"""A doubt about a case is told wherever its number is drawn."""

from dataclasses import replace

import fake_whole
import pytest

from gpubench.analysis.flags import flag_info
from gpubench.record import Measurement
from gpubench.report.build import report_view

OTHERWISE = {"Does it learn", "While it ran", "Sample distributions"}
"""Losses are no times; readings of sensors are what the doubt is made of; strips have labels."""


@pytest.mark.parametrize("flag", ["contended", "throttled"])
def test_every_drawn_number_tells_of_the_doubt_about_it(flag):
    run, records = fake_whole.whole_run()
    marked = [
        replace(r, outcome=replace(r.outcome, flags=(flag,)))
        if isinstance(r.outcome, Measurement) else r for r in records
    ]  # fmt: skip
    (view,) = report_view([(run, marked)]).runs
    word, seen, silent = flag_info(flag).title, set(), []
    for section in view.sections:
        if section.title in OTHERWISE:
            continue
        for figure in section.figures:
            for trace in figure.spec["data"]:
                if not trace.get("customdata") or trace.get("hoverinfo") == "skip":
                    continue
                said = trace.get("hovertext") or trace.get("text")
                texts = [said] if isinstance(said, str) else list(said or ())
                told = [word in t or "predicted" in t for t in texts]
                seen.add(section.title)
                if not told or not all(told):
                    silent.append((section.title, figure.title, trace.get("name"), texts[:1]))
    assert silent == []
    (strips,) = next(s for s in view.sections if s.title == "Sample distributions").figures
    labels = [a["text"] for a in strips.spec["layout"]["annotations"] if word in a["text"]]
    assert len(labels) > 3
    assert len(seen) >= 10
