"""Suite files: text to a validated ``Suite``, every error with file, line and key path."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

from pydantic import ValidationError as PydanticError

from gpubench import yamlfile
from gpubench.errors import InputError, UnknownName, nearest
from gpubench.expression import compile_expression
from gpubench.ports import Workload
from gpubench.registry import workload
from gpubench.schema import (
    BenchmarkModel,
    ConditionModel,
    OverrideModel,
    PolicyModel,
    Scalar,
    SuiteModel,
    describe,
    first_error,
)
from gpubench.spec import PRECISIONS, Benchmark, Condition, Override, Policy, Suite, Value
from gpubench.yamlfile import Places

AXES: Final = {
    "precision": "one of " + ", ".join(PRECISIONS),
    "cache": "auto, cold, rotating or hot",
    "data": "normal, uniform, positive, wide, cancelling or zeros",
}
"""Parameters that every workload has, beside its own."""


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
    return parse(yamlfile.read(path), file=name or str(path), folder=path.parent)


def parse(text: str, *, file: str = "<suite>", folder: Path | None = None) -> Suite:
    """Validate the text of a suite file; see ``load``."""
    data, places = yamlfile.parse(text, file)
    data = {k: v for k, v in data.items() if not k.startswith("x-")}
    try:
        model = SuiteModel.model_validate(data)
    except PydanticError as error:
        raise first_error(error, places) from None
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


def _benchmark(model: BenchmarkModel, path: str, places: Places, folder: Path) -> Benchmark:
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
    model: OverrideModel | None, path: str, places: Places, folder: Path
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
    return tuple(Condition(m) if isinstance(m, str) else Condition(m.if_, m.reason) for m in models)


def _cases(
    given: list[dict[str, Scalar]] | str | None,
    path: str,
    places: Places,
    folder: Path,
) -> tuple[Mapping[str, Value], ...] | None:
    if not isinstance(given, str):
        return None if given is None else tuple(given)
    file = folder / given
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            lines = csv.DictReader(row for row in stream if not row.startswith("#"))
            rows: list[dict[str, Value]] = []
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
        text, expected, near = describe(problem, [], ["policy", name])
        found = InputError(text, expected=expected, nearest=near)
        raise _at(suite, found, f"{path}.{name}") from None


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
