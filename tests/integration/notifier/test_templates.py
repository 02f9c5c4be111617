"""Texts over HTTP: drafted, tried, published, used by the next claim, retired."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from libs.common.auth import Principal, add_key
from libs.common.page_links import PageLinks
from tests.integration.notifier.world import NIGHT, World, a_world
from tests.support.postgres import Databases

A_TEXT = {
    "name": "gentle", "locale": "en", "channel": "sms",
    "body": "{{ lender }} says hello{% if name %}, {{ name }}{% endif %}: {{ total }} is open."
    "{% if itemise %} {{ split.principal }} {{ split.interest }} {{ split.fee }} {{ split.penalty }}{% endif %}"
    "{% if opt_out %} Reply STOP to opt out.{% endif %}",
}  # fmt: skip


async def send(world: World, method: str, path: str, status: int = 200, **options: Any) -> Any:
    answer = await world.call(method, path, **options)
    assert answer.status_code == status, answer.text
    return answer.json()


async def drafted(world: World, **changes: Any) -> int:
    made = await send(world, "POST", "/v1/templates", 201, json={**A_TEXT, **changes})
    assert (made["state"], made["created_by"]) == ("draft", "anna")
    number: int = made["version"]
    return number


async def published(world: World, **changes: Any) -> int:
    version = await drafted(world, **changes)
    made = await send(world, "POST", f"/v1/templates/{changes.get('name', 'gentle')}/versions/{version}:publish")
    assert (made["state"], made["published_by"]) == ("published", "anna")
    return version


async def said_to(world: World, borrower: str, **profile: Any) -> str:
    await world.late_borrower(borrower, **profile)
    await world.request(borrower)
    await world.service.pump()
    [message] = await world.messages(borrower)
    body: str = message["body"]
    return body


async def test_a_published_version_is_what_the_next_contact_says_and_its_delivery_names_it(databases: Databases) -> None:
    async with a_world(databases) as world:
        assert "we have not yet received" in await said_to(world, "b1")
        assert (await world.delivery("b1"))["text"] == {"locale": "en", "version": 0}
        draft = await drafted(world)
        assert "we have not yet received" in await said_to(world, "b2")
        await send(world, "POST", f"/v1/templates/gentle/versions/{draft}:publish")
        assert await said_to(world, "b3") == "Dunwell says hello, Li Wei: CNY 120.50 is open."
        shown = await world.delivery("b3")
        assert shown["text"] == {"locale": "en", "version": draft}
        assert [(one["locale"], one["version"]) for one in shown["attempts"]] == [("en", draft)]
        assert (await world.delivery("b1"))["text"] == {"locale": "en", "version": 0}


async def test_the_version_is_chosen_when_the_contact_goes_out_and_not_when_it_was_asked_for(databases: Databases) -> None:
    async with a_world(databases, at=NIGHT) as world:
        await world.late_borrower("b1")
        await world.request("b1")
        await world.service.pump()
        assert (await world.delivery("b1"))["text"] is None
        version = await published(world)
        await world.pass_to(NIGHT.replace(hour=23))
        await world.pass_to(NIGHT.replace(day=25, hour=2))
        assert (await world.delivery("b1"))["text"] == {"locale": "en", "version": version}


async def test_publishing_retires_the_one_before_and_retiring_gives_the_shipped_one_back(databases: Databases) -> None:
    async with a_world(databases) as world:
        first, second = await published(world), await published(world, body="{{ lender }}: second, {{ total }}", jurisdictions=["ZZ"])
        items = (await world.get("/v1/templates/gentle/versions"))["items"]
        assert [(one["version"], one["state"]) for one in items if one["version"]] == [(first, "retired"), (second, "published")]
        assert {one["state"] for one in items if one["version"] == 0} == {"shipped"}
        assert "second" in await said_to(world, "b1")
        await send(world, "POST", f"/v1/templates/gentle/versions/{second}:retire")
        assert "we have not yet received" in await said_to(world, "b2")


@pytest.mark.parametrize(("move", "then"), [("publish", "publish"), ("retire", "publish"), ("retire", "retire")])
async def test_a_version_moves_only_forward(databases: Databases, move: str, then: str) -> None:
    async with a_world(databases) as world:
        path = f"/v1/templates/gentle/versions/{await drafted(world)}"
        await send(world, "POST", f"{path}:{move}")
        before = await world.get(path)
        assert (await send(world, "POST", f"{path}:{then}", 409))["code"] == "wrong_state"
        assert await world.get(path) == before


async def test_what_is_shipped_can_be_read_and_neither_published_nor_retired(databases: Databases) -> None:
    async with a_world(databases) as world:
        shown = await world.get("/v1/templates/gentle/versions/0", locale="zh", channel="push")
        assert (shown["state"], shown["subject"]) == ("shipped", "{{ lender }}")
        for path, status, code in [
            ("/gentle/versions/0:publish", 409, "wrong_state"), ("/gentle/versions/0:retire", 409, "wrong_state"),
            ("/gentle/versions/7:publish", 404, "not_found"), ("/nobody/versions/0:retire", 404, "not_found"),
        ]:  # fmt: skip
            assert (await send(world, "POST", f"/v1/templates{path}", status))["code"] == code
        assert (await world.call("GET", "/v1/templates/gentle/versions/0")).status_code == 422
        assert (await world.call("GET", "/v1/templates/gentle/versions/0?locale=fr&channel=sms")).status_code == 404
        assert (await world.call("GET", "/v1/templates/gentle/versions/99999999999")).status_code == 404
        assert (await world.call("GET", "/v1/templates/nobody/versions")).status_code == 404


WRONG: list[tuple[dict[str, Any], str, str | None, str]] = [
    ({"body": "{{ ''.__class__ }}"}, "template", "body", "only documented placeholders have fields"),
    ({"body": "{% for a in range(9) %}x{% endfor %}"}, "template", "body", "a loop can only go over debts"),
    ({"body": "{{ total }} is open"}, "identity", None, "the lender is not named"),
    ({"body": "{{ lender }}: pay or we call the police"}, "forbidden_wording", "body", "arrest: a loan debt is no crime"),
    ({"body": "{{ lender }}: {{ total }}"}, "amount_split", None, "a part of the sum is not named"),
    ({"channel": "email", "subject": "You owe {{ total }}"}, "neutral_preview", "subject", "a stranger may read an amount"),
    ({"channel": "push", "subject": "{{ lender }}"}, "neutral_preview", "body", "a stranger may read an amount"),
    ({"subject": "x"}, "template", "subject", "email, push and inbox have a subject, sms has none"),
    ({"locale": "fr"}, "forbidden_wording", None, "there is no list of forbidden wording for 'fr'"),
    ({"channel": "inbox", "subject": "a", "body": "{{ lender }} {% for d in debts %}" + "x" * 500 + "{% endfor %}"}, "template", None,
     "the text has"),
]  # fmt: skip


async def test_a_draft_may_be_wrong_and_says_so_and_is_not_published(databases: Databases) -> None:
    async with a_world(databases) as world:
        for changes, kind, part, detail in WRONG:
            made = await send(world, "POST", "/v1/templates", 201, json={**A_TEXT, **changes})
            path = f"/v1/templates/gentle/versions/{made['version']}"
            refused = await send(world, "POST", f"{path}:publish", 422)
            assert (refused["code"], refused["problems"]) == ("template_refused", made["problems"])
            found = [p for p in made["problems"] if (p["kind"], p["part"]) == (kind, part) and p["detail"].startswith(detail)]
            assert found, made["problems"]
            assert (await world.get(path))["state"] == "draft"


async def test_a_text_for_named_jurisdictions_need_only_do_what_these_ask(databases: Databases) -> None:
    async with a_world(databases) as world:
        plain = {"body": "{{ lender }}: {{ total }}"}
        assert (await send(world, "POST", "/v1/templates", 201, json={**A_TEXT, **plain}))["problems"] != []
        await published(world, **plain, jurisdictions=["CN", "ZZ"])
        assert (await send(world, "POST", "/v1/templates", 422, json={**A_TEXT, "jurisdictions": ["XX"]}))["code"] == "invalid_template"


async def test_a_text_that_the_readers_jurisdiction_refuses_is_set_aside_and_nobody_else_waits(databases: Databases) -> None:
    async with a_world(databases) as world:
        await published(world, name="ours", body="{{ lender }}: {{ total }}, {{ variables.more }}", jurisdictions=["ZZ"])
        for borrower, more in [("b1", "you will be arrested"), ("b2", "thank you")]:
            await world.late_borrower(borrower)
            await world.request(borrower, template="ours", channels=("sms",), variables={"more": more})
        await world.late_borrower("b3")
        await world.request("b3", template="ours", channels=("sms",))
        await world.service.pump()
        assert [(await world.delivery(b))["state"] for b in ("b1", "b2", "b3")] == ["failed", "delivered", "failed"]
        assert [(await world.delivery(b))["reason"] for b in ("b1", "b3")] == ["content_refused", "in_doubt"]
        assert [message["body"] for message in await world.messages()] == ["Dunwell: CNY 120.50, thank you"]
        assert (await world.delivery("b1"))["attempts"] == []


async def test_where_a_tenants_own_text_is_refused_the_shipped_one_goes_out_and_the_record_says_why(databases: Databases) -> None:
    async with a_world(databases) as world:
        version = await published(world, body="{{ lender }}: {{ total }}, {{ variables.more }}", jurisdictions=["ZZ"])
        for borrower, more in [("b1", "you will be arrested"), ("b2", "thank you")]:
            await world.late_borrower(borrower)
            await world.request(borrower, variables={"more": more})
        await world.service.pump()
        refused, allowed = sorted([one["body"] for one in await world.messages()], key=lambda body: "thank you" in body)
        assert "we have not yet received" in refused
        assert allowed == "Dunwell: CNY 120.50, thank you"
        shown = await world.delivery("b1")
        (attempt,) = shown["attempts"]
        assert (shown["state"], shown["text"], attempt["version"]) == ("delivered", {"locale": "en", "version": 0}, 0)
        assert attempt["instead_of"] == {"version": version, "reason": "forbidden_wording in body"}
        assert (await world.delivery("b2"))["attempts"][0]["instead_of"] is None
        assert 'dunwell_texts_replaced_total{channel="sms"} 1.0' in (await world.call("GET", "/metrics")).text


async def test_a_shipped_text_of_another_purpose_does_not_stand_in_for_a_refused_one(databases: Databases) -> None:
    async with a_world(databases) as world:
        await published(world, body="{{ lender }}: {{ variables.more }}", purpose="notice", jurisdictions=["ZZ"])
        await world.late_borrower("b1")
        await world.request("b1", purpose="notice", variables={"more": "you will be arrested"})
        await world.service.pump()
        assert [(await world.delivery("b1"))[what] for what in ("state", "reason", "attempts")] == ["failed", "content_refused", []]


async def test_a_reader_gets_the_tenants_own_text_in_the_nearest_locale(databases: Databases) -> None:
    async with a_world(databases) as world:
        for locale in ("zh-hant", "zh_Hant_HK"):
            await published(world, locale=locale, body="{{ lender }} " + locale.replace("_", "-"), jurisdictions=["ZZ"])
        assert await said_to(world, "b1", locale="zh-Hant-TW") == "Dunwell zh-hant"
        assert await said_to(world, "b2", locale="zh_hant_hk") == "Dunwell zh-Hant-HK"
        assert "您好" in await said_to(world, "b3", locale="zh-CN")
        assert "we have not" in await said_to(world, "b4", locale="fr-FR")
        await send(world, "PUT", "/v1/settings", json={"default_locale": "es-MX"}, headers={"If-Match": '"0"'})
        assert "no hemos recibido CNY 120.50" in await said_to(world, "b5", locale="fr-FR")


async def test_a_mail_may_have_html_in_which_a_name_is_only_text(databases: Databases) -> None:
    async with a_world(databases) as world:
        html = "<p>{{ lender }}: {{ total }} {{ variables.more }}</p>"
        await published(world, channel="email", subject="Hello", body="{{ lender }}: {{ total }}", html=html, jurisdictions=["ZZ"])
        await world.late_borrower("b1", addresses={"email": "li@example.com"})
        await world.request("b1", variables={"more": "<b>&"})
        await world.service.pump()
        [message] = await world.messages("b1")
        assert (message["subject"], message["body"]) == ("Hello", "Dunwell: CNY 120.50")
        assert message["html"] == "<p>Dunwell: CNY 120.50 &lt;b&gt;&amp;</p>"


async def test_the_brand_of_the_settings_is_who_speaks(databases: Databases) -> None:
    async with a_world(databases) as world:
        assert "Dunwell:" in await said_to(world, "b1")
        await send(world, "PUT", "/v1/settings", json={"brand": {"name": "Acme Wallet"}}, headers={"If-Match": '"0"'})
        assert (await said_to(world, "b2")).startswith("Acme Wallet: Dear Li Wei")


async def test_settings_are_written_by_who_has_read_them_last(databases: Databases) -> None:
    async with a_world(databases) as world:
        assert (await world.get("/v1/settings"))["version"] == 0
        body = {"brand": {"name": "Acme"}}
        assert (await world.call("PUT", "/v1/settings", json=body)).status_code == 428
        await send(world, "PUT", "/v1/settings", json=body, headers={"If-Match": '"0"'})
        assert (await send(world, "PUT", "/v1/settings", 412, json=body, headers={"If-Match": '"0"'}))["code"] == "changed_meanwhile"
        shown = await world.call("GET", "/v1/settings")
        assert (shown.headers["etag"], shown.json()["settings"]["brand"]["name"], shown.json()["by"]) == ('"1"', "Acme", "anna")
        both = await asyncio.gather(*(world.call("PUT", "/v1/settings", json=body, headers={"If-Match": '"1"'}) for _ in range(2)))
        assert sorted(answer.status_code for answer in both) == [200, 412]


async def test_versions_drafted_and_published_at_the_same_time_are_one_after_the_other(databases: Databases) -> None:
    async with a_world(databases) as world:
        versions = await asyncio.gather(*(drafted(world) for _ in range(5)))
        assert sorted(versions) == [1, 2, 3, 4, 5]
        moves = await asyncio.gather(*(world.call("POST", f"/v1/templates/gentle/versions/{v}:publish") for v in versions))
        assert [answer.status_code for answer in moves] == [200] * 5
        states = [one["state"] for one in (await world.get("/v1/templates/gentle/versions"))["items"] if one["version"]]
        assert sorted(states) == ["published"] + ["retired"] * 4


async def test_a_list_names_what_is_in_force_page_by_page(databases: Databases) -> None:
    async with a_world(databases) as world:
        version = await published(world)
        await drafted(world, name="welcome")
        items: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            page = await world.get("/v1/templates", limit="10", cursor=cursor)
            items += page["items"]
            if (cursor := page["next"]) is None:
                break
        by_place = {(one["name"], one["locale"], one["channel"]): (one["state"], one["version"], one["drafts"]) for one in items}
        assert len(by_place) == len(items) == 7 * 3 * 4 + 1
        assert by_place["gentle", "en", "sms"] == ("published", version, 0)
        assert by_place["gentle", "zh", "sms"] == ("shipped", 0, 0)
        assert by_place["welcome", "en", "sms"] == ("none", None, 1)


async def test_a_key_without_the_scope_is_refused_and_another_tenant_sees_and_changes_nothing(databases: Databases) -> None:
    async with a_world(databases) as world:
        version = await published(world)
        async with world.engine.begin() as conn:
            await add_key(conn, "notifier", "dw_reader", Principal("default", None, frozenset({"contacts:read", "ops"})))
            await add_key(conn, "notifier", "dw_other", Principal("other", "eve", frozenset({"templates:write", "contacts:read"})))
        reader, other = ({"Authorization": f"Bearer {key}"} for key in ("dw_reader", "dw_other"))
        for method, path in [
            ("GET", "/v1/templates"), ("POST", "/v1/templates"), ("POST", "/v1/templates:preview"),
            ("GET", "/v1/templates/gentle/versions"),
            ("POST", f"/v1/templates/gentle/versions/{version}:retire"), ("POST", f"/v1/templates/gentle/versions/{version}:publish"),
        ]:  # fmt: skip
            assert (await world.call(method, path, headers=reader)).status_code == 403
        path = f"/v1/templates/gentle/versions/{version}"
        assert (await world.call("GET", path, headers=other)).status_code == 404
        assert (await world.call("POST", f"{path}:retire", headers=other)).status_code == 404
        listed = (await world.call("GET", "/v1/templates/gentle/versions", headers=other)).json()["items"]
        assert {one["version"] for one in listed} == {0}
        preview = await world.call(
            "POST", "/v1/templates:preview", headers=other, json={"name": "gentle", "locale": "en", "channel": "sms"}
        )
        assert preview.json()["template"]["version"] == 0
        mine = await world.call("POST", "/v1/templates", headers=other, json=A_TEXT)
        assert mine.json()["version"] == 1
        assert (await world.call("PUT", "/v1/settings", headers=other, json={})).status_code == 403


UNKEEPABLE: list[dict[str, Any]] = [
    {"name": "a b"}, {"name": ""}, {"locale": "xx-YY"}, {"locale": "en-" + "a" * 50}, {"channel": "call"}, {"body": ""},
    {"body": "x" * 8001}, {"purpose": "spam"}, {"more": 1}, {"jurisdictions": []}, {"body": "a\u0000b"},
]  # fmt: skip


async def test_a_draft_that_cannot_be_kept_is_refused(databases: Databases) -> None:
    async with a_world(databases) as world:
        for changes in UNKEEPABLE:
            assert (await send(world, "POST", "/v1/templates", 422, json={**A_TEXT, **changes}))["code"] == "invalid_template", changes


async def test_a_preview_shows_text_parts_encoding_and_cost(databases: Databases) -> None:
    async with a_world(databases) as world:
        asked = {
            "name": "gentle", "locale": "es-MX", "channel": "sms", "jurisdictions": ["MX"], "borrower_name": "Ana",
            "debts": [{"principal": 100_000, "interest": 2_000, "currency": "MXN", "due_on": "2026-11-01"}],
            "price_per_part": {"millionths": 7_900, "currency": "USD"},
        }  # fmt: skip
        made = await send(world, "POST", "/v1/templates:preview", json=asked)
        assert made["template"] == {"name": "gentle", "version": 0, "locale": "es", "channel": "sms"}
        assert made["body"].startswith("Dunwell: Hola, Ana: no hemos recibido MXN 1,020.00 (vencimiento 2026-11-01).")
        sms = made["sms"]
        assert (sms["encoding"], sms["parts"], sms["forcing"]) == ("gsm7", 2, [])
        assert "".join(sms["texts"]) == made["body"]
        assert sms["cost"] == {"millionths": 15_800, "amount": 2, "currency": "USD"}
        assert (made["problems"], made["asks"]) == ([], ["forbidden_wording", "identity"])
        dear = await send(world, "POST", "/v1/templates:preview", json={**asked, "borrower_name": "Анна", "price_per_part": None})
        assert (dear["sms"]["encoding"], dear["sms"]["cost"]) == ("ucs2", None)
        assert dear["sms"]["forcing"] == ["А", "н", "а"]  # noqa: RUF001  # the Cyrillic letters make it expensive
        await send(
            world, "PUT", "/v1/settings", json={"sms_part_price": {"millionths": 45_000, "currency": "CNY"}}, headers={"If-Match": "0"}
        )
        priced = await send(world, "POST", "/v1/templates:preview", json={**asked, "price_per_part": None})
        assert priced["sms"]["cost"] == {"millionths": 90_000, "amount": 9, "currency": "CNY"}


async def test_a_preview_shows_an_example_of_the_link_where_messages_carry_one(databases: Databases) -> None:
    asked = {"locale": "en", "channel": "sms", "body": "{{ lender }}: {{ total }}{% if link %} {{ link }}{% endif %}"}
    async with a_world(databases) as world:
        assert "https" not in (await send(world, "POST", "/v1/templates:preview", json=asked))["body"]
    async with a_world(databases, links=PageLinks("https://pay.example", b"k" * 32)) as world:
        made = await send(world, "POST", "/v1/templates:preview", json=asked)
        assert made["body"].endswith(f" https://pay.example/b/{'A' * 32}")
        await send(world, "PUT", "/v1/settings", json={"link_channels": ["email"]}, headers={"If-Match": "0"})
        assert "https" not in (await send(world, "POST", "/v1/templates:preview", json=asked))["body"]


async def test_a_text_can_be_tried_before_it_is_kept(databases: Databases) -> None:
    async with a_world(databases) as world:
        asked = {
            "locale": "en",
            "channel": "email",
            "subject": "Your debt",
            "body": "{{ lender }}: {{ variables.n }}",
            "variables": {"n": 3},
        }
        made = await send(world, "POST", "/v1/templates:preview", json={**asked, "jurisdictions": ["US-FED-REGF"]})
        assert (made["subject"], made["body"], made["sms"]) == ("Your debt", "Dunwell: 3", None)
        assert [(one["kind"], one["part"]) for one in made["problems"]] == [("opt_out", None), ("neutral_preview", "subject")]
        html = {**asked, "subject": "Hello", "html": "<p>{{ lender }} {{ name }}</p>", "borrower_name": "<b>", "jurisdictions": ["ZZ"]}
        assert (await send(world, "POST", "/v1/templates:preview", json=html))["html"] == "<p>Dunwell &lt;b&gt;</p>"
        wrong = await send(world, "POST", "/v1/templates:preview", json={**asked, "body": "{{ nobody }}"})
        assert (wrong["body"], wrong["problems"][0]["detail"]) == (None, "there is no placeholder 'nobody'")
        missing = await send(world, "POST", "/v1/templates:preview", json={**asked, "variables": {}})
        assert (missing["body"], missing["problems"][0]["kind"]) == (None, "template")
        assert (await world.get("/v1/templates/gentle/versions"))["items"][-1]["version"] == 0


async def test_a_preview_shows_the_version_that_is_asked_for(databases: Databases) -> None:
    async with a_world(databases) as world:
        first = await published(world)
        second = await drafted(world, body="{{ lender }}: second, {{ total }}")
        for version, begins in [
            (None, "Dunwell says hello"),
            (0, "Dunwell: Dear"),
            (first, "Dunwell says hello"),
            (second, "Dunwell: second"),
        ]:
            asked = {"name": "gentle", "locale": "en", "channel": "sms", "version": version}
            assert (await send(world, "POST", "/v1/templates:preview", json=asked))["body"].startswith(begins)
        for changes in ({"version": 99}, {"version": first, "locale": "zh"}, {"name": "nobody"}, {"version": 0, "locale": "zh-CN"}):
            lacking: dict[str, object] = {"name": "gentle", "locale": "en", "channel": "sms", **changes}
            assert (await send(world, "POST", "/v1/templates:preview", 404, json=lacking))["code"] == "not_found"


UNTRIABLE: list[dict[str, Any]] = [
    {"name": "gentle"}, {"body": None}, {"body": None, "name": "gentle", "subject": "x"}, {"version": 1}, {"debts": []},
    {"debts": [{"currency": "XX"}]}, {"debts": [{"principal": -1}]}, {"price_per_part": {"millionths": -1, "currency": "USD"}},
    {"jurisdictions": ["XX"]}, {"locale": "qq"}, {"variables": []},
]  # fmt: skip


async def test_a_preview_that_cannot_be_tried_is_refused(databases: Databases) -> None:
    async with a_world(databases) as world:
        for changes in UNTRIABLE:
            asked = {"locale": "en", "channel": "sms", "body": "x", **changes}
            await send(world, "POST", "/v1/templates:preview", 422, json=asked)


async def test_the_check_judges_a_text_that_is_put_to_it(databases: Databases) -> None:
    async with a_world(databases) as world:
        proposed = {"at": "2026-11-30T12:00:00+08:00", "channel": "sms", "debt": "A"}
        asked = {"jurisdictions": ["ZZ"], "timezones": ["Asia/Shanghai"]}
        for content, rules in [
            (None, []), ("please pay", []), ("we will have you arrested", ["content-base"]),
            ({"body": "please pay", "lender": "Acme"}, ["content-base"]), ({"body": "Acme: please pay", "lender": "Acme"}, []),
        ]:  # fmt: skip
            said = await send(world, "POST", "/v1/compliance/check", json={**asked, "proposed": {**proposed, "content": content}})
            assert [rule["rule"] for rule in said["rules"]] == rules


async def test_the_description_says_what_a_draft_and_a_preview_take(databases: Databases) -> None:
    async with a_world(databases) as world:
        paths = (await world.get("/openapi.json"))["paths"]
        for path, needed in [("/v1/templates", ["name", "locale", "channel", "body"]), ("/v1/templates:preview", ["locale", "channel"])]:
            schema = paths[path]["post"]["requestBody"]["content"]["application/json"]["schema"]
            assert schema["required"] == needed
            assert "$ref" not in json.dumps(schema)
        assert "brand" in paths["/v1/settings"]["put"]["requestBody"]["content"]["application/json"]["schema"]["properties"]
