"""A real service with the engines people use, as a user starts it; their servers run here.

A caller speaks from a recording and is understood by its sound, the answer's voice is
made of tones: what went wrong on the way, in words or in times, is heard.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest

from caller.server import Server, free_port, running
from e2e.aiortc_caller import AiortcCaller
from e2e.far_record import decoded, tones
from e2e.patience import timely, until
from e2e.spoken import counter
from fakes.aligned_recording import aligned_recording
from fakes.assemblyai_server import AssemblyAiServer
from fakes.cartesia_server import CartesiaServer
from fakes.chat_server import ChatServer, Exchange, Reply, answer
from fakes.deepgram_server import DeepgramServer
from fakes.elevenlabs_server import ElevenLabsServer
from fakes.faulty_front import Fault, FaultyFront
from fakes.recording_ear import RecordingEar
from fakes.tone_speech import LETTER_MS
from voicecore._native.resample import Resampler

CANARY = "canary-9f1c77"
KEYS = {
    "DEEPGRAM_API_KEY": f"{CANARY}-dg",
    "ASSEMBLYAI_API_KEY": f"{CANARY}-aai",
    "ELEVENLABS_API_KEY": f"{CANARY}-el",
    "CARTESIA_API_KEY": f"{CANARY}-ca",
    "VOICECORE_LLM_KEY": f"{CANARY}-llm",
}
GREETING = "Good morning there."
STORY = (
    "In 1984 seven hundred farmers owned every garden along that river. "
    "Their apple trees gave more than 250000 apples every year, and none was ever sold. "
    "After many winters somebody found an old silver coin under the oldest tree."
)
BRIEF = "Certainly, whenever that suits you."
SENTENCE = (0.95, 7.6)
"""Of the recording: 26 words in one breath."""
REMARK = (8.55, 10.8)
HEARD_S = 12.0
"""Of the recording, as far as it is needed."""


@dataclass
class Site:
    """The address of an engine that the service was given, and what stands behind it now."""

    name: str
    path: str
    scheme: str = "ws"
    port: int = field(default_factory=free_port)

    @property
    def flags(self) -> tuple[str, str]:
        return "--engine", f"{self.name}.url={self.scheme}://127.0.0.1:{self.port}{self.path}"


@dataclass(frozen=True)
class Service:
    """A service process and where it looks for its engines."""

    server: Server
    log: Path
    sites: dict[str, Site]

    @property
    def url(self) -> str:
        return self.server.url


@pytest.fixture(scope="module")
def recording() -> tuple[Any, list[Any]]:
    pcm, said = aligned_recording()
    return pcm[: round(HEARD_S * 16_000)], [word for word in said if word[2] < HEARD_S]


@pytest.fixture(scope="module")
def ear(recording: tuple[Any, list[Any]]) -> RecordingEar:
    return RecordingEar(*recording)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Service]]:
    """``start(sites, *flags)``: a service with all keys in its environment."""
    folder = tmp_path_factory.mktemp("engines")
    with asyncio.Runner() as runner, pytest.MonkeyPatch.context() as patch:
        stack = AsyncExitStack()
        for name, key in KEYS.items():
            patch.setenv(name, key)

        def begin(sites: list[Site], *flags: str) -> Service:
            log = folder / f"{len(list(folder.iterdir()))}.log"
            urls = [flag for site in sites for flag in site.flags]
            common = ("--overload", "off", "--llm-model", "any", "--greeting", GREETING)
            enter = stack.enter_async_context(running(*common, *urls, *flags, log=log))
            return Service(runner.run(enter), log, {site.name: site for site in sites})

        try:
            yield begin
        finally:
            runner.run(stack.aclose())
            for log in sorted(folder.iterdir()):
                print(log.read_text()[-4000:])


@pytest.fixture(scope="module")
def usual(start: Callable[..., Service], recording: object) -> Service:
    sites = [
        Site("deepgram", "/v1/listen"),
        Site("openai", "/v1", "http"),
        Site("elevenlabs", ""),
    ]
    return start(
        sites, "--stt", "deepgram", "--llm", "openai", "--tts", "elevenlabs,espeak",
        "--engine-retry-s", "1",
    )  # fmt: skip


@pytest.fixture(scope="module")
def others(start: Callable[..., Service], recording: object) -> Service:
    sites = [
        Site("assemblyai", "/v3/ws"),
        Site("openai", "/v1", "http"),
        Site("cartesia", ""),
    ]
    return start(sites, "--stt", "assemblyai", "--llm", "openai", "--tts", "cartesia")


def think(exchange: Exchange) -> Reply:
    """A story for the long sentence, few words for anything else."""
    asked = [message["content"] for message in exchange.messages if message["role"] == "user"]
    text = STORY if "acoustic" in asked[-1].lower() else BRIEF
    return answer(*re.findall(r"\s*\S+", text))


@asynccontextmanager
async def behind(service: Service, **servers: Any) -> AsyncIterator[dict[str, FaultyFront]]:
    """``servers`` by the name of their site, each with a front that can break connections."""
    async with AsyncExitStack() as stack:
        fronts = {}
        for name, server in servers.items():
            await stack.enter_async_context(server)
            front = FaultyFront(server.url, port=service.sites[name].port)
            fronts[name] = await stack.enter_async_context(front)
        yield fronts


@asynccontextmanager
async def calling(
    http: aiohttp.ClientSession, service: Service, codec: str | None = None
) -> AsyncIterator[AiortcCaller]:
    caller = AiortcCaller(http, service.url, codec=codec)
    try:
        await caller.call()
        yield caller
    finally:
        await caller.hang_up()


def piece(recording: tuple[Any, list[Any]], span: tuple[float, float]) -> tuple[str, Any]:
    """The words of a part of the recording, and its sound at 48 kHz."""
    pcm, said = recording
    resampler = Resampler(16_000, 48_000)
    part = resampler.process(pcm[round(span[0] * 16_000) : round(span[1] * 16_000)])
    text = " ".join(word for word, *when in said if span[0] <= sum(when) / 2 < span[1])
    return text, np.concatenate([part, resampler.flush()])


async def greeted(caller: AiortcCaller) -> None:
    done = await caller.event("agent_done")
    assert done["heard"] == GREETING
    await caller.state("listening")


async def final(caller: AiortcCaller, after: int = 0) -> str:
    """The next final transcript, as words only."""
    event = await caller.event("transcript", after=after, where=lambda e: e["final"])
    return re.sub(r"[.,?]", "", str(event["text"])).lower()


def told(caller: AiortcCaller) -> list[float]:
    """How long (ms) each word sounded at the far end: a word is a stretch of tones."""
    return [1000 * (end - begin) for begin, end in tones(decoded(caller.arrivals))]


def check_heard(sounded: list[float], text: str, heard: str) -> None:
    """``heard`` is exactly what sounded of ``text``; the last word if half of it did."""
    words = [re.sub(r"\W", "", word) for word in text.split()]
    lengths = [LETTER_MS * len(word) for word in words]
    assert 3 < len(sounded) < len(words), sounded
    for length, sound in zip(lengths, sounded[:-1], strict=False):
        assert sound == pytest.approx(length, abs=15)
    last = len(sounded) - 1
    share = sounded[last] / lengths[last]
    allowed = {last + (share > 0.5)} if abs(share - 0.5) * lengths[last] > 25 else {last, last + 1}
    assert text.startswith(heard)
    assert len(heard.split()) in allowed, (heard, sounded)


async def readiness(http: aiohttp.ClientSession, service: Service) -> tuple[int, str, Any]:
    async with http.get(f"{service.url}/readyz") as reply:
        return reply.status, await reply.text(), await reply.json()


async def no_key_is_told(http: aiohttp.ClientSession, service: Service) -> None:
    async with http.get(f"{service.url}/metrics") as reply:
        metrics = await reply.text()
    _, ready, _ = await readiness(http, service)
    output = service.log.read_text()
    for place in (metrics, ready, output):
        assert CANARY not in place
    assert "voicecore_engine_first_byte_seconds" in metrics


async def test_a_call_and_an_interruption(
    http: aiohttp.ClientSession, usual: Service, recording: Any, ear: RecordingEar
) -> None:
    sentence, remark = piece(recording, SENTENCE), piece(recording, REMARK)
    stt = DeepgramServer(ear, keys={KEYS["DEEPGRAM_API_KEY"]})
    llm = ChatServer(think=think)
    tts = ElevenLabsServer(keys={KEYS["ELEVENLABS_API_KEY"]}, every_s=0.08)
    async with behind(usual, deepgram=stt, openai=llm, elevenlabs=tts) as fronts:
        async with calling(http, usual) as caller:
            # Before the caller says a word all is connected.
            async with asyncio.timeout(5):
                await stt.connection()
            await greeted(caller)
            assert len(tts.sockets) == 1
            mark = len(caller.events)
            caller.say(sentence[1])
            assert await final(caller) == sentence[0]
            await caller.state("speaking", after=mark)
            await asyncio.sleep(3.0)
            mark = len(caller.events)
            caller.say(remark[1])
            await caller.event("barge_in", after=mark)
            # At once: nobody pays for what nobody hears.
            await tts.until(lambda: not_closed(tts) == set(), limit_s=0.5)
            done = await caller.event("agent_done", after=mark)
            assert await final(caller, mark) == remark[0]
            last = await caller.event("agent_done", after=caller.events.index(done) + 1)
            assert (last["heard"], last["interrupted"]) == (BRIEF, False)
        await until_over(stt, tts)
    assert done["interrupted"] is True
    assert (done["heard"] + " " + done["unheard"]).split() == STORY.split()
    greeting = len(GREETING.split())
    sounded = told(caller)[greeting : -len(BRIEF.split())]
    check_heard(sounded, STORY, done["heard"])
    remembered = [m["content"] for m in llm.exchanges[-1].messages if m["role"] == "assistant"]
    assert remembered[-1].startswith(done["heard"])
    assert "silver" not in remembered[-1]
    assert llm.exchanges[0].headers["Authorization"] == f"Bearer {KEYS['VOICECORE_LLM_KEY']}"
    assert [fronts[name].connections for name in ("deepgram", "elevenlabs")] == [1, 1]
    await no_key_is_told(http, usual)


def not_closed(tts: ElevenLabsServer) -> set[str]:
    """Contexts that were begun and not closed."""
    begun = {message["context_id"] for message in tts.sent("flush")}
    return begun - {message["context_id"] for message in tts.sent("close_context")}


async def until_over(stt: DeepgramServer, tts: ElevenLabsServer) -> None:
    async def over() -> bool:
        return stt.open_connections == 0 and tts.ended == len(tts.sockets)

    await until(over, "all connections are closed", 5.0)
