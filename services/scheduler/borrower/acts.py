"""What a borrower does on the page: recorded in the same way as when staff record it, but in the borrower's name."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import assert_never

from libs.common.auth import Principal
from libs.common.money import MAX_MINOR, exponent
from libs.compliance import StopKind
from services.scheduler.borrower.answers import FEELINGS, Feeling, Wishing, feel, wish
from services.scheduler.borrower.bargain import PLAN
from services.scheduler.borrower.sight import CaseSeen, DebtSeen
from services.scheduler.borrower.wishes import GROUPS, LEAST_HOURS, MIDNIGHT, OTHER_DAYS, Hours
from services.scheduler.casework import Casework, Work
from services.scheduler.complaints import BORROWER
from services.scheduler.dealing import Dealer
from services.scheduler.domain.dealing import USUALLY_VALID, Terms
from services.scheduler.domain.links import Link
from services.scheduler.domain.matters import MatterKind
from services.scheduler.holding import HoldWanted, default_contacts, set_hold
from services.scheduler.objecting import MatterWanted, open_matter
from services.scheduler.promising import PromiseWanted, make

LONGEST_NOTE = 4000
STOPPED: Mapping[str, tuple[str, ...]] = {
    "sms": ("sms",), "email": ("email",), "app": ("push", "inbox"), "all": ("sms", "email", "push", "inbox"),
}  # fmt: skip
"""The channels each choice closes."""
ABOUT_ALL = ""
PAGE = "borrower's page"
LONGEST_NUMBER = 6
_MOMENT = re.compile(r"[0-9T:.Z+-]{20,40}")


@dataclass(frozen=True, slots=True)
class Promising:
    """An amount by a day."""

    amount: int
    due_on: date


@dataclass(frozen=True, slots=True)
class Saying:
    """Something a person must answer, about one debt or all of them."""

    kind: MatterKind
    note: str | None
    loan_id: str | None = None
    line: str | None = None
    """The line of the statement it refers to."""


@dataclass(frozen=True, slots=True)
class Stopping:
    """No more messages on these channels."""

    channels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Planning:
    """A request for a plan over this many months."""

    months: int


@dataclass(frozen=True, slots=True)
class Answering:
    """An open offer is accepted (a plan, over this many months) or declined."""

    offer_id: str
    accepted: bool
    months: int | None = None


Act = Promising | Saying | Stopping | Planning | Answering | Wishing | Feeling


class UnclearError(Exception):
    """A form field was not understood: which one, and the key of the sentence that says what is expected."""

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(sentence)
        self.field = field
        self.sentence = sentence


@dataclass(frozen=True, slots=True)
class Actor:
    """Carries out what a borrower asks for."""

    casework: Casework
    dealer: Dealer

    async def do(self, link: Link, case_id: str, act: Act, *, once: str) -> None:
        """Do it in a case the link shows; the same form sent twice does it once."""
        caller = Principal(link.tenant, BORROWER, frozenset())
        match act:
            case Planning(months):
                terms = Terms(PLAN, USUALLY_VALID, max_months=months)
                await self.dealer.make_offer(caller, case_id, terms, reason=PAGE, timed=False)
            case Answering(offer_id, accepted, months):
                taken = {"months": months} if months else {}
                await self.dealer.answer_offer(caller, case_id, offer_id, accepted=accepted, taken=taken, reason=PAGE)
            case _:
                async with self.casework.on(caller, case_id, key=f"{link.link_id}/{once}") as work:
                    await _work(work, link, act)


async def _work(work: Work, link: Link, act: Promising | Saying | Stopping | Wishing | Feeling) -> None:
    match act:
        case Wishing():
            await wish(work, act)
        case Feeling():
            await feel(work, link, act)
        case Promising(amount, due_on):
            await make(work, PromiseWanted(amount, due_on))
        case Saying(kind, note, loan_id, line):
            await open_matter(work, MatterWanted(kind, loan_id, line, note=note))
        case Stopping(channels):
            for channel in channels:
                left = default_contacts(StopKind.OPT_OUT, of_debt=False)
                await set_hold(work, HoldWanted(StopKind.OPT_OUT, left, work.at, channel=channel, reason=PAGE), channel)
        case _:
            assert_never(act)


Form = Mapping[str, str]


def promising(form: Form, case: CaseSeen) -> Promising:
    """Return what is promised, within the limits the page showed."""
    try:
        due_on = date.fromisoformat(form.get("day", ""))
    except ValueError:
        raise UnclearError("day", "bad_day") from None
    if not case.first_day <= due_on <= case.last_day:
        raise UnclearError("day", "bad_day")
    typed = form.get("amount", "").strip()
    amount = case.promisable if not typed else amount_of(typed, case.currency)
    if amount is None or not 0 < amount <= case.promisable:
        raise UnclearError("amount", "bad_amount")
    return Promising(amount, due_on)


def hardship(form: Form, _: CaseSeen) -> Saying:
    """Return that the borrower cannot pay; no reason is needed."""
    return Saying(MatterKind.HARDSHIP, _note(form))


def dispute(form: Form, case: CaseSeen) -> Saying:
    """Return what is wrong, and about which debt."""
    chosen = form.get("loan", ABOUT_ALL)
    debt = debt_of(form, case)
    if chosen != ABOUT_ALL and debt is None:
        raise UnclearError("loan", "needed")
    line, at = form.get("line", ""), form.get("at", "")
    known = debt is not None and line.isascii() and line.isdecimal() and len(line) <= LONGEST_NUMBER and _MOMENT.fullmatch(at)
    return Saying(MatterKind.DISPUTE, _needed(form), debt.loan_id if debt else None, f"{line} of the statement of {at}" if known else None)


def debt_of(form: Form, case: CaseSeen) -> DebtSeen | None:
    """Return the debt a form is about, identified by its position on the page."""
    places = {str(place): debt for place, debt in enumerate(case.debts, start=1)}
    return places.get(form.get("loan", ""))


def planning(form: Form, case: CaseSeen) -> Planning:
    """Return the requested plan."""
    return Planning(_months(form, case.bargain.plan_months))


def answering(form: Form, case: CaseSeen) -> Answering:
    """Return the answer to an offer; one that is no longer open is refused when the answer is recorded."""
    offer = next((one for one in case.bargain.offers if one.offer_id == form.get("offer")), None)
    accepted = form.get("say") == "accept"
    months = _months(form, offer.max_months) if accepted and offer is not None and offer.max_months else None
    return Answering(form.get("offer", ""), accepted, months)


def wishing(form: Form, _: CaseSeen) -> Wishing:
    """Return when and how the borrower wants to be contacted."""
    days, begins, ends = form.get("days", ""), _hour(form, "from"), _hour(form, "to")
    if days not in OTHER_DAYS or begins is None or ends is None or ends - begins < LEAST_HOURS:
        raise UnclearError("hours", "bad_hours")
    closed = tuple(group for group in GROUPS if not form.get(f"use_{group}"))
    if len(closed) == len(GROUPS):
        raise UnclearError("use", "bad_channels")
    return Wishing(Hours(days, begins, ends), closed)


def feeling(form: Form, _: CaseSeen) -> Feeling:
    """Return how the borrower found this."""
    if (how := form.get("how", "")) not in FEELINGS:
        raise UnclearError("how", "needed")
    return Feeling(how)


def complaint(form: Form, _: CaseSeen) -> Saying:
    """Return what the borrower complains about."""
    return Saying(MatterKind.COMPLAINT, _needed(form))


def stopping(form: Form, _: CaseSeen) -> Stopping:
    """Return which messages are to stop."""
    if (channels := STOPPED.get(form.get("which", ""))) is None:
        raise UnclearError("which", "needed")
    return Stopping(channels)


READERS: Mapping[str, Callable[[Form, CaseSeen], Act]] = {
    "promise": promising, "hard": hardship, "dispute": dispute, "complain": complaint, "stop": stopping,
    "plan": planning, "offer": answering, "wishes": wishing, "feel": feeling,
}  # fmt: skip
"""The function that reads each form of the page."""


def amount_of(typed: str, currency: str) -> int | None:
    """Parse an amount as people type it (`1,204.50`, `1.204,50`, `1204`) into minor units; None when it is unclear.

    The last separator is the decimal one if no more digits follow it than the currency has decimals; a single one followed by three
    digits, in a currency with two decimals, separates thousands.
    """
    kept = "".join(str(unicodedata.decimal(char)) if char.isdecimal() else char for char in typed if not char.isspace())
    kept = kept.replace("\u066b", ".").replace("\u066c", ",").replace("'", "").replace("\u2019", "")
    digits = exponent(currency)
    at = max(kept.rfind("."), kept.rfind(","))
    whole, part = (kept, "") if at < 0 or len(kept) - at - 1 > digits else (kept[:at], kept[at + 1 :])
    if not _is_grouped(whole) or (part and not part.isdecimal()):
        return None
    plain = "".join(char for char in whole if char.isdecimal())
    try:
        minor = int(Decimal(f"{plain or '0'}.{part or '0'}").scaleb(digits))
    except InvalidOperation:
        return None
    return minor if (plain or part) and minor <= MAX_MINOR else None


def _is_grouped(whole: str) -> bool:
    """Return whether these are digits, ungrouped or in groups of three with one kind of separator."""
    signs = {char for char in whole if not char.isdecimal()}
    if not signs:
        return True
    if len(signs) > 1 or not signs <= {".", ","}:
        return False
    first, *rest = whole.split(signs.pop())
    return 1 <= len(first) <= 3 and all(len(group) == 3 for group in rest)


def _note(form: Form) -> str | None:
    return form.get("note", "").replace("\0", "").strip()[:LONGEST_NOTE] or None


def _hour(form: Form, name: str) -> int | None:
    typed = form.get(name, "")
    return int(typed) if typed.isascii() and typed.isdecimal() and len(typed) <= 2 and int(typed) <= MIDNIGHT else None


def _months(form: Form, most: int) -> int:
    typed = form.get("months", "").strip()
    if not typed.isdecimal() or len(typed) > LONGEST_NUMBER or not 1 <= int(typed) <= most:
        raise UnclearError("months", "bad_months")
    return int(typed)


def _needed(form: Form) -> str:
    if (note := _note(form)) is None:
        raise UnclearError("note", "needed")
    return note
