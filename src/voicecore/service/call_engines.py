"""What one call keeps of the engines that all calls share."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

from voicecore.core.conversation import Conversation
from voicecore.engines.protocols import (
    SpeechChunk,
    SttEngine,
    SttSession,
    SttWithSessions,
    TtsEngine,
    TtsSession,
    TtsWithSessions,
)
from voicecore.engines.s2s.protocol import SpeechSession
from voicecore.errors import EngineError
from voicecore.service.engine_factory import Engines
from voicecore.transport.tasks import let_go

_LOG = logging.getLogger(__name__)


class CallVoice:
    """The synthesiser as one call has it: a session where the engine has sessions."""

    def __init__(self, engine: TtsEngine) -> None:
        self.name = engine.name
        self.rate_hz = engine.rate_hz
        self._engine = engine
        self.session: TtsSession | None = (
            engine.session() if isinstance(engine, TtsWithSessions) else None
        )

    def speak(self, text: str, answer: int) -> AsyncIterator[SpeechChunk]:
        """As :meth:`TtsSession.speak`."""
        if self.session is None:
            return self._engine.speak(text)
        return self.session.speak(text, answer=answer)


class CallEngines:
    """Belongs to the event loop and to one call, which closes it.

    ``stt`` opens streams. ``codec``: what the caller sends, where a recogniser may get
    his packets as they are (``""``: it gets samples). Connections are made at once, in
    the background: whoever fails is told of it when it is needed. ``speech``: the
    call's ``conversation`` with a speech-to-speech model, which ``stt`` is then, too.
    """

    def __init__(
        self, engines: Engines, codec: str = "", conversation: Conversation | None = None
    ) -> None:
        self.llm = engines.llm
        self.tts = CallVoice(engines.tts)
        self.stt: SttSession | SttEngine = engines.stt
        self.speech: SpeechSession | None = None
        self.speech_rate_hz = 0
        if engines.s2s is not None:
            self.speech_rate_hz = engines.s2s.rate_hz
            talk = Conversation() if conversation is None else conversation
            self.stt = self.speech = engines.s2s.converse(talk)
        elif isinstance(engines.stt, SttWithSessions):
            self.stt = engines.stt.session(codec)
        self.encoded = isinstance(self.stt, SttSession) and self.stt.encoded
        self._warming = asyncio.get_running_loop().create_task(self._warm(), name="warm-engines")
        self._warming.add_done_callback(let_go)

    async def close(self) -> None:
        """Close the sessions; nothing of this call is left at any provider. Twice is fine."""
        self._warming.cancel()
        sessions = (self.stt if isinstance(self.stt, SttSession) else None, self.tts.session)
        closing = [session.close() for session in sessions if session is not None]
        await asyncio.gather(self._warming, *closing, return_exceptions=True)

    async def _warm(self) -> None:
        alone = self.speech is not None
        warmers = [self.stt] if alone else [self.stt, self.tts.session, self.llm]
        work = [warm() for each in warmers if (warm := getattr(each, "warm", None)) is not None]
        for result in await asyncio.gather(*work, return_exceptions=True):
            if isinstance(result, Exception) and not isinstance(result, EngineError):
                _LOG.error("connecting an engine raised", exc_info=result)
