"""Policies over HTTP: written, checked, submitted, decided on, activated, assigned, compared (contract, section 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import msgspec
import yaml
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from pydantic import BeforeValidator, Field
from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.api import answer, body_of, in_place, page
from libs.common.asked import Asked
from libs.common.auth import Principal, requires
from libs.common.bodies import without
from libs.common.errors import DomainError
from libs.common.moments import Moment
from libs.common.paging import Cursor, cut, number_place, part
from libs.common.preconditions import IfMatch, tag_of
from services.scheduler.domain.builtin import BUILT_IN
from services.scheduler.domain.choosing import InFlight
from services.scheduler.editing import ASSIGNMENTS, Checked, etag
from services.scheduler.policies.difference import difference, normal
from services.scheduler.policies.forms import PlaceName, SegmentName, schema
from services.scheduler.policies.places import MOST_BYTES
from services.scheduler.policies.writing import encode
from services.scheduler.routes.cases import Rooms, Wanted, asking_of
from services.scheduler.routes.desk import Limit, Reader
from services.scheduler.routes.policy_shapes import VersionChecked, VersionWhole
from services.scheduler.rulebook import AssignmentItem, items_of
from services.scheduler.store import policies
from services.scheduler.store.policies import Which

Writer = Annotated[Principal, Depends(requires("policies:write"))]
Approver = Annotated[Principal, Depends(requires("policies:approve"))]
YAML = "application/yaml"
MOST_PLACES = 50
_MOST_VERSION = 1_000_000
_FIRST = "@0"
"""The place before every stored version and after the built-in one."""
_SCHEMA_TYPE = "application/schema+json"
_BODIES = {YAML: {"schema": {"type": "string"}}, "application/json": {"schema": in_place(schema())}}
_ONLY_SHOWN = frozenset(VersionChecked.__struct_fields__).union(VersionWhole.__struct_fields__) - {"policy"}
_DOCUMENT = {"requestBody": {"required": True, "content": _BODIES}}


class Decision(Asked):
    """What the person deciding says."""

    comment: str | None = Field(default=None, max_length=4000)
    simulation: str | None = Field(default=None, max_length=128, description="the simulation the decision is based on")


class Activation(Asked):
    """From when, and what becomes of running spells."""

    effective_at: Moment | None = None
    in_flight: InFlight = InFlight.PIN


def _named(policy: object) -> object:
    """Return the name of a policy, also in the form that lists show: the version follows from activation."""
    return policy.get("name") if isinstance(policy, dict) else policy


class AssignmentForm(Asked):
    """Which debts a policy applies to; absent fields match everything."""

    policy: Annotated[str, BeforeValidator(_named)] = Field(min_length=1, max_length=63)
    products: list[Annotated[str, Field(min_length=1, max_length=128)]] = Field(default=[], max_length=100)
    segments: list[SegmentName] = Field(default=[], max_length=100)
    jurisdictions: list[PlaceName] = Field(default=[], max_length=100)


class AssignmentsForm(Asked):
    """The assignments in order: the first that fits applies."""

    only_shown = frozenset({"otherwise", "next"})
    items: list[AssignmentForm] = Field(max_length=200)


def add_to(router: APIRouter, rooms: Rooms) -> None:
    """Add these routes."""
    _add_checks(router, rooms)
    _add_reading(router, rooms)
    _add_writing(router, rooms)
    _add_deciding(router, rooms)
    _add_assignments(router, rooms)


def _add_checks(router: APIRouter, rooms: Rooms) -> None:
    described: dict[int | str, dict[str, Any]] = {200: {"content": {_SCHEMA_TYPE: {"schema": {"type": "object"}}}}}

    @router.get("/policies/schema", summary="The JSON Schema of a policy, for editors", responses=described)
    async def read_schema() -> Response:
        return Response(msgspec.json.encode(schema()), media_type=_SCHEMA_TYPE)

    @router.post(
        "/policies:validate", summary="Errors and warnings of a policy, with their positions; nothing is stored", openapi_extra=_DOCUMENT
    )
    async def validate(request: Request, caller: Writer, jurisdictions: Annotated[str | None, Query(max_length=2000)] = None) -> Response:
        places = tuple(name.strip() for name in (jurisdictions or "").split(",") if name.strip())
        if len(places) > MOST_PLACES:
            raise DomainError(422, "invalid_request", f"at most {MOST_PLACES} jurisdictions can be checked at once")
        return answer((await rooms.desk.check(asking_of(request, caller), await _text(request), places)).shown)


def _add_reading(router: APIRouter, rooms: Rooms) -> None:
    @router.get("/policies", summary="Versions of policies, by name and number")
    async def list_policies(caller: Reader, *, name: Wanted = None, limit: Limit = 100, cursor: Cursor) -> Response:
        async with rooms.engine.connect() as conn:
            rows = await policies.search(conn, caller.tenant, name=name, after=_place(cursor), limit=limit + 1)
            active = await _active(conn, caller.tenant, rooms)
        first = [] if cursor or name not in {None, BUILT_IN.name} else [_built_in_shown(whole=False)]
        shown = [*first, *(_shown(row, active) for row in rows)]
        return page(*cut(shown[: limit + 1], limit, lambda one: _FIRST if one in first else f"{one['policy']}@{one['version']}"))

    @router.get("/policies/{name}/versions/{version}", summary="One version, as JSON or YAML (Accept)")
    async def read_version(name: str, version: int, caller: Reader, accept: Annotated[str, Header()] = "*/*") -> Response:
        if (name, version) == (BUILT_IN.name, BUILT_IN.version):
            document = encode(BUILT_IN)
            return _yaml(_dumped(document)) if _wants_yaml(accept) else answer(_built_in_shown(whole=True))
        async with rooms.engine.connect() as conn:
            row = await _version(conn, _which(caller, name, version))
            active = await _active(conn, caller.tenant, rooms)
            coming = [dict(one) for one in await policies.coming(conn, caller.tenant, name, await rooms.clock.at(conn))]
        if _wants_yaml(accept):
            return _tagged(_yaml(row.source if _is_yaml(row.source) else _dumped(msgspec.json.decode(row.document))), row)
        shown = {**msgspec.json.decode(row.document), **_shown(row, active), "coming": coming}
        return _tagged(answer(shown), row)

    @router.get("/policies/{name}/versions/{version}/diff", summary="The differences from another version, step by step")
    async def read_difference(
        name: str, version: int, caller: Reader, against: Annotated[str, Query(pattern=r"^([a-z][a-z0-9-]*@)?[0-9]{1,6}$")]
    ) -> Response:
        other, _, number = against.rpartition("@")
        async with rooms.engine.connect() as conn:
            after = await _document(conn, caller, name, version)
            before = await _document(conn, caller, other or name, int(number))
        return answer({"against": f"{other or name}@{number}", **difference(before, after)})

    @router.get("/policies/{name}/history", summary="Every change to a policy, chained by hashes")
    async def read_history(name: str, caller: Reader, *, limit: Limit = 500, cursor: Cursor) -> Response:
        return await _history(rooms, caller, name, cursor, limit=limit)


def _add_writing(router: APIRouter, rooms: Rooms) -> None:
    @router.post("/policies", summary="Write a draft of the next version", status_code=201, openapi_extra=_DOCUMENT)
    async def write_draft(request: Request, caller: Writer) -> Response:
        row, checked = await rooms.desk.draft(caller, asking_of(request, caller), await _text(request))
        made = _checked(row, checked, 201)
        made.headers["Location"] = f"{request.url.path}/{row.name}/versions/{row.version}"
        return made

    @router.put("/policies/{name}/versions/{version}", summary="Rewrite a draft, with If-Match", openapi_extra=_DOCUMENT)
    async def rewrite_draft(name: str, version: int, request: Request, caller: Writer, *, if_match: IfMatch = None) -> Response:
        which, asking = _which(caller, name, version), asking_of(request, caller)
        row, checked = await rooms.desk.rewrite(caller, asking, which, await _text(request, read=True), if_match=if_match)
        return _checked(row, checked)

    @router.post("/policies/{name}/versions/{version}:submit", summary="Submit a draft for a decision; it never changes again")
    async def submit(name: str, version: int, request: Request, caller: Writer) -> Response:
        return _checked(*await rooms.desk.submit(caller, asking_of(request, caller), _which(caller, name, version)))


def _add_deciding(router: APIRouter, rooms: Rooms) -> None:
    @router.post("/policies/{name}/versions/{version}:approve", summary="Approve what another person wrote and submitted")
    async def approve(name: str, version: int, caller: Approver, decision: Decision | None = None) -> Response:
        return await _decided(rooms, caller, _which(caller, name, version), "approved", decision=decision)

    @router.post("/policies/{name}/versions/{version}:reject", summary="Reject what another person wrote and submitted")
    async def reject(name: str, version: int, caller: Approver, decision: Decision | None = None) -> Response:
        return await _decided(rooms, caller, _which(caller, name, version), "rejected", decision=decision)

    @router.post("/policies/{name}/versions/{version}:activate", summary="Make an approved version the active one")
    async def activate(name: str, version: int, caller: Writer, activation: Activation | None = None) -> Response:
        asked = activation or Activation()
        done = await rooms.desk.activate(caller, _which(caller, name, version), _utc(asked.effective_at), asked.in_flight)
        rooms.look_again()
        return answer(done)

    @router.post("/policies/{name}/versions/{version}:withdraw", summary="Withdraw its upcoming activations")
    async def withdraw(name: str, version: int, caller: Writer) -> Response:
        return answer(await rooms.desk.withdraw(caller, _which(caller, name, version)))

    @router.post("/policies/{name}/versions/{version}:retire", summary="Take a version out of use")
    async def retire(name: str, version: int, caller: Writer) -> Response:
        row = await rooms.desk.retire(caller, _which(caller, name, version))
        return _tagged(answer(_shown(row, {})), row)


def _add_assignments(router: APIRouter, rooms: Rooms) -> None:
    @router.get("/assignments", summary="Which policy applies to which debts; the first that fits applies")
    async def list_assignments(caller: Reader, *, limit: Limit = 200, cursor: Cursor) -> Response:
        async with rooms.engine.connect() as conn:
            revision, items = await policies.assignments(conn, caller.tenant)
            active = await _active(conn, caller.tenant, rooms)
        return _assignments_shown(revision, *part(items_of(items), cursor, limit), active=active)

    @router.put("/assignments", summary="Replace all assignments, with If-Match")
    async def put_assignments(form: AssignmentsForm, caller: Writer, *, if_match: IfMatch = None) -> Response:
        items = [
            AssignmentItem(
                policy=item.policy,
                products=tuple(item.products),
                jurisdictions=tuple(item.jurisdictions),
                segments=tuple(item.segments),
            )
            for item in form.items
        ]
        revision = await rooms.desk.assign(caller, items, if_match)
        rooms.look_again()
        async with rooms.engine.connect() as conn:
            active = await _active(conn, caller.tenant, rooms)
        return _assignments_shown(revision, items, None, active=active)

    @router.get("/assignments/history", summary="Every change to the assignments, chained by hashes")
    async def read_assignments_history(caller: Reader, *, limit: Limit = 500, cursor: Cursor) -> Response:
        return await _history(rooms, caller, ASSIGNMENTS, cursor, limit=limit)


async def _decided(rooms: Rooms, caller: Principal, which: Which, state: str, *, decision: Decision | None) -> Response:
    said = decision or Decision()
    row = await rooms.desk.decide(caller, which, state, said.comment, simulation=said.simulation)
    return _tagged(answer(_shown(row, {})), row)


async def _history(rooms: Rooms, caller: Principal, chain: str, cursor: str | None, *, limit: int) -> Response:
    links = await rooms.desk.history(caller.tenant, chain, after=number_place(cursor) or 0, limit=limit + 1)
    found, following = cut(links, limit, lambda link: str(link.seq))
    items = [
        {**asdict(link), "detail": msgspec.Raw(link.detail), "previous": link.previous.hex(), "hash": link.hash.hex()} for link in found
    ]
    return page(items, following)


async def _text(request: Request, *, read: bool = False) -> str:
    """Return a policy as sent; if it may come from reading one here, it may contain fields that only answers have."""
    body = await body_of(request, most=MOST_BYTES)
    body = without(body, _ONLY_SHOWN) if read else body
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DomainError(400, "not_text", "a policy is UTF-8 text: YAML or JSON") from error
    if "\0" in text:
        raise DomainError(400, "not_text", "a policy contains the NUL character")
    return text


async def _active(conn: AsyncConnection, tenant: str, rooms: Rooms) -> dict[str, int]:
    found = await policies.active(conn, [tenant], await rooms.clock.at(conn))
    return {which.name: which.version for which, _ in found}


async def _version(conn: AsyncConnection, which: Which) -> RowMapping:
    if (row := await policies.find(conn, which)) is None:
        raise DomainError(404, "not_found", f"no version {which.version} of {which.name[:128]} is known")
    return row


async def _document(conn: AsyncConnection, caller: Principal, name: str, version: int) -> Any:
    if (name, version) == (BUILT_IN.name, BUILT_IN.version):
        return encode(BUILT_IN)
    return normal((await _version(conn, _which(caller, name, version))).source)


def _which(caller: Principal, name: str, version: int) -> Which:
    if not 0 < version < _MOST_VERSION:
        raise DomainError(404, "not_found", f"no version {version} of {name[:128]} is known")
    return Which(caller.tenant, name, version)


def _place(cursor: str | None) -> tuple[str, int]:
    name, _, version = (cursor or _FIRST).rpartition("@")
    return name, int(version)


def _shown(row: RowMapping, active: dict[str, int]) -> dict[str, Any]:
    return {
        "policy": row.name, "version": row.version, "state": "active" if active.get(row.name) == row.version else row.state,
        "etag": etag(row), "author": row.writers[0], "writers": row.writers, "created_at": row.created_at, "changed_at": row.changed_at,
        "submitted_by": row.submitted_by, "submitted_at": row.submitted_at, "decided_by": row.decided_by, "decided_at": row.decided_at,
        "comment": row.comment, "retired_at": row.retired_at,
        "simulation": None if row.simulation_id is None else {"simulation_id": row.simulation_id, "hash": row.simulation_hash},
    }  # fmt: skip


def _built_in_shown(*, whole: bool) -> dict[str, Any]:
    head = {"policy": BUILT_IN.name, "version": BUILT_IN.version, "state": "active", "author": None}
    return {**encode(BUILT_IN), **head} if whole else head


def _checked(row: RowMapping, checked: Checked, status: int = 200) -> Response:
    return _tagged(answer({**_shown(row, {}), **checked.shown}, status), row)


def _assignments_shown(revision: int, items: Sequence[AssignmentItem], following: str | None, *, active: dict[str, int]) -> Response:
    numbered = {**active, BUILT_IN.name: BUILT_IN.version}
    shown = [
        {
            "policy": {"name": item.policy, "version": numbered.get(item.policy)},
            "products": item.products,
            "segments": item.segments,
            "jurisdictions": item.jurisdictions,
        }
        for item in items
    ]
    made = page(shown, following, otherwise={"name": BUILT_IN.name, "version": BUILT_IN.version})
    made.headers["ETag"] = tag_of(revision)
    return made


def _tagged(response: Response, row: RowMapping) -> Response:
    response.headers["ETag"] = etag(row)
    response.headers["Vary"] = "Accept"
    return response


def _wants_yaml(accept: str) -> bool:
    """Return whether YAML is named, and not after JSON."""
    names = [part.split(";")[0].strip().lower() for part in accept.split(",")]
    return next((name in {YAML, "application/x-yaml", "text/yaml"} for name in names if name.endswith(("yaml", "json"))), False)


def _is_yaml(source: str) -> bool:
    return not source.lstrip().startswith("{")


def _dumped(document: Any) -> str:
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)


def _yaml(text: str) -> Response:
    return Response(text, media_type=YAML)


def _utc(moment: datetime | None) -> datetime | None:
    if moment is not None and not 1970 <= moment.year < 2200:
        raise DomainError(422, "invalid_request", "effective_at must be between 1970 and 2199")
    return moment
