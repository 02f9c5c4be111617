"""Routes: by country before any country, by weight, and never through a paused provider."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from services.notifier.domain.routing import ANYWHERE, Offer, Route, Routing, countries_of

SANDBOX = Offer("sandbox", ("sms", "email"), sandbox=True)
CN, US = frozenset({"CN"}), frozenset({"US"})
OFFERS = {name: Offer(name, ("sms",)) for name in "abc"}


def a_routing(*routes: Route, paused: str = "") -> Routing:
    accounts = {name: Offer(name, ("sms",), paused=name in paused) for name in OFFERS}
    return Routing((SANDBOX,), {"t": accounts}, {"t": routes})


def test_without_a_route_the_built_in_provider_carries_it_whatever_accounts_there_are() -> None:
    routing = a_routing()
    assert routing.choose("t", "sms", CN, 1) == SANDBOX
    assert routing.carried("t", frozenset({"CN"})).channels == {"email": True, "sms": True}


def test_a_route_of_the_country_goes_before_the_one_for_any_and_other_tenants_have_none_of_it() -> None:
    routing = a_routing(Route("sms", ANYWHERE, "a"), Route("sms", "CN", "b"))
    assert {routing.choose("t", "sms", CN, seed) for seed in range(50)} == {OFFERS["b"]}
    assert {routing.choose("t", "sms", US, seed) for seed in range(50)} == {OFFERS["a"]}
    assert routing.choose("other", "sms", CN, 1) == SANDBOX
    assert routing.carried("t", frozenset({"CN"})).channels == {"email": True, "sms": False}


def test_a_country_that_no_route_names_has_no_such_channel() -> None:
    routing = a_routing(Route("sms", "CN", "b"))
    assert routing.carried("t", frozenset({"US"})).channels == {"email": True}
    assert routing.choose("t", "sms", US, 1) is None


@given(weights=st.lists(st.integers(0, 5), min_size=3, max_size=3), paused=st.sets(st.sampled_from("abc")))
def test_what_is_paused_or_has_no_weight_carries_nothing_and_the_rest_by_weight(weights: list[int], paused: set[str]) -> None:
    routing = a_routing(*(Route("sms", "CN", name, weight) for name, weight in zip("abc", weights, strict=True)), paused="".join(paused))
    drawn = Counter(chosen.name for seed in range(400) if (chosen := routing.choose("t", "sms", CN, seed)))
    open_ones = {name: weight for name, weight in zip("abc", weights, strict=True) if weight and name not in paused}
    assert set(drawn) == set(open_ones)
    for name, weight in open_ones.items():
        assert abs(drawn[name] / 400 - weight / sum(open_ones.values())) < 0.15
    assert ("sms" in routing.carried("t", frozenset({"CN"})).resting) == (any(weights) and not open_ones)


def test_one_weighted_draw_does_not_pick_the_provider_that_has_just_failed_while_there_is_another() -> None:
    routing = a_routing(Route("sms", "CN", "a", 1000), Route("sms", "CN", "b", 1))
    drawn = [routing.choose("t", "sms", CN, "task", turn, avoid={"a"}) for turn in range(48)]
    assert drawn == [OFFERS["b"]] * 48
    alone = a_routing(Route("sms", "CN", "a"))
    assert alone.choose("t", "sms", CN, 1, avoid={"a"}) == OFFERS["a"]


@given(down=st.sets(st.sampled_from("abc")), paused=st.sets(st.sampled_from("abc")), probes=st.sets(st.sampled_from("abc")))
def test_what_is_down_carries_nothing_but_a_probe(down: set[str], paused: set[str], probes: set[str]) -> None:
    routing = a_routing(*(Route("sms", "CN", name) for name in "abc"), paused="".join(paused)).without({("t", name) for name in down})
    drawn = {chosen.name for seed in range(100) if (chosen := routing.choose("t", "sms", CN, seed))}
    assert drawn == set("abc") - down - paused
    probed = routing.probed("t", "sms", CN, probes)
    assert (probed is not None) == bool(probes - paused)
    assert ("sms" in routing.resting("t", frozenset({"CN"}), probes)) == (not drawn and probed is None)
    assert ("sms" in routing.carried("t", CN).down) == bool(down - paused)


def test_a_channel_that_a_sandbox_and_a_real_provider_share_reaches_somebody() -> None:
    routing = a_routing(Route("sms", ANYWHERE, "a"), Route("sms", ANYWHERE, "sandbox"))
    assert routing.carried("t", frozenset({"CN"})).channels["sms"] is False


def test_the_country_of_a_jurisdiction_is_its_first_part() -> None:
    assert countries_of(["US-FED-REGF", "US-NYC", "CN"]) == {"US", "CN"}
