"""Which provider carries a message: by channel and country, with weights; a paused one carries none."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from services.notifier.domain.delivery import fraction

ANYWHERE = "*"
"""The country of a route for all countries without one of their own."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A provider that can carry messages on these channels."""

    name: str
    channels: tuple[str, ...]
    sandbox: bool = False
    paused: bool = False
    down: bool = False
    """Its breaker is open: it is given only a probe."""

    @property
    def resting(self) -> bool:
        """Return whether it is out of the draw."""
        return self.paused or self.down


@dataclass(frozen=True, slots=True)
class Route:
    """Messages of a channel to a country go through a provider, in the proportion of the weights."""

    channel: str
    country: str
    provider: str
    weight: int = 1


@dataclass(frozen=True, slots=True)
class Carried:
    """What is carried to a set of countries."""

    channels: Mapping[str, bool]
    """Channels with a provider; true if all of these are sandboxes and reach nobody."""
    resting: frozenset[str]
    """Those on which every provider is paused or down."""
    down: frozenset[str]
    """Those on which a provider that is not paused is down."""


@dataclass(frozen=True, slots=True)
class Routing:
    """Every tenant's providers and routes. A tenant without a route for a channel uses the built-in providers for it."""

    builtin: tuple[Offer, ...]
    accounts: Mapping[str, Mapping[str, Offer]] = field(default_factory=dict)
    """By tenant and name."""
    routes: Mapping[str, Sequence[Route]] = field(default_factory=dict)
    _carried: dict[tuple[str, frozenset[str]], Carried] = field(default_factory=dict, init=False, repr=False, compare=False)
    _candidates: dict[tuple[str, str, frozenset[str]], list[tuple[Offer, int]]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def offers(self, tenant: str) -> dict[str, Offer]:
        """Return a tenant's providers by name, including the built-in ones."""
        return {offer.name: offer for offer in self.builtin} | dict(self.accounts.get(tenant, {}))

    def candidates(self, tenant: str, channel: str, countries: frozenset[str]) -> list[tuple[Offer, int]]:
        """Return the candidates with their weights: from routes for these countries, else from those for any country, else built-in."""
        if (known := self._candidates.get((tenant, channel, countries))) is None:
            known = self._candidates[tenant, channel, countries] = self._found(tenant, channel, countries)
        return known

    def _found(self, tenant: str, channel: str, countries: frozenset[str]) -> list[tuple[Offer, int]]:
        routes = [route for route in self.routes.get(tenant, ()) if route.channel == channel]
        offers = self.offers(tenant)
        if not routes:
            last = [offer for offer in self.builtin if channel in offer.channels][-1:]
            return [(offer, 1) for offer in last]
        fitting = [route for route in routes if route.country in countries] or [route for route in routes if route.country == ANYWHERE]
        found = [(offers[route.provider], route.weight) for route in fitting if route.provider in offers and route.weight > 0]
        return [(offer, weight) for offer, weight in found if channel in offer.channels]

    def without(self, down: Collection[tuple[str, str]]) -> Routing:
        """Return the routing with these accounts (tenant, name) marked as down."""
        if not down:
            return self
        found = {
            tenant: {name: replace(offer, down=True) if (tenant, name) in down else offer for name, offer in offers.items()}
            for tenant, offers in self.accounts.items()
        }
        return replace(self, accounts=found)

    def choose(
        self, tenant: str, channel: str, countries: frozenset[str], *seed: object, avoid: Collection[str | None] = ()
    ) -> Offer | None:  # fmt: skip
        """Return the provider for this seed, drawn by weight from those not resting, preferably not in `avoid`; None if there is none."""
        all_open = [(offer, weight) for offer, weight in self.candidates(tenant, channel, countries) if not offer.resting]
        open_ones = [(offer, weight) for offer, weight in all_open if offer.name not in avoid] or all_open
        if len(open_ones) == 1:
            return open_ones[0][0]
        place = fraction(*seed) * sum(weight for _, weight in open_ones)
        for offer, weight in open_ones:
            if place < weight:
                return offer
            place -= weight
        return open_ones[-1][0] if open_ones else None

    def carried(self, tenant: str, countries: frozenset[str]) -> Carried:
        """Return what is carried to these countries, computed once."""
        if (known := self._carried.get((tenant, countries))) is None:
            known = self._carried[tenant, countries] = self._work_out(tenant, countries)
        return known

    def resting(self, tenant: str, countries: frozenset[str], probes: Collection[str] = ()) -> frozenset[str]:
        """Return the channels on which every candidate is paused, or down without a probe."""
        idle = self.carried(tenant, countries).resting
        return frozenset(channel for channel in idle if self.probed(tenant, channel, countries, probes) is None) if probes else idle

    def probed(self, tenant: str, channel: str, countries: frozenset[str], probes: Collection[str]) -> str | None:
        """Return the first of these probes that could carry it, if any: the provider is down, and this message tries it."""
        found = (offer for offer, _ in self.candidates(tenant, channel, countries))
        return next((offer.name for offer in found if offer.name in probes and not offer.paused), None)

    def _work_out(self, tenant: str, countries: frozenset[str]) -> Carried:
        named = {channel for offer in self.offers(tenant).values() for channel in offer.channels}
        by_channel = {channel: [offer for offer, _ in self.candidates(tenant, channel, countries)] for channel in sorted(named)}
        carried = {channel: offers for channel, offers in by_channel.items() if offers}
        return Carried(
            {channel: all(offer.sandbox for offer in offers) for channel, offers in carried.items()},
            frozenset(channel for channel, offers in carried.items() if all(offer.resting for offer in offers)),
            frozenset(channel for channel, offers in carried.items() if any(offer.down and not offer.paused for offer in offers)),
        )


def countries_of(jurisdictions: Collection[str]) -> frozenset[str]:
    """Return the countries of these jurisdictions: `US-FED-REGF` is in `US`."""
    return frozenset(place.partition("-")[0] for place in jurisdictions)
