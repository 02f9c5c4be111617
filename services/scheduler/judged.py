"""How the tenant wants its contacts to be judged: that is set at the notifier, and asked there."""

from __future__ import annotations

import asyncio

import msgspec

from libs.compliance.house import House, house_of
from services.scheduler.elsewhere import Asking, Elsewhere, NoAnswerError

PATIENCE_S = 3.0
"""What is shown without it is better than what comes late."""


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """What the notifier's settings say of it; `unknown` says why nothing is known of them: then what holds where nothing is set."""

    profile: str = "strict"
    role: str = "first_party"
    tenant_hours: dict[str, str] | None = None
    dunning_a_day: int | None = 1
    unknown: str | None = None

    @property
    def house(self) -> House:
        """Return it as the gate is told."""
        return house_of(self.profile, self.role, self.tenant_hours, self.dunning_a_day)


async def judged(elsewhere: Elsewhere, asking: Asking, *, within_s: float = PATIENCE_S) -> Judged:
    """Ask the notifier; where it does not answer, say so."""
    try:
        async with asyncio.timeout(within_s):
            said = await elsewhere.read("notifier", "/v1/settings", asking)
        found = msgspec.convert((said or {}).get("settings", {}), Judged)
        _ = found.house
    except NoAnswerError as error:
        return Judged(unknown=str(error))
    except TimeoutError:
        return Judged(unknown=f"notifier: it did not answer /v1/settings within {within_s:g} s")
    except ValueError as error:
        return Judged(unknown=f"notifier: its settings cannot be read: {error}"[:300])
    return found
