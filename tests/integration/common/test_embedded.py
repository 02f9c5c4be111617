"""The embedded PostgreSQL runs while somebody uses it and no longer; `dunwell up` leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.running import until

ROOT = Path(__file__).resolve().parents[3]
USER = """
import asyncio, sys
from pathlib import Path
from libs.common.db.embedded import EmbeddedPostgres
async def use() -> None:
    postgres = EmbeddedPostgres(Path(sys.argv[1]))
    await postgres.create("something")
    print("in use", flush=True)
    sys.stdin.readline()
    await postgres.create("something")
    await postgres.stop()
asyncio.run(use())
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that PostgreSQL's own user may enter when root starts it; whatever a test leaves running there is ended."""
    with tempfile.TemporaryDirectory(prefix="dunwell-embedded-", ignore_cleanup_errors=True) as made:
        path = Path(made) / "postgres"
        yield path
        if (left := postmaster(path)) is not None:
            os.kill(left, 3)


def postmaster(folder: Path) -> int | None:
    """Return the process id of the server in this folder, while it runs."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        pid = int((folder / "postmaster.pid").read_text().splitlines()[0])
        os.kill(pid, 0)
        return pid
    return None


async def user(folder: Path) -> asyncio.subprocess.Process:
    """Return a process that uses the server in this folder until it is told to leave."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", USER, str(folder), cwd=ROOT, stdin=pipe, stdout=pipe)
    assert process.stdout is not None
    async with asyncio.timeout(60):
        assert await process.stdout.readline() == b"in use\n"
    return process


async def leave(*users: asyncio.subprocess.Process) -> None:
    """Let these end in good order, all at once."""
    async with asyncio.timeout(60):
        await asyncio.gather(*[one.communicate(b"\n") for one in users])
    assert [one.returncode for one in users] == [0] * len(users)


async def killed(one: asyncio.subprocess.Process) -> None:
    one.kill()
    await one.wait()


async def test_after_a_kill_the_next_user_takes_the_server_over_and_ends_it(folder: Path) -> None:
    await killed(await user(folder))
    running = postmaster(folder)
    assert running is not None
    following = await user(folder)
    assert postmaster(folder) == running
    await leave(following)
    assert postmaster(folder) is None


async def test_whoever_leaves_while_another_uses_the_server_lets_it_run(folder: Path) -> None:
    first, second, third = await user(folder), await user(folder), await user(folder)
    await leave(first)
    await killed(second)
    assert postmaster(folder) is not None
    await leave(third)
    assert postmaster(folder) is None


async def test_when_all_leave_at_once_nobody_leaves_it_to_the_others(folder: Path) -> None:
    for _ in range(2):
        users = [await user(folder) for _ in range(4)]
        await leave(*users)
        assert postmaster(folder) is None


@contextlib.asynccontextmanager
async def dunwell(*words: str, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The program, with what it prints."""
    settings = {name: value for name, value in os.environ.items() if not name.startswith("DUNWELL_")} | environment
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.cli", *words, cwd=ROOT, env=settings,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def printed_to_the_end(process: asyncio.subprocess.Process) -> str:
    async with asyncio.timeout(60):
        said, _ = await process.communicate()
    return re.sub(r"\s+", " ", said.decode()).strip()


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


async def test_up_on_a_port_that_is_taken_says_so_in_one_sentence_and_starts_nothing(folder: Path, taken: int) -> None:
    async with dunwell("up", "--port", str(taken), "--data", str(folder.parent)) as process:
        said = await printed_to_the_end(process)
    assert said == f"dunwell: cannot listen on 127.0.0.1:{taken}: another program listens there; choose another port with --port"
    assert (process.returncode, postmaster(folder)) == (2, None)


async def test_up_on_a_folder_that_another_one_holds_says_so_in_one_sentence_and_starts_nothing(folder: Path) -> None:
    with (folder.parent / "in-use.lock").open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        async with dunwell("up", "--port", "0", "--data", str(folder.parent)) as process:
            said = await printed_to_the_end(process)
    assert said == f"dunwell: another dunwell runs on {folder.parent}; choose another folder with --data"
    assert (process.returncode, postmaster(folder)) == (2, None)


async def test_a_service_on_a_port_that_is_taken_says_so_in_one_sentence(taken: int) -> None:
    key = "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s="
    settings = {
        "DUNWELL_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing", "DUNWELL_KAFKA_BOOTSTRAP": "127.0.0.1:1",
        "DUNWELL_SEALING_PUBLIC_KEY": key, "DUNWELL_DIGEST_KEY": key, "DUNWELL_PORT": str(taken),
    }  # fmt: skip
    async with dunwell("ingest", **settings) as process:
        said = await printed_to_the_end(process)
    assert said == f"dunwell: cannot listen on 127.0.0.1:{taken}: another program listens there; choose another port with DUNWELL_PORT"
    assert process.returncode == 2


@pytest.mark.chaos
async def test_up_takes_over_the_database_of_one_that_was_killed_and_leaves_nothing_running(folder: Path) -> None:
    async with dunwell("up", "--port", "0", "--data", str(folder.parent)) as first:
        await _serving(first)
        first.kill()
    assert postmaster(folder) is not None
    async with dunwell("up", "--port", "0", "--data", str(folder.parent)) as second:
        await _serving(second)
        second.terminate()
        await printed_to_the_end(second)
    assert second.returncode == 0
    assert postmaster(folder) is None


async def _serving(process: asyncio.subprocess.Process) -> None:
    said = b""

    async def ready() -> bool:
        nonlocal said
        assert process.stdout is not None
        said += (line := await process.stdout.readline())
        assert line, said.decode()
        return b"Dunwell is ready" in said

    await until(ready, what="the platform", within_s=90)
