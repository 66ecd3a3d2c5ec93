"""Text to speech by any server that speaks OpenAI's ``POST /v1/audio/speech``.

Request fields from the provider's API reference ("Create speech"), read in 2026; that
``pcm`` is 24 kHz, 16 bits, mono, little-endian and without a header from its guide to
text to speech. Servers like it differ in the rate, and some send a WAV header first.
There are no times of words.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit, urlunsplit

import aiohttp

from voicecore.engines.options import Option, Secret
from voicecore.engines.protocols import SpeechChunk
from voicecore.engines.tts.speakable import speakable
from voicecore.engines.tts.speech_buffer import PcmJoiner, SpeechLimits, SpeechPatience
from voicecore.engines.tts.wav_stream import WavStream
from voicecore.engines.tts.wire_settings import api_key, http_url, within
from voicecore.engines.wire.client import HttpAnswer, HttpLimits, WireClient
from voicecore.engines.wire.faults import Faults
from voicecore.errors import EngineError, MisuseError

_NAME: Final = "openai-speech"
_PATH: Final = "/audio/speech"
_VENDOR: Final = "https://api.openai.com"
_LIST_BYTES: Final = 1 << 20
"""Of a list of models: a longer one isn't read, and its connection not kept."""


class OpenAiSpeech:
    """A speech endpoint; one request per text, over a pool of kept connections.

    ``url``: a server (``/v1/audio/speech`` is put behind it), its base path, or the
    full URL. ``stream_format``: ``audio`` for servers that want to be told; left out
    otherwise, since some refuse what they don't know.
    """

    name = _NAME

    def __init__(
        self,
        *,
        key: Annotated[
            str, Secret("API key, if the server wants one", variable="OPENAI_API_KEY")
        ] = "",
        voice: Annotated[str, Option("which voice")] = "alloy",
        model: Annotated[str, Option("which model")] = "gpt-4o-mini-tts",
        instructions: Annotated[str, Option("how to speak, for models that take it")] = "",
        speed: Annotated[float, Option("0.25..4.0")] = 1.0,
        rate_hz: Annotated[int, Option("samples a second that the server makes")] = 24_000,
        stream_format: Annotated[Literal["", "audio"], Option("sent if it isn't empty")] = "",
        first_byte_s: Annotated[float, Option("seconds until the first sound")] = 2.0,
        url: Annotated[str, Option("the server's address")] = _VENDOR,
        limits: SpeechLimits | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Check the settings; nothing is connected. Raises MisuseError."""
        within("speed", speed, 0.25, 4.0)
        within("rate_hz", rate_hz, 8_000, 48_000)
        within("first_byte_s", first_byte_s, 0.1, 30.0)
        if stream_format not in ("", "audio"):
            raise MisuseError("stream_format must be audio, or empty")
        self.rate_hz = rate_hz
        self.limits = limits or SpeechLimits(first_byte_s=first_byte_s)
        self.url = http_url(_NAME, url, _PATH)
        self.faults = Faults("tts", _NAME, "set OPENAI_API_KEY to a key that this server takes")
        self.client = WireClient(self.faults, tls=tls)
        key = api_key(key, "OPENAI_API_KEY", _NAME, needed=False)
        if without := self.missing(key, url):
            raise MisuseError(f"{_NAME} {without[0]}")
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._request: dict[str, Any] = {
            "model": model,
            "voice": voice,
            "response_format": "pcm",
            **({"instructions": instructions} if instructions else {}),
            **({"speed": speed} if speed != 1.0 else {}),
            **({"stream_format": stream_format} if stream_format else {}),
        }

    @staticmethod
    def missing(key: str = "", url: str = _VENDOR, **_: object) -> list[str]:
        """A sentence if there is no key for a server that certainly wants one."""
        if key or urlsplit(url).hostname != urlsplit(_VENDOR).hostname:
            return []
        return [
            "needs its API key: set OPENAI_API_KEY, or OPENAI_API_KEY_FILE to a file; or "
            f"set engine.{_NAME}.url to a server that asks for none"
        ]

    async def start(self) -> None:
        """Ready to connect; nothing is connected yet."""
        await self.client.start()

    def session(self) -> OpenAiSpeechSession:
        """For one call: it shares the engine's pool of connections."""
        return OpenAiSpeechSession(self)

    async def speak(self, text: str) -> AsyncGenerator[SpeechChunk, None]:
        """Yield the speech of ``text`` as it comes; closing the iterator closes its connection.

        A text without letters or digits yields nothing. Raises EngineError.
        """
        spoken = speakable(text, _NAME)
        if not spoken:
            return
        patience = SpeechPatience(self.limits)
        limits = HttpLimits(
            self.limits.connect_s, self.limits.first_byte_s, self.limits.next_byte_s
        )
        async with self.client.stream(
            "POST",
            self.url,
            limits=limits,
            headers=self._headers,
            json={**self._request, "input": spoken},
        ) as answer:
            if answer.content_type.startswith(("text/", "application/json")):
                raise self.faults.bad_message(f"{answer.content_type} is no audio: check the URL")
            async with aclosing(self._chunks(answer, patience)) as chunks:
                async for chunk in chunks:
                    yield chunk

    async def _chunks(
        self, answer: HttpAnswer, patience: SpeechPatience
    ) -> AsyncGenerator[SpeechChunk, None]:
        wav, joiner, samples = WavStream(), PcmJoiner(), 0
        now = asyncio.get_running_loop().time
        while True:
            began_s = now()
            try:
                async with asyncio.timeout(patience.left_s(samples / self.rate_hz)):
                    data = await answer.read()
            except TimeoutError:
                raise patience.error(self.faults) from None
            patience.waited(now() - began_s)
            pcm = joiner.push(wav.push(data) if data else wav.finish())
            self._check(wav)
            if len(pcm):
                samples += len(pcm)
                patience.heard()
                yield SpeechChunk(pcm)
            if not data:
                break
        if not samples:
            raise self.faults.bad_message("it holds no audio")

    def _check(self, wav: WavStream) -> None:
        told = wav.format
        if told is None or (told.rate_hz, told.channels, told.bits) == (self.rate_hz, 1, 16):
            return
        if (told.channels, told.bits) == (1, 16):
            reason = f"it has {told.rate_hz} samples a second: set rate_hz to that"
        else:
            reason = f"it has {told.channels} channels of {told.bits} bits, not one of 16"
        raise self.faults.error("bad_message", f"the server's WAV is unusable: {reason}",
                                permanent=True)  # fmt: skip

    async def warm(self) -> EngineError | None:
        """Connect by asking for the list of models, which costs and changes nothing.

        Returns the error if the key is refused or nothing is there. That a server has no
        such list, or is slow to tell it, says nothing of its speech.
        """
        parts = urlsplit(self.url)
        path = parts.path.removesuffix(_PATH) + "/models"
        url = urlunsplit(parts._replace(path=path))
        limit_s = self.limits.connect_s + self.limits.first_byte_s
        try:
            async with asyncio.timeout(limit_s):
                asked = self.client.session.get(url, headers=self._headers, allow_redirects=False)
                async with asked as response:
                    if response.status in (401, 403):
                        return self.faults.of_status(response.status, response.headers)
                    # Read to its end, so that the connection goes back to the pool.
                    await response.content.read(_LIST_BYTES)
        except TimeoutError:
            return None
        except (aiohttp.ClientError, OSError) as error:
            return self.faults.of_exception(error, url)
        return None

    async def close(self) -> None:
        """Close all connections; texts being spoken get EngineError. Twice is fine."""
        await self.client.close()


class OpenAiSpeechSession:
    """One call's view of an :class:`OpenAiSpeech`."""

    def __init__(self, engine: OpenAiSpeech) -> None:
        self._engine = engine
        self._failure: EngineError | None = None
        self._texts = 0

    async def warm(self) -> None:
        """Connect; a failure is kept for the next :meth:`speak`."""
        texts = self._texts
        failure = await self._engine.warm()
        if texts == self._texts:  # else how it is has been found out meanwhile
            self._failure = failure

    async def speak(self, text: str, *, answer: int = 0) -> AsyncGenerator[SpeechChunk, None]:
        """As :meth:`OpenAiSpeech.speak`; texts know nothing of each other."""
        self._texts += 1
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
        async with aclosing(self._engine.speak(text)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def close(self) -> None:
        """Its texts are over when their iterators are; nothing else is kept."""
