"""The services as separate processes, each wired from its environment."""

from __future__ import annotations

from libs.common import settings
from libs.common.lifecycle import Service
from libs.common.page_links import PageLinks, Verifier
from libs.common.ports import Ports
from libs.common.settings import Common
from services.ingest import service as ingest
from services.ingest.settings import Settings as IngestSettings
from services.notifier import service as notifier
from services.notifier.settings import Settings as NotifierSettings
from services.scheduler import service as scheduler
from services.scheduler.settings import Settings as SchedulerSettings


def wired(name: str, ports: Ports, common: Common) -> Service:
    """Return one service on these ports, wired but not started."""
    match name:
        case "ingest":
            return ingest.build(
                ports,
                IngestSettings(
                    common.tenants, common.sealing_public, common.digest_key, outlets=common.outlets, kept=settings.kept()
                ),
            )  # fmt: skip
        case "scheduler":
            return scheduler.build(
                ports,
                SchedulerSettings(
                    common.settle_s,
                    common.outlets,
                    common.tenants,
                    common.ingest_url,
                    common.notifier_url,
                    common.service_keys,
                    settings.simulation_processes(),
                    settings.approval_needs_simulation(),
                    common.page_url,
                    Verifier(common.link_keys, common.tenants),
                    settings.kept(),
                ),
            )
        case "notifier":
            return notifier.build(
                ports,
                NotifierSettings(
                    common.sealing_private or b"", common.digest_key, public_url=common.public_url, outlets=common.outlets,
                    sealing_older=common.sealing_older, private_hosts=common.private_hosts,
                    links=PageLinks(common.page_url, common.link_keys[0]) if common.page_url and common.link_keys else None,
                    kept=settings.kept(),
                ),
            )  # fmt: skip
        case _:
            raise ValueError(f"there is no service {name!r}")
