"""The offline recogniser on recorded speech, and its workers' misfortunes."""

from __future__ import annotations

import asyncio
import os
import signal
import wave
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio

from engines.worker_kit import settle
from voicecore.engines.protocols import SttEngine
from voicecore.engines.stt.pocketsphinx import PocketsphinxStt, clean_text
from voicecore.errors import EngineError, MisuseError

CASES = Path(os.environ.get("VOICECORE_CASES", Path(__file__).parents[3] / "shared" / "cases"))


# One loop for all, since the models take a second to load.
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine():
    pytest.importorskip("pocketsphinx")
    engine = PocketsphinxStt(1, finish_timeout_s=20.0)
    await engine.start()
    yield engine
    await engine.close()


def speech(name):
    path = CASES / name
    if not path.exists():
        pytest.skip(f"no recorded speech at {path} (set VOICECORE_CASES)")
    with wave.open(str(path)) as file:
        pcm = np.frombuffer(file.readframes(file.getnframes()), np.int16)
        rate, channels = file.getframerate(), file.getnchannels()
    mono = pcm.reshape(-1, channels).mean(axis=1)
    if rate == 16_000:
        return mono.astype(np.int16)
    # Linear interpolation after a box filter is good enough to be understood.
    width = max(1, rate // 16_000)
    smooth = np.convolve(mono, np.ones(width) / width, mode="same")
    at = np.arange(int(len(mono) * 16_000 / rate)) * (rate / 16_000)
    return np.interp(at, np.arange(len(mono)), smooth).astype(np.int16)


async def recognise(engine, pcm, chunk=1600):
    partials = []
    stream = await engine.open(partials.append)
    for start in range(0, len(pcm), chunk):
        stream.push(pcm[start : start + chunk])
    return await stream.finish(), partials


def with_silence(pcm, ms=300):
    noise = np.random.default_rng(1).integers(-12, 13, 16 * ms).astype(np.int16)
    return np.concatenate([noise, pcm, noise])


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("<s> hello <sil> world </s>", "hello world"),
        ("[SPEECH] Go [NOISE] on", "go on"),
        ("++NOISE++ read(2) it", "read it"),
        ("  ", ""),
    ],
)
async def test_fillers_are_stripped(raw, clean):
    assert clean_text(raw) == clean


@pytest.mark.parametrize("workers", [0, 65])
async def test_bad_arguments_are_refused(workers):
    with pytest.raises(MisuseError):
        PocketsphinxStt(workers)
    with pytest.raises(MisuseError):
        PocketsphinxStt(1, wait_s=0)


async def test_understands_recorded_words_and_reports_partials(engine):
    assert isinstance(engine, SttEngine)
    text, partials = await recognise(engine, with_silence(speech("speech_livekit/hello_world.wav")))
    assert text == "hello world"
    text, partials = await recognise(
        engine, with_silence(speech("speech_livekit/weather_question.wav"))
    )
    assert "weather" in text
    assert partials
    assert partials == list(dict.fromkeys(partials))  # reported when changed


async def test_the_cut_of_the_audio_does_not_matter(engine):
    pcm = with_silence(speech("speech_livekit/weather_question.wav"))
    texts = {(await recognise(engine, pcm, chunk))[0] for chunk in (317, len(pcm))}
    assert len(texts) == 1


async def test_too_little_to_understand_is_no_fault(engine):
    for samples in (0, 1, 100, 400, 1600, 9600, 9601, 16000):
        text, _ = await recognise(engine, np.zeros(samples, np.int16))
        assert text == ""


async def test_audio_of_another_type_is_refused(engine):
    stream = await engine.open(lambda text: None)
    with pytest.raises(MisuseError, match="int16"):
        stream.push(np.zeros(160, np.float32))
    with pytest.raises(MisuseError, match="1-D"):
        stream.push(np.zeros((2, 160), np.int16))
    await stream.cancel()


async def test_cancel_frees_the_worker_and_silences_partials(engine):
    noise = (np.random.default_rng(2).standard_normal(16_000 * 10) * 3000).astype(np.int16)
    partials = []
    pid = engine.pool.workers[0].pid
    stream = await engine.open(partials.append)
    stream.push(noise)
    await stream.cancel()
    stream.push(noise)  # ignored
    assert await stream.finish() == ""
    text, _ = await recognise(engine, np.zeros(1600, np.int16))
    assert text == ""
    assert partials == []
    assert engine.pool.workers[0].pid == pid


async def test_killed_worker_costs_one_utterance(engine):
    stream = await engine.open(lambda text: None)
    stream.push(np.zeros(3200, np.int16))
    waiting = asyncio.create_task(stream.finish())
    worker = engine.pool.workers[0]
    restarts = worker.restarts
    os.kill(worker.pid, signal.SIGKILL)
    (result,) = await asyncio.gather(waiting, return_exceptions=True)
    assert isinstance(result, EngineError | str)  # it may have been done already
    stream.push(np.zeros(3200, np.int16))
    text, _ = await recognise_after_restart(engine)
    assert text == ""
    assert worker.restarts == restarts + 1


async def recognise_after_restart(engine):
    await settle(lambda: engine.pool.workers[0].ready)
    return await recognise(engine, np.zeros(3200, np.int16))


@asynccontextmanager
async def impatient():
    """An engine that waits for nothing, and its one stream."""
    pytest.importorskip("pocketsphinx")
    engine = PocketsphinxStt(1, finish_timeout_s=0.2, wait_s=0.05)
    await engine.start()
    yield engine, await engine.open(lambda text: None)
    await engine.close()


async def hang(engine, stream):
    """Until the engine gives the stream up."""
    os.kill(engine.pool.workers[0].pid, signal.SIGSTOP)
    with pytest.raises(EngineError) as caught:
        await stream.finish()
    assert caught.value.code == "stt_timeout"


async def test_busy_engine_refuses_and_hung_stream_is_given_up():
    async with impatient() as (engine, stream):
        with pytest.raises(EngineError) as caught:
            await engine.open(lambda text: None)
        assert caught.value.code == "stt_busy"
        await hang(engine, stream)


@pytest.mark.slow  # it is given three seconds to confirm
async def test_hung_worker_is_replaced():
    async with impatient() as (engine, stream):
        await hang(engine, stream)
        worker = engine.pool.workers[0]
        await settle(lambda: worker.restarts == 1 and worker.ready)
