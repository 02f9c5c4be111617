"""Shortcuts to a question for the gate, and packs made for one test."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypedDict, Unpack

from libs.compliance import (
    Channel,
    Circumstances,
    DebtFacts,
    Packs,
    Preferences,
    Prior,
    Profile,
    Proposed,
    Purpose,
    Role,
    Stop,
    StopKind,
    StopScope,
    TenantHours,
)
from libs.compliance.packs import parse_pack

BERLIN = "Europe/Berlin"


class Known(TypedDict, total=False):
    jurisdictions: tuple[str, ...]
    zones: tuple[str, ...] | None
    profile: Profile
    role: Role
    consents: frozenset[Channel] | None
    preferences: Preferences
    tenant_hours: TenantHours | None
    stops: tuple[Stop, ...]
    prior: tuple[Prior, ...]
    debt_facts: Mapping[str, DebtFacts]


def known(**given: Unpack[Known]) -> Circumstances:
    usual: Known = {
        "jurisdictions": ("ZZ",),
        "zones": (BERLIN,),
        "profile": Profile.STRICT,
        "role": Role.FIRST_PARTY,
        "consents": None,
        "preferences": Preferences(),
        "tenant_hours": None,
        "stops": (),
        "prior": (),
    }
    return Circumstances(**(usual | given))


def proposed(at: str, channel: str = "sms", purpose: str = "dunning", debts: tuple[str, ...] = ("A",)) -> Proposed:
    return Proposed(datetime.fromisoformat(at), Channel(channel), Purpose(purpose), debts)


def contact(at: str, channel: str = "sms", result: str = "", debts: tuple[str, ...] = ("A",), *, kind: str | None = None) -> Prior:
    return Prior(datetime.fromisoformat(at), Channel(channel), result, debts, "lender", kind=kind)


def stop(kind: str, scope: str, *, since: str = "2020-01-01T00:00:00+00:00", until: str | None = None, debt: str | None = None) -> Stop:
    end = datetime.fromisoformat(until) if until else None
    return Stop(StopKind(kind), StopScope(scope), datetime.fromisoformat(since), end, debt=debt)


def packs_with(rules: str, pack: str = "XX", more: str = "") -> Packs:
    """Return packs with one pack of these rules, given as YAML list items; nature, cite and evidence are filled in."""
    filled = rules.replace("- id:", "- nature: law\n  cite: made for a test\n  evidence: P\n  id:")
    made = parse_pack(
        f'id: {pack}\nname: made\nversion: "1"\nverified: made\nzones: [Europe/Berlin]\n{more}\nrules:\n{filled}', f"{pack}.yaml"
    )
    return Packs({pack: made})


def question(case: dict[str, Any]) -> tuple[Proposed, Circumstances]:
    """Read a question in the form of the compliance check."""
    asked, zones = case["proposed"], case["timezones"]
    consents = case.get("consents")
    return Proposed(
        datetime.fromisoformat(asked["at"]),
        Channel(asked["channel"]),
        Purpose(asked["purpose"]),
        tuple(asked.get("debts") or [asked["debt"]]),
        asked.get("to"),
    ), known(
        jurisdictions=tuple(case["jurisdictions"]),
        zones=None if zones == "unknown" else tuple(zones),
        profile=Profile(case["profile"]),
        consents=None if consents is None else frozenset(map(Channel, consents)),
        prior=tuple(_prior(prior) for prior in case["prior"]),
    )


def _prior(written: dict[str, Any]) -> Prior:
    return Prior(
        datetime.fromisoformat(written["at"]),
        Channel(written["channel"]),
        written.get("result", ""),
        (written["debt"],),
        written.get("by", ""),
        written.get("direction", "outbound"),
        written.get("to"),
        written.get("kind"),
    )
