"""A stock client talks with a service whose agent is one speech-to-speech model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiohttp
import numpy as np
import pytest
from pocketsphinx import Decoder

from caller.server import Server, free_port
from e2e.aiortc_caller import AiortcCaller
from e2e.far_record import HZ, decoded
from e2e.patience import timely
from e2e.spoken import command, counter, remark, words_of
from fakes.openai_realtime_server import WORD_MS, RealtimeServer
from voicecore._native.resample import Resampler

SAID = "go forward ten meters"
STORY = (
    "Once upon a time a farmer had a very small garden. Every morning he went out and looked "
    "at his apple trees. One day he found a silver coin under the oldest of them. He took it "
    "to the market and bought a goat."
)
PORT = free_port()


@pytest.fixture(scope="module")
def server(serve: Callable[..., Server]) -> Server:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", "sk-test")
        return serve(
            "--s2s", "openai-realtime", "--greeting", "",
            "--engine", f"openai-realtime.url=ws://127.0.0.1:{PORT}/v1/realtime",
        )  # fmt: skip


def recognised(pcm: bytes) -> set[str]:
    """What the embedded recogniser makes of audio that a model got (24 kHz)."""
    resampler = Resampler(24_000, 16_000)
    samples = np.concatenate(
        [resampler.process(np.frombuffer(pcm, "<i2").astype(np.int16)), resampler.flush()]
    )
    decoder = Decoder(samprate=16_000, loglevel="FATAL")
    decoder.start_utt()
    decoder.process_raw(samples.tobytes(), full_utt=True)
    decoder.end_utt()
    hypothesis = decoder.hyp()
    return words_of(hypothesis.hypstr if hypothesis else "")


def played_s(caller: AiortcCaller) -> float:
    """How long the first answer was, as the far end heard it: gaps of half a second end it."""
    pcm = decoded(caller.arrivals)
    block = HZ // 100
    loud = np.flatnonzero(
        np.abs(pcm[: len(pcm) // block * block]).reshape(-1, block).max(axis=1) > 0.02
    )
    ends = np.flatnonzero(np.diff(loud) > 50)
    return float(loud[ends[0]] - loud[0] + 1) / 100


async def test_a_turn_and_an_interruption(http: aiohttp.ClientSession, server: Server) -> None:
    answers = iter([STORY, "Yes, of course."])
    model = RealtimeServer(
        understand=lambda number, pcm: SAID if number == 0 else "stop it please",
        think=lambda call, asked: next(answers, "Again."),
        pace_s=0.03,
        port=PORT,
    )
    async with model:
        caller = AiortcCaller(http, server.url)
        await caller.call()
        try:
            hello = await caller.event("hello")
            assert hello["engines"]["s2s"] == "openai-realtime"
            caller.say(command()[1])
            final = await caller.event("transcript", where=lambda e: e["final"])
            assert final["text"] == SAID
            await caller.state("speaking")
            await asyncio.sleep(2.3)
            mark = len(caller.events)
            caller.say(remark())
            await caller.event("barge_in", after=mark)
            done = await caller.event("agent_done", after=mark)
            await caller.state("speaking", after=mark)
            await asyncio.sleep(0.5)
            truncate = await model.call.until_came("conversation.item.truncate")
        finally:
            await caller.hang_up()
        item = next(item for item in model.call.items if item.item_id == truncate["item_id"])
        await model.call.until(lambda call: call.over)

    # The model heard the caller's own words, whatever the transcription said.
    spoken = words_of(command()[0])
    heard = recognised(model.call.committed[0])
    assert len(heard & spoken) >= len(spoken) / 3, heard
    # Its memory ends where the far end's own record does.
    heard_s = played_s(caller)
    timely(1.5 < heard_s < 6, f"the story was cut after {heard_s:.1f} s")
    assert truncate["audio_end_ms"] / 1000 == pytest.approx(heard_s, abs=0.12)
    assert (item.audio_ms, item.text) == (truncate["audio_end_ms"], None)
    # Ours is an estimate, to a word or two.
    assert done["interrupted"] is True
    assert STORY.startswith(done["heard"])
    assert len(done["heard"].split()) == pytest.approx(heard_s * 1000 / WORD_MS, abs=2.0)
    assert model.call.errors == []
    assert await counter(http, server.url, "voicecore_barge_ins_total") == 1


async def test_no_provider_is_heard_as_an_apology(
    http: aiohttp.ClientSession, server: Server
) -> None:
    caller = AiortcCaller(http, server.url)
    await caller.call()
    try:
        caller.say(command()[1])
        error = await caller.event("error")
        assert error["code"] == "s2s_unreachable"
        await caller.hears_voice()
        done = await caller.event("agent_done")
        assert "orry" in done["heard"]
    finally:
        await caller.hang_up()
