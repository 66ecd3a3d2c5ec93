"""Deepgram's Flux dialect on literal messages as documented, and over a socket."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from fakes.deepgram_flux_server import FluxServer, turn_info
from fakes.heard_words import by_script, spoken
from fakes.stt_calls import Partials, opus_packets, push, running, silence, times
from fakes.virtual_loop import virtually
from voicecore.core.transcript import SpokenWord
from voicecore.engines.protocols import EncodedSttStream
from voicecore.engines.stt.deepgram_flux import DeepgramFluxStt, FluxDialect
from voicecore.engines.stt.dialect import (
    Address,
    Broken,
    EncodedDialect,
    Final,
    Finalised,
    Interim,
    Ready,
)
from voicecore.errors import EngineError, MisuseError

HELLO = [("Hello,", 0.0, 0.18), ("how", 0.24, 0.36)]


def dialect(codec: str = "", *, sent_ms: int = 0) -> FluxDialect:
    made = FluxDialect(Address("ws://localhost"), codec)
    made.audio(bytes(32 * sent_ms))
    return made


def taken(flux: FluxDialect, event: str, words: Any, **more: Any) -> list[Any]:
    return flux.take(json.dumps(turn_info(event, words, **more)))


def test_connected_means_ready() -> None:
    told = {"type": "Connected", "request_id": "5bf49f4a", "sequence_id": 0}
    assert dialect().take(json.dumps(told)) == [Ready()]


@pytest.mark.parametrize("event", ["StartOfTurn", "Update", "EagerEndOfTurn", "TurnResumed"])
def test_a_turn_that_goes_on_is_an_interim(event: str) -> None:
    (heard,) = taken(dialect(sent_ms=700), event, HELLO, start_ms=0, end_ms=600)
    assert isinstance(heard, Interim)
    assert (heard.text, heard.start_ms, heard.end_ms) == ("Hello, how", 0, 600)
    assert heard.text.words == (
        SpokenWord("Hello,", 0, 180, 0.96),
        SpokenWord("how", 240, 360, 0.96),
    )


def test_words_had_no_times_before_july_2026() -> None:
    told = turn_info("Update", HELLO, start_ms=0, end_ms=600)
    told["words"] = [{"word": "Hello,", "confidence": 0.9}, {"word": "how", "confidence": 0.9}]
    (heard,) = dialect().take(json.dumps(told))
    assert heard.text == "Hello, how"  # type: ignore[union-attr]
    assert heard.text.words == ()  # type: ignore[union-attr]


def test_the_turn_that_we_ended_is_final() -> None:
    flux = dialect(sent_ms=1000)
    final, finalised = taken(flux, "EndOfTurn", HELLO, start_ms=0, end_ms=960, trigger="manual")
    assert isinstance(final, Final)
    assert (final.text, final.start_ms, final.end_ms) == ("Hello, how", 0, 960)
    assert finalised == Finalised(960)
    (heard,) = taken(flux, "Update", [], start_ms=960, end_ms=1200, turn=1)
    assert (heard.start_ms, heard.end_ms) == (960, 1200)


def test_a_turn_that_it_ended_by_itself_is_no_answer_to_us() -> None:
    (final,) = taken(
        dialect(sent_ms=1000), "EndOfTurn", HELLO, start_ms=0, end_ms=960, trigger="model"
    )
    assert isinstance(final, Final)


def test_a_turn_that_was_ended_far_behind_the_audio_is_not_all() -> None:
    (final,) = taken(
        dialect(sent_ms=2000), "EndOfTurn", HELLO, start_ms=0, end_ms=1000, trigger="manual"
    )
    assert isinstance(final, Final)


def test_errors_warnings_and_what_is_new() -> None:
    error = {"type": "Error", "sequence_id": 3, "code": "INTERNAL_SERVER_ERROR"}
    (broken,) = dialect().take(json.dumps(error | {"description": "about the caller"}))
    assert isinstance(broken, Broken)
    assert broken.kind == "refused"
    assert "INTERNAL_SERVER_ERROR" in broken.message
    assert "caller" not in broken.message
    for told in ({"type": "Warning", "code": "X"}, {"type": "ConfigureSuccess"}, {"type": "New"}):
        assert dialect().take(json.dumps(told)) == []
    assert dialect().closed(1008) is not None
    assert dialect().closed(1011) is None


def test_what_is_sent() -> None:
    flux = dialect()
    assert flux.hello() == []
    assert [json.loads(text) for text in flux.finalise()] == [{"type": "ForceEndTurn"}]
    assert [json.loads(text) for text in flux.goodbye()] == [{"type": "CloseStream"}]
    assert flux.audio(b"\1\2") == [b"\1\2"]


@pytest.mark.parametrize(
    ("codec", "messages"),
    [
        ("", [bytes(2560)]),
        ("opus", [b"\xf8\xff\xfe"] * 4),
        ("pcmu", [b"\xff" * 640]),
        ("pcma", [b"\xd5" * 640]),
    ],
)
def test_it_is_kept_alive_with_silence_in_its_own_encoding(
    codec: str, messages: list[bytes]
) -> None:
    flux = dialect(codec)
    assert isinstance(flux, EncodedDialect)
    assert flux.keep_alive_ms == 80
    assert flux.keep_alive() == messages


async def connected_with(codec: str = "", **settings: Any) -> dict[str, list[str]]:
    async with (
        FluxServer() as server,
        running(DeepgramFluxStt(key="good-key", url=server.url, **settings)) as engine,
    ):
        await engine.session(codec).warm()
        connection = await server.connection()
        assert connection.headers["Authorization"] == "Token good-key"
        return {name: connection.query.getall(name) for name in connection.query}


async def test_the_handshake() -> None:
    assert await connected_with() == {
        "model": ["flux-general-en"],
        "encoding": ["linear16"],
        "sample_rate": ["16000"],
        "eot_threshold": ["1.0"],
        "eot_timeout_ms": ["30000"],
    }


async def test_settings() -> None:
    query = await connected_with(
        "opus",
        model="flux-general-multi",
        language_hints=["de", "fr"],
        keyterms=["Kloten"],
        eot_threshold=0.7,
        eot_timeout_ms=2000,
        parameters={"mip_opt_out": True},
    )
    assert query["language_hint"] == ["de", "fr"]
    assert query["keyterm"] == ["Kloten"]
    assert (query["eot_threshold"], query["eot_timeout_ms"]) == (["0.7"], ["2000"])
    assert (query["encoding"], query["sample_rate"]) == (["opus"], ["48000"])
    assert query["mip_opt_out"] == ["true"]


@pytest.mark.parametrize(
    "settings",
    [
        {"key": ""},
        {"url": "http://api.deepgram.com"},
        {"eot_threshold": 0.4},
        {"eot_threshold": 1.1},
        {"eot_timeout_ms": 100},
        {"eot_timeout_ms": 70_000},
    ],
)
def test_values_that_cannot_be_used(settings: dict[str, Any]) -> None:
    with pytest.raises(MisuseError):
        DeepgramFluxStt(**({"key": "good-key"} | settings))


async def test_two_turns_that_we_end() -> None:
    script = by_script(spoken("hello there"), spoken("and then more", from_s=1.2))
    async with (
        FluxServer(script) as server,
        running(DeepgramFluxStt(key="good-key", url=server.url)) as engine,
    ):
        session = engine.session()
        partials = Partials()
        stream = await session.open(partials)
        push(stream, 1000)
        text = await stream.finish()
        assert times(text) == [("hello", 100, 300), ("there", 400, 600)]
        assert stream.settled == "hello there"
        assert stream.settled_samples == 1000 * 16
        assert partials.told
        stream = await session.open(Partials())
        push(stream, 1200)
        text = await stream.finish()
        assert text == "and then more"
        assert times(text)[0] == ("and", 200, 400)
        assert len(server.connections) == 1


async def test_a_cancelled_turn_is_ended_for_the_next() -> None:
    script = by_script(spoken("never mind"), spoken("what I want", from_s=1.2))
    async with (
        FluxServer(script) as server,
        running(DeepgramFluxStt(key="good-key", url=server.url)) as engine,
    ):
        session = engine.session()
        stream = await session.open(Partials())
        push(stream, 1000)
        await session.warm()
        await stream.cancel()
        later = Partials()
        stream = await session.open(later)
        push(stream, 1200)
        assert await stream.finish() == "what I want"
        assert not any("mind" in told for told in later.told)


def test_a_turn_without_words_ends_without_an_answer_and_without_an_error() -> None:
    async def main() -> None:
        async with (
            FluxServer() as server,
            running(DeepgramFluxStt(key="good-key", url=server.url)) as engine,
        ):
            stream = await engine.session().open(Partials())
            push(stream, 1000)
            assert await stream.finish() == ""

    virtually(main())


def test_what_was_not_transcribed_when_the_turn_was_ended_is_not_lost() -> None:
    async def main() -> None:
        words = spoken("one two three four")
        async with (
            FluxServer(by_script(words), behind_ms=700) as server,
            running(DeepgramFluxStt(key="good-key", url=server.url)) as engine,
        ):
            partials = Partials()
            stream = await engine.session().open(partials)
            push(stream, 1500)
            finished = asyncio.create_task(stream.finish())
            connection = await server.connection()
            await connection.until(lambda c: {"type": "ForceEndTurn"} in c.texts)
            late = [tuple(word) for word in words[2:]]
            connection.say(turn_info("StartOfTurn", late, start_ms=800, end_ms=1500, turn=1))
            assert await finished == "one two three four"

    virtually(main())


def test_turns_that_flux_ends_itself_settle_on_the_way() -> None:
    async def main() -> None:
        words = [*spoken("first part"), *spoken("second part", from_s=1.6)]
        async with FluxServer(by_script(words)) as server:
            engine = DeepgramFluxStt(key="good-key", url=server.url, eot_threshold=0.7)
            async with running(engine):
                partials = Partials()
                stream = await engine.session().open(partials)
                push(stream, 2400)
                await partials.until(lambda text: text == "first part second part")
                assert stream.settled == "first part"
                assert 600 * 16 <= stream.settled_samples <= 1600 * 16
                assert await stream.finish() == "first part second part"

    virtually(main())


async def test_packets_go_as_they_come() -> None:
    words = spoken("as it came")
    async with (
        FluxServer(by_script(words)) as server,
        running(DeepgramFluxStt(key="good-key", url=server.url)) as engine,
    ):
        stream = await engine.session("opus").open(Partials())
        assert isinstance(stream, EncodedSttStream)
        for _ in range(15):
            stream.push_encoded(silence(100), opus_packets(5))
        text = await stream.finish()
        assert times(text)[0] == ("as", 100, 300)


def test_its_keep_alive_is_counted() -> None:
    async def main() -> None:
        words = spoken("after a while", from_s=0.28)
        async with (
            FluxServer(by_script(words)) as server,
            running(DeepgramFluxStt(key="good-key", url=server.url)) as engine,
        ):
            session = engine.session()
            await session.warm()
            connection = await server.connection()
            await connection.until(lambda c: len(c.messages) == 2)
            stream = await session.open(Partials())
            push(stream, 1500)
            text = await stream.finish()
            assert times(text)[0] == ("after", 120, 320)

    virtually(main())


async def test_a_wrong_key() -> None:
    async with (
        FluxServer() as server,
        running(DeepgramFluxStt(key="wrong-key", url=server.url)) as engine,
    ):
        with pytest.raises(EngineError) as caught:
            await engine.open(Partials())
        assert (caught.value.code, caught.value.permanent) == ("stt_key", True)
