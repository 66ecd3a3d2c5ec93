"""Whatever a call was about when it ended, reference counts free all of it."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Awaitable, Callable

import pytest

from fakes.garbage import no_knots
from fakes.virtual_loop import virtually
from service.test_call import Rig
from service.test_calls import calls, far_end
from voicecore.errors import EngineError, PeerError
from voicecore.service.calls import Calls


async def while_greeted(rig: Rig) -> None:
    rig.connect()
    await rig.plane.run(200)
    assert rig.call.state == "speaking"


async def while_he_speaks(rig: Rig) -> None:
    rig.connect()
    await rig.plane.run(3000)
    await rig.speak(300)
    assert rig.call.state == "hearing"


async def while_answered(rig: Rig) -> None:
    await while_he_speaks(rig)
    await rig.plane.run(800)
    assert rig.call.state == "speaking"


async def after_a_barge_in(rig: Rig) -> None:
    await while_answered(rig)
    await rig.speak(300)
    assert rig.counter("voicecore_barge_ins_total") == 1
    await rig.plane.run(3000)


async def with_a_broken_voice(rig: Rig) -> None:
    rig.tts.broken = True
    rig.connect()
    await rig.plane.run(600)


async def by_the_caller(rig: Rig) -> None:
    rig.connect()
    rig.call.on_message('{"type": "hangup"}')


async def without_voice_activity(rig: Rig) -> None:
    rig.connect()
    rig.call.on_plane_failed(EngineError("gone", engine="vad", code="worker_lost"))


@pytest.mark.parametrize(
    "ending",
    [
        while_greeted,
        while_he_speaks,
        while_answered,
        after_a_barge_in,
        with_a_broken_voice,
        by_the_caller,
        without_voice_activity,
    ],
)
def test_nothing_is_left_of_what_was_said(ending: Callable[[Rig], Awaitable[None]]) -> None:
    async def main() -> None:
        with no_knots():
            rig = Rig(greeting="Welcome.")
            rig.opened_channel()
            await ending(rig)
            await rig.close()
            left = weakref.ref(rig.call)
            rig.over.clear()
            del rig
            await asyncio.sleep(1)
            assert left() is None

    virtually(main())


async def unanswered(manager: Calls) -> None:
    await manager.open()


async def hung_up(manager: Calls) -> None:
    await manager.hang_up((await manager.open()).session_id)


async def badly_answered(manager: Calls) -> None:
    opened = await manager.open()
    with pytest.raises(PeerError):
        await manager.answer(opened.session_id, "nonsense")


async def badly_offered(manager: Calls) -> None:
    with pytest.raises(PeerError):
        await manager.accept("v=0\r\nm=video 9 RTP/AVP 96\r\n")


async def offered(manager: Calls) -> None:
    async with far_end() as far:
        await manager.accept(await far.offer())


@pytest.mark.parametrize("ending", [unanswered, hung_up, badly_answered, badly_offered, offered])
def test_nothing_is_left_of_a_session(ending: Callable[[Calls], Awaitable[None]]) -> None:
    async def main() -> None:
        async with calls(answer_timeout_s=5) as manager:
            await ending(manager)
            await asyncio.sleep(10)
            with no_knots():
                await ending(manager)
                await asyncio.sleep(10)
                assert manager.active == 0

    virtually(main())
