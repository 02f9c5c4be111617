"""The ledger behind the API: repeats, conflicts, doubt, facts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from libs.common.bus.ports import Message
from libs.common.contracts.catalogue import FACTS, PROFILES
from libs.common.contracts.overdue_facts import OverdueFact
from libs.common.errors import TransientError
from services.ingest import telling_apart
from services.ingest.tables import GROUP
from tests.integration.ingest_decisions.books import Books, waiting_for_a_lock
from tests.support.postgres import Databases
from tests.support.running import Heard, Running, running_ingest, until
from tests.support.wallet import NOON, TODAY, event, instalment, loan, repayment

FACT_TYPES = ("debt.due_soon.v1", "debt.overdue.v1", "debt.changed.v1", "debt.cured.v1", "debt.closed.v1")


@pytest.fixture
async def ingest(databases: Databases) -> AsyncIterator[tuple[Running, Heard]]:
    async with databases.fresh("ingest") as engine, running_ingest(engine, FACTS, PROFILES) as running:
        yield running


def facts_of(heard: Heard, loan_id: str) -> list[tuple[str, OverdueFact]]:
    return [(e.type, data) for e, data in heard.messages if isinstance(data, OverdueFact) and data.loan_id == loan_id]


async def test_an_overdue_loan_becomes_a_fact_with_the_whole_state(ingest: tuple[Running, Heard]) -> None:
    running, heard = ingest
    await running.post(loan("L1"))
    [(kind, fact)] = facts_of(heard, "L1")
    assert kind == "debt.overdue.v1"
    assert (fact.overdue.total, fact.bucket, fact.version, fact.epoch) == (20000, "M2", 1, 1)
    assert fact.anchor is not None
    assert fact.past_due_days_from == fact.anchor.due_on == TODAY - timedelta(days=40)
    state = await running.get("/v1/loans/L1")
    assert (state["past_due_days"], state["overdue"]["total"], state["events"], state["version"]) == (40, 20000, 1, 1)


async def test_a_fact_names_the_segment_with_which_the_loan_was_disbursed(ingest: tuple[Running, Heard]) -> None:
    running, heard = ingest
    await running.post(loan("L1", attributes={"segment": "VIP 1"}), loan("L2", attributes={"segment": 7}), loan("L3"))
    await running.post(repayment("L1", 100))
    await running.post(repayment("L1", 100, -30))
    assert [fact.segment for _, fact in facts_of(heard, "L1")] == ["VIP 1"] * 3
    assert [facts_of(heard, name)[-1][1].segment for name in ("L2", "L3")] == [None, None]


async def test_a_payment_before_its_loan_waits_and_counts_when_the_loan_comes(ingest: tuple[Running, Heard]) -> None:
    running, heard = ingest
    await running.post(repayment("L2", 10000, -30))
    assert (await running.client.get("/v1/loans/L2")).status_code == 404
    await running.post(loan("L2"))
    assert facts_of(heard, "L2")[-1][1].overdue.total == 10000


async def test_the_same_event_again_changes_nothing_and_says_nothing(ingest: tuple[Running, Heard]) -> None:
    running, heard = ingest
    first = loan("L3")
    await running.post(first, first)
    await running.post(first)
    assert len(facts_of(heard, "L3")) == 1
    assert (await running.get("/v1/loans/L3"))["version"] == 1


async def test_the_same_id_with_other_content_is_parked_and_puts_the_loan_in_doubt_until_somebody_decides(
    ingest: tuple[Running, Heard],
) -> None:
    running, heard = ingest
    paid = repayment("L4", 1000)
    await running.post(loan("L4"), paid)
    other = {**paid, "data": {**paid["data"], "amount": 9999}}
    await running.post(other)
    await running.post(other)
    [parked] = (await running.get("/v1/parked", loan_id="L4"))["items"]
    state = await running.get("/v1/loans/L4")
    assert (parked["error"], state["overdue"]["total"], state["version"], state["doubt"]["parked"]) == (
        "conflict",
        19000,
        3,
        [parked["id"]],
    )
    assert facts_of(heard, "L4")[-1][1].doubt is not None
    answer = await running.client.post(f"/v1/parked/{parked['id']}:discard", json={"reason": "a typing error"})
    assert answer.status_code == 200
    await running.service.pump()
    assert (await running.get("/v1/loans/L4"))["doubt"] is None
    last = facts_of(heard, "L4")[-1][1]
    assert (last.doubt, last.version) == (None, 4)
    await running.post(other)
    assert (await running.get("/v1/loans/L4"))["doubt"] is None


async def test_the_same_payment_under_another_event_id_is_not_paid_twice(ingest: tuple[Running, Heard]) -> None:
    running, _ = ingest
    paid = repayment("L5", 1000)
    await running.post(loan("L5"), paid, {**paid, "id": "other"})
    state = await running.get("/v1/loans/L5")
    assert (state["overdue"]["total"], state["events"]) == (19000, 2)


async def test_amounts_whose_sum_passes_64_bits_are_parked_and_the_rest_of_the_batch_goes_on(ingest: tuple[Running, Heard]) -> None:
    running, _ = ingest
    most = 10**15
    huge = [instalment(n, n, principal=most, interest=most, fee=most, penalty=most) for n in range(1, 601)]
    again = [event("loan.rescheduled", loan_id="L6", version=v, schedule=huge, effect="from_date") for v in (2, 3, 4)]
    await running.post(loan("L6", *huge), *again, loan("L7"))
    state, other = await running.get("/v1/loans/L6"), await running.get("/v1/loans/L7")
    [parked] = (await running.get("/v1/parked", loan_id="L6"))["items"]
    assert (parked["error"], parked["event"]["data"]["version"], state["events"]) == ("cannot_fold", 4, 3)
    assert state["doubt"]["parked"] == [parked["id"]]
    assert (other["doubt"], other["overdue"]["total"]) == (None, 20000)


async def test_what_a_loan_has_no_room_for_is_parked_and_the_rest_of_the_batch_goes_on(
    ingest: tuple[Running, Heard], monkeypatch: pytest.MonkeyPatch
) -> None:
    running, _ = ingest
    monkeypatch.setattr(telling_apart, "MOST_EVENTS", 3)
    payments = [repayment("L8", amount) for amount in (1, 2, 3, 4)]
    await running.post(loan("L8"), payments[0])
    await running.post(*payments, loan("L9"))
    state = await running.get("/v1/loans/L8")
    assert (state["events"], state["overdue"]["total"], state["version"]) == (3, 20000 - 1 - 2, 5)
    parked = (await running.get("/v1/parked", loan_id="L8"))["items"]
    assert {(one["error"], one["event"]["id"]) for one in parked} == {("too_many_events", one["id"]) for one in payments[2:]}
    assert sorted(state["doubt"]["parked"]) == sorted(one["id"] for one in parked)
    assert (await running.get("/v1/loans/L9"))["events"] == 1
    refused = await running.client.post(f"/v1/parked/{parked[0]['id']}:retry")
    assert (refused.status_code, refused.json()["error"]) == (409, "too_many_events")


async def test_time_alone_makes_a_loan_due_soon_then_overdue_then_older(ingest: tuple[Running, Heard]) -> None:
    running, heard = ingest
    await running.post(loan("L8", instalment(1, 9)))
    assert facts_of(heard, "L8") == []
    for _ in range(50):
        due = await running.service.next_due()
        assert due is not None
        running.clock.move_to(due)
        await running.service.pump()
        if (said := facts_of(heard, "L8")) and said[-1][1].bucket == "M2":
            break
    kinds = [kind for kind, _ in facts_of(heard, "L8")]
    assert kinds == ["debt.due_soon.v1", "debt.overdue.v1", "debt.changed.v1"]
    assert [fact.as_of - TODAY for _, fact in facts_of(heard, "L8")] == [timedelta(days=d) for d in (2, 10, 40)]


async def test_a_cure_is_said_once(ingest: tuple[Running, Heard]) -> None:
    running, heard = ingest
    await running.post(loan("L9"))
    await running.post(repayment("L9", 20000))
    await running.post(repayment("L9", 10000))
    assert [kind for kind, _ in facts_of(heard, "L9")] == ["debt.overdue.v1", "debt.cured.v1", "debt.closed.v1"]


async def test_a_watermark_stands_in_every_partition_behind_what_it_vouches_for(ingest: tuple[Running, Heard]) -> None:
    running, heard = ingest
    await running.post(loan("L10"))
    running.clock.advance(timedelta(seconds=5))
    before = len(heard.messages)
    await running.service.pump()
    marks = [data for e, data in heard.messages[before:] if e.type == "debt.watermark.v1"]
    assert len(marks) == 2 * running.bus.partitions
    assert {mark.until for mark in marks} == {running.clock.now()}


async def test_a_topic_that_is_no_longer_read_holds_no_watermark_back(ingest: tuple[Running, Heard]) -> None:
    """A tenant who has gone leaves its positions behind, and nobody moves them any more."""
    running, heard = ingest
    gone = "insert into ingest.positions (grp, topic, partition, next_offset, caught_up_at) values (:grp, 'loans.gone', 0, 7, :at)"
    async with running.engine.begin() as conn:
        await conn.execute(text(gone), {"grp": GROUP, "at": NOON - timedelta(days=1)})
    running.clock.advance(timedelta(seconds=5))
    await running.service.pump()
    assert heard.of("debt.watermark.v1")[-1].until == running.clock.now()


async def test_a_feed_that_falls_silent_is_named_in_the_watermark(ingest: tuple[Running, Heard]) -> None:
    running, heard = ingest
    await running.post(event("feed.heartbeat", every_s=30))
    running.clock.advance(timedelta(seconds=20))
    await running.service.pump()
    assert heard.of("debt.watermark.v1")[-1].stale_feeds == ()
    running.clock.advance(timedelta(seconds=20))
    await running.service.pump()
    assert heard.of("debt.watermark.v1")[-1].stale_feeds == ("default",)


async def stale_feeds(running: Running, heard: Heard, **later: float) -> tuple[str, ...]:
    """Return whose feeds are stale by the watermark of a later moment."""
    running.clock.advance(timedelta(**later))
    await running.service.pump()
    stale: tuple[str, ...] = heard.of("debt.watermark.v1")[-1].stale_feeds
    return stale


@pytest.mark.parametrize("together", [True, False])
async def test_of_two_heartbeats_the_one_recorded_last_says_how_often_they_come(ingest: tuple[Running, Heard], *, together: bool) -> None:
    running, heard = ingest
    newer = event("feed.heartbeat", every_s=600)
    older = event("feed.heartbeat", recorded=NOON - timedelta(minutes=1), every_s=5)
    for beats in [(newer, older)] if together else [(newer,), (older,)]:
        await running.post(*beats)
    assert await stale_feeds(running, heard, minutes=9) == ()
    assert await stale_feeds(running, heard, minutes=2) == ("default",)


async def test_a_source_that_is_retired_holds_nothing_back_until_it_is_heard_again(ingest: tuple[Running, Heard]) -> None:
    running, heard = ingest
    await running.post(event("feed.heartbeat", source="old-core", every_s=30), event("feed.heartbeat", source="wallet", every_s=3600))
    assert await stale_feeds(running, heard, minutes=1) == ("default",)
    [old, other] = (await running.get("/v1/sources"))["items"]
    assert [(one["source"], one["silent"], one["retired"]) for one in (old, other)] == [("old-core", True, None), ("wallet", False, None)]
    retired = await running.client.post("/v1/sources:retire", json={"source": "old-core", "reason": "switched off"})
    assert (retired.status_code, retired.json()["silent"], retired.json()["retired"]["reason"]) == (200, False, "switched off")
    assert await stale_feeds(running, heard, minutes=1) == ()
    await running.post(event("feed.heartbeat", source="old-core", every_s=30))
    assert (await running.get("/v1/sources", limit=1))["items"][0]["retired"] is None
    assert await stale_feeds(running, heard, minutes=1) == ("default",)


async def test_a_source_that_was_never_heard_cannot_be_retired(ingest: tuple[Running, Heard]) -> None:
    running, _ = ingest
    refused = await running.client.post("/v1/sources:retire", json={"source": "unheard", "reason": "a typing error"})
    assert (refused.status_code, refused.json()["code"]) == (404, "not_found")


async def test_names_and_addresses_are_sealed_before_anything_is_stored(ingest: tuple[Running, Heard]) -> None:
    running, heard = ingest
    phone, mail, name = "+447700900123", "wei@example.org", "Li Wei"
    addresses = [{"channel": "sms", "address": phone}, {"channel": "email", "address": mail}]
    await running.post(event("borrower.updated", borrower_id="B1", name=name, timezone="Asia/Taipei", addresses=addresses))
    [profile] = heard.of("borrower.profile.v1")
    assert (profile.timezone, [a.channel for a in profile.addresses], bool(profile.key)) == ("Asia/Taipei", ["sms", "email"], True)
    async with running.engine.connect() as conn:
        stored = await _everything(conn)
    assert not [secret for secret in (phone, phone[1:], mail, name) if secret in stored]


async def _everything(conn: Any) -> str:
    """Return every row of every table of the schema as text, bytes decoded."""
    tables = (await conn.execute(text("select tablename from pg_tables where schemaname = 'ingest'"))).scalars().all()
    rows = [row for table in tables for row in (await conn.execute(text(f"select * from ingest.{table}"))).all()]
    return "\n".join(bytes(v).decode(errors="replace") if isinstance(v, bytes) else str(v) for row in rows for v in row)


async def test_an_erased_borrower_leaves_no_key_and_a_closed_profile(ingest: tuple[Running, Heard]) -> None:
    running, heard = ingest
    await running.post(event("borrower.updated", borrower_id="B2", name="X Y", addresses=[{"channel": "sms", "address": "+447700900124"}]))
    await running.post(event("borrower.erased", borrower_id="B2"))
    assert [e.type for e, data in heard.messages if data is None] == ["borrower.profile.v1"]
    assert len(heard.of("borrower.erased.v1")) == 1


async def test_a_death_counts_from_its_report_where_its_day_has_not_begun_everywhere(ingest: tuple[Running, Heard]) -> None:
    running, heard = ingest
    ahead, before = NOON + timedelta(hours=2), NOON - timedelta(days=2)
    for n, (status, since) in enumerate([("deceased", ahead), ("deceased", before), ("moratorium", ahead)]):
        said: dict[str, Any] = {"status_id": f"s{n}", "status": status, "from": since.isoformat()}
        await running.post(event("borrower.status", borrower_id="B1", **said))
    assert [state.from_ for state in heard.of("borrower.status.v1")] == [NOON, before, ahead]


async def test_a_late_older_consent_does_not_overrule_a_newer_one(ingest: tuple[Running, Heard]) -> None:
    running, heard = ingest
    newer = event("borrower.consent", borrower_id="B3", channel="sms", purpose="dunning", granted=False, at=NOON.isoformat())
    older = event(
        "borrower.consent", recorded=NOON - timedelta(days=1), borrower_id="B3", channel="sms", purpose="dunning", granted=True,
        at=NOON.isoformat(),
    )  # fmt: skip
    await running.post(newer)
    await running.post(older)
    assert [c.granted for c in heard.of("borrower.consent.v1")] == [False]


async def test_a_loan_can_be_read_as_of_a_past_day_and_as_it_was_known_then(ingest: tuple[Running, Heard]) -> None:
    running, _ = ingest
    await running.post(loan("L11"))
    then = running.clock.now()
    running.clock.advance(timedelta(hours=1))
    await running.post(repayment("L11", 10000, -20))
    on_due_day = await running.get("/v1/loans/L11", as_of=(TODAY - timedelta(days=40)).isoformat())
    assert (on_due_day["past_due_days"], on_due_day["overdue"]["total"]) == (0, 0)
    assert (await running.get("/v1/loans/L11"))["overdue"]["total"] == 10000
    assert (await running.get("/v1/loans/L11", known_at=then.isoformat()))["overdue"]["total"] == 20000


async def test_a_loan_that_is_read_while_it_is_taken_in_is_shown_as_it_was_before_or_after(ingest: tuple[Running, Heard]) -> None:
    """Neither with its events and without the settings of its product, nor with more events than its version has records."""
    running, _ = ingest
    await running.client.put("/v1/products/cash-loan", json={"grace_days": 3})
    await running.post(repayment("L12", 1000, -30))
    async with running.engine.begin() as conn:
        await conn.execute(text("lock table ingest.events in access exclusive mode"))
        asked = asyncio.create_task(running.client.get("/v1/loans/L12"))
        await until(lambda: waiting_for_a_lock(running.engine), what="the reader's waiting")
        await Books(running.engine).take(conn, loan("L12"))
    assert (await asked).status_code == 404


async def test_what_was_known_then_is_told_by_the_product_that_was_known_then(ingest: tuple[Running, Heard]) -> None:
    running, _ = ingest
    await running.client.put("/v1/products/patient", json={"grace_days": 5})
    first = loan("L13")
    await running.post(first)
    then = running.clock.now()
    said = await running.get("/v1/loans/L13")
    running.clock.advance(timedelta(hours=1))
    retraction = event("event.retracted", loan_id="L13")
    await running.post({**retraction, "data": {"loan_id": "L13", "event_id": first["id"]}}, loan("L13", product="patient"))
    asked = {"known_at": then.isoformat(), "as_of": TODAY.isoformat()}
    assert (await running.get("/v1/loans/L13", **asked))["delinquent_days"] == said["delinquent_days"] == 40
    assert [line["delinquent_days"] for line in (await running.get("/v1/overdue-report", **asked))["items"]] == [40]
    assert (await running.get("/v1/loans/L13"))["delinquent_days"] == 35


async def test_a_topic_that_stands_still_makes_ingest_not_ready_and_says_which(ingest: tuple[Running, Heard]) -> None:
    running, _ = ingest

    async def ready() -> bool:
        return (await running.client.get("/readyz")).status_code == 200

    await until(ready, what="the service's joining")
    junk = [Message("wallet.loan-events", 0, None, f"junk {n}".encode(), ()) for n in range(1001)]
    with pytest.raises(TransientError):
        await running.bus.publish(junk)
    answer = await running.client.get("/readyz")
    assert answer.status_code == 503
    assert "wallet.loan-events" in answer.json()["checks"]["consumer"]
