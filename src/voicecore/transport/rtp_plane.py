"""The media plane of today: native kernels, driven from the event loop.

Receive: each decrypted packet goes through one native call (parse, jitter
buffer, decode, ring) that releases the GIL; frames of 32 ms go to the shared
VAD scorer, which batches all calls of a loop iteration. Send: the clock shared
by all calls asks for one packet each 20 ms. Belongs to the event loop's thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from voicecore._native.chunks import VadFrames
from voicecore._native.inbound import Inbound
from voicecore._native.outbound import Outbound
from voicecore._native.pcm import block_power
from voicecore._native.ring import AudioRing
from voicecore._native.speech_gate import BLOCK_SAMPLES, MediaClock, SpeechGate
from voicecore.core.speech_gate import EDGE_KINDS, SpeechEdge
from voicecore.core.units import HEAR_RATE_HZ
from voicecore.transport.plane import Placed, PlaneSink
from voicecore.transport.rtcp import RemoteReport
from voicecore.transport.tick import TickClock

_FRAME_SAMPLES = 512
_CONTEXT_SAMPLES = 64
_FAILURES_IN_A_ROW = 32
_SPEECH = 1
"""``Outbound.last_kind`` of a packet that holds the agent's voice."""


class FrameScorer(Protocol):
    """Scores VAD frames of many calls together (``engines.vad.batch.VadBatcher``)."""

    def submit(self, stream: Any, frame: NDArray[np.float32], sink: Any) -> None:
        """Tell ``sink`` the probability of ``frame`` later, in order."""

    def forget(self, stream: Any) -> None:
        """Drop what waits."""


class Reports(Protocol):
    """RTCP of the call (``transport.rtcp.Reporter``)."""

    @property
    def remote(self) -> RemoteReport:
        """The far end's last word."""
        ...

    def tick(self, now_ns: int, inbound: Inbound, outbound: Outbound) -> None:
        """Report if it is time to."""

    def read(self, packet: bytes, now_ns: int) -> bool:
        """Take a report; False if it is malformed."""
        ...

    def goodbye(self) -> None:
        """Say BYE."""


class _Frame:
    """One submitted frame; told its probability in the order of submission."""

    __slots__ = ("_concealed", "_end", "_plane", "_powers")

    def __init__(
        self, plane: RtpPlane, end: int, powers: tuple[float, ...], concealed: bool
    ) -> None:
        self._plane = plane
        self._end = end
        self._powers = powers
        self._concealed = concealed

    def scored(self, probability: float) -> None:
        self._plane.take_score(probability, self._end, self._powers, self._concealed)

    def failed(self, error: Exception) -> None:
        self._plane.take_failure(error, self._end)


class RtpPlane:
    """A :class:`~voicecore.transport.plane.MediaPlane` over one RTP stream each way.

    Owns ``inbound`` and ``outbound`` and closes them. ``send`` puts one
    unprotected RTP packet on the network, ``rejected`` counts datagrams that
    never became packets.
    """

    def __init__(
        self,
        inbound: Inbound,
        outbound: Outbound,
        *,
        clock: TickClock,
        send: Callable[[bytes], object],
        rejected: Callable[[], int],
        reports: Reports,
        gate: SpeechGate,
        scorer: FrameScorer,
        vad_stream: Any,
        now: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._inbound = inbound
        self._outbound = outbound
        self._send = send
        self._rejected = rejected
        self._reports = reports
        self._gate = gate
        self._scorer = scorer
        self._failures = 0
        self._vad_stream = vad_stream
        self._now = now
        self._frames = VadFrames(inbound.ring, 0)
        self._media_clock = MediaClock(HEAR_RATE_HZ)
        self._sink: PlaneSink | None = None
        self._filled = False
        self._speaking = False
        self._closed = False
        self._clock = clock
        self._ticker = 0

    def attach(self, sink: PlaneSink) -> None:
        """See :class:`MediaPlane`. The agent's side of the clock starts here."""
        self._sink = sink
        self._ticker = self._clock.add(self._tick)

    @property
    def ring(self) -> AudioRing:
        """The caller's audio."""
        return self._inbound.ring

    @property
    def heard(self) -> int:
        """How far voice activity was judged."""
        return self._gate.position

    @property
    def play_rate_hz(self) -> int:
        """Rate of the PCM to play."""
        return int(self._outbound.rate_hz)

    @property
    def generation(self) -> int:
        """Id of the audio that may be played now."""
        return int(self._outbound.generation)

    @property
    def played(self) -> int:
        """Samples sent at full level."""
        return int(self._outbound.position)

    @property
    def space(self) -> int:
        """Samples that fit into the playout ring now."""
        return int(self._outbound.space)

    def receive(self, packet: bytes) -> None:
        """Take one decrypted RTP packet, malformed ones included (they are counted)."""
        if self._closed:
            return
        now_ns = self._now()
        if self._inbound.push(packet, now_ns) == 0:
            self._take_audio(now_ns)

    def receive_report(self, packet: bytes) -> None:
        """Take one decrypted RTCP packet, malformed ones included (they are counted)."""
        if not self._closed:
            self._reports.read(packet, self._now())

    def play(self, pcm: NDArray[np.int16], generation: int) -> Placed:
        """See :class:`MediaPlane`."""
        position = int(self._outbound.written)
        accepted = int(self._outbound.write(pcm, generation))
        self._filled = self._filled or accepted > 0
        return Placed(position, accepted)

    def flush(self) -> int:
        """See :class:`MediaPlane`."""
        self._filled = self._speaking = False
        return int(self._outbound.flush())

    def stats(self) -> dict[str, float]:
        """See :class:`MediaPlane`."""
        counters = {
            name: float(value)
            for name, value in self._inbound.stats().items()
            if isinstance(value, int | float)
        }
        counters["sent"] = float(self._outbound.packets)
        counters["encoded"] = float(self._outbound.encodes)
        counters["rejected"] = float(self._rejected())
        remote = self._reports.remote
        counters["round_trip_ms"] = remote.round_trip_ms
        counters["remote_lost"] = float(remote.packets_lost)
        return counters

    def close(self) -> None:
        """See :class:`MediaPlane`."""
        if self._closed:
            return
        self._closed = True
        self._clock.remove(self._ticker)
        self._scorer.forget(self._vad_stream)
        self._sink = None
        self._reports.goodbye()
        self._inbound.close()
        self._outbound.close()

    # -- the caller's way in ----------------------------------------------------

    def _take_audio(self, now_ns: int) -> None:
        if not self._inbound.poll(now_ns):
            return
        self._media_clock.observe(self.ring.position, now_ns)
        while (item := self._frames.next()) is not None:
            frame, end = item
            powers = block_power(frame[_CONTEXT_SAMPLES:], BLOCK_SAMPLES)
            # Concealment is the codec's guess: the VAD hears it, its word doesn't count.
            guessed = self._inbound.concealed(end - _FRAME_SAMPLES, end)
            concealed = guessed * 2 >= _FRAME_SAMPLES
            self._scorer.submit(self._vad_stream, frame, _Frame(self, end, powers, concealed))
        if self._sink is not None:
            self._sink.on_audio()

    def take_score(
        self, probability: float, end: int, powers: tuple[float, ...], concealed: bool
    ) -> None:
        """Take the VAD's word on the frame that ends at ``end`` (called by the scorer)."""
        start = end - _FRAME_SAMPLES
        self._failures = 0
        if concealed:
            edges = self._gate.hold(start, end)
        else:
            edges = self._gate.push(probability, start, end, powers)
        for kind, sample in edges:
            if self._sink is not None:
                edge = SpeechEdge(EDGE_KINDS[kind], sample)
                self._sink.on_edge(edge, self._media_clock.time_of(sample))

    def take_failure(self, error: Exception, end: int) -> None:
        """Learn that the frame ending at ``end`` could not be scored (called by the scorer).

        A lone frame is passed over; a second of them in a row is the end.
        """
        self._gate.hold(end - _FRAME_SAMPLES, end)
        self._failures += 1
        if self._failures == _FAILURES_IN_A_ROW and self._sink is not None:
            self._sink.on_plane_failed(error)

    # -- the agent's way out ------------------------------------------------------

    def _tick(self, now_ns: int) -> None:
        deadline_ns = self._inbound.deadline()
        if 0 <= deadline_ns <= now_ns:
            self._take_audio(now_ns)
        if self._closed:
            return
        outbound = self._outbound
        self._send(outbound.next_packet())
        self._reports.tick(now_ns, self._inbound, outbound)
        sink = self._sink
        if sink is None:
            return
        if outbound.last_kind == _SPEECH and not self._speaking:
            self._speaking = True
            sink.on_playout_started()
        if self._filled and not outbound.queued:
            self._filled = self._speaking = False
            sink.on_playout_drained(int(outbound.position))
