"""The program: reads settings, makes engines and clients, starts things."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from libs.common import auth, logs, settings
from libs.common.bus.kafka import KafkaBus, make_topics
from libs.common.bus.topics import needed
from libs.common.clock import HandoverClock, WallClock
from libs.common.db import migrate as migrations
from libs.common.db.embedded import EmbeddedPostgres
from libs.common.db.engine import make_engine
from libs.common.jwks import judging
from libs.common.lifecycle import Ending, Listening, listening_on, serve, working
from libs.common.ports import Ports
from libs.common.sealing import Ring
from libs.common.settings import Common, SettingsError, version
from libs.common.slips import near
from services import demo as example
from services import embedded, fakes, keys, posting, simulating
from services.apart import wired
from services.embedded import Platform, Reached
from services.ends import explained, run
from services.importer import csv_import, uci
from services.ingest import service as ingest_service
from services.ingest.rebuilding import Step, Tally

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Dunning, done well.", pretty_exceptions_enable=False)
keys_app = typer.Typer(no_args_is_help=True, help="Keys of tenants and persons, and the keys that seal personal data.")
import_app = typer.Typer(no_args_is_help=True, help="Import a loan book from a file.")
ingest_app = typer.Typer(invoke_without_command=True, help="Run ingest: loan events become overdue facts.")
app.add_typer(ingest_app, name="ingest")
app.add_typer(keys_app, name="keys")
app.add_typer(import_app, name="import")
app.command("fakes")(fakes.command)

DAYS_BEFORE_READY = 90
"""How many days of the example's history are played day by day before the platform is ready; anything older is ingested at once."""
say = Console(stderr=True, emoji=False)


class ServiceName(StrEnum):
    """A service that can run apart."""

    INGEST = "ingest"
    SCHEDULER = "scheduler"
    NOTIFIER = "notifier"


def main() -> None:
    """Run the program; a fault in the settings is one sentence, not a traceback."""
    with explained(say):
        app()


@app.command()
def up(
    host: Annotated[str, typer.Option(help="beyond loopback the development keys are refused")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0: any free port")] = 8000,
    folder: Annotated[Path, typer.Option("--data", help="where data is kept")] = Path(".dunwell"),
    demo: Annotated[bool, typer.Option("--demo", help="play the example book's history first, the last 90 days of it day by day")] = False,
) -> None:
    """Run all three services in this process, on an embedded PostgreSQL, until Ctrl-C."""
    run(_up(host, port, folder, demo=demo))


@app.command()
def demo(
    days: Annotated[int, typer.Option(min=1, max=3650, help="how many days of history are played day by day")] = 150,
    exit_: Annotated[bool, typer.Option("--exit", help="end when the history has been played")] = False,
) -> None:
    """Play the example book on a fast clock, in a throw-away folder; exits 0 only if nobody was forgotten."""
    with tempfile.TemporaryDirectory(prefix="dunwell-", ignore_cleanup_errors=True) as folder:
        run(_demo(Path(folder), days, stay=not exit_))


@ingest_app.callback()
def ingest(context: typer.Context) -> None:
    """Run ingest: loan events become overdue facts."""
    if context.invoked_subcommand is None:
        run(_apart(ServiceName.INGEST))


@ingest_app.command("rebuild")
def ingest_rebuild(
    tenant: Annotated[str | None, typer.Option(help="only the loans of this tenant")] = None,
    loan: Annotated[str | None, typer.Option(help="only this loan")] = None,
    after: Annotated[str | None, typer.Option(help="continue after this loan, TENANT/LOAN, as an interrupted run has printed")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="report only: change nothing, publish nothing")] = False,
) -> None:
    """Rebuild the loans from the event log; report and repair differences. Exits with 1 when there were any."""
    tenants = (tenant,) if tenant else settings.tenants()
    whose, _, last = (after or "").partition("/")
    if after and (whose not in tenants or not last):
        raise SettingsError(f"--after must be {' or '.join(name + '/LOAN' for name in tenants)}, not {after}")
    run(_rebuild(tenants, loan, (whose, last) if after else None, repair=not dry_run))


@app.command()
def scheduler() -> None:
    """Run the scheduler: the policy becomes contact tasks and work for people."""
    run(_apart(ServiceName.SCHEDULER))


@app.command()
def notifier() -> None:
    """Run the notifier: contact tasks become messages at a lawful hour."""
    run(_apart(ServiceName.NOTIFIER))


@app.command()
def simulate(
    policy: Annotated[Path, typer.Argument(exists=True, dir_okay=False)], *, days: simulating.Days = 90, beside: simulating.With = None,
    url: simulating.Url = "http://127.0.0.1:8000/scheduler", key: Annotated[str, typer.Option(envvar="DUNWELL_KEY")] = "dunwell-dev",
) -> None:  # fmt: skip
    """Simulate a policy forward from the present book, beside the active one; nothing is sent."""
    with _progress("simulating") as shown:
        print(run(simulating.simulate(simulating.question_of(policy, days, beside), url=url, key=key, progress=shown, screen=say)))


@app.command()
def migrate() -> None:
    """Bring the schemas of all three services to this release's version."""
    run(_migrate(settings.required("DUNWELL_DATABASE_URL")))


@app.command()
def topics(replication: Annotated[int, typer.Option(min=1, max=100)] = 1) -> None:
    """Create the topics that are missing."""
    run(_topics(replication))


@keys_app.command("create")
def keys_create(
    tenant: Annotated[str, typer.Option()],
    scopes: Annotated[str, typer.Option(help=f"separated by commas, or `all`: {', '.join(auth.SCOPES)}")],
    person: Annotated[str | None, typer.Option(help="whose key this is; without it, the key is the tenant's")] = None,
) -> None:
    """Make a key and print it just once; only a hash of it is stored."""
    wanted = frozenset(auth.SCOPES if scopes == "all" else [s.strip() for s in scopes.split(",")])
    if unknown := wanted - set(auth.SCOPES):
        raise SettingsError("; ".join(f"no such scope: {one}: {near(one, sorted(auth.SCOPES))}" for one in sorted(unknown)))
    if "policies:approve" in wanted and person is None:
        raise SettingsError("policies:approve is a person's scope: say whose with --person")
    principal = auth.Principal(tenant, person, wanted)
    print(run(keys.create(settings.required("DUNWELL_DATABASE_URL"), principal)))


@keys_app.command("sealing")
def keys_sealing() -> None:
    """Make the keys that seal personal data, and print them as settings."""
    print("\n".join(keys.fresh_settings()))


@keys_app.command("rotate-sealing")
def keys_rotate_sealing() -> None:
    """Make a new key to seal with, and print it as settings; what was sealed before can still be opened."""
    print("\n".join(keys.rotated_settings(settings.sealing_privates())))


@keys_app.command("rewrap")
def keys_rewrap(
    count: Annotated[bool, typer.Option("--count", help="only report how much is left")] = False,
    batch: Annotated[int, typer.Option(min=1, max=10_000, help="how many per transaction")] = 200,
) -> None:
    """Reseal what is sealed for an older key; may be interrupted and restarted. Exits with 1 while anything is left."""
    run(_rewrap(None if count else batch))


@import_app.command("uci")
def import_uci(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False)],
    url: Annotated[str, typer.Option(help="the ingest service")] = "http://127.0.0.1:8000/ingest",
    key: Annotated[str, typer.Option(envvar="DUNWELL_KEY")] = "dunwell-dev",
    ends_on: Annotated[
        str | None, typer.Option(help="the day on which the history ends, YYYY-MM-DD; importing the same day again is harmless")
    ] = None,
) -> None:
    """Turn the UCI credit-card file into loan events and publish them."""
    day = posting.day_of(ends_on) if ends_on else example.local_day(WallClock().now())
    events = list(uci.timeline(uci.read(file), day))
    for assumption in uci.ASSUMPTIONS:
        say.print(f"[dim]assumed:[/dim] {assumption}", highlight=False)
    say.print(f"history ends on {day}; to import again use --ends-on {day}: another day would publish other events under the same ids")
    with _progress("publishing") as shown:
        run(posting.publish(events, url=url, key=key, progress=shown))
    print(f"{len(events)} events published")


@import_app.command("csv")
def import_csv(
    mapping: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="which column is which field: docs/importing.md")],
    *,
    url: Annotated[str, typer.Option(help="the ingest service")] = "http://127.0.0.1:8000/ingest",
    key: Annotated[str, typer.Option(envvar="DUNWELL_KEY")] = "dunwell-dev",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="check everything, report what would be sent, send nothing")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="continue where the last run stopped")] = False,
    state: Annotated[Path | None, typer.Option(help="where the progress is kept; beside the mapping by default")] = None,
) -> None:
    """Turn a lender's CSV files into events and publish them; the mapping says what is in them."""
    asked = csv_import.Asked(url, key, dry_run, resume, state)
    raise SystemExit(csv_import.import_files(mapping, asked, csv_import.Screen(say, _progress, run)))


async def _up(host: str, port: int, folder: Path, *, demo: bool) -> int:
    logs.configure("dunwell", version(), level="WARNING")
    with listening_on(host, port, drain_s=0.2, choose="--port") as listening:
        async with embedded.running_postgres(folder) as postgres:
            return await _serve_all(postgres, listening, folder, demo=demo)


async def _serve_all(postgres: EmbeddedPostgres, listening: Listening, folder: Path, *, demo: bool) -> int:
    clock = HandoverClock(WallClock().now())
    fresh = not (folder / "played").exists()
    story = example.read_story(clock.now(), days=DAYS_BEFORE_READY) if demo and fresh else None
    clock = HandoverClock(story.starts_at) if story else clock
    if story is None:
        clock.hand_over()
    platform = await embedded.open_platform(postgres, folder, clock, Reached.over(listening))

    async def prepare() -> None:
        if story is not None:
            await _play(platform, clock, story)
            (folder / "played").write_text(story.ends_at.isoformat())
        say.print(f"Dunwell is ready on http://{listening.host}:{listening.port} (key: dunwell-dev), Ctrl-C ends it", highlight=False)

    say.print(f"Dunwell starts on http://{listening.host}:{listening.port}", highlight=False)
    try:
        return await serve(platform.app, platform.services, listening, prepare=prepare)
    finally:
        await platform.engine.dispose()


async def _demo(folder: Path, days: int, *, stay: bool) -> int:
    logs.configure("dunwell-demo", version(), level="WARNING")
    if stay:
        return await _up("127.0.0.1", 0, folder, demo=True)
    async with embedded.running_postgres(folder) as postgres:
        summary = await _play_alone(postgres, folder, days)
    return 0 if summary.uncontacted == 0 else 1


async def _play_alone(postgres: EmbeddedPostgres, folder: Path, days: int) -> example.Summary:
    story = example.read_story(WallClock().now(), days=days)
    clock = HandoverClock(story.starts_at)
    platform = await embedded.open_platform(postgres, folder, clock, embedded.ON_THIS_MACHINE)
    try:
        async with working(platform.services, ending := Ending(), clock_is_driven=True):
            summary = await _play(platform, clock, story, hand_over=False)
        if ending.code:
            raise RuntimeError(ending.reason)
    finally:
        await platform.engine.dispose()
    return summary


async def _play(platform: Platform, clock: HandoverClock, story: example.Story, *, hand_over: bool = True) -> example.Summary:
    with _progress("playing the example book") as shown:
        await example.play(platform, clock.driven, story, shown)
    summary = await example.summarise(platform)
    table = Table("what happened", "number", title=f"{story.starts_at:%Y-%m-%d} to {story.ends_at:%Y-%m-%d}, 500 real accounts")
    for row in summary.rows:
        table.add_row(*row)
    say.print(table)
    if hand_over:
        clock.hand_over()
    return summary


async def _apart(name: ServiceName) -> int:
    common = settings.common(name.value)
    logs.configure(name.value, version(), level=common.log_level)
    with listening_on(common.host, common.port, drain_s=common.drain_s, choose="DUNWELL_PORT") as listening:
        return await _serve_apart(name, common, listening)


async def _serve_apart(name: ServiceName, common: Common, listening: Listening) -> int:
    clock = WallClock()
    engine = make_engine(common.database_url, application=name.value)
    bus = KafkaBus(common.kafka_bootstrap, clock=clock, client_id=f"dunwell-{name.value}", partitions=common.partitions)
    try:
        async with judging(common.tokens, clock) as tokens:
            service = wired(name.value, Ports(engine, bus, clock, version(), tokens), common)
            return await serve(service.app, [service], listening)
    finally:
        await bus.close()
        await engine.dispose()


async def _rebuild(tenants: tuple[str, ...], loan: str | None, after: tuple[str, str] | None, *, repair: bool) -> int:
    engine = make_engine(settings.required("DUNWELL_DATABASE_URL"), application="rebuild")
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        if (missing := await migrations.pending(engine, "ingest")) is not None:
            raise RuntimeError(missing)
        rebuild = ingest_service.rebuild(engine, WallClock(), partitions=settings.partitions(), repair=repair)
        steps = rebuild.whole(tenants, stop, after=after) if loan is None else rebuild.one(tenants, loan, stop)
        tally = await _tallied(steps, await rebuild.about())
    finally:
        await engine.dispose()
    print(tally.sentence)
    if stop.is_set():
        say.print(f"ended early, continue with --after {'/'.join(tally.last)}" if tally.last else "ended early", highlight=False)
        return 130
    if loan is not None and not tally.read:
        raise SettingsError(f"there is no loan {loan} of {' or '.join(tenants)}")
    return 1 if tally.differing else 0


async def _tallied(steps: AsyncIterator[Step], about: int) -> Tally:
    tally = Tally()
    with say.status("reading") if say.is_terminal else contextlib.nullcontext() as shown:
        async for step in steps:
            tally.add(step)
            for one in step.differences:
                print(f"{'/'.join(one.key)}: {', '.join(one.fields)}", flush=True)
            if shown is not None:
                shown.update(f"{tally.read:,} of about {max(about, tally.read):,} loans read, {tally.differing:,} differ")
    return tally


async def _migrate(url: str) -> int:
    engine = make_engine(url, application="migrate")
    try:
        await embedded.migrate_all(engine)
    finally:
        await engine.dispose()
    print("all schemas are at this release's version")
    return 0


async def _topics(replication: int) -> int:
    bootstrap, specs = settings.kafka_bootstrap(), needed(settings.tenants(), settings.partitions())
    made = await make_topics(bootstrap, specs, replication=replication)
    print(f"{len(made)} topics created, {len(specs) - len(made)} already existed")
    return 0


async def _rewrap(batch: int | None) -> int:
    url, ring = settings.required("DUNWELL_DATABASE_URL"), Ring(settings.sealing_privates())
    found = await keys.rewrap_once(url, ring, partitions=settings.partitions(), batch=batch)
    print("\n".join(f"{table}: {number} left" for table, number in found.by_table.items()))
    if found.unreadable:
        say.print(f"{found.unreadable} are sealed for a key that is not in the ring, or damaged", highlight=False)
    return 1 if found.total else 0


@contextlib.contextmanager
def _progress(title: str) -> Iterator[example.Progress]:
    """Show a progress bar on a terminal; elsewhere print a line at every tenth."""
    columns = (TextColumn(title), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    if not say.is_terminal:
        said = -1

        def line(share: float) -> None:
            nonlocal said
            if int(share * 10) > said:
                said = int(share * 10)
                say.print(f"{title}: {said * 10} %", highlight=False)

        yield line
        return
    with Progress(*columns, console=say) as bar:
        task = bar.add_task(title, total=1.0)
        yield lambda share: bar.update(task, completed=share)


if __name__ == "__main__":
    main()
