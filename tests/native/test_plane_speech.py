"""Speech edges of the media threads equal those found later over the same samples."""

from __future__ import annotations

import wave

import numpy as np
import pytest

from native.plane_kit import OPUS, Call, End, Wire, make_outbound, try_until_undisturbed, wait_for
from native.silero_worker import frames_of
from native.test_speech_gate import FRAME, recordings
from voicecore._native import opus, plane, speech_gate
from voicecore._native.inbound import Inbound
from voicecore._native.rtp import header
from voicecore._native.silero import SileroScorer, SileroWeights
from voicecore._native.speech_gate import SpeechGate
from voicecore.engines.vad.model_file import find_model
from voicecore.engines.vad.silero_graph import read_weights
from voicecore.errors import MissingLibraryError

SECONDS = 5
RING_MS = 8000


@pytest.fixture(scope="module")
def weights() -> SileroWeights:
    try:
        return SileroWeights(16_000, read_weights(find_model().data, 16_000))
    except MissingLibraryError as error:
        pytest.skip(str(error))


def edges_of(
    call: Call, weights: SileroWeights, samples: int
) -> tuple[list[tuple[int, int]], SpeechGate]:
    """One frame after the other, as they stand in the ring; and the gate after the last."""
    heard = call.at_b.inbound.ring.copy(0, samples).astype(np.float32) / 32768.0
    scorer, state = SileroScorer(weights), np.zeros((2, 1, 128), np.float32)
    gate, edges = SpeechGate(), []
    for i, frame in enumerate(frames_of(heard, 16_000)):
        start, end = i * FRAME, (i + 1) * FRAME
        probability = scorer.score([frame], [state])[0]
        if 2 * call.at_b.concealed(start, end) >= FRAME:
            edges += gate.hold(start, end)
        else:
            edges += gate.push(probability, start, end, speech_gate.powers(frame[64:]))
    return edges, gate


@pytest.mark.slow
def test_edges_are_those_of_the_gate_over_the_same_samples(weights: SileroWeights) -> None:
    if not recordings():
        pytest.skip("no recordings found")
    try_until_undisturbed(lambda: check_edges(weights))


def check_edges(weights: SileroWeights) -> bool:
    """Whether no stall looked like a pause, for which a frame goes unscored."""
    a, b = End(), End(vad=weights)
    calls = []
    for path in recordings():
        with wave.open(str(path)) as file:
            pcm = np.frombuffer(file.readframes(SECONDS * 16_000), np.int16)
        outbound = make_outbound(rate_hz=16_000, bitrate_bps=64_000)
        inbound = Inbound(opus_pt=OPUS, ring_ms=RING_MS)
        calls.append(
            Call(
                a,
                b,
                settings_a={"outbound": outbound},
                settings_b={"vad": True, "inbound": inbound},
            )
        )
        outbound.write(pcm, 0)
    wait_for(lambda: len(a.of(plane.DRAINED)) == len(calls), a, b)
    for call in calls:
        call.at_b.wake_at(call.at_b.inbound.ring.position + 2 * FRAME)
    wait_for(lambda: len(b.of(plane.AUDIO)) == len(calls), a, b)
    found, undisturbed = 0, True
    for call in calls:
        call.at_b.unroute()
        judged, told, *voice = call.at_b.voice()
        wait_for(lambda call=call, told=told: len(edges_told(call)) >= told, b)  # type: ignore[misc]
        edges = edges_told(call)[:told]
        if call.at_b.inbound.stats()["paused_ms"]:
            undisturbed = False
            continue
        expected, gate = edges_of(call, weights, judged)
        assert edges == expected
        assert voice == pytest.approx(gate.voice, abs=1e-3), "scored in company: other sums"
        assert voice[3] > 0.35, "of the last utterance"
        for event in b.of(plane.ONSET, call.peer_b):
            assert abs(event[3] - call.at_b.time_of(event[2])) < 200_000_000
        found += told
    assert found >= 9 or not undisturbed
    counters = b.threads.counters()
    assert counters["vad_frames"] >= counters["vad_rounds"] > 0
    assert counters["events_lost"] == 0
    a.threads.close()
    b.threads.close()
    return undisturbed


def edges_told(call: Call) -> list[tuple[int, int]]:
    kinds = {
        plane.ONSET: speech_gate.ONSET,
        plane.CONFIRMED: speech_gate.CONFIRMED,
        plane.RELEASED: speech_gate.RELEASED,
    }
    return [(kinds[e[0]], e[2]) for e in call.b.events if e[0] in kinds and e[1] == call.peer_b]


def test_pauses_of_callers_are_not_scored(weights: SileroWeights) -> None:
    end = End(vad=weights)
    wire = Wire(end, vad=True)
    encoder = opus.Encoder(16_000, application="voip", bitrate_bps=24_000)
    for sequence in range(8):
        payload = encoder.encode(np.zeros(320, np.int16)) if sequence < 7 else b"\x48"
        wire.send_rtp(header(OPUS, sequence, sequence * 960, 7) + payload)
    wait_for(lambda: wire.session.judged()[0] >= 16_000, end)
    counters = end.threads.counters()
    # 140 ms were sound as far as he says; what touches them is scored.
    assert counters["vad_frames"] == 5
    assert counters["vad_paused"] >= (16_000 - 5 * FRAME) // FRAME
    assert wire.session.pause_end(16_000) > 16_000
    assert wire.session.judged()[1] == 0
    wire.close()
    end.threads.close()
