"""The dossier of a case: everything that explains it, with a manifest of hashes that can be checked offline.

What another service did not supply is named in the manifest, and the dossier is incomplete.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.common.clock import Clock
from services.scheduler.domain.case import Case
from services.scheduler.elsewhere import Asking, Elsewhere, NoAnswerError
from services.scheduler.finding import unknown
from services.scheduler.policies.writing import encode
from services.scheduler.rulebook import Rulebook
from services.scheduler.showing import case_shown, debts_shown
from services.scheduler.store import cases, dealings, policies, views
from services.scheduler.store.held import Held
from services.scheduler.store.policies import Which

VERSION = 1
MANIFEST = "manifest.json"
HISTORY = "policy-history.json"
_PAGE = 1000
_encode = msgspec.json.Encoder(order="deterministic").encode


@dataclass(slots=True)
class Dossier:
    """Files by name, and what could not be obtained."""

    files: dict[str, bytes] = field(default_factory=dict)
    missing: list[dict[str, str]] = field(default_factory=list)
    manifest: bytes = b""

    @property
    def is_complete(self) -> bool:
        """Return whether nothing is missing."""
        return not self.missing

    @property
    def sha256(self) -> str:
        """Return the hash of the manifest, which contains those of all files."""
        return hashlib.sha256(self.manifest).hexdigest()

    def add(self, name: str, value: Any) -> None:
        """Add a value as JSON."""
        self.files[name] = _encode(value)

    async def add_from(self, name: str, reading: Awaitable[Any], shown: Callable[[Any], Any] = lambda found: found) -> None:
        """Add another service's answer, or why there is none."""
        try:
            found = await reading
        except NoAnswerError as error:
            self.missing.append({"file": name, "why": str(error)})
            return
        if found is None:
            self.missing.append({"file": name, "why": "the other service knows of no such thing"})
        else:
            self.add(name, shown(found))

    def close(self, about: Mapping[str, Any]) -> None:
        """Write the manifest; no file may be added after this."""
        listed = [
            {"name": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in sorted(self.files.items())
        ]
        self.manifest = _encode({**about, "complete": self.is_complete, "missing": self.missing, "files": listed})

    def as_json(self) -> bytes:
        """Return it as one JSON document; manifest and files are strings, byte for byte what was hashed."""
        files = {name: content.decode() for name, content in sorted(self.files.items())}
        return _encode({"sha256": self.sha256, "complete": self.is_complete, "manifest": self.manifest.decode(), "files": files})

    def as_zip(self) -> bytes:
        """Return it as a ZIP archive; the same dossier gives the same archive."""
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in (*sorted(self.files.items()), (MANIFEST, self.manifest)):
                archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
        return packed.getvalue()


@dataclass(frozen=True, slots=True)
class Archive:
    """Makes dossiers: the scheduler's own data as of one moment, then the other services' answers."""

    engine: AsyncEngine
    clock: Clock
    rulebook: Rulebook
    elsewhere: Elsewhere

    async def dossier(self, asking: Asking, case_id: str, by: str) -> Dossier:
        """Return the dossier of a case as it is now."""
        made = Dossier()
        async with self.engine.connect() as conn:
            await conn.execution_options(isolation_level="REPEATABLE READ")
            row, held = await views.case(conn, asking.tenant, case_id), await cases.find(conn, asking.tenant, case_id)
            if row is None or held is None:
                raise unknown("case", case_id)
            now = await self.clock.at(conn)
            await _add_ours(conn, made, row, held)
            await self._add_policy(conn, made, held, now)
        await self._add_theirs(made, held.case, asking)
        made.close({
            "dossier": VERSION, "case_id": case_id, "borrower_id": held.case.borrower_id, "spell": held.case.spell, "made_at": now,
            "made_by": by,
        })  # fmt: skip
        return made

    async def _add_policy(self, conn: AsyncConnection, made: Dossier, held: Held, now: datetime) -> None:
        """Add the version that applies to the case, and the chain of all changes of this policy."""
        rules = await self.rulebook.of(conn, [held.case.tenant], now, held=[held])
        policy, which = rules.pinned(held), Which(held.case.tenant, held.policy, held.policy_version)
        stored = await policies.find(conn, which)
        lived = {} if stored is None else {name: stored[name] for name in ("state", "writers", "submitted_by", "decided_by", "decided_at")}
        made.add("policy.json", {
            "name": which.name, "version": which.version, **lived, "document": None if policy is None else encode(policy),
        })  # fmt: skip
        if stored is None:
            return
        links, after = [], 0
        while found := await policies.links(conn, which.tenant, which.name, after=after, limit=_PAGE):
            links += [
                {**asdict(link), "detail": msgspec.Raw(link.detail), "previous": link.previous.hex(), "hash": link.hash.hex()}
                for link in found
            ]
            after = found[-1].seq
        made.add(HISTORY, links)

    async def _add_theirs(self, made: Dossier, case: Case, asking: Asking) -> None:
        ask = self.elsewhere
        for n, debt in enumerate(case.debts, 1):
            await made.add_from(f"statement-{n:03}.json", ask.read("ingest", f"/v1/loans/{debt.loan_id}/statement", asking))
        contacts = ask.read_all("notifier", f"/v1/borrowers/{case.borrower_id}/contacts", asking, limit=str(_PAGE))
        await made.add_from("contacts.json", contacts, lambda found: [one for one in found if one["case_id"] == case.case_id])
        await made.add_from("deliveries.json", self._deliveries(case, asking))

    async def _deliveries(self, case: Case, asking: Asking) -> list[Any]:
        """Return every delivery of the case with its attempts: providers' answers and condensed receipts."""
        found = await self.elsewhere.read_all("notifier", "/v1/deliveries", asking, case_id=case.case_id, limit=str(_PAGE))
        return [await self.elsewhere.read("notifier", f"/v1/deliveries/{one['task_id']}", asking) for one in found]


async def _add_ours(conn: AsyncConnection, made: Dossier, row: RowMapping, held: Held) -> None:
    case = held.case
    made.add("case.json", {**case_shown(row), "handed_to": case.handed_to, "handed_at": case.handed_at, "debts": debts_shown(case)})
    made.add("timeline.json", await _story(conn, case))
    made.add("tasks.json", [dict(one) for one in await dealings.tasks(conn, case)])
    made.add("exhibits.json", [dict(one) for one in await dealings.exhibits(conn, case)])
    made.add("approvals.json", [_with_json(one, "exhibits") for one in await dealings.approvals(conn, case)])
    made.add("offers.json", [_with_json(one, "terms", "taken") for one in await dealings.offers(conn, case)])


async def _story(conn: AsyncConnection, case: Case) -> Sequence[Any]:
    story, after = [], (cases.BEGINNING[0], 0)
    while found := await views.timeline(conn, (case.tenant, case.borrower_id, case.case_id), after=after, limit=_PAGE):
        story += [{"at": e.at, "kind": e.kind, "reason": e.reason, "detail": msgspec.Raw(e.detail)} for e in found]
        after = (found[-1].at, found[-1].seq)
    return story


def _with_json(row: RowMapping, *names: str) -> dict[str, Any]:
    return {**dict(row), **{name: None if row[name] is None else msgspec.Raw(row[name]) for name in names}}
