"""Query parameters that a call does not have: who mistypes one would else get the answer to another question."""

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
"""What is no part of a query; of a form that is one the fields have no kind."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """The query parameters of an app's calls, those of each worked out when it is first asked with a query."""

    _of: dict[int, tuple[APIRoute, frozenset[str]]] = field(default_factory=dict)
    """By the identity of a route, which is kept with them: it can be no key, as it is equal to others."""

    def expect_known(self, request: Request) -> None:
        """Refuse a query in which a name stands that the call does not have, or one stands twice."""
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
