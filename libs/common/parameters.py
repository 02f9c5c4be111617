"""Query parameters that a call does not have: without a refusal, a mistyped one would get the answer to another question."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NoReturn
from urllib.parse import parse_qsl

from fastapi import Request, params
from fastapi.dependencies.utils import get_flat_params
from fastapi.routing import APIRoute

from libs.common.errors import DomainError
from libs.common.slips import near

_SHOWN = 100
_ELSEWHERE = (params.Path, params.Header, params.Cookie)
"""Parameters that are not part of a query; the fields of a model that is one have no kind."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """The query parameters of an app's calls, worked out for each when it is first called with a query."""

    _of: dict[int, tuple[APIRoute, frozenset[str]]] = field(default_factory=dict)
    """By the `id` of a route, which is kept with them: the route itself cannot be a key, as it equals others."""

    def expect_known(self, request: Request) -> None:
        """Refuse a query with a name that the call does not have, or with the same name twice."""
        if not (query := request.scope["query_string"]):
            return
        known = self._known(request.scope["route"])
        for name, times in Counter(name for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True)).items():
            if name not in known:
                _refuse(name, f"there is no such parameter here{f': {near(name, sorted(known))}' if known else ', nor any other'}")
            if times > 1:
                _refuse(name, f"it is given {times} times; give it once")

    def _known(self, route: APIRoute) -> frozenset[str]:
        if (found := self._of.get(id(route))) is None:
            names = (one.alias for one in get_flat_params(route.dependant) if not isinstance(one.field_info, _ELSEWHERE))
            found = self._of[id(route)] = route, frozenset(names)
        return found[1]


def _refuse(name: str, why: str) -> NoReturn:
    raise DomainError(422, "invalid_request", f"query.{name[:_SHOWN]}: {why}")
