"""What a borrower does on the page: the same as what people write down for a borrower, by the same ways, in the borrower's name."""

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
"""The channels that a choice closes."""
ABOUT_ALL = ""
PAGE = "borrower's page"
LONGEST_NUMBER = 6
_MOMENT = re.compile(r"[0-9T:.Z+-]{20,40}")


@dataclass(frozen=True, slots=True)
class Promising:
    """So much by that day."""

    amount: int
    due_on: date


@dataclass(frozen=True, slots=True)
class Saying:
    """Something that a person must answer; about one debt, or about all."""

    kind: MatterKind
    note: str | None
    loan_id: str | None = None
    line: str | None = None
    """A line of the statement that was shown."""


@dataclass(frozen=True, slots=True)
class Stopping:
    """No more messages on these channels."""

    channels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Planning:
    """A plan over so many months, please."""

    months: int


@dataclass(frozen=True, slots=True)
class Answering:
    """An offer that stands is accepted, over so many months where it is a plan, or declined."""

    offer_id: str
    accepted: bool
    months: int | None = None


Act = Promising | Saying | Stopping | Planning | Answering | Wishing | Feeling


class UnclearError(Exception):
    """A field of a form cannot be understood: which one, and the sentence that says what would be."""

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(sentence)
        self.field = field
        self.sentence = sentence


@dataclass(frozen=True, slots=True)
class Actor:
    """Does what a borrower wants done."""

    casework: Casework
    dealer: Dealer

    async def do(self, link: Link, case_id: str, act: Act, *, once: str) -> None:
        """Do it in a case that the link shows; the same form sent again does it once."""
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
    """Return what is promised, within what the page said before."""
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
    """Return that the borrower cannot pay; why need not be said."""
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
    """Return the debt that a form is about, named by its place on the page."""
    places = {str(place): debt for place, debt in enumerate(case.debts, start=1)}
    return places.get(form.get("loan", ""))


def planning(form: Form, case: CaseSeen) -> Planning:
    """Return the plan that is asked for."""
    return Planning(_months(form, case.bargain.plan_months))


def answering(form: Form, case: CaseSeen) -> Answering:
    """Return what is answered to an offer; one that does not stand any more is refused where it is answered."""
    offer = next((one for one in case.bargain.offers if one.offer_id == form.get("offer")), None)
    accepted = form.get("say") == "accept"
    months = _months(form, offer.max_months) if accepted and offer is not None and offer.max_months else None
    return Answering(form.get("offer", ""), accepted, months)


def wishing(form: Form, _: CaseSeen) -> Wishing:
    """Return when and how the borrower wants to be written to."""
    days, begins, ends = form.get("days", ""), _hour(form, "from"), _hour(form, "to")
    if days not in OTHER_DAYS or begins is None or ends is None or ends - begins < LEAST_HOURS:
        raise UnclearError("hours", "bad_hours")
    closed = tuple(group for group in GROUPS if not form.get(f"use_{group}"))
    if len(closed) == len(GROUPS):
        raise UnclearError("use", "bad_channels")
    return Wishing(Hours(days, begins, ends), closed)


def feeling(form: Form, _: CaseSeen) -> Feeling:
    """Return how this was."""
    if (how := form.get("how", "")) not in FEELINGS:
        raise UnclearError("how", "needed")
    return Feeling(how)


def complaint(form: Form, _: CaseSeen) -> Saying:
    """Return what the borrower is not content with."""
    return Saying(MatterKind.COMPLAINT, _needed(form))


def stopping(form: Form, _: CaseSeen) -> Stopping:
    """Return which messages shall stop."""
    if (channels := STOPPED.get(form.get("which", ""))) is None:
        raise UnclearError("which", "needed")
    return Stopping(channels)


READERS: Mapping[str, Callable[[Form, CaseSeen], Act]] = {
    "promise": promising, "hard": hardship, "dispute": dispute, "complain": complaint, "stop": stopping,
    "plan": planning, "offer": answering, "wishes": wishing, "feel": feeling,
}  # fmt: skip
"""How each form of the page is read."""


def amount_of(typed: str, currency: str) -> int | None:
    """Return an amount as it is typed (`1,204.50`, `1.204,50`, `1204`) in minor units; None where it is not to be understood.

    The last sign is the decimal one where no more digits follow than the currency has; a lone one with three digits behind it in a
    currency of two is one of thousands.
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
    """Say whether these are digits, in groups of three or ungrouped, by one kind of sign."""
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
