"""Every list of the services comes in pages that give each item once, and no empty page after the last."""

from __future__ import annotations

from typing import Any

from tests.e2e.world import World, borrower, late_loan, payment
from tests.support.wallet import event

IDS = {"loan_id": "L1", "borrower_id": "B1"}
NAMES = {"/notifier/v1/providers/{name}/history": "relay"}
"""The names in paths that are neither a policy nor a template."""
EMPTY_HERE = {
    "/scheduler/v1/cases/{case_id}/disputes", "/scheduler/v1/cases/{case_id}/complaints", "/scheduler/v1/cases/{case_id}/hardships",
    "/scheduler/v1/cases/{case_id}/wrong-numbers", "/scheduler/v1/cases/{case_id}/promises", "/scheduler/v1/assignments/history",
    "/scheduler/v1/simulations", "/scheduler/v1/coverage", "/scheduler/v1/cases/{case_id}/offers", "/scheduler/v1/cases/{case_id}/plans",
    "/scheduler/v1/assignments", "/notifier/v1/borrowers/{borrower_id}/replies", "/notifier/v1/borrowers/{borrower_id}/suppressions",
    "/notifier/v1/routes", "/notifier/v1/switch",
}  # fmt: skip
"""Lists that this story leaves empty; their pages are cut by the same function."""
MOST_PAGES = 200


async def test_every_list_gives_each_item_once_and_says_so_on_its_last_page(world: World) -> None:
    await world.publish(*borrower("B1"), late_loan("L1", "B1", days=20, amount=30000), late_loan("L2", "B1", days=3))
    paid = payment("L1", 5000)
    await world.publish(paid)
    for amount in (7, 8, 9):  # each is a conflict and gets parked
        await world.publish({**paid, "data": {**paid["data"], "amount": amount}})
    await world.publish(event("charge.added", charge_id="c1", loan_id="L1", kind="fee", amount=500, due_on="2026-11-20"))
    await world.let_pass(hours=24)
    for reason in ("one", "two", "three"):
        await write(world, reason)
        await world.publish({**event("feed.heartbeat", source=reason, every_s=3600), "source": reason})
    empty = set()
    for path in await lists_of(world):
        ids = {**IDS, "name": NAMES.get(path, "gentle"), "case_id": (await world.case("B1"))["case_id"]}
        at = path.format(**ids)
        if not await holds(world, path, at):
            empty.add(path)
        for cursor in ("L1", "7", "2026-11-24T10:00:00+00:00~x"):
            assert (await world.http.get(at, params={"cursor": cursor})).status_code == 422, path
    assert empty == EMPTY_HERE


async def write(world: World, reason: str) -> None:
    """Write one of everything that people write."""
    case = f"/scheduler/v1/cases/{(await world.case('B1'))['case_id']}"
    asked: list[tuple[str, str, Any]] = [
        ("POST", f"{case}/holds", {"stop": "vulnerable", "end": {"event": "debt.cured"}, "reason": reason}),
        ("POST", "/scheduler/v1/borrowers/B1/links", None),
        ("POST", "/scheduler/v1/policies", {"policy": "gentle", "steps": []}),
        ("PUT", "/notifier/v1/borrowers/B1/preferences", {"language": "en", "reason": reason}),
        ("POST", "/notifier/v1/templates", {"name": "gentle", "locale": "en", "channel": "sms", "body": "{{ lender }}: {{ total }}"}),
        ("PUT", "/notifier/v1/providers/relay", {"kind": "smtp", "settings": {"host": "127.0.0.1", "from": f"{reason}@example.org"}}),
        *(("PUT", f"/{service}/v1/settings", {}) for service in ("ingest", "scheduler", "notifier")),
    ]
    for method, path, body in asked:
        answer = await world.http.request(method, path, json=body, headers={"If-Match": "*"} if method == "PUT" else {})
        assert answer.status_code < 300, (path, answer.text)


async def lists_of(world: World) -> list[str]:
    """Return the path of each paged list, from the services' own descriptions."""
    found = []
    for service in ("ingest", "scheduler", "notifier"):
        paths = (await world.get(f"/{service}/openapi.json"))["paths"]
        for path, operations in paths.items():
            names = {one["name"] for one in operations.get("get", {}).get("parameters", ())}
            if "cursor" in names:
                found.append(f"/{service}{path}")
    return found


async def holds(world: World, path: str, at: str) -> bool:
    """Tell whether a list has any items; if so, check its pages."""
    items = (await world.get(at, limit=100))["items"]
    if not items:
        return False
    assert (await world.get(at, limit=len(items)))["next"] is None, path
    seen: list[Any] = []
    cursor: dict[str, str] = {}
    for _ in range(MOST_PAGES):
        page = await world.get(at, limit=1, **cursor)
        assert page["items"], path
        seen += page["items"]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert seen == items, path
    return True
