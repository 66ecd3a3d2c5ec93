"""The directory of many instances over a model of Redis, in virtual time.

The last test is the point of it all: whatever is lost, late, killed or begun anew, there are
never more calls than the limit, and in the end all places are there again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from fakes.book import ModelBook, Server
from fakes.virtual_loop import VirtualLoop, virtually
from voicecore.errors import CapacityError
from voicecore.service.directory_metrics import DirectoryMetrics
from voicecore.service.redis_directory.book import BookUnreachableError, Member
from voicecore.service.redis_directory.client import (
    ASKING_LIMIT,
    BATCH,
    GONE_LIMIT,
    RedisDirectory,
)

Step = Callable[[], Awaitable[Any]]
LEASE_S = 15.0
LIMIT = 30
LOCAL_LIMIT = 1000


def loop() -> VirtualLoop:
    return cast(VirtualLoop, asyncio.get_running_loop())


def redis_server() -> Server:
    clock = loop()
    return Server(lambda: round(clock.time() * 1000))


class Wire(ModelBook):
    """A connection to the model that can hang, break, lose answers and deliver late."""

    def __init__(self, server: Server, rng: random.Random | None = None) -> None:
        super().__init__(server)
        self.hangs = False
        self.asked = 0
        self.rng = rng
        self.late: set[asyncio.Task[Any]] = set()

    async def join(self, *said: Any) -> Any:
        return await self._carry(partial(super().join, *said))

    async def renew(self, *said: Any) -> Any:
        return await self._carry(partial(super().renew, *said))

    async def reserve(self, *said: Any) -> Any:
        return await self._carry(partial(super().reserve, *said))

    async def leave(self, me: Member) -> None:
        await self._carry(partial(super().leave, me))

    async def find(self, *said: Any) -> Any:
        return await self._carry(partial(super().find, *said))

    async def _carry(self, step: Step) -> Any:
        """``step``, as the network lets it."""
        self.asked += 1
        if self.hangs:
            await asyncio.sleep(3600)
        if self.rng is None:
            return await step()
        if self.rng.random() < 0.02:
            task = asyncio.ensure_future(self._late(step, self.rng.uniform(0, LEASE_S)))
            self.late.add(task)
            task.add_done_callback(self.late.discard)
            raise BookUnreachableError("sent, and lost from sight")
        await asyncio.sleep(self.rng.choice([0, 0, 0.001, 0.01]))
        result = await step()
        if self.rng.random() < 0.02:
            raise BookUnreachableError("the answer is lost")
        return result

    async def _late(self, step: Step, delay_s: float) -> None:
        """What was sent arrives when nobody waits for it any more."""
        await asyncio.sleep(delay_s)
        with contextlib.suppress(BookUnreachableError):
            await step()


@dataclass
class Instance:
    """One, and the sessions that its calls hold."""

    directory: RedisDirectory
    wire: Wire
    registry: CollectorRegistry
    calls: list[str] = field(default_factory=list)

    def counted(self, name: str) -> float:
        for line in generate_latest(self.registry).decode().splitlines():
            if line.startswith(name + " "):
                return float(line.split()[-1])
        raise KeyError(name)

    async def open(self, session: str) -> bool:
        try:
            await self.directory.reserve(session)
        except CapacityError:
            return False
        self.calls.append(session)
        return True

    def end(self, session: str) -> None:
        self.calls.remove(session)
        self.directory.release(session)


async def instance(
    server: Server,
    name: str,
    *,
    limit: int = LIMIT,
    local: int = LOCAL_LIMIT,
    process: str = "p",
    rng: random.Random | None = None,
) -> Instance:
    registry = CollectorRegistry()
    me = Member(f"{name}-0", f"https://{name}.test", process, round(LEASE_S * 1000), limit)
    wire = Wire(server, rng)
    directory = RedisDirectory(
        wire, me, DirectoryMetrics(registry), random=random.Random(1), now_ns=loop().now_ns
    )
    await directory.start(local)
    return Instance(directory, wire, registry)


@asynccontextmanager
async def cluster(*names: str, **options: Any) -> AsyncIterator[tuple[Server, list[Instance]]]:
    """Instances that have known each other for long."""
    server = redis_server()
    instances = [await instance(server, name, **options) for name in names]
    await asyncio.sleep(2 * LEASE_S)
    try:
        yield server, instances
    finally:
        for one in instances:
            one.wire.hangs, server.up = False, True
            await one.directory.close()


async def fill(one: Instance, count: int, prefix: str = "x") -> int:
    """How many of ``count`` calls at once are let in."""
    return sum(await asyncio.gather(*(one.open(f"{prefix}{n}") for n in range(count))))


async def code_of(work: Awaitable[Any]) -> tuple[str, int, str]:
    with pytest.raises(CapacityError) as caught:
        await work
    return caught.value.code, caught.value.retry_after_s, str(caught.value)


def test_a_burst_at_all_gets_exactly_the_limit() -> None:
    async def main() -> None:
        async with cluster("a", "b", "c") as (server, instances):
            got = await asyncio.gather(*(fill(one, 40, f"{n}-") for n, one in enumerate(instances)))
            assert sum(got) == LIMIT
            assert server.promised == LIMIT
            code, after_s, text = await code_of(instances[0].directory.reserve("more"))
            assert (code, after_s) == ("at_capacity", 5)
            assert "All 30 places of all instances" in text

    virtually(main())


def test_one_alone_gets_all_as_soon_as_the_others_have_given_up_their_shares() -> None:
    async def main() -> None:
        async with cluster("a", "b", "c") as (_, (a, b, c)):
            first = await fill(a, 40)
            assert LIMIT // 2 < first < LIMIT
            await asyncio.sleep(LEASE_S / 3 + 1)
            assert first + await fill(a, 40, "y") == LIMIT
            assert not b.calls + c.calls

    virtually(main())


def test_who_come_at_once_are_asked_for_together() -> None:
    async def main() -> None:
        async with cluster("a", limit=2000, local=5000) as (_, (a,)):
            before = a.wire.asked
            assert await fill(a, 600) == 600
            assert a.wire.asked - before <= 5
            before = a.wire.asked
            assert await fill(a, 3000, "y") == ASKING_LIMIT, "the others go by the share: taken"
            assert a.wire.asked - before <= ASKING_LIMIT / BATCH + 1

    virtually(main())


def test_who_goes_away_while_he_is_asked_for_keeps_no_place() -> None:
    async def main() -> None:
        async with cluster("a") as (server, (a,)):
            for steps in range(8):
                call = asyncio.ensure_future(a.directory.reserve(f"gone-{steps}"))
                for _ in range(steps):
                    await asyncio.sleep(0)
                call.cancel()
                await asyncio.gather(call, return_exceptions=True)
                if not call.cancelled():
                    a.directory.release(f"gone-{steps}")
            await asyncio.sleep(1)
            assert not server.calls
            assert await fill(a, 40) == LIMIT

    virtually(main())


def test_places_come_back_when_calls_end() -> None:
    async def main() -> None:
        async with cluster("a", "b") as (server, (a, b)):
            assert await fill(a, 25) + await fill(b, 25) == LIMIT
            for session in list(a.calls[:7]):
                a.end(session)
            a.directory.release("was never there")
            await asyncio.sleep(0.1)  # it doesn't wait for the next renewal
            assert await fill(b, 25, "y") == 7
            assert len(server.calls) == LIMIT

    virtually(main())


def test_more_ends_at_once_than_can_wait_to_be_told() -> None:
    async def main() -> None:
        async with cluster("a", limit=0, local=9000) as (server, (a,)):
            count = GONE_LIMIT + 100
            assert await fill(a, count) == count
            await asyncio.sleep(1)
            assert len(server.calls) == count
            for session in list(a.calls[1:]):
                a.end(session)
            await asyncio.sleep(1)
            assert server.calls == {("a-0", a.calls[0])}

    virtually(main())


def test_an_instances_own_limit_and_its_drain() -> None:
    async def main() -> None:
        async with cluster("a", "b", local=4) as (server, (a, _)):
            assert await fill(a, 9) == 4
            assert "All 4 places are" in (await code_of(a.directory.reserve("x")))[2]
            a.directory.drain()
            a.directory.drain()
            await asyncio.sleep(0.1)
            assert server.members["a-0"].draining
            a.end(a.calls[0])
            assert (await code_of(a.directory.reserve("x")))[0] == "draining"

    virtually(main())


def test_who_is_killed_is_forgotten_with_his_lease_and_who_leaves_at_once() -> None:
    async def main() -> None:
        async with cluster("a", "b") as (server, (a, b)):
            await fill(a, 20)
            killed = await instance(server, "c")
            await killed.open("c1")
            killed.wire.hangs = True  # no more is heard of it
            await asyncio.sleep(LEASE_S - 1)
            assert len(server.members) == 3
            await asyncio.sleep(LEASE_S / 3 + 1)
            assert set(server.members) == {"a-0", "b-0"}
            assert ("c-0", "c1") not in server.calls
            await a.directory.close()
            await a.directory.close()
            assert set(server.members) == {"b-0"}
            assert not server.calls
            assert await fill(b, 40) == LIMIT
            killed.wire.hangs = False
            await killed.directory.close()

    virtually(main())


def test_the_owner_of_a_session_is_found_while_it_lives() -> None:
    async def main() -> None:
        async with cluster("a", "b") as (server, (a, b)):
            assert await b.open("b-0-1f")
            find = a.directory.owner_url
            assert await find("b-0-1f") == "https://b.test"
            assert await b.directory.owner_url("b-0-1f") is None, "nobody is sent to himself"
            for unknown in ("b-0-2f", "c-0-1f", "a-0-1f", "1f", "", "_-3-1f", "b-0-" + "f" * 500):
                assert await find(unknown) is None
            b.end("b-0-1f")
            await asyncio.sleep(0.1)
            assert await find("b-0-1f") is None
            await b.open("b-0-3f")
            server.up = False
            assert await find("b-0-3f") is None
            a.wire.hangs = server.up = True
            began_s = loop().time()
            assert await find("b-0-3f") is None
            assert loop().time() - began_s < 1
            a.wire.hangs = False
            assert await find("b-0-3f") == "https://b.test"
            await a.directory.close()
            assert await find("b-0-3f") is None, "a connection would be opened again"

    virtually(main())


def test_workers_of_one_host_are_not_sent_to_each_other() -> None:
    async def main() -> None:
        async with cluster("a") as (server, (a,)):
            me = Member("a-1", "https://a.test", "q", 15_000, LIMIT)
            metrics = DirectoryMetrics(CollectorRegistry())
            other = RedisDirectory(Wire(server), me, metrics, now_ns=loop().now_ns)
            await other.start(9)
            await other.reserve("a-1-1f")
            assert await a.directory.owner_url("a-1-1f") is None
            await other.close()

    virtually(main())


def test_while_redis_is_away_each_has_its_share_and_what_ended_is_taken_again() -> None:
    async def main() -> None:
        async with cluster("a", "b", "c") as (server, instances):
            a, b, c = instances
            assert await fill(a, 9) == 9
            await asyncio.sleep(LEASE_S)
            shares = [int(str(one.directory.describe()["share"])) for one in instances]
            assert sum(shares) <= LIMIT
            assert shares[0] >= 9
            assert shares[1] > 0
            server.up = False
            more = [await fill(one, 40, "y") for one in instances]
            assert [9 + more[0], more[1], more[2]] == shares
            assert (await code_of(b.directory.reserve("z")))[0] == "at_capacity"
            b.end(b.calls[0])
            assert await b.open("again")
            assert c.directory.describe()["state"] == "away"
            assert c.counted("voicecore_directory_up") == 0
            assert c.counted('voicecore_directory_degraded_admissions_total{outcome="admitted"}')
            server.up = True
            await asyncio.sleep(LEASE_S / 3)
            assert len(server.calls) == sum(len(one.calls) for one in instances)
            assert c.directory.describe()["state"] == "up"

    virtually(main())


def test_an_empty_redis_gives_no_place_before_all_have_had_time_to_come_back() -> None:
    async def main() -> None:
        async with cluster("a", "b") as (server, (a, b)):
            assert await fill(a, 12) + await fill(b, 12) == 24
            await asyncio.sleep(LEASE_S)
            server.restart(empty=True)
            newcomer = await instance(server, "c")
            assert newcomer.directory.describe()["state"] == "settling"
            code, after_s, _ = await code_of(newcomer.directory.reserve("n"))
            assert (code, after_s) == ("not_ready", round(LEASE_S))
            await asyncio.sleep(LEASE_S / 3 + 1)
            assert {name for name, _ in server.calls} == {"a-0", "b-0"}
            assert len(server.calls) == 24
            a.end(a.calls[0])
            assert await a.open("in the place of the other")
            assert not await a.open("one more")
            await asyncio.sleep(LEASE_S)
            assert await fill(newcomer, 40) == LIMIT - 24
            await newcomer.directory.close()

    virtually(main())


def test_a_redis_that_remembers_an_old_day_is_not_believed() -> None:
    async def main() -> None:
        async with cluster("a", "b") as (server, (a, b)):
            await fill(a, 20)
            remembered = dict(server.members), set(list(server.calls)[:2])
            server.restart(empty=False)
            server.members, server.calls = remembered
            server.members["a-0"].places = 2
            assert await fill(b, 40) + len(a.calls) <= LIMIT

    virtually(main())


def test_a_redis_that_hangs_costs_a_caller_a_quarter_of_a_second_once() -> None:
    async def main() -> None:
        async with cluster("a", "b") as (_, (a, _)):
            a.wire.hangs = True
            began_s = loop().time()
            assert await a.open("1")
            assert loop().time() - began_s == pytest.approx(0.25, abs=0.01)
            assert await fill(a, 40, "y") > 0
            assert loop().time() - began_s < 0.3
            a.wire.hangs = False
            await asyncio.sleep(2)
            assert a.directory.describe()["state"] == "up"

    virtually(main())


def test_without_a_limit_over_all_the_own_one_alone_counts() -> None:
    async def main() -> None:
        async with cluster("a", "b", limit=0, local=9) as (server, (a, _)):
            server.up = False
            assert await fill(a, 40) == 40, "the manager has counted its own before it asks"
            server.up = True
            await asyncio.sleep(LEASE_S)
            assert (await code_of(a.directory.reserve("x")))[0] == "at_capacity"

    virtually(main())


def test_changes_are_logged_once_each(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with cluster("a") as (server, (a,)):
            caplog.clear()
            server.up = False
            await asyncio.sleep(10 * LEASE_S)
            await fill(a, 3)
            server.up = True
            await asyncio.sleep(10 * LEASE_S)
            server.members["a-0"].process = "q, later than p"
            await asyncio.sleep(LEASE_S / 2)
            assert a.directory.describe()["state"] == "away"
            await asyncio.sleep(2 * LEASE_S)  # it is gone again

    with caplog.at_level(logging.INFO, "voicecore"):
        virtually(main())
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split(" ")[0] for line in lines] == ["Redis", "the", "a", "the"], lines
    assert "(down)" in lines[0]


def test_no_task_is_left() -> None:
    async def main() -> None:
        async with cluster("a", "b"):
            pass
        assert asyncio.all_tasks() == {asyncio.current_task()}

    virtually(main())


class Chaos:
    """Instances that live and die, a Redis that comes and goes, callers throughout."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.limit = rng.choice([1, 3, 10, 30])
        self.server = redis_server()
        self.living: dict[str, Instance] = {}
        self.all: list[Instance] = []
        self.numbers = iter(range(1_000_000))

    @property
    def calls(self) -> int:
        return sum(len(one.calls) for one in self.living.values())

    async def born(self, name: str) -> None:
        process = f"p{next(self.numbers):06}"
        options: dict[str, Any] = {"limit": self.limit, "process": process, "rng": self.rng}
        one = await instance(self.server, name, local=self.rng.choice([5, 50]), **options)
        self.living[name] = one
        self.all.append(one)

    async def step(self) -> None:
        rng = self.rng
        name = rng.choice(["a", "b", "c", "d"])
        one = self.living.get(name)
        odd = rng.random()
        if one is None:
            await self.born(name)
        elif odd < 0.01:  # killed: its calls end, and nobody is told
            del self.living[name]
            one.calls.clear()
            one.wire.hangs = True
        elif odd < 0.02:
            self.server.up = not self.server.up
        elif odd < 0.025:
            self.server.restart(empty=rng.random() < 0.5)
        elif odd < 0.03:
            one.calls.clear()
            del self.living[name]
            await one.directory.close()
        elif odd < 0.4 and one.calls:
            one.end(rng.choice(one.calls))
        else:
            count = rng.choice([1, 1, 2, 9])
            sessions = [f"{name}-0-{next(self.numbers)}" for _ in range(count)]
            await asyncio.gather(*map(one.open, sessions))
        assert self.calls <= self.limit, f"{self.calls} calls, {self.limit} places"
        await asyncio.sleep(rng.choice([0, 0, 0.001, 0.1, 1, 4]))

    async def recover(self) -> None:
        """After a quiet time all places are there again, and no more."""
        self.server.up = True
        for one in self.living.values():
            one.wire.rng = None
        await asyncio.sleep(4 * LEASE_S)
        assert {call for _, call in self.server.calls} == {
            call for one in self.living.values() for call in one.calls
        }
        for _ in range(6):
            for one in self.living.values():
                await fill(one, self.limit, f"end{next(self.numbers)}-")
                assert self.calls <= self.limit
            await asyncio.sleep(LEASE_S)
        # The smallest takes five.
        assert self.calls == self.limit or 5 * len(self.living) < self.limit

    async def close(self) -> None:
        for one in self.all:
            one.wire.hangs, one.wire.rng = False, None
            await one.directory.close()
            for task in one.wire.late:
                task.cancel()


@pytest.mark.parametrize("runs", [8, pytest.param(60, marks=pytest.mark.slow)])
def test_never_more_calls_than_the_limit(runs: int) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")

    async def main(run: int) -> None:
        chaos = Chaos(random.Random(seed + run))
        try:
            for _ in range(250):
                await chaos.step()
            await chaos.recover()
        finally:
            await chaos.close()

    for run in range(runs):
        print(f"run {run}")
        virtually(main(run))
