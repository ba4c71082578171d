import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpubench import codec
from gpubench.codec import (
    SCHEMA_VERSION,
    decode_document,
    decode_record,
    dumps,
    encode_document,
    encode_record,
)
from gpubench.errors import InputError
from gpubench.record import (
    Accuracy,
    DeviceRef,
    Energy,
    Environment,
    Failure,
    Measurement,
    Modelled,
    Peaks,
    Range,
    Reading,
    Record,
    Run,
    Samples,
    Skip,
    TensorCoreUse,
)
from gpubench.spec import PRECISIONS, Case, Policy, Work
from tests.builders import measurement, record, run

text = st.text(max_size=20)
number = st.floats(min_value=0, max_value=1e18, allow_nan=False)
positive = st.floats(min_value=1e-12, max_value=1e6)
maybe_text = st.none() | text
maybe_number = st.none() | number
scalar = st.integers(-(2**53), 2**53) | number | st.booleans() | text

policies = st.builds(
    Policy, min_time_s=number, max_time_s=positive, min_samples=st.integers(1, 99),
    cache=st.sampled_from(["auto", "cold"]), launches=st.integers(1, 9),
)  # fmt: skip
works = st.builds(Work, flops=number, bytes=number, footprint_bytes=number, formula=text)
cases = st.builds(
    Case, key=text, benchmark=text, workload=text, precision=st.sampled_from(PRECISIONS),
    params=st.dictionaries(text, scalar, max_size=4), policy=policies, work=st.none() | works,
    baseline=maybe_text, label=text,
)  # fmt: skip


@st.composite
def samples(draw: st.DrawFn) -> Samples:
    times = tuple(draw(st.lists(positive, min_size=1, max_size=8)))
    spoiled = draw(st.dictionaries(st.integers(0, len(times) - 1), text, max_size=3))
    return Samples(
        times_s=times,
        host_enqueue_s=tuple(draw(st.lists(number, max_size=8))),
        spoiled=spoiled,
        calls_per_sample=draw(st.integers(1, 10**6)),
        launches=tuple(draw(st.lists(st.integers(1, 99), max_size=3))),
    )


accuracies = st.builds(
    Accuracy, rel_error=number | st.just(math.inf), tolerance=number, reference=text
)
readings = st.builds(
    Reading, time_s=number, values=st.dictionaries(text, number, max_size=3),
    reasons=st.lists(text, max_size=2).map(tuple),
)  # fmt: skip
texts = st.lists(text, max_size=3).map(tuple)
measurements = st.builds(
    Measurement, samples=samples(), method=text, cache=text, stopped_by=text,
    warmup_calls=st.integers(0, 9), floor_s=maybe_number, measuring_s=number,
    input_sets=st.integers(1, 64), accuracy=st.none() | accuracies,
    tensor_cores=st.none() | st.builds(TensorCoreUse, text, texts, texts),
    readings=st.lists(readings, max_size=2).map(tuple),
    ranges=st.lists(
        st.builds(Range, text, number, number, st.integers(0, 5), maybe_number, maybe_number),
        max_size=2,
    ).map(tuple),
    flags=texts,
)  # fmt: skip
outcomes = (
    measurements
    | st.builds(Skip, text.filter(bool))
    | st.builds(Failure, text.filter(bool), text.filter(bool), maybe_text)
)
records = st.builds(
    Record, case=cases, device=st.builds(DeviceRef, text, text, maybe_text), outcome=outcomes,
    started_at=maybe_text, peaks=st.builds(Peaks, maybe_number, maybe_number, maybe_text),
    model=st.builds(
        Modelled, maybe_number, maybe_number, maybe_number, maybe_text, maybe_number
    ),
    energy=st.builds(Energy, maybe_number, maybe_text, maybe_text),
)  # fmt: skip
runs = st.builds(
    Run, id=text, suite=text, started_at=text, label=maybe_text, description=text,
    environment=st.builds(Environment, st.dictionaries(text, st.none() | scalar, max_size=4)),
    status=text.filter(bool), finished_at=maybe_text, planned=st.none() | st.integers(0, 99),
    settings=st.dictionaries(text, scalar, max_size=3),
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(runs, st.lists(records, max_size=3))
def test_documents_survive_the_round_trip(head: Run, found: list[Record]) -> None:
    sent = json.loads(dumps(encode_document(head, found)))
    assert decode_document(sent) == (head, found)


def test_layout_is_the_contract() -> None:
    body = encode_document(run(label="n"), [record()])
    assert body["schema_version"] == 1
    assert {"id", "label", "suite", "started_at", "environment"} <= set(body["run"])
    (r,) = body["records"]
    assert {
        "case", "device", "status", "reason", "times_s", "summary", "work", "model", "energy",
        "ranges", "flags",
    } <= set(r)  # fmt: skip
    assert {"key", "benchmark", "workload", "precision", "params"} <= set(r["case"])
    assert {"type", "gpu_key", "name"} <= set(r["device"])
    assert {
        "median_s", "ci_low_s", "ci_high_s", "rel_noise", "n", "stopped_by", "method", "cache",
    } <= set(r["summary"])  # fmt: skip
    assert {"flops", "bytes"} <= set(r["work"])
    assert {"predicted_s", "bound"} <= set(r["model"])
    assert {"joules", "method", "reason"} <= set(r["energy"])


def test_statistics_are_made_from_the_samples_not_believed() -> None:
    body = encode_record(record())
    body["summary"]["median_s"] = 1e-9
    assert encode_record(decode_record(body))["summary"]["median_s"] == pytest.approx(1e-3)


def test_nan_error_survives_and_is_not_right() -> None:
    wrong = record(outcome=measurement(accuracy=Accuracy(math.nan, 1e-6, "FP64")))
    sent = json.loads(dumps(encode_record(wrong)))
    assert sent["accuracy"]["ok"] is False
    back = decode_record(sent).outcome
    assert isinstance(back, Measurement)
    assert back.accuracy is not None
    assert math.isnan(back.accuracy.rel_error)
    assert not back.accuracy.ok


def test_newer_schema_is_refused_with_advice() -> None:
    with pytest.raises(InputError, match=r"newer gpubench.*pip install -U"):
        decode_document({"schema_version": SCHEMA_VERSION + 1})


def test_older_schema_is_upgraded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "SCHEMA_VERSION", 2)

    def upgrade(old: dict[str, Any]) -> dict[str, Any]:
        head = dict(old["run"])
        head["suite"] = head.pop("suite_name")
        return {**old, "run": head, "schema_version": 2}

    monkeypatch.setitem(codec.UPGRADES, 1, upgrade)
    old = encode_document(run(), [record()])
    old["schema_version"] = 1
    old["run"]["suite_name"] = old["run"].pop("suite")
    assert decode_document(old)[0].suite == "test"


@pytest.mark.parametrize(
    ("path", "value", "key"),
    [
        (("run", "id"), 3, "run.id"),
        (("run", "environment"), [], "run.environment"),
        (("run", "environment", "gpu.name"), {}, "run.environment.gpu.name"),
        (("records",), {}, "records"),
        (("records", 0, "times_s"), [], "records[0].times_s"),
        (("records", 0, "times_s"), [1.0, "x"], "records[0].times_s[1]"),
        (("records", 0, "times_s"), [-1.0], "records[0].times_s"),
        (("records", 0, "times_s"), [True], "records[0].times_s[0]"),
        (("records", 0, "status"), "great", "records[0].status"),
        (("records", 0, "case", "policy", "min_time_s"), "x", "records[0].case.policy.min_time_s"),
        (("records", 0, "samples", "spoiled"), {"99": "?"}, "records[0].samples.spoiled"),
        (("records", 0, "flags"), [1], "records[0].flags[0]"),
        (("records", 0, "work", "flops"), None, "records[0].work.flops"),
    ],
)
def test_wrong_values_name_their_key(path: tuple[Any, ...], value: Any, key: str) -> None:
    body = json.loads(dumps(encode_document(run(), [record()])))
    at = body
    for part in path[:-1]:
        at = at[part]
    at[path[-1]] = value
    with pytest.raises(InputError) as caught:
        decode_document(body)
    assert caught.value.key == key


@pytest.mark.parametrize("data", [None, 3, [], {}, {"schema_version": "1"}, {"schema_version": 0}])
def test_what_is_no_document_is_refused(data: Any) -> None:
    with pytest.raises(InputError, match=r"schema_version|not a gpubench result"):
        decode_document(data)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_damage_gives_an_input_error_or_a_document(data: st.DataObject) -> None:
    body = json.loads(dumps(encode_document(run(), [record()])))
    at: Any = body
    while True:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        key = data.draw(st.sampled_from(keys))
        if isinstance(at[key], dict | list) and at[key] and data.draw(st.booleans()):
            at = at[key]
            continue
        at[key] = data.draw(json_values)
        break
    try:
        head, found = decode_document(body)
    except InputError:
        return
    assert isinstance(head, Run)
    for r in found:
        encode_record(r)


def test_rates_of_a_step_stand_in_the_summary_for_readers() -> None:
    facts = {"samples_per_step": 8, "tokens_per_step": 256, "flops_per_step": 1e9}
    step = record(outcome=replace(measurement(*[0.5] * 8), facts=facts))
    summary = encode_record(step)["summary"]
    assert (summary["samples_per_s"], summary["tokens_per_s"], summary["flops_per_s"]) == (
        16.0, 512.0, 2e9,
    )  # fmt: skip
    assert "samples_per_s" not in encode_record(record())["summary"]
    assert decode_record(encode_record(step)) == step
