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
from aiortc.codecs.g711 import PcmuDecoder
from aiortc.codecs.opus import OpusDecoder
from aiortc.jitterbuffer import JitterFrame

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
from fakes.heard_words import by_script, spoken
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
    "In 1984 and 1985 and 1986 seven hundred farmers owned every garden along that river and "
    "all meadows behind those gardens. Their apple trees gave more every year than they sold. "
    "After many winters somebody found an old silver coin under the oldest tree."
)
"""Numbers take long to say, but not this voice: who only estimates is wrong by words."""
BRIEF = "Certainly, whenever that suits you."
LONG = (0.95, 7.6)
"""Of the recording: 26 words in one breath."""
SENTENCE = (0.95, 3.74)
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
    """``start(sites, *flags)``: a service with all keys in its environment.

    ``voice``: the synthesiser that it asks for its apology and goodbye as it starts.
    """
    folder = tmp_path_factory.mktemp("engines")
    with asyncio.Runner() as runner, pytest.MonkeyPatch.context() as patch:
        stack = AsyncExitStack()
        for name, key in KEYS.items():
            patch.setenv(name, key)

        async def begin(sites: list[Site], flags: tuple[str, ...], voice: Any) -> Service:
            log = folder / f"{len(list(folder.iterdir()))}.log"
            urls = [flag for site in sites for flag in site.flags]
            common = ("--overload", "off", "--llm-model", "any", "--greeting", GREETING)
            named = {site.name: site for site in sites}
            async with behind(named, **voice):
                enter = stack.enter_async_context(running(*common, *urls, *flags, log=log))
                return Service(await enter, log, named)

        try:
            yield lambda sites, *flags, **voice: runner.run(begin(sites, flags, voice))
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
    # Else its first calls would begin with a voice that is left alone for now.
    voice = ElevenLabsServer(keys={KEYS["ELEVENLABS_API_KEY"]})
    return start(
        sites, "--stt", "deepgram", "--llm", "openai", "--tts", "elevenlabs,espeak",
        "--engine-retry-s", "0.3", elevenlabs=voice,
    )  # fmt: skip


@pytest.fixture(scope="module")
def others(start: Callable[..., Service], recording: object) -> Service:
    sites = [
        Site("assemblyai", "/v3/ws"),
        Site("openai", "/v1", "http"),
        Site("cartesia", ""),
    ]
    voice = CartesiaServer(keys={KEYS["CARTESIA_API_KEY"]})
    return start(
        sites, "--stt", "assemblyai", "--llm", "openai", "--tts", "cartesia", cartesia=voice
    )


def think(exchange: Exchange) -> Reply:
    """A story for the long sentence, few words for anything else."""
    asked = [message["content"] for message in exchange.messages if message["role"] == "user"]
    text = STORY if "acoustic" in asked[-1].lower() else BRIEF
    return answer(*re.findall(r"\s*\S+", text))


@asynccontextmanager
async def behind(sites: dict[str, Site], **servers: Any) -> AsyncIterator[dict[str, FaultyFront]]:
    """``servers`` by the name of their site, each with a front that can break connections."""
    async with AsyncExitStack() as stack:
        fronts = {}
        for name, server in servers.items():
            await stack.enter_async_context(server)
            front = FaultyFront(server.url, port=sites[name].port)
            fronts[name] = await stack.enter_async_context(front)
        yield fronts


@asynccontextmanager
async def calling(
    http: aiohttp.ClientSession, service: Service, codec: str | None = None
) -> AsyncIterator[AiortcCaller]:
    caller = AiortcCaller(http, service.url, codec=codec)
    try:
        # A stock client answers an offer with all that it can do.
        await caller.call("client_offers" if codec else "server_offers")
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
    return [float(1000 * (end - begin)) for begin, end in tones(decoded(caller.arrivals))]


def check_heard(sounded: list[float], text: str, heard: str) -> None:
    """``heard`` is exactly what sounded of ``text``; the last word if half of it did."""
    words = [re.sub(r"\W", "", word) for word in text.split()]
    lengths = [LETTER_MS * len(word) for word in words]
    assert len(sounded) > 3, sounded
    # Packets that a busy machine sent late tear words apart, or join them.
    whole = zip(lengths, sounded[:-1], strict=False)
    timely(all(abs(sound - length) <= 15 for length, sound in whole), f"words of {sounded} ms")
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


@dataclass(frozen=True)
class Stack:
    """The servers of one service's engines. ``hears``: connections of its recogniser."""

    service: Service
    stt: Any
    tts: Any
    hears: Callable[[], list[Any]]
    stt_open: Callable[[], int]

    @property
    def speaks(self) -> bool:
        """Whether the synthesiser's newest context was not given up yet."""
        messages = self.tts.messages
        begun = [m["context_id"] for m in messages if m.get("flush") or m.get("transcript")]
        ended = {m["context_id"] for m in messages if m.get("close_context") or m.get("cancel")}
        return begun[-1] not in ended

    def servers(self, llm: ChatServer) -> dict[str, Any]:
        stt, _, tts = self.service.sites
        return {stt: self.stt, "openai": llm, tts: self.tts}

    async def is_over(self) -> bool:
        return self.stt_open() == 0 and self.tts.ended == len(self.tts.sockets)


@pytest.fixture(params=["deepgram, elevenlabs", "assemblyai, cartesia"])
def stack(request: pytest.FixtureRequest, ear: RecordingEar) -> Stack:
    # Speech comes little faster than it is heard, so that there is some to be cut off.
    if request.param.startswith("deepgram"):
        service = request.getfixturevalue("usual")
        stt = DeepgramServer(ear, keys={KEYS["DEEPGRAM_API_KEY"]})
        tts = ElevenLabsServer(keys={KEYS["ELEVENLABS_API_KEY"]}, every_s=0.08)
        return Stack(service, stt, tts, lambda: stt.connections, lambda: stt.open_connections)
    service = request.getfixturevalue("others")
    other = AssemblyAiServer(ear, keys={KEYS["ASSEMBLYAI_API_KEY"]})
    voice = CartesiaServer(keys={KEYS["CARTESIA_API_KEY"]}, every_s=0.08)
    return Stack(
        service,
        other,
        voice,
        lambda: other.sessions,
        lambda: sum(not session.over.is_set() for session in other.sessions),
    )


async def test_a_call_and_an_interruption(
    http: aiohttp.ClientSession, stack: Stack, recording: Any
) -> None:
    sentence, remark = piece(recording, SENTENCE), piece(recording, REMARK)
    llm, tts = ChatServer(think=think), stack.tts
    async with behind(stack.service.sites, **stack.servers(llm)):
        async with calling(http, stack.service) as caller:
            await greeted(caller)
            # Before the caller says a word all is connected.
            assert (len(stack.hears()), len(tts.sockets)) == (1, 1)
            mark = len(caller.events)
            caller.say(sentence[1])
            assert await final(caller) == sentence[0]
            await caller.state("speaking", after=mark)
            await asyncio.sleep(3.0)
            assert stack.speaks
            mark = len(caller.events)
            caller.say(remark[1])
            await caller.event("barge_in", after=mark)
            # At once: nobody pays for what nobody hears.
            await tts.until(lambda: not stack.speaks, limit_s=0.5)
            done = await caller.event("agent_done", after=mark)
            assert await final(caller, mark) == remark[0]
            last = await caller.event("agent_done", after=caller.events.index(done) + 1)
            assert (last["heard"], last["interrupted"]) == (BRIEF, False)
        await until(stack.is_over, "all connections are closed", 5.0)
    assert (len(stack.hears()), len(tts.sockets)) == (1, 1)
    assert done["interrupted"] is True
    assert f"{done['heard']} {done['unheard']}".split() == STORY.split()
    sounded = told(caller)[len(GREETING.split()) : -len(BRIEF.split())]
    check_heard(sounded, STORY, done["heard"])
    remembered = [m["content"] for m in llm.exchanges[-1].messages if m["role"] == "assistant"]
    assert remembered[-1].startswith(done["heard"])
    assert "silver" not in remembered[-1]
    assert llm.exchanges[0].headers["Authorization"] == f"Bearer {KEYS['VOICECORE_LLM_KEY']}"
    await no_key_is_told(http, stack.service)


@asynccontextmanager
async def faulty(
    usual: Service, ear: RecordingEar
) -> AsyncIterator[tuple[dict[str, FaultyFront], ChatServer]]:
    """The usual engines, to be broken by their fronts."""
    stt = DeepgramServer(ear, keys={KEYS["DEEPGRAM_API_KEY"]})
    llm = ChatServer(think=think)
    tts = ElevenLabsServer(keys={KEYS["ELEVENLABS_API_KEY"]})
    async with behind(usual.sites, deepgram=stt, openai=llm, elevenlabs=tts) as fronts:
        yield fronts, llm


async def test_a_recogniser_that_freezes_in_mid_utterance_costs_no_word(
    http: aiohttp.ClientSession, usual: Service, recording: Any, ear: RecordingEar
) -> None:
    text, sound = piece(recording, LONG)
    async with faulty(usual, ear) as (fronts, _), calling(http, usual) as caller:
        await greeted(caller)
        caller.say(sound)
        await caller.event("transcript", where=lambda e: "talking" in e["text"])
        fronts["deepgram"].freeze()
        assert await final(caller) == text
        assert not [event for event in caller.events if event["type"] == "error"]
        assert fronts["deepgram"].connections == 2
    labels = {"stage": "stt", "engine": "deepgram"}
    assert await counter(http, usual.url, "voicecore_engine_reconnects_total", **labels) == 1
    # No answer to a ping, and no word for as long: either may be noticed first.
    noticed = [
        await counter(
            http, usual.url, "voicecore_engine_attempts_failed_total", code=code, **labels
        )
        for code in ("stt_half_open", "stt_mute")
    ]
    assert sum(noticed) == 1
    await no_key_is_told(http, usual)


async def test_a_synthesiser_that_refuses_is_replaced_by_the_next(
    http: aiohttp.ClientSession, usual: Service, recording: Any, ear: RecordingEar
) -> None:
    async with faulty(usual, ear) as (fronts, _):
        await fronts["elevenlabs"].refuse()
        async with calling(http, usual) as caller:
            await greeted(caller)
            mark = len(caller.events)
            caller.say(piece(recording, REMARK)[1])
            done = await caller.event("agent_done", after=mark)
            assert (done["heard"], done["interrupted"]) == (BRIEF, False)
            assert not [event for event in caller.events if event["type"] == "error"]
            # A voice, and none that is made of tones of 40 ms.
            assert sum(told(caller)) > 300
            status, _, ready = await readiness(http, usual)
        assert status == 200
        espeak, elevenlabs = (
            ready["engines"]["tts"]["espeak"],
            ready["engines"]["tts"]["elevenlabs"],
        )
        assert (espeak["state"], elevenlabs["state"]) == ("up", "down")
        assert "elevenlabs" in elevenlabs["reason"]
        switched = {"stage": "tts", "engine": "elevenlabs", "to": "espeak"}
        assert await counter(http, usual.url, "voicecore_engine_fallbacks_total", **switched) >= 2
        await no_key_is_told(http, usual)
        await fronts["elevenlabs"].listen()

        async def works_again() -> bool:
            _, _, ready = await readiness(http, usual)
            return bool(ready["engines"]["tts"]["elevenlabs"]["state"] == "up")

        await until(works_again, "elevenlabs is used again", 10.0)


async def test_a_model_that_is_broken_is_heard_as_an_apology(
    http: aiohttp.ClientSession, usual: Service, recording: Any, ear: RecordingEar
) -> None:
    async with faulty(usual, ear) as (fronts, _):
        fronts["openai"].fault = Fault.BROKEN
        async with calling(http, usual) as caller:
            await greeted(caller)
            remark = piece(recording, REMARK)[1]
            caller.say(remark)
            error = await caller.event("error")
            assert error["code"] == "llm_http_status"
            await caller.hears_voice()
            mark = len(caller.events)
            caller.say(remark)
            done = await caller.event("agent_done", where=lambda e: e["turn"] == 1)
            assert "orry" in done["heard"]
            await caller.event("error", after=mark)
            status, _, ready = await readiness(http, usual)
        assert status == 503
        assert "llm: openai is down (" in ready["error"]["message"]
        assert "500" in ready["error"]["message"]
        assert await counter(
            http, usual.url, "voicecore_engine_circuit", stage="llm", engine="openai"
        )
        await no_key_is_told(http, usual)
        fronts["openai"].fault = Fault.NONE

        async def ready_again() -> bool:
            return (await readiness(http, usual))[0] == 200

        await until(ready_again, "the model is asked again", 10.0)


@pytest.fixture(scope="module")
def bridged(start: Callable[..., Service], recording: object) -> Service:
    return start(
        [Site("deepgram", "/v1/listen")],
        "--stt", "deepgram", "--stt-bridge", "true", "--llm", "stub", "--tts", "stub",
    )  # fmt: skip


@pytest.mark.parametrize(("codec", "encoding"), [("opus", "opus"), ("pcmu", "mulaw")])
async def test_packets_go_to_the_recogniser_as_the_caller_sent_them(
    http: aiohttp.ClientSession,
    bridged: Service,
    recording: Any,
    ear: RecordingEar,
    codec: str,
    encoding: str,
) -> None:
    text, sound = piece(recording, REMARK)
    stt = DeepgramServer(by_script(spoken(text)), keys={KEYS["DEEPGRAM_API_KEY"]})
    async with behind(bridged.sites, deepgram=stt), calling(http, bridged, codec) as caller:
        await greeted(caller)
        mark = len(caller.events)
        caller.say(sound)
        assert await final(caller, mark) == text
    connection = stt.connections[0]
    assert connection.query["encoding"] == encoding
    packets = [message for message in connection.messages if isinstance(message, bytes)]
    heard = ear(unpacked(packets, codec))
    assert " ".join(word for word, _, _ in heard) == text
    assert heard[0][1] < 1.0


def unpacked(packets: list[bytes], codec: str) -> bytes:
    """Packets as a stock client's decoder hears them, at 16 kHz."""
    decoder: Any = OpusDecoder() if codec == "opus" else PcmuDecoder()
    frames = [decoder.decode(JitterFrame(data=data, timestamp=0))[0] for data in packets]
    channels = len(frames[0].layout.channels)
    pcm = np.concatenate([frame.to_ndarray().reshape(-1, channels)[:, 0] for frame in frames])
    resampler = Resampler(frames[0].sample_rate, 16_000)
    return np.concatenate([resampler.process(pcm), resampler.flush()]).astype("<i2").tobytes()
