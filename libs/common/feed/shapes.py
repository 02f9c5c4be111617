"""What calls about a feed answer, for OpenAPI."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import UNSET, Struct, UnsetType

from libs.common.contracts.catalogue import Topic
from libs.common.describing import Shapes, name_of
from libs.common.feed.routes import PREFIX


class FeedEvent(Struct):
    """A CloudEvent with its position in the feed; one without data is a tombstone for its key."""

    specversion: str
    id: str
    source: str
    type: str
    time: datetime
    subject: str
    tenant: str
    sequence: str
    partitionkey: str | UnsetType = UNSET
    datacontenttype: str | UnsetType = UNSET
    data: dict[str, Any] | UnsetType = UNSET


class FeedPage(Struct):
    """Events in order, and the position to continue after; there is always more to come."""

    items: list[FeedEvent]
    next: str


def feed_shapes(*topics: Topic) -> Shapes:
    """Return the shapes of a service that keeps feeds of these topics."""
    return {name_of("GET", f"/v1/feed/{topic.name.removeprefix(PREFIX)}"): FeedPage for topic in topics}
