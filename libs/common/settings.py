"""Settings from the environment: read once, by the composition roots, and passed on as frozen values."""

from __future__ import annotations

import base64
import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from libs.common.tokens import Trust

_TENANT = re.compile(r"[A-Za-z0-9._-]{1,64}")
_BROKER = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")
_JWT_SETTINGS = ("ISSUER", "AUDIENCE", "JWKS_URL", "JWKS_FILE", "TENANT_CLAIM", "SCOPE_CLAIM", "PERSON_CLAIM")
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


class SettingsError(Exception):
    """A setting is missing or invalid; the sentence names the variable."""


def version() -> str:
    """Return the running release."""
    return metadata.version("dunwell")


@dataclass(frozen=True, slots=True)
class Outlets:
    """How a service may publish to those without Kafka."""

    keeps_feed: bool = True
    webhook_key: bytes | None = None
    """Seals the secrets of webhooks; without it, webhooks are not available."""
    local: bool = False
    """Whether a webhook may lead to this machine, over plain HTTP: for a platform on a developer's machine."""


@dataclass(frozen=True, slots=True)
class Kept:
    """How long to keep data that grows without end and is not needed for good."""

    facts: timedelta = timedelta(days=1100)
    """Superseded facts: reports and simulations of the past reach this far back."""
    requests: timedelta = timedelta(days=400)
    """Providers' raw posts, the history of their health, and permits to contact somebody that were never followed by a record."""
    spent: timedelta = timedelta(days=90)
    """What is finished: links, simulations, the content of parked events, names of parts, messages to the sandbox."""


@dataclass(frozen=True, slots=True)
class TokenSettings:
    """Whose tokens are trusted, and where the issuer's keys are: at a URL, or in a file."""

    trust: Trust
    keys: str | Path


@dataclass(frozen=True, slots=True)
class Common:
    """What every service needs to run on its own."""

    database_url: str
    kafka_bootstrap: str
    host: str
    port: int
    partitions: int
    tenants: tuple[str, ...]
    log_level: str
    drain_s: float
    settle_s: float
    sealing_public: bytes
    sealing_private: bytes | None
    digest_key: bytes
    public_url: str | None = None
    outlets: Outlets = field(default_factory=Outlets)
    sealing_older: tuple[bytes, ...] = ()
    ingest_url: str | None = None
    notifier_url: str | None = None
    service_keys: Mapping[str, str] = field(default_factory=dict)
    private_hosts: frozenset[str] = frozenset()
    page_url: str | None = None
    link_keys: tuple[bytes, ...] = ()
    tokens: TokenSettings | None = None


def common(service: str, env: Mapping[str, str] | None = None) -> Common:
    """Read what every service needs; `service` gives the default port."""
    env = os.environ if env is None else env
    ports = {"ingest": 8001, "scheduler": 8002, "notifier": 8003}
    private = env.get("DUNWELL_SEALING_PRIVATE_KEY")
    opens = sealing_privates(env) if service == "notifier" or (service == "all" and private) else ()
    return Common(
        database_url=_in(env, "DUNWELL_DATABASE_URL"),
        kafka_bootstrap=kafka_bootstrap(env),
        host=env.get("DUNWELL_HOST", "127.0.0.1"),
        port=_port(env, ports.get(service, 8000)),
        partitions=partitions(env),
        tenants=tenants(env),
        log_level=_level(env),
        drain_s=_seconds(env, "DUNWELL_DRAIN_SECONDS", "3"),
        settle_s=_seconds(env, "DUNWELL_SETTLE_SECONDS", "2"),
        sealing_public=_key(env, "DUNWELL_SEALING_PUBLIC_KEY") if service == "ingest" else b"",
        sealing_private=opens[0] if opens else None,
        sealing_older=opens[1:],
        digest_key=_key(env, "DUNWELL_DIGEST_KEY") if service != "scheduler" else b"",
        public_url=public_url(env) if service == "notifier" else None,
        outlets=Outlets(_is_on(env, "DUNWELL_FEED"), _key(env, "DUNWELL_WEBHOOK_KEY") if env.get("DUNWELL_WEBHOOK_KEY") else None),
        ingest_url=_url(env, "DUNWELL_INGEST_URL") if service == "scheduler" else None,
        notifier_url=_url(env, "DUNWELL_NOTIFIER_URL") if service == "scheduler" else None,
        service_keys=_service_keys(env) if service == "scheduler" else {},
        private_hosts=_names(env, "DUNWELL_PRIVATE_HOSTS") if service == "notifier" else frozenset(),
        **_page(env, service),
        tokens=_tokens(env),
    )


def public_url(env: Mapping[str, str] | None = None) -> str | None:
    """Return where providers reach the notifier."""
    return _url(os.environ if env is None else env, "DUNWELL_PUBLIC_URL")


def _page(env: Mapping[str, str], service: str) -> dict[str, Any]:
    """Read where the borrower's page is and what its links are signed with; knowing the page, nobody can make a link without a key."""
    if service == "ingest":
        return {}
    url, keys = page_url(env), _keys(env, "DUNWELL_LINK_KEY") if env.get("DUNWELL_LINK_KEY") else ()
    if service == "notifier" and url is not None and not keys:
        raise SettingsError("DUNWELL_LINK_KEY is not set: with DUNWELL_PAGE_URL messages carry signed links; the scheduler needs it too")
    return {"page_url": url, "link_keys": keys}


def page_url(env: Mapping[str, str] | None = None) -> str | None:
    """Return where borrowers reach their page."""
    return _url(os.environ if env is None else env, "DUNWELL_PAGE_URL")


def required(name: str) -> str:
    """Return a variable of the environment that must be set."""
    return _in(os.environ, name)


def kafka_bootstrap(env: Mapping[str, str] | None = None) -> str:
    """Return the brokers, separated by commas."""
    value = _in(os.environ if env is None else env, "DUNWELL_KAFKA_BOOTSTRAP")
    if not all(_BROKER.fullmatch(part.strip()) for part in value.split(",")):
        raise SettingsError(f"DUNWELL_KAFKA_BOOTSTRAP must be brokers like 127.0.0.1:9092, separated by commas, not {value!r}")
    return value


def sealing_privates(env: Mapping[str, str] | None = None) -> tuple[bytes, ...]:
    """Return the private keys that open what is sealed: the newest first, followed by the earlier ones."""
    return _keys(os.environ if env is None else env, "DUNWELL_SEALING_PRIVATE_KEY")


def _keys(env: Mapping[str, str], name: str) -> tuple[bytes, ...]:
    keys = tuple(_key({name: part.strip()}, name) for part in _in(env, name).split(","))
    if len(set(keys)) < len(keys):
        raise SettingsError(f"{name} names a key twice")
    return keys


def tenants(env: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Return the tenants; the first one's topics have the plain names."""
    env = os.environ if env is None else env
    named = tuple(t.strip() for t in env.get("DUNWELL_TENANTS", "default").split(",") if t.strip())
    if not named or len(set(named)) != len(named) or not all(_TENANT.fullmatch(name) for name in named):
        raise SettingsError(
            "DUNWELL_TENANTS must name at least one tenant, each once, with A-Z a-z 0-9 . _ - only: they become parts of topic names"
        )
    return named


def partitions(env: Mapping[str, str] | None = None) -> int:
    """Return the number of partitions of every topic."""
    number = _integer(os.environ if env is None else env, "DUNWELL_PARTITIONS", 12)
    if number < 1:
        raise SettingsError(f"DUNWELL_PARTITIONS must be 1 or more, not {number}")
    return number


def simulation_processes(env: Mapping[str, str] | None = None) -> int:
    """Return the number of processes that run simulations beside the scheduler."""
    number = _integer(os.environ if env is None else env, "DUNWELL_SIMULATION_PROCESSES", 2)
    if not 1 <= number <= 64:
        raise SettingsError(f"DUNWELL_SIMULATION_PROCESSES must lie between 1 and 64, not {number}")
    return number


def approval_needs_simulation(env: Mapping[str, str] | None = None) -> bool:
    """Tell whether a policy must have been simulated before it is approved."""
    value = (os.environ if env is None else env).get("DUNWELL_APPROVAL_NEEDS_SIMULATION", "no").lower()
    if value not in {"yes", "no"}:
        raise SettingsError(f"DUNWELL_APPROVAL_NEEDS_SIMULATION must be yes or no, not {value!r}")
    return value == "yes"


def kept(env: Mapping[str, str] | None = None) -> Kept:
    """Return how long to keep what is not kept for good."""
    env = os.environ if env is None else env
    usual = Kept()
    return Kept(
        _days(env, "DUNWELL_KEEP_FACTS_DAYS", usual.facts),
        _days(env, "DUNWELL_KEEP_REQUESTS_DAYS", usual.requests),
        _days(env, "DUNWELL_KEEP_SPENT_DAYS", usual.spent),
    )


def _days(env: Mapping[str, str], name: str, usual: timedelta) -> timedelta:
    number = _integer(env, name, usual.days)
    if not 31 <= number <= 36_500:
        raise SettingsError(f"{name} must lie between 31 and 36500 days, not {number}")
    return timedelta(days=number)


def _names(env: Mapping[str, str], name: str) -> frozenset[str]:
    return frozenset(part.strip() for part in env.get(name, "").split(",") if part.strip())


def _in(env: Mapping[str, str], name: str) -> str:
    if not (value := env.get(name)):
        raise SettingsError(f"{name} is not set")
    return value


def _integer(env: Mapping[str, str], name: str, default: int) -> int:
    try:
        return int(env.get(name, default))
    except ValueError:
        raise SettingsError(f"{name} must be a whole number, not {env[name]!r}") from None


def _port(env: Mapping[str, str], default: int) -> int:
    number = _integer(env, "DUNWELL_PORT", default)
    if not 0 <= number <= 65_535:
        raise SettingsError(f"DUNWELL_PORT must lie between 0 and 65535, not {number}")
    return number


def _seconds(env: Mapping[str, str], name: str, default: str) -> float:
    try:
        value = float(env.get(name, default))
    except ValueError:
        raise SettingsError(f"{name} must be a number of seconds, not {env[name]!r}") from None
    if not 0 <= value <= 3600:
        raise SettingsError(f"{name} must lie between 0 and 3600 seconds, not {value}")
    return value


def _is_on(env: Mapping[str, str], name: str) -> bool:
    value = env.get(name) or "off"
    if value not in {"on", "off"}:
        raise SettingsError(f"{name} must be on or off, not {value!r}")
    return value == "on"


def _url(env: Mapping[str, str], name: str) -> str | None:
    value = env.get(name)
    if value and not re.fullmatch(r"https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~/-]*)?", value):
        raise SettingsError(f"{name} must be a URL like https://dunning.example, not {value!r}")
    return value.rstrip("/") if value else None


def _tokens(env: Mapping[str, str]) -> TokenSettings | None:
    """Read whose tokens are trusted; None where nothing is set."""
    said = {name: value for name in _JWT_SETTINGS if (value := env.get(f"DUNWELL_JWT_{name}"))}
    if not said:
        return None
    if missing := {"ISSUER", "AUDIENCE"} - said.keys():
        raise SettingsError(f"DUNWELL_JWT_{min(missing)} is not set, and other settings of JWTs are")
    if len(said.keys() & {"JWKS_URL", "JWKS_FILE"}) != 1:
        raise SettingsError("the issuer's keys: set either DUNWELL_JWT_JWKS_URL or DUNWELL_JWT_JWKS_FILE")
    claims = {name.lower(): said[name] for name in _JWT_SETTINGS if name.endswith("_CLAIM") and name in said}
    keys = _safe_url(said["JWKS_URL"]) if "JWKS_URL" in said else Path(said["JWKS_FILE"])
    return TokenSettings(Trust(said["ISSUER"], said["AUDIENCE"], **claims), keys)


def _safe_url(value: str) -> str:
    """Return a URL that nobody in between can answer for: over TLS, or on this machine."""
    parts = urlsplit(value)
    host = parts.hostname or ""
    try:
        here = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        here = False
    if not host or not (parts.scheme == "https" or (parts.scheme == "http" and here)):
        raise SettingsError(f"DUNWELL_JWT_JWKS_URL must be an https URL, or http on this machine, not {value!r}")
    return value


def _service_keys(env: Mapping[str, str]) -> dict[str, str]:
    """Read `key` (of the first tenant), or `tenant=key` separated by commas: a key opens only its own tenant's books."""
    parts = [part.strip() for part in env.get("DUNWELL_SERVICE_KEY", "").split(",") if part.strip()]
    pairs = [part.partition("=")[::2] if "=" in part else (tenants(env)[0], part) for part in parts]
    if unknown := {tenant for tenant, _ in pairs} - set(tenants(env)):
        raise SettingsError(f"DUNWELL_SERVICE_KEY names tenants that DUNWELL_TENANTS does not: {', '.join(sorted(unknown))}")
    return dict(pairs)


def _level(env: Mapping[str, str]) -> str:
    level = env.get("DUNWELL_LOG_LEVEL", "INFO").upper()
    if level not in _LEVELS:
        raise SettingsError(f"DUNWELL_LOG_LEVEL must be one of {', '.join(_LEVELS)}, not {level!r}")
    return level


def _key(env: Mapping[str, str], name: str) -> bytes:
    try:
        value = base64.b64decode(_in(env, name), validate=True)
    except ValueError:  # for bad base64 as for text beyond ASCII
        raise SettingsError(f"{name} is not base64: make keys with `dunwell keys sealing`") from None
    if len(value) != 32:
        raise SettingsError(f"{name} must hold 32 bytes: make keys with `dunwell keys sealing`")
    return value
