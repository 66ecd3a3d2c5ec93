"""Deepgram's v1 dialect on literal messages, as a nova-3 session had them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fakes.deepgram_server import DeepgramServer
from fakes.heard_words import by_script, spoken
from fakes.stt_calls import Partials, push, running, silence, times
from voicecore.core.transcript import SpokenWord
from voicecore.engines.protocols import EncodedPacket, EncodedSttStream
from voicecore.engines.stt.deepgram import DeepgramDialect, DeepgramStt
from voicecore.engines.stt.dialect import (
    Address,
    Alive,
    Broken,
    EncodedDialect,
    Final,
    Finalised,
    Interim,
)
from voicecore.errors import EngineError, MisuseError

METADATA = {
    "request_id": "01a07aad-cb1e-78c3-80ef-181d08b56576",
    "model_info": {"name": "general-nova-3", "version": "2025-04-17.21547", "arch": "nova-3"},
    "model_uuid": "40bd3654-e622-47c4-a111-63a61b23bfe8",
}


def message(
    start: float,
    duration: float,
    transcript: str,
    words: list[dict[str, Any]],
    **flags: bool,
) -> str:
    """One ``Results`` text in the order of fields that Deepgram has."""
    return json.dumps(
        {
            "type": "Results",
            "channel_index": [0, 1],
            "duration": duration,
            "start": start,
            "is_final": flags.get("is_final", False),
            "speech_final": flags.get("speech_final", False),
            "channel": {
                "alternatives": [{"transcript": transcript, "confidence": 1.0, "words": words}]
            },
            "metadata": METADATA,
            "from_finalize": flags.get("from_finalize", False),
        }
    )


def word(text: str, start: float, end: float, punctuated: str = "") -> dict[str, Any]:
    told = {"word": text, "start": start, "end": end, "confidence": 0.98, "speaker": 0}
    return told | ({"punctuated_word": punctuated} if punctuated else {})


def dialect(codec: str = "") -> DeepgramDialect:
    return DeepgramDialect(Address("ws://localhost"), codec)


def test_an_interim_restates_its_segment() -> None:
    words = [word("i", 2.3, 2.46, "I"), word("was", 2.46, 2.6999998, "was")]
    (heard,) = dialect().take(message(2.3, 2.0000002, "I was", words))
    assert isinstance(heard, Interim)
    assert (heard.text, heard.start_ms, heard.end_ms) == ("I was", 2300, 4300)
    assert heard.text.words == (
        SpokenWord("I", 2300, 2460, 0.98),
        SpokenWord("was", 2460, 2700, 0.98),
    )


def test_segments_join_without_a_gap_though_their_times_drift() -> None:
    first, second = (
        dialect().take(message(start, duration, "", [], is_final=True))[0]
        for start, duration in ((9.6, 4.7599993), (14.36, 2.6800013))
    )
    assert isinstance(first, Final)
    assert isinstance(second, Final)
    assert first.end_ms == second.start_ms == 14_360
    assert second.end_ms == 17_040


def test_the_answer_to_a_finalize_is_a_final_and_says_so() -> None:
    words = [word("dying", 58.08, 58.72, "Dying,"), word("come", 58.72, 58.96, "come")]
    flags = {"is_final": True, "speech_final": True, "from_finalize": True}
    final, finalised = dialect().take(message(57.52, 2.459999, "Dying, come", words, **flags))
    assert isinstance(final, Final)
    assert final.text.words[0].text == "Dying,"
    assert finalised == Finalised(59_980)
    flags["is_final"] = False
    assert dialect().take(message(57.52, 2.459999, "Dying, come", words, **flags))[1] == finalised


def test_words_without_punctuation_or_times() -> None:
    bare = message(0, 1, "hello", [word("hello", 0.1, 0.5)])
    (heard,) = dialect().take(bare)
    assert isinstance(heard, Interim)
    assert heard.text.words == (SpokenWord("hello", 100, 500, 0.98),)
    (heard,) = dialect().take(message(0, 1, "hello", [{"word": "hello"}]))
    assert isinstance(heard, Interim)
    assert heard.text == "hello"
    assert heard.text.words == ()


@pytest.mark.parametrize(
    "told",
    [
        {"type": "SpeechStarted", "channel": [0], "timestamp": 0.5},
        {"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": 8.8},
    ],
)
def test_signs_of_life(told: dict[str, Any]) -> None:
    assert dialect().take(json.dumps(told)) == [Alive()]


@pytest.mark.parametrize(
    "told", [{"type": "Metadata", "duration": 1.5, **METADATA}, {"type": "SomethingNew", "a": 1}]
)
def test_what_says_nothing_of_the_caller(told: dict[str, Any]) -> None:
    assert dialect().take(json.dumps(told)) == []


def test_an_error_is_told_by_its_code_alone() -> None:
    told = {
        "type": "Error",
        "variant": "SchemaError",
        "description": "what the caller said",
        "message": "what we sent",
    }
    (broken,) = dialect().take(json.dumps(told))
    assert isinstance(broken, Broken)
    assert broken.kind == "refused"
    assert "SchemaError" in broken.message
    assert "caller" not in broken.message
    told |= {"variant": "a whole sentence, maybe of the caller's"}
    (broken,) = dialect().take(json.dumps(told))
    assert isinstance(broken, Broken)
    assert "sentence" not in broken.message


def test_close_codes() -> None:
    broken = dialect().closed(1008)
    assert broken is not None
    assert broken.kind == "refused"
    assert dialect().closed(1011) is None
    assert dialect().closed(1000) is None


def test_what_is_sent() -> None:
    spoken_to = dialect()
    assert spoken_to.hello() == []
    assert spoken_to.audio(b"\1\2") == [b"\1\2"]
    assert spoken_to.audio(b"") == []
    texts = (spoken_to.keep_alive(), spoken_to.finalise(), spoken_to.goodbye())
    sent = [json.loads(text) for (text,) in texts]
    assert sent == [{"type": "KeepAlive"}, {"type": "Finalize"}, {"type": "CloseStream"}]


def test_packets() -> None:
    packets = [EncodedPacket(b"ab", 20.0), EncodedPacket(b"", 20.0), EncodedPacket(b"c", 20.0)]
    assert isinstance(dialect("opus"), EncodedDialect)
    assert dialect("opus").encoded(packets) == [b"ab", b"c"]
    assert dialect("pcmu").encoded(packets) == [b"abc"]
    assert dialect("pcma").encoded(packets[1:2]) == []


async def connected_with(codec: str = "", **settings: Any) -> tuple[dict[str, list[str]], str]:
    """What the handshake asked for, and its header Authorization."""
    async with DeepgramServer() as server:
        url = server.url + settings.pop("query", "")
        async with running(DeepgramStt(key=" good-key\n", url=url, **settings)) as engine:
            await engine.session(codec).warm()
            connection = await server.connection()
            query = {name: connection.query.getall(name) for name in connection.query}
            return query, connection.headers["Authorization"]


async def test_the_handshake() -> None:
    query, authorization = await connected_with()
    assert authorization == "Token good-key"
    assert query == {
        "model": ["nova-3"],
        "encoding": ["linear16"],
        "sample_rate": ["16000"],
        "channels": ["1"],
        "interim_results": ["true"],
        "punctuate": ["true"],
        "endpointing": ["false"],
    }


@pytest.mark.parametrize(
    ("codec", "encoding", "rate"),
    [("opus", "opus", "48000"), ("pcmu", "mulaw", "8000"), ("pcma", "alaw", "8000")],
)
async def test_the_callers_codec(codec: str, encoding: str, rate: str) -> None:
    query, _ = await connected_with(codec)
    assert (query["encoding"], query["sample_rate"]) == ([encoding], [rate])


async def test_settings() -> None:
    query, _ = await connected_with(
        query="?tag=a&model=old",
        model="nova-2",
        language="de",
        punctuate=False,
        smart_format=True,
        keyterms=["Zürich HB", "Kloten"],
        endpointing_ms=300,
        parameters={"numerals": True, "redact": ["pci", "ssn"], "interim_results": False},
    )
    assert query["tag"] == ["a"]
    assert query["model"] == ["nova-2"]
    assert query["language"] == ["de"]
    assert query["punctuate"] == ["false"]
    assert query["smart_format"] == query["no_delay"] == query["numerals"] == ["true"]
    assert query["keyterm"] == ["Zürich HB", "Kloten"]
    assert query["endpointing"] == ["300"]
    assert query["redact"] == ["pci", "ssn"]
    assert query["interim_results"] == ["false"]


async def test_a_wrong_or_expired_key() -> None:
    async with DeepgramServer(keys=["good-key", "old-key"], expired=["old-key"]) as server:
        for key in ("wrong-key", "old-key"):
            async with running(DeepgramStt(key=key, url=server.url)) as engine:
                with pytest.raises(EngineError) as caught:
                    await engine.open(Partials())
                assert caught.value.code == "stt_key"
                assert caught.value.permanent
                assert "DEEPGRAM_API_KEY" in str(caught.value)
                assert key not in str(caught.value)


async def test_audio_it_cannot_decode() -> None:
    async with (
        DeepgramServer() as server,
        running(DeepgramStt(key="good-key", url=server.url)) as engine,
    ):
        stream = await engine.session().open(Partials())
        (await server.connection()).hang_up(1008, b"DATA-0000")
        assert (await stream.failure).code == "stt_refused"


@pytest.mark.parametrize("codec", ["pcmu", "pcma"])
async def test_telephony_is_heard_in_its_own_time(codec: str) -> None:
    words = spoken("from a telephone")
    async with (
        DeepgramServer(by_script(words)) as server,
        running(DeepgramStt(key="good-key", url=server.url)) as engine,
    ):
        stream = await engine.session(codec).open(Partials())
        packets = [EncodedPacket(bytes(160), 20.0)] * 5
        assert isinstance(stream, EncodedSttStream)
        for _ in range(12):
            stream.push_encoded(silence(100), packets)
        text = await stream.finish()
        assert text == "from a telephone"
        assert times(text)[-1] == ("telephone", 700, 900)
        assert stream.settled_samples == 1160 * 16


@pytest.mark.parametrize(
    "settings",
    [
        {"key": ""},
        {"key": "two words"},
        {"key": "schlüssel"},
        {"url": "https://api.deepgram.com/v1/listen"},
        {"url": "ws://"},
        {"url": "ws://host:port?secret=1"},
        {"endpointing_ms": -1},
    ],
)
def test_values_that_cannot_be_used(settings: dict[str, Any]) -> None:
    with pytest.raises(MisuseError) as caught:
        DeepgramStt(**({"key": "good-key"} | settings))
    assert "deepgram" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_the_key_is_shown_nowhere() -> None:
    engine = DeepgramStt(key="good-key")
    address = Address("ws://h/?key=good-key", {"Authorization": "Token good-key"}, ("good-key",))
    assert "good-key" not in f"{engine!r} {address!r} {DeepgramDialect(address)!r}"


def test_a_text_is_kept_out_of_what_is_printed() -> None:
    (heard,) = dialect().take(message(0, 1, "private words", []))
    assert "private" not in repr(heard)


async def test_real_time_is_not_needed() -> None:
    words = spoken(" ".join(f"word{i}" for i in range(100)))
    async with (
        DeepgramServer(by_script(words)) as server,
        running(DeepgramStt(key="good-key", url=server.url)) as engine,
    ):
        stream = await engine.open(Partials())
        push(stream, 31_000, chunk_ms=200)
        assert (await stream.finish()).split() == [w.word for w in words]
