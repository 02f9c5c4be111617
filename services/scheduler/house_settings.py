"""The tenant's own settings for the gate (profile, role, hours, dunning messages a day): kept by the notifier, and read from it."""

from __future__ import annotations

import asyncio

import msgspec

from libs.compliance import Profile, Role
from libs.compliance.house import House, house_of
from services.scheduler.elsewhere import Asking, Elsewhere, NoAnswerError

PATIENCE_S = 3.0
"""Better to show an answer without these settings than to show it late."""
_UNSET = House()


class HouseSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The notifier's answer; `unknown` says why there is none, and then the defaults apply."""

    profile: Profile = _UNSET.profile
    role: Role = _UNSET.role
    tenant_hours: dict[str, str] | None = None
    dunning_a_day: int | None = _UNSET.dunning_a_day
    unknown: str | None = None

    @property
    def house(self) -> House:
        """Return it in the gate's form."""
        return house_of(self.profile, self.role, self.tenant_hours, self.dunning_a_day)


async def house_settings(elsewhere: Elsewhere, asking: Asking, *, within_s: float = PATIENCE_S) -> HouseSettings:
    """Ask the notifier; if it does not answer, say why."""
    try:
        async with asyncio.timeout(within_s):
            said = await elsewhere.read("notifier", "/v1/settings", asking)
        found = msgspec.convert((said or {}).get("settings", {}), HouseSettings)
        _ = found.house
    except NoAnswerError as error:
        return HouseSettings(unknown=str(error))
    except TimeoutError:
        return HouseSettings(unknown=f"notifier: it did not answer /v1/settings within {within_s:g} s")
    except ValueError as error:
        return HouseSettings(unknown=f"notifier: its settings cannot be read: {error}"[:300])
    return found
