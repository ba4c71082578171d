"""YAML to plain data with the line of every key path; safe against hostile files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import yaml

from gpubench.errors import InputError

MAX_FILE_BYTES: Final = 8 * 2**20
MAX_NODES: Final = 400_000
MAX_DEPTH: Final = 64

Places = dict[str, tuple[str, int]]
"""Key path -> (file, line)."""

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


def read(path: Path) -> str:
    """The text of a file.

    Raises:
        InputError: unreadable, too large or not UTF-8.
    """
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


def parse(text: str, file: str) -> tuple[dict[str, Any], Places]:
    """A YAML mapping as plain data, and the place of every key path.

    Raises:
        InputError: not YAML, not a mapping, a tag, a cycle, or too much of anything.
    """
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
