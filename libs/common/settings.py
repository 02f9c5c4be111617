"""Settings from the environment: read once, by the composition roots, and passed on as frozen values."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata


class SettingsError(Exception):
    """A setting is missing or cannot be read; the sentence names the variable."""


def version() -> str:
    """Return the release that runs."""
    return metadata.version("dunwell")


@dataclass(frozen=True, slots=True)
class Common:
    """What every service needs to run apart."""

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


def common(service: str, env: Mapping[str, str] | None = None) -> Common:
    """Read what every service needs; `service` gives the default port."""
    env = os.environ if env is None else env
    ports = {"ingest": 8001, "scheduler": 8002, "notifier": 8003}
    private = env.get("DUNWELL_SEALING_PRIVATE_KEY")
    return Common(
        database_url=_in(env, "DUNWELL_DATABASE_URL"),
        kafka_bootstrap=_in(env, "DUNWELL_KAFKA_BOOTSTRAP"),
        host=env.get("DUNWELL_HOST", "127.0.0.1"),
        port=_integer(env, "DUNWELL_PORT", ports.get(service, 8000)),
        partitions=partitions(env),
        tenants=tenants(env),
        log_level=env.get("DUNWELL_LOG_LEVEL", "INFO").upper(),
        drain_s=float(env.get("DUNWELL_DRAIN_SECONDS", "3")),
        settle_s=float(env.get("DUNWELL_SETTLE_SECONDS", "2")),
        sealing_public=_key(env, "DUNWELL_SEALING_PUBLIC_KEY") if service == "ingest" else b"",
        sealing_private=_key(env, "DUNWELL_SEALING_PRIVATE_KEY") if service == "notifier" or (service == "all" and private) else None,
        digest_key=_key(env, "DUNWELL_DIGEST_KEY") if service != "scheduler" else b"",
    )


def required(name: str) -> str:
    """Return a variable of the environment that must be set."""
    return _in(os.environ, name)


def tenants(env: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Return the tenants; the first one's topics have the plain names."""
    env = os.environ if env is None else env
    return tuple(t.strip() for t in env.get("DUNWELL_TENANTS", "default").split(",") if t.strip())


def partitions(env: Mapping[str, str] | None = None) -> int:
    """Return over how many partitions every topic is spread."""
    return _integer(os.environ if env is None else env, "DUNWELL_PARTITIONS", 12)


def _in(env: Mapping[str, str], name: str) -> str:
    if not (value := env.get(name)):
        raise SettingsError(f"{name} is not set")
    return value


def _integer(env: Mapping[str, str], name: str, default: int) -> int:
    try:
        return int(env.get(name, default))
    except ValueError:
        raise SettingsError(f"{name} must be a whole number, not {env[name]!r}") from None


def _key(env: Mapping[str, str], name: str) -> bytes:
    try:
        value = base64.b64decode(_in(env, name), validate=True)
    except binascii.Error:
        raise SettingsError(f"{name} is not base64: make keys with `dunwell keys sealing`") from None
    if len(value) != 32:
        raise SettingsError(f"{name} must hold 32 bytes: make keys with `dunwell keys sealing`")
    return value
