"""What Redis does by our scripts: step by step the same as the model in plain Python."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("redis")

import redis
from prometheus_client import CollectorRegistry

from caller.server import free_port
from fakes.book import ModelBook, Server
from ops import redis_process as redis_server
from ops.redis_process import RedisProcess, redis_process
from voicecore.service.directory_metrics import DirectoryMetrics
from voicecore.service.redis_directory import scripts
from voicecore.service.redis_directory.book import BookUnreachableError, Member, Word
from voicecore.service.redis_directory.client import RedisDirectory
from voicecore.service.redis_directory.redis_book import RedisBook

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not redis_server.available(), reason=redis_server.MISSING),
]

LEASE_MS = 600_000
"""Time passes by hand here: what Redis has of it is set back."""
PREFIX = "test"
ROUNDS = 12
STEPS = 120


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    with redis_process(tmp_path_factory.mktemp("redis")) as one:
        yield one


def member(name: str, process: str, cluster_limit: int, limit: int) -> Member:
    return Member(name, f"http://{name}", process, LEASE_MS, cluster_limit, limit)


class Both:
    """A model and a Redis that are told the same."""

    def __init__(self, url: str, rng: random.Random) -> None:
        self.rng = rng
        self.redis: Any = redis.Redis.from_url(url, decode_responses=True)
        self.redis.flushall()
        self.book, self.members, self.held_by, self.facts, self.calls = scripts.keys(PREFIX)
        self.model = Server(lambda: int(time.time() * 1000))
        self.books = (ModelBook(self.model), RedisBook(url, PREFIX))
        limit = rng.choice([0, 5, 9, 30])
        self.who = [member(f"m-{n}", "p000", limit, rng.choice([3, 8, 50])) for n in range(3)]
        self.turns = {one.name: 0 for one in self.who}
        self.shares = {one.name: 0 for one in self.who}
        self.held: dict[str, list[str]] = {one.name: [] for one in self.who}

    async def ask(self, what: str, me: Member, turn: int, *said: Any) -> Word:
        """Both the same; the answers must not differ."""
        words = []
        for book in self.books:
            word = await getattr(book, what)(me, turn, *said)
            words.append(word and replace(word, settling_ms=int(word.settling_ms > 0)))
        assert words[0] == words[1], (what, me.name, turn, said)
        return words[0]

    async def step(self) -> None:
        """One thing that an instance, or time, may do."""
        rng = self.rng
        place = rng.randrange(len(self.who))
        me = self.who[place]
        name, held = me.name, self.held[me.name]
        turn = self.turns[name] - (rng.random() < 0.05)
        share = rng.choice([self.shares[name], self.shares[name], rng.randrange(5)])
        draining = rng.random() < 0.1
        word = None
        match rng.choice(["join", "renew", "reserve", "reserve", "reserve", "release", "odd"]):
            case "join":
                self.turns[name] = turn = turn + 1
                word = await self.ask("join", me, turn, share, draining, held)
            case "renew":
                wrong = rng.random() < 0.1
                word = await self.ask("renew", me, turn, share, draining, len(held) + wrong, [])
            case "reserve":
                wanted = [f"{rng.getrandbits(32):08x}" for _ in range(rng.choice([1, 1, 2, 5]))]
                more = rng.random() < 0.1
                gone = [held.pop()] if held and rng.random() < 0.2 else []
                said = len(held) + more, wanted, gone
                word = await self.ask("reserve", me, turn, share, *said)
                held += wanted[: word.given]
            case "release" if held:
                gone = held.pop(rng.randrange(len(held)))
                word = await self.ask("renew", me, turn, share, draining, len(held), [gone])
            case "odd":
                await self.oddity(place)
        if word is not None and word.verdict not in ("gone", "taken_over"):
            self.shares[name] = word.share

    async def oddity(self, place: int) -> None:
        """Leases that end, silence, another start of Redis, another process."""
        me, model, now_ms = self.who[place], self.model, int(time.time() * 1000)
        past_ms = now_ms - 1000
        match self.rng.randrange(7):
            case 0 if me.name in model.members:
                model.members[me.name].ends_ms = past_ms
                self.redis.zadd(self.members, {me.name: past_ms})
            case 1 if model.seen_ms:
                model.seen_ms = now_ms - LEASE_MS
                self.redis.hset(self.book, "seen", model.seen_ms)
            case 2 | 3:
                model.settled_ms = past_ms
                self.redis.hset(self.book, "settled", past_ms)
            case 4:
                model.restart(empty=False)
                self.redis.hset(self.book, "run", "another")
            case 5:
                self.who[place] = replace(me, process=f"p{self.rng.randrange(1000):03d}")
                self.held[me.name] = []
            case 6:
                for book in self.books:
                    await book.leave(me)

    async def check(self) -> None:
        """What both remember."""
        model = self.model
        stored = {tuple(call.split(" ")) for call in self.redis.zrange(self.calls, 0, -1)}
        assert stored == model.calls
        places = {name: int(n) for name, n in self.redis.hgetall(self.held_by).items()}
        assert places == {name: one.places for name, one in model.members.items() if one.places}
        assert int(self.redis.hget(self.book, "promised") or 0) == model.promised
        assert set(self.redis.hkeys(self.facts)) == set(model.members)
        for name, session in [*model.calls, ("m-0", "nothing"), ("nobody", "nothing")]:
            urls = [await book.find(name, session) for book in self.books]
            assert urls[0] == urls[1]


async def test_the_scripts_do_what_the_model_does(server: RedisProcess) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    for _ in range(ROUNDS):
        both = Both(server.url, rng)
        for _ in range(STEPS):
            await both.step()
            await both.check()
        for book in both.books:
            await book.close()
        both.redis.close()


async def test_a_burst_at_many_instances_gets_exactly_the_limit(server: RedisProcess) -> None:
    redis.Redis.from_url(server.url).flushall()
    limit, instances, each = 50, 8, 25
    who = [replace(member(f"m-{n}", "p", limit, 1000), lease_ms=200) for n in range(instances)]
    books = [RedisBook(server.url, PREFIX) for _ in who]

    async def one(me: Member, book: RedisBook) -> int:
        share = (await book.join(me, 1, 0, False, [])).share
        # Nobody knows who had what before: it takes a lease until places are given.
        for _ in range(40):
            word = await book.renew(me, 1, share, False, 0, [])
            await asyncio.sleep(me.lease_ms / 8000 if word.settling_ms else 0)
        held, share = 0, word.share
        for number in range(each):
            word = await book.reserve(me, 1, share, held, [f"s{number}"], [])
            held, share = held + word.given, word.share
        return held

    try:
        got = await asyncio.gather(*map(one, who, books))
        assert sum(got) == limit, got
    finally:
        for book in books:
            await book.close()


async def test_all_keys_lie_in_one_slot_of_a_redis_cluster(tmp_path: Path) -> None:
    bus = ["--cluster-port", str(free_port())]
    with redis_process(tmp_path, "--cluster-enabled", "yes", *bus) as server:
        cli = ["redis-cli", "-p", str(server.port), "CLUSTER"]
        subprocess.run(  # noqa: ASYNC221 -- nothing else runs here
            [*cli, "ADDSLOTSRANGE", "0", "16383"], check=True, capture_output=True
        )
        book = RedisBook(server.url.replace("redis://", "redis+cluster://"), "a name")
        me = member("m-0", "p", 5, 5)
        try:
            async with asyncio.timeout(20):
                while True:
                    try:
                        word = await book.join(me, 1, 0, False, ["one"])
                        break
                    except BookUnreachableError:  # it takes a moment until it calls itself whole
                        await asyncio.sleep(0.05)
            assert (word.verdict, word.calls, word.members) == ("ok", 1, 1)
            assert await book.find("m-0", "one") == "http://m-0"
        finally:
            await book.close()


@pytest.mark.parametrize("turns", range(4))
async def test_closing_ends_while_something_is_being_told(server: RedisProcess, turns: int) -> None:
    me = member("m-0", "p", 0, 50)
    book = RedisBook(server.url, PREFIX)
    directory = RedisDirectory(book, me, DirectoryMetrics(CollectorRegistry()))
    await directory.start(50)
    await directory.reserve("one")
    directory.release("one")
    for _ in range(turns):
        await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await directory.close()
    assert not redis.Redis.from_url(server.url).exists(*scripts.keys(PREFIX)[1:])


async def test_a_redis_that_stands_still_holds_nobody_up(server: RedisProcess) -> None:
    redis.Redis.from_url(server.url).flushall()
    me = replace(member("m-0", "p", 0, 50), lease_ms=2000)
    directory = RedisDirectory(
        RedisBook(server.url, PREFIX), me, DirectoryMetrics(CollectorRegistry())
    )
    await directory.start(50)
    try:
        await directory.reserve("before")
        server.signal(signal.SIGSTOP)
        began_s = time.monotonic()
        await asyncio.gather(*(directory.reserve(f"while-{n}") for n in range(20)))
        assert time.monotonic() - began_s < 5
        assert directory.describe()["state"] == "away"
        directory.release("before")
        server.signal(signal.SIGCONT)
        for _ in range(1000):
            if directory.describe() == {"state": "up", "instances": 1, "calls": 20}:
                break
            await asyncio.sleep(0.02)
        else:
            pytest.fail(f"it did not recover: {directory.describe()}")
    finally:
        server.signal(signal.SIGCONT)
        await directory.close()
    assert not redis.Redis.from_url(server.url).exists(*scripts.keys(PREFIX)[1:])


@pytest.mark.parametrize(
    ("scheme", "kind"), [("redis", "ConnectionError"), ("redis+cluster", "RedisClusterException")]
)
async def test_who_is_away_is_told_so_without_address_or_key(scheme: str, kind: str) -> None:
    book = RedisBook(f"{scheme}://:secret@127.0.0.1:1/0", PREFIX)
    with pytest.raises(BookUnreachableError) as caught:
        await book.join(member("m-0", "p", 5, 5), 1, 0, False, [])
    assert caught.value.reason == kind
    assert caught.value.__cause__ is None
    await book.close()
