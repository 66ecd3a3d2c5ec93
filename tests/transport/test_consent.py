"""Consent on the selected pair: asked for and given, and what is left to aioice."""

from __future__ import annotations

import asyncio

from fakes.virtual_loop import virtually
from voicecore.transport import stun_check as stun
from voicecore.transport.consent import EXPIRY_S, INTERVAL_S, Consent, Names

HERE = ("192.0.2.1", 7000)
WAY = object()


class End:
    """One end; ``sent`` is what it gave the network."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self.sent: list[bytes] = []
        self.selected = True
        self.consent = Consent(
            lambda: self.names,
            lambda way, address: self.selected and way is WAY and address == HERE,
            self.sent.append,
            draw=lambda: 0.5,
        )

    def take(self, data: bytes) -> bool:
        return self.consent.take(data, WAY, HERE)


def ends() -> tuple[End, End]:
    ours = Names("ours", "our-password", "theirs", "their-password", True, 5)
    theirs = Names("theirs", "their-password", "ours", "our-password", False, 6)
    return End(ours), End(theirs)


async def asked(end: End) -> bytes:
    """What ``end`` asks first."""
    keeping = asyncio.create_task(end.consent.keep(never))
    await asyncio.sleep(INTERVAL_S + 0.1)
    keeping.cancel()
    return end.sent.pop()


async def never() -> None:
    raise AssertionError("not expired")


def test_two_ends_keep_each_others_consent() -> None:
    async def main() -> None:
        one, two = ends()
        keeping = [asyncio.create_task(end.consent.keep(never)) for end in (one, two)]
        checks = 0
        for _ in range(200):
            await asyncio.sleep(0.5)
            for end, other in ((one, two), (two, one)):
                while end.sent:
                    checks += 1
                    assert other.take(end.sent.pop())
        both_ways = 2 * 2 * int(100 / INTERVAL_S)
        assert both_ways - 4 <= checks <= both_ways, "a question and its answer, each way"
        for task in keeping:
            assert not task.done()
            task.cancel()

    virtually(main())


def test_a_silent_far_end_is_given_up() -> None:
    async def main() -> None:
        one, _ = ends()
        told: list[float] = []
        loop = asyncio.get_running_loop()
        began_s = loop.time()

        async def expired() -> None:
            told.append(loop.time() - began_s)

        await one.consent.keep(expired)
        assert told == [EXPIRY_S]
        assert len(one.sent) == int(EXPIRY_S / INTERVAL_S)

    virtually(main())


def test_an_answer_to_an_old_question_or_of_a_stranger_keeps_nothing_alive() -> None:
    async def main() -> None:
        one, two = ends()
        first = await asked(one)
        assert two.take(first)
        old = two.sent.pop()
        await asked(one)
        assert not one.take(old), "aioice may know of it"
        forged = stun.write(stun.RESPONSE, first[8:20], b"", b"wrong password")
        assert not one.take(forged)

    virtually(main())


def test_what_is_no_plain_check_on_the_pair_is_left_alone() -> None:
    async def main() -> None:
        one, two = ends()
        check = await asked(two)
        one.selected = False
        assert not one.take(check)
        one.selected = True
        assert not one.consent.take(check, WAY, ("192.0.2.1", 7001))
        assert not one.consent.take(check, object(), HERE)
        assert not one.take(check[:-1])
        assert one.sent == []
        assert one.take(check)
        assert len(one.sent) == 1

    virtually(main())


def test_a_conflict_of_roles_is_left_to_aioice_and_what_it_made_of_it_is_learnt() -> None:
    async def main() -> None:
        one, two = ends()
        two.names = two.names._replace(controlling=True)
        check = await asked(two)
        assert not one.take(check)
        assert one.sent == []
        one.names = one.names._replace(controlling=False)  # it gave in
        assert one.take(check)

    virtually(main())


def test_another_user_is_left_to_aioice() -> None:
    async def main() -> None:
        one, two = ends()
        two.names = two.names._replace(local_user="mallory")
        assert not one.take(await asked(two))
        assert one.sent == []

    virtually(main())
