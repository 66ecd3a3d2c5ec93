"""A caller speaks over the agent; what he heard is what is remembered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import aiohttp
import numpy as np
import pytest
from aiortc.codecs.opus import OpusDecoder
from aiortc.jitterbuffer import JitterFrame
from numpy.typing import NDArray

from caller.server import Server
from e2e.agents.e2e_agents import STORY
from e2e.aiortc_caller import AiortcCaller, Arrival
from e2e.patience import timely
from e2e.spoken import counter, remark

TONE_S = 10.0
HZ = 48_000
CUT_S = 0.020
"""Words whose midpoint lies this close to the cut may fall on either side."""


@pytest.fixture(scope="module")
def server(serve: Callable[..., Server]) -> Server:
    return serve(
        "--stt", "stub", "--tts", "stub", "--stub-tts-seconds", str(TONE_S),
        "--agent", "e2e_agents:storyteller",
    )  # fmt: skip


def decoded(arrivals: list[Arrival]) -> NDArray[np.float64]:
    """All that arrived, in order, by a decoder that is not ours (48 kHz, mono).

    A pause that a late sender made (its timestamps go on) is left out: no sample is in it.
    """
    ordered = sorted(arrivals, key=lambda a: a.timestamp)
    numbers = np.array([a.sequence for a in ordered])
    assert (np.diff(numbers) % 65_536 == 1).all(), "a packet is missing"
    decoder = OpusDecoder()
    frames = [
        decoder.decode(JitterFrame(data=a.payload, timestamp=a.timestamp))[0] for a in ordered
    ]
    pcm = np.concatenate([f.to_ndarray().reshape(-1, 2)[:, 0] for f in frames])
    return pcm.astype(np.float64) / 32768


def tones(pcm: NDArray[np.float64]) -> list[tuple[float, float]]:
    """Stretches (s) of the tone at full level: peak of each 5 ms within 3 dB of -12 dBFS."""
    block = HZ // 200
    peaks = np.abs(pcm[: len(pcm) // block * block]).reshape(-1, block).max(axis=1)
    full = np.concatenate([[False], peaks > 0.25 * 10 ** (-3 / 20), [False]])
    edges = np.flatnonzero(np.diff(full.astype(int)))
    return [(a / 200, b / 200) for a, b in edges.reshape(-1, 2) if b - a >= 10]


async def test_only_what_was_heard_is_remembered(
    http: aiohttp.ClientSession, server: Server
) -> None:
    caller = AiortcCaller(http, server.url)
    await caller.call()
    try:
        caller.say(remark())
        await caller.state("speaking")
        await asyncio.sleep(2.3)
        mark = len(caller.events)
        caller.say(remark())
        await caller.event("barge_in", after=mark)
        done = await caller.event("agent_done", after=mark)
        answer = await caller.event(
            "agent", after=mark, where=lambda e: e["turn"] == done["turn"] + 1
        )
        await caller.state("speaking", after=mark)
        await asyncio.sleep(0.5)
    finally:
        await caller.hang_up()

    # The far end's own record: the story was cut, silence followed, then the next answer.
    story, following = tones(decoded(caller.arrivals))
    played_s = story[1] - story[0]
    timely(2.0 < played_s < TONE_S - 2, f"the story was cut after {played_s:.1f} s")
    assert following[0] - story[1] > 0.4

    words = STORY.split()
    middles = [(i + 0.5) * TONE_S / len(words) for i in range(len(words))]
    sure = sum(middle < played_s - CUT_S for middle in middles)
    perhaps = sum(middle < played_s + CUT_S for middle in middles)
    assert done["interrupted"] is True
    heard = done["heard"].split()
    assert heard == words[: len(heard)]
    assert sure <= len(heard) <= perhaps, (played_s, heard)
    assert f"{done['heard']} {done['unheard']}" == STORY

    remembered = [m for m in json.loads(answer["text"]) if m[0] == "assistant"]
    assert remembered == [["assistant", done["heard"], True]]
    assert await counter(http, server.url, "voicecore_barge_ins_total") == 1
