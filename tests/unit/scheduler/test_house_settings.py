"""The tenant's settings for the gate, as far as the notifier supplies them."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import JSONResponse

from libs.compliance.house import House
from services.scheduler.elsewhere import Asking, Elsewhere
from services.scheduler.house_settings import house_settings


@pytest.mark.parametrize(
    ("status", "said", "why"),
    [
        (200, {"settings": {"tenant_hours": {"mon": "20-8"}}}, "its settings cannot be read"),
        (200, {"settings": {"profile": "lenient"}}, "its settings cannot be read"),
        (200, {"settings": {"dunning_a_day": "two"}}, "its settings cannot be read"),
        (200, None, "within 0.01 s"),
        (503, {}, "it answered 503"),
        (404, {}, None),
    ],
)
async def test_without_an_answer_that_can_be_used_the_defaults_are_taken_and_why_is_said(status: int, said: Any, why: str | None) -> None:
    app = FastAPI()

    @app.get("/v1/settings")
    async def answer() -> JSONResponse:
        if said is None:
            await asyncio.Event().wait()
        return JSONResponse(said, status)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://notifier") as client:
        found = await house_settings(
            Elsewhere({"notifier": client}), Asking("default", "Bearer key"), within_s=0.01 if said is None else 3.0
        )
    assert found.house == House()
    assert found.unknown is None if why is None else why in (found.unknown or "")
