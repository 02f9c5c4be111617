"""What HTTP would refuse comes by the bus: it is parked with its loan, and the ledger goes on."""

from __future__ import annotations

import json

from libs.common.bus.ports import Headers, Message, partition_of
from tests.integration.http.asking import state_of
from tests.support.running import Running
from tests.support.wallet import Event, loan, repayment

TOPIC = "wallet.loan-events"


def message(sent: Event, *, value: bytes | None = None, **headers: str) -> Message:
    said = {f"ce_{name}": sent[name] for name in ("id", "source", "type", "time")} | {f"ce_{name}": text for name, text in headers.items()}
    pairs: Headers = tuple((name, text.encode()) for name, text in said.items())
    raw = json.dumps(sent["data"]).encode() if value is None else value
    return Message(TOPIC, partition_of("default", "L1", 4), b"L1", raw, pairs)


async def test_records_that_http_would_refuse_are_parked_and_those_behind_them_are_taken(ingest: Running) -> None:
    good, behind = loan("L1"), loan("L2")
    paid = repayment("L1", 1000, -1)
    odd = {**loan("L1")["data"], "tolerance": {"percent": "sNaN"}}
    bad = [
        message(paid, source="wal\0let"),
        message(paid, source="s" * 257),
        message(paid, id="x" * 129),
        message(paid, time="2026-11-19T12:00:00"),
        message(paid, specversion="0.3"),
        message({**good, "data": odd}, id="odd"),
        message(paid, value=b"["),
    ]
    await ingest.bus.publish([message(good), *bad, message(behind)])
    assert (await state_of(ingest, behind))["events"] == 1
    state = await state_of(ingest, good)
    parked = (await ingest.get("/v1/parked"))["items"]
    assert (state["events"], state["overdue"]["total"]) == (1, 20000)
    assert len(parked) == len(bad)
    assert set(state["doubt"]["parked"]) == {one["id"] for one in parked if one["loan_id"] == "L1"}
    assert len(state["doubt"]["parked"]) == len(bad) - 1
    assert {one["error"] for one in parked} == {"malformed", "not_json"}


async def test_the_same_bad_record_again_is_parked_once(ingest: Running) -> None:
    bad = message(repayment("L1", 1000, -1), source="")
    await ingest.bus.publish([message(loan("L1")), bad, bad])
    await ingest.bus.publish([bad])
    assert len((await ingest.get("/v1/parked"))["items"]) == 1
