"""What the services answer is what their OpenAPI says."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from jsonschema import Draft202012Validator

from libs.common.describing import name_of
from services.ingest.routes.shapes import SHAPES as OF_INGEST
from services.notifier.routes.shapes import SHAPES as OF_NOTIFIER
from services.scheduler.routes.shapes import SHAPES as OF_SCHEDULER
from tests.e2e.world import MORNING, TODAY, World, borrower, late_loan, payment
from tests.support.wallet import Event, event

NOT_ASKED_HERE = {"postEvents", "releaseTask", "completeTask", "deleteCaseHold", "cancelCasePromise"}
"""Writes whose answers have the shape of one that is asked here, and the one that every test of ours makes."""


async def test_answers_have_the_shape_that_is_promised(world: World) -> None:
    seen = Seen(world)
    await world.publish(*borrower("B1"), late_loan("L1", "B1", days=20, amount=30000), payment("L1", 5000))
    await world.publish(charge(500))
    await world.let_pass(hours=20)
    await world.publish(charge(600))
    await world.quiet()
    await seen.all_of_ingest()
    await world.let_pass(hours=1)
    await seen.all_of_the_scheduler((await world.case("B1"))["case_id"])
    await world.let_pass(hours=1)
    await seen.all_of_the_notifier()
    assert (OF_INGEST.keys() | OF_SCHEDULER.keys() | OF_NOTIFIER.keys()) - seen.names == NOT_ASKED_HERE


def charge(amount: int) -> Event:
    due_on = str(TODAY - timedelta(days=9))
    return event("charge.added", charge_id="c1", loan_id="L1", kind="fee", amount=amount, due_on=due_on)


class Seen:
    """Asks, and holds each answer against what is said of it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.names: set[str] = set()
        self.said: dict[str, Any] = {}

    async def ask(self, method: str, path: str, template: str, body: Any = None, **headers: str) -> Any:
        service = path.split("/")[1]
        if service not in self.said:
            self.said[service] = await self.world.get(f"/{service}/openapi.json")
        said = self.said[service]
        answer = await self.world.http.request(method, path, json=body, headers=headers)
        name = name_of(method, template)
        operation = said["paths"][template][method.lower()]
        assert operation["operationId"] == name
        schema = operation["responses"][str(answer.status_code)]["content"]["application/json"]["schema"]
        errors = list(Draft202012Validator({**schema, "components": said["components"]}).iter_errors(answer.json()))
        assert errors == [], (name, errors[0].message, answer.text)
        if "items" in answer.json() and not path.endswith("switch"):
            assert answer.json()["items"] or name == "getCoverage", name
        self.names.add(name)
        return answer.json()

    async def all_of_ingest(self) -> None:
        await self.ask("GET", "/ingest/v1/loans/L1", "/v1/loans/{loan_id}")
        await self.ask("GET", "/ingest/v1/loans/L1/events", "/v1/loans/{loan_id}/events")
        await self.ask("GET", "/ingest/v1/borrowers/B1/loans", "/v1/borrowers/{borrower_id}/loans")
        await self.ask("PUT", "/ingest/v1/products/other", "/v1/products/{name}", {"grace_days": 3})
        await self.ask("GET", "/ingest/v1/products/other", "/v1/products/{name}")
        parked = await self.ask("GET", "/ingest/v1/parked", "/v1/parked")
        await self.world.http.post(f"/ingest/v1/parked/{parked['items'][0]['id']}:discard", json={"reason": "a test"})

    async def all_of_the_scheduler(self, case_id: str) -> None:
        case, of = f"/scheduler/v1/cases/{case_id}", "/v1/cases/{case_id}"
        await self.ask("GET", "/scheduler/v1/cases", "/v1/cases")
        await self.ask("GET", case, of)
        await self.ask("GET", f"{case}/timeline", f"{of}/timeline")
        await self.ask("GET", f"{case}/next-contact", f"{of}/next-contact")
        await self.ask("GET", "/scheduler/v1/coverage", "/v1/coverage")
        [task, *_] = (await self.ask("GET", "/scheduler/v1/tasks", "/v1/tasks"))["items"]
        await self.ask("GET", f"/scheduler/v1/tasks/{task['task_id']}", "/v1/tasks/{task_id}")
        await self.ask("POST", f"/scheduler/v1/tasks/{task['task_id']}:claim", "/v1/tasks/{task_id}:claim")
        due_on = str(self.world.clock.now().date() + timedelta(days=3))
        await self.ask("POST", f"{case}/promises", f"{of}/promises", {"amount": 100, "due_on": due_on})
        await self.ask("GET", f"{case}/promises", f"{of}/promises")
        await self.ask("POST", f"{case}/holds", f"{of}/holds", {"stop": "vulnerable", "end": {"event": "debt.cured"}})
        await self.ask("GET", f"{case}/holds", f"{of}/holds")
        await self.ask("POST", f"{case}/notes", f"{of}/notes", {"text": "asked for time"})
        await self.ask("POST", f"{case}/contacts", f"{of}/contacts", {"channel": "call", "result": "no_answer"})

    async def all_of_the_notifier(self) -> None:
        [sent, *_] = (await self.ask("GET", "/notifier/v1/deliveries", "/v1/deliveries"))["items"]
        await self.ask("GET", f"/notifier/v1/deliveries/{sent['task_id']}", "/v1/deliveries/{task_id}")
        of = "/v1/borrowers/{borrower_id}"
        await self.ask("GET", "/notifier/v1/borrowers/B1/contacts", f"{of}/contacts")
        await self.ask("GET", "/notifier/v1/borrowers/B1/preferences", f"{of}/preferences")
        await self.ask("PUT", "/notifier/v1/borrowers/B1/preferences", f"{of}/preferences", {"language": "en"})
        await self.ask("GET", "/notifier/v1/sandbox/messages", "/v1/sandbox/messages")
        await self.ask("PUT", "/notifier/v1/switch", "/v1/switch", {"scope": "all", "contacts": "on", "reason": "a test"})
        await self.ask("GET", "/notifier/v1/switch", "/v1/switch")
        asked = {"borrower_id": "B1", "debt": "L1", "channel": "call", "by": "anna"}
        await self.ask("POST", "/notifier/v1/contacts:authorize", "/v1/contacts:authorize", asked)
        proposed = {"at": MORNING.isoformat(), "channel": "sms", "debt": "L1", "purpose": "dunning"}
        check = {"jurisdictions": ["ZZ", "XX"], "timezones": ["Asia/Shanghai"], "proposed": proposed}
        await self.ask("POST", "/notifier/v1/compliance/check", "/v1/compliance/check", check)
