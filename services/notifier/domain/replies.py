"""What people reply: how it comes in, what it suppresses, and what is announced about it."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from libs.common.contracts.contact_tasks import ContactRequested
from libs.common.value import replace
from services.notifier.domain.delivery import Change, Delivery, Outcome
from services.notifier.domain.results import Fault
from services.notifier.domain.suppressions import ANYBODY, EVERY, GROUND_OF, Ground
from services.notifier.domain.wishes import Wish

CONFIRMATION = "opt_out_confirmed"
"""The template, and the step, of the one message that confirms an opt-out."""
CONFIRMED_WITHIN = timedelta(minutes=5)
"""In the United States a confirmation sent this soon is presumed to be covered by the consent (47 CFR 64.1200(a)(12))."""
_QUOTED = re.compile(
    r"^[ \t]*+(>|--[ \t]*$|-{3,}|_{5,}|(on|am|el|le|em|il|op|pada|den)\b.{5,200}:[ \t]*$|(from|von|de|da|van|dari):[ ]"
    r"|\u53d1\u4ef6\u4eba|\u5bc4\u4ef6\u8005|\u5728.{3,200}\u5199\u9053|sent from my )",
    re.IGNORECASE | re.MULTILINE,
)
"""Where a quotation or a signature begins, as mail programs write it in several languages."""
_ORDER = (Wish.STOP_ALL, Wish.STOP, Wish.COMPLAINT, Wish.UNCLEAR, Wish.START, Wish.HELP)


@dataclass(frozen=True, slots=True)
class Inbound:
    """A message from somebody, as delivered by a provider."""

    id: str
    """The provider's."""
    channel: str
    address: str
    text: str
    at: datetime | None = None
    signed: bool = True
    """Whether a signature proves that it came from the provider: without one it may suppress but never permit."""
    wish: Wish | None = None
    """What the provider itself has recognised in it."""
    answered: bool = False
    """Whether the provider itself has already confirmed it to the sender."""


@dataclass(frozen=True, slots=True)
class Ending:
    """A suppression to write: for a borrower, or for whoever has the address."""

    borrower_id: str
    channel: str
    lookup: str
    ground: Ground


def unquoted(mail: str) -> str:
    """Return what somebody wrote in a mail, without the quotation below it: our own text contains the word STOP."""
    found = _QUOTED.search(mail)
    return (mail[: found.start()] if found else mail).strip()


def endings(wishes: Collection[Wish], channel: str, lookup: str, borrowers: Collection[str]) -> list[Ending]:
    """Return the suppressions these wishes call for.

    An opt-out applies to the address, whoever has it. One from all channels, a complaint or a doubt applies to everybody contacted there,
    and if nobody was, to the address.
    """
    found = []
    if Wish.STOP in wishes or Wish.STOP_ALL in wishes:
        found.append(Ending(ANYBODY, channel, lookup, Ground.OPT_OUT))
    if Wish.STOP_ALL in wishes:
        found += [Ending(borrower, EVERY, lookup, Ground.OPT_OUT) for borrower in borrowers]
    for wish, ground in ((Wish.COMPLAINT, Ground.COMPLAINT), (Wish.UNCLEAR, Ground.UNCLEAR)):
        if wish in wishes:
            found += [Ending(borrower, EVERY, lookup, ground) for borrower in borrowers]
            found += [] if borrowers else [Ending(ANYBODY, channel, lookup, Ground.OPT_OUT)]
    return found


def told_by_provider(delivery: Delivery, fault: Fault, code: str | None, channel: str, *, new: bool) -> Change:
    """Return what is announced of a provider's statement about the person: an opt-out only the first time, a complaint every time."""
    kinds = [("opted_out", code)] if new and GROUND_OF.get(fault) is Ground.OPT_OUT else []
    return announced(delivery, kinds + ([("complained", code)] if fault == "complained" else []), channel)


def answered(delivery: Delivery, wishes: Collection[Wish], channel: str) -> Change:
    """Return what is announced of a reply to a delivery; the delivery's own state does not change."""
    heard = [wish for wish in _ORDER if wish in wishes]
    kinds = [("replied", heard[0] if heard else None)]
    kinds += [("opted_out", wish) for wish in heard if wish in {Wish.STOP, Wish.STOP_ALL}]
    kinds += [("complained", wish) for wish in heard if wish is Wish.COMPLAINT]
    return announced(delivery, [(kind, wish.value if wish else None) for kind, wish in kinds], channel)


def announced(delivery: Delivery, kinds: Collection[tuple[str, str | None]], channel: str) -> Change:
    """Return outcomes of these kinds with their reasons, numbered after the delivery's earlier ones."""
    outcomes = tuple(
        Outcome(kind, delivery.sequence + place, reason, channel=channel) for place, (kind, reason) in enumerate(kinds, start=1)
    )  # fmt: skip
    return Change(replace(delivery, sequence=delivery.sequence + len(outcomes)), outcomes)


def confirmation(of: Delivery, channel: str, task_id: str, *, now: datetime) -> Delivery:
    """Return the one message confirming an opt-out, to whoever was sent this delivery; the gate decides whether the law allows it."""
    about = of.request
    request = ContactRequested(
        task_id=task_id, borrower_id=of.borrower_id, case_id=about.case_id, policy=about.policy, step=CONFIRMATION, template=CONFIRMATION,
        purpose="confirmation", channels=(channel,), not_before=now, expires_at=now + CONFIRMED_WITHIN, debts=about.debts,  # type: ignore[arg-type]  # a channel's name
        jurisdictions=about.jurisdictions,
    )  # fmt: skip
    return Delivery(of.tenant, of.borrower_id, task_id, request, next_at=now)
