"""The schema of suite files, and how its violations are told."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr
from pydantic import ValidationError as PydanticError

from gpubench.errors import InputError, nearest
from gpubench.spec import known_key

Scalar = StrictBool | StrictInt | StrictFloat | StrictStr
_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class PolicyModel(_Model):
    """How carefully cases are measured. Every key is optional."""

    min_time_s: float = Field(0.3, ge=0, description="measuring time before a case may stop")
    max_time_s: float = Field(5.0, gt=0, description="measuring time after which it stops")
    target_rel_ci: float = Field(
        0.01, gt=0, lt=1, description="half width of the median's 95 % interval / median"
    )
    min_samples: int = Field(10, ge=1, description="samples before a case may stop")
    max_samples: int = Field(10_000, ge=1, description="samples after which it stops")
    warmup_s: float = Field(0.05, ge=0, description="time of untimed calls first")
    timeout_s: float = Field(120.0, gt=0, description="wall time of a case before it is killed")
    cache: Literal["auto", "cold", "rotating", "hot"] = "auto"
    launches: int = Field(1, ge=1, le=100, description="fresh processes to spread samples over")
    data: Literal["normal", "uniform", "positive", "wide", "cancelling", "zeros"] = "normal"


class ConditionModel(_Model):
    """A condition and the reason that is shown for it."""

    if_: str = Field(alias="if")
    reason: str | None = None


class OverrideModel(_Model):
    """What replaces parts of the benchmark on CPU, or with ``--quick``."""

    params: dict[str, Scalar] = {}
    matrix: dict[str, Annotated[list[Scalar], Field(min_length=1)]] = {}
    zip: dict[str, Annotated[list[Scalar], Field(min_length=1)]] = {}
    cases: list[dict[str, Scalar]] | str | None = None
    policy: dict[str, Scalar] = {}
    skip: str | None = Field(None, description="reason for which none of the cases run")


class BenchmarkModel(_Model):
    """A workload and the parameters it is run with."""

    name: _Name
    workload: str
    params: dict[str, Scalar] = {}
    matrix: dict[str, Annotated[list[Scalar], Field(min_length=1)]] = Field(
        {}, description="cartesian product"
    )
    zip: dict[str, Annotated[list[Scalar], Field(min_length=1)]] = Field(
        {}, description="parallel lists of one length"
    )
    cases: list[dict[str, Scalar]] | str | None = Field(
        None, description="explicit list, or the path of a CSV file beside the suite"
    )
    skip: list[str | ConditionModel] = []
    only: list[str | ConditionModel] = []
    baseline: dict[str, Scalar] = Field({}, description="what differs in the baseline case")
    policy: dict[str, Scalar] = {}
    cpu: OverrideModel | None = None
    quick: OverrideModel | None = None


class SuiteModel(_Model):
    """A gpubench suite. Keys starting with ``x-`` are yours, for YAML anchors."""

    schema_: Literal[1] = Field(alias="schema")
    suite: _Name
    description: str = ""
    policy: PolicyModel = Field(default_factory=lambda: PolicyModel.model_validate({}))
    benchmarks: Annotated[list[BenchmarkModel], Field(min_length=1)]


def json_schema() -> dict[str, Any]:
    """JSON Schema of a suite file, for editors."""
    schema = SuiteModel.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["patternProperties"] = {"^x-": {}}
    return schema


def _model_at(path: Sequence[str | int]) -> type[BaseModel] | None:
    """The model whose keys stand at a location, for near misses of unknown keys."""
    match [p for p in path if not isinstance(p, int)]:
        case []:
            return SuiteModel
        case ["policy"]:
            return PolicyModel
        case ["benchmarks"]:
            return BenchmarkModel
        case ["benchmarks", "cpu" | "quick"]:
            return OverrideModel
        case ["benchmarks", "skip" | "only", *_]:
            return ConditionModel
    return None


def _model_keys(model: type[BaseModel]) -> list[str]:
    return [f.alias or name for name, f in model.model_fields.items()]


def _key_path(loc: Sequence[str | int]) -> str:
    key = ""
    for part in loc:
        if isinstance(part, int):
            key += f"[{part}]"
        elif re.match(r"^[A-Za-z_]", part) and not part.startswith(("list[", "dict[")):
            key += f".{part}" if key else part
    return key


_TAGS: Final = frozenset({"bool", "int", "float", "str", "ConditionModel"})


def first_error(error: PydanticError, places: Mapping[str, tuple[str, int]]) -> InputError:
    """The first problem as one message.

    A value that fits no member of a union is reported once per member; those differ
    only in a member tag at the end of the location, which is no key of the file.
    """
    problems = error.errors(include_url=False)
    problem = problems[0]
    loc = [p for p in problem["loc"] if isinstance(p, int) or p not in _TAGS]
    loc = [p for p in loc if isinstance(p, int) or not p.startswith(("list[", "dict["))]
    while loc and _key_path(loc) not in places and problem["type"] != "missing":
        if isinstance(loc[-1], str) and problem["type"] == "extra_forbidden":
            break
        loc.pop()
    key = _key_path(loc)
    siblings = [
        p for p in problems if p["type"] in _TYPE_NAMES and p["loc"][:-1] == problem["loc"][:-1]
    ]
    text, expected, near = describe(problem, siblings, loc)
    file, line = places.get(known_key(places, key), places.get("", ("", 1)))
    return InputError(text, file=file, line=line, key=key or None, expected=expected, nearest=near)


_TYPE_NAMES: Final = {
    "bool_type": "true or false", "int_type": "an integer", "float_type": "a number",
    "string_type": "text", "list_type": "a list", "dict_type": "a mapping",
    "model_type": "a mapping", "model_attributes_type": "a mapping",
}  # fmt: skip


def describe(
    problem: Any, siblings: Sequence[Any], loc: Sequence[str | int]
) -> tuple[str, str | None, str | None]:
    """(problem, expected, nearest) of one pydantic error; ``siblings`` are its union members."""
    kind, given = problem["type"], problem.get("input")
    if kind == "extra_forbidden":
        model = _model_at(loc[:-1])
        known = _model_keys(model) if model else []
        return (
            f"unknown key {loc[-1]!r}",
            "one of " + ", ".join(known) if known else None,
            nearest(str(loc[-1]), known),
        )
    if kind == "missing":
        return "this key is missing", None, None
    if kind in _TYPE_NAMES:
        names = dict.fromkeys(_TYPE_NAMES[p["type"]] for p in (siblings or [problem]))
        return f"{_short(given)} has the wrong type", " or ".join(names), None
    if kind == "literal_error":
        expected = problem["ctx"]["expected"].replace("'", "")
        options = re.split(r", | or ", expected)
        return f"unknown value {_short(given)}", expected, nearest(str(given), options)
    if kind == "too_short":
        return "the list is empty", "at least one value", None
    if kind == "string_pattern_mismatch":
        return f"{_short(given)} is no name", "letters, digits, '.', '_' and '-'", None
    return f"{_short(given)}: {problem['msg'][0].lower()}{problem['msg'][1:]}", None, None


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
