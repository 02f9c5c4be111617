"""Settings from the environment: what is missing or wrong is named."""

from __future__ import annotations

import base64
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path

import pytest

from libs.common.settings import Kept, SettingsError, TokenSettings, common, kept, partitions, tenants
from libs.common.tokens import Trust

OTHER_KEY = base64.b64encode(b"o" * 32).decode()
KEY = base64.b64encode(b"k" * 32).decode()
FULL = {
    "DUNWELL_DATABASE_URL": "postgresql://127.0.0.1/dunwell",
    "DUNWELL_KAFKA_BOOTSTRAP": "127.0.0.1:9092",
    "DUNWELL_SEALING_PUBLIC_KEY": KEY,
    "DUNWELL_SEALING_PRIVATE_KEY": KEY,
    "DUNWELL_DIGEST_KEY": KEY,
}


@pytest.mark.parametrize(("service", "port"), [("ingest", 8001), ("scheduler", 8002), ("notifier", 8003)])
def test_a_service_that_is_told_what_it_needs_starts_on_its_port(service: str, port: int) -> None:
    read = common(service, FULL)
    assert (read.port, read.host, read.partitions, read.tenants, read.log_level) == (port, "127.0.0.1", 12, ("default",), "INFO")


OTHERS = {
    "DUNWELL_DATABASE_URL": ("database_url", "postgresql://127.0.0.1/other"), "DUNWELL_KAFKA_BOOTSTRAP": ("kafka_bootstrap", "10.0.0.1:1"),
    "DUNWELL_HOST": ("host", "0.0.0.0"), "DUNWELL_PORT": ("port", "9001"), "DUNWELL_PARTITIONS": ("partitions", "7"),
    "DUNWELL_TENANTS": ("tenants", "a,b"), "DUNWELL_LOG_LEVEL": ("log_level", "ERROR"), "DUNWELL_DRAIN_SECONDS": ("drain_s", "11"),
    "DUNWELL_SETTLE_SECONDS": ("settle_s", "13"), "DUNWELL_SEALING_PUBLIC_KEY": ("sealing_public", OTHER_KEY),
    "DUNWELL_SEALING_PRIVATE_KEY": ("sealing_private", OTHER_KEY), "DUNWELL_DIGEST_KEY": ("digest_key", OTHER_KEY),
    "DUNWELL_PUBLIC_URL": ("public_url", "https://a.example"), "DUNWELL_FEED": ("outlets", "on"),
    "DUNWELL_WEBHOOK_KEY": ("outlets", OTHER_KEY),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_each_variable_changes_the_setting_of_its_name_and_no_other(name: str) -> None:
    where, value = OTHERS[name]
    services = [service for service in ("ingest", "notifier") if common(service, FULL | {name: value}) != common(service, FULL)]
    assert services
    for service in services:
        before, after = (asdict(common(service, env)) for env in (FULL, FULL | {name: value}))
        assert {setting for setting in before if before[setting] != after[setting]} == {where}


@pytest.mark.parametrize(
    ("service", "missing"),
    [
        ("ingest", "DUNWELL_DATABASE_URL"),
        ("ingest", "DUNWELL_KAFKA_BOOTSTRAP"),
        ("ingest", "DUNWELL_SEALING_PUBLIC_KEY"),
        ("ingest", "DUNWELL_DIGEST_KEY"),
        ("scheduler", "DUNWELL_DATABASE_URL"),
        ("notifier", "DUNWELL_SEALING_PRIVATE_KEY"),
        ("notifier", "DUNWELL_DIGEST_KEY"),
    ],
)
@pytest.mark.parametrize("value", [None, ""])
def test_a_setting_that_is_missing_is_named(service: str, missing: str, value: str | None) -> None:
    env = {name: text for name, text in {**FULL, missing: value}.items() if text is not None}
    with pytest.raises(SettingsError, match=missing):
        common(service, env)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DUNWELL_PORT", "eighty"),
        ("DUNWELL_PORT", "80.5"),
        ("DUNWELL_PARTITIONS", "many"),
        ("DUNWELL_DRAIN_SECONDS", "soon"),
        ("DUNWELL_SETTLE_SECONDS", "later"),
        ("DUNWELL_LOG_LEVEL", "loud"),
        ("DUNWELL_SEALING_PUBLIC_KEY", "!"),
        ("DUNWELL_SEALING_PUBLIC_KEY", base64.b64encode(b"short").decode()),
        ("DUNWELL_DIGEST_KEY", "ü"),
    ],
)
def test_a_setting_that_cannot_be_read_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        common("ingest", {**FULL, name: value})


def test_no_sentence_about_a_key_shows_it() -> None:
    secret = base64.b64encode(b"half of a secret").decode()
    with pytest.raises(SettingsError) as error:
        common("ingest", {**FULL, "DUNWELL_DIGEST_KEY": secret})
    assert secret not in str(error.value)


def test_a_service_holds_only_the_keys_that_it_needs() -> None:
    ingest, scheduler, notifier = (common(name, FULL) for name in ("ingest", "scheduler", "notifier"))
    assert (ingest.sealing_private, scheduler.sealing_private, scheduler.sealing_public, scheduler.digest_key) == (None, None, b"", b"")
    assert (notifier.sealing_private, notifier.sealing_public) == (b"k" * 32, b"")


def test_of_several_private_keys_the_first_is_sealed_for_and_the_others_open() -> None:
    keys = [base64.b64encode(letter * 32).decode() for letter in (b"n", b"k")]
    found = common("notifier", {**FULL, "DUNWELL_SEALING_PRIVATE_KEY": ", ".join(keys)})
    assert (found.sealing_private, found.sealing_older) == (b"n" * 32, (b"k" * 32,))
    for wrong in (f"{keys[0]},", f"{keys[0]},{keys[0]}"):
        with pytest.raises(SettingsError, match="DUNWELL_SEALING_PRIVATE_KEY"):
            common("notifier", {**FULL, "DUNWELL_SEALING_PRIVATE_KEY": wrong})


def test_the_first_tenant_is_the_first_named() -> None:
    assert tenants({"DUNWELL_TENANTS": " east, west ,,"}) == ("east", "west")
    assert partitions({"DUNWELL_PARTITIONS": "64"}) == 64


@pytest.mark.parametrize("value", [" , ", "east,east", "a b", "../x"])
def test_tenants_that_could_not_be_told_apart_or_name_a_topic_are_refused(value: str) -> None:
    with pytest.raises(SettingsError, match="DUNWELL_TENANTS"):
        common("ingest", {**FULL, "DUNWELL_TENANTS": value})


@pytest.mark.parametrize("value", ["0", "-1"])
def test_a_topic_has_at_least_one_partition(value: str) -> None:
    with pytest.raises(SettingsError, match="DUNWELL_PARTITIONS"):
        partitions({"DUNWELL_PARTITIONS": value})


def test_a_service_key_is_of_the_first_tenant_unless_it_names_its_own() -> None:
    env = {**FULL, "DUNWELL_TENANTS": "east,west", "DUNWELL_INGEST_URL": "http://ingest:8001/"}
    assert common("scheduler", {**env, "DUNWELL_SERVICE_KEY": "dw_a"}).service_keys == {"east": "dw_a"}
    both = common("scheduler", {**env, "DUNWELL_SERVICE_KEY": "dw_a, west=dw_b"})
    assert (both.service_keys, both.ingest_url, both.notifier_url) == ({"east": "dw_a", "west": "dw_b"}, "http://ingest:8001", None)
    with pytest.raises(SettingsError, match="DUNWELL_SERVICE_KEY"):
        common("scheduler", {**env, "DUNWELL_SERVICE_KEY": "north=dw_c"})


def test_the_borrowers_page_is_the_schedulers_and_the_notifiers_who_needs_a_key_to_write_links() -> None:
    env = {**FULL, "DUNWELL_PAGE_URL": "https://pay.example/"}
    assert common("scheduler", env).page_url == "https://pay.example"
    with pytest.raises(SettingsError, match="DUNWELL_LINK_KEY"):
        common("notifier", env)
    assert common("notifier", {**FULL, "DUNWELL_LINK_KEY": KEY}).page_url is None
    env["DUNWELL_LINK_KEY"] = f"{OTHER_KEY},{KEY}"
    for service in ("scheduler", "notifier"):
        read = common(service, env)
        assert (read.page_url, read.link_keys) == ("https://pay.example", (b"o" * 32, b"k" * 32))
    read = common("ingest", env)
    assert (read.page_url, read.link_keys) == (None, ())
    with pytest.raises(SettingsError, match="DUNWELL_LINK_KEY"):
        common("scheduler", {**env, "DUNWELL_LINK_KEY": f"{KEY},{KEY}"})
    assert common("scheduler", FULL).page_url is None
    with pytest.raises(SettingsError, match="DUNWELL_PAGE_URL"):
        common("scheduler", {**FULL, "DUNWELL_PAGE_URL": "pay.example"})


def test_the_public_url_is_the_notifiers_alone_and_ends_without_a_slash() -> None:
    env = {**FULL, "DUNWELL_PUBLIC_URL": "https://dunning.example/notifier/"}
    assert common("notifier", env).public_url == "https://dunning.example/notifier"
    assert common("ingest", env).public_url is None
    assert common("notifier", FULL).public_url is None


@pytest.mark.parametrize("value", ["dunning.example", "ftp://dunning.example", "https://dunning.example/?x=1"])
def test_a_public_url_that_is_none_is_named(value: str) -> None:
    with pytest.raises(SettingsError, match="DUNWELL_PUBLIC_URL"):
        common("notifier", {**FULL, "DUNWELL_PUBLIC_URL": value})


@pytest.mark.parametrize("name", ["facts", "requests", "spent"])
def test_for_how_long_something_is_kept_is_a_number_of_days_each_by_its_own_name(name: str) -> None:
    variable = f"DUNWELL_KEEP_{name.upper()}_DAYS"
    assert kept({variable: "45"}) == replace(Kept(), **{name: timedelta(days=45)})
    for wrong in ("30", "36501", "a year"):
        with pytest.raises(SettingsError, match=variable):
            kept({variable: wrong})


@pytest.mark.parametrize("port", ["-1", "65536", "http"])
def test_a_port_that_no_machine_has_is_refused(port: str) -> None:
    with pytest.raises(SettingsError, match="DUNWELL_PORT"):
        common("ingest", FULL | {"DUNWELL_PORT": port})


JWT = {
    "DUNWELL_JWT_ISSUER": "https://id.example",
    "DUNWELL_JWT_AUDIENCE": "dunwell",
    "DUNWELL_JWT_JWKS_URL": "https://id.example/certs",
}

ANYBODY_S = (
    "http://id.example/certs", "http://10.0.0.1/certs", "http://localhost.example/", "ftp://localhost/", "file:///k", "k", "https:///k",
)  # fmt: skip


@pytest.mark.parametrize("service", ["ingest", "scheduler", "notifier"])
def test_every_service_is_told_of_tokens_alike_and_of_none_where_nothing_is_set(service: str) -> None:
    unset = dict.fromkeys([*JWT, "DUNWELL_JWT_JWKS_FILE", "DUNWELL_JWT_TENANT_CLAIM"], "")
    assert common(service, FULL).tokens is common(service, FULL | unset).tokens is None
    assert common(service, FULL | JWT).tokens == TokenSettings(Trust("https://id.example", "dunwell"), "https://id.example/certs")
    named = {"DUNWELL_JWT_TENANT_CLAIM": "org", "DUNWELL_JWT_SCOPE_CLAIM": "scp", "DUNWELL_JWT_PERSON_CLAIM": "human"}
    of_a_file = named | {"DUNWELL_JWT_JWKS_URL": "", "DUNWELL_JWT_JWKS_FILE": "/etc/jwks.json"}
    told = TokenSettings(Trust("https://id.example", "dunwell", "org", "scp", "human"), Path("/etc/jwks.json"))
    assert common(service, FULL | JWT | of_a_file).tokens == told


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"DUNWELL_JWT_ISSUER": ""}, "DUNWELL_JWT_ISSUER"),
        ({"DUNWELL_JWT_AUDIENCE": ""}, "DUNWELL_JWT_AUDIENCE"),
        ({"DUNWELL_JWT_JWKS_URL": ""}, "DUNWELL_JWT_JWKS_FILE"),
        ({"DUNWELL_JWT_JWKS_FILE": "/etc/jwks.json"}, "DUNWELL_JWT_JWKS_FILE"),
        *(({"DUNWELL_JWT_JWKS_URL": url}, "DUNWELL_JWT_JWKS_URL") for url in ANYBODY_S),
    ],
)
def test_tokens_that_are_half_set_or_whose_keys_anybody_could_send_are_told(changed: dict[str, str], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        common("ingest", FULL | JWT | changed)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080/certs", "http://[::1]/certs", "http://localhost/certs"])
def test_the_keys_may_come_over_plain_http_from_this_machine(url: str) -> None:
    read = common("ingest", FULL | JWT | {"DUNWELL_JWT_JWKS_URL": url}).tokens
    assert read is not None
    assert read.keys == url
