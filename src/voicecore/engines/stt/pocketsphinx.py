"""Speech to text offline: pocketsphinx with the US English model of its wheel.

The parameters below trade accuracy for speed. Against the library's own they
decode in 0.23 instead of 0.60 of real time and finish within some 50 ms instead
of a second or three, at the same word error rate, because the mean cepstrum is
taken from the utterance (see ``pocketsphinx_worker``).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

import numpy as np

from voicecore.engines.framing import MAX_PAYLOAD, Frame, Kind
from voicecore.engines.options import LocalPath, Option
from voicecore.engines.pool import WorkerPool
from voicecore.engines.protocols import Pcm, SttStream
from voicecore.engines.worker import Channel
from voicecore.errors import EngineError, MisuseError

RATE_HZ: Final = 16_000
# fwdflat decodes the whole utterance once more when it ends (1-3 s for 11-27 s of
# speech), bestpath searches its lattice; both come when the caller waits.
OPTIONS: Final[Mapping[str, Any]] = {
    "fwdflat": False,
    "bestpath": False,
    "maxhmmpf": 3000,
    "maxwpf": 10,
    "topn": 2,
}

_FILLER = re.compile(r"<[^>]*>|\[[^\]]*\]|\+\+[^+]*\+\+|\(\d+\)")


def clean_text(raw: str) -> str:
    """Lower-case words alone: no ``<sil>``, ``[SPEECH]``, ``++NOISE++`` or ``(2)`` marks."""
    return " ".join(_FILLER.sub(" ", raw).lower().split())


class PocketsphinxStt:
    """A pool of decoders, one process each; a stream has one to itself.

    ``open()`` waits up to 3 s for a free one, in a line of twice as many
    callers as there are workers; then EngineError ``stt_busy``. A decoder costs
    some 100 MB and a quarter of a core while its caller speaks.
    """

    name = "pocketsphinx"
    rate_hz = RATE_HZ
    coarse = True
    """"mm-hm" comes out as "og tom", "okay" as "look unique"."""

    def __init__(
        self,
        workers: Annotated[int, Option("recogniser processes, 1 to 64")] = 1,
        *,
        model: Annotated[str, LocalPath("a model laid out as model/en-us of the wheel")] = "",
        options: Annotated[Mapping[str, Any] | None, Option("settings of the decoder")] = None,
        finish_timeout_s: Annotated[float, Option("wait for the final text so long")] = 10.0,
        wait_s: Annotated[float, Option("wait for a free process so long")] = 3.0,
    ) -> None:
        """Make the pool; nothing is started.

        ``workers``: 1..64 processes. ``model``: a directory laid out as the
        wheel's ``model/en-us`` (``""``: that one). ``options``: decoder settings
        on top of :data:`OPTIONS`. ``finish_timeout_s``: how long ``finish()``
        waits. ``wait_s``: how long ``open()`` waits for a free worker.
        """
        if not 1 <= workers <= 64:
            raise MisuseError(f"workers must be 1..64, got {workers}")
        if finish_timeout_s <= 0 or wait_s <= 0:
            raise MisuseError("time-outs must be positive")
        self._finish_timeout_s = finish_timeout_s
        self.pool = WorkerPool(
            "voicecore.engines.stt.pocketsphinx_worker",
            {"model": model, "options": {**OPTIONS, **(options or {})}},
            engine=self.name,
            workers=workers,
            max_waiting=2 * workers,
            wait_s=wait_s,
            busy_code="stt_busy",
        )

    async def start(self) -> None:
        """Load all decoders (half a second each); MissingLibraryError without pocketsphinx."""
        await self.pool.start()

    async def open(self, on_partial: Callable[[str], None]) -> SttStream:
        """Begin an utterance; partial texts come about every 200 ms while they change.

        Raises EngineError (``stt_busy``, ``worker_lost``).
        """
        stream = PocketsphinxStream(on_partial, self._finish_timeout_s)
        stream.attach(await self.pool.open({}, stream))
        return stream

    async def close(self) -> None:
        """End all workers; open streams get EngineError."""
        await self.pool.close()


class PocketsphinxStream:
    """One utterance in a worker. Belongs to the event loop that opened it."""

    def __init__(self, on_partial: Callable[[str], None], finish_timeout_s: float) -> None:
        """Made by :meth:`PocketsphinxStt.open`."""
        self._on_partial = on_partial
        self._finish_timeout_s = finish_timeout_s
        self._channel: Channel | None = None
        self._final: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._final.add_done_callback(_look_at_error)
        self._ended = False
        self.dropped_samples = 0

    def attach(self, channel: Channel) -> None:
        """Take the channel to the worker; called once, by the engine."""
        self._channel = channel

    def push(self, pcm: Pcm) -> None:
        """Take int16 samples at 16 kHz, any number; copies them.

        The worker holds a minute at most; what is older is dropped and counted
        in ``dropped_samples`` (known after ``finish()``).
        """
        if pcm.dtype != np.int16 or pcm.ndim != 1:
            raise MisuseError(f"pcm must be int16, 1-D; got {pcm.dtype}, {pcm.ndim}-D")
        if self._ended or self._channel is None:
            return
        data = memoryview(pcm.astype("<i2", order="C").tobytes())
        for start in range(0, len(data), MAX_PAYLOAD):
            self._channel.send(Kind.AUDIO, data[start : start + MAX_PAYLOAD])

    async def finish(self) -> str:
        """End the utterance and return its text; EngineError if the worker died or hangs."""
        if self._channel is not None and not self._ended:
            self._ended = True
            self._channel.send(Kind.FINISH)
        try:
            async with asyncio.timeout(self._finish_timeout_s):
                return await asyncio.shield(self._final)
        except TimeoutError:
            await self.cancel()
            raise EngineError(
                "pocketsphinx: no final text in time", engine="pocketsphinx", code="stt_timeout"
            ) from None
        except asyncio.CancelledError:
            await self.cancel()
            raise

    async def cancel(self) -> None:
        """Give the utterance up, without waiting; harmless when it is over.

        A ``finish()`` under way in another task returns ``""``.
        """
        # A worker that is merely slow confirms within a piece; one that hangs is killed.
        self._ended = True
        if self._channel is not None:
            self._channel.abandon()
        if not self._final.done():
            self._final.set_result("")

    def handle_frame(self, frame: Frame) -> None:
        """Worker to stream: a partial, the final text, or a failure."""
        if frame.kind is Kind.EVENT:
            self._on_partial(clean_text(frame.json()["text"]))
        elif frame.kind is Kind.END and not self._final.done():
            answer = frame.json()
            self.dropped_samples = int(answer["dropped"])
            self._final.set_result(clean_text(answer["text"]))
        elif frame.kind is Kind.ERROR:
            self.handle_lost(EngineError("pocketsphinx: decoding failed", engine="pocketsphinx"))

    def handle_lost(self, error: EngineError) -> None:
        """The worker is gone: ``finish()`` raises ``error``."""
        self._ended = True
        if not self._final.done():
            self._final.set_exception(error)


def _look_at_error(future: asyncio.Future[str]) -> None:
    # Nobody may come for it: a caller who hung up never calls finish().
    if not future.cancelled():
        future.exception()
