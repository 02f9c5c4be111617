"""Asks the notifier, which keeps the caps, whether a person may make a contact now; no answer means no."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

AUTHORIZE = "/v1/contacts:authorize"
TIMEOUT_S = 5.0
CHANNELS = {"call": "call", "phone": "call", "visit": "visit", "letter": "letter"}
"""Channel by kind of task, for tasks that contact the borrower; others need no permission."""


@dataclass(frozen=True, slots=True)
class Question:
    """May this borrower be contacted about this debt on this channel now, by this person?"""

    borrower_id: str
    debt: str | None
    channel: str
    by: str


@dataclass(frozen=True, slots=True)
class Gate:
    """The connection to the notifier; without one nothing is permitted."""

    client: httpx.AsyncClient | None = None

    async def answer(self, question: Question, authorization: str) -> Mapping[str, Any]:
        """Return the notifier's answer, asked with the caller's own key, and whether the contact may be made."""
        if self.client is None:
            return _silent("the notifier's address is not known: DUNWELL_NOTIFIER_URL is not set")
        body = {"borrower_id": question.borrower_id, "debt": question.debt, "channel": question.channel, "by": question.by}
        try:
            answered = await self.client.post(AUTHORIZE, json=body, headers={"Authorization": authorization}, timeout=TIMEOUT_S)
            said = answered.json()
        except (httpx.HTTPError, ValueError) as error:
            return _silent(f"the notifier does not answer: {type(error).__name__}")
        if answered.is_success and isinstance(said, dict) and said.get("decision") in {"allow", "deny"}:
            return {**said, "may_contact": said["decision"] == "allow", "channel": question.channel}
        return _silent(f"the notifier answers {answered.status_code}")


def _silent(why: str) -> Mapping[str, Any]:
    return {"decision": None, "may_contact": False, "why": why}
