"""YAML whose every part knows its line; every scalar is text, so that a column called No or On keeps its name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import yaml

DEPTH = 20


class MappingError(RuntimeError):
    """The mapping cannot be used; the sentence names its line."""


@dataclass(frozen=True, slots=True)
class Document:
    """What the text says, and on which line each part of it stands, by path (`$.files[0].fields.loan_id`)."""

    name: str
    value: Any
    lines: dict[str, int] = field(default_factory=dict)

    def fault(self, path: str, sentence: str) -> MappingError:
        """Return an error at this path, or at the nearest part above it that stands in the text."""
        while path not in self.lines and len(path) > 1:
            path = path[: max(path.rfind("."), path.rfind("["), 1)]
        return MappingError(f"{self.name} line {self.lines.get(path, 1)}: {sentence}")


def parse(text: str, name: str) -> Document:
    """Read one document; raises MappingError with the line of the fault."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as fault:
        line = fault.problem_mark.line + 1 if fault.problem_mark else 1
        raise MappingError(f"{name} line {line}: this is no YAML: {fault.problem}") from fault
    except yaml.YAMLError as fault:
        raise MappingError(f"{name}: this is no YAML: {fault}") from fault
    if node is None:
        raise MappingError(f"{name} is empty")
    document = Document(name, None)
    return Document(name, _value(node, "$", document), document.lines)


def _value(node: yaml.Node, path: str, document: Document) -> Any:
    document.lines.setdefault(path, node.start_mark.line + 1)
    if path.count(".") + path.count("[") > DEPTH:
        raise document.fault(path, "this is nested too deeply")
    match node:
        case yaml.ScalarNode():
            return node.value
        case yaml.SequenceNode():
            return [_value(inner, f"{path}[{place}]", document) for place, inner in enumerate(node.value)]
        case yaml.MappingNode():
            return _members(node, path, document)
        case _:
            raise document.fault(path, "this kind of YAML is not used here")


def _members(node: yaml.MappingNode, path: str, document: Document) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for key, inner in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise document.fault(path, "a name must be plain text")
        if key.value in members:
            raise MappingError(f"{document.name} line {key.start_mark.line + 1}: {key.value!r} stands twice here")
        document.lines[f"{path}.{key.value}"] = key.start_mark.line + 1
        members[key.value] = _value(inner, f"{path}.{key.value}", document)
    return members
