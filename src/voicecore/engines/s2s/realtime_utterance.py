"""One utterance of the caller's on its way into the model's input buffer."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, Protocol

import numpy as np

from voicecore._native.resample import Resampler
from voicecore.core.units import HEAR_RATE_HZ
from voicecore.engines.protocols import Pcm
from voicecore.engines.s2s.protocol import UNKNOWN_WORDS
from voicecore.engines.s2s.realtime_wire import COMMIT_MIN_SAMPLES, RATE_HZ
from voicecore.errors import EngineError

_MOST_WAITING_S: Final = 10
"""Of audio that waits while another utterance has the input buffer; the oldest goes."""


class TakesAudio(Protocol):
    """What an utterance wants of its session."""

    def has_floor(self, utterance: RealtimeUtterance) -> bool:
        """Whether the input buffer is its own."""
        ...

    def append(self, pcm: Pcm) -> None:
        """Put 24 kHz samples into the input buffer."""

    def commit(self, utterance: RealtimeUtterance) -> None:
        """Make an item of the input buffer, and perhaps ask for the answer."""

    def clear(self, utterance: RealtimeUtterance) -> None:
        """Empty the input buffer."""

    def understood(self, utterance: RealtimeUtterance, text: str) -> None:
        """Its words, ``""`` if there were none."""

    def take_back(self, utterance: RealtimeUtterance) -> None:
        """It was committed, and is no turn."""


class RealtimeUtterance:
    """An :class:`~voicecore.engines.protocols.SttStream`.

    ``text`` is done with the caller's words, or with the error that ended the
    connection. ``item_id``: of the committed item, ``""`` before that is known;
    ``unwanted``: the item is to be deleted as soon as it is.
    """

    def __init__(self, session: TakesAudio, transcribed: bool, wait_s: float) -> None:
        self.item_id = ""
        self.commit_id = ""
        self.unwanted = False
        self.text: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.heard_so_far = ""
        self.dropped = 0
        self._session = session
        self._transcribed = transcribed
        self._wait_s = wait_s
        self._resampler = Resampler(HEAR_RATE_HZ, RATE_HZ)
        self._waiting: deque[Pcm] = deque()
        self._waiting_samples = 0
        self._samples = 0
        self._committed = self._over = False
        self._finishing: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def push(self, pcm: Pcm) -> None:
        """See :class:`~voicecore.engines.protocols.SttStream`."""
        if not self._over:
            self._hand_on(self._resampler.process(pcm))

    async def finish(self) -> str:
        """See :class:`~voicecore.engines.protocols.SttStream`.

        The transcription is waited for a second or two; what of it has come by then is
        the text, else :data:`UNKNOWN_WORDS`.
        """
        self._hand_on(self._resampler.flush())
        self._over = True
        if not self._session.has_floor(self):
            await self._finishing
        self._commit()
        text = UNKNOWN_WORDS
        if self._transcribed:
            try:
                async with asyncio.timeout(self._wait_s):
                    text = await asyncio.shield(self.text)
            except TimeoutError:
                text = self.heard_so_far.strip() or UNKNOWN_WORDS
        elif self.text.done():
            text = self.text.result()
        self._session.understood(self, text)
        return text

    async def cancel(self) -> None:
        """See :class:`~voicecore.engines.protocols.SttStream`."""
        self._over = True
        self._waiting.clear()
        if self._committed:
            self._session.take_back(self)
        else:
            self._session.clear(self)
        self.text.cancel()

    def take_floor(self) -> None:
        """The input buffer is its own from now on."""
        while self._waiting:
            self._session.append(self._waiting.popleft())
        if not self._finishing.done():
            self._finishing.set_result(None)

    def lose(self, error: EngineError) -> None:
        """The connection is gone."""
        if not self.text.done():
            self.text.set_exception(error)
            self.text.exception()  # it may be that nobody asks
        if not self._finishing.done():
            self._finishing.set_result(None)

    def _commit(self) -> None:
        if self.text.done():
            return
        if self._samples < COMMIT_MIN_SAMPLES:
            self._hand_on(np.zeros(COMMIT_MIN_SAMPLES - self._samples, np.int16))
        self._committed = True
        self._session.commit(self)

    def _hand_on(self, pcm: Pcm) -> None:
        if not len(pcm):
            return
        self._samples += len(pcm)
        if self._session.has_floor(self):
            self._session.append(pcm)
            return
        self._waiting.append(pcm)
        self._waiting_samples += len(pcm)
        while self._waiting_samples > _MOST_WAITING_S * RATE_HZ:
            self._waiting_samples -= len(self._waiting.popleft())
            self.dropped += 1
