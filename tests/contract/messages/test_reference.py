"""`/docs`: every call on a page that a browser shows without the internet and without scripts."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from libs.common.reference import Reference
from tests.support.built import built_platform

SERVICES = ("ingest", "scheduler", "notifier")
ABROAD = re.compile(r"""(?:src|href|action)\s*=\s*["']?(?:https?:)?//""")


class Read(HTMLParser):
    """Collects ids, links within the page and names of elements; an unclosed element is reported."""

    VOID = frozenset({"meta", "br", "link"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: set[str] = set()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.text: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.seen.add(tag)
        self.ids += [given["id"] or ""] if "id" in given else []
        self.links |= {given["href"] or ""} if "href" in given else set()
        self.open += [] if tag in self.VOID else [tag]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.mark.parametrize("service", SERVICES)
async def test_the_page_has_every_call_and_every_schema_and_nothing_from_elsewhere(service: str) -> None:
    async with built_platform() as (_, client):
        said: Any = (await client.get(f"/{service}/openapi.json")).json()
        shown = await client.get(f"/{service}/docs")
    assert (shown.status_code, shown.headers["content-type"]) == (200, "text/html; charset=utf-8")
    policy = shown.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "script" not in policy
    read = Read(shown.text)
    assert not read.seen & {"script", "link", "img", "iframe", "form"}
    assert ABROAD.search(shown.text) is None
    assert len(read.ids) == len(set(read.ids))
    calls = {operation["operationId"] for operations in said["paths"].values() for operation in operations.values()}
    assert calls | {f"schema-{name}" for name in said["components"]["schemas"]} <= set(read.ids)
    assert {link.removeprefix("#") for link in read.links if link.startswith("#")} <= set(read.ids)
    assert {link for link in read.links if not link.startswith("#")} == {"openapi.json", "asyncapi.json"}


def test_what_a_document_says_is_text_and_never_markup() -> None:
    evil = "<script>alert(1)</script>"
    parameters = [{"name": evil, "in": "query", "schema": {"description": evil}}]
    operation = {"operationId": "a", "tags": [evil], "summary": evil, "security": [], "parameters": parameters, "responses": {}}
    said = {"info": {"title": evil, "version": "1", "summary": evil}, "paths": {evil: {"get": operation}}}
    page = Reference.load().render(said)
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 6
