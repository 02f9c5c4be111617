"""The program ends as it was told, says what a person can mend in a sentence, and leaves nothing running."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from libs.common.db.migrate import pending, upgrade
from tests.support.postgres import Databases
from tests.support.running import until

ROOT = Path(__file__).resolve().parents[3]


@asynccontextmanager
async def dunwell(
    *words: str, python: Sequence[str] = (), environment: Mapping[str, str] | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """The program as the shell starts it, in a process group of its own."""
    settings = {name: value for name, value in os.environ.items() if not name.startswith("DUNWELL_")} | dict(environment or {})
    process = await asyncio.create_subprocess_exec(
        sys.executable, *python, "-m", "services", *words, cwd=ROOT, env=settings | {"COLUMNS": "200"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def said(*words: str, environment: Mapping[str, str]) -> str:
    """Return what it says until it ends because of a fault of its user's."""
    async with dunwell(*words, environment=environment) as process, asyncio.timeout(60):
        printed = (await process.communicate())[0].decode()
    assert process.returncode == 2, printed
    assert "Traceback" not in printed
    return re.sub(r"\s+", " ", printed).strip()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that PostgreSQL's own user may enter when root starts it."""
    with tempfile.TemporaryDirectory(prefix="ends-", ignore_cleanup_errors=True) as made:
        Path(made).chmod(0o755)
        yield Path(made)


async def test_ctrl_c_while_the_program_is_still_being_loaded_ends_it_without_a_traceback(folder: Path) -> None:
    command = ("demo", "--days", "150", "--exit")  # does not end before the signal on a slow machine
    async with dunwell(*command, python=("-X", "importtime"), environment={"TMPDIR": str(folder)}) as process, asyncio.timeout(60):
        assert process.stdout is not None
        async for line in process.stdout:
            if line.split()[-1:] == [b"sqlalchemy"]:
                break
        process.send_signal(signal.SIGINT)
        printed = (await process.communicate())[0].decode()
    assert (process.returncode, "Traceback" in printed) == (130, False)


def found(folder: Path, names: str) -> list[Path]:
    return list(folder.glob(names))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
async def test_a_demo_that_is_ended_leaves_neither_its_server_nor_its_folder(folder: Path, number: signal.Signals, code: int) -> None:
    async with dunwell("demo", "--days", "150", "--exit", environment={"TMPDIR": str(folder)}) as process, asyncio.timeout(90):
        written = await until(lambda: found(folder, "dunwell-*/postgres/postmaster.pid"), what="the server", within_s=60)
        server = int(await until(lambda: written[0].read_text().split("\n")[0], what="its number"))
        os.killpg(process.pid, number)  # as a terminal does: all that the program has started hears it too
        printed = (await process.communicate())[0].decode()
    assert (process.returncode, printed) == (code, "")
    assert not found(folder, "dunwell-*")
    with pytest.raises(ProcessLookupError):
        os.kill(server, 0)


async def test_a_database_that_does_not_answer_is_a_sentence_that_says_which() -> None:
    printed = await said("migrate", environment={"DUNWELL_DATABASE_URL": "postgresql://a:secret@127.0.0.1:1/x"})
    assert printed.startswith("dunwell: PostgreSQL at 127.0.0.1:1 cannot be reached: ")
    assert "secret" not in printed


async def test_a_schema_of_a_newer_release_is_left_alone_and_a_sentence_says_so(databases: Databases) -> None:
    async with databases.fresh("ingest") as engine:
        assert await pending(engine, "ingest") is None
        async with engine.begin() as conn:
            await conn.execute(text("update ingest.alembic_version set version_num = '9999'"))
        assert "is at 9999, which this release does not know" in str(await pending(engine, "ingest"))
        with pytest.raises(RuntimeError, match="is at 9999, which this release does not know"):
            await upgrade(engine, "ingest")
