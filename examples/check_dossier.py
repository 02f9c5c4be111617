"""Check a dossier offline, with nothing but Python: `python check_dossier.py dossier.zip [sha256 of the manifest]`.

It takes the ZIP or the JSON form. Every file must have the size and hash given in the manifest, there must be no file that the manifest
does not list, the chain of policy changes must be intact, and every message that went out must have the rule decision that allowed it.
The hash of the manifest was recorded in the case when the dossier was sealed: pass it to verify the manifest too.
"""

from __future__ import annotations

import hashlib
import json
import sys
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
HISTORY = "policy-history.json"


def read(path: Path) -> tuple[bytes, dict[str, bytes]]:
    """Return the manifest and the files, byte for byte."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            files = {name: archive.read(name) for name in names}
        if len(files) != len(names):
            raise ValueError("a name occurs twice in the archive")
        return files.pop(MANIFEST), files
    document = json.loads(path.read_bytes())
    return document["manifest"].encode(), {name: text.encode() for name, text in document["files"].items()}


def check(manifest: bytes, files: dict[str, bytes], sealed: str | None = None) -> list[str]:
    """Return what is wrong, as sentences."""
    wrong = []
    digest = hashlib.sha256(manifest).hexdigest()
    if sealed is not None and digest != sealed.lower():
        wrong.append(f"the manifest is not the one that was sealed: its SHA-256 is {digest}")
    said = {one["name"]: one for one in json.loads(manifest)["files"]}
    wrong += [f"{name} is missing" for name in sorted(said.keys() - files.keys())]
    wrong += [f"{name} is not in the manifest" for name in sorted(files.keys() - said.keys())]
    for name in sorted(said.keys() & files.keys()):
        if (len(files[name]), hashlib.sha256(files[name]).hexdigest()) != (said[name]["bytes"], said[name]["sha256"]):
            wrong.append(f"{name} does not match the manifest")
    if not wrong:
        wrong += check_chain(json.loads(files.get(HISTORY, b"[]")))
        wrong += check_contacts(files)
    return wrong


def check_chain(links: list[dict[str, Any]]) -> list[str]:
    """Return the first policy change whose hash does not match its content."""
    previous = b"\0" * 32
    for seq, link in enumerate(links, 1):
        at = datetime.fromisoformat(link["at"]).astimezone(UTC).isoformat(timespec="microseconds")
        content = {name: link[name] for name in ("tenant", "chain", "seq", "by", "action", "version", "detail")} | {"at": at}
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        expected = hashlib.sha256(previous + canonical.encode()).hexdigest()
        if link["seq"] != seq or link["previous"] != previous.hex() or link["hash"] != expected:
            return [f"the policy's history is broken at change {seq}"]
        previous = bytes.fromhex(link["hash"])
    return []


def check_contacts(files: dict[str, bytes]) -> list[str]:
    """Return our messages that went out without a rule decision that allowed them, or without a request."""
    asked = {entry["detail"].get("task_id") for entry in json.loads(files["timeline.json"]) if entry["kind"] == "contact.requested"}
    wrong = []
    for contact in json.loads(files.get("contacts.json", b"[]")):
        if contact["task_id"] is None:
            continue
        if contact["decision"] is None or contact["decision"]["decision"] != "allow":
            wrong.append(f"contact {contact['contact_id']} has no decision that allowed it")
        if contact["task_id"] not in asked:
            wrong.append(f"contact {contact['contact_id']} was never requested")
    return wrong


def main() -> int:
    """Check the named file; exit status 0 only if everything is right and nothing is missing."""
    if len(sys.argv) not in {2, 3}:
        print(__doc__, file=sys.stderr)
        return 2
    manifest, files = read(Path(sys.argv[1]))
    about, wrong = json.loads(manifest), check(manifest, files, sys.argv[2] if len(sys.argv) == 3 else None)
    print(f"dossier of case {about['case_id']}, made {about['made_at']} by {about['made_by']}: {len(files)} files")
    print(f"SHA-256 of the manifest: {hashlib.sha256(manifest).hexdigest()}")
    for sentence in wrong:
        print(f"WRONG: {sentence}")
    for one in about["missing"]:
        print(f"INCOMPLETE: {one['file']}: {one['why']}")
    return 1 if wrong or about["missing"] else 0


if __name__ == "__main__":
    sys.exit(main())
