"""One call: the only place where events meet I/O.

The driver hands what happens to the pure :class:`~voicecore.core.session.Session`
and performs the actions it gets back. All of it runs on the event loop; no
audio passes through here but by reference.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from voicecore.core import actions as act
from voicecore.core import events as ev
from voicecore.core.conversation import Conversation
from voicecore.core.session import Session
from voicecore.core.speech_gate import EdgeKind, SpeechEdge
from voicecore.core.state import TOLD, State
from voicecore.core.turn_settings import TurnSettings
from voicecore.core.units import NS_PER_S
from voicecore.errors import MisuseError
from voicecore.service.call_engines import CallEngines
from voicecore.service.call_report import CallReport
from voicecore.service.call_scope import CallScope, within
from voicecore.service.client_events import ClientEvents
from voicecore.service.ears import Ears
from voicecore.service.engine_factory import Engines
from voicecore.service.kept_speech import KeptSpeech
from voicecore.service.metrics import Metrics
from voicecore.service.pause_judge import PauseJudge
from voicecore.service.record import record
from voicecore.service.recording import NOT_RECORDED, AnchorKind, NullRecorder, Recordings
from voicecore.service.sound import look_closer
from voicecore.service.timers import call_in
from voicecore.service.tracing import NO_TRACES, Tracer
from voicecore.service.version import version
from voicecore.service.voice import AnyVoice, voice_of
from voicecore.transport.peer import AudioLink, Peer
from voicecore.transport.peer_config import PeerConfig
from voicecore.transport.plane import MediaPlane

_LOG = logging.getLogger(__name__)

_EDGE_EVENTS = {
    EdgeKind.ONSET: ev.SpeechOnset,
    EdgeKind.CONFIRMED: ev.SpeechConfirmed,
    EdgeKind.RELEASED: ev.SpeechReleased,
}

_FAR_BUFFER_MS = 60.0
"""What a browser's jitter buffer holds back on a good network, until it says itself."""
_MOST_FAR_BUFFER_MS = 5000.0


@dataclass(frozen=True, slots=True)
class CallContext:
    """What all calls of a process share."""

    engines: Engines
    metrics: Metrics
    turns: TurnSettings
    stt_chunk_ms: int
    kept: KeptSpeech
    peers: Callable[[], PeerConfig]
    make_plane: Callable[[AudioLink], MediaPlane]
    recordings: Recordings | None = None
    stt_bridge: bool = False
    tracer: Tracer = NO_TRACES
    now: Callable[[], int] = time.monotonic_ns


class Call:
    """A call from the first description to the last packet.

    ``on_over(call)`` is told once, on the event loop, when the call has ended
    by itself or by :meth:`hang_up`; the owner then awaits :meth:`close`.
    """

    def __init__(
        self, session_id: str, context: CallContext, on_over: Callable[[Call], None]
    ) -> None:
        loop = asyncio.get_running_loop()
        self.session_id = session_id
        self.connected_ns: int | None = None
        self.end_reason = ""
        self.conversation = Conversation()
        self.peer = Peer(context.peers(), self)
        self._context = context
        self._now = context.now
        self._on_over = on_over
        self._loop = loop
        self._began_ns = context.now()
        self._plane: MediaPlane | None = None
        self._session: Session | None = None
        self._engines: CallEngines | None = None
        self._ears: Ears | None = None
        self._voice: AnyVoice | None = None
        self._judge: PauseJudge | None = None
        self._recorder: NullRecorder = NOT_RECORDED
        self._far_buffer_ms = _FAR_BUFFER_MS
        self._events: deque[ev.Event] = deque()
        self._dispatching = False
        self._timer: asyncio.TimerHandle | None = None
        self._armed_ns: int | None = None
        trace = context.tracer.call(session_id, context.engines.names, self._began_ns)
        self.scope = CallScope(session_id, trace)
        self._report = CallReport(context.metrics, trace, self._began_ns)
        self._client = ClientEvents(self.peer.send_texts, now=context.now, loop=loop)
        self._client.push(
            "hello",
            {
                "session_id": session_id,
                "version": version(),
                "engines": context.engines.names,
                "endpoint": context.turns.endpoint,
                "silence_ms": context.turns.silence_ms,
                "recorded": context.recordings is not None,
            },
        )

    # -- for the manager ----------------------------------------------------------

    @property
    def age_ns(self) -> int:
        """Time since the call was opened."""
        return self._now() - self._began_ns

    @property
    def state(self) -> str:
        """The word for it that the client is told too (``docs/events.md``)."""
        if self.end_reason:
            return State.ENDED.value
        state = self._session.state if self._session else State.CONNECTING
        return TOLD.get(state, state.value)

    def describe(self) -> dict[str, object]:
        """The call's state in plain JSON types; no words and no audio."""
        session, link = self._session, self.peer.link
        local, remote = link.selected_types() if link else ("none", "none")
        return {
            "session_id": self.session_id,
            "state": self.state,
            "connection": self.peer.state,
            "age_s": round(self.age_ns / NS_PER_S, 3),
            "turn": session.turn if session else 0,
            "codec": link.format.codec if link else None,
            "pair": {"local": local, "remote": remote} if link else None,
            "mos": self._report.mos,
            "media": self._plane.stats() if self._plane and not self.end_reason else {},
        }

    def record_media(self) -> None:
        """Add what happened to packets since the last time to the metrics."""
        plane = self._plane
        if plane is None:
            return
        plane.adapt()
        stale = self._session.stale_events if self._session is not None else 0
        self._report.media(plane, stale, self._far_buffer_ms)

    def hang_up(self, reason: str) -> None:
        """End the call now (twice is fine)."""
        if self.end_reason:
            return
        with within(self.scope):
            if self._session is not None:
                self._dispatch(ev.Hangup(reason))
            else:
                self._end(reason)

    def part(self, goodbye: str) -> None:
        """Say ``goodbye`` as soon as the turn allows, and end; at once if nobody is there yet.

        It is one of the texts that are kept (:mod:`~voicecore.service.kept_speech`), or
        empty: then the call just ends.
        """
        if self._session is None:
            self.hang_up("server_drained")
        else:
            self._dispatch(ev.Farewell(goodbye))

    async def restart(self, offer_sdp: str) -> str:
        """Go on by another way; the answer. See :meth:`Peer.restart`."""
        return await self.peer.restart(offer_sdp, self._context.peers())

    async def close(self) -> None:
        """Free everything and wait until all of it is gone."""
        self.hang_up("closed")
        with within(self.scope):
            try:
                await self._release()
            finally:
                await self.peer.close()

    async def _release(self) -> None:
        self._client.close()
        plane = self._plane
        if plane is not None:
            self.record_media()
            # Rings of some megabytes: freed now, not when the collector finds the cycle.
            self._plane = None
            plane.close()
        workers = (self._ears, self._voice, self._judge)
        tasks = [task for worker in workers if worker is not None for task in worker.tasks]
        if tasks:
            await asyncio.gather(*tasks, return_exceptions=True)
        self._ears = self._voice = self._judge = None
        engines, self._engines = self._engines, None
        if engines is not None:
            await engines.close()

    # -- peer events ----------------------------------------------------------------

    def on_audio_link(self, link: AudioLink) -> None:
        """Media can flow: build the plane and begin."""
        if self.end_reason:
            return
        with within(self.scope):
            self._begin(link)

    def _begin(self, link: AudioLink) -> None:
        self.connected_ns = self._now()
        plane = self._plane = self._context.make_plane(link)
        self._session = Session(
            self._context.turns, self.conversation, play_rate_hz=plane.play_rate_hz
        )
        engines, recordings = self._context.engines, self._context.recordings
        if recordings is not None:
            self._recorder = recordings.open(
                self.session_id,
                self._context.turns,
                ring=plane.ring,
                play_rate_hz=plane.play_rate_hz,
                now=self._now,
            )
        codec = plane.codec if self._context.stt_bridge else ""
        mine = self._engines = CallEngines(engines, codec, self.conversation)
        self._ears = Ears(
            mine.stt,
            plane,
            chunk_ms=self._context.stt_chunk_ms,
            report=self._dispatch,
            changed=self._await_audio,
            encoded=mine.encoded,
        )
        self._voice = voice_of(
            mine,
            plane,
            kept=self._context.kept.pcm,
            report=self._dispatch,
            on_played=self._recorder.played,
        )
        if engines.turn is not None:
            self._judge = PauseJudge(engines.turn, plane, self._dispatch)
        plane.attach(self)
        self._await_audio()
        self._report.connected(self.peer, link, self.connected_ns)
        self._dispatch(ev.Connected())

    def on_channel_open(self) -> None:
        """Send what has waited for the data channel."""
        self._client.open()

    def on_message(self, text: str) -> None:
        """Take a client's message; anything unknown is ignored."""
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            return
        if not isinstance(message, dict):
            return
        if message.get("type") == "hangup":
            self.hang_up("caller_hung_up")
        elif message.get("type") == "playout":
            self._take_playout(message.get("buffer_ms"))

    def _take_playout(self, buffer_ms: object) -> None:
        """The client's own figure of what its jitter buffer holds back."""
        if isinstance(buffer_ms, int | float) and 0 <= buffer_ms <= _MOST_FAR_BUFFER_MS:
            self._far_buffer_ms = float(buffer_ms)

    def on_peer_lost(self, reason: str) -> None:
        """The connection is gone."""
        self.hang_up(reason)

    # -- plane events -----------------------------------------------------------------

    def on_edge(self, edge: SpeechEdge, at_ns: int) -> None:
        """The caller's voice began or ended."""
        played = self._plane.played if self._plane else 0
        self._dispatch(_EDGE_EVENTS[edge.kind](edge.sample, at_ns, played))

    def on_audio(self) -> None:
        """Feed the recognisers."""
        if self._ears is not None:
            self._ears.pump()
        self._recorder.heard()
        self._await_audio()

    def on_digit(self, digit: str, duration_ms: int) -> None:
        """The caller pressed a key."""
        self._dispatch(ev.Digit(digit, duration_ms))

    def on_playout_started(self) -> None:
        """The agent begins to be heard."""
        self._anchor("started")
        self._dispatch(ev.PlayoutStarted())

    def on_playout_drained(self, position: int) -> None:
        """All of the agent's audio is out."""
        self._recorder.anchor(self._now(), position, "drained")
        self._dispatch(ev.PlayoutDrained(position, self._lost(position)))

    def on_way(self, leads: bool) -> None:
        """The agent's voice waits from now on, or goes on: a recording has it at its time."""
        self._anchor("resume" if leads else "hold")

    def on_plane_failed(self, error: Exception) -> None:
        """Without voice activity there is no call."""
        with within(self.scope):
            _LOG.error("voice activity failed: %s", type(error).__name__)
        self._context.metrics.engine_failed("vad", getattr(error, "code", "vad_failed"))
        self.hang_up("vad_failed")

    # -- driver -------------------------------------------------------------------------

    def _dispatch(self, event: ev.Event) -> None:
        """Handle ``event`` and all that its actions cause, in order of arrival."""
        session = self._session
        if session is None:
            return
        self._events.append(event)
        if self._dispatching:
            return
        self._dispatching = True
        try:
            with within(self.scope):
                while self._events:
                    self._handle(session, self._events.popleft())
        finally:
            self._dispatching = False
        self._arm(session.deadline_ns)

    def _handle(self, session: Session, event: ev.Event) -> None:
        now_ns = self._now()
        try:
            actions = session.handle(event, now_ns)
        except MisuseError as error:
            _LOG.error("%s", error)
            self._recorder.event(event, now_ns, None)
            return
        except AssertionError:
            # A fault of ours, after which nobody knows whose turn it is.
            _LOG.exception("turn-taking failed")
            self._end("turn_taking_failed")
            return
        self._recorder.event(event, now_ns, actions)
        self._report.step(event, now_ns, actions)
        for action in actions:
            self._perform(action)

    def _perform(self, action: act.Action) -> None:
        plane, ears, voice = self._plane, self._ears, self._voice
        if plane is None or ears is None or voice is None:
            return
        match action:
            case act.Hold():
                self._recorder.anchor(self._now(), plane.hold(), "hold")
            case act.Resume():
                self._recorder.anchor(self._now(), plane.resume(), "resume")
            case act.Flush():
                position = plane.flush()
                self._recorder.anchor(self._now(), position, "flush")
                lost = self._lost(position)
                far_ms = self._far_delay_ms(plane)
                self._events.append(ev.Flushed(action.turn, position, lost, far_ms))
            case act.Listen():
                ears.listen(action)
            case act.FinishListening():
                ears.finish(action)
            case act.CancelListening():
                ears.cancel(action)
            case act.JudgePause():
                if self._judge is not None:
                    self._judge.judge(action)
            case act.StartReply():
                voice.ask(action, self.conversation)
            case act.Speak():
                voice.say(action)
            case act.CancelReply():
                voice.cancel(action)
            case act.Notify():
                self._client.push(action.kind, action.fields)
            case act.End():
                self._end(action.reason)
            case _:
                record(self._context.metrics, action)

    def _anchor(self, kind: AnchorKind) -> None:
        if self._plane is not None:
            self._recorder.anchor(self._now(), self._plane.played, kind)

    def _lost(self, position: int) -> ev.Stretches:
        """What of the newest minutes up to ``position`` never reached the caller."""
        plane = self._plane
        return plane.lost(0, position) if plane is not None else ()

    def _far_delay_ms(self, plane: MediaPlane) -> float:
        """From here to the caller's ear."""
        return plane.stats().get("round_trip_ms", 0.0) / 2 + self._far_buffer_ms

    def _arm(self, deadline_ns: int | None) -> None:
        if deadline_ns == self._armed_ns:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._armed_ns = deadline_ns
        if deadline_ns is not None:
            self._timer = call_in(self._loop, deadline_ns - self._now(), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = self._armed_ns = None
        if self._plane is not None:
            plane = self._plane
            voice = plane.voice()
            if self._session is not None and self._session.state is State.YIELDING:
                voice = look_closer(voice, plane.ring)
            self._dispatch(ev.Timeout(plane.heard, plane.played, voice))

    def _await_audio(self) -> None:
        """Be told when the next whole chunk for a recogniser is there."""
        if self._plane is not None and self._ears is not None and not self.end_reason:
            dues = (self._ears.due, self._recorder.due)
            self._plane.wake_at(min((due for due in dues if due is not None), default=None))

    def _end(self, reason: str) -> None:
        if self.end_reason:
            return
        self.end_reason = reason
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for worker in (self._ears, self._voice, self._judge, self._recorder):
            if worker is not None:
                worker.close()
        self.record_media()
        self._report.ended(reason, self.peer, self._now())
        self._on_over(self)
