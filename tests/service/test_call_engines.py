"""What a call keeps of the engines: connected at its begin, gone at its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from fakes.scripted_engines import SampleStt, ScriptedLlm, ScriptedTts, broken
from fakes.virtual_loop import virtually
from voicecore.service.call_engines import CallEngines
from voicecore.service.engine_factory import Engines


class Session:
    encoded = False

    def __init__(self, engine: Any, error: Exception | None = None) -> None:
        self.engine = engine
        self.warmed = self.closed = 0
        self.error = error
        self.answers: list[int] = []

    async def warm(self) -> None:
        self.warmed += 1
        if self.error is not None:
            raise self.error

    async def open(self, on_partial: Callable[[str], None]) -> Any:
        return await self.engine.open(on_partial)

    def speak(self, text: str, *, answer: int = 0) -> Any:
        self.answers.append(answer)
        return self.engine.speak(text)

    async def close(self) -> None:
        self.closed += 1


class Remote:
    """An engine's session, and the codecs it was asked for."""

    def __init__(self, engine: Any, error: Exception | None = None) -> None:
        self.made = Session(engine, error)
        self.codecs: list[str] = []
        engine.session = self.session

    def session(self, codec: str = "") -> Session:
        self.codecs.append(codec)
        return self.made


def engines_of(stt: Any, llm: Any, tts: Any) -> Engines:
    nothing: Any = None
    return Engines(stt=stt, llm=llm, tts=tts, vad=nothing, greeting="")


@pytest.mark.parametrize("error", [None, broken("stt_key"), RuntimeError("?")])
def test_sessions_are_warmed_used_and_closed(error: Exception | None) -> None:
    async def main() -> None:
        stt, tts, llm = SampleStt(), ScriptedTts(["one"]), ScriptedLlm(["Yes."])
        hearing, speaking = Remote(stt, error), Remote(tts)
        warmed = []

        async def warm() -> None:
            warmed.append(True)

        model: Any = llm
        model.warm = warm
        mine = CallEngines(engines_of(stt, model, tts), "opus")
        await asyncio.sleep(0.01)
        assert hearing.codecs == ["opus"]
        assert (hearing.made.warmed, speaking.made.warmed, warmed) == (1, 1, [True])
        assert mine.stt is hearing.made
        assert [len(chunk.pcm) async for chunk in mine.tts.speak("one", 7)] == [1600]
        assert speaking.made.answers == [7]
        await mine.close()
        await mine.close()
        assert (hearing.made.closed, speaking.made.closed) == (2, 2)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    virtually(main())


def test_engines_without_sessions_are_used_as_they_are() -> None:
    async def main() -> None:
        class Plain(SampleStt):
            session: Any = None

        stt: Any = Plain()
        del Plain.session
        tts = ScriptedTts(["one"])
        mine = CallEngines(engines_of(stt, ScriptedLlm(["Yes."]), tts))
        assert not mine.encoded
        assert [len(chunk.pcm) async for chunk in mine.tts.speak("one", 7)] == [1600]
        await mine.close()

    virtually(main())


def test_closing_does_not_wait_for_a_connection_that_never_stands() -> None:
    async def main() -> None:
        stt = SampleStt()
        hearing = Remote(stt)

        async def hang() -> None:
            await asyncio.Event().wait()

        hearing.made.warm = hang  # type: ignore[method-assign]
        mine = CallEngines(engines_of(stt, ScriptedLlm(["Yes."]), ScriptedTts(["one"])))
        await asyncio.sleep(0.01)
        await mine.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    virtually(main())
