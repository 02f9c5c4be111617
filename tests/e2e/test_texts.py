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


async def test_the_check_of_a_policy_knows_which_texts_the_notifier_has(world: World) -> None:
    policy = "policy: ours\nsteps:\n  - {id: a, at: {day: 1}, send: {template: NAME, channels: [sms]}}\n"

    async def warned(name: str) -> list[tuple[int, str]]:
        checked = await world.http.post("/scheduler/v1/policies:validate", content=policy.replace("NAME", name))
        return [(one["line"], one["error"]) for one in checked.json()["warnings"] if one["error"] != "no_ending"]

    assert await warned("gentle") == []
    assert await warned("nobody_wrote_it") == [(3, "missing_template")]
    put = await world.http.put("/notifier/v1/settings", json={"default_locale": "fr"}, headers={"If-Match": '"0"'})
    assert put.status_code == 200, put.text
    assert await warned("gentle") == [(3, "missing_locale")]
