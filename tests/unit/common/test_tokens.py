"""Which tokens of an identity provider are believed, and what they say of their bearer."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from libs.common.auth import SCOPES, Principal, caller_of
from libs.common.tokens import LEEWAY, Bearer, KeySetError, RefusedTokenError, Trust, is_token, judged, key_id, read_keys
from tests.support.issuing import ALGORITHMS, AUDIENCE, ISSUER, TRUST, Issuer, claims_at, forged, private_key, public_jwk, public_pem

NOW = datetime(2026, 11, 24, 10, 15, tzinfo=UTC)
AT = int(NOW.timestamp())
ID = Issuer()
KEYS = read_keys(ID.document)


def believed(token: str, now: datetime = NOW, *, trust: Trust = TRUST) -> Bearer:
    """Return the bearer as the door finds it: by the key that the token names."""
    kid = key_id(token)
    if kid not in KEYS:
        raise RefusedTokenError("unknown_kid")
    return judged(token, KEYS[kid], trust, now)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_token_of_the_issuer_says_who_calls_and_what_they_may_do(algorithm: str) -> None:
    token = ID.token(NOW, algorithm, scope="openid cases:read  ops")
    assert is_token(token)
    assert believed(token) == Bearer("default", "mei", True, frozenset({"openid", "cases:read", "ops"}))


SOON = int(LEEWAY.total_seconds())
GOOD: dict[str, dict[str, Any]] = {
    "expired, within the leeway": {"exp": AT - SOON + 1},
    "valid from soon, within the leeway": {"nbf": AT + SOON},
    "for us among others": {"aud": ["other", AUDIENCE]},
    "a fraction of a second": {"exp": AT + 0.5},
    "without a word on when it was issued": {"iat": None},
    "issued in the future, as clocks differ": {"iat": AT + 3600},
    "a type of RFC 9068": {"headers": {"typ": "AT+JWT"}},
}
BAD: dict[str, tuple[str, dict[str, Any]]] = {
    "expired": ("expired", {"exp": AT - SOON}),
    "without an end": ("claims_missing", {"exp": None}),
    "with an end that is no number": ("claims_missing", {"exp": "tomorrow"}),
    "with an end that is not even a number": ("expired", {"exp": float("nan")}),
    "with an end beyond all numbers": ("claims_missing", {"exp": 10**400}),
    "with true for an end": ("claims_missing", {"exp": True}),
    "not yet valid": ("not_yet_valid", {"nbf": AT + SOON + 1}),
    "valid from nobody knows when": ("not_yet_valid", {"nbf": float("nan")}),
    "for another audience": ("wrong_audience", {"aud": "wallet"}),
    "for others": ("wrong_audience", {"aud": ["wallet", AUDIENCE + "2"]}),
    "for nobody": ("claims_missing", {"aud": None}),
    "of another issuer": ("wrong_issuer", {"iss": ISSUER + "/"}),
    "of no issuer": ("claims_missing", {"iss": None}),
    "of nobody": ("claims_missing", {"sub": None}),
    "of a nameless one": ("claims_missing", {"sub": ""}),
    "of one with a name too long": ("claims_missing", {"sub": "x" * 129}),
    "of one whose name is two lines": ("claims_missing", {"sub": "mei\nops"}),
    "without a tenant": ("no_tenant", {"tenant": None}),
    "of two tenants": ("no_tenant", {"tenant": ["default"]}),
    "of a tenant that is none": ("no_tenant", {"tenant": "default/other"}),
    "of another key than it names": ("bad_signature", {"headers": {"kid": "ES256"}}),
    "of a key nobody knows": ("unknown_kid", {"headers": {"kid": "new"}}),
    "for saying good-bye": ("wrong_type", {"headers": {"typ": "logout+jwt"}}),
    "with an extension that we do not know": ("malformed", {"headers": {"crit": ["exp"], "exp": 1}}),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_token_that_is_as_it_should_be_is_believed(name: str) -> None:
    assert believed(ID.token(NOW, **GOOD[name])).subject == "mei"


@pytest.mark.parametrize("name", BAD)
def test_a_token_is_refused_that_is(name: str) -> None:
    reason, changed = BAD[name]
    with pytest.raises(RefusedTokenError) as refused:
        believed(ID.token(NOW, **changed))
    assert refused.value.reason == reason


FORGED: dict[str, Callable[[], str]] = {
    "no signature": lambda: forged(NOW, "none", "RS256", b""),
    "no signature, spelled otherwise": lambda: forged(NOW, "NoNe", "RS256", b""),
    "the public key as a secret": lambda: forged(NOW, "HS256", "RS256", public_pem("RS256")),
    "the public key's text as a secret": lambda: forged(NOW, "HS256", "RS256", json.dumps(public_jwk("RS256", "RS256")).encode()),
    "the public key of a curve as a secret": lambda: forged(NOW, "HS256", "ES256", public_pem("ES256", "ES256")),
    "another RSA algorithm than the key's": lambda: forged(NOW, "RS512", "RS256", b""),
    "the signature of other claims": lambda: swapped(ID.token(NOW), ID.token(NOW, sub="ola")),
    "no key id": lambda: jwt.encode(claims_at(NOW), private_key("RS256", "RS256"), "RS256"),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_token_is_refused(name: str) -> None:
    with pytest.raises(RefusedTokenError):
        believed(FORGED[name]())


def swapped(one: str, other: str) -> str:
    """Return the claims of one token under the signature of another."""
    return ".".join((*one.split(".")[:2], other.split(".")[2]))


@given(token=st.one_of(st.text(), st.from_regex(r"[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_=-]{0,40}", fullmatch=True)))
def test_whatever_is_shown_is_refused_and_never_a_fault_of_ours(token: str) -> None:
    with pytest.raises(RefusedTokenError):
        believed(token)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
NAMES = ("iss", "aud", "sub", "exp", "nbf", "iat", "jti", "tenant", "scope", "person")


@given(name=st.sampled_from(NAMES), value=JSON)
def test_a_claim_of_any_value_is_believed_or_refused_and_makes_nobody_a_person_but_true(name: str, value: object) -> None:
    try:
        changed: dict[str, Any] = {name: value}
        token = ID.token(NOW, "ES256", **changed)
    except TypeError:
        return  # no issuer can sign it: the library that makes tokens refuses too
    try:
        bearer = believed(token)
    except RefusedTokenError:
        return
    assert bearer.is_person is (name != "person" or value is True)
    assert all(isinstance(scope, str) for scope in bearer.scopes)


@given(begins=st.integers(-600, 600), lasts=st.integers(0, 600), asked=st.integers(-1200, 1800))
def test_a_token_is_believed_from_its_begin_to_its_end_and_by_the_leeway_around_them(begins: int, lasts: int, asked: int) -> None:
    token = ID.token(NOW, "EdDSA", nbf=AT + begins, exp=AT + begins + lasts)
    try:
        valid = believed(token, NOW + timedelta(seconds=asked)).subject == "mei"
    except RefusedTokenError:
        valid = False
    assert valid is (begins - SOON <= asked < begins + lasts + SOON)


@pytest.mark.parametrize("said", ["cases:read ops", ["cases:read", "ops"]])
def test_scopes_come_as_oauth_writes_them_or_as_a_list_under_the_name_that_is_set(said: object) -> None:
    claims: dict[str, Any] = {"scp": said, "https://dunwell.example/tenant": "other", "https://dunwell.example/person": True}
    named = Trust(ISSUER, AUDIENCE, "https://dunwell.example/tenant", "scp", "https://dunwell.example/person")
    assert believed(ID.token(NOW, **claims), trust=named) == Bearer("other", "mei", True, frozenset({"cases:read", "ops"}))


@pytest.mark.parametrize("said", [None, 7, {"cases:read": True}])
def test_scopes_of_any_other_form_are_none(said: object) -> None:
    assert believed(ID.token(NOW, scope=said)).scopes == frozenset()


def test_scopes_that_are_not_ours_are_nothing_and_a_machine_approves_no_policy() -> None:
    every = frozenset({*SCOPES, "openid", "admin"})
    assert caller_of(Bearer("default", "mei", True, every)) == Principal("default", "mei", frozenset(SCOPES), subject="mei")
    machine = caller_of(Bearer("default", "core", False, every))
    assert (machine.person, machine.actor, machine.scopes) == (None, "core", frozenset(SCOPES) - {"policies:approve"})


@pytest.mark.parametrize("said", [None, "true", 1, "yes", ["true"]])
def test_only_the_word_true_makes_a_person(said: object) -> None:
    assert not believed(ID.token(NOW, person=said)).is_person


def a_short_key() -> dict[str, Any]:
    made: dict[str, Any] = RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 1024).public_key(), as_dict=True)
    return {**made, "kid": "k"}


def of_another_curve() -> dict[str, Any]:
    made: dict[str, Any] = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP384R1()).public_key(), as_dict=True)
    return {**made, "kid": "k"}


GOOD_KEY = public_jwk("RS256", "k")
UNUSABLE: dict[str, Callable[[], Any]] = {
    "a secret": lambda: {"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0", "kid": "k", "alg": "HS256"},
    "a secret that says otherwise": lambda: {"kty": "oct", "k": "c2VjcmV0", "kid": "k", "alg": "RS256"},
    "a private key": lambda: {**RSAAlgorithm.to_jwk(private_key("RS256", "k"), as_dict=True), "kid": "k"},
    "one without a kid": lambda: {name: value for name, value in GOOD_KEY.items() if name != "kid"},
    "one for encryption": lambda: {**GOOD_KEY, "use": "enc"},
    "one for another algorithm": lambda: {**GOOD_KEY, "alg": "RS512"},
    "one for secrets": lambda: {**GOOD_KEY, "alg": "HS256"},
    "a short one": a_short_key,
    "one of another curve": of_another_curve,
    "one that is broken": lambda: {**GOOD_KEY, "n": "!"},
    "one that is empty": dict,
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_of_a_set_only_keys_that_can_be_used_are_taken(name: str) -> None:
    document = json.dumps({"keys": [UNUSABLE[name](), public_jwk("ES256", "good")]}).encode()
    assert set(read_keys(document)) == {"good"}


@pytest.mark.parametrize("document", [b"", b"{", b"[]", b"{}", b'{"keys": []}', b'{"keys": [1]}', b'{"keys": {}}', b"\xff", b"[" * 100_000])
def test_what_is_no_set_of_keys_is_told_from_one(document: bytes) -> None:
    with pytest.raises(KeySetError):
        read_keys(document)


@given(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.lists(st.text(), max_size=2)
    | st.dictionaries(st.text(), st.text(), max_size=2)
)
def test_a_set_with_whatever_beside_its_key_gives_the_key(beside: object) -> None:
    assert "kid" in read_keys(json.dumps({"keys": [{"kty": beside, "kid": "x"}, public_jwk("EdDSA", "kid")], "more": 1}).encode())


def test_a_token_is_signed_over_every_byte_of_it() -> None:
    token = ID.token(NOW, "ES256")
    for at in range(0, len(token), 7):
        other = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
        with pytest.raises(RefusedTokenError):
            believed(other)
