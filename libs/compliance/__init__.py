"""The gate: contact rules as data, and one pure decision over them."""

from libs.compliance.circumstances import (
    STOPS,
    Circumstances,
    DebtFacts,
    Preferences,
    Prior,
    Proposed,
    Stop,
    StopRule,
    TenantHours,
    consents_to,
    taken_back,
)
from libs.compliance.consenting import consented, is_to_come
from libs.compliance.content import Fault, Text, faults, languages
from libs.compliance.counters import longest_reach
from libs.compliance.gate import Allow, CapKey, Deny, Reason, cap_keys, content_asked, decide, word_of
from libs.compliance.packs import load_packs
from libs.compliance.rules import Pack, Packs
from libs.compliance.vocabulary import (
    CapScope,
    Channel,
    ContentKind,
    Nature,
    Profile,
    Purpose,
    Role,
    RuleKind,
    StopContacts,
    StopKind,
    StopScope,
)

__all__ = [
    "STOPS",
    "Allow",
    "CapKey",
    "CapScope",
    "Channel",
    "Circumstances",
    "ContentKind",
    "DebtFacts",
    "Deny",
    "Fault",
    "Nature",
    "Pack",
    "Packs",
    "Preferences",
    "Prior",
    "Profile",
    "Proposed",
    "Purpose",
    "Reason",
    "Role",
    "RuleKind",
    "Stop",
    "StopContacts",
    "StopKind",
    "StopRule",
    "StopScope",
    "TenantHours",
    "Text",
    "cap_keys",
    "consented",
    "consents_to",
    "content_asked",
    "decide",
    "faults",
    "is_to_come",
    "languages",
    "load_packs",
    "longest_reach",
    "taken_back",
    "word_of",
]
