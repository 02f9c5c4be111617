"""An alternative: a POST, a session and a transaction per event, through an ORM, behind FastAPI.

It deduplicates ids, adds up payments and writes a message about what changed. It does not order events by time, allocate money or
park anything: less than the ledger does.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import datetime
from typing import Any

import uvicorn
import uvloop
from fastapi import FastAPI
from pydantic import BaseModel
from sqlalchemy import BigInteger, DateTime, Identity, LargeBinary, Text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

SESSIONS = 16


class Base(DeclarativeBase):
    pass


class Loan(Base):
    __tablename__ = "loan"
    loan_id: Mapped[str] = mapped_column(Text, primary_key=True)
    scheduled: Mapped[int] = mapped_column(BigInteger, default=0)
    paid: Mapped[int] = mapped_column(BigInteger, default=0)


class Event(Base):
    __tablename__ = "event"
    source: Mapped[str] = mapped_column(Text, primary_key=True)
    event_id: Mapped[str] = mapped_column(Text, primary_key=True)
    type: Mapped[str] = mapped_column(Text)
    time: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    loan_id: Mapped[str] = mapped_column(Text, index=True)
    data: Mapped[bytes] = mapped_column(LargeBinary)


class Outgoing(Base):
    __tablename__ = "outgoing"
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    loan_id: Mapped[str] = mapped_column(Text)
    value: Mapped[bytes] = mapped_column(LargeBinary)


class EventIn(BaseModel):
    id: str
    source: str
    type: str
    time: datetime
    subject: str
    data: dict[str, Any]


class LoanOut(BaseModel):
    loan_id: str
    outstanding: int


async def serve(database: str, port: int) -> None:
    """Serve until standard input ends."""
    engine = create_async_engine(make_url(database).set(drivername="postgresql+asyncpg"), pool_size=SESSIONS)
    async with engine.begin() as conn:
        await conn.run_sync(Base.metadata.create_all)
    sessions = async_sessionmaker(engine, expire_on_commit=False)
    app = FastAPI()

    @app.post("/events", status_code=202)
    async def take(event: EventIn) -> LoanOut:
        async with sessions.begin() as session:
            loan = await session.get(Loan, event.subject, with_for_update=True)
            if loan is None:
                session.add(loan := Loan(loan_id=event.subject, scheduled=0, paid=0))
            if await session.get(Event, (event.source, event.id)) is None:
                body = event.model_dump_json().encode()
                session.add(
                    Event(source=event.source, event_id=event.id, type=event.type, time=event.time, loan_id=loan.loan_id, data=body)
                )
                loan.scheduled += sum(row["principal"] + row["interest"] for row in event.data.get("schedule", ()))
                loan.paid += event.data.get("amount", 0)
                state = LoanOut(loan_id=loan.loan_id, outstanding=loan.scheduled - loan.paid)
                session.add(Outgoing(loan_id=loan.loan_id, value=state.model_dump_json().encode()))
            return LoanOut(loan_id=loan.loan_id, outstanding=loan.scheduled - loan.paid)

    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None, access_log=False))
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110  # there is no event to wait for
        await asyncio.sleep(0.01)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.should_exit = True
    await serving
    await engine.dispose()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], int(sys.argv[2])))
