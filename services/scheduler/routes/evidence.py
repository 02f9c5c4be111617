"""The dossier of a case over HTTP: read, and sealed as the evidence a step needs."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from libs.common.asked import Asked
from libs.common.auth import Principal
from libs.common.errors import DomainError
from services.scheduler.domain.policy import DOSSIER
from services.scheduler.dossier import Dossier
from services.scheduler.routes.cases import Rooms, asking_of
from services.scheduler.routes.desk import Reader, Worker

Form = Annotated[Literal["json", "zip"], Query(alias="format")]


class Kept(Asked):
    """Where the sealed dossier will be kept."""

    reference: str = Field(min_length=1, max_length=2000)


def add_to(router: APIRouter, rooms: Rooms) -> None:
    """Add these routes."""

    @router.get("/cases/{case_id}/evidence", summary="The dossier, with a manifest of hashes that can be checked offline")
    async def read_dossier(case_id: str, request: Request, caller: Reader, *, form: Form = "json") -> Response:
        return _packed(await _made(rooms, request, caller, case_id), case_id, form)

    @router.post("/cases/{case_id}/evidence:seal", summary="Attach the dossier as it is now, if it is complete, and return it")
    async def seal_dossier(case_id: str, request: Request, caller: Worker, kept: Kept, *, form: Form = "json") -> Response:
        made = await _made(rooms, request, caller, case_id)
        if not made.is_complete:
            raise DomainError(409, "dossier_incomplete", "the dossier is incomplete: supply what is missing first", missing=made.missing)
        await rooms.dealer.attach(caller, case_id, DOSSIER, sha256=made.sha256, reference=kept.reference)
        return _packed(made, case_id, form)


async def _made(rooms: Rooms, request: Request, caller: Principal, case_id: str) -> Dossier:
    return await rooms.archive.dossier(asking_of(request, caller), case_id, caller.actor)


def _packed(made: Dossier, case_id: str, form: str) -> Response:
    headers = {"Dossier-SHA256": made.sha256, "Dossier-Complete": str(made.is_complete).lower(), "Cache-Control": "no-store"}
    if form == "zip":
        headers["Content-Disposition"] = f'attachment; filename="dossier-{case_id}.zip"'
        return Response(made.as_zip(), media_type="application/zip", headers=headers)
    return Response(made.as_json(), media_type="application/json", headers=headers)
