"""How to answer a slip: the word that was probably meant, and what belongs in its place, in plain words."""

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

import msgspec
from msgspec.inspect import DictType, EnumType, Field, ListType, LiteralType, Metadata, StructType, Type, UnionType, VarTupleType, type_info

LONGEST = 64
MOST_SHOWN = 40
_PLACE = re.compile(r"\.([^.\[]+)|\[(?:\.\.\.|\d+)\]")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`")
_MISSING = re.compile(r"Object missing required field `(.*)`")
_CHOSEN = re.compile(r"Invalid enum value '?(.*?)'?")
_EXPECTED = re.compile(r"Expected `([a-z| ]+)`(?:, got `(\w+)`)?")
_BOUND = re.compile(r"Expected `(\w+)` (>=|<=) (\S+)")
_KINDS = {
    "int": "a whole number", "float": "a number with decimals", "str": "a text", "array": "a list", "object": "an object",
    "bool": "true or false", "null": "null", "datetime": "a moment", "date": "a date",
}  # fmt: skip
_MOMENT = "a moment with its offset belongs here (RFC 3339), such as 2026-10-31T22:00:00+01:00"
_DATE = "a date belongs here, such as 2026-10-31"
_BELONGS = {
    "missing": "this is missing", "extra_forbidden": "there is no such key here", "int_": "a whole number belongs here",
    "float_": "a number belongs here", "bool_": "true or false belongs here", "string_type": "a text belongs here",
    "list_type": "a list belongs here", "model_": "an object belongs here", "date_": _DATE, "datetime_": _MOMENT, "timezone_aware": _MOMENT,
}  # fmt: skip
"""By the beginning of pydantic's error types."""
_PYTHON_DATE = re.compile(r"datetime\.date\((\d+), (\d+), (\d+)\)")
_SAID = {
    "Invalid RFC3339 encoded datetime": _MOMENT,
    "Expected `datetime` with a timezone component": _MOMENT,
    "Invalid RFC3339 encoded date": _DATE,
}


@lru_cache(maxsize=256)
def _meant(word: str, known: tuple[str, ...]) -> tuple[str, ...]:
    by_low = {one.lower(): one for one in known}
    return tuple(by_low[low] for low in get_close_matches(word[:LONGEST].lower(), by_low, n=3, cutoff=0.6))


def near(word: str, known: Sequence[str]) -> str:
    """Return a hint at what was probably meant, or list every choice."""
    found = _meant(word, tuple(known))
    return f"did you mean {' or '.join(map(repr, found))}?" if found else f"there are {', '.join(map(repr, known))}"


def told(error: Mapping[str, Any]) -> str:
    """Return one sentence about a pydantic error, without the names of Python types."""
    kind, said = str(error.get("type")), str(error.get("msg", "not valid"))
    if kind in ("literal_error", "enum"):
        known = str(error.get("ctx", {}).get("expected", "")).replace(" or ", ", ").split(", ")
        given = error.get("input")
        return f"{shown(given)} is not known here: {near(str(given), [word.strip(chr(39)) for word in known])}"
    for begins, sentence in _BELONGS.items():
        if kind.startswith(begins):
            return sentence
    dated = _PYTHON_DATE.sub(lambda found: "{:04}-{:02}-{:02}".format(*map(int, found.groups())), said)
    return re.sub(r"^(Value error, |(?:Input|String|List) (?=should))", lambda found: "" if "error" in found[1] else "this ", dated)


def shown(given: object) -> str:
    """Return a value as it was given, shortened if it is long."""
    whole = repr(given)
    return whole if len(whole) <= MOST_SHOWN else f"{whole[:MOST_SHOWN]}..."


def explained(error: msgspec.ValidationError, form: Any) -> str:
    """Return the library's sentence about something that is not a `form`, in plain words after the place it is about."""
    place, sentence = place_of(error, form)
    return f"$.{place}: {sentence}" if place else sentence


def place_of(error: msgspec.ValidationError, form: Any) -> tuple[str, str]:
    """Return the place, such as `schedule[0].principal`, and what is wrong there."""
    sentence, _, path = str(error).partition(" - at `$")
    place = path.rstrip("`").removeprefix(".")
    if unknown := _UNKNOWN.fullmatch(sentence):
        known = [field.encode_name for one in _at(form, place) for field in _fields(one)]
        return _under(place, unknown[1]), f"there is no key {unknown[1]!r} here: {near(unknown[1], known)}"
    if missing := _MISSING.fullmatch(sentence):
        return place, f"the key {missing[1]!r} is missing"
    if chosen := _CHOSEN.fullmatch(sentence):
        known = [str(value) for one in _at(form, place) for value in _values(one)]
        return place, f"{chosen[1]!r} is not known here: {near(chosen[1], known)}"
    return place, _of_kind(sentence, form, place)


def _of_kind(sentence: str, form: Any, place: str) -> str:
    """Return what belongs in the place, and how the form describes it."""
    means = "".join(f": {one}" for one in _described(form, place))
    if expected := _EXPECTED.fullmatch(sentence):
        return f"{_named(expected[1])} belongs here" + (f", not {_named(expected[2])}" if expected[2] else "") + means
    if bound := _BOUND.fullmatch(sentence):
        return f"{_named(bound[1])} of at {'least' if bound[2] == '>=' else 'most'} {bound[3]} belongs here{means}"
    if " matching regex " in sentence and means:
        return f"this is not spelt as it must be{means}"
    return _SAID.get(sentence, sentence)


def _under(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key


def _named(kinds: str) -> str:
    return " or ".join(_KINDS.get(kind, kind) for kind in kinds.split(" | "))


def _at(form: Any, place: str) -> list[Type]:
    """Return the types allowed at a place of a form."""
    return [one for outer in _outer(form, place) for one in _parts(outer)]


def _outer(form: Any, place: str) -> list[Type]:
    found = [_form(form)]
    for step in _PLACE.finditer(f".{place}" if place and not place.startswith("[") else place):
        found = [inner for one in found for inner in _inside(one, step[1])]
    return found


def _described(form: Any, place: str) -> list[str]:
    """Return a form's descriptions of what belongs at a place."""
    schemas = [one.extra_json_schema or {} for one in _outer(form, place) if isinstance(one, Metadata)]
    return [schema["description"] for schema in schemas if "description" in schema]


@lru_cache(maxsize=64)
def _form(form: Any) -> Type:
    return type_info(form)


def _inside(one: Type, key: str | None) -> Iterator[Type]:
    for part in _parts(one):
        if key is None and isinstance(part, (ListType, VarTupleType)):
            yield part.item_type
        if key is None and isinstance(part, DictType):
            yield part.value_type
        yield from (field.type for field in _fields(part) if field.encode_name == key)


def _parts(one: Type) -> Iterator[Type]:
    """Yield a type, or the members of a union, without their metadata."""
    while isinstance(one, Metadata):
        one = one.type
    if isinstance(one, UnionType):
        for part in one.types:
            yield from _parts(part)
    else:
        yield one


def _fields(one: Type) -> tuple[Field, ...]:
    return one.fields if isinstance(one, StructType) else ()


def _values(one: Type) -> Iterator[object]:
    if isinstance(one, EnumType):
        yield from (member.value for member in one.cls)
    if isinstance(one, LiteralType):
        yield from one.values
