"""The shipped packs: one jurisdiction a file, read once."""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType

import yaml

from libs.common.shipped import written_in
from libs.compliance.packs.reader import PackError, pack_of
from libs.compliance.rules import Pack, Packs

__all__ = ["PackError", "load_packs", "parse_pack"]


def load_packs() -> Packs:
    """Return every shipped pack; raises PackError naming the file, the rule and the fault."""
    return Packs(_shipped())


@cache
def _shipped() -> Mapping[str, Pack]:
    """Return the shipped packs by id, read once a process: they are constants."""
    found = [
        parse_pack(file.read_text(encoding="utf-8"), file.name)
        for file in sorted(files(__name__).iterdir(), key=lambda file: file.name)
        if file.name.endswith(".yaml")
    ]
    return MappingProxyType({pack.id: pack for pack in found})


def parse_pack(text: str, name: str) -> Pack:
    """Read one pack; its id is the name of its file."""
    try:
        written = written_in(text)
    except yaml.YAMLError as fault:
        raise PackError(f"{name}: not YAML: {fault}") from fault
    pack = pack_of(written, name)
    if f"{pack.id}.yaml" != name:
        raise PackError(f"{name}: holds the pack {pack.id!r}")
    return pack
