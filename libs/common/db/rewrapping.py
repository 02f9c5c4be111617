"""Rotation of sealing keys: what is sealed for an older key is found by its first bytes and resealed, one transaction per batch."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.common import sealing
from libs.common.sealing import Ring, SealError

BATCH = 200
_HEAD_TEXT = sealing.HEAD_BYTES * 4 // 3
_OPENING = b'{"sealed":"'


@dataclass(frozen=True, slots=True)
class Form:
    """How a sealed value is stored in a column: the SQL for its first bytes, and how to read and write it."""

    begins: str
    head: Callable[[bytes], object]
    read: Callable[[Any], bytes]
    write: Callable[[bytes], object]
    type: str = "bytea"


BYTES = Form(f"substring({{}} from 1 for {sealing.HEAD_BYTES})", bytes, bytes, bytes)
TEXT = Form(f"left({{}}, {_HEAD_TEXT})", sealing.as_text, sealing.from_text, sealing.as_text, type="text")
LETTER = Form(
    f"case when substring({{}} from 1 for {len(_OPENING)}) = '\\x{_OPENING.hex()}'::bytea"
    f" then substring({{}} from {len(_OPENING) + 1} for {_HEAD_TEXT}) end",
    lambda head: sealing.as_text(head).encode(),
    lambda value: sealing.from_text(bytes(value)[len(_OPENING) : -2].decode()),
    lambda sealed: _OPENING + sealing.as_text(sealed).encode() + b'"}',
)
"""A whole record as `{"sealed": "..."}`, in a column that holds other things too."""


@dataclass(frozen=True, slots=True)
class Place:
    """A column of values sealed for the notifier: its table, the types of its keys, and the sealing context of a row."""

    table: str
    keys: Mapping[str, str]
    column: str
    context: Callable[[Row[Any]], str]
    form: Form = BYTES
    beside: tuple[str, ...] = ()
    """Columns that the context needs besides the keys."""


@dataclass(frozen=True, slots=True)
class Done:
    """The result of one batch."""

    table: str
    sealed_anew: int
    unreadable: int


Follow = Callable[[AsyncConnection, Sequence[Row[Any]]], Awaitable[None]]
"""Writes whatever else depends on the rows of a batch, in the same transaction."""


async def left(conn: AsyncConnection, place: Place, ring: Ring) -> int:
    """Return how many values are still sealed for a key other than the newest."""
    found = await conn.execute(text(f"select count(*) from {place.table} where {_for_older_key(place)}"), _heads(place, ring))
    return int(found.scalar_one())


async def rewrap(engine: AsyncEngine, place: Place, ring: Ring, *, follow: Follow | None = None, batch: int = BATCH) -> AsyncIterator[Done]:
    """Reseal a whole column for the newest key; if interrupted and started again, it continues with what is left."""
    after: Row[Any] | None = None
    while True:
        async with engine.begin() as conn:
            rows = await _next(conn, place, ring, after=after, limit=batch)
            if not rows:
                return
            made = [(row, sealed) for row in rows if (sealed := _resealed(place, ring, row)) is not None]
            if made:
                await _write(conn, place, made)
            if follow is not None:
                await follow(conn, [row for row, _ in made])
        after = rows[-1]
        yield Done(place.table, len(made), len(rows) - len(made))


def _resealed(place: Place, ring: Ring, row: Row[Any]) -> bytes | None:
    """Return the row's value resealed; None if no key of the ring opens it."""
    context = place.context(row)
    try:
        return ring.keep(ring.unseal(place.form.read(getattr(row, place.column)), context), context)
    except (SealError, ValueError):
        return None


async def _next(conn: AsyncConnection, place: Place, ring: Ring, *, after: Row[Any] | None, limit: int) -> Sequence[Row[Any]]:
    keys = ", ".join(place.keys)
    further = f" and ({keys}) > ({', '.join(':' + key for key in place.keys)})" if after is not None else ""
    where = {key: getattr(after, key) for key in place.keys} if after is not None else {}
    found = await conn.execute(
        text(
            f"select {', '.join([*place.keys, *place.beside, place.column])} from {place.table} where {_for_older_key(place)}{further}"
            f" order by {keys} limit :limit for update"
        ),
        {**_heads(place, ring), "limit": limit, **where},
    )
    return found.all()


async def _write(conn: AsyncConnection, place: Place, made: Sequence[tuple[Row[Any], bytes]]) -> None:
    columns = {**place.keys, "sealed_anew": place.form.type}
    values = {key: [getattr(row, key) for row, _ in made] for key in place.keys}
    await conn.execute(
        text(
            f"update {place.table} t set {place.column} = n.sealed_anew"
            f" from unnest({', '.join(f'cast(:{name} as {type_}[])' for name, type_ in columns.items())}) as n({', '.join(columns)})"
            f" where {' and '.join(f't.{key} = n.{key}' for key in place.keys)}"
        ),
        {**values, "sealed_anew": [place.form.write(sealed) for _, sealed in made]},
    )


def _for_older_key(place: Place) -> str:
    return f"{place.form.begins.replace('{}', place.column)} not in (:with_public, :by_holder)"


def _heads(place: Place, ring: Ring) -> dict[str, object]:
    with_public, by_holder = map(place.form.head, ring.heads)
    return {"with_public": with_public, "by_holder": by_holder}
