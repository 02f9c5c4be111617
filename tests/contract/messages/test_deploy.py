"""The text of the deployment files: no container engine runs here, so this is all that is checked."""

from __future__ import annotations

import importlib.util
import re
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest
import yaml

from libs.common.settings import common

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
COMPOSE = DEPLOY / "compose.yaml"
SERVICES = ("ingest", "scheduler", "notifier")
SECRET = re.compile(r"PASSWORD|KEY|SECRET|TOKEN")


@pytest.fixture
def composed() -> Any:
    return yaml.safe_load(COMPOSE.read_text())["services"]


def instructions() -> list[str]:
    joined = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    return [line for line in joined.splitlines() if line and not line.startswith("#")]


def test_no_secret_stands_in_the_compose_file(composed: Any) -> None:
    for name, service in composed.items():
        for variable, value in service.get("environment", {}).items():
            if SECRET.search(variable):
                assert re.fullmatch(r"\$\{[A-Z_]+:(\?[^}]+|-)\}", str(value)), (name, variable)
    assert re.findall(r"://[^:/\s]+:(?!\$\{)[^@/\s]+@", COMPOSE.read_text()) == []


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_of_the_compose_file_is_told_what_it_needs_and_no_key_beyond_that(composed: Any, name: str) -> None:
    key = "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s="
    told = {variable: key if SECRET.search(variable) else str(value) for variable, value in composed[name]["environment"].items()}
    told |= {variable: "dw_a" for variable in told if variable == "DUNWELL_SERVICE_KEY"}
    plain = {variable: re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", value) for variable, value in told.items()}
    read = common(name, plain)
    assert composed[name]["ports"] == [f"127.0.0.1:{read.port}:{read.port}"]
    assert composed[name]["command"] == [name]
    keys = {variable for variable in told if variable.endswith("_KEY")}
    assert (
        keys
        == {
            "ingest": {"DUNWELL_SEALING_PUBLIC_KEY", "DUNWELL_DIGEST_KEY"},
            "scheduler": {"DUNWELL_LINK_KEY", "DUNWELL_SERVICE_KEY"},
            "notifier": {"DUNWELL_SEALING_PRIVATE_KEY", "DUNWELL_DIGEST_KEY", "DUNWELL_LINK_KEY"},
        }[name]
    )


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_starts_after_the_schemas_and_the_topics_and_has_time_to_end(composed: Any, name: str) -> None:
    assert composed[name]["depends_on"] == {one: {"condition": "service_completed_successfully"} for one in ("migrate", "topics")}
    assert composed[name]["stop_grace_period"] == "45s"


def test_our_containers_can_do_no_more_than_they_must(composed: Any) -> None:
    for name in (*SERVICES, "migrate", "topics"):
        assert (composed[name]["read_only"], composed[name]["cap_drop"]) == (True, ["ALL"])
        assert "privileged" not in composed[name]


def test_the_broker_is_of_the_version_that_the_tests_use(composed: Any) -> None:
    found = re.search(r"<kafka\.version>([^<]+)<", (DEPLOY / "kafka" / "pom.xml").read_text())
    assert found is not None
    assert composed["kafka"]["image"] == f"apache/kafka:{found[1]}"


def test_nothing_listens_beyond_this_machine(composed: Any) -> None:
    assert all(port.startswith("127.0.0.1:") for service in composed.values() for port in service.get("ports", ()))


def test_the_last_stage_of_the_image_runs_as_nobody_special_and_installs_nothing() -> None:
    lines = instructions()
    last = lines[max(at for at, line in enumerate(lines) if line.startswith("FROM")) :]
    assert any(line == "USER 10001:10001" for line in last)
    assert not [line for line in last if re.search(r"apt-get|pip install|gcc|ADD ", line)]
    assert any(line.startswith("HEALTHCHECK") and "/healthz" in line for line in last)
    assert 'ENTRYPOINT ["dunwell"]' in last


def test_every_package_of_the_image_comes_by_its_hash() -> None:
    installs = [line for line in instructions() if "pip install" in line]
    assert len(installs) == 2
    assert all(word in installs[0] for word in ("--require-hashes", "--only-binary=:all:", "requirements.lock"))
    assert all(word in installs[1] for word in ("--no-build-isolation", "--no-deps"))


def test_the_builder_is_sent_only_what_it_copies() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [line.split()[1:-1] for line in instructions() if line.startswith("COPY") and "--from" not in line]
    assert allowed == {one for line in copied for one in line}
    assert "*" in (ROOT / ".dockerignore").read_text().splitlines()


@pytest.fixture
def trimming() -> Any:
    spec = importlib.util.spec_from_file_location("without_dev_tools", DEPLOY / "without_dev_tools.py")
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(module := importlib.util.module_from_spec(spec))
    return module


def test_the_image_keeps_what_runs_and_loses_what_only_develops(trimming: Any) -> None:
    installed = {trimming.canonicalize_name(found.metadata["Name"]): found for found in distributions()}
    kept = trimming.needed(installed)
    assert {
        "dunwell",
        "fastapi",
        "aiokafka",
        "asyncpg",
        "sqlalchemy",
        "greenlet",
        "uvicorn",
        "cryptography",
        "cffi",
        "pydantic-core",
    } <= kept
    assert not {"pytest", "mypy", "ruff", "hypothesis", "uv", "jsonschema", "import-linter", "pip"} & kept
