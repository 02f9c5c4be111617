"""A tenant's own words, from the editor to the borrower."""

from __future__ import annotations

from tests.e2e.world import World, borrower, late_loan

TEXT = {
    "name": "gentle", "locale": "en", "channel": "sms", "jurisdictions": ["ZZ"],
    "body": "{{ lender }}: {{ total }} since {{ debts[0].due_on }}. Take your time.",
}  # fmt: skip


async def test_a_published_text_is_what_the_borrower_of_a_late_loan_reads(world: World) -> None:
    await world.publish(*borrower("B1"), late_loan("L1", "B1"))
    put = await world.http.put("/notifier/v1/settings", json={"brand": {"name": "Acme Wallet"}}, headers={"If-Match": '"0"'})
    assert put.status_code == 200, put.text
    made = await world.http.post("/notifier/v1/templates", json=TEXT)
    assert (made.status_code, made.json()["problems"]) == (201, [])
    moved = await world.http.post(f"/notifier/v1/templates/gentle/versions/{made.json()['version']}:publish")
    assert moved.json()["state"] == "published"
    await world.let_pass(minutes=30)
    [message] = await world.messages("B1")
    assert message["body"].startswith("Acme Wallet: CNY 120.50 since 2026-11-23. Take your time.")
    shown = await world.get(f"/notifier/v1/deliveries/{message['task_id']}")
    assert shown["text"] == {"locale": "en", "version": 1}
