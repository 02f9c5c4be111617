"""What a pack may say: a closed union of rule kinds, each plain data with its nature, citation and evidence."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from libs.compliance.holidays import Holidays
from libs.compliance.hours import WeeklyHours
from libs.compliance.vocabulary import CapScope, Channel, ContentKind, Evidence, Nature, Purpose, ReachKind, Role, Unit


@dataclass(frozen=True, slots=True)
class PastDue:
    """The days past due, inclusive, for which a rule applies (None: no bound)."""

    least: int | None = None
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Conditions:
    """What must be true for a rule to apply.

    The strict profile ignores roles and days past due: the rule applies; under the legal floor unknown days meet the condition.
    A rule for certain products applies to a debt known to be one of them, under either profile.
    """

    roles: frozenset[Role] | None = None
    products: frozenset[str] | None = None
    past_due: PastDue | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """What every rule has: its name and strength, what it is about, and the local dates [since, until) in which it is in force."""

    id: str
    nature: Nature
    cite: str
    evidence: Evidence
    channels: frozenset[Channel]
    exempt: frozenset[Purpose] = frozenset()
    conditions: Conditions | None = None
    since: date | None = None
    until: date | None = None
    regions: frozenset[str] | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Reach:
    """How far back a counter looks: n local dates, n hours, n weeks from Monday, n months."""

    kind: ReachKind
    n: int


@dataclass(frozen=True, slots=True)
class Window:
    """Contacts only within these local hours, in the debtor's zones or in one fixed zone."""

    terms: Terms
    hours: WeeklyHours
    holidays: Holidays | None = None
    zone: str | None = None


@dataclass(frozen=True, slots=True)
class Cap:
    """At most `limit` counted contacts within reach; `counts` are the channels that share the counter, `kinds` the only kinds counted."""

    terms: Terms
    limit: int
    unit: Unit
    reach: Reach
    scope: CapScope
    counts: frozenset[Channel]
    kinds: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Spacing:
    """Contact-free local dates between two contacts."""

    terms: Terms
    free_days: int
    scope: CapScope
    counts: frozenset[Channel]


@dataclass(frozen=True, slots=True)
class CoolOff:
    """A rest after a contact of one of these kinds or results, whoever initiated it; the day of the contact is its first.

    An unknown result counts as one of them.
    """

    terms: Terms
    results: frozenset[str]
    reach: Reach
    scope: CapScope
    counts: frozenset[Channel]
    kinds: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class NoticeFirst:
    """Nothing until a notice of one of these kinds was given and so many whole dates have passed since."""

    terms: Terms
    free_days: int
    scope: CapScope
    counts: frozenset[Channel]
    kinds: frozenset[str]


@dataclass(frozen=True, slots=True)
class ChannelLock:
    """After a contact, only the same channel may be used within reach."""

    terms: Terms
    unit: Unit
    reach: Reach
    scope: CapScope
    counts: frozenset[Channel]


@dataclass(frozen=True, slots=True)
class Consent:
    """These channels need the borrower's consent; `together`: one consent covers all, so revoking it at an address revokes all."""

    terms: Terms
    together: bool = False


@dataclass(frozen=True, slots=True)
class Ban:
    """These channels may not be used; a closed list of allowed channels is a ban on all others."""

    terms: Terms


@dataclass(frozen=True, slots=True)
class Addressees:
    """Only these people may be written to."""

    terms: Terms
    allowed: frozenset[str]


@dataclass(frozen=True, slots=True)
class Content:
    """What the text must and must not say; it applies only when the gate is given a text."""

    terms: Terms
    asks: frozenset[ContentKind]


Counting = Cap | Spacing | CoolOff | ChannelLock
Rule = Window | Counting | NoticeFirst | Consent | Ban | Addressees | Content


@dataclass(frozen=True, slots=True)
class Pack:
    """The rules of one jurisdiction, its possible zones (none named: any place on earth) and its regions."""

    id: str
    name: str
    version: str
    zones: tuple[str, ...]
    rules: tuple[Rule, ...]
    regions: frozenset[str] = frozenset()
    sources: tuple[str, ...] = ()
    verified: str = ""
    sandbox_only: bool = False
    notes: tuple[str, ...] = ()

    @property
    def holidays_known_to(self) -> date | None:
        """Return the last day covered by the holiday calendar that ends first; None where no hours depend on one."""
        years = [rule.holidays.last_year for rule in self.rules if isinstance(rule, Window) and rule.holidays is not None]
        return date(min(years), 12, 31) if years else None

    def rules_of(self, region: str | None) -> tuple[Rule, ...]:
        """Return the rules of one region; of every region when none is named."""
        if region is None:
            return self.rules
        return tuple(rule for rule in self.rules if rule.terms.regions is None or region in rule.terms.regions)


@dataclass(frozen=True, slots=True)
class Located:
    """One jurisdiction of a request and the rules found for it."""

    pack: Pack
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Places:
    """Time zones by name, each loaded once (the cache of `ZoneInfo` keeps eight)."""

    known: dict[str, ZoneInfo] = field(default_factory=dict)

    def find(self, name: str) -> ZoneInfo | None:
        """Return the zone, None when there is none of that name."""
        zone = self.known.get(name)
        if zone is None:
            try:
                zone = self.known[name] = ZoneInfo(name)
            except (ZoneInfoNotFoundError, ValueError, OSError):
                return None
        return zone


@dataclass(frozen=True, slots=True, eq=False)
class Packs(Mapping[str, Pack]):
    """Packs by id and the zones loaded so far, read once and passed in."""

    by_id: Mapping[str, Pack]
    places: Places = field(default_factory=Places)

    def __getitem__(self, key: str) -> Pack:
        return self.by_id[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.by_id)

    def __len__(self) -> int:
        return len(self.by_id)

    def locate(self, jurisdiction: str) -> Located | None:
        """Return the rules of `<id>` or `<id>-<region>`, None when no pack knows that place."""
        pack = self.by_id.get(jurisdiction)
        if pack is not None:
            return Located(pack, pack.rules)
        name, _, region = jurisdiction.rpartition("-")
        pack = self.by_id.get(name)
        if pack is None or region not in pack.regions:
            return None
        return Located(pack, pack.rules_of(region))

    def revoked_with(self, channel: str, jurisdictions: Iterable[str]) -> frozenset[str]:
        """Return the other channels whose opt-out, at an address that this channel reaches too, also applies to this channel."""
        found = (located for name in jurisdictions if (located := self.locate(name)) is not None)
        one = (rule.terms.channels for at in found for rule in at.rules if isinstance(rule, Consent) and rule.together)
        return frozenset(other.value for channels in one if channel in channels for other in channels) - {channel}
