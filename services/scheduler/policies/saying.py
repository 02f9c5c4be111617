"""Explains what is wrong with a value in the terms of those who write policies."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from libs.common.slips import near, shown, told
from services.scheduler.policies.forms import Challenger, Name, PlaceName, PolicyForm, Word
from services.scheduler.policies.places import Path

_SAID = {"missing": "this key is missing", "model_type": "expected keys with values here"}
_SPELT = {form.metadata[0].pattern: form.description for form in (get_args(kind)[1] for kind in (Name, Word, PlaceName, Challenger))}
_WANTED = {"int_type": "a whole number", "float_type": "a number", "string_type": "a text"}


def said_of(path: Path, error: ErrorDetails) -> str:
    """Return one sentence about a fault the library found at this path."""
    kind, given = error["type"], error.get("input")
    if kind == "extra_forbidden":
        return f"there is no such key here: {near(str(path[-1]), list(_fields(path[:-1])))}"
    if kind == "string_pattern_mismatch":
        return f"{shown(given)} has the wrong form: {_SPELT.get(error['ctx']['pattern'], error['ctx']['pattern'])}"
    if kind in _WANTED:
        return _wanted(path, _WANTED[kind], given)
    return _SAID.get(kind) or told(error)


def _wanted(path: Path, what: str, given: Any) -> str:
    form = _fields(path[:-1]).get(str(path[-1])) if path else None
    means = form.description if form is not None else None
    return f"{what} belongs here, not {shown(given)}" + (f": {means}" if means else "")


def _fields(path: Path) -> dict[str, FieldInfo]:
    """Return the keys possible at this path, each with its description."""
    fields = PolicyForm.model_fields
    for part in path:
        if isinstance(part, str):
            fields = _form_in(fields[part].annotation).model_fields if part in fields else {}
    return fields


def _form_in(annotation: Any) -> type[BaseModel]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((form for form in map(_form_in, get_args(annotation)) if form is not BaseModel), BaseModel)
