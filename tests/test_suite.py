import time
from pathlib import Path

import pytest

from gpubench import suite as suites
from gpubench.errors import InputError
from gpubench.schema import json_schema
from gpubench.settings import with_settings

GOOD = """\
schema: 1
suite: demo
benchmarks:
  - name: square
    workload: gemm
    matrix:
      precision: [fp32, bf16]
      size: [64, 128]
    baseline: {precision: fp32}
"""


def failing(text: str) -> InputError:
    with pytest.raises(InputError) as caught:
        suites.parse(text, file="s.yaml")
    return caught.value


def test_a_good_suite() -> None:
    s = suites.parse(GOOD, file="s.yaml")
    assert s.name == "demo"
    assert s.benchmarks[0].matrix["size"] == (64, 128)
    assert s.policy.min_time_s == 0.3
    assert s.place("benchmarks[0].matrix.size") == ("s.yaml", 8)
    assert s.place("benchmarks[0].matrix.size[1].x") == ("s.yaml", 8)


@pytest.mark.parametrize(
    ("old", "new", "line", "key", "words"),
    [
        ("matrix:", "matriks:", 6, "benchmarks[0].matriks", "did you mean 'matrix'"),
        ("workload: gemm", "workload: gem", 5, "benchmarks[0].workload", "did you mean 'gemm'"),
        ("size: [64", "sise: [64", 8, "benchmarks[0].matrix.sise", "did you mean 'size'"),
        ("size: [64, 128]", "size: 64", 8, "benchmarks[0].matrix.size", "expected a list"),
        ("size: [64, 128]", "size: []", 8, "benchmarks[0].matrix.size", "empty"),
        ("size: [64, 128]", "size: [[1]]", 8, "benchmarks[0].matrix.size[0]", "wrong type"),
        ("schema: 1", "schema: 2", 1, "schema", "expected 1"),
        ("suite: demo\n", "", 1, "suite", "missing"),
        ("  - name: square", "  - name: 3", 4, "benchmarks[0].name", "expected text"),
        ("baseline: {precision", "baseline: {precison", 9, "benchmarks[0].baseline.precison",
         "did you mean 'precision'"),
        ("suite: demo", "suite: demo\nsuite: again", 3, "suite", "twice"),
        ("suite: demo", "suite: demo\npolicy: {min_time: 1}", 3, "policy.min_time",
         "did you mean 'min_time_s'"),
        ("suite: demo", "suite: demo\npolicy: {cache: warm}", 3, "policy.cache", "expected"),
        ("suite: demo", "suite: demo\npolicy: {max_time_s: -1}", 3, "policy.max_time_s",
         "greater than 0"),
        ("    baseline:", "    policy: {min_samples: many}\n    baseline:", 9,
         "benchmarks[0].policy.min_samples", "expected an integer"),
        ("    baseline:", "    skip: ['m >']\n    baseline:", 9, "benchmarks[0].skip[0]",
         "cannot read the condition"),
        ("    baseline:", "    cpu: {matrx: {}}\n    baseline:", 9, "benchmarks[0].cpu.matrx",
         "did you mean 'matrix'"),
        ("    baseline:", "    skip: [{iff: m}]\n    baseline:", 9, "benchmarks[0].skip[0]", ""),
    ],
)  # fmt: skip
def test_errors_name_file_line_key_and_near_miss(
    old: str, new: str, line: int, key: str, words: str
) -> None:
    assert old in GOOD
    error = failing(GOOD.replace(old, new, 1))
    assert (error.file, error.line, error.key) == ("s.yaml", line, key)
    assert words in str(error)
    assert "\n" not in str(error)


BOMB = "x-0: &a0 [lol]\n" + "".join(
    f"x-{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10)
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("# only a comment\n", "empty"),
        ("- a list\n", "not a mapping"),
        ("just text", "not a mapping"),
        ("a: [1, 2", "not YAML"),
        ("a: b: c", "not YAML"),
        ("a: !!python/object/apply:os.system ['touch /tmp/owned']", "not allowed"),
        ("a: !!python/name:os.system x", "not allowed"),
        ("a: !custom 1", "not allowed"),
        ("a: &a [*a]", "contains itself"),
        ("a: &a {b: *a}", "contains itself"),
        (BOMB, "after expanding aliases"),
        ("a: " + "[" * 200 + "]" * 200, "nested deeper"),
        ("a: " + "[" * 20_000, "nested deeper"),
        ("a: *nowhere", "not YAML"),
        ("1: 2", "key must be text"),
        ("? [a]\n: b", "key must be text"),
        ("a: \x07", "not YAML"),
        ("a: 2024-99-99", ""),
        ("--- 1\n--- 2", "not YAML"),
        ("schema: 1\nsuite: x\nbenchmarks: []", "empty"),
        ("schema: 1\nsuite: 'a b'\nbenchmarks: []", "no name"),
        ("schema: .inf\nsuite: x\nbenchmarks: []", ""),
    ],
)
def test_hostile_files_get_one_message(text: str, words: str) -> None:
    started = time.perf_counter()
    error = failing(text)
    assert words in str(error)
    assert error.file == "s.yaml"
    # Not a timing assertion: an exponential expansion would take hours.
    assert time.perf_counter() - started < 30


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"\x00\x01\x02\xff\xfe", "not UTF-8"),
        ("suite: é".encode("latin-1"), "not UTF-8"),
        (b"\x7fELF\x02\x01\x01\x00", "not YAML"),
        (b"\xff\xfes\x00u\x00", "not UTF-8"),
        (b" " * (9 * 2**20), "larger than"),
    ],
)
def test_binary_files(tmp_path: Path, raw: bytes, words: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_bytes(raw)
    with pytest.raises(InputError, match=words) as caught:
        suites.load(path)
    assert caught.value.file == str(path)


def test_utf8_signature_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert suites.load(path).name == "demo"


def test_anchors_and_merges() -> None:
    text = GOOD.replace("schema: 1\n", "schema: 1\nx-fast: &fast {min_time_s: 1e-1}\n").replace(
        "    baseline:", "    policy: {<<: *fast, max_time_s: 2}\n    baseline:"
    )
    b = suites.parse(text).benchmarks[0]
    assert b.policy == {"min_time_s": 0.1, "max_time_s": 2}


def test_cases_from_csv(tmp_path: Path) -> None:
    (tmp_path / "shapes.csv").write_text("# shapes\nm,n,k,transpose\n8,9,10,nn\n1,2,3,\n")
    text = GOOD.replace(
        "    matrix:\n      precision: [fp32, bf16]\n      size: [64, 128]\n",
        "    matrix: {precision: [fp32]}\n    cases: shapes.csv\n",
    )
    s = suites.parse(text, file="s.yaml", folder=tmp_path)
    assert s.benchmarks[0].cases == (
        {"m": 8, "n": 9, "k": 10, "transpose": "nn"}, {"m": 1, "n": 2, "k": 3},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("m,n\n1,2,3\n", "cells"),
        ("m,n\n1\n", "cells"),
        ("q,n\n1,2\n", "unknown parameter"),
        (None, "cannot read"),
    ],
)
def test_bad_csv(tmp_path: Path, content: str | None, words: str) -> None:
    if content is not None:
        (tmp_path / "shapes.csv").write_text(content)
    text = GOOD.replace("    matrix:", "    cases: shapes.csv\n    matrix:")
    with pytest.raises(InputError, match=words) as caught:
        suites.parse(text, file="s.yaml", folder=tmp_path)
    assert caught.value.file is not None
    assert caught.value.line is not None


class TestSettings:
    def test_policy_parameter_and_list(self) -> None:
        s = with_settings(
            suites.parse(GOOD), ["policy.max_time_s=1", "size=[32,48]", "square.transpose=nt"]
        )
        assert s.policy.max_time_s == 1
        assert s.benchmarks[0].matrix["size"] == (32, 48)
        assert s.benchmarks[0].matrix["transpose"] == ("nt",)

    def test_the_command_line_wins_over_overrides(self) -> None:
        text = GOOD + "    cpu: {matrix: {size: [8]}, policy: {max_time_s: 9}}\n"
        b = with_settings(suites.parse(text), ["size=16", "policy.max_time_s=1"]).benchmarks[0]
        assert b.cpu is not None
        assert b.cpu.matrix == {}
        assert b.cpu.policy == {}

    @pytest.mark.parametrize(
        ("setting", "words"),
        [
            ("size", "KEY=VALUE"),
            ("=3", "KEY=VALUE"),
            ("sise=3", "did you mean 'size'"),
            ("policy.max_time=3", "did you mean 'max_time_s'"),
            ("policy.max_time_s=soon", "expected a number"),
            ("size=[]", "empty"),
            ("size={a: 1}", "is no value"),
            ("size=[", "not YAML"),
            ("square.nonsense=1", "unknown"),
            ("precision", "KEY=VALUE"),
        ],
    )
    def test_bad_settings(self, setting: str, words: str) -> None:
        with pytest.raises(InputError, match=words.replace("[", r"\[")):
            with_settings(suites.parse(GOOD), [setting])


def test_built_in_suites_load_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "tensorcore" in suites.builtin_names()
    for name in suites.builtin_names():
        assert suites.load(suites.locate(name)).name == name
        assert suites.locate(f"suites/{name}.yaml").is_file()
    with pytest.raises(InputError, match="did you mean 'tensorcore'"):
        suites.locate("tensorcor")


def test_json_schema_knows_every_key() -> None:
    schema = json_schema()
    assert {"schema", "suite", "benchmarks", "policy"} <= set(schema["properties"])
    assert schema["additionalProperties"] is False
    assert "if" in schema["$defs"]["ConditionModel"]["properties"]
