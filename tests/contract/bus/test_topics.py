"""The retention of the topics, as the broker itself describes it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from libs.common.bus.kafka import make_topics
from libs.common.bus.topics import needed
from tests.support.kafka import Broker
from tests.support.running import until

pytestmark = pytest.mark.kafka
DAY_MS = 24 * 60 * 60 * 1000
KEPT_DAYS = {
    "wallet.loan-events": 14, "wallet.borrower-events": 3, "wallet.loan-events.acme": 14, "wallet.borrower-events.acme": 3,
    "dunning.contact-tasks": 14, "dunning.contact-outcomes": 35, "dunning.case-events": 14,
}  # fmt: skip
COMPACTED = {"dunning.overdue-facts", "dunning.borrower-profiles"}


async def described(broker: Broker) -> dict[str, Mapping[str, str]]:
    """Create every topic under a unique name, and return the broker's settings for each."""
    unique = uuid.uuid4().hex[:8]
    names = await make_topics(broker.bootstrap, [replace(spec, name=f"{spec.name}-{unique}") for spec in needed(("default", "acme"), 2)])
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await admin.start()

    async def known() -> list[Any]:
        """Return the broker's description once it knows all of them: it learns of a new topic a moment after it was created."""
        answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names])
        resources = [resource for answer in answers for resource in answer.resources]
        return resources if all(resource[0] == 0 for resource in resources) else []

    try:
        resources = await until(known, what="every topic")
    finally:
        await admin.close()
    return {resource[3].removesuffix(f"-{unique}"): {row[0]: row[1] for row in resource[4]} for resource in resources}


async def test_facts_and_profiles_stand_for_good_and_what_closes_them_for_14_days(kafka: Broker) -> None:
    """Otherwise a service that starts without a database would never hear of a debt unchanged for two weeks."""
    found = await described(kafka)
    assert {name for name, told in found.items() if "compact" in told["cleanup.policy"]} == COMPACTED
    for name in COMPACTED:
        assert found[name]["cleanup.policy"] == "compact"
        assert int(found[name]["delete.retention.ms"]) == 14 * DAY_MS
        assert int(found[name]["max.compaction.lag.ms"]) == DAY_MS
        assert float(found[name]["min.cleanable.dirty.ratio"]) <= 0.1


async def test_everything_else_is_kept_for_its_days_and_dead_letters_for_35(kafka: Broker) -> None:
    found = await described(kafka)
    letters = {f"{name}.dlq": 35 for name in {*KEPT_DAYS, *COMPACTED}}
    timed = {name: told for name, told in found.items() if name not in COMPACTED}
    assert {name: int(told["retention.ms"]) / DAY_MS for name, told in timed.items()} == KEPT_DAYS | letters
    assert {told["cleanup.policy"] for told in timed.values()} == {"delete"}


async def test_what_wallets_write_has_the_brokers_moment(kafka: Broker) -> None:
    """With a timestamp of its publisher's, an event could be deleted as soon as it is written."""
    found = await described(kafka)
    assert {name for name, told in found.items() if told["message.timestamp.type"] == "LogAppendTime"} == {
        "wallet.loan-events", "wallet.borrower-events", "wallet.loan-events.acme", "wallet.borrower-events.acme",
    }  # fmt: skip
