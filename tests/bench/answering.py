"""A provider on loopback in a separate process: it answers each text after 20 ms, and reports what it was sent."""

from __future__ import annotations

import asyncio
import itertools

import uvloop
from aiohttp import web

from tests.bench.counting import until_the_input_ends

ANSWERS_AFTER_S = 0.02


async def serve() -> None:
    """Accept texts as MessageBird does, until standard input ends; a line on it asks how many arrived, and for how many numbers."""
    ids, seen = itertools.count(), list[str]()

    async def take(request: web.Request) -> web.Response:
        seen.append(str((await request.json())["recipients"][0]))
        await asyncio.sleep(ANSWERS_AFTER_S)
        return web.json_response({"id": f"m{next(ids)}", "recipients": {"totalSentCount": 1}}, status=201)

    app = web.Application()
    app.router.add_post("/messages", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    print(f"listens {runner.addresses[0][1]}", flush=True)
    await until_the_input_ends(seen)
    await runner.cleanup()


if __name__ == "__main__":
    uvloop.run(serve())
