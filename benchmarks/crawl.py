"""How fast a crawl is, and what it costs besides: `python benchmarks/crawl.py`.

A partner in a process of its own lists 100 pages of 100 Locations, and takes 0, 20 or 100 ms for a page.
What the network alone takes is aiohttp asking for one page after the other and keeping nothing; what decoding
alone takes is the same pages, in memory, read item by item. No crawl can be faster than the slower of the two
unless it asks for several pages at once, which the order of a changing list does not allow.

Each figure is the best of its rounds, which take turns, for neighbours on the machine only ever add. It
prints a table, and then the same figures as one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import platform
import subprocess
import sys
import time
from asyncio.events import Handle
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from aiohttp import ClientSession, DummyCookieJar, web
from attrs import evolve
from codec import Data, installed, page

from ocpi_gireve import BILATERAL, Connection, MemoryStore, PageQuery, Party, Platform, Role, v221
from ocpi_gireve._codec import decode_answer, decode_items
from ocpi_gireve.store.records import ConnectionRecord, ConnectionState
from ocpi_gireve.types import PartnerEndpoint, PartnerRole, PartyId, Secret

SIZE = 100
DISTINCT = 10
"""Pages that the partner has made; it repeats them under other offsets."""
DELAYS = (0, 20, 100)
PARTNER = PartyId("FR", "CPO")


# --- the partner -----------------------------------------------------------------------------------------


def made_pages() -> list[bytes]:
    """Make the answers of the partner."""
    data = Data()
    return [page([data.location(SIZE * first + one) for one in range(SIZE)]) for first in range(DISTINCT)]


async def serve(pages: int) -> None:
    """List Locations on a free port, which is printed, until the process is ended.

    The path says how many milliseconds an answer takes.
    """
    bodies = made_pages()
    single = page([Data().location(1)])
    total = SIZE * pages

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        delay = int(request.path.split("/")[1])
        asked = parse_qs(request.query_string)
        offset = int(asked["offset"][0])
        if asked["limit"] == ["1"]:
            return web.Response(body=single, headers={"Content-Type": "application/json"})
        headers = {"X-Total-Count": str(total), "X-Limit": str(SIZE), "Content-Type": "application/json"}
        if offset + SIZE < total:
            url = f"http://{request.host}{request.path}?offset={offset + SIZE}&limit={SIZE}"
            headers["Link"] = f'<{url}>; rel="next"'
        if delay:
            await asyncio.sleep(delay / 1000)
        return web.Response(body=bodies[offset // SIZE % DISTINCT], headers=headers)

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


# --- the ways ----------------------------------------------------------------------------------------------


@asynccontextmanager
async def connected(url: str) -> AsyncGenerator[Connection]:
    """A connection to the partner, as after a registration."""
    profile = evolve(BILATERAL, name="partner", allow_http_loopback=True)
    record = ConnectionRecord(
        id="partner",
        profile=profile.name,
        origins=(url.rpartition("/")[0],),
        state=ConnectionState.REGISTERED,
        version="2.2.1",
        roles=(PartnerRole(Role.CPO, PARTNER, "Example CPO"),),
        endpoints=(PartnerEndpoint("locations", "SENDER", url),),
        outbound_token=Secret("the-token-of-a-benchmark"),
    )
    store = MemoryStore()
    await store.open()
    await store.save_connection(record, [])
    ours = Platform(
        public_url="https://emsp.example.com/ocpi",
        parties=[Party("FR", "EMP", Role.EMSP, name="Example eMSP")],
        handlers=[],
        store=store,
        profiles=[profile],
    )
    async with ours:
        yield ours.connection("partner")


async def network(url: str) -> int:
    """Ask for one page after the other, and keep nothing."""
    done = 0
    async with ClientSession(cookie_jar=DummyCookieJar()) as session:
        following: str | None = f"{url}?offset=0&limit={SIZE}"
        while following is not None:
            async with session.get(following) as response:
                await response.read()
                link = response.links.get("next")
                following = None if link is None else str(link["url"])
                done += SIZE
    return done


async def decoding(pages: int, bodies: list[bytes]) -> int:
    """Read the items of the same pages, one after the other."""
    done = 0
    for number in range(pages):
        data = decode_answer(bodies[number % DISTINCT]).data
        for _ in decode_items(data or b"", v221.Location):
            done += 1
    return done


async def crawled(connection: Connection) -> int:
    """What this benchmark is about."""
    done = 0
    async for _ in connection.crawl(v221.LocationsSender.list_locations):
        done += 1
    return done


# --- measuring -----------------------------------------------------------------------------------------


Way = Callable[[], Coroutine[Any, Any, int]]


async def seconds(way: Way, expected: int) -> float:
    """Run a way once and return how long it took."""
    gc.collect()
    start = time.perf_counter()
    assert await way() == expected
    return time.perf_counter() - start


async def compare(port: int, pages: int, rounds: int) -> dict[int, dict[str, float]]:
    """Let the ways take turns, for each delay; return the best time of each."""
    bodies = made_pages()
    gc.collect()
    gc.freeze()
    best: dict[int, dict[str, float]] = {}
    for delay in DELAYS:
        url = f"http://127.0.0.1:{port}/{delay}"
        async with connected(url) as connection:
            await crawled(connection)
            ways: Mapping[str, Way] = {
                "network": partial(network, url),
                "decoding": partial(decoding, pages, bodies),
                "crawl": partial(crawled, connection),
            }
            times: dict[str, list[float]] = {name: [] for name in ways}
            for _ in range(rounds):
                for name, way in ways.items():
                    times[name].append(await seconds(way, SIZE * pages))
            best[delay] = {name: min(took) for name, took in times.items()}
    return best


async def longest_step(port: int, rounds: int) -> float:
    """Return the longest that a crawl kept the event loop, in ms: the least of several rounds.

    Of this thread's own time, so that it does not count when another program has the processor.
    """
    handles: Any = Handle  # there is no other way to see each step
    run = handles._run  # noqa: SLF001 - as above
    longest = 0.0

    def timed(handle: Handle) -> None:
        nonlocal longest
        start = time.thread_time()
        run(handle)
        longest = max(longest, time.thread_time() - start)

    found: list[float] = []
    async with connected(f"http://127.0.0.1:{port}/0") as connection:
        await crawled(connection)
        gc.collect()
        gc.freeze()
        handles._run = timed  # noqa: SLF001 - as above
        for _ in range(rounds):
            longest = 0.0
            await crawled(connection)
            found.append(longest)
        handles._run = run  # noqa: SLF001 - as above
    return min(found) * 1000


async def memory(port: int) -> float:
    """Return what a crawl needs besides what the program needs anyway, in MB, in a process of its own.

    What the program needs is seen after a crawl of a single object.
    """
    one = PageQuery(limit=1)
    async with connected(f"http://127.0.0.1:{port}/0") as connection:
        async for _ in connection.crawl(v221.LocationsSender.list_locations, one):
            break
        gc.collect()
        before = resident("VmRSS")
        # Forgets the greatest so far. (proc(5))
        await asyncio.to_thread(Path("/proc/self/clear_refs").write_text, "5")
        await crawled(connection)
        return (resident("VmHWM") - before) / 1024


def resident(name: str) -> int:
    """Return a figure of this process's memory, in kB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def apart(*arguments: str) -> float:
    """Run this file in a process of its own and return the figure that it prints."""
    command = (sys.executable, __file__, *arguments)
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)  # noqa: S603 - this file


def measure(pages: int, rounds: int) -> dict[str, object]:
    """Start the partner, and measure everything."""
    command = (sys.executable, __file__, "--serve", "--pages", str(pages))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as partner:  # noqa: S603 - this file
        try:
            assert partner.stdout is not None
            port = partner.stdout.readline().strip()
            best = asyncio.run(compare(int(port), pages, rounds))
            return {
                "seconds": best,
                "ratio": {
                    delay: one["crawl"] / max(one["network"], one["decoding"]) for delay, one in best.items()
                },
                "longest_step_ms": apart("--step", port, "--rounds", str(rounds)),
                "mb_above_base": apart("--memory", port) if sys.platform == "linux" else None,
            }
        finally:
            partner.terminate()


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure crawls.")
    parser.add_argument("--pages", type=int, default=100, help="how many pages of 100 Locations")
    parser.add_argument("--rounds", type=int, default=5, help="how often each way runs")
    for hidden in ("--step", "--memory"):
        parser.add_argument(hidden, type=int, metavar="PORT", help=argparse.SUPPRESS)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        asyncio.run(serve(arguments.pages))
    elif arguments.step:
        print(asyncio.run(longest_step(arguments.step, arguments.rounds)))
    elif arguments.memory:
        print(asyncio.run(memory(arguments.memory)))
    else:
        show(measure(arguments.pages, arguments.rounds), arguments.pages)


def show(figures: Mapping[str, Any], pages: int) -> None:
    """Print the table and the line of JSON."""
    names = ("network", "decoding", "crawl")
    titles = "".join(f"{f'{name} s':>12}" for name in names)
    print(f"{f'{pages} pages of {SIZE} Locations':30}{titles}{'ratio':>9}")
    for delay, one in figures["seconds"].items():
        row = "".join(f"{one[name]:12.3f}" for name in names)
        print(f"{f'partner takes {delay} ms':30}{row}{figures['ratio'][delay]:9.2f}")
    print(f"{'longest step of the loop, ms':30}{figures['longest_step_ms']:12.2f}")
    above = figures["mb_above_base"]
    print(f"{'memory above base, MB':30}{'not measured here' if above is None else f'{above:12.1f}'}")
    packages = ("ocpi-gireve", "msgspec", "attrs", "aiohttp")
    report = {
        "python": platform.python_version(),
        "versions": {name: installed(name) for name in packages},
        "pages": pages,
        **figures,
    }
    print(json.dumps(report, default=str))


if __name__ == "__main__":
    main()
