"""The services answer exactly what their OpenAPI documents describe."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from services.ingest.routes.shapes import SHAPES as OF_INGEST
from services.notifier.routes.shapes import SHAPES as OF_NOTIFIER
from services.scheduler.routes.policy_shapes import POLICIES
from services.scheduler.routes.shapes import SHAPES as OF_SCHEDULER
from tests.e2e.described import SECOND, YAML, Seen
from tests.e2e.world import MORNING, TODAY, World, borrower, late_loan, payment
from tests.support.wallet import Event, event


def named(service: str, shapes: Iterable[str]) -> set[str]:
    """Return the calls of a service under the names used to record them."""
    return {f"{service}.{name}" for name in shapes}


DECISIONS = named("scheduler", POLICIES) | named(
    "scheduler",
    (
        "getCaseSteps", "approveCaseStep", "rejectCaseStep", "postCaseEvidence", "takeBackCase", "sealCaseEvidence", "getCaseOffers",
        "postCaseOffers", "postCasePlans", "getCasePlans", "approveCaseOffer", "rejectCaseOffer", "acceptCaseOffer", "declineCaseOffer",
    ),
)  # fmt: skip
"""Calls that need a case under a special policy."""
ELSEWHERE = ("postEvents", "retryParked")
"""One whose answer `World.publish` checks, and one with the same shape as other decisions."""
REPLIES = ("getBorrowerReplies", "getBorrowerSuppressions", "deleteBorrowerSuppression")
"""Calls that need a borrower who has written back."""
SCHEDULER, NOTIFIER = "/scheduler/v1", "/notifier/v1"
POLICY = """\
policy: grave-ones
cure: {cool_down: 7d}
steps:
  - {id: legal, at: {day: 3}, requires: [approval, evidence], evidence: [contract], task: {queue: legal, kind: letter}}
  - {id: visit, at: {day: 4}, requires: [approval], task: {queue: field, kind: visit}}
  - {id: agency, at: {day: 5}, hand_over: {to: agency}}
  - {id: offer, at: {day: 30, between: "10:00-11:30"}, send: {template: firm, channels: [sms]},
     offer: {kind: instalment_plan, max_months: 6, waive_interest_percent: 20, valid_for: 4d}}
"""


def charge(amount: int) -> Event:
    due_on = str(TODAY - timedelta(days=9))
    return event("charge.added", charge_id="c1", loan_id="L1", kind="fee", amount=amount, due_on=due_on)


async def test_answers_about_money_have_the_shape_that_is_promised(world: World) -> None:
    seen, of = Seen(world), "/ingest/v1"
    await world.publish(*borrower("B1"), late_loan("L1", "B1", days=20, amount=30000), payment("L1", 5000))
    await world.publish(charge(500))
    for amount in (600, 700, 800):
        await world.publish(charge(amount))
    await world.let_pass(hours=1)
    await seen.ask("GET", f"{of}/loans/L1", "/v1/loans/{loan_id}")
    await seen.ask("GET", f"{of}/loans/L1/events", "/v1/loans/{loan_id}/events")
    await seen.ask("GET", f"{of}/loans/L1/statement", "/v1/loans/{loan_id}/statement")
    await seen.ask("GET", f"{of}/overdue-report", "/v1/overdue-report")
    await seen.ask("GET", f"{of}/borrowers/B1/loans", "/v1/borrowers/{borrower_id}/loans")
    await seen.ask("PUT", f"{of}/products/other", "/v1/products/{name}", {"grace_days": 3})
    await seen.ask("GET", f"{of}/products/other", "/v1/products/{name}")
    parked = [one["id"] for one in (await seen.ask("GET", f"{of}/parked", "/v1/parked"))["items"]]
    await seen.ask("POST", f"{of}/parked/{parked[0]}:discard", "/v1/parked/{parked_id}:discard", {"reason": "a test"})
    other = event("charge.added", charge_id="c2", loan_id="L1", kind="fee", amount=9, due_on=str(TODAY))
    await seen.ask("POST", f"{of}/parked/{parked[1]}:replace", "/v1/parked/{parked_id}:replace", {"event": other, "reason": "a test"})
    await world.publish(event("feed.heartbeat", source="core", every_s=60))
    await seen.ask("GET", f"{of}/sources", "/v1/sources")
    await seen.ask("POST", f"{of}/sources:retire", "/v1/sources:retire", {"source": "core", "reason": "a test"})
    await of_settings_and_feeds(seen, "ingest", "overdue-facts", "borrower-profiles")
    assert not seen.wrong, "\n".join(seen.wrong)
    assert named("ingest", OF_INGEST) - seen.names == named("ingest", ELSEWHERE)


async def of_settings_and_feeds(seen: Seen, service: str, *topics: str) -> None:
    """Make the calls that all services have."""
    hook = {"id": "w", "url": "https://hooks.example.com/w", "topics": [f"dunning.{topics[0]}"], "secret": f"whsec_{'QUJD' * 8}"}
    put = await seen.ask("PUT", f"/{service}/v1/settings", "/v1/settings", {"webhooks": [hook]}, headers={"If-Match": "*"})
    assert put["version"] == 1
    await seen.ask("GET", f"/{service}/v1/settings", "/v1/settings")
    await seen.ask("GET", f"/{service}/v1/settings/history", "/v1/settings/history")
    for topic in topics:
        await seen.ask("GET", f"/{service}/v1/feed/{topic}", f"/v1/feed/{topic}")


async def test_answers_about_cases_have_the_shape_that_is_promised(world: World) -> None:
    seen = Seen(world)
    await world.publish(*borrower("B1"), late_loan("L1", "B1", days=20, amount=30000), payment("L1", 5000))
    await world.let_pass(hours=21)
    case_id = (await world.case("B1"))["case_id"]
    case, of = f"{SCHEDULER}/cases/{case_id}", "/v1/cases/{case_id}"
    await seen.ask("GET", f"{SCHEDULER}/cases", "/v1/cases")
    await seen.ask("GET", case, of)
    await seen.ask("GET", f"{case}/timeline", f"{of}/timeline")
    await seen.ask("GET", f"{case}/next-contact", f"{of}/next-contact")
    await seen.ask("GET", f"{SCHEDULER}/coverage", "/v1/coverage")
    await of_work(seen, case)
    await seen.ask("POST", f"{SCHEDULER}/borrowers/B1/links", "/v1/borrowers/{borrower_id}/links")
    await seen.ask("GET", f"{SCHEDULER}/borrowers/B1/links", "/v1/borrowers/{borrower_id}/links")
    await seen.ask("GET", f"{case}/evidence", f"{of}/evidence")
    await of_settings_and_feeds(seen, "scheduler", "case-events", "contact-tasks")
    await world.let_pass(days=2)
    for name in ("roll-rates", "cure-rates", "promises", "funnel", "feedback", "experiments"):
        span = {"from": str(TODAY), "to": str(TODAY)}
        await seen.ask("GET", f"{SCHEDULER}/reports/{name}", f"/v1/reports/{name}", params=span)
    assert not seen.wrong, "\n".join(seen.wrong)
    assert named("scheduler", OF_SCHEDULER) - seen.names == DECISIONS


async def of_work(seen: Seen, case: str) -> None:
    """Do what people do in a case."""
    of = "/v1/cases/{case_id}"
    [task, *_] = (await seen.ask("GET", f"{SCHEDULER}/tasks", "/v1/tasks"))["items"]
    one = f"{SCHEDULER}/tasks/{task['task_id']}"
    await seen.ask("GET", one, "/v1/tasks/{task_id}")
    for verb in ("claim", "release", "claim", "complete"):
        await seen.ask("POST", f"{one}:{verb}", f"/v1/tasks/{{task_id}}:{verb}")
    due_on = str(seen.world.clock.now().date() + timedelta(days=3))
    promise = await seen.ask("POST", f"{case}/promises", f"{of}/promises", {"amount": 100, "due_on": due_on})
    await seen.ask("GET", f"{case}/promises", f"{of}/promises")
    await seen.ask("POST", f"{case}/promises/{promise['promise_id']}:cancel", f"{of}/promises/{{promise_id}}:cancel")
    hold = await seen.ask("POST", f"{case}/holds", f"{of}/holds", {"stop": "vulnerable", "end": {"event": "debt.cured"}})
    await seen.ask("GET", f"{case}/holds", f"{of}/holds")
    await seen.ask("DELETE", f"{case}/holds/{hold['hold_id']}", f"{of}/holds/{{hold_id}}")
    await of_many_cases(seen)
    await seen.ask("POST", f"{case}/notes", f"{of}/notes", {"text": "asked for time"})
    await seen.ask("POST", f"{case}/contacts", f"{of}/contacts", {"channel": "call", "result": "no_answer"})
    for kind in ("disputes", "complaints", "hardships", "wrong-numbers"):
        made = await seen.ask("POST", f"{case}/{kind}", f"{of}/{kind}", {"channel": "sms"} if kind == "wrong-numbers" else {})
        await seen.ask("GET", f"{case}/{kind}", f"{of}/{kind}")
        resolved = f"{kind}/{{matter_id}}:resolve"
        outcome = {"outcome": "rejected"}
        await seen.ask("POST", f"{case}/{kind}/{made['matter_id']}:resolve", f"{of}/{resolved}", outcome)


async def of_many_cases(seen: Seen) -> None:
    """Hold many cases: count, confirm, and ask for the progress."""
    asked = {"filter": {"borrower_ids": ["B1"]}, "hold": {"stop": "moratorium", "until": (MORNING + timedelta(days=2)).isoformat()}}
    counted = await seen.ask("POST", f"{SCHEDULER}/holds", "/v1/holds", asked)
    begun = await seen.ask("POST", f"{SCHEDULER}/holds", "/v1/holds", {**asked, "confirm": counted["count"]})
    await seen.ask("GET", f"{SCHEDULER}/holds/{begun['batch_id']}", "/v1/holds/{batch_id}")


async def test_answers_about_policies_and_what_people_decide_have_the_shape_that_is_promised(world: World) -> None:
    seen = Seen(world)
    await of_policies(seen)
    await of_assignments(seen)
    await world.publish(*borrower("B1"), late_loan("L1", "B1", days=4, amount=30000))
    await world.let_pass(minutes=5)
    case_id = (await world.case("B1"))["case_id"]
    case, of = f"{SCHEDULER}/cases/{case_id}", "/v1/cases/{case_id}"
    await seen.ask("GET", f"{case}/steps", f"{of}/steps")
    document = {"document": "contract", "reference": "vault/1", "sha256": "a" * 64}
    await seen.ask("POST", f"{case}/evidence", f"{of}/evidence", document)
    await seen.ask("POST", f"{case}/steps/legal:approve", f"{of}/steps/{{step}}:approve", headers=SECOND)
    await seen.ask("POST", f"{case}/steps/visit:reject", f"{of}/steps/{{step}}:reject", {"reason": "a test"}, headers=SECOND)
    await world.let_pass(days=2)
    await seen.ask("POST", f"{case}:take_back", f"{of}:take_back", {"reason": "a test"})
    await of_offers(seen, case)
    await seen.ask("POST", f"{case}/evidence:seal", f"{of}/evidence:seal", {"reference": "vault/2"})
    assert not seen.wrong, "\n".join(seen.wrong)
    assert seen.names >= DECISIONS


async def of_offers(seen: Seen, case: str) -> None:
    """Make offers within the limits and beyond them, and decide on each."""
    of = "/v1/cases/{case_id}"
    within = {"max_months": 6, "waive_interest_percent": 20}
    one = f"{of}/offers/{{offer_id}}"

    async def decide(offer: Any, verb: str, body: Any = None, **sent: Any) -> None:
        await seen.ask("POST", f"{case}/offers/{offer['offer_id']}:{verb}", f"{one}:{verb}", body, **sent)

    plan = await seen.ask("POST", f"{case}/plans", f"{of}/plans", within)
    await seen.ask("GET", f"{case}/plans", f"{of}/plans")
    await decide(plan, "decline")
    beyond = {"kind": "instalment_plan", **within, "max_months": 9}
    await decide(await seen.ask("POST", f"{case}/offers", f"{of}/offers", beyond), "reject", {"reason": "a test"}, headers=SECOND)
    offered = await seen.ask("POST", f"{case}/offers", f"{of}/offers", beyond)
    await decide(offered, "approve", headers=SECOND)
    await decide(offered, "accept", {"months": 9})
    await seen.ask("GET", f"{case}/offers", f"{of}/offers")


async def of_policies(seen: Seen) -> None:
    """Write versions of a policy, decide on them, and activate one."""
    base, of = f"{SCHEDULER}/policies", "/v1/policies"
    version = f"{of}/{{name}}/versions/{{version}}"

    async def write(method: str, path: str, template: str, text: str, **headers: str) -> Any:
        return await seen.ask(method, path, template, content=text, headers={**YAML, **headers})

    await write("POST", f"{base}:validate", f"{of}:validate", POLICY.replace("day: 30,", "day: soon,"))
    drafts = [await write("POST", base, of, POLICY) for _ in range(2)]
    first, second = (f"{base}/grave-ones/versions/{number}" for number in (1, 2))
    changed = POLICY.replace("7d", "8d").replace("max_months: 6", "max_months: 5")
    await write("PUT", second, version, changed, **{"If-Match": drafts[1]["etag"]})
    await seen.ask("GET", f"{second}/diff", f"{version}/diff", params={"against": "1"})
    for path, verb in ((first, "approve"), (second, "reject")):
        await seen.ask("POST", f"{path}:submit", f"{version}:submit")
        await seen.ask("POST", f"{path}:{verb}", f"{version}:{verb}", headers=SECOND)
    await seen.ask("POST", f"{first}:activate", f"{version}:activate", {})
    later = {"effective_at": (MORNING + timedelta(days=300)).isoformat()}
    await seen.ask("POST", f"{first}:activate", f"{version}:activate", later)
    for path in (first, f"{base}/built-in/versions/1"):
        await seen.ask("GET", path, version)
    await seen.ask("POST", f"{first}:withdraw", f"{version}:withdraw")
    await seen.ask("GET", base, of)
    await seen.ask("GET", f"{base}/grave-ones/history", f"{of}/{{name}}/history")
    await write("POST", base, of, POLICY)
    await seen.ask("POST", f"{base}/grave-ones/versions/3:submit", f"{version}:submit")
    await seen.ask("POST", f"{base}/grave-ones/versions/3:approve", f"{version}:approve", headers=SECOND)
    await seen.ask("POST", f"{base}/grave-ones/versions/3:retire", f"{version}:retire")


async def of_assignments(seen: Seen) -> None:
    """Assign the policy to everybody, and simulate it forward."""
    tag = (await seen.world.http.get(f"{SCHEDULER}/assignments")).headers["ETag"]
    items = {"items": [{"policy": "grave-ones"}]}
    await seen.ask("PUT", f"{SCHEDULER}/assignments", "/v1/assignments", items, headers={"If-Match": tag})
    await seen.ask("GET", f"{SCHEDULER}/assignments", "/v1/assignments")
    await seen.ask("GET", f"{SCHEDULER}/assignments/history", "/v1/assignments/history")
    asked = {"policy": "grave-ones", "version": 1, "mode": "forward", "days": 3}
    made = await seen.ask("POST", f"{SCHEDULER}/simulations", "/v1/simulations", asked)
    await seen.ask("GET", f"{SCHEDULER}/simulations", "/v1/simulations")
    one = f"{SCHEDULER}/simulations/{made['simulation_id']}"
    await seen.ask("GET", one, "/v1/simulations/{simulation_id}")
    await seen.ask("DELETE", one, "/v1/simulations/{simulation_id}")


async def test_answers_about_messages_have_the_shape_that_is_promised(world: World) -> None:
    seen = Seen(world)
    await world.publish(*borrower("B1"), late_loan("L1", "B1", amount=30000))
    await world.let_pass(hours=1)
    [sent, *_] = (await seen.ask("GET", f"{NOTIFIER}/deliveries", "/v1/deliveries"))["items"]
    await seen.ask("GET", f"{NOTIFIER}/deliveries/{sent['task_id']}", "/v1/deliveries/{task_id}")
    here, of = f"{NOTIFIER}/borrowers/B1", "/v1/borrowers/{borrower_id}"
    await seen.ask("GET", f"{here}/contacts", f"{of}/contacts")
    await seen.ask("GET", f"{here}/preferences", f"{of}/preferences")
    await seen.ask("PUT", f"{here}/preferences", f"{of}/preferences", {"language": "en"})
    await seen.ask("GET", f"{here}/preferences/versions", f"{of}/preferences/versions")
    await seen.ask("GET", f"{NOTIFIER}/sandbox/messages", "/v1/sandbox/messages")
    await seen.ask("PUT", f"{NOTIFIER}/switch", "/v1/switch", {"scope": "all", "contacts": "on", "reason": "a test"})
    await seen.ask("GET", f"{NOTIFIER}/switch", "/v1/switch")
    asked = {"borrower_id": "B1", "debt": "L1", "channel": "call", "by": "anna"}
    await seen.ask("POST", f"{NOTIFIER}/contacts:authorize", "/v1/contacts:authorize", asked)
    proposed = {"at": MORNING.isoformat(), "channel": "sms", "debt": "L1", "purpose": "dunning"}
    check = {"jurisdictions": ["ZZ", "XX"], "timezones": ["Asia/Shanghai"], "proposed": proposed}
    await seen.ask("POST", f"{NOTIFIER}/compliance/check", "/v1/compliance/check", check)
    for pack in (await seen.ask("GET", f"{NOTIFIER}/compliance/packs", "/v1/compliance/packs"))["items"]:
        await seen.ask("GET", f"{NOTIFIER}/compliance/packs/{pack['id']}", "/v1/compliance/packs/{pack_id}")
    await of_persons(seen, here)
    await of_texts(seen)
    await of_providers(seen)
    await of_settings_and_feeds(seen, "notifier", "contact-outcomes")
    assert not seen.wrong, "\n".join(seen.wrong)
    assert named("notifier", OF_NOTIFIER) - seen.names == named("notifier", REPLIES)


async def of_persons(seen: Seen, here: str) -> None:
    """Ask who somebody is, whose address it is, and who has looked."""
    of = "/v1/borrowers/{borrower_id}"
    [address, *_] = (await seen.ask("GET", here, of))["addresses"]
    whose = {"channel": address["channel"], "address": address["address"]}
    await seen.ask("POST", f"{NOTIFIER}/borrowers:lookup", "/v1/borrowers:lookup", whose)
    await seen.ask("POST", f"{here}:recognise", f"{of}:recognise", {"phone_ends_with": "0000"})
    await seen.ask("GET", f"{NOTIFIER}/pii-reads", "/v1/pii-reads")


async def of_texts(seen: Seen) -> None:
    """Draft, preview, publish and retire texts."""
    base, of = f"{NOTIFIER}/templates", "/v1/templates"
    text = {"name": "gentle", "locale": "en", "channel": "sms", "body": "{{ lender }}: {{ total }} is late"}
    await seen.ask("POST", base, of, text)
    await seen.ask("POST", base, of, {**text, "jurisdictions": ["ZZ"]})
    price = {"millionths": 7900, "currency": "USD"}
    tried = {name: value for name, value in text.items() if name != "name"}
    await seen.ask("POST", f"{base}:preview", f"{of}:preview", {**tried, "price_per_part": price})
    await seen.ask("POST", f"{base}:preview", f"{of}:preview", {**tried, "body": "{{ nothing }} \u2603", "channel": "sms"})
    one = f"{of}/{{name}}/versions/{{version}}"
    for verb in ("publish", "retire"):
        await seen.ask("POST", f"{base}/gentle/versions/2:{verb}", f"{one}:{verb}")
    await seen.ask("GET", base, of)
    await seen.ask("GET", f"{base}/gentle/versions", f"{of}/{{name}}/versions")
    await seen.ask("GET", f"{base}/gentle/versions/1", one)


async def of_providers(seen: Seen) -> None:
    """Set an account twice, pause it, let it carry something."""
    base, of = f"{NOTIFIER}/providers", "/v1/providers"
    account = {"kind": "webhook", "credentials": {"secret": f"whsec_{'QUJD' * 8}"}, "settings": {"url": "https://wallet.example/inbox"}}
    for more in ({}, {"per_second": 5}):
        await seen.ask("PUT", f"{base}/wallet", f"{of}/{{name}}", {**account, **more})
    await seen.ask("POST", f"{base}/wallet:pause", f"{of}/{{name}}:pause", {"reason": "a test"})
    await seen.ask("GET", base, of)
    await seen.ask("POST", f"{base}/wallet:resume", f"{of}/{{name}}:resume")
    await seen.ask("PUT", f"{NOTIFIER}/routes", "/v1/routes", {"items": [{"channel": "inbox", "provider": "wallet"}]})
    await seen.ask("GET", f"{NOTIFIER}/routes", "/v1/routes")
    await seen.ask("GET", f"{base}/wallet/history", f"{of}/{{name}}/history")
