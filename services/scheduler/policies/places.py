"""Reads YAML or JSON as plain values with their positions: no tags, anchors or duplicate keys, limited in size and depth."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

MOST_BYTES = 64 * 1024
MOST_DEPTH = 12

Path = tuple[str | int, ...]
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,17})\.[0-9]{1,18}")
_UNCLOSED = "found unexpected end of stream"
"""Reported for a quoted text; where the text begins is what helps."""
_SAID = {
    "found character that cannot start any token": "a tab, or a sign that starts nothing in YAML: indent with spaces, quote other signs"
}
_ONE_LINE = " (it all arrived as one line: curl keeps line breaks with --data-binary, and removes them with -d)"
_WORDS: dict[str, Any] = {"": None, "~": None, "null": None, "true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Place:
    """A position in a document, counted from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a document, and where."""

    place: Place
    path: str
    error: str
    detail: str


@dataclass(slots=True)
class Read:
    """A value with the position of each part; `faults` are syntax errors."""

    value: Any = None
    places: dict[Path, Place] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    nothing: str = "it is empty"

    def fault(self, path: Path, error: str, detail: str) -> Fault:
        """Return a fault at the innermost part of this path that the document has."""
        found = next((self.places[path[:n]] for n in range(len(path), -1, -1) if path[:n] in self.places), Place(1, 1))
        return Fault(found, spelled(path), error, detail)


def spelled(path: Path) -> str:
    """Return a path as people write it: `steps[2].at.between`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def read(text: str) -> Read:
    """Return the contents of a document; reading stops at a syntax error."""
    found = Read()
    if len(text.encode("utf-8", "replace")) > MOST_BYTES:
        found.faults.append(Fault(Place(1, 1), "", "too_large", f"a policy may have at most {MOST_BYTES} bytes"))
        return found
    if text.lstrip().startswith("{"):
        text = text.replace("\t", " ")  # JSON may be indented with tabs, which YAML rejects; JSON strings cannot contain any
    try:
        _Builder(found).build(text)
    except _Refused as error:
        found.faults.append(error.fault)
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", None)
        mark = getattr(error, "context_mark" if problem == _UNCLOSED else "problem_mark", None)
        place = Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)
        said = str(problem or error)[:300]
        found.faults.append(Fault(place, "", "not_yaml", _SAID.get(said, said) + _joined(text)))
    found.nothing += _joined(text)
    return found


def _joined(text: str) -> str:
    """Return a hint if a document of several lines has arrived as one."""
    return _ONE_LINE if text.strip() and "\n" not in text.strip() else ""


class _Refused(Exception):  # noqa: N818  # it stops the reading and never leaves this module
    def __init__(self, fault: Fault) -> None:
        self.fault = fault


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end has not been read yet."""

    path: Path
    value: list[Any] | dict[str, Any]
    key: str | None = None


@dataclass(slots=True)
class _Builder:
    """Builds values from the parser's events, without recursion."""

    found: Read
    stack: list[_Open] = field(default_factory=list)
    documents: int = 0

    def build(self, text: str) -> None:
        for event in yaml.parse(text, Loader=_LOADER):
            mark: Any = event.start_mark
            place = Place(mark.line + 1, mark.column + 1)
            self._check(event, place)
            match event:
                case yaml.ScalarEvent():
                    self._scalar(event, place)
                case yaml.MappingStartEvent():
                    self._open({}, place)
                case yaml.SequenceStartEvent():
                    self._open([], place)
                case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                    self.stack.pop()
                case _:
                    continue

    def _check(self, event: yaml.Event, place: Place) -> None:
        if isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
        if self.documents > 1:
            self._refuse(place, "not_yaml", "a file holds one policy; a second document begins here")
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            self._refuse(place, "not_supported", "anchors and aliases are not supported; write it out")
        if getattr(event, "tag", None) not in {None, "!"}:
            self._refuse(place, "not_supported", "tags are not supported")
        if len(self.stack) > MOST_DEPTH:
            self._refuse(place, "too_deep", f"a policy is nested at most {MOST_DEPTH} levels deep")

    def _scalar(self, event: yaml.ScalarEvent, place: Place) -> None:
        if "\0" in event.value:
            self._refuse(place, "not_supported", "a text contains the NUL character")
        inside = self.stack[-1] if self.stack else None
        if inside is not None and isinstance(inside.value, dict) and inside.key is None:
            self._key(inside, event.value, place)
            return
        self._put(_plain(event.value) if event.implicit[0] else event.value, place)

    def _key(self, inside: _Open, key: str, place: Place) -> None:
        if key in inside.value:
            self._refuse(place, "duplicate_key", f"{key[:64]!r} appears twice", (*inside.path, key))
        inside.key = key
        self.found.places[(*inside.path, key)] = place

    def _open(self, value: list[Any] | dict[str, Any], place: Place) -> None:
        inside = self.stack[-1] if self.stack else None
        if inside is not None and isinstance(inside.value, dict) and inside.key is None:
            self._refuse(place, "not_supported", "a key must be a text")
        self.stack.append(_Open(self._put(value, place), value))

    def _put(self, value: Any, place: Place) -> Path:
        """Put a value where it belongs; return its path."""
        inside = self.stack[-1] if self.stack else None
        if inside is None:
            self.found.value = value
            self.found.places[()] = place
            return ()
        if isinstance(inside.value, list):
            path: Path = (*inside.path, len(inside.value))
            inside.value.append(value)
            self.found.places[path] = place
        else:
            path = (*inside.path, inside.key or "")
            inside.value[inside.key or ""] = value
            inside.key = None
        return path

    def _refuse(self, place: Place, error: str, detail: str, path: Path | None = None) -> None:
        where = path if path is not None else self.stack[-1].path if self.stack else ()
        raise _Refused(Fault(place, spelled(where), error, detail))


def _plain(text: str) -> Any:
    """Return the value of an unquoted word: text, except for `true`, `false`, `null` and decimal numbers."""
    if text in _WORDS:
        return _WORDS[text]
    if _WHOLE.fullmatch(text):
        return int(text)
    return float(text) if _DECIMAL.fullmatch(text) else text
