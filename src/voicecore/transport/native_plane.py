"""The media plane of a call on the native media threads: packets never reach Python.

Between this object and the threads go positions, edges and PCM. Belongs to the
event loop's thread.

Two things happen at once on either side, so what comes from the threads is
checked against what was asked since: a queue that ran empty before a flush is
no news after it, and the judged stretch counts only as far as its edges were
told.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from voicecore._native import plane as native
from voicecore._native.inbound import Inbound
from voicecore._native.media_session import MediaSession
from voicecore._native.outbound import Outbound
from voicecore._native.packet_tap import PacketTap
from voicecore._native.ring import AudioRing
from voicecore.core.speech_gate import EDGE_KINDS, EdgeKind, SpeechEdge
from voicecore.core.voice import NO_VOICE, Voice
from voicecore.errors import VoicecoreError
from voicecore.transport.media_path import MediaPath, SelectedPair
from voicecore.transport.plane import Placed, PlaneSink
from voicecore.transport.routing import follow

_EDGES = (native.ONSET, native.CONFIRMED, native.RELEASED)


class PlaneError(VoicecoreError):
    """The media threads could not keep their word for one call."""


class Hearing(Protocol):
    """Voice activity told by an engine in Python (``transport.scored_vad``)."""

    @property
    def position(self) -> int:
        """How far it was judged."""
        ...

    @property
    def due(self) -> int:
        """The ring's position at which it has work."""
        ...

    def voice(self) -> Voice:
        """What is known of the caller's voice up to there."""
        ...

    def hear(self) -> None:
        """Look at what the ring has."""

    def close(self) -> None:
        """Tell nothing any more."""


def _after(voice: Voice, edge: SpeechEdge) -> Voice:
    # The threads may be an edge ahead: until that one is told this is all that may be known.
    if edge.kind is EdgeKind.ONSET:
        return Voice(True, edge.sample, edge.sample, 0.0, 0.0)
    if edge.kind is EdgeKind.RELEASED:
        return replace(voice, voiced=False, loud_end=edge.sample)
    return voice


class NativePlane:
    """A :class:`~voicecore.transport.plane.MediaPlane` over a session of the media threads.

    Owns the session, ``inbound`` and ``outbound`` and closes them. ``path`` says
    where media goes. ``adapt()`` hears of each report of the far end;
    ``hearing`` makes the Python side judge voice activity (None: the threads do).
    """

    def __init__(
        self,
        session: MediaSession,
        path: MediaPath,
        *,
        adapt: Callable[[], None] | None = None,
        hearing: Callable[[NativePlane], Hearing] | None = None,
    ) -> None:
        self._session = session
        self._inbound: Inbound = session.inbound
        self._outbound: Outbound = session.outbound
        self._path = path
        self._adapt = adapt
        self._sink: PlaneSink | None = None
        self._wanted: int | None = None
        self._armed: int | None = None
        self._leads: bool | None = None
        self._edges = 0
        self._heard = 0
        self._voice = NO_VOICE
        self._closed = False
        self._hearing = hearing(self) if hearing is not None else None

    def attach(self, sink: PlaneSink) -> None:
        """See :class:`~voicecore.transport.plane.MediaPlane`. Media flows from here on."""
        self._sink = sink
        self._path.attach(self)
        self._arm()

    # -- MediaPlane -------------------------------------------------------------------

    @property
    def ring(self) -> AudioRing:
        """The caller's audio."""
        return self._inbound.ring

    @property
    def codec(self) -> str:
        """What the caller is to send."""
        return self._inbound.codec

    def tap(self) -> PacketTap:
        """See :class:`~voicecore.transport.plane.MediaPlane`."""
        return self._session.tap()

    @property
    def heard(self) -> int:
        """How far voice activity was judged and told."""
        if self._hearing is not None:
            return self._hearing.position
        position, edges = self._session.judged()
        if edges == self._edges:
            self._heard = position
        return self._heard

    def voice(self) -> Voice:
        """See :class:`~voicecore.transport.plane.MediaPlane`."""
        if self._hearing is not None:
            return self._hearing.voice()
        _, edges, voiced, onset, loud_end, confidence, echo = self._session.voice()
        if edges == self._edges:
            self._voice = Voice(voiced, onset, loud_end, confidence, echo)
        return self._voice

    @property
    def play_rate_hz(self) -> int:
        """Rate of the PCM to play."""
        return self._outbound.rate_hz

    @property
    def generation(self) -> int:
        """Id of the audio that may be played now."""
        return self._outbound.generation

    @property
    def played(self) -> int:
        """Samples sent at full level."""
        return self._outbound.position

    @property
    def space(self) -> int:
        """Samples that fit into the playout ring now."""
        return self._outbound.space

    def play(self, pcm: NDArray[np.int16], generation: int) -> Placed:
        """See :class:`~voicecore.transport.plane.MediaPlane`."""
        position = self._outbound.written
        return Placed(position, self._outbound.write(pcm, generation))

    def flush(self) -> int:
        """See :class:`~voicecore.transport.plane.MediaPlane`."""
        return self._outbound.flush()

    def hold(self) -> int:
        """See :class:`~voicecore.transport.plane.MediaPlane`."""
        return self._outbound.hold()

    def resume(self) -> int:
        """See :class:`~voicecore.transport.plane.MediaPlane`."""
        return self._outbound.resume()

    def lost(self, start: int, end: int) -> tuple[tuple[int, int], ...]:
        """See :class:`~voicecore.transport.plane.MediaPlane`."""
        return tuple(self._session.lost(start, end))

    def wake_at(self, position: int | None) -> None:
        """See :class:`~voicecore.transport.plane.MediaPlane`."""
        if position != self._wanted:
            self._wanted = position
            self._arm()

    def adapt(self) -> None:
        """See :class:`~voicecore.transport.plane.MediaPlane`."""
        if self._adapt is not None and not self._closed:
            self._adapt()

    def stats(self) -> dict[str, float]:
        """See :class:`~voicecore.transport.plane.MediaPlane`."""
        counted = self._session.stats()
        counters = {
            name: float(value) for name, value in counted.items() if isinstance(value, int | float)
        }
        bins: Any = counted["delay_ms"]
        counters["waited_ms"] = sum((ms + 0.5) * frames for ms, frames in enumerate(bins) if ms)
        network = self._session.network()
        counters["round_trip_ms"] = max(network["round_trip_ms"], 0.0)
        counters["remote_lost"] = max(network["packets_lost"], network["cc_lost"])
        counters["remote_jitter_ms"] = network["jitter_ms"]
        counters["remote_feedback"] = network["cc_feedbacks"]
        counters["remote_reports"] = network["reports"] + network["cc_feedbacks"]
        return counters

    def close(self) -> None:
        """See :class:`~voicecore.transport.plane.MediaPlane`."""
        if self._closed:
            return
        self._closed = True
        self._sink = None
        if self._hearing is not None:
            self._hearing.close()
        self._session.close()
        self._inbound.close()
        self._outbound.close()

    # -- for voice activity told in Python ----------------------------------------------

    def concealed(self, start: int, end: int) -> int:
        """How many samples of that stretch concealment made."""
        return self._session.concealed(start, end)

    def pause_end(self, position: int) -> int:
        """Where the caller's pause around ``position`` ends so far; ``position``: there is none."""
        return self._session.pause_end(position)

    def time_of(self, sample: int) -> int:
        """When a sample of the caller was due here, monotonic ns."""
        return self._session.time_of(sample)

    def tell_edge(self, edge: SpeechEdge, at_ns: int) -> None:
        """Hand an edge on."""
        if self._sink is not None:
            self._sink.on_edge(edge, at_ns)

    def tell_failure(self, error: Exception) -> None:
        """Hand on that voice activity can't be told any more."""
        if self._sink is not None:
            self._sink.on_plane_failed(error)

    # -- the path -------------------------------------------------------------------------

    def on_pair(self, pair: SelectedPair | None) -> None:
        """See :class:`~voicecore.transport.media_path.PathSink`."""
        if self._closed:
            return
        follow(self._session, pair)
        before, self._leads = self._leads, pair is not None
        if self._sink is not None and before not in (None, self._leads):
            self._sink.on_way(self._leads)

    def on_packet(self, data: bytes) -> None:
        """See :class:`~voicecore.transport.media_path.PathSink`: it came by a relay."""
        if not self._closed:
            self._session.inject(data)

    def on_media(self, kind: int, *details: Any) -> None:
        """See :class:`~voicecore.transport.media_path.PathSink`."""
        sink = self._sink
        if sink is None:
            return
        if kind == native.AUDIO:
            self._on_audio(sink)
        elif kind in _EDGES:
            edge = SpeechEdge(EDGE_KINDS[kind], details[0])
            self._edges += 1
            self._voice = _after(self._voice, edge)
            sink.on_edge(edge, details[1])
        elif kind == native.STARTED:
            if details[1] == self.generation:
                sink.on_playout_started()
        elif kind == native.DRAINED:
            if details[1] == self.generation:
                sink.on_playout_drained(details[0])
        elif kind == native.PACKET:
            self._path.send(details[0])
        elif kind == native.DIGIT:
            sink.on_digit(chr(details[0]), details[1])
        elif kind == native.REPORT:
            self.adapt()
        # A BYE is counted and no more: to WebRTC the stream is mute from there on, and may come
        # back. Who hangs up closes DTLS (Firefox does both at once, Chromium says no BYE).
        elif kind in (native.LOST, native.VAD_FAILED):
            sink.on_plane_failed(PlaneError("the media threads lost track", code="media_lost"))

    # -- private --------------------------------------------------------------------------

    def _on_audio(self, sink: PlaneSink) -> None:
        self._armed = None
        position = self._inbound.ring.position
        if self._hearing is not None and position >= self._hearing.due:
            self._hearing.hear()
        if self._wanted is not None and position >= self._wanted:
            self._wanted = None
            sink.on_audio()
        self._arm()

    def _arm(self) -> None:
        if self._closed:
            return
        at = self._wanted
        if self._hearing is not None:
            due = self._hearing.due
            at = due if at is None else min(at, due)
        if at != self._armed:
            self._armed = at
            self._session.wake_at(at)
