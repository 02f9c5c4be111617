"""`dunwell import csv` from beginning to end: check everything, say what would be sent, send it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from services.importer import csv_state
from services.importer.client import NotSentError, address_of, connected
from services.importer.csv_book import Book, Progress
from services.importer.csv_checked import Checked
from services.importer.csv_index import Index
from services.importer.csv_mapping import Plan, load
from services.importer.csv_sending import Sender


@dataclass(frozen=True, slots=True)
class Screen:
    """Where a person sees what happens: lines, and a bar with a title."""

    say: Console
    bar: Callable[[str], AbstractContextManager[Progress]]
    run: Callable[[Coroutine[Any, Any, None]], Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """What the person has asked for."""

    url: str
    key: str
    dry_run: bool = False
    resume: bool = False
    state: Path | None = None


def import_files(mapping: Path, asked: Asked, screen: Screen) -> int:
    """Return the exit code: 1 when rows are wrong or refused."""
    plan = load(mapping)
    if not asked.dry_run:
        address_of(asked.url)
    with Index() as index:
        book = Book(plan, index)
        with screen.bar("checking") as shown:
            checked = book.check(shown)
        if checked.faults:
            _lines(screen, *checked.wrong())
            return 1
        screen.say.print(_table(checked))
        _lines(screen, *(f"note: {note}" for note in checked.notes))
        if asked.dry_run:
            _lines(screen, "dry run: nothing has been sent")
            return 0
        return _send(plan, book, checked, asked, screen)


def _send(plan: Plan, book: Book, checked: Checked, asked: Asked, screen: Screen) -> int:
    path = asked.state or plan.path.with_name(plan.path.name + csv_state.SUFFIX)
    fingerprint = csv_state.fingerprint(plan, asked.url, asked.key)
    state = csv_state.resumed(path, fingerprint) if asked.resume else csv_state.beginning(path, fingerprint)
    if path.exists() and not asked.resume:
        _lines(screen, f"note: {path.name} is left of an import that was ended: this one starts anew, --resume would go on")
    try:
        with screen.bar("sending") as shown:
            screen.run(_sent(book, checked.events, state, asked, refused=lambda line: _lines(screen, line), shown=shown))
    except (SystemExit, NotSentError):
        _lines(screen, "not all of it is sent: the same command with --resume goes on from here")
        raise
    taken = f"{checked.events - state.refused:,} of {checked.events:,} events are taken; what was there already counts as taken"
    _lines(screen, taken, *([f"{state.refused} events are refused"] if state.refused else []))
    return 1 if state.refused else 0


async def _sent(book: Book, events: int, state: csv_state.State, asked: Asked, *, refused: Callable[[str], None], shown: Progress) -> None:
    acknowledged = 0

    def told(number: int) -> None:
        nonlocal acknowledged
        acknowledged += number
        shown(acknowledged / events)

    async with connected(asked.url, asked.key) as client:
        await Sender(client, state, refused=refused).send(book.events(), told)


def _table(checked: Checked) -> Table:
    table = Table(Column("what", overflow="fold"), "number", "first day", "last day", "sum")
    for row in checked.rows():
        table.add_row(*row)
    return table


def _lines(screen: Screen, *lines: str) -> None:
    for line in lines:
        screen.say.print(line, markup=False, highlight=False, soft_wrap=True)
