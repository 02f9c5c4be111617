"""The scheduler: from facts to committed cases, and from cases due at nine to requests in the outbox, beside the limit and alternatives."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy.engine import make_url

from libs.common.clock import WallClock
from libs.common.contracts.catalogue import FACTS
from tests.bench import late, peers, resting
from tests.bench.ingest import compared, one_row, require
from tests.bench.measuring import Measured, Stopwatch, WorkerProcess, fine, measured, spread, whole
from tests.bench.stack import Stack

SIDE_BY_SIDE = 2
FIRST_LATE = late.EVE.date()
_CASES = (
    "select (select count(*) from scheduler.cases where state = 'open' and stage = 'overdue'), (select count(*) from scheduler.debts),"
    " (select count(*) from scheduler.timeline where kind = 'case.opened')"
)
_SECONDS = (
    f"select (select count(*) from scheduler.case_steps where step = '{late.SECOND}'),"
    " (select count(*) from scheduler.cases where next_at <= $1)"
)
_REQUESTED = (
    f"select (select count(*) from scheduler.case_steps where step = '{late.SECOND}' and requested_at = $1),"
    " (select coalesce(sum(messages), 0) from scheduler.outbox),"
    " (select count(*) from scheduler.timeline where kind = 'contact.requested' and at = $1),"
    " (select count(*) from scheduler.cases where next_at <= $1), (select count(*) from scheduler.cases where reason = 'moratorium')"
)


async def opened(stack: Stack, borrowers: int, rounds: int) -> list[str]:
    """Consume the facts of so many borrowers from the bus, each round on an empty database."""
    now, facts = WallClock().now().replace(microsecond=0), late.facts_of(borrowers)
    await stack.put(late.facts(borrowers, now.date(), now))
    limit, ours = [], []
    await _copied(stack, facts, 0)
    for number in range(1, rounds + 1):
        limit.append(await _copied(stack, facts, number))
        async with stack.database("scheduler") as url:
            ours.append(measured("opening", [stack.broker.bootstrap, url, str(facts)], items=facts, trees=stack.trees))
            require("the cases", tuple(await one_row(url, _CASES)), (borrowers, facts, borrowers))
    return [*_rows("facts", ("limit", limit), ("ours", ours)), compared("limit", ours, limit)]


async def _copied(stack: Stack, facts: int, number: int) -> Measured:
    async with stack.database() as url:
        words = [stack.broker.bootstrap, url, f"cases-limit-{number}", FACTS.name, str(facts)]
        return measured("limit", words, items=facts, trees=stack.trees)


async def due(stack: Stack, borrowers: int, few: tuple[int, int], rounds: int, *, installs: bool) -> list[str]:
    """Process so many cases due at nine, in copies of one book; pgqueuer and Tryton get as many as they can handle."""
    python, missing = peers.python(installs=installs)
    limit, alone, both, queued, dunned = [], [], [], [], []
    async with stack.database("scheduler") as book, stack.database() as ledger:
        await late.fill(book, borrowers)
        if python:
            _fill_ledger(stack, ledger, few[1], python)
        for _ in range(rounds):
            limit.append(await _limit(stack, book, borrowers))
            alone.append(await _ours(stack, book, borrowers, 1))
            both.append(await _ours(stack, book, borrowers, SIDE_BY_SIDE))
            if python:
                queued.append(await _queued(stack, book, few[0], python))
                dunned.append(await _dunned(stack, ledger, few[1], python))
        idle = await resting.probed(stack, book)
    made, moved = ([one[at] for one in dunned] for at in (0, 1))
    others = (("limit", limit), ("pgqueuer", queued), ("Tryton", made), ("Tryton, on", moved))
    rows = _rows("cases", ("ours", alone), (f"ours, {SIDE_BY_SIDE}", both), *others)
    compare = [compared(name, alone, theirs) for name, theirs in others if theirs]
    return [*rows, *compare, *idle, *([missing] if missing else [])]


def _rows(what: str, *found: tuple[str, Sequence[Measured]]) -> list[str]:
    return [
        f"  {name:<10} {spread([m.rate for m in rows], whole)} {what}/s, {spread([m.cpu_ms for m in rows], fine)} ms of CPU each"
        f" ({rows[-1].cpu_parts} us)"
        for name, rows in found
        if rows
    ]


async def _limit(stack: Stack, book: str, borrowers: int) -> Measured:
    async with stack.copied(book) as url:
        result = measured("nine_limit", [url], items=borrowers, trees={"postgres": stack.postgres_pid}, told=True)
        require("the limit's cases", int(result.said), borrowers)
        require("the limit's steps", tuple(await one_row(url, _SECONDS.replace("$1", _at()))), (borrowers, 0))
    return result


async def _ours(stack: Stack, book: str, borrowers: int, processes: int) -> Measured:
    async with stack.copied(book) as url:
        workers = [WorkerProcess("nine", url) for _ in range(processes)]
        try:
            for worker in workers:
                worker.wait_for("begin")
            watch = Stopwatch({**{f"client {n}": w.process.pid for n, w in enumerate(workers)}, "postgres": stack.postgres_pid})
            for worker in workers:
                worker.say("go")
            done = sum(int(worker.wait_for("end")) for worker in workers)
            result = watch.stop(borrowers)
        finally:
            for worker in workers:
                worker.end()
        require("the cases that were due", done, borrowers)
        said = borrowers - late.held(borrowers)
        expected = (said, said, said, 0, borrowers - said)
        require("what was asked for", tuple(map(int, await one_row(url, _REQUESTED.replace("$1", _at())))), expected)
    return result


async def _queued(stack: Stack, book: str, few: int, python: str) -> Measured:
    async with stack.copied(book) as url:
        words = [url, str(few), late.NINE.isoformat()]
        result = measured("queued", words, items=few, trees={"postgres": stack.postgres_pid}, python=python, told=True)
        found = await one_row(url, _SECONDS.replace("$1", _at()))
        require("pgqueuer's steps", found[0], few)
    return result


def _fill_ledger(stack: Stack, url: str, debts: int, python: str) -> None:
    """Create the books of a company in Tryton, where nobody has been dunned yet."""
    words = [stack.server.url(""), str(make_url(url).database), str(debts), FIRST_LATE.isoformat()]
    worker = WorkerProcess("dunned", *words, python=python)
    try:
        worker.wait_for("filled")
    finally:
        worker.end()


async def _dunned(stack: Stack, book: str, debts: int, python: str) -> list[Measured]:
    """Let Tryton dun each debt on its first day late, and raise each to the next level a week later."""
    async with stack.copied(book) as url:
        worker = WorkerProcess("dunned", stack.server.url(""), str(make_url(url).database), python=python)
        try:
            worker.wait_for("begin")
            found = []
            for day, standing in ((FIRST_LATE, f"{debts} 0 0"), (FIRST_LATE + timedelta(days=6), f"0 {debts} 0")):
                watch = Stopwatch({"client": worker.process.pid, "postgres": stack.postgres_pid})
                worker.say(day.isoformat())
                found.append(watch.stop(debts, worker.wait_for("end")))
                require("Tryton's dunnings by level", found[-1].said, standing)
        finally:
            worker.end()
    return found


def _at() -> str:
    return f"timestamptz '{late.NINE.isoformat()}'"
