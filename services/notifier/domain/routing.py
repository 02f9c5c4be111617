"""Which provider carries a message: by channel and country, with weights; what is paused carries none."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from services.notifier.domain.delivery import fraction

ANYWHERE = "*"
"""The country of a route for all that have none of their own."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A provider that could carry messages of these channels."""

    name: str
    channels: tuple[str, ...]
    sandbox: bool = False
    paused: bool = False
    down: bool = False
    """Its breaker is open: it is given nothing but a probe."""

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
class Routing:
    """The providers and routes of every tenant. One without a route for a channel has the built-in providers for it."""

    builtin: tuple[Offer, ...]
    accounts: Mapping[str, Mapping[str, Offer]] = field(default_factory=dict)
    """By tenant and name."""
    routes: Mapping[str, Sequence[Route]] = field(default_factory=dict)

    def offers(self, tenant: str) -> dict[str, Offer]:
        """Return the providers of a tenant by name, the built-in ones among them."""
        return {offer.name: offer for offer in self.builtin} | dict(self.accounts.get(tenant, {}))

    def candidates(self, tenant: str, channel: str, countries: Collection[str]) -> list[tuple[Offer, int]]:
        """Return who could carry it, with their weights: by the routes for these countries, else by those for any, else built in."""
        routes = [route for route in self.routes.get(tenant, ()) if route.channel == channel]
        offers = self.offers(tenant)
        if not routes:
            last = [offer for offer in self.builtin if channel in offer.channels][-1:]
            return [(offer, 1) for offer in last]
        fitting = [route for route in routes if route.country in countries] or [route for route in routes if route.country == ANYWHERE]
        found = [(offers[route.provider], route.weight) for route in fitting if route.provider in offers and route.weight > 0]
        return [(offer, weight) for offer, weight in found if channel in offer.channels]

    def without(self, down: Collection[tuple[str, str]]) -> Routing:
        """Return the routing in which these accounts (tenant, name) are down."""
        if not down:
            return self
        found = {
            tenant: {name: replace(offer, down=True) if (tenant, name) in down else offer for name, offer in offers.items()}
            for tenant, offers in self.accounts.items()
        }
        return replace(self, accounts=found)

    def choose(
        self, tenant: str, channel: str, countries: Collection[str], *seed: object, avoid: Collection[str | None] = ()
    ) -> Offer | None:  # fmt: skip
        """Return the provider for this seed, drawn by weight from those that do not rest, others before those to avoid; or None."""
        all_open = [(offer, weight) for offer, weight in self.candidates(tenant, channel, countries) if not offer.resting]
        open_ones = [(offer, weight) for offer, weight in all_open if offer.name not in avoid] or all_open
        place = fraction(*seed) * sum(weight for _, weight in open_ones)
        for offer, weight in open_ones:
            if place < weight:
                return offer
            place -= weight
        return open_ones[-1][0] if open_ones else None

    def channels(self, tenant: str, countries: Collection[str]) -> dict[str, bool]:
        """Return the channels that somebody carries to these countries, and whether that reaches nobody: all are sandboxes."""
        named = {channel for offer in self.offers(tenant).values() for channel in offer.channels}
        carried = {channel: self.candidates(tenant, channel, countries) for channel in sorted(named)}
        return {channel: all(offer.sandbox for offer, _ in found) for channel, found in carried.items() if found}

    def probed(self, tenant: str, channel: str, countries: Collection[str], probes: Collection[str]) -> str | None:
        """Return the one of these that could carry it, if any: it is down, and this message tries it."""
        found = (offer for offer, _ in self.candidates(tenant, channel, countries))
        return next((offer.name for offer in found if offer.name in probes and not offer.paused), None)

    def resting(self, tenant: str, countries: Collection[str], probes: Collection[str] = ()) -> frozenset[str]:
        """Return the channels on which all who could carry it are paused, or down and not to be tried."""
        carried = {channel: self.candidates(tenant, channel, countries) for channel in self.channels(tenant, countries)}
        idle = {channel for channel, found in carried.items() if all(offer.resting for offer, _ in found)}
        return frozenset(channel for channel in idle if self.probed(tenant, channel, countries, probes) is None)

    def down(self, tenant: str, countries: Collection[str]) -> frozenset[str]:
        """Return the channels on which somebody who is not paused is down."""
        carried = {channel: self.candidates(tenant, channel, countries) for channel in self.channels(tenant, countries)}
        return frozenset(channel for channel, found in carried.items() if any(offer.down and not offer.paused for offer, _ in found))


def countries_of(jurisdictions: Collection[str]) -> frozenset[str]:
    """Return the countries of jurisdictions: `US-FED-REGF` is in `US`."""
    return frozenset(place.partition("-")[0] for place in jurisdictions)
