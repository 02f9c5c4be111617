"""What a service offers to those without Kafka: its feed, its webhooks, and the settings in which a tenant names them."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import FastAPI

from libs.common.api import Readiness
from libs.common.contracts.catalogue import INTERNAL
from libs.common.feed.keeping import Feed
from libs.common.feed.routes import FeedReader, feed_routes
from libs.common.housekeeping import Housekeeper
from libs.common.lifecycle import Worker
from libs.common.metrics import Metrics
from libs.common.ports import Ports
from libs.common.settings import Outlets
from libs.common.tenant_settings.desk import S, SettingsDesk
from libs.common.tenant_settings.routes import settings_routes
from libs.common.webhooks.delivering import Deliverer
from libs.common.webhooks.metrics import WebhookMetrics


@dataclass(frozen=True, slots=True)
class Outlet:
    """The feed that the relay keeps, and the workers that serve it."""

    ports: Ports
    schema: str
    outlets: Outlets
    feed: Feed

    @classmethod
    def of(cls, ports: Ports, schema: str, outlets: Outlets) -> Outlet:
        """Return the outlet of the service with this schema."""
        return cls(ports, schema, outlets, Feed(schema, frozenset(topic.name for topic in INTERNAL if topic.producer == schema)))

    @property
    def kept(self) -> Feed | None:
        """Return the feed for the relay; None if none is kept."""
        return self.feed if self.outlets.keeps_feed else None

    def open(self, app: FastAPI, form: type[S], *, read_by: str) -> None:
        """Add the routes; `read_by` is the scope that may read settings of this form."""
        readiness: Readiness = app.state.readiness
        app.include_router(feed_routes(FeedReader(self.ports.engine, self.feed, readiness), kept=self.outlets.keeps_feed))
        desk = SettingsDesk(self.ports.engine, self.ports.clock, self.schema, form, self.feed.topics, self.outlets)
        app.include_router(settings_routes(desk, read_by=read_by))

    def workers(self, metrics: Metrics) -> list[Worker]:
        """Return the workers that run beside the relay."""
        workers = [Worker("housekeeper", Housekeeper(self.ports.engine, self.schema).run)]
        if self.outlets.keeps_feed and self.outlets.webhook_key is not None:
            workers.append(Worker("webhooks", self.deliverer(metrics, self.outlets.webhook_key).run))
        return workers

    def deliverer(self, metrics: Metrics, key: bytes) -> Deliverer:
        """Return the worker that delivers the feed to webhooks."""
        return Deliverer(
            self.ports.engine, self.ports.clock, self.schema, key, self.feed.bell, WebhookMetrics.of(metrics), self.outlets.local
        )
