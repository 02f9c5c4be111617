"""Which product version applies to a loan: the one recorded with the disbursement that counts."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.contracts.wallet_loans import LoanDisbursed
from services.ingest import folding
from services.ingest.reading import Accepted, disbursement_of
from services.ingest.store.events import RETRACTED, LogRow
from services.ingest.store.products import ProductBook

MAKING = ("wallet.loan.disbursed.v1", RETRACTED)
"""The event types that decide which disbursement makes a loan."""
Stamp = tuple[int | None, bytes | None]
"""A product version and its settings; None if the product had none, i.e. has the defaults."""


async def stamp_of(conn: AsyncConnection, products: ProductBook, tenant: str, logged: Iterable[tuple[LogRow, Accepted]]) -> Stamp | None:
    """Return the stamp of a loan with these events; None if no disbursement counts."""
    making = [(row, one) for row, one in logged if row.type in MAKING]
    counts = disbursement_of([one for _, one in making])
    if counts is None or not isinstance(counts.data, LoanDisbursed):
        return None
    version = next(row.product_version for row, one in making if one is counts)
    return version, None if version is None else await products.settings(conn, tenant, counts.data.product, version)


async def settings_of(conn: AsyncConnection, products: ProductBook, tenant: str, logged: Iterable[LogRow]) -> bytes | None:
    """Return the settings that applied to a loan when only these events were known."""
    making = [(row, folding.accepted_of(row)) for row in logged if row.type in MAKING]
    stamp = await stamp_of(conn, products, tenant, making)
    return None if stamp is None else stamp[1]
