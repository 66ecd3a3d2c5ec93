"""Remote synthesisers behind a front that breaks their connections."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from fakes.cartesia_server import CartesiaServer
from fakes.elevenlabs_server import ElevenLabsServer
from fakes.faulty_front import Fault, FaultyFront
from fakes.openai_speech_server import OpenAiSpeechServer
from fakes.speech_calls import TEXT, hear, noticed, strangers
from fakes.virtual_loop import virtually
from voicecore.engines.tts.cartesia import CartesiaTts
from voicecore.engines.tts.elevenlabs import ElevenLabsTts
from voicecore.engines.tts.openai_speech import OpenAiSpeech
from voicecore.engines.tts.speech_buffer import SpeechLimits

pytestmark = pytest.mark.slow

LIMITS = SpeechLimits(connect_s=0.4, first_byte_s=0.4, next_byte_s=0.4)
DEADLINE_S = 1.0
"""Connecting, or the first or next byte, and a machine of two cores."""


class Subject(NamedTuple):
    server: Callable[..., Any]
    engine: Callable[[str], Any]


SUBJECTS = {
    "elevenlabs": Subject(
        ElevenLabsServer, lambda url: ElevenLabsTts(key="key", url=url, limits=LIMITS)
    ),
    "cartesia": Subject(CartesiaServer, lambda url: CartesiaTts(key="key", url=url, limits=LIMITS)),
    "openai-speech": Subject(
        OpenAiSpeechServer, lambda url: OpenAiSpeech(key="key", url=url, limits=LIMITS)
    ),
}
CODES = {
    Fault.REFUSES: {"tts_unreachable"},
    Fault.SILENT: {"tts_timeout"},
    Fault.HALF_OPEN: {"tts_timeout"},
    # What is cut off short of its end may look like anything.
    Fault.CUT: {"tts_closed", "tts_bad_message"},
    # Among raw samples it is a noise, and then nothing comes.
    Fault.GARBAGE: {"tts_bad_message", "tts_closed", "tts_timeout"},
    Fault.DRIP: {"tts_timeout"},
    Fault.RATE_LIMITED: {"tts_rate_limited"},
    Fault.BROKEN: {"tts_http_status"},
    Fault.WRONG_KEY: {"tts_key"},
    Fault.EXPIRED: {"tts_key"},
}


@pytest.mark.realtime
@pytest.mark.parametrize("warmed", [False, True])
@pytest.mark.parametrize("fault", list(CODES), ids=lambda fault: fault.name.lower())
@pytest.mark.parametrize("name", SUBJECTS)
async def test_every_fault_is_told_in_time_and_nothing_is_left(
    name: str, fault: Fault, warmed: bool
) -> None:
    subject = SUBJECTS[name]
    async with subject.server() as server, FaultyFront(server.url, passes=6000) as front:
        before = asyncio.all_tasks()
        front.fault = fault
        if fault is Fault.REFUSES:
            await front.refuse()
        engine = subject.engine(front.url)
        await engine.start()
        session = engine.session()
        if warmed:
            await session.warm()
        began_s = time.monotonic()
        heard = await hear(session.speak(TEXT))
        assert heard.error is not None
        assert heard.error.code in CODES[fault]
        assert heard.error.permanent is (heard.error.code == "tts_key")
        assert time.monotonic() - began_s < DEADLINE_S
        await session.close()
        await engine.close()
        await noticed()
        assert not {left for left in strangers(before) if left.startswith(name)}


@pytest.mark.parametrize("name", SUBJECTS)
async def test_the_next_text_is_spoken_when_the_provider_works_again(name: str) -> None:
    subject = SUBJECTS[name]
    async with subject.server() as server, FaultyFront(server.url, Fault.BROKEN) as front:
        engine = subject.engine(front.url)
        await engine.start()
        session = engine.session()
        assert (await hear(session.speak(TEXT))).error is not None
        front.fault = Fault.NONE
        heard = await hear(session.speak(TEXT))
        assert heard.error is None
        assert len(heard.pcm)
        await session.close()
        await engine.close()


@pytest.mark.parametrize("name", ["elevenlabs", "cartesia"])
def test_a_connection_that_dies_in_silence_is_opened_anew(name: str) -> None:
    """Nobody speaks when it dies: the unanswered ping is what tells."""

    async def main() -> None:
        subject = SUBJECTS[name]
        async with subject.server() as server, FaultyFront(server.url) as front:
            engine = subject.engine(front.url)
            await engine.start()
            session = engine.session()
            await session.warm()
            front.freeze()
            await asyncio.sleep(2.0)
            heard = await hear(session.speak(TEXT))
            assert heard.error is None
            assert front.connections == 2
            await session.close()
            await engine.close()

    virtually(main())
