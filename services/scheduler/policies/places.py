"""YAML or JSON as plain values, with the place of each: no tags, no anchors, no key twice, bounded in size and depth."""

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
"""Of a quoted text; what helps is where it begins."""
_SAID = {"found character that cannot start any token": "a tab, or a sign that begins nothing in YAML: indent by blanks, quote other signs"}
_ONE_LINE = " (all of it came as one line: curl keeps line ends with --data-binary, and takes them out with -d)"
_WORDS: dict[str, Any] = {"": None, "~": None, "null": None, "true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands, counted from 1."""

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
    """A value, and the place of every part of it; `faults` are those of the writing itself."""

    value: Any = None
    places: dict[Path, Place] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    nothing: str = "there is nothing in it"

    def fault(self, path: Path, error: str, detail: str) -> Fault:
        """Return a fault at the innermost part of this path that stands in the document."""
        found = next((self.places[path[:n]] for n in range(len(path), -1, -1) if path[:n] in self.places), Place(1, 1))
        return Fault(found, spelled(path), error, detail)


def spelled(path: Path) -> str:
    """Return a path as people write it: `steps[2].at.between`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def read(text: str) -> Read:
    """Return what a document says; a fault of the writing ends it."""
    found = Read()
    if len(text.encode("utf-8", "replace")) > MOST_BYTES:
        found.faults.append(Fault(Place(1, 1), "", "too_large", f"a policy may have {MOST_BYTES} bytes"))
        return found
    if text.lstrip().startswith("{"):
        text = text.replace("\t", " ")  # JSON may be indented by tabs, which YAML refuses; inside its strings there are none
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
    """Return what to say where a document of several lines has come as one."""
    return _ONE_LINE if text.strip() and "\n" not in text.strip() else ""


class _Refused(Exception):  # noqa: N818  # it ends a reading and never leaves this module
    def __init__(self, fault: Fault) -> None:
        self.fault = fault


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end has not come."""

    path: Path
    value: list[Any] | dict[str, Any]
    key: str | None = None


@dataclass(slots=True)
class _Builder:
    """Puts values together out of the parser's events, without recursion."""

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
            self._refuse(place, "not_yaml", "one document is one policy; a second one begins here")
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            self._refuse(place, "not_supported", "anchors and aliases are not read; write it out")
        if getattr(event, "tag", None) not in {None, "!"}:
            self._refuse(place, "not_supported", "tags are not read")
        if len(self.stack) > MOST_DEPTH:
            self._refuse(place, "too_deep", f"nothing in a policy is nested deeper than {MOST_DEPTH} levels")

    def _scalar(self, event: yaml.ScalarEvent, place: Place) -> None:
        if "\0" in event.value:
            self._refuse(place, "not_supported", "a text holds the character 0")
        inside = self.stack[-1] if self.stack else None
        if inside is not None and isinstance(inside.value, dict) and inside.key is None:
            self._key(inside, event.value, place)
            return
        self._put(_plain(event.value) if event.implicit[0] else event.value, place)

    def _key(self, inside: _Open, key: str, place: Place) -> None:
        if key in inside.value:
            self._refuse(place, "duplicate_key", f"{key[:64]!r} stands twice", (*inside.path, key))
        inside.key = key
        self.found.places[(*inside.path, key)] = place

    def _open(self, value: list[Any] | dict[str, Any], place: Place) -> None:
        inside = self.stack[-1] if self.stack else None
        if inside is not None and isinstance(inside.value, dict) and inside.key is None:
            self._refuse(place, "not_supported", "a key is a text")
        self.stack.append(_Open(self._put(value, place), value))

    def _put(self, value: Any, place: Place) -> Path:
        """Put a value where it belongs, and return its path."""
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
    """Return what an unquoted word says: only `true`, `false`, `null` and decimal numbers are more than text."""
    if text in _WORDS:
        return _WORDS[text]
    if _WHOLE.fullmatch(text):
        return int(text)
    return float(text) if _DECIMAL.fullmatch(text) else text
