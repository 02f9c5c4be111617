"""The common base of request bodies that pydantic reads."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, model_validator


class Asked(BaseModel):
    """A body that refuses unknown fields; fields that only answers have are dropped, so that what was read can be sent back."""

    model_config = ConfigDict(extra="forbid")
    only_shown: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _as_asked(cls, given: Any) -> Any:
        if not cls.only_shown or not isinstance(given, dict):
            return given
        return {key: part for key, part in given.items() if key not in cls.only_shown}
