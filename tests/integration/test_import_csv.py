"""`dunwell import csv` against a running ingest: the example, repeats, a kill half-way, refusals, an ingest that asks to wait."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from services.importer.csv_sending import EVENTS as IN_A_BATCH
from tests.support.postgres import Databases
from tests.support.running import KEY, Running, running_ingest, until
from tests.unit.importer.lender import LOAN, PAYMENT, lender, loans, payments, schedule

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "csv"
LOANS = 500
PAID = 5
BATCHES = LOANS * (PAID + 1) // IN_A_BATCH


@dataclass
class Served:
    """Ingest on a loopback port that counts batches, pauses on request, and lets a test act before an answer is sent."""

    running: Running
    url: str = ""
    batches: int = 0
    rests: int = 0
    before_answer: Callable[[int], Awaitable[None]] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self.rests:
            self.rests -= 1
            await send({"type": "http.response.start", "status": 503, "headers": [(b"retry-after", b"1")]})
            await send({"type": "http.response.body", "body": b"{}"})
            return
        self.batches += 1
        number = self.batches

        async def sent(message: Any) -> None:
            if self.before_answer and message["type"] == "http.response.start":
                await self.before_answer(number)
            await send(message)

        await self.running.service.app(scope, receive, sent)

    async def loan(self, loan_id: str, *, events: int) -> Any:
        """Return a loan once the ledger has this many events of it."""

        async def there() -> Any:
            await self.running.service.pump()
            answer = await self.running.client.get(f"/v1/loans/{loan_id}")
            return answer.json() if answer.status_code == 200 and answer.json()["events"] >= events else None

        return await until(there, what=f"{events} events of {loan_id}")

    async def book(self) -> dict[str, Any]:
        """Return the state of every loan, once all of them are complete."""
        states = [await self.loan(f"L{n}", events=PAID + 1) for n in range(LOANS)]
        return {state["loan_id"]: state for state in states}


@asynccontextmanager
async def serving(databases: Databases) -> AsyncIterator[Served]:
    async with databases.fresh("ingest") as engine, running_ingest(engine) as (running, _):
        served = Served(running)
        server = uvicorn.Server(uvicorn.Config(served, host="127.0.0.1", port=0, log_config=None, lifespan="off", ws="none"))
        task = asyncio.create_task(server.serve())
        await until(lambda: server.started, what="the server")
        served.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        try:
            yield served
        finally:
            server.should_exit = True
            await task


@pytest.fixture
async def served(databases: Databases) -> AsyncIterator[Served]:
    async with serving(databases) as made:
        yield made


async def begun(served: Served, mapping: Path, *words: str, key: str = KEY) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.cli", "import", "csv", str(mapping), "--url", served.url, *words,
        env={**os.environ, "DUNWELL_KEY": key, "COLUMNS": "200"}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip


async def ended_in_the_middle(served: Served, mapping: Path, by: signal.Signals) -> int | None:
    """Start the import, end it when its last batch but one is stored but not yet answered, and return its exit code."""
    process = await begun(served, mapping)

    async def end(number: int) -> None:
        if number == BATCHES - 1:
            process.send_signal(by)
        if number >= BATCHES - 1:
            await asyncio.wait_for(process.wait(), 20)

    served.before_answer = end
    said = (await asyncio.wait_for(process.communicate(), 120))[0].decode()
    served.before_answer = None
    assert "Traceback" not in said
    assert by is signal.SIGKILL or "the same command with --resume goes on from here" in said
    return process.returncode


async def imported(served: Served, mapping: Path, *words: str, code: int = 0, key: str = KEY) -> str:
    """Run the import to its end and return its output."""
    process = await begun(served, mapping, *words, key=key)
    said = (await asyncio.wait_for(process.communicate(), 120))[0].decode()
    assert process.returncode == code, said
    return said


def example(folder: Path) -> Path:
    return Path(shutil.copytree(EXAMPLE, folder / "csv")) / "mapping.yaml"


def book(folder: Path) -> Path:
    """Return the mapping of a loan book of several batches: every second loan has paid all but the last instalment."""
    first, rows, paid = date(2026, 5, 1), "", ""
    for n in range(LOANS):
        for place in range(PAID):
            day = first + timedelta(days=30 * place)
            rows = f"L{n},{place + 1},{day},{100 + n}.00\n" + rows if n % 2 else f"{rows}L{n},{place + 1},{day},{100 + n}.00\n"
            paid += f"L{n},P{n}-{place},{day},{50 if n % 2 else 100 + n}.00\n"
    listed = "".join(f"L{n},B{n},2026-04-01\n" for n in range(LOANS))
    return lender(folder, loans(f"Contract,Customer,Paid\n{listed}"), schedule(rows), payments(paid))


async def test_the_example_s_loans_stand_in_the_ledger_as_the_files_say(served: Served, tmp_path: Path) -> None:
    said = await imported(served, mapping := example(tmp_path))
    assert "15 of 15 events are taken" in said
    state = await served.loan("K-1", events=3)
    assert (state["borrower_id"], state["currency"], state["timezone"]) == ("C-1001", "EUR", "Europe/Berlin")
    assert state["anchor"] == {"n": 2, "due_on": "2026-10-01"}
    assert state["overdue"]["total"] == 120_840 - 50_000 + 120_420
    assert [(move["id"], move["on"], move["amount"]) for move in state["movements"]] == [
        ("P-1", "2026-08-31", 121_250), ("P-2", "2026-10-05", 50_000),
    ]  # fmt: skip
    assert (await served.loan("K-3", events=2))["status"] == "closed"
    assert (await served.loan("K-3", events=2))["movements"][0]["on"] == "2026-10-01"
    assert sorted(path.name for path in mapping.parent.iterdir()) == sorted(path.name for path in EXAMPLE.iterdir())


async def test_importing_twice_brings_repeats_only(served: Served, tmp_path: Path) -> None:
    mapping = example(tmp_path)
    await imported(served, mapping)
    before = [await served.loan(loan_id, events=events) for loan_id, events in (("K-1", 3), ("K-2", 2), ("K-3", 2))]
    assert "15 of 15 events are taken" in await imported(served, mapping)
    await served.running.service.pump()
    assert [await served.loan(state["loan_id"], events=state["events"]) for state in before] == before
    assert (await served.running.get("/v1/parked"))["items"] == []


async def test_a_dry_run_says_what_would_be_sent_and_sends_nothing(served: Served, tmp_path: Path) -> None:
    said = await imported(served, example(tmp_path), "--dry-run")
    [line] = [line for line in said.splitlines() if "wallet.repayment.received.v1" in line]
    assert [cell.strip() for cell in line.split("│")[1:-1]] == [
        "wallet.repayment.received.v1", "4", "2026-08-31", "2026-10-05", "EUR 2,066.50",
    ]  # fmt: skip
    assert "nothing has been sent" in said
    assert served.batches == 0


async def test_one_wrong_row_and_nothing_is_sent(served: Served, tmp_path: Path) -> None:
    said = await imported(served, lender(tmp_path, loans(), payments("L1,P1,2026-02-09,1\nL1,P2,2026-02-09,x\n")), code=1)
    assert "payments.csv line 3, column \"Amount\": 'x' is no number" in said
    assert "1 error: nothing has been sent" in said
    assert served.batches == 0


@pytest.mark.chaos
async def test_an_import_that_is_killed_goes_on_where_it_ended_and_comes_to_the_same_book(
    served: Served, databases: Databases, tmp_path: Path
) -> None:
    mapping = book(tmp_path)
    assert await ended_in_the_middle(served, mapping, signal.SIGKILL) == -signal.SIGKILL
    state = mapping.with_name("mapping.yaml.import-state.json")
    assert state.exists()
    sent = served.batches
    said = await imported(served, mapping, "--resume")
    assert f"{LOANS * (PAID + 1):,} of {LOANS * (PAID + 1):,} events are taken" in said
    assert BATCHES <= served.batches < sent + BATCHES
    assert not state.exists()
    assert (await served.running.get("/v1/parked"))["items"] == []
    async with serving(databases) as straight:
        await imported(straight, mapping)
        assert await straight.book() == await served.book()


async def test_after_ctrl_c_nothing_is_resumed_if_a_file_has_changed_since(served: Served, tmp_path: Path) -> None:
    mapping = book(tmp_path)
    assert await ended_in_the_middle(served, mapping, signal.SIGINT) == 130
    with (tmp_path / "loans.csv").open("a") as file:
        file.write("L-new,B-new,2026-04-01\n")
    said = await imported(served, mapping, "--resume", code=2)
    assert "is not what it was" in said
    assert "without --resume" in said
    assert "--resume would go on" in await imported(served, mapping)


async def test_what_ingest_refuses_is_shown_with_its_line_and_the_rest_is_taken(served: Served, tmp_path: Path) -> None:
    attributes = {f"attributes.note{n}": f"Note{n}" for n in range(3)}
    long, short = ",".join(["x" * 100_000] * 3), "a,b,c"
    text = f"Contract,Customer,Paid,Note0,Note1,Note2\nL1,B1,2026-01-10,{long}\nL2,B2,2026-01-10,{short}\n"
    said = await imported(served, lender(tmp_path, loans(text, fields=LOAN | attributes)), code=1)
    assert "loans.csv line 2: ingest refuses it: too_large" in said
    assert "1 of 2 events are taken" in said
    assert (await served.loan("L2", events=1))["borrower_id"] == "B2"


async def test_an_ingest_that_asks_to_wait_is_asked_again(served: Served, tmp_path: Path) -> None:
    served.rests = 2
    assert "15 of 15 events are taken" in await imported(served, example(tmp_path))


async def test_a_key_that_opens_nothing_ends_the_import_with_a_sentence(served: Served, tmp_path: Path) -> None:
    said = await imported(served, lender(tmp_path, loans(), payments("L1,P1,2026-02-09,1\n", fields=PAYMENT)), code=2, key="wrong")
    assert "ingest answers 401" in said
    assert "Traceback" not in said
