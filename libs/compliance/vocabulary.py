"""The closed lists of words that the gate uses."""

from enum import StrEnum


class Channel(StrEnum):
    """How a person is reached; the notifier sends the first four, the others are recorded so that caps count them."""

    SMS = "sms"
    EMAIL = "email"
    PUSH = "push"
    INBOX = "inbox"
    CALL = "call"
    AI_VOICE = "ai_voice"
    VOICEMAIL = "voicemail"
    LETTER = "letter"
    VISIT = "visit"
    CHAT = "chat"
    PRIVATE_MESSAGE = "private_message"


class Purpose(StrEnum):
    """Why a person is contacted."""

    REMINDER = "reminder"
    DUNNING = "dunning"
    NOTICE = "notice"
    CONSENT_REQUEST = "consent_request"
    ANSWER = "answer"
    CONFIRMATION = "confirmation"
    SURVEY = "survey"


class StopKind(StrEnum):
    """The one closed list of statuses, holds and checks that stop contacts."""

    DECEASED = "deceased"
    INSOLVENT = "insolvent"
    REPRESENTED = "represented"
    HARDSHIP = "hardship"
    VULNERABLE = "vulnerable"
    MORATORIUM = "moratorium"
    CEASE = "cease"
    FRAUD_VICTIM = "fraud_victim"
    BEREAVEMENT = "bereavement"
    TIME_BARRED = "time_barred"
    OPT_OUT = "opt_out"
    OBJECTION = "objection"
    DISPUTE = "dispute"
    COMPLAINT = "complaint"
    PROMISE = "promise"
    IN_DOUBT = "in_doubt"
    MANUAL = "manual"


class StopScope(StrEnum):
    """How far a stop reaches."""

    PERSON = "person"
    DEBT = "debt"
    CHANNEL = "channel"


class StopContacts(StrEnum):
    """What a stop still allows: nothing, or the purposes that its row of the table lets pass."""

    NONE = "none"
    LIMITED = "limited"


class Profile(StrEnum):
    """Which rules bind: those of every nature, read conservatively, or only law and presumption."""

    STRICT = "strict"
    LEGAL_FLOOR = "legal_floor"


class Role(StrEnum):
    """Who collects."""

    FIRST_PARTY = "first_party"
    AGENCY = "agency"
    BUYER = "buyer"


class Nature(StrEnum):
    """How strong a rule is, or whose it is."""

    LAW = "law"
    PRESUMPTION = "presumption"
    RECOMMENDATION = "recommendation"
    SELF_REGULATION = "self_regulation"
    PRODUCT_DEFAULT = "product_default"
    TENANT = "tenant"
    BORROWER = "borrower"


class Evidence(StrEnum):
    """How well a rule is verified: text seen, summary seen, memory, or not law at all."""

    PRIMARY = "P"
    SECONDARY = "S"
    MEMORY = "M"
    PRODUCT_DEFAULT = "product_default"


class RuleKind(StrEnum):
    """What a rule is about."""

    WINDOW = "window"
    CAP = "cap"
    SPACING = "spacing"
    COOL_OFF = "cool_off"
    CHANNEL_LOCK = "channel_lock"
    NOTICE_FIRST = "notice_first"
    CONSENT = "consent"
    CHANNELS = "channels"
    ADDRESSEE = "addressee"
    CONTENT = "content"
    STOP = "stop"
    PREFERENCE = "preference"
    TENANT_HOURS = "tenant_hours"
    JURISDICTION = "jurisdiction"
    ZONE = "zone"


class ContentKind(StrEnum):
    """What a rule may ask of a text."""

    IDENTITY = "identity"
    AMOUNT_SPLIT = "amount_split"
    OPT_OUT = "opt_out"
    FORBIDDEN_WORDING = "forbidden_wording"
    NEUTRAL_PREVIEW = "neutral_preview"


class Unit(StrEnum):
    """What a cap counts: dialled, placed (not busy), begun (a message could be left), made; an unknown result counts."""

    DIAL = "dial"
    ATTEMPT = "attempt"
    INITIATED = "initiated"
    CONTACT = "contact"


class CapScope(StrEnum):
    """Over what a cap counts; a claim is counted over all its collectors, a number over all its owners."""

    PERSON = "person"
    DEBT = "debt"
    CLAIM = "claim"
    NUMBER = "number"


class ReachKind(StrEnum):
    """How the period that a cap looks back over is measured."""

    DATES = "rolling_calendar_days"
    ELAPSED = "rolling_elapsed"
    WEEK = "calendar_week"
    MONTH = "calendar_month"
