"""How far an import has come: a small file beside the mapping, written after every answer and removed at the end."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from services.importer.csv_mapping import Plan
from services.importer.csv_yaml import MappingError

SUFFIX = ".import-state.json"


class _Stored(msgspec.Struct, frozen=True):
    fingerprint: str
    done: int
    beyond: tuple[int, ...]
    refused: int


@dataclass(slots=True)
class State:
    """Which batches ingest has acknowledged: all below `done`, and those `beyond` it."""

    path: Path
    fingerprint: str
    done: int = 0
    beyond: set[int] = field(default_factory=set)
    refused: int = 0

    def has(self, batch: int) -> bool:
        """Whether this batch has been acknowledged."""
        return batch < self.done or batch in self.beyond

    def acknowledge(self, batch: int, refused: int) -> None:
        """Note an answer, durably: whatever ends the program now, the next one goes on from here."""
        self.beyond.add(batch)
        self.refused += refused
        while self.done in self.beyond:
            self.beyond.remove(self.done)
            self.done += 1
        stored = _Stored(self.fingerprint, self.done, tuple(sorted(self.beyond)), self.refused)
        fresh = self.path.with_name(self.path.name + ".new")
        fresh.write_bytes(msgspec.json.encode(stored))
        fresh.replace(self.path)

    def finish(self) -> None:
        """Remove the file: there is nothing to resume."""
        self.path.unlink(missing_ok=True)


def beginning(path: Path, fingerprint: str) -> State:
    """Return the state of an import that starts with the first batch."""
    return State(path, fingerprint)


def resumed(path: Path, fingerprint: str) -> State:
    """Return where the last run ended; raises MappingError when it was about something else."""
    if not path.exists():
        return beginning(path, fingerprint)
    try:
        stored = msgspec.json.decode(path.read_bytes(), type=_Stored)
    except msgspec.DecodeError as fault:
        raise MappingError(f"{path} holds no state of an import: remove it and import without --resume") from fault
    if stored.fingerprint != fingerprint:
        raise MappingError(
            f"the mapping, a file, the address or the key is not what it was when {path.name} was written: "
            "import without --resume; what has been taken before is then a repeat, which changes nothing"
        )
    return State(path, fingerprint, stored.done, set(stored.beyond), stored.refused)


def fingerprint(plan: Plan, *where: str) -> str:
    """Return a digest of the mapping, of every file and of where they go: the same one gives the same batches."""
    digest = hashlib.blake2b(digest_size=20)
    for path in (plan.path, *(sheet.path for sheet in plan.sheets)):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "blake2b").digest())
    digest.update("\x1f".join(where).encode())
    return digest.hexdigest()
