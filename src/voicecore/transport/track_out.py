"""A local track's frames into our send path, and the sender that pulls them."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable
from typing import Any, Protocol

import av
import numpy as np
from aiortc import MediaStreamTrack
from aiortc.clock import current_datetime
from aiortc.mediastreams import MediaStreamError
from aiortc.rtcdtlstransport import RTCDtlsTransport
from aiortc.rtcrtpparameters import RTCRtpSendParameters
from aiortc.rtcrtpsender import RTCRtpSender
from aiortc.stats import RTCOutboundRtpStreamStats, RTCRemoteInboundRtpStreamStats, RTCStatsReport
from numpy.typing import NDArray

from voicecore._native.outbound import Outbound
from voicecore._native.pcm import peak
from voicecore._native.resample import Resampler
from voicecore.errors import MisuseError
from voicecore.transport.adoption import transport_stats
from voicecore.transport.track_in import NativeTrack

_LOG = logging.getLogger(__name__)

_AHEAD_S = 0.04
"""With the frame then pulled, 60 ms wait for the sending clock at most."""

_PAUSE_S = 0.06
"""Who gave nothing for so long begins anew."""

_WAITED_S = 0.002
"""A frame that takes so long was not there yet."""

_BEHIND_S = 0.1
"""Who is later leaves out quiet frames …"""

_FAR_BEHIND_S = 1.0
"""… and who is so late, any."""

_QUIET_PEAK = 100
"""-50 dBFS: a room's noise, not a voice."""

_IDLE_S = 0.005
"""Between frames that are dropped: a track may give them without waiting."""

Pcm = NDArray[np.int16]


class Mixdown:
    """Frames of any format, layout and rate as mono int16 at one rate.

    Rates that our resampler has go through it, everything else through PyAV's.
    """

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._kind: tuple[str, int, int] | None = None
        self._convert: Callable[[Any], Pcm] = self._by_pyav
        self._resampler: Resampler | None = None
        self._pyav: Any = None

    def __call__(self, frame: Any) -> Pcm:
        """The samples of one ``av.AudioFrame``."""
        kind = (frame.format.name, len(frame.layout.channels), frame.sample_rate)
        if kind != self._kind:
            self._kind = kind
            self._choose(*kind)
        return self._convert(frame)

    def _choose(self, name: str, channels: int, rate_hz: int) -> None:
        self._resampler = None
        self._convert = self._by_us
        if name != "s16" or channels > 2:
            self._convert = self._by_pyav
        elif rate_hz != self._rate_hz:
            try:
                self._resampler = Resampler(rate_hz, self._rate_hz)
            except MisuseError:
                self._convert = self._by_pyav
        if self._convert == self._by_pyav:
            self._pyav = av.AudioResampler(format="s16", layout="mono", rate=self._rate_hz)

    def _by_us(self, frame: Any) -> Pcm:
        channels = len(frame.layout.channels)
        pcm = np.frombuffer(frame.planes[0], np.int16, count=frame.samples * channels)
        if channels == 2:
            pcm = ((pcm[0::2].astype(np.int32) + pcm[1::2]) >> 1).astype(np.int16)
        return pcm if self._resampler is None else self._resampler.process(pcm)

    def _by_pyav(self, frame: Any) -> Pcm:
        parts = [made.to_ndarray()[0] for made in self._pyav.resample(frame)]
        return np.concatenate(parts) if parts else np.zeros(0, np.int16)


class Playout:
    """Puts samples of a track into ``outbound`` in whole frames of 20 ms.

    The sending clock takes one every 20 ms; a track's own clock is never in
    step with it, so what begins after a pause is preceded by one frame of
    silence: from then on a frame may come up to 20 ms late. Zeros are queued
    like sound, and cost no encode there.
    """

    def __init__(self, outbound: Outbound, now_s: Callable[[], float]) -> None:
        self._outbound = outbound
        self._now_s = now_s
        self.rate_hz = outbound.rate_hz
        self._frame = outbound.rate_hz // 50
        self._rest = np.zeros(0, np.int16)
        self._last_s = -1.0

    @property
    def ahead_s(self) -> float:
        """How long what is queued will last."""
        return self._outbound.queued / self.rate_hz

    def offer(self, pcm: Pcm) -> Pcm:
        """Take ``pcm``; returns what found no place, to be given to :meth:`write` again."""
        now_s = self._now_s()
        if now_s - self._last_s > _PAUSE_S and not self._outbound.queued:
            padding = np.zeros(self._frame - len(self._rest), np.int16)
            self._rest = np.concatenate([self._rest, padding])
        self._last_s = now_s
        if len(self._rest):
            pcm = np.concatenate([self._rest, pcm])
        whole = len(pcm) // self._frame * self._frame
        self._rest = pcm[whole:].copy()
        return self.write(pcm[:whole])

    def write(self, pcm: Pcm) -> Pcm:
        """Queue whole frames; returns what found no place."""
        taken = self._outbound.write(np.ascontiguousarray(pcm), self._outbound.generation)
        return pcm[max(taken, 0) :]


class LiveEdge:
    """How far we are behind a track because this program stood still.

    What waited meanwhile comes at once, but the sending clock never hurries, so
    the delay would last for the rest of the call. ``stalled_s`` says how long
    the event loop stood still since it began. A track that makes us wait for
    two frames in a row has no more than them: we have caught up.
    """

    def __init__(self, track: MediaStreamTrack, stalled_s: Callable[[], float]) -> None:
        self._track = track
        self._stalled_s = stalled_s
        self._seen_s = stalled_s()
        self._behind_s = 0.0
        self._waited = False

    def pulled(self, took_s: float) -> None:
        """A frame came ``took_s`` after it was asked for."""
        stalled_s = self._stalled_s() - self._seen_s
        self._seen_s += stalled_s
        self._behind_s += stalled_s
        waited = took_s > _WAITED_S and not stalled_s
        if waited and self._waited:
            self._behind_s = 0.0
        self._waited = waited

    def leaves_out(self, pcm: Pcm, length_s: float) -> bool:
        """Whether the frame that came is to be left out, to be less late."""
        behind_s = self._behind_s
        if isinstance(self._track, NativeTrack):
            behind_s = max(behind_s, self._track.waiting_s)
        if self._waited or behind_s < _BEHIND_S:
            return False
        if behind_s < _FAR_BEHIND_S and peak(pcm) >= _QUIET_PEAK:
            return False
        self._behind_s = max(self._behind_s - length_s, 0.0)
        return True


class Sink(Protocol):
    """Where a sender's audio goes."""

    @property
    def outbound(self) -> Outbound:
        """The send path."""
        ...

    @property
    def clock_hz(self) -> int:
        """The RTP clock."""
        ...

    def stalled_s(self) -> float:
        """How long the event loop stood still until now."""
        ...

    def silence(self, silent: bool) -> None:
        """Whether RTP goes out."""

    def network(self) -> dict[str, float]:
        """As :meth:`voicecore._native.media_session.MediaSession.network`; empty at the end."""
        ...


class AudioSender(RTCRtpSender):
    """aiortc's sender, over our send path: no encoder in an executor, no RTP and RTCP tasks.

    ``started`` is called when the far end takes audio (on the event loop).
    """

    def __init__(
        self,
        track: MediaStreamTrack | None,
        transport: RTCDtlsTransport,
        started: Callable[[], None],
    ) -> None:
        self._started = started
        self._source: MediaStreamTrack | None = None
        self._sends = True
        self._sink: Sink | None = None
        self._playout: Playout | None = None
        self._pull: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        super().__init__(track or "audio", transport)

    @property
    def track(self) -> MediaStreamTrack:
        """The track that is sent, None if there is none."""
        return self._source  # type: ignore[return-value]

    @property
    def ssrc(self) -> int:
        """The SSRC that our description promises."""
        return self._ssrc

    @property
    def _enabled(self) -> bool:
        return self._sends

    @_enabled.setter
    def _enabled(self, wanted: bool) -> None:
        self._sends = wanted
        self._tell()

    def replaceTrack(self, track: MediaStreamTrack | None) -> None:
        """Send ``track`` from now on; what was pulled of the one before is still sent."""
        self._source = track
        self._track_id = str(uuid.uuid4()) if track is None else track.id
        self._restart()

    async def send(self, parameters: RTCRtpSendParameters) -> None:
        """The far end takes audio."""
        self._started()

    def feed(self, sink: Sink) -> None:
        """Pull the track into ``sink``. Again is fine."""
        if self._sink is None:
            self._sink = sink
            self._playout = Playout(sink.outbound, asyncio.get_running_loop().time)
            self._restart()

    async def stop(self) -> None:
        """Stop pulling, and the track."""
        if self._source is not None:
            self._source.stop()
        self._sink = None
        self.replaceTrack(None)
        await asyncio.gather(*self._ending, return_exceptions=True)

    async def getStats(self) -> RTCStatsReport:
        """The transport's, ``RTCOutbound…`` and, if the far end reported, ``RTCRemoteInbound…``."""
        report = transport_stats(self.transport)
        sink = self._sink
        network = {} if sink is None else sink.network()
        if sink is None or not network:
            return report
        outbound = sink.outbound
        about: dict[str, Any] = {
            "timestamp": current_datetime(),
            "ssrc": outbound.ssrc,
            "kind": "audio",
            "transportId": f"transport_{id(self.transport)}",
        }
        report.add(
            RTCOutboundRtpStreamStats(
                type="outbound-rtp",
                id=f"outbound-rtp_{id(self)}",
                packetsSent=outbound.packets,
                bytesSent=outbound.octets,
                trackId=str(id(self._source)),
                **about,
            )
        )
        if network["reports"]:
            lost = int(network["packets_lost"])
            report.add(
                RTCRemoteInboundRtpStreamStats(
                    type="remote-inbound-rtp",
                    id=f"remote-inbound-rtp_{id(self)}",
                    packetsReceived=outbound.packets - lost,
                    packetsLost=lost,
                    jitter=int(network["jitter_ms"] * sink.clock_hz / 1000),
                    roundTripTime=max(network["round_trip_ms"], 0.0) / 1000,
                    fractionLost=int(network["fraction_lost"] * 256),
                    **about,
                )
            )
        return report

    # -- private --------------------------------------------------------------------------

    def _restart(self) -> None:
        if self._pull is not None:
            self._pull.cancel()
            self._pull = None
        self._tell()
        if self._sink is not None and self._source is not None and self._playout is not None:
            track, playout = self._source, self._playout
            edge = LiveEdge(track, self._sink.stalled_s)
            work = self._run(track, Mixdown(playout.rate_hz), playout, edge)
            task = self._pull = asyncio.get_running_loop().create_task(work, name="track")
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    def _tell(self) -> None:
        if self._sink is not None:
            self._sink.silence(not self._sends or self._source is None)

    async def _run(
        self, track: MediaStreamTrack, mixdown: Mixdown, playout: Playout, edge: LiveEdge
    ) -> None:
        try:
            while True:
                pcm = await self._pull_one(track, mixdown, edge)
                if not self._sends:
                    await asyncio.sleep(_IDLE_S)
                elif not edge.leaves_out(pcm, len(pcm) / playout.rate_hz):
                    await self._play(pcm, playout)
        except MediaStreamError:
            pass
        except Exception:
            _LOG.warning("a track that is sent failed", exc_info=True)
        # Like aiortc: a track that ended is let go; another may follow.
        track.stop()
        if self._source is track:
            self._source = None
            self._pull = None
            await asyncio.sleep(playout.ahead_s)
            self._tell()

    async def _pull_one(self, track: MediaStreamTrack, mixdown: Mixdown, edge: LiveEdge) -> Pcm:
        now_s = asyncio.get_running_loop().time
        asked_s = now_s()
        frame = await track.recv()
        if not isinstance(frame, av.AudioFrame):
            raise MisuseError("a track must yield av.AudioFrame: packets aren't sent as they are")
        edge.pulled(now_s() - asked_s)
        return mixdown(frame)

    async def _play(self, pcm: Pcm, playout: Playout) -> None:
        left = playout.offer(pcm)
        while len(left):
            await asyncio.sleep(_AHEAD_S)
            left = playout.write(left)
        if (early_s := playout.ahead_s - _AHEAD_S) > 0:
            await asyncio.sleep(early_s)
