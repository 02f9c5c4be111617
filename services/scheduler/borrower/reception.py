"""Identifies whoever comes with a link, and handles the forms of the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.responses import Response

from libs.common.errors import DomainError
from libs.common.tenant_settings import store as settings_store
from services.scheduler.borrower.acts import READERS, Act, Actor, Answering, Form, Promising, UnclearError, debt_of
from services.scheduler.borrower.linking import Links
from services.scheduler.borrower.page import BorrowerPage, Screen, Whole, Wrong
from services.scheduler.borrower.settings import PageSettings
from services.scheduler.borrower.sight import CaseSeen, seen_by
from services.scheduler.borrower.statement import statement_of
from services.scheduler.borrower.wishes import wishes_of
from services.scheduler.borrower.words import Tongue, tongue_of
from services.scheduler.domain.links import Link, Standing, is_form_key
from services.scheduler.rulebook import Rulebook
from services.scheduler.tables import SCHEMA

STATUS = {"not_digits": 422, "wrong": 403, "away": 503}
REFUSED = {
    "promise_refused": "no_more_promises", "nothing_owed": "nothing_open", "offer_stands": "offer_stands", "expired": "offer_gone",
    "wrong_state": "offer_gone", "not_found": "offer_gone",
}  # fmt: skip
SHOWING = frozenset({"statement", "choose"})
"""Acts that change nothing: showing a debt's statement, and showing the contact preferences."""
LONGEST_NAME = 64
"""Length limit of the name that makes a form take effect only once."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who holds a link: its current state, and what is needed to render a page for them."""

    link: Link
    screen: Screen
    settings: PageSettings
    standing: Standing
    now: datetime

    @property
    def tongue(self) -> Tongue:
        """Return the language of the page."""
        return self.screen.tongue


@dataclass(frozen=True, slots=True)
class Asked:
    """What a browser sends besides a form: the token, and the languages its reader wants, most preferred first."""

    token: str
    languages: tuple[str | None, ...]
    from_elsewhere: bool = False
    """Whether the browser says that another site sent it."""


@dataclass(frozen=True, slots=True)
class Reception:
    """Shows the page and handles its forms."""

    engine: AsyncEngine
    links: Links
    actor: Actor
    page: BorrowerPage
    rulebook: Rulebook

    async def shown(self, asked: Asked) -> Response:
        """Ask for the second factor; show no debt and change nothing, because programs open every link in a message."""
        visitor = await self._visitor(asked)
        if visitor is None:
            return self._gone(asked)
        if visitor.standing is Standing.LOCKED:
            return self.page.plain(visitor.screen, "locked", 403)
        return self.page.gate(visitor.screen)

    async def posted(self, asked: Asked, form: Form) -> Response:
        """Do what a form asks for, if we made it for this link and visit."""
        visitor = await self._visitor(asked)
        if visitor is None:
            return self._gone(asked)
        visit = form.get("visit", "")
        ours = not asked.from_elsewhere and is_form_key(form.get("key", ""), asked.token, visit)
        if ours and visit and visitor.link.visited_with(visit, visitor.now):
            return await self._act(replace(visitor, screen=replace(visitor.screen, visit=visit)), form)
        if visitor.standing is Standing.LOCKED:
            return self.page.plain(visitor.screen, "locked", 403)
        if not ours or form.get("act") != "open":
            return self.page.gate(visitor.screen, alert=visitor.tongue.say("stale"), status=403)
        return await self._open(asked, visitor, form.get("digits", ""))

    async def _visitor(self, asked: Asked) -> Visitor | None:
        link, now = await self.links.find(asked.token)
        standing = Standing.GONE if link is None else link.standing(now)
        if link is None or standing is Standing.GONE:
            return None
        async with self.engine.connect() as conn:
            kept = (await settings_store.current(conn, SCHEMA, [link.tenant])).get(link.tenant)
        settings = PageSettings() if kept is None else msgspec.json.decode(kept.settings, type=PageSettings)
        tongue = tongue_of([*asked.languages, settings.default_locale])
        return Visitor(link, Screen(tongue, settings.lender(link.tenant), asked.token), settings, standing, now)

    def _gone(self, asked: Asked) -> Response:
        """Say that a link does not work, in the same words whether it expired, was revoked or never existed."""
        return self.page.plain(Screen(tongue_of(asked.languages)), "gone", 404)

    async def _open(self, asked: Asked, visitor: Visitor, typed: str) -> Response:
        opened, say = await self.links.open(visitor.link, typed), visitor.tongue.say
        if opened.visit is not None:
            return await self._whole(replace(visitor, screen=replace(visitor.screen, visit=opened.visit)))
        match opened.why:
            case "gone":
                return self._gone(asked)
            case "locked":
                return self.page.plain(visitor.screen, "locked", 403)
            case "wrong":
                alert = say("wrong_one") if opened.left == 1 else say("wrong_many", left=opened.left)
            case _:
                alert = say(opened.why)
        return self.page.gate(visitor.screen, alert=alert, status=STATUS[opened.why])

    async def _act(self, visitor: Visitor, form: Form) -> Response:
        name, say = form.get("act", ""), visitor.tongue.say
        if name not in SHOWING | READERS.keys():
            return await self._whole(visitor)
        if not await self.links.may_act(visitor.link):
            return await self._whole(visitor, alert=say("too_often"), status=429)
        case = next((one for one in await self._cases(visitor) if one.case_id == form.get("case")), None)
        if case is None:
            return await self._whole(visitor, alert=say("away"), status=409)
        match name:
            case "statement":
                return await self._statement(visitor, case, form)
            case "choose":
                return await self._choice(visitor, case)
            case _:
                return await self._do(visitor, case, name, form)

    async def _do(self, visitor: Visitor, case: CaseSeen, name: str, form: Form) -> Response:
        try:
            act = READERS[name](form, case)
            if isinstance(act, Promising) and not form.get("yes"):
                return self.page.check(visitor.screen, case, act, form)
            await self.actor.do(visitor.link, case.case_id, act, once=form.get("once", "")[:LONGEST_NAME])
        except UnclearError as error:
            wrong = _wrong(visitor.tongue, case, name, error, form)
            if name == "wishes":
                return await self._choice(visitor, case, wrong)
            return await self._whole(visitor, status=422, wrongs={case.case_id: wrong})
        except DomainError as error:
            return await self._whole(visitor, alert=visitor.tongue.say(REFUSED.get(error.code, "away")), status=409)
        return await self._whole(visitor, done=_done(visitor.tongue, case, name, act))

    async def _statement(self, visitor: Visitor, case: CaseSeen, form: Form) -> Response:
        debt = debt_of(form, case)
        found = None if debt is None else await statement_of(self.links.elsewhere, visitor.link.tenant, debt.loan_id)
        if debt is None or found is None:
            return await self._whole(visitor, alert=visitor.tongue.say("statement_away"), status=503)
        return self.page.statement(visitor.screen, case, debt, found)

    async def _choice(self, visitor: Visitor, case: CaseSeen, wrong: Wrong | None = None) -> Response:
        found = await wishes_of(self.links.elsewhere, visitor.link.tenant, visitor.link.borrower_id)
        if found is None:
            return await self._whole(visitor, alert=visitor.tongue.say("away"), status=503)
        return self.page.choice(visitor.screen, case, found, wrong)

    async def _whole(
        self, visitor: Visitor, *, done: str | None = None, alert: str | None = None, status: int = 200,
        wrongs: Mapping[str, Wrong] | None = None,
    ) -> Response:  # fmt: skip
        return self.page.whole(visitor.screen, Whole(await self._cases(visitor), done, alert, wrongs or {}), status=status)

    async def _cases(self, visitor: Visitor) -> tuple[CaseSeen, ...]:
        async with self.engine.connect() as conn:
            return await seen_by(conn, self.rulebook, visitor.link, visitor.settings, visitor.now)


def _done(tongue: Tongue, case: CaseSeen, name: str, act: Act) -> str:
    """Return the confirmation of an act."""
    if isinstance(act, Promising):
        return tongue.say("promised", amount=tongue.money(act.amount, case.currency), day=tongue.day(act.due_on))
    if isinstance(act, Answering):
        return tongue.say("accept_done" if act.accepted else "decline_done")
    return tongue.say(f"{name}_done")


def _wrong(tongue: Tongue, case: CaseSeen, name: str, error: UnclearError, form: Form) -> Wrong:
    """Return what to show beside a field, with what was typed."""
    most, last = tongue.money(case.promisable, case.currency), tongue.day(case.last_day)
    months = max([case.bargain.plan_months, *(offer.max_months or 0 for offer in case.bargain.offers)])
    given = {
        "bad_day": {"last": last}, "bad_amount": {"example": most.removeprefix(f"{case.currency} "), "most": most},
        "bad_months": {"most": str(months)},
    }  # fmt: skip
    typed = {field: form.get(field, "") for field in ("day", "amount", "note", "months")}
    return Wrong(name, error.field, tongue.say(error.sentence, **given.get(error.sentence, {})), typed)
