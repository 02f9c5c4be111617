"""What a delivery says: in the text that its reader gets, or, where the rules refuse a tenant's own one, in the shipped one."""

from __future__ import annotations

from libs.common.contracts.borrower_profiles import BorrowerProfile
from libs.common.value import Value
from services.notifier.domain.delivery import Delivery
from services.notifier.domain.message import Draft, Saying, draft
from services.notifier.domain.verdicts import Send
from services.notifier.rendering import Compiled, ContentError, Form
from services.notifier.texts import Shelf


class RefusedText(Value, frozen=True):
    """A tenant's own text that the rules did not let out, and why."""

    version: int
    why: str


class Worded(Value, frozen=True):
    """What is said, in which text, and the one that it stands for."""

    text: Compiled
    draft: Draft
    form: Form
    refused: RefusedText | None = None


def worded(shelf: Shelf, delivery: Delivery, send: Send, profile: BorrowerProfile, *, language: str | None) -> Worded:
    """Return what a delivery says; RenderError where nothing can be said that the rules let out."""

    def in_text(text: Compiled, refused: RefusedText | None = None) -> Worded:
        said = draft(send.debts, _saying(shelf, delivery, send, sums_in=shelf.sums_in(delivery.tenant, text.ref, language, profile.locale)))
        return Worded(text, said, text.checked(said, named=bool(profile.sealed_name)), refused)

    request = delivery.request
    text = shelf.find(delivery.tenant, request.template, send.channel, locale=profile.locale, language=language)
    try:
        return in_text(text)
    except ContentError as error:
        if (shipped := shelf.shipped_for(text.ref, request.purpose)) is None:
            raise
        return in_text(shipped, RefusedText(text.ref.version, error.why))


def _saying(shelf: Shelf, delivery: Delivery, send: Send, *, sums_in: str) -> Saying:
    request = delivery.request
    return Saying(
        shelf.lender(delivery.tenant), sums_in, plain=send.channel == "sms", reminder=request.purpose == "reminder", asks=send.asks,
        variables=request.variables, link=shelf.link(delivery.tenant, request, send.channel),
    )  # fmt: skip
