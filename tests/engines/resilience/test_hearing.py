"""No word of an utterance is lost or doubled, whatever happens to connections."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random

import pytest

from fakes.scripted_engines import (
    HANG,
    WORD_SAMPLES,
    Counted,
    SampleStt,
    broken,
    speech,
)
from fakes.virtual_loop import virtually
from voicecore.core.transcript import Transcript
from voicecore.engines.resilience.policy import HearingPolicy
from voicecore.engines.resilience.stt import ResilientStt
from voicecore.engines.resilience.tts import ResilientTts
from voicecore.engines.tts.stub import TtsStub
from voicecore.errors import EngineError, MisuseError

CHUNK = 800


class Caller:
    """Says words, 50 ms at a time, in virtual time."""

    def __init__(self, *engines: SampleStt, **policy: float) -> None:
        self.meter = Counted()
        self.stt = ResilientStt(
            engines,
            policy=HearingPolicy(**policy),  # type: ignore[arg-type]
            meter=self.meter,
            random=Random(1),
        )
        self.partials: list[str] = []

    async def __aenter__(self) -> Caller:
        await self.stt.start()
        self.session = self.stt.session()
        self.stream = await self.session.open(self.partials.append)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()
        await self.stt.close()
        rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        assert rest == []

    async def say(self, *words: int) -> None:
        pcm = speech(*words)
        for at in range(0, len(pcm), CHUNK):
            self.stream.push(pcm[at : at + CHUNK])
            await asyncio.sleep(0.05)


def texts(*words: int) -> str:
    return " ".join(map(str, words))


def test_an_undisturbed_utterance_passes_through() -> None:
    async def main() -> None:
        engine = SampleStt()
        async with Caller(engine) as caller:
            await caller.say(*range(10))
            final = await caller.stream.finish()
            assert final == texts(*range(10))
            assert isinstance(final, Transcript)
            assert [word.start_ms for word in final.words] == [100 * k for k in range(10)]
            assert len(engine.streams) == 1
            assert caller.partials[-1] == texts(*range(10))
        assert engine.sessions == 0
        assert engine.live == 0

    virtually(main())


@pytest.mark.parametrize("break_at", range(12))
def test_a_broken_connection_costs_no_word(break_at: int) -> None:
    async def main() -> None:
        engine = SampleStt()
        async with Caller(engine) as caller:
            if break_at:
                await caller.say(*range(break_at))
            await asyncio.sleep(0)
            engine.streams[-1].break_off()
            await caller.say(*range(break_at, 12))
            final = await caller.stream.finish()
            assert final == texts(*range(12))
            assert isinstance(final, Transcript)
            assert [word.start_ms for word in final.words] == [100 * k for k in range(12)]
            assert len(engine.streams) == 2
            assert caller.meter.of("reconnected") == [("stt", "samples")]
        assert engine.live == 0

    virtually(main())


@pytest.mark.parametrize("seed", range(60))
def test_no_word_is_lost_or_doubled_over_any_breaks(seed: int) -> None:
    async def main() -> None:
        random = Random(seed)
        engine = SampleStt(settles=random.randint(1, 7))
        fallback = SampleStt("fallback", settles=random.randint(1, 7))
        async with Caller(engine, fallback) as caller:
            words = 0
            while words < 60:
                count = random.randint(1, 8)
                await caller.say(*range(words, words + count))
                words += count
                for one in (engine, fallback):
                    if one.streams and random.random() < 0.7:
                        one.streams[-1].break_off()
                    if random.random() < 0.3:
                        one.open_steps.append(random.choice([0.4, broken("stt_unreachable")]))
            if random.random() < 0.5:
                engine.finish_steps.append(broken())
            final = await caller.stream.finish()
            print(f"seed {seed}: {len(engine.streams)} + {len(fallback.streams)} streams")
            assert final == texts(*range(words))
            assert isinstance(final, Transcript)
            assert [word.start_ms for word in final.words] == [100 * k for k in range(words)]
        assert engine.live == fallback.live == 0

    virtually(main())


def test_a_slow_connection_is_not_waited_for_and_nothing_is_lost() -> None:
    async def main() -> None:
        engine = SampleStt()
        engine.open_steps.append(1.5)
        async with Caller(engine) as caller:
            assert engine.streams == []
            await caller.say(1, 2, 3, 4)
            assert engine.streams == []
            assert await caller.stream.finish() == texts(1, 2, 3, 4)

    virtually(main())


def test_a_mute_connection_is_left_after_two_seconds_of_speech() -> None:
    async def main() -> None:
        engine = SampleStt()
        engine.mute = True
        async with Caller(engine) as caller:
            said = 0
            loop = asyncio.get_running_loop()
            began_s = loop.time()
            while len(engine.streams) < 2:
                await caller.say(said)
                said += 1
                assert loop.time() - began_s < 2.3
            engine.mute = False
            await caller.say(said)
            assert await caller.stream.finish() == texts(*range(said + 1))
            assert [code for _, _, code in caller.meter.of("failed")] == ["stt_mute"]
            assert engine.streams[0].condemned is not None, "it isn't used for the next"

    virtually(main())


def test_a_recogniser_that_falls_mute_before_the_end_is_doubted() -> None:
    async def main() -> None:
        engine = SampleStt()
        async with Caller(engine) as caller:
            await caller.say(*range(4))
            engine.mute = True
            await caller.say(*range(4, 12))

            engine.streams[0].gives_up_quietly = True
            engine.heals_when_opened = True
            assert await caller.stream.finish() == texts(*range(12))
            assert engine.streams[0].condemned is not None

    virtually(main())


def test_a_sound_that_nobody_understands_is_not_reconnected_for_ever() -> None:
    async def main() -> None:
        engine = SampleStt()
        engine.mute = True
        async with Caller(engine) as caller:
            await caller.say(*range(100))
            assert len(engine.streams) == 3
            with pytest.raises(EngineError):
                await caller.stream.finish()
        assert engine.live == 0

    virtually(main())


def test_silence_is_not_taken_for_a_mute_recogniser() -> None:
    async def main() -> None:
        engine = SampleStt()
        async with Caller(engine) as caller:
            await caller.say(1, 2)
            engine.mute = True
            for _ in range(100):
                caller.stream.push(speech(1)[:CHUNK] // 200)
                await asyncio.sleep(0.05)
            assert len(engine.streams) == 1

    virtually(main())


def test_the_next_engine_takes_over_with_all_that_was_said() -> None:
    async def main() -> None:
        engine, fallback = SampleStt(), SampleStt("fallback")
        async with Caller(engine, fallback) as caller:
            await caller.say(*range(4))
            engine.open_steps += [broken("stt_unreachable")] * 9
            engine.streams[-1].break_off()
            await caller.say(*range(4, 20))
            assert await caller.stream.finish() == texts(*range(20))
            assert len(fallback.streams) == 1
            assert caller.meter.of("fell_back") == [("stt", "samples", "fallback", "failed")]

    virtually(main())


def test_a_refused_key_is_not_tried_again() -> None:
    async def main() -> None:
        engine, fallback = SampleStt(), SampleStt("fallback")
        engine.open_steps.append(broken("stt_key", permanent=True))
        async with Caller(engine, fallback) as caller:
            await caller.say(1, 2, 3)
            assert await caller.stream.finish() == texts(1, 2, 3)
            assert engine.streams == []
            assert [h.state for h in caller.stt.health()] == ["down", "up"]

    virtually(main())


@pytest.mark.parametrize("steps", [[HANG], [broken("stt_unreachable")] * 50])
def test_without_a_way_out_it_fails_in_time(steps: Sequence[object]) -> None:
    async def main() -> None:
        engine = SampleStt()
        engine.open_steps += steps
        async with Caller(engine, final_s=2.0) as caller:
            await caller.say(1, 2, 3)
            loop = asyncio.get_running_loop()
            began_s = loop.time()
            engine.open_steps += steps
            with pytest.raises(EngineError):
                await caller.stream.finish()
            assert loop.time() - began_s <= 4.1

    virtually(main())


def test_a_connection_that_never_stands_leaves_time_for_the_next_engine() -> None:
    async def main() -> None:
        engine, fallback = SampleStt(), SampleStt("fallback")
        engine.open_steps += [HANG] * 5
        async with Caller(engine, fallback, final_s=2.0) as caller:
            await caller.say(1, 2, 3)
            loop = asyncio.get_running_loop()
            began_s = loop.time()
            assert await caller.stream.finish() == texts(1, 2, 3)
            assert loop.time() - began_s <= 4.1

    virtually(main())


def test_no_final_text_in_time_is_asked_for_elsewhere() -> None:
    async def main() -> None:
        engine, fallback = SampleStt(), SampleStt("fallback")
        engine.finish_steps.append(HANG)
        async with Caller(engine, fallback, final_s=2.0) as caller:
            await caller.say(*range(4))
            loop = asyncio.get_running_loop()
            began_s = loop.time()
            assert await caller.stream.finish() == texts(*range(4))
            assert loop.time() - began_s <= 2.5
        assert engine.live == fallback.live == 0

    virtually(main())


def test_cancelling_leaves_nothing() -> None:
    async def main() -> None:
        engine = SampleStt()
        async with Caller(engine) as caller:
            await caller.say(1, 2)
            told = len(caller.partials)
            await caller.stream.cancel()
            engine.streams[0].settled = Transcript("late")
            assert len(caller.partials) == told
            assert engine.live == 0

    virtually(main())


def test_of_an_hour_of_speech_ten_seconds_are_kept_and_what_was_understood() -> None:
    async def main() -> None:
        engine = SampleStt(settles=10**9)
        async with Caller(engine, replay_s=1.0) as caller:
            await caller.say(*range(30))
            engine.streams[-1].break_off()
            await caller.say(30)
            final = await caller.stream.finish()
            assert final == texts(*range(31))
            assert isinstance(final, Transcript)
            assert [word.start_ms for word in final.words] == [100 * k for k in range(31)]
            assert engine.streams[-1].samples <= 11 * WORD_SAMPLES

    virtually(main())


@pytest.mark.parametrize("connect_s", [0.05, 0.23, 0.4, 0.71])
def test_what_leaves_the_ring_while_a_connection_is_made_is_known_too(connect_s: float) -> None:
    async def main() -> None:
        engine = SampleStt(settles=10**9)
        async with Caller(engine, replay_s=2.0) as caller:
            await caller.say(*range(25))
            engine.open_steps.append(connect_s)
            engine.streams[-1].break_off()
            await caller.say(*range(25, 40))
            assert await caller.stream.finish() == texts(*range(40))

    virtually(main())


def test_a_local_engine_alone_keeps_no_audio_and_raises_at_open() -> None:
    async def main() -> None:
        class Local(SampleStt):
            session = None  # type: ignore[assignment]

        engine = Local()
        engine.open_steps += [broken("stt_busy")]
        stt = ResilientStt([engine])
        await stt.start()
        session = stt.session()
        with pytest.raises(EngineError) as caught:
            await session.open(lambda text: None)
        assert caught.value.code == "stt_busy"
        stream = await session.open(lambda text: None)
        stream.push(speech(5))
        assert engine.streams[0].samples == WORD_SAMPLES
        assert await stream.finish() == "5"
        await session.close()
        await stt.close()

    virtually(main())


def test_who_waits_for_an_utterance_that_is_given_up_gets_an_error() -> None:
    async def main() -> None:
        engine = SampleStt()
        async with Caller(engine) as caller:
            await caller.say(1)
            await caller.stream.cancel()
            with pytest.raises(EngineError) as late:
                await caller.stream.finish()
            stream = await caller.session.open(lambda text: None)
            engine.finish_steps.append(HANG)
            waiting = asyncio.ensure_future(stream.finish())
            await asyncio.sleep(0.1)
            await caller.session.close()
            with pytest.raises(EngineError) as early:
                await waiting
        assert late.value.code == early.value.code == "stt_closed"
        assert engine.live == 0

    virtually(main())


def test_what_is_given_up_at_once_leaves_no_stream_of_a_local_engine() -> None:
    async def main() -> None:
        class Local(SampleStt):
            session = None  # type: ignore[assignment]

        engine = Local()
        async with Caller(engine) as caller:
            await caller.stream.cancel()
            stream = await caller.session.open(lambda text: None)
            await stream.cancel()
            assert engine.live == 0
            spoken = await caller.session.open(lambda text: None)
            spoken.push(speech(5))
            assert await spoken.finish() == "5"
            await spoken.cancel()
        assert engine.live == 0

    virtually(main())


def test_nobody_answers_before_the_start() -> None:
    with pytest.raises(MisuseError, match="start"):
        virtually(anext(ResilientTts([TtsStub()]).speak("Hello.")))


def test_another_rate_is_refused() -> None:
    engine = SampleStt()
    engine.rate_hz = 8000
    with pytest.raises(MisuseError, match="8000 Hz"):
        ResilientStt([engine])


def test_a_provider_that_works_again_is_used_again() -> None:
    async def main() -> None:
        engine, fallback = SampleStt(), SampleStt("fallback")
        async with Caller(engine, fallback, failures=2) as caller:
            engine.streams[-1].break_off(broken("stt_half_open")) if engine.streams else None
            engine.open_steps += [broken("stt_unreachable")] * 3
            await caller.say(*range(5))
            assert caller.stt.health()[0].state in ("down", "unknown")
            await caller.stream.finish()
            engine.open_steps.clear()
            await asyncio.sleep(8)
            assert caller.stt.health()[0].state == "up"
            stream = await caller.session.open(caller.partials.append)
            stream.push(speech(7))
            await asyncio.sleep(0.05)
            assert await stream.finish() == "7"
            assert ("stt", "samples", "closed") in caller.meter.of("circuit")

    virtually(main())
