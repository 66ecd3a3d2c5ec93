"""The media plane: the one interface between a call and its audio.

A plane takes packets in and gives speech edges out; takes PCM in and gives
packets out. What lies under it can be replaced without a change to ``core`` or
``service``.

Positions are absolute samples. What the caller says is counted at 16 kHz in
:attr:`MediaPlane.ring`; what the agent says at :attr:`MediaPlane.play_rate_hz`,
one for each sample that was sent at full level.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from voicecore._native.packet_tap import PacketTap
from voicecore._native.ring import AudioRing
from voicecore.core.speech_gate import SpeechEdge
from voicecore.core.voice import Voice


class Placed(NamedTuple):
    """Where audio given to :meth:`MediaPlane.play` went.

    ``accepted`` samples lie from ``position`` on; fewer than were given when
    the playout ring is full, -1 when the generation is stale.
    """

    position: int
    accepted: int


class PlaneSink(Protocol):
    """Who hears of a plane's events. All calls come on the event loop; none may block."""

    def on_edge(self, edge: SpeechEdge, at_ns: int) -> None:
        """The caller's voice began or ended; the edge's sample was due at ``at_ns``."""

    def on_audio(self) -> None:
        """The ring has reached what :meth:`MediaPlane.wake_at` asked for."""

    def on_playout_started(self) -> None:
        """A packet with the agent's voice went out after silence."""

    def on_playout_drained(self, position: int) -> None:
        """All queued audio was sent; it ended at ``position``."""

    def on_digit(self, digit: str, duration_ms: int) -> None:
        """The caller pressed a key: ``0`` to ``9``, ``*``, ``#``, ``A`` to ``D``, ``!`` (flash)."""

    def on_way(self, leads: bool) -> None:
        """Whether a way leads to the caller; while none does, what is to be played waits."""

    def on_plane_failed(self, error: Exception) -> None:
        """Voice activity can't be told any more, or what happened was lost."""


class MediaPlane(Protocol):
    """The audio of one call, both ways."""

    @property
    def ring(self) -> AudioRing:
        """The caller's audio: int16 at 16 kHz, read by cursors."""
        ...

    @property
    def codec(self) -> str:
        """What the caller is to send: ``opus``, ``pcmu`` or ``pcma``."""
        ...

    def tap(self) -> PacketTap:
        """The caller's own packets beside :attr:`ring`, kept from when they are first asked for.

        They are what he sent: what an echo canceller takes out of the ring is in them.
        """
        ...

    @property
    def heard(self) -> int:
        """How far (16 kHz) voice activity was judged: the sink knows all edges up to there.

        The ring may reach further: what stands there may still be speech.
        """
        ...

    def voice(self) -> Voice:
        """What is known of the caller's voice, consistent with the edges told so far."""
        ...

    @property
    def play_rate_hz(self) -> int:
        """Rate of the PCM that :meth:`play` takes."""
        ...

    @property
    def generation(self) -> int:
        """Id of the audio that may be played now; :meth:`flush` makes it stale."""
        ...

    @property
    def played(self) -> int:
        """Samples of the agent sent so far at full level."""
        ...

    @property
    def space(self) -> int:
        """Samples that :meth:`play` would accept now."""
        ...

    def attach(self, sink: PlaneSink) -> None:
        """Name who hears of events, once, before anything else."""

    def play(self, pcm: NDArray[np.int16], generation: int) -> Placed:
        """Queue mono int16 PCM (copied) behind what is queued."""
        ...

    def flush(self) -> int:
        """Stop playback: nothing queued goes out but a fade of a few ms.

        Returns the position reached; :attr:`generation` is a new one after it.
        """
        ...

    def hold(self) -> int:
        """Stop playback from the next packet on, and keep what is queued.

        A packet with a fade-out may still go; its samples don't count in
        :attr:`played`. :meth:`play` goes on accepting until the ring is full.
        No ``on_playout_started`` or ``on_playout_drained`` comes meanwhile.
        Returns :attr:`played`. Holding twice is fine.
        """
        ...

    def resume(self) -> int:
        """End a hold: playback goes on at the very sample :attr:`played`, faded in.

        ``on_playout_started`` comes again only if speech had not begun before.
        Returns :attr:`played`. Nothing happens unless held; :meth:`flush` ends
        a hold too.
        """
        ...

    def lost(self, start: int, end: int) -> tuple[tuple[int, int], ...]:
        """Which of the agent's samples [start, end) the far end is known to have missed.

        Stretches in order, merged; none where the far end doesn't tell. Of the
        last round trip's packets nothing is known yet: they count as heard.
        """
        ...

    def wake_at(self, position: int | None) -> None:
        """Ask for one ``on_audio`` when the ring reaches ``position``; None: for none.

        At once if it is there already. A new wish takes the place of the old one.
        """

    def adapt(self) -> None:
        """Look at what the network and the load ask of the sender, and follow it."""

    def stats(self) -> dict[str, float]:
        """Counters of both directions since the call began (``service/call_report.py``).

        ``waited_ms``: how long all ``frames`` of the caller's waited in the jitter buffer. What
        the far end says: ``round_trip_ms`` (0: unknown), ``remote_lost``, ``remote_jitter_ms``,
        in ``remote_reports``, of which ``remote_feedback`` told of every packet.
        """
        ...

    def close(self) -> None:
        """Free everything. No event comes afterwards. Closing twice is fine."""
