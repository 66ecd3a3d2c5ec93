"""A remote audio track that yields the frames of our receive path, and its receiver."""

from __future__ import annotations

import asyncio
import fractions
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import av
import numpy as np
from aiortc import MediaStreamTrack
from aiortc.clock import current_datetime
from aiortc.mediastreams import MediaStreamError
from aiortc.rtcdtlstransport import RTCDtlsTransport
from aiortc.rtcrtpparameters import RTCRtpReceiveParameters
from aiortc.rtcrtpreceiver import RemoteStreamTrack, RTCRtpReceiver, RTCRtpSynchronizationSource
from aiortc.stats import RTCInboundRtpStreamStats, RTCStatsReport
from numpy.typing import NDArray

from voicecore._native.resample import Resampler
from voicecore._native.ring import AudioRing
from voicecore.transport.adoption import transport_stats

_RING_HZ = 16_000
_FRAME = _RING_HZ // 50
FRAME_RATES_HZ = (16_000, 24_000, 48_000)


@dataclass(frozen=True, slots=True)
class FrameForm:
    """What frames look like: int16, 20 ms each, at a rate of :data:`FRAME_RATES_HZ`."""

    rate_hz: int = 48_000
    stereo: bool = True


class Source(Protocol):
    """Where a track's audio comes from."""

    @property
    def ring(self) -> AudioRing:
        """The caller's audio at 16 kHz."""
        ...

    def wake_at(self, position: int) -> None:
        """Call :meth:`NativeTrack.on_audio` when the ring reaches ``position``."""

    def skipped(self) -> int:
        """Samples of the caller's time that are missing in the ring; only grows."""
        ...

    def stats(self) -> dict[str, Any]:
        """As :meth:`voicecore._native.media_session.MediaSession.stats`."""
        ...

    @property
    def remote_ssrc(self) -> int:
        """Whom we hear; 0 before anything came."""
        ...


class NativeTrack(RemoteStreamTrack):
    """Yields what the jitter buffer gave, as soon as it did: decoded, recovered, concealed.

    Nothing is done for a track that nobody reads. Who is behind by more than
    the ring holds (4 s) loses the oldest. ``pts`` counts the caller's time
    from the first frame on, so it has a gap where audio is missing: after such
    a loss, and where more was lost on the way than can be concealed.
    """

    def __init__(self, track_id: str, form: FrameForm) -> None:
        super().__init__("audio", track_id)
        self._form = form
        self._source: Source | None = None
        self._next = 0
        self._origin: int | None = None
        self._skipped = 0
        self._reading = True
        self._over = False
        self._changed = asyncio.Event()
        self._time_base = fractions.Fraction(1, form.rate_hz)
        self._resampler = None
        if form.rate_hz != _RING_HZ:
            self._resampler = Resampler(_RING_HZ, form.rate_hz)

    async def recv(self) -> Any:
        """The next 20 ms, an ``av.AudioFrame``.

        Raises MediaStreamError when the far end, the connection or :meth:`stop` ended it.
        """
        while self.readyState == "live":
            frame = self._take()
            if frame is not None:
                return frame
            if self._over:
                self.stop()
                break
            self._changed.clear()
            if self._source is not None and self._reading:
                self._source.wake_at(self._next + _FRAME)
            await self._changed.wait()
        raise MediaStreamError

    def stop(self) -> None:
        """End the track here; whoever waits in :meth:`recv` is told."""
        super().stop()
        self._changed.set()

    @property
    def waiting_s(self) -> float:
        """How much came and was not read yet."""
        if self._source is None:
            return 0.0
        return (self._source.ring.position - self._next) / _RING_HZ

    # -- for the receiver ---------------------------------------------------------------

    def feed(self, source: Source) -> None:
        """Yield what comes from now on."""
        self._source = source
        self._next = source.ring.position
        self._changed.set()

    def read(self, wanted: bool) -> None:
        """While not ``wanted``, frames are dropped as they come."""
        if wanted and not self._reading and self._source is not None:
            self._next = self._source.ring.position
        self._reading = wanted
        self._changed.set()

    def on_audio(self) -> None:
        """Audio came, or something else may have changed."""
        self._changed.set()

    def finish(self) -> None:
        """Nothing comes any more; what is there may still be read."""
        self._over = True
        self._changed.set()

    # -- private --------------------------------------------------------------------------

    def _take(self) -> Any | None:
        source = self._source
        if source is None or not self._reading:
            return None
        ring = source.ring
        end = ring.position
        if end - self._next < _FRAME:
            return None
        # Half a second of margin: the ring is written to while we copy.
        oldest = end - ring.capacity + _RING_HZ // 2
        if self._next < oldest:
            self._next = oldest
        if not self._over:
            self._skipped = source.skipped()
        pcm = ring.copy(self._next, _FRAME)
        at = self._next + self._skipped
        self._next += _FRAME
        if self._origin is None:
            self._origin = at
        return self._frame(pcm, at - self._origin)

    def _frame(self, pcm: NDArray[np.int16], at: int) -> Any:
        form = self._form
        if self._resampler is not None:
            pcm = self._resampler.process(pcm)
        frame = av.AudioFrame(
            format="s16", layout="stereo" if form.stereo else "mono", samples=len(pcm)
        )
        plane: Any = frame.planes[0]
        plane.update(pcm.repeat(2) if form.stereo else pcm)
        frame.sample_rate = form.rate_hz
        frame.pts = at * form.rate_hz // _RING_HZ
        frame.time_base = self._time_base
        return frame


class AudioReceiver(RTCRtpReceiver):
    """aiortc's receiver, over our receive path: no decoder thread, no RTCP task.

    ``started`` is called when the far end may send (on the event loop).
    """

    def __init__(
        self, transport: RTCDtlsTransport, form: FrameForm, started: Callable[[], None]
    ) -> None:
        self._form = form
        self._started = started
        self._native: NativeTrack | None = None
        self._reads = True
        self._source: Source | None = None
        super().__init__("audio", transport)

    @property
    def track(self) -> MediaStreamTrack:
        """The remote track, None before the far end described one."""
        return self._native  # type: ignore[return-value]

    @property
    def _track(self) -> NativeTrack | None:
        return self._native

    @_track.setter
    def _track(self, made: RemoteStreamTrack | None) -> None:
        # aiortc makes the track when it reads the far end's description; ours takes its id.
        self._native = None if made is None else NativeTrack(made.id, self._form)
        if self._native is not None:
            self._native.read(self._reads)

    @property
    def _enabled(self) -> bool:
        return self._reads

    @_enabled.setter
    def _enabled(self, wanted: bool) -> None:
        # By the negotiated direction; some programs set it, too.
        self._reads = wanted
        if self._native is not None:
            self._native.read(wanted)

    async def receive(self, parameters: RTCRtpReceiveParameters) -> None:
        """The far end may send."""
        self._started()

    async def stop(self) -> None:
        """End the track."""
        self.finish()

    def feed(self, source: Source) -> None:
        """Give the track its audio. Again is fine."""
        if self._source is None and self._native is not None:
            self._source = source
            self._native.feed(source)

    def on_audio(self) -> None:
        """The ring reached what was asked for."""
        if self._native is not None:
            self._native.on_audio()

    def finish(self) -> None:
        """The far end or the connection is gone."""
        if self._native is not None:
            self._native.finish()

    async def getStats(self) -> RTCStatsReport:
        """Adds ``RTCInboundRtpStreamStats`` to the transport's while the connection lives."""
        report = transport_stats(self.transport)
        source = self._source
        stats = {} if source is None else source.stats()
        if source is not None and stats:
            report.add(
                RTCInboundRtpStreamStats(
                    timestamp=current_datetime(),
                    type="inbound-rtp",
                    id=f"inbound-rtp_{id(self)}",
                    ssrc=source.remote_ssrc,
                    kind="audio",
                    transportId=f"transport_{id(self.transport)}",
                    packetsReceived=stats["received"],
                    packetsLost=stats["expected"] - stats["received"],
                    jitter=int(stats["jitter"]),
                )
            )
        return report

    def getSynchronizationSources(self) -> list[RTCRtpSynchronizationSource]:
        """Whom we hear, unless nothing came for a while."""
        source = self._source
        if source is None or not source.remote_ssrc or not source.stats():
            return []
        return [
            RTCRtpSynchronizationSource(timestamp=current_datetime(), source=source.remote_ssrc)
        ]
