"""Product lines: the settings that apply to loans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends, Request, Response
from msgspec import Meta
from msgspec.structs import asdict
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.api import answer, body_of, read_as, takes
from libs.common.auth import Principal, requires
from libs.common.bodies import without
from libs.common.clock import Clock
from libs.common.contracts.values import Contract, Days, Id
from libs.common.contracts.wallet_loans import Allocation, Tolerance
from libs.common.errors import DomainError
from services.ingest import folding
from services.ingest.domain import product as domain
from services.ingest.reading import allocation_of, tolerance_of
from services.ingest.store.products import ProductBook

ONLY_SHOWN = ("name", "version")
BucketName = Annotated[str, Meta(min_length=1, max_length=64)]


class BoundForm(Contract, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A bucket, by its last day; None for no end."""

    name: BucketName
    up_to: Annotated[int, Meta(ge=1, le=36_500)] | None = None


def _rising(bounds: Sequence[BoundForm]) -> None:
    """Refuse bounds that do not rise, or that leave high day counts without a bucket."""
    ends = [bound.up_to for bound in bounds]
    if not ends or ends[-1] is not None or None in ends[:-1]:
        raise ValueError("the last bucket, and only the last, must have no end (up_to: null)")
    closed = [end for end in ends if end is not None]
    if closed != sorted(set(closed)):
        raise ValueError("the ends of the buckets must rise")
    if len({bound.name for bound in bounds}) != len(bounds):
        raise ValueError("a bucket name appears twice")


class BucketsForm(Contract, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Upper bounds only, so that gaps and overlaps cannot be expressed."""

    by: Literal["past_due_days", "delinquent_days"] = "past_due_days"
    none: BucketName = "M0"
    bounds: tuple[BoundForm, ...] = tuple(BoundForm(name=b.name, up_to=b.up_to) for b in domain.DEFAULT.buckets.bounds)

    def __post_init__(self) -> None:
        _rising(self.bounds)


class ToleranceForm(Tolerance, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As in a loan event, but unknown fields are refused, since a person writes it."""


class AllocationForm(Allocation, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As in a loan event, but unknown fields are refused, since a person writes it."""


class ProductForm(Contract, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A product line in the shape of the API; absent fields have their defaults."""

    grace_days: Days = 0
    tolerance: ToleranceForm = ToleranceForm(amount=0, percent=Decimal(0))
    due_soon_days: Annotated[int, Meta(ge=0, le=365)] = 7
    buckets: BucketsForm = BucketsForm()
    allocation: AllocationForm = AllocationForm()


@dataclass(frozen=True, slots=True)
class ProductDesk:
    """Keeps product lines."""

    engine: AsyncEngine
    clock: Clock
    products: ProductBook

    async def put(self, tenant: str, name: str, body: bytes) -> dict[str, Any]:
        """Create the next version of a product line."""
        form = read_as(ProductForm, without(body, ONLY_SHOWN), code="invalid_product", what="the product line cannot be used")
        try:
            msgspec.convert(name, Id)
        except msgspec.ValidationError as error:
            raise DomainError(422, "invalid_product", f"the product line cannot be used: {error}") from error
        line = line_of(form)
        async with self.engine.begin() as conn:
            version = await self.products.add(conn, tenant, name, settings=folding.encoded_line(line), now=await self.clock.at(conn))
        return {"name": name, "version": version, **shown(line)}

    async def get(self, tenant: str, name: str) -> dict[str, Any]:
        """Return the version in force; an unknown product has the defaults, as version 0."""
        async with self.engine.connect() as conn:
            version = (await self.products.newest(conn, [(tenant, name)])).get((tenant, name), 0)
            stored = await self.products.settings(conn, tenant, name, version) if version else None
        line = folding.line_in(stored)
        return {"name": name, "version": version, **shown(line)}


def routes_of(desk: ProductDesk) -> APIRouter:
    """Return the routes of product lines."""
    router = APIRouter(tags=["products"])

    @router.put("/v1/products/{name}", summary="Create the next version of a product line", openapi_extra=takes(ProductForm))
    async def put_product(name: str, request: Request, caller: Annotated[Principal, Depends(requires("products:write"))]) -> Response:
        return answer(await desk.put(caller.tenant, name, await body_of(request)))

    @router.get("/v1/products/{name}", summary="The product line in force")
    async def get_product(name: str, caller: Annotated[Principal, Depends(requires("loans:read"))]) -> Response:
        return answer(await desk.get(caller.tenant, name))

    return router


def line_of(form: ProductForm) -> domain.ProductLine:
    """Return the domain's product line."""
    bounds = tuple(domain.Bound(b.name, b.up_to) for b in form.buckets.bounds)
    return domain.ProductLine(
        form.grace_days,
        tolerance_of(form.tolerance),
        form.due_soon_days,
        domain.Buckets(domain.AgeBy(form.buckets.by), form.buckets.none, bounds),
        allocation_of(form.allocation, domain.DEFAULT.allocation),
    )


def shown(line: domain.ProductLine) -> dict[str, Any]:
    """Return a product line in the shape of the API."""
    spread = line.allocation
    return {
        "grace_days": line.grace_days,
        "tolerance": {"amount": line.tolerance.amount, "percent": line.tolerance.millionths / 10_000},
        "due_soon_days": line.due_soon_days,
        "buckets": {**asdict(line.buckets), "bounds": [asdict(bound) for bound in line.buckets.bounds]},
        "allocation": {**asdict(spread), "future_instalments": dict(spread.future_instalments)},
    }
