"""Pages that mkdocs makes from the code while it builds: the schema of suite files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from gpubench.schema import json_schema

INTRO = """\
# Suite schema

Made from the models that check suite files, as it stands in `gpubench suite schema`; an editor
that knows JSON Schema completes keys and marks mistakes with it. What the keys are for is told in
[suite files](../suite-files.md).

```
gpubench suite schema > gpubench.schema.json
```
"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages to those of the folder."""
    page = schema_page(json_schema())
    files.append(File.generated(config, "reference/suite-schema.md", content=page))
    return files


def schema_page(schema: Mapping[str, Any]) -> str:
    """The JSON Schema as one table a mapping, the suite itself first."""
    parts = [INTRO, *_section("A suite", schema)]
    for name, part in schema["$defs"].items():
        parts += _section(_title(name), part)
    return "\n".join(parts) + "\n"


def _title(name: str) -> str:
    return name.removesuffix("Model")


def _section(title: str, part: Mapping[str, Any]) -> Iterator[str]:
    required = set(part.get("required", ()))
    yield f"\n## {title}\n"
    yield f"{part.get('description', '').replace('``', '`')}\n"
    yield "| key | type | default | |\n|---|---|---|---|"
    for key, value in part["properties"].items():
        default = "**required**" if key in required else _default(value)
        cells = (f"`{key}`", kind(value), default, value.get("description", ""))
        yield "| " + " | ".join(cells) + " |"


def _default(value: Mapping[str, Any]) -> str:
    default = value.get("default")
    if default is None or default in ("", [], {}):
        return "–"
    return f"`{default}`"


def kind(value: Mapping[str, Any]) -> str:
    """What a value may be, in words: ``list of text or integer``."""
    if "$ref" in value:
        name = _title(str(value["$ref"]).rsplit("/", 1)[-1])
        return f"[{name}](#{name.lower()})"
    if "const" in value:
        return f"`{value['const']}`"
    if "enum" in value:
        return " ".join(f"`{v}`" for v in value["enum"])
    if "anyOf" in value:
        return " or ".join(kind(v) for v in value["anyOf"] if v.get("type") != "null")
    match value.get("type"):
        case "array":
            least = ", not empty" if value.get("minItems") else ""
            return f"list of {kind(value['items'])}{least}"
        case "object":
            inner = value.get("additionalProperties")
            return f"mapping to {kind(inner)}" if isinstance(inner, Mapping) else "mapping"
        case other:
            return _named(str(other)) + _limits(value)


def _named(name: str) -> str:
    return {"string": "text", "boolean": "true or false"}.get(name, name)


def _limits(value: Mapping[str, Any]) -> str:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    found = [f"{sign} {value[key]:g}" for key, sign in signs.items() if key in value]
    if "maxLength" in value:
        found.append(f"at most {value['maxLength']} characters")
    return f" {', '.join(found)}" if found else ""
