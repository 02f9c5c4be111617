"""A process with one service that has no database: its worker dies, or its end is asked for."""

from __future__ import annotations

import asyncio
import os
import sys

from fastapi import FastAPI, Response

from libs.common import logs
from libs.common.api import Readiness, answer
from libs.common.lifecycle import Service, Worker, listening_on, serve
from libs.common.problems import problem


async def main(port: int, worker: str, drain_s: float) -> int:
    logs.configure("tiny", "0", level="ERROR")
    readiness, dying = Readiness(), asyncio.Event()

    async def works(stop: asyncio.Event) -> None:
        waiting = [asyncio.ensure_future(stop.wait()), asyncio.ensure_future(dying.wait())]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if dying.is_set() and worker == "raises":
            raise LookupError("a fault of ours")
        for waiter in waiting:
            waiter.cancel()

    app = make(readiness, dying)
    service = Service("tiny", app, [Worker("one", works)], [], readiness, nothing, say_closed, none, nothing)
    with listening_on("127.0.0.1", port, drain_s=drain_s, choose="another number") as listening:
        return await serve(app, [service], listening)


def make(readiness: Readiness, dying: asyncio.Event) -> FastAPI:
    app = FastAPI()

    @app.get("/readyz")
    async def readyz() -> Response:
        missing = await readiness.missing()
        return problem(503, "not_ready", str(missing)) if missing else answer({"status": "ready"})

    @app.get("/slow")
    async def slow() -> Response:
        await asyncio.sleep(0.5)
        return answer({"status": "finished"})

    @app.post("/die")
    async def die() -> Response:
        dying.set()
        return answer({})

    return app


async def say_closed() -> None:
    sys.stdout.write("closed\n")
    sys.stdout.flush()


async def nothing() -> None:
    await asyncio.sleep(0)


async def none() -> int:
    return 0


if __name__ == "__main__":
    os._exit(asyncio.run(main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]))))
