"""Suite files: YAML text to a validated ``Suite``, every error with file, line and key path."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr
from pydantic import ValidationError as PydanticError

from gpubench.errors import InputError, UnknownName, nearest
from gpubench.expression import compile_expression
from gpubench.ports import Workload
from gpubench.registry import workload
from gpubench.spec import PRECISIONS, Benchmark, Condition, Override, Policy, Suite, Value

MAX_FILE_BYTES: Final = 8 * 2**20
MAX_NODES: Final = 400_000
MAX_DEPTH: Final = 64

AXES: Final = {
    "precision": "one of " + ", ".join(PRECISIONS),
    "cache": "auto, cold, rotating or hot",
    "data": "normal, uniform or zeros",
}
"""Parameters that every workload has, beside its own."""

_Scalar = StrictBool | StrictInt | StrictFloat | StrictStr
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
    data: Literal["normal", "uniform", "zeros"] = "normal"


class ConditionModel(_Model):
    """A condition and the reason that is shown for it."""

    if_: str = Field(alias="if")
    reason: str | None = None


class OverrideModel(_Model):
    """What replaces parts of the benchmark on CPU, or with ``--quick``."""

    params: dict[str, _Scalar] = {}
    matrix: dict[str, Annotated[list[_Scalar], Field(min_length=1)]] = {}
    zip: dict[str, Annotated[list[_Scalar], Field(min_length=1)]] = {}
    cases: list[dict[str, _Scalar]] | str | None = None
    policy: dict[str, _Scalar] = {}
    skip: str | None = Field(None, description="reason for which none of the cases run")


class BenchmarkModel(_Model):
    """A workload and the parameters it is run with."""

    name: _Name
    workload: str
    params: dict[str, _Scalar] = {}
    matrix: dict[str, Annotated[list[_Scalar], Field(min_length=1)]] = Field(
        {}, description="cartesian product"
    )
    zip: dict[str, Annotated[list[_Scalar], Field(min_length=1)]] = Field(
        {}, description="parallel lists of one length"
    )
    cases: list[dict[str, _Scalar]] | str | None = Field(
        None, description="explicit list, or the path of a CSV file beside the suite"
    )
    skip: list[str | ConditionModel] = []
    only: list[str | ConditionModel] = []
    baseline: dict[str, _Scalar] = Field({}, description="what differs in the baseline case")
    policy: dict[str, _Scalar] = {}
    cpu: OverrideModel | None = None
    quick: OverrideModel | None = None


class SuiteModel(_Model):
    """A gpubench suite. Keys starting with ``x-`` are yours, for YAML anchors."""

    schema_: Literal[1] = Field(alias="schema")
    suite: _Name
    description: str = ""
    policy: PolicyModel = PolicyModel()
    benchmarks: Annotated[list[BenchmarkModel], Field(min_length=1)]


def json_schema() -> dict[str, Any]:
    """JSON Schema of a suite file, for editors."""
    schema = SuiteModel.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["patternProperties"] = {"^x-": {}}
    return schema


# ---------------------------------------------------------------- YAML with places

_FLOAT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")
_SCALAR_TAGS: Final = frozenset(
    f"tag:yaml.org,2002:{t}" for t in ("str", "int", "float", "bool", "null", "timestamp", "merge")
)


class _Tree:
    """A YAML node graph turned into plain data, with the line of every key path."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.places: dict[str, tuple[str, int]] = {}
        self._nodes = 0
        self._open: set[int] = set()

    def error(self, node: yaml.Node, problem: str, key: str, **more: str) -> InputError:
        line = node.start_mark.line + 1
        return InputError(problem, file=self.file, line=line, key=key or None, **more)

    def value(self, node: yaml.Node, key: str = "") -> Any:
        """Plain data of a node; aliases are expanded within limits."""
        self._nodes += 1
        self.places.setdefault(key, (self.file, node.start_mark.line + 1))
        if self._nodes > MAX_NODES:
            raise self.error(node, f"more than {MAX_NODES:,} values after expanding aliases", key)
        if id(node) in self._open:
            raise self.error(node, "an anchor contains itself", key)
        if len(self._open) > MAX_DEPTH:
            raise self.error(node, f"nested deeper than {MAX_DEPTH} levels", key)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, key)
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                self._plain(node, "seq", key)
                return [self.value(n, f"{key}[{i}]") for i, n in enumerate(node.value)]
            assert isinstance(node, yaml.MappingNode)
            self._plain(node, "map", key)
            return self._mapping(node, key)
        finally:
            self._open.discard(id(node))

    def _plain(self, node: yaml.Node, kind: str, key: str) -> None:
        if node.tag != f"tag:yaml.org,2002:{kind}":
            raise self.error(node, f"tag {node.tag!r} is not allowed", key, expected="plain YAML")

    def _scalar(self, node: yaml.ScalarNode, key: str) -> Any:
        if node.tag not in _SCALAR_TAGS:
            raise self.error(node, f"tag {node.tag!r} is not allowed", key, expected="plain YAML")
        # YAML 1.1 wants a dot in 1.0e9; everybody else reads 1e9 as a number too.
        if node.style is None and _FLOAT.fullmatch(node.value):
            return float(node.value)
        if node.tag.endswith("timestamp"):
            return str(node.value)
        try:
            return yaml.constructor.SafeConstructor().construct_object(node)
        except (ValueError, OverflowError, yaml.YAMLError) as error:
            raise self.error(node, f"cannot read {node.value[:40]!r}: {error}", key) from error

    def _mapping(self, node: yaml.MappingNode, key: str) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for name_node, value_node in node.value:
            if name_node.tag.endswith(":merge"):
                sources = self.value(value_node, f"{key}.<<" if key else "<<")
                for source in sources if isinstance(sources, list) else [sources]:
                    if not isinstance(source, dict):
                        raise self.error(value_node, "'<<' merges mappings only", key)
                    merged = {**source, **merged}
                continue
            name = self._scalar(name_node, key) if isinstance(name_node, yaml.ScalarNode) else None
            if not isinstance(name, str):
                raise self.error(name_node, f"a key must be text, not {name!r}", key)
            path = f"{key}.{name}" if key else name
            if name in own:
                raise self.error(name_node, "this key is there twice", path)
            self.places[path] = (self.file, name_node.start_mark.line + 1)
            own[name] = self.value(value_node, path)
        return {**merged, **own}


def _read(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"cannot read the suite: {reason}", file=str(path)) from error
    if len(raw) > MAX_FILE_BYTES:
        raise InputError(f"larger than {MAX_FILE_BYTES // 2**20} MiB", file=str(path))
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise InputError(
            f"not UTF-8 text (byte 0x{raw[error.start]:02x})",
            file=str(path),
            line=line,
            expected="a YAML file in UTF-8",
        ) from error


def _parse(text: str, file: str) -> tuple[dict[str, Any], dict[str, tuple[str, int]]]:
    tree = _Tree(file)
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        data = tree.value(node) if node is not None else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = error.problem or "not YAML"
        line = mark.line + 1 if mark else None
        raise InputError(f"not YAML: {problem}", file=file, line=line) from error
    except yaml.YAMLError as error:
        raise InputError(f"not YAML: {str(error).splitlines()[0]}", file=file) from error
    except RecursionError as error:
        raise InputError(f"nested deeper than {MAX_DEPTH} levels", file=file) from error
    if data is None:
        raise InputError("the file is empty", file=file, expected="a suite; see `suite schema`")
    if not isinstance(data, dict):
        raise InputError(
            "the file is not a mapping", file=file, line=1, expected="keys schema, suite, ..."
        )
    return data, tree.places


# ---------------------------------------------------------------- validation


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


def _first_error(error: PydanticError, places: Mapping[str, tuple[str, int]]) -> InputError:
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
    siblings = [p for p in problems if p["type"] in _TYPE_NAMES and p["loc"][:-1] == problem["loc"][:-1]]
    text, expected, near = _describe(problem, siblings, loc)
    anchor = key
    while anchor and anchor not in places:
        cut = max(anchor.rfind("."), anchor.rfind("["))
        anchor = anchor[:cut] if cut > 0 else ""
    file, line = places.get(anchor, places.get("", ("", 1)))
    return InputError(text, file=file, line=line, key=key or None, expected=expected, nearest=near)


_TYPE_NAMES: Final = {
    "bool_type": "true or false", "int_type": "an integer", "float_type": "a number",
    "string_type": "text", "list_type": "a list", "dict_type": "a mapping",
    "model_type": "a mapping", "model_attributes_type": "a mapping",
}  # fmt: skip


def _describe(
    problem: Any, siblings: Sequence[Any], loc: Sequence[str | int]
) -> tuple[str, str | None, str | None]:
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


def load(path: Path | str, *, name: str | None = None) -> Suite:
    """Read and validate a suite file.

    Args:
        path: the file; CSV files it names are found beside it.
        name: how messages call the file, where not by its path.

    Raises:
        InputError: unreadable, not YAML, unknown key, wrong type, unknown workload or
            parameter; with file, line and key path.
    """
    path = Path(path)
    return parse(_read(path), file=name or str(path), folder=path.parent)


def parse(text: str, *, file: str = "<suite>", folder: Path | None = None) -> Suite:
    """Validate the text of a suite file; see ``load``."""
    data, places = _parse(text, file)
    data = {k: v for k, v in data.items() if not k.startswith("x-")}
    try:
        model = SuiteModel.model_validate(data)
    except PydanticError as error:
        raise _first_error(error, places) from None
    suite = Suite(
        name=model.suite,
        description=model.description,
        policy=Policy(**model.policy.model_dump()),
        benchmarks=tuple(
            _benchmark(b, f"benchmarks[{i}]", places, folder or Path())
            for i, b in enumerate(model.benchmarks)
        ),
        source=file,
        places=places,
    )
    check(suite)
    return suite


def _benchmark(
    model: BenchmarkModel, path: str, places: dict[str, tuple[str, int]], folder: Path
) -> Benchmark:
    return Benchmark(
        name=model.name,
        workload=model.workload,
        params=model.params,
        matrix={k: tuple(v) for k, v in model.matrix.items()},
        zip={k: tuple(v) for k, v in model.zip.items()},
        cases=_cases(model.cases, f"{path}.cases", places, folder),
        skip=_conditions(model.skip),
        only=_conditions(model.only),
        baseline=model.baseline,
        policy=model.policy,
        cpu=_override(model.cpu, f"{path}.cpu", places, folder),
        quick=_override(model.quick, f"{path}.quick", places, folder),
        key_path=path,
    )


def _override(
    model: OverrideModel | None, path: str, places: dict[str, tuple[str, int]], folder: Path
) -> Override | None:
    if model is None:
        return None
    return Override(
        params=model.params,
        matrix={k: tuple(v) for k, v in model.matrix.items()},
        zip={k: tuple(v) for k, v in model.zip.items()},
        cases=_cases(model.cases, f"{path}.cases", places, folder),
        policy=model.policy,
        skip=model.skip,
    )


def _conditions(models: Sequence[str | ConditionModel]) -> tuple[Condition, ...]:
    return tuple(
        Condition(m) if isinstance(m, str) else Condition(m.if_, m.reason) for m in models
    )


def _cases(
    given: list[dict[str, _Scalar]] | str | None,
    path: str,
    places: dict[str, tuple[str, int]],
    folder: Path,
) -> tuple[Mapping[str, Value], ...] | None:
    if not isinstance(given, str):
        return None if given is None else tuple(given)
    file = folder / given
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            lines = csv.DictReader(row for row in stream if not row.startswith("#"))
            rows = []
            for row in lines:
                place = f"{path}[{len(rows)}]"
                if None in row or None in row.values():
                    raise InputError(
                        "a row with more or fewer cells than the head",
                        file=str(file), line=lines.line_num,
                    )  # fmt: skip
                places[place] = (str(file), lines.line_num)
                rows.append({k: _cell(v) for k, v in row.items() if v.strip()})
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        at = places.get(path, ("", 1))
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(
            f"cannot read {given!r}: {reason}", file=at[0], line=at[1], key=path
        ) from error
    return tuple(rows)


def _cell(text: str) -> Value:
    text = text.strip()
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text.lower(), text)


# ---------------------------------------------------------------- names of parameters


def parameter_names(kind: type[Workload]) -> dict[str, str]:
    """Every parameter a benchmark of this workload may set -> its meaning."""
    return {**kind.parameters(), **AXES}


def check(suite: Suite) -> None:
    """Check workloads, parameter names, policies and conditions of every benchmark.

    Raises:
        InputError: with file, line and key path.
    """
    seen: dict[str, str] = {}
    for b in suite.benchmarks:
        if b.name in seen:
            raise _at(suite, InputError(f"a second benchmark {b.name!r}"), f"{b.key_path}.name")
        seen[b.name] = b.key_path
        try:
            kind = workload(b.workload)
        except InputError as error:
            raise _at(suite, error, f"{b.key_path}.workload") from None
        names = parameter_names(kind)
        _check_parameters(suite, b, names)
        for override, path in ((b.policy, b.key_path), *_override_policies(b)):
            _check_policy(suite, override, f"{path}.policy")
        for group, conditions in (("skip", b.skip), ("only", b.only)):
            for i, condition in enumerate(conditions):
                try:
                    compile_expression(condition.expression)
                except InputError as error:
                    raise _at(suite, error, f"{b.key_path}.{group}[{i}]") from None


def _override_policies(b: Benchmark) -> list[tuple[Mapping[str, Value], str]]:
    return [
        (o.policy, f"{b.key_path}.{name}")
        for name, o in (("cpu", b.cpu), ("quick", b.quick))
        if o is not None
    ]


def _at(suite: Suite, error: InputError, key: str) -> InputError:
    file, line = suite.place(key)
    return error.at(file=file, line=line, key=key)


def _check_parameters(suite: Suite, b: Benchmark, names: Mapping[str, str]) -> None:
    if "*" in names:
        return
    groups: list[tuple[str, Mapping[str, object]]] = [
        (f"{b.key_path}.{g}", getattr(b, g)) for g in ("params", "matrix", "zip", "baseline")
    ]
    groups += [(f"{b.key_path}.cases[{i}]", c) for i, c in enumerate(b.cases or ())]
    for override_name, override in (("cpu", b.cpu), ("quick", b.quick)):
        if override is not None:
            path = f"{b.key_path}.{override_name}"
            groups += [(f"{path}.{g}", getattr(override, g)) for g in ("params", "matrix", "zip")]
            groups += [(f"{path}.cases[{i}]", c) for i, c in enumerate(override.cases or ())]
    for path, group in groups:
        for name in group:
            if name not in names:
                error = UnknownName(f"parameter of {b.workload}", name, names)
                raise _at(suite, error, f"{path}.{name}")


def _check_policy(suite: Suite, given: Mapping[str, Value], path: str) -> None:
    try:
        PolicyModel.model_validate(dict(given))
    except PydanticError as error:
        problem = error.errors(include_url=False)[0]
        name = str(problem["loc"][0]) if problem["loc"] else ""
        text, expected, near = _describe(problem, [], ["policy", name])
        found = InputError(text, expected=expected, nearest=near)
        raise _at(suite, found, f"{path}.{name}") from None


# ---------------------------------------------------------------- --set key=value


def with_settings(suite: Suite, settings: Sequence[str]) -> Suite:
    """The suite with ``--set key=value`` applied, in order.

    ``policy.KEY=V`` changes the policy of every case; ``BENCHMARK.PARAM=V`` one
    benchmark's parameter; ``PARAM=V`` that parameter wherever it stands. A list
    (``size=[256,512]``) becomes a matrix axis. Values are read as YAML.

    Raises:
        InputError: not ``key=value``, or a key that nothing has.
    """
    for setting in settings:
        key, equals, text = setting.partition("=")
        key = key.strip()
        if not equals or not key:
            raise InputError(f"--set {setting!r} is not KEY=VALUE", expected="e.g. size=[256,512]")
        data, _ = _parse(f"value: {text}", "--set")
        suite = _with_setting(suite, key, data["value"], setting)
    check(suite)
    return suite


def _with_setting(suite: Suite, key: str, value: object, setting: str) -> Suite:
    head, _, rest = key.partition(".")
    if head == "policy":
        return _with_policy(suite, rest, value)
    names = [b.name for b in suite.benchmarks]
    wanted = [head] if rest and head in names else names
    param = rest if rest and head in names else key
    changed, values = [], _axis(value, setting)
    known: set[str] = set(names)
    for b in suite.benchmarks:
        known |= {*b.params, *b.matrix, *b.zip}
        hit = b.name in wanted and (param in known and param in {*b.params, *b.matrix, *b.zip})
        allowed = b.name in wanted and rest and param in parameter_names(workload(b.workload))
        changed.append(_with_param(b, param, values) if hit or allowed else b)
    if all(a is b for a, b in zip(changed, suite.benchmarks, strict=True)):
        raise UnknownName("--set key", key, known | {f"policy.{f.name}" for f in fields(Policy)})
    return replace(suite, benchmarks=tuple(changed))


def _with_policy(suite: Suite, name: str, value: object) -> Suite:
    known = {f.name for f in fields(Policy)}
    if name not in known:
        raise UnknownName("policy key", name, known)
    try:
        PolicyModel.model_validate({name: value})
    except PydanticError as error:
        text, expected, near = _describe(error.errors(include_url=False)[0], [], ["policy", name])
        raise InputError(
            text, file="--set", key=f"policy.{name}", expected=expected, nearest=near
        ) from None
    # The command line wins over what single benchmarks say.
    drop = tuple(
        replace(
            b,
            policy={k: v for k, v in b.policy.items() if k != name},
            cpu=_without_policy(b.cpu, name),
            quick=_without_policy(b.quick, name),
        )
        for b in suite.benchmarks
    )
    policy = replace(suite.policy, **{name: value})
    return replace(suite, policy=policy, benchmarks=drop)


def _without_policy(override: Override | None, name: str) -> Override | None:
    if override is None:
        return None
    return replace(override, policy={k: v for k, v in override.policy.items() if k != name})


def _axis(value: object, setting: str) -> tuple[Value, ...]:
    values = value if isinstance(value, list) else [value]
    for v in values:
        if not isinstance(v, str | int | float | bool):
            raise InputError(f"--set {setting!r}: {v!r} is no value", expected="a scalar or list")
    if not values:
        raise InputError(f"--set {setting!r}: the list is empty", expected="at least one value")
    return tuple(values)


def _with_param(b: Benchmark, name: str, values: tuple[Value, ...]) -> Benchmark:
    def swap(group: Mapping[str, Any]) -> dict[str, Any]:
        return {k: v for k, v in group.items() if k != name}

    def clear(o: Override | None) -> Override | None:
        return o and replace(o, params=swap(o.params), matrix=swap(o.matrix), zip=swap(o.zip))

    return replace(
        b,
        params=swap(b.params),
        matrix={**swap(b.matrix), name: values},
        zip=swap(b.zip),
        cpu=clear(b.cpu),
        quick=clear(b.quick),
    )


# ---------------------------------------------------------------- built-in suites


@lru_cache(maxsize=1)
def builtin_folder() -> Path:
    """Where the shipped suites are: in the installed package, or in the source tree."""
    packaged = Path(__file__).parent / "suites"
    return packaged if packaged.is_dir() else Path(__file__).parents[1] / "suites"


def builtin_names() -> tuple[str, ...]:
    """Names of the shipped suites."""
    return tuple(sorted(p.stem for p in builtin_folder().glob("*.yaml")))


def locate(name: str) -> Path:
    """The file of a suite: a path, or the bare name of a built-in.

    ``suites/tensorcore.yaml`` finds the built-in too where no such file is here, so
    that the command of the documentation works in any folder.

    Raises:
        InputError: no such file and no such built-in.
    """
    path = Path(name)
    if path.is_file():
        return path
    builtin = builtin_folder() / f"{path.stem}.yaml"
    if builtin.is_file() and (str(path) in (path.stem, f"suites/{path.stem}.yaml")):
        return builtin
    if path.is_dir():
        raise InputError("is a folder", file=name, expected="a suite file")
    known = builtin_names()
    raise InputError(
        f"no suite file {name!r} and no built-in of that name",
        expected="a path, or one of " + ", ".join(known),
        nearest=nearest(path.stem, known),
    )


