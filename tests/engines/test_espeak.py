"""The offline voice: marks on the right words, cancel in the middle, deaths survived."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from contextlib import suppress
from itertools import pairwise

import numpy as np
import pytest
import pytest_asyncio

from voicecore.core.ledger import GAP, PlayoutLedger
from voicecore.core.word_times import Word
from voicecore.engines.framing import Frame, Kind
from voicecore.engines.protocols import TtsEngine
from voicecore.engines.tts.espeak import EspeakTts
from voicecore.engines.tts.worker_stream import MAX_QUEUED_BYTES, SpeechQueue
from voicecore.errors import EngineError, MisuseError

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine():
    pytest.importorskip("espeakng_loader")
    engine = EspeakTts(pause_ms=0)
    await engine.start()
    yield engine
    await engine.close()


async def say(engine, text):
    chunks = [chunk async for chunk in engine.speak(text)]
    pcm = np.concatenate([chunk.pcm for chunk in chunks]) if chunks else np.zeros(0, np.int16)
    return pcm, [mark for chunk in chunks for mark in chunk.words], chunks


@pytest.mark.parametrize(
    "text",
    [
        "Hello there, how are you?",
        "The café’s naïve “crème brûlée” — it costs $12.50! Don't (really) go; thanks.",
        "I e\u0301te\u0301 was decomposed.",
        "An emoji \U0001f600 in the middle, and one more word.",
        "  To the end of the road.\nA second line: 1234 and 3/4, e.g. Dr. Smith.",
        "<b>not markup</b> & [[not phonemes]] a_b",
        "bell \x07 and nul \x00 and surrogate \udc00 here",
    ],
)
async def test_each_word_has_a_mark_within_the_speech(engine, text):
    pcm, marks, chunks = await say(engine, text)
    read = {"&", "\U0001f600"}  # without a letter, but spoken
    words = [word for word in text.split() if any(map(str.isalnum, word)) or word in read]
    assert [text[m.char_start : m.char_end] for m in marks] == words
    assert all(a.sample <= b.sample for a, b in pairwise(marks))
    assert 0 <= marks[0].sample <= marks[-1].sample < len(pcm)
    position = 0
    for chunk in chunks:
        assert all(mark.sample >= position for mark in chunk.words)  # never too late
        position += len(chunk.pcm)


async def test_marks_are_where_the_words_are(engine):
    """A word after a sentence's pause begins where sound begins again."""
    pcm, marks, _ = await say(engine, "First. Second.")
    power = np.convolve(pcm.astype(float) ** 2, np.ones(220) / 220, mode="same")
    assert power[marks[1].sample - 1500 : marks[1].sample - 400].max() < 1000
    assert power[marks[1].sample : marks[1].sample + 3000].max() > 100_000


def brightness(pcm, at, rate_hz):
    """Power from 1 to 4 kHz of the 20 ms around ``at``, in dB: a nasal has little of it."""
    window = pcm[at - rate_hz // 100 : at + rate_hz // 100].astype(float)
    power = np.abs(np.fft.rfft(window * np.hanning(len(window)))) ** 2
    frequency = np.fft.rfftfreq(len(window), 1 / rate_hz)
    return 10 * np.log10(power[(frequency > 1000) & (frequency < 4000)].sum() + 1)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("press 0 to reach an operator", "operator"),
        ("I wrote an email", "email"),
        ("seven apples", "apples"),
        ("Tom ate it", "ate"),
    ],
)
async def test_a_vowel_after_a_nasal_begins_when_the_nasal_is_over(engine, text, word):
    """espeak's own word event comes before the nasal that ends the word before."""
    pcm, marks, _ = await say(engine, text)
    start = text.index(word)
    sample = next(mark.sample for mark in marks if mark.char_start == start)
    step = engine.rate_hz // 50
    assert brightness(pcm, sample + step, engine.rate_hz) > (
        brightness(pcm, sample - step, engine.rate_hz) + 6
    )


async def test_words_end_with_their_sound(engine):
    text = "First, a second one. Third!"
    pcm, marks, _ = await say(engine, text)
    power = np.convolve(pcm.astype(float) ** 2, np.ones(220) / 220, mode="same")
    loud = power > power.max() * 1e-3
    assert all(loud[mark.sample : mark.end].mean() > 0.5 for mark in marks)
    pauses = [(a.end, b.sample) for a, b in pairwise(marks) if a.end < b.sample]
    assert len(pauses) == 2
    edge = engine.rate_hz // 50
    assert not any(loud[begin + edge : end - edge].any() for begin, end in pauses)
    ends = {text[mark.char_start : mark.char_end]: mark.end for mark in marks}
    begins = {text[mark.char_start : mark.char_end]: mark.sample for mark in marks}
    assert begins["Third!"] - ends["one."] > 0.2 * engine.rate_hz
    assert ends["a"] == begins["second"]


async def test_words_read_as_one_are_parted(engine):
    text = "the end of the road, to be or not to be, in the house"
    _, marks, _ = await say(engine, text)
    assert [text[m.char_start : m.char_end] for m in marks] == text.split()
    assert all(mark.end - mark.sample > 0.03 * engine.rate_hz for mark in marks)


async def test_240_interruptions_keep_the_words_of_the_samples_heard(engine):
    """Against a record of each sample's word, with lost packets."""
    seed = 5_005
    print("seed", seed)
    rng = random.Random(seed)
    texts = (
        "Your total is $12.50, i.e. 3/4 of the usual price.",
        "I am in the house; call 555-1234 by 10:30 a.m., Dr. Smith.",
        "The well-known mother-in-law of the U.S. president said: “No & never!”",
    )
    for text in texts:
        pcm, marks, chunks = await say(engine, text)
        owner = np.full(len(pcm), -1)
        for number, mark in enumerate(marks):
            owner[mark.sample : mark.end] = number
        for _ in range(80):
            ledger, position = PlayoutLedger(engine.rate_hz), 0
            ledger.open_segment(text)
            for chunk in chunks:
                words = [Word(*mark) for mark in chunk.words]
                ledger.add_audio(0, position, len(chunk.pcm), words)
                position += len(chunk.pcm)
            ledger.close_segment(0)
            played = rng.randrange(len(pcm))
            lost = [(at, at + 441) for at in range(0, len(pcm), 441) if rng.random() < 0.2]
            arrived = np.zeros(len(pcm), bool)
            arrived[:played] = True
            for begin, end in lost:
                arrived[begin:end] = False
            heard = [
                2 * np.count_nonzero(arrived & (owner == n)) >= np.count_nonzero(owner == n)
                for n in range(len(marks))
            ]
            expected = [
                text[m.char_start : m.char_end] for m, was in zip(marks, heard, strict=True) if was
            ]
            got = [word for word in ledger.heard_text(played, lost).split() if word != GAP]
            assert got == expected


async def test_speech_is_sound_and_begins_soon(engine):
    assert isinstance(engine, TtsEngine)
    pcm, _, _ = await say(engine, "Hello world")
    assert pcm.dtype == np.int16
    assert 0.5 < len(pcm) / engine.rate_hz < 2.0
    assert np.abs(pcm).max() > 8000
    assert np.argmax(np.abs(pcm) > 100) < 0.03 * engine.rate_hz


async def test_text_without_words_is_silent(engine):
    assert await say(engine, " … — !") == (pytest.approx(np.zeros(0)), [], [])


async def test_pause_follows_the_speech():
    pytest.importorskip("espeakng_loader")
    engine = EspeakTts(pause_ms=200, speed_wpm=200, pitch=60, voice="en-gb")
    await engine.start()
    pcm, _, chunks = await say(engine, "Yes.")
    assert len(chunks[-1].pcm) == 4410
    assert not pcm[-4410:].any()
    await engine.close()


async def test_many_callers_are_all_served(engine):
    texts = [f"This is caller number {number}." for number in range(20)]
    alone = [len((await say(engine, text))[0]) for text in texts[:3]]
    together = await asyncio.gather(*(say(engine, text) for text in texts))
    # espeak puts a little chance into its timing
    assert [len(pcm) for pcm, _, _ in together[:3]] == pytest.approx(alone, rel=0.05)
    assert all(len(marks) == 5 for _, marks, _ in together)


async def test_closed_iterator_stops_the_synthesis(engine):
    pid = engine.pool.workers[0].pid
    speech = engine.speak("This sentence goes on and on. " * 160)
    assert len((await anext(speech)).pcm)
    await speech.aclose()
    pcm, _, _ = await say(engine, "Free again.")
    assert len(pcm)
    assert engine.pool.workers[0].pid == pid


async def test_too_long_a_text_is_refused(engine):
    with pytest.raises(EngineError) as caught:
        await say(engine, "word " * 1001)
    assert caught.value.code == "text_too_long"


async def test_too_much_unread_speech_fails_the_stream():
    queue = SpeechQueue("toy")
    second = Frame(Kind.AUDIO, 1, bytes(1 << 20))
    for _ in range(MAX_QUEUED_BYTES // len(second.payload) + 1):
        queue.handle_frame(second)
    chunks = []
    with pytest.raises(EngineError) as caught:
        await drain(queue, chunks)
    assert caught.value.code == "text_too_long"
    assert sum(chunk.pcm.nbytes for chunk in chunks) == MAX_QUEUED_BYTES


async def drain(queue, chunks):
    while (chunk := await queue.next(1.0)) is not None:
        chunks.append(chunk)


async def test_killed_worker_costs_one_text(engine):
    worker = engine.pool.workers[0]
    speech = engine.speak("This sentence goes on and on. " * 160)
    await anext(speech)
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(EngineError) as caught:
        await exhaust(speech)
    assert caught.value.code == "worker_lost"
    assert len((await say(engine, "Alive."))[0])


async def exhaust(speech):
    async for _ in speech:
        pass


async def alive(engine):
    """True as soon as it speaks, which on a busy machine takes it longer than it may."""
    async with asyncio.timeout(60):
        while True:
            with suppress(EngineError):
                return len((await say(engine, "Alive."))[0]) > 0


async def test_hung_worker_is_given_up():
    pytest.importorskip("espeakng_loader")
    engine = EspeakTts(timeout_s=0.2)
    await engine.start()
    os.kill(engine.pool.workers[0].pid, signal.SIGSTOP)
    with pytest.raises(EngineError) as caught:
        await say(engine, "Anybody there?")
    assert caught.value.code == "tts_timeout"
    assert await alive(engine)
    await engine.close()


async def test_unknown_voice_is_told_at_start():
    pytest.importorskip("espeakng_loader")
    engine = EspeakTts("zz")
    with pytest.raises(EngineError) as caught:
        await engine.start()
    assert caught.value.code == "unknown_voice"


@pytest.mark.parametrize(
    "options",
    [{"speed_wpm": 10}, {"pitch": 100}, {"pause_ms": -1}, {"workers": 0}, {"timeout_s": 0}],
)
async def test_bad_arguments_are_refused(options):
    with pytest.raises(MisuseError):
        EspeakTts(**options)
