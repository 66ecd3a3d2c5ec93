"""OpenAI's Realtime API over a WebSocket, as the whole agent.

Wire format: :mod:`~voicecore.engines.s2s.realtime_wire`. The caller's audio goes out at
24 kHz in pieces as they come, the model's comes back at 24 kHz. The API's own turn
detection is off; see :mod:`~voicecore.engines.s2s.realtime_session` for what is asked
when, and ``docs/engines/openai-realtime.md`` for what to expect.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Final
from urllib.parse import urlencode, urlsplit, urlunsplit

from voicecore.core.conversation import Conversation
from voicecore.engines.llm.tool_loader import load_tools
from voicecore.engines.llm.tool_rounds import ToolRounds
from voicecore.engines.llm.tools import Tool, ToolBox
from voicecore.engines.options import Option, Secret
from voicecore.engines.s2s.realtime_link import Endpoint
from voicecore.engines.s2s.realtime_session import RealtimeSession, SessionLimits
from voicecore.engines.s2s.realtime_wire import RATE_HZ, session_update
from voicecore.engines.wire.client import WireClient
from voicecore.engines.wire.faults import Faults
from voicecore.engines.wire.settings import checked_url, header_key
from voicecore.engines.wire.socket import SocketLimits
from voicecore.errors import MisuseError

_NAME: Final = "openai-realtime"
_VARIABLE: Final = "OPENAI_API_KEY"
_OWN_FIELDS: Final = frozenset({"type", "model", "output_modalities", "audio", "tools"})

INSTRUCTIONS: Final = (
    "You are talking with a caller on the phone. Answer in one to three short spoken sentences."
)
"""What the model is told when nothing else is configured."""


class OpenAiRealtime:
    """A :class:`~voicecore.engines.s2s.protocol.SpeechToSpeechEngine`, shared by all calls.

    ``tools``: functions the model may call; they run only once the caller's turn is
    over, ``tool_timeout_s`` each, and go on through an interruption if they are
    uninterruptible: the next answer begins by telling the model what they did.
    ``options``: further fields of the session (``max_output_tokens``, ``truncation``,
    ``tool_choice``…). Event-loop thread only; one connection per call. Raises
    MisuseError for values that can't be used.
    """

    def __init__(
        self,
        *,
        key: Annotated[str, Secret("API key", variable=_VARIABLE)],
        url: Annotated[str, Option("address of the WebSocket")] = (
            "wss://api.openai.com/v1/realtime"
        ),
        model: Annotated[str, Option("which model")] = "gpt-realtime",
        voice: Annotated[str, Option("which voice; fixed once it has spoken")] = "marin",
        instructions: Annotated[str, Option("what the agent is and how it speaks")] = INSTRUCTIONS,
        greeting: Annotated[str, Option("what it says first; empty: the caller speaks first")] = "",
        transcription_model: Annotated[
            str, Option("writes down the caller's words; empty: none does")
        ] = "gpt-4o-mini-transcribe",
        language: Annotated[
            str, Option("of the caller (ISO 639-1), for his words; empty: any")
        ] = "",
        transcript_s: Annotated[
            float, Option("seconds an utterance's words are waited for after its end")
        ] = 1.5,
        wasted_per_minute: Annotated[
            int, Option("answers begun in pauses that may be in vain; 0: none is begun early")
        ] = 12,
        tools: Annotated[
            str | Iterable[Tool | Callable[..., Any]],
            Option("functions the model may call: module:name of a list, or a module"),
        ] = (),
        tool_timeout_s: Annotated[float, Option("longest run of a tool")] = 20.0,
        options: Annotated[
            Mapping[str, Any] | None, Option("further fields of the session, truncation say")
        ] = None,
        limits: SessionLimits | None = None,
        socket_limits: SocketLimits | None = None,
        ready_s: float = 5.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        _check(model=model, voice=voice, transcript_s=transcript_s, wasted=wasted_per_minute)
        if taken := _OWN_FIELDS.intersection(options or {}):
            raise MisuseError(f"options may not set {', '.join(sorted(taken))}")
        self.name = _NAME
        self.rate_hz = RATE_HZ
        self.greeting = greeting
        functions = load_tools(tools) if isinstance(tools, str) and tools else tools
        self._toolbox = ToolBox(functions or (), timeout_s=tool_timeout_s)
        self._rounds = ToolRounds(self._toolbox)
        self._transcribed = bool(transcription_model)
        hint = f"check {_VARIABLE}, or the file that {_VARIABLE}_FILE names"
        self._client = WireClient(Faults("s2s", _NAME, hint), tls=tls)
        self._limits = limits or SessionLimits(
            transcript_s=transcript_s, wasted_per_minute=wasted_per_minute
        )
        transcription = {"model": transcription_model} if transcription_model else {}
        if transcription and language:
            transcription["language"] = language
        self._endpoint = Endpoint(
            _address(url, model),
            {"Authorization": f"Bearer {_clean(key)}"},
            session_update(
                model=model,
                instructions=instructions,
                voice=voice,
                transcription=transcription,
                tools=self._toolbox.specs,
                options=options or {},
            ),
            ready_s,
            socket_limits or SocketLimits(),
        )

    async def start(self) -> None:
        """See :class:`~voicecore.engines.s2s.protocol.SpeechToSpeechEngine`; connects nowhere."""
        await self._client.start()

    def converse(self, conversation: Conversation) -> RealtimeSession:
        """See :class:`~voicecore.engines.s2s.protocol.SpeechToSpeechEngine`."""
        return RealtimeSession(
            self._client,
            self._endpoint,
            conversation,
            rounds=self._rounds,
            transcribed=self._transcribed,
            limits=self._limits,
        )

    async def close(self) -> None:
        """See :class:`~voicecore.engines.s2s.protocol.SpeechToSpeechEngine`."""
        await self._rounds.close()
        self._toolbox.close()
        await self._client.close()


def _check(*, model: str, voice: str, transcript_s: float, wasted: int) -> None:
    if not model:
        raise MisuseError("the model's name is empty: name one, such as gpt-realtime")
    if not voice:
        raise MisuseError("the voice's name is empty: name one, such as marin")
    if not 0 < transcript_s <= 10:
        raise MisuseError(f"transcript_s is {transcript_s}, wanted above 0 and up to 10")
    if wasted < 0:
        raise MisuseError(f"wasted_per_minute is {wasted}, wanted 0 or more")


def _clean(key: str) -> str:
    key = header_key(_NAME, key)
    if not key:
        raise MisuseError(f"{_NAME} has no key: set {_VARIABLE}, or {_VARIABLE}_FILE")
    return key


def _address(url: str, model: str) -> str:
    parts = urlsplit(checked_url(_NAME, url, "ws"))
    query = "&".join(filter(None, (parts.query, urlencode({"model": model}))))
    return urlunsplit(parts._replace(query=query, fragment=""))
