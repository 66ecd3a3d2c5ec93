"""The real session and the real playout in virtual time: when the last packet goes, and what."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from turns.listening import FRAME_SAMPLES, Heard, HeardEdge, HeardFrame, told_ns
from turns.virtual_call import FRAME, PACKET_NS, PLAY_HZ, AgentSpeech, VirtualCall
from voicecore._native import g711
from voicecore.core import actions as act
from voicecore.core.speech_gate import EdgeKind, SpeechEdge
from voicecore.core.state import State
from voicecore.core.turn_settings import TurnSettings
from voicecore.core.word_times import Word

pytestmark = pytest.mark.slow

RUNS = 1_000
SPOKEN_S = 4
WORD = PLAY_HZ // 4
FADE = 80  # samples of 10 ms
MS = 16
# What happens here is decided before any turn ends.
STAGED = TurnSettings(speculate=False)
IMMEDIATE = TurnSettings(speculate=False, bargein_policy="immediate")

Pcm = NDArray[np.int16]


@cache
def agent() -> AgentSpeech:
    """Words of a quarter of a second, in samples that G.711 carries as they are, none silent."""
    rng = np.random.default_rng(11)
    samples = rng.choice([*range(112), *range(128, 240)], SPOKEN_S * PLAY_HZ).astype(np.uint8)
    names = [f"word{i}" for i in range(len(samples) // WORD)]
    words, at = [], 0
    for i, name in enumerate(names):
        words.append(Word(at, at + len(name), i * WORD, (i + 1) * WORD))
        at += len(name) + 1
    return AgentSpeech(" ".join(names), g711.ulaw_decode(samples), tuple(words))


def sounds(*frames: tuple[int, int]) -> Heard:
    """What the gate tells of sounds in the frames ``[begin, end)``, each a frame held longer."""
    edges, judged = [], []
    last = max(end for _, end in frames)
    for i in range(last + 40):
        begin = next((b for b, e in frames if b <= i <= e), None)
        at_ns, end = told_ns((i + 1) * FRAME_SAMPLES), (i + 1) * FRAME_SAMPLES
        if begin is None:
            judged.append(HeardFrame(at_ns, end, 0.02, -1, -1, 0.0))
            continue
        stop = next(e for b, e in frames if b == begin)
        onset = begin * FRAME_SAMPLES
        if i == begin:
            edges.append(HeardEdge(at_ns, SpeechEdge(EdgeKind.ONSET, onset)))
        if i == begin + 1 < stop:
            edges.append(HeardEdge(at_ns, SpeechEdge(EdgeKind.CONFIRMED, onset)))
        if i == stop:
            released = SpeechEdge(EdgeKind.RELEASED, stop * FRAME_SAMPLES)
            edges.append(HeardEdge(at_ns, released))
            judged.append(HeardFrame(at_ns, end, 0.02, -1, -1, 0.0))
            continue
        judged.append(HeardFrame(at_ns, end, 0.95, onset, end, 0.95))
    return Heard(tuple(edges), tuple(judged))


def call_of(rng: np.random.Generator, settings: TurnSettings, heard: Heard) -> VirtualCall:
    """The agent has spoken for any time; packets leave at any phase."""
    return VirtualCall(
        settings,
        heard,
        agent(),
        phase_ns=int(rng.integers(PACKET_NS)),
        before_ms=float(rng.uniform(350, 900)),
    )


def well_after_the_decision(call: VirtualCall) -> bool:
    decided_ns = call.interrupted_ns
    return decided_ns is not None and call.sent[-1].at_ns > decided_ns + 5 * PACKET_NS


def last_sound_ns(call: VirtualCall) -> int:
    return max(packet.at_ns for packet in call.sent if packet.pcm.any())


@pytest.mark.parametrize("policy", ["staged", "immediate"])
def test_nothing_stale_leaves_later_than_a_packet_after_the_decision(policy: str) -> None:
    seed = 20_265
    print("seed", seed)
    rng = np.random.default_rng(seed)
    settings = STAGED if policy == "staged" else IMMEDIATE
    late_ms = []
    for _ in range(RUNS):
        begin = int(rng.integers(1, 6))
        call = call_of(rng, settings, sounds((begin, begin + int(rng.integers(18, 30)))))
        call.run(well_after_the_decision)
        assert call.interrupted_ns is not None
        late_ms.append((last_sound_ns(call) - call.interrupted_ns) / 1e6)
        assert call.heard_text == heard_by_the_far_end(call)
    assert len(late_ms) == RUNS
    assert max(late_ms) <= 20
    # Under the staged policy the agent was silent by then: that is what the duck is for.
    assert (max(late_ms) < 0) is (policy == "staged")


def heard_by_the_far_end(call: VirtualCall) -> str:
    """The words of which half was played as they were written: all before the fade."""
    played, pcm = call.played(), agent().pcm
    played = played[np.flatnonzero(played)[0] :]
    length = min(len(played), len(pcm))
    full = int(np.argmin(played[:length] == pcm[:length]))
    words = [w for w in agent().words if w.sample + WORD / 2 <= full]
    return agent().text[: words[-1].char_end] if words else ""


def test_who_was_no_interruption_costs_no_sample() -> None:
    seed = 20_266
    print("seed", seed)
    rng = np.random.default_rng(seed)
    for _ in range(RUNS // 2):
        begin, length = int(rng.integers(1, 6)), int(rng.integers(1, 8))
        call = call_of(rng, STAGED, sounds((begin, begin + length)))
        call.run(lambda one: one.state is State.LISTENING and len(one.sent) > 90)
        assert len(call.times(act.Hold)) == len(call.times(act.Resume)) == 1
        assert call.interrupted_ns is None
        assert_whole(call.played())
        assert call.heard_text == agent().text


def assert_whole(played: Pcm) -> None:
    """What was sent is what was written, but for one silence and the ramps around it."""
    pcm = agent().pcm
    sound = np.flatnonzero(played)
    played = played[sound[0] : sound[-1] + 1]
    # The first samples of a fade-out may be what they were, rounded.
    held = int(np.argmin(played[: len(pcm)] == pcm[: len(played)])) // FRAME * FRAME
    rest = len(pcm) - held
    back = len(played) - rest
    assert back >= held + FRAME
    # The fade-out is of what is then sent again, faded in.
    assert not played[held + FADE : back].any()
    assert np.array_equal(played[back + FADE :], pcm[held + FADE :])
    for ramp in (played[held : held + FADE], played[back : back + FADE]):
        full = np.abs(pcm[held : held + FADE].astype(int))
        assert np.all(np.abs(ramp.astype(int)) <= full)


def test_the_agent_is_silent_within_a_packet_of_the_first_sign() -> None:
    seed = 20_267
    print("seed", seed)
    rng = np.random.default_rng(seed)
    for _ in range(100):
        call = call_of(rng, STAGED, sounds((2, 12)))
        call.run(lambda one: bool(one.times(act.Resume)))
        (held_ns,) = call.times(act.Hold)
        (resumed_ns,) = call.times(act.Resume)
        loud = [p.at_ns for p in call.sent if p.pcm.any() and held_ns <= p.at_ns < resumed_ns]
        # One packet with the fade-out, and that at once.
        assert len(loud) == 1
        assert loud[0] - held_ns <= PACKET_NS


def test_two_sounds_hold_twice_and_lose_nothing() -> None:
    rng = np.random.default_rng(20_268)
    call = call_of(rng, STAGED, sounds((2, 4), (30, 33)))
    call.run(lambda one: one.state is State.LISTENING and len(one.sent) > 90)
    assert len(call.times(act.Hold)) == len(call.times(act.Resume)) == 2
    played, pcm = call.played(), agent().pcm
    sent = np.flatnonzero(played)
    # Twice 10 ms were sent twice, faded out and faded in.
    assert len(sent) <= len(pcm) + 2 * FADE
    assert np.array_equal(played[sent[-1] + 1 - 4000 : sent[-1] + 1], pcm[-4000:])
    assert call.heard_text == agent().text


def test_the_same_call_twice_is_decided_identically() -> None:
    logs = []
    for _ in range(2):
        call = call_of(np.random.default_rng(5), STAGED, sounds((2, 6), (9, 30)))
        call.run(lambda one: one.state is State.HEARING)
        logs.append(call.log)
    assert logs[0] == logs[1]
