"""Renders the borrower's page: no script, no cookies, no external content, not to be cached or indexed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import Response

from libs.common import ids
from libs.common.pages import Page
from libs.common.tenant_settings.forms import Brand
from services.scheduler.borrower.acts import Form, Promising
from services.scheduler.borrower.sight import CaseSeen, DebtSeen
from services.scheduler.borrower.statement import StatementSeen
from services.scheduler.borrower.wishes import ALWAYS, GROUPS, OTHER_DAYS, WishesSeen
from services.scheduler.borrower.words import Tongue, tongues
from services.scheduler.domain.links import form_key

PARTS = ("principal", "interest", "fee", "penalty")
PRIVATE = {
    "Cache-Control": "no-store", "X-Robots-Tag": "noindex, nofollow, noarchive", "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin", "Permissions-Policy": "interest-cohort=(), geolocation=(), camera=(), microphone=()",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wrong:
    """A form that was not understood: which field, why, and what was typed."""

    act: str
    field: str
    sentence: str
    typed: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Screen:
    """Context of a page: its language, its lender, and the link and visit it belongs to."""

    tongue: Tongue
    lender: Brand | None = None
    token: str = ""
    visit: str = ""

    @property
    def name(self) -> str:
        """Return the lender's name; empty if unknown."""
        return "" if self.lender is None else self.lender.name


@dataclass(frozen=True, slots=True)
class Whole:
    """What is shown after the second factor: the cases, what was just done, and what was not understood."""

    cases: tuple[CaseSeen, ...]
    done: str | None = None
    alert: str | None = None
    wrongs: Mapping[str, Wrong] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BorrowerPage:
    """The compiled page."""

    page: Page

    @classmethod
    def load(cls) -> BorrowerPage:
        """Compile the shipped templates."""
        return cls(Page.load(__package__, "page.html.j2", "page.css.j2", posts=True))

    def gate(self, screen: Screen, *, alert: str | None = None, status: int = 200) -> Response:
        """Ask for the second factor; only the lender is named."""
        title = screen.tongue.say("lender_writes", lender=screen.name)
        return self._answer(screen, "gate", title, status, alert=alert)

    def whole(self, screen: Screen, whole: Whole, *, status: int = 200) -> Response:
        """Show what is overdue and what can be done about it."""
        title = screen.tongue.say("title", lender=screen.name)
        return self._answer(
            screen, "whole", title, status, cases=whole.cases, done=whole.done, alert=whole.alert, wrongs=whole.wrongs, parts=PARTS
        )  # fmt: skip

    def statement(self, screen: Screen, case: CaseSeen, debt: DebtSeen, statement: StatementSeen) -> Response:
        """Show the lines that make up what is open on a debt."""
        given = {"case": case, "debt": debt, "place": case.debts.index(debt) + 1, "statement": statement}
        return self._answer(screen, "statement", screen.tongue.say("statement_title"), 200, **given)

    def choice(self, screen: Screen, case: CaseSeen, wishes: WishesSeen, wrong: Wrong | None) -> Response:
        """Show the form for when and how the borrower wants to be contacted."""
        shown = {"wishes": wishes, "hours": wishes.hours or ALWAYS, "groups": tuple(GROUPS), "days": tuple(OTHER_DAYS)}
        given = {**shown, "case": case, "wrong": wrong}
        return self._answer(screen, "choice", screen.tongue.say("wishes_title"), 422 if wrong else 200, **given)

    def check(self, screen: Screen, case: CaseSeen, promise: Promising, form: Form) -> Response:
        """Show a promise for confirmation."""
        given = {"case": case, "promise": promise, "typed_amount": form.get("amount", "")}
        return self._answer(screen, "check", screen.tongue.say("check_title"), 200, **given)

    def plain(self, screen: Screen, key: str, status: int) -> Response:
        """Show a single sentence, with nothing about any debt."""
        title = screen.name or screen.tongue.say("gone_title")
        return self._answer(screen, "plain", title, status, text=screen.tongue.say(key, **({"lender": screen.name} if screen.name else {})))

    def _answer(self, screen: Screen, view: str, title: str, status: int, **given: Any) -> Response:
        shown = {
            "tongue": screen.tongue, "languages": tuple(tongues().values()), "lender": screen.lender, "visit": screen.visit,
            "key": form_key(screen.token, screen.visit), "once": ids.fresh(), "view": view, "title": title, "done": None, "alert": None,
        }  # fmt: skip
        text = self.page.template.render({**shown, **given})
        headers = {**self.page.headers, **PRIVATE, "Content-Language": screen.tongue.language}
        return Response(text, status, media_type="text/html", headers=headers)
