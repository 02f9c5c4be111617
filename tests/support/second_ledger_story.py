"""Which events count in the second implementation of the ledger, on which day and in which order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

Event = Mapping[str, Any]

UNDOES = {"repayment.reversed": "repayment_id", "charge.waiver_reversed": "waiver_id", "loan.charge_off_reversed": "charge_off_id"}
UNDONE = {"repayment.received": "repayment_id", "charge.waived": "waiver_id", "loan.charged_off": "charge_off_id"}


def kind_of(event: Event) -> str:
    return str(event["type"]).removeprefix("wallet.").removesuffix(".v1")


def arrival(event: Event) -> tuple[datetime, str, str]:
    """The stand-in for the order of arrival."""
    return datetime.fromisoformat(event["time"]), event["source"], event["id"]


def accepted(events: Sequence[Event]) -> list[Event]:
    """The events without repeats, as if they had arrived in time order."""
    found: dict[tuple[str, str], Event] = {}
    for event in events:
        found.setdefault((event["source"], event["id"]), event)
    return sorted(found.values(), key=arrival)


def retracts(event: Event, other: Event) -> bool:
    """Whether the first retracts the second; without a source it means its own."""
    if kind_of(event) != "event.retracted":
        return False
    data = event["data"]
    return bool(other["id"] == data["event_id"] and other["source"] == (data.get("source") or event["source"]))


def stands(event: Event, events: Sequence[Event], asked: tuple[Event, ...] = ()) -> bool:
    """Whether no valid retraction names the event; a circular retraction is not valid."""
    if event in asked:
        return False
    return not any(retracts(other, event) and stands(other, events, (*asked, event)) for other in events)


@dataclass
class Story:
    """What the events say about one loan, without repeats and retracted events, in time order."""

    loan: Event
    product: Mapping[str, Any]
    events: list[Event]
    arrived: int

    @property
    def data(self) -> Mapping[str, Any]:
        return dict(self.loan["data"])

    @property
    def first_day(self) -> date:
        return date.fromisoformat(self.data["disbursed_on"])

    @property
    def allocation(self) -> dict[str, Any]:
        line, own = self.product["allocation"], self.data.get("allocation") or {}
        future = {**line["future_instalments"], **(own.get("future_instalments") or {})}
        return {**line, **own, "future_instalments": future}

    @property
    def undone(self) -> set[tuple[str, str]]:
        return {(UNDOES[kind], event["data"][UNDOES[kind]]) for event in self.events if (kind := kind_of(event)) in UNDOES}

    def is_undone(self, event: Event) -> bool:
        name = UNDONE.get(kind_of(event), "")
        return (name, event["data"].get(name)) in self.undone

    def of(self, *kinds: str) -> list[Event]:
        return [event for event in self.events if kind_of(event) in kinds]

    def counting(self, *kinds: str) -> list[Event]:
        return [event for event in self.of(*kinds) if not self.is_undone(event)]

    def local(self, moment: str) -> date:
        return datetime.fromisoformat(moment).astimezone(ZoneInfo(self.data["timezone"])).date()

    def day_of(self, event: Event) -> date:
        """The day on which an event counts."""
        data, kind = event["data"], kind_of(event)
        if kind == "repayment.received":
            return self.local(data["paid_at"])
        if kind in {"repayment.charged_back", "credit.refunded"}:
            return self.local(data["at"])
        if kind == "loan.rescheduled" and data.get("effective_on"):
            return date.fromisoformat(data["effective_on"])
        if kind in {"loan.charged_off", "loan.written_off", "loan.closed"}:
            return date.fromisoformat(data["on"])
        recorded = self.local(event["time"])
        if kind == "charge.added" and self.allocation["charges_known"] == "from_the_start":
            return date.min
        if kind in {"charge.added", "instalment.due"}:
            return min(recorded, date.fromisoformat(data["due_on"]))
        charge = self.charge_of(event)
        return min(recorded, date.fromisoformat(charge["data"]["due_on"])) if charge else recorded

    def charge_of(self, waiver: Event) -> Event | None:
        named = waiver["data"].get("charge_id") if kind_of(waiver) == "charge.waived" else None
        return next((one for one in self.of("charge.added") if named and one["data"]["charge_id"] == named), None)

    def turn_of(self, event: Event) -> tuple[Any, ...]:
        """The sort key of an event; a waiver of a charge never comes before the charge."""
        turn = (self.day_of(event), *arrival(event), 0)
        charge = self.charge_of(event)
        return turn if charge is None else max(turn, (self.day_of(charge), *arrival(charge), 1))

    def before(self, event: Event) -> list[Event]:
        """The events before it in the order of arrival."""
        return [one for one in self.events if arrival(one) < arrival(event)]


def told(events: Sequence[Event], product: Mapping[str, Any]) -> Story | None:
    """Find out which loan this is; None while there is no disbursement."""
    came = accepted(events)
    counted = [event for event in came if stands(event, came)]
    loans = [event for event in counted if kind_of(event) == "loan.disbursed"]
    return Story(loans[0], product, counted, len(came)) if loans else None
