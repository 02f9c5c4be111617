"""Query parameters that a call has."""

from __future__ import annotations

import pytest
from fastapi import FastAPI, Request
from fastapi.routing import APIRoute

from libs.common.errors import DomainError
from libs.common.parameters import Parameters


def test_what_a_call_has_is_worked_out_once_and_for_each_call_by_itself() -> None:
    app, parameters = FastAPI(), Parameters()

    @app.get("/by-limit")
    async def by_limit(limit: int) -> None: ...

    @app.get("/by-name")
    async def by_name(name: str) -> None: ...

    routes = {route.path: route for route in app.routes if isinstance(route, APIRoute)}

    def ask(path: str, query: bytes) -> None:
        parameters.expect_known(Request({"type": "http", "query_string": query, "route": routes[path]}))

    ask("/by-limit", b"limit=1")
    routes["/by-limit"].dependant.query_params.clear()
    ask("/by-limit", b"limit=2")
    ask("/by-name", b"name=a")
    with pytest.raises(DomainError, match=r"query\.limit: there is no such parameter here: there are 'name'"):
        ask("/by-name", b"limit=1")
