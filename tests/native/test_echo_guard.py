"""The echo guard: against plain NumPy; echoes, double talk and voices through codecs and a room."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from native.echo_oracle import PlainGuard, lowpass
from turns import echo_path
from turns.echo import LATE_FRAMES, ways
from turns.echo_path import (
    HEAR_HZ,
    START_NS,
    Judged,
    agent_voice,
    arriving,
    caller_voice,
    concealed_ms,
    double_talk,
    echo_of,
    lost_in,
    without_echo,
)
from voicecore._native.echo import EchoGuard
from voicecore._native.speech_gate import ONSET
from voicecore.errors import MissingLibraryError, MisuseError

Floats = NDArray[np.float64]
FRAME = 512
CHECKED = os.environ.get("VOICECORE_BUILD", "release") != "release"
"""A build with checks in it is slow, and looks for other faults: a few seeds do."""
SEEDS = range(2 if CHECKED else 8)
TALKS = 3 if CHECKED else 20


@pytest.fixture
def voices() -> None:
    """The agent's voice, a person's, a room, and Silero: or skip."""
    try:
        agent_voice(0)
        caller_voice()
        echo_path.scored(echo_path.framed(np.zeros(FRAME, np.int16)))
    except (FileNotFoundError, MissingLibraryError) as error:
        pytest.skip(str(error))


def murmur(rng: np.random.Generator, rate_hz: int, seconds: float) -> Floats:
    """Noise with the spectrum and the syllables of speech, at -20 dBFS or so."""
    n = int(rate_hz * seconds)
    spectrum = np.fft.rfft(rng.normal(0, 1, n))
    hz = np.fft.rfftfreq(n, 1 / rate_hz)
    shape = np.where(hz < 100, 0, 1 / (1 + (hz / 600) ** 2))
    syllables = np.repeat(rng.uniform(0, 1, int(seconds * 6) + 1) ** 2, rate_hz // 6 + 1)[:n]
    noise = np.fft.irfft(spectrum * shape, n) * (0.02 + syllables)
    return noise / np.abs(noise).max() * 0.5


def int16(x: Floats) -> NDArray[np.int16]:
    return np.clip(np.rint(x * 32768), -32768, 32767).astype(np.int16)


class Asked:
    """A guard and the oracle, asked about each frame of the same call."""

    def __init__(
        self, sent: Floats, came: Floats, rate_hz: int, lost: NDArray[np.bool_] | None = None
    ) -> None:
        self.guard = EchoGuard(rate_hz)
        plain = PlainGuard(int16(sent) / 32768, rate_hz // 4000, START_NS // 250_000)
        pcm, frames = int16(sent), echo_path.framed(int16(came))
        guessed = concealed_ms(np.zeros(0, bool) if lost is None else lost, len(frames))
        taps, packet = lowpass(4), 0
        self.shares: list[tuple[float, float]] = []
        self.delays: list[tuple[float | None, float | None]] = []
        for i, frame in enumerate(frames):
            end = (i + 1) * FRAME
            at_ns = START_NS + end * 62_500
            while packet * 20_000_000 <= end * 62_500:
                echo_path.send(self.guard, pcm, packet)
                packet += 1
            self.guard.hear(frame, end, at_ns, guessed[i])
            thin = [frame[32 + 4 * k : 65 + 4 * k].astype(float) @ taps for k in range(128)]
            plain.hear(np.array(thin), end // 4, at_ns // 250_000, guessed[i])
            self.shares.append((self.guard.share(), plain.share()))
            self.delays.append((self.guard.delay_ms, plain.delay_ms))
        self.searches = (self.guard.searches, plain.searches)


@pytest.mark.parametrize("rate_hz", [8000, 16_000, 24_000, 48_000])
def test_it_is_what_plain_numpy_finds(rng: np.random.Generator, rate_hz: int) -> None:
    sent = murmur(rng, rate_hz, 4.0)
    played = sent[:: rate_hz // 8000].repeat(2) if rate_hz != 16_000 else sent
    delay = int(rng.uniform(0.03, 0.6) * HEAR_HZ)
    echo = np.concatenate([np.zeros(delay), 0.2 * played])[: 4 * HEAR_HZ]
    near = np.concatenate([np.zeros(2 * HEAR_HZ), murmur(rng, HEAR_HZ, 2.0)])
    came = echo + rng.choice([0.0, 0.3]) * near + rng.normal(0, 1e-4, len(echo))
    asked = Asked(sent, came, rate_hz)
    ours, theirs = np.array(asked.shares).T
    assert ours == pytest.approx(theirs, abs=2e-3)
    assert all(a == b for a, b in asked.delays)
    assert asked.searches[0] == asked.searches[1] > 0
    assert ours.max() > 0.9
    found = asked.delays[60][0]  # before anybody speaks over it
    assert found is not None
    assert found == pytest.approx(delay / 16, abs=6)


def guesses(rng: np.random.Generator, came: Floats, lost: NDArray[np.bool_]) -> Floats:
    """``came`` with what stands for its lost packets, as loud as they were."""
    packets = came[: len(came) // 320 * 320].reshape(-1, 320).copy()
    power = (packets**2).mean(axis=1, keepdims=True) ** 0.5
    packets[lost] = (power * rng.normal(0, 1, packets.shape))[lost]
    return packets.ravel()


def test_it_is_what_plain_numpy_finds_around_lost_packets(rng: np.random.Generator) -> None:
    sent = murmur(rng, 16_000, 4.0)
    echo = np.concatenate([np.zeros(3000), 0.2 * sent])[: len(sent)]
    lost = rng.random(200) < 0.08
    lost[110:118] = True  # for longer than a verdict stands
    asked = Asked(sent, guesses(rng, echo, lost), 16_000, lost)
    ours, theirs = np.array(asked.shares).T
    assert ours == pytest.approx(theirs, abs=2e-3)
    assert all(a == b for a, b in asked.delays)
    assert asked.searches[0] == asked.searches[1] > 0


def test_what_concealment_made_is_left_out(rng: np.random.Generator) -> None:
    sent = murmur(rng, 16_000, 4.0)
    echo = np.concatenate([np.zeros(3000), 0.2 * sent])[: len(sent)]
    lost = np.zeros(200, bool)
    lost[60::12] = True
    came = guesses(rng, echo, lost)
    told = np.array(Asked(sent, came, 16_000, lost).shares)[40:, 0]
    untold = np.array(Asked(sent, came, 16_000).shares)[40:, 0]
    assert told.min() > 0.8
    assert untold.min() < 0.6


def test_a_verdict_stands_for_a_while(rng: np.random.Generator) -> None:
    sent = murmur(rng, 16_000, 4.0)
    echo = np.concatenate([np.zeros(3000), 0.2 * sent])[: len(sent)]
    lost = np.zeros(200, bool)
    lost[100:150] = True
    asked = Asked(sent, guesses(rng, echo, lost), 16_000, lost)
    shares = [share for share, _ in asked.shares]
    assert shares[62] > 0.9
    first, last = 2000 // 32, 3000 // 32
    stood = set(shares[first + 3 : first + 8])
    assert len(stood) == 1
    assert stood.pop() > 0.9
    assert asked.guard.looks < len(shares) - (last - first - 4)


# -- our own voice -----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.usefixtures("voices")
@pytest.mark.parametrize("level_db", [0, -6, -10, -20, -30])
def test_our_own_voice_is_no_speech(level_db: float) -> None:
    fired = 0
    for index, way in ways(len(SEEDS), level_db, seed=7):
        sent = agent_voice(index)
        came = arriving(echo_of(sent, way), way)
        plain = Judged(came)
        guarded = Judged(came, sent, scores=plain.scores)
        assert guarded.guard is not None
        fired += bool(plain.confirmed())
        assert not guarded.confirmed(), way
        assert np.percentile(guarded.voiced_shares(), 5) > 0.7, way
        # The codecs and the packets of 20 ms take their time too.
        assert guarded.guard.delay_ms == pytest.approx(way.delay_ms + 22, abs=6)
    assert fired == len(SEEDS), "without the guard the agent would interrupt itself"


@pytest.mark.slow
@pytest.mark.usefixtures("voices")
@pytest.mark.parametrize(
    "change",
    [
        {"room": False},
        {"drift_ppm": 100.0},
        {"drift_ppm": -100.0},
        {"noise": 30.0},
    ],
    ids=str,
)
def test_other_rooms_clocks_and_codecs(change: dict[str, Any]) -> None:
    for index, way in ways(1 if CHECKED else 4, -20.0, seed=11):
        sent = np.concatenate([agent_voice(index + k) for k in range(3)])
        changed = replace(way, **change)
        judged = Judged(arriving(echo_of(sent, changed), changed), sent)
        assert not judged.confirmed(), changed
        assert np.percentile(judged.voiced_shares(), 10) > 0.6, changed


@pytest.mark.slow
@pytest.mark.usefixtures("voices")
def test_lost_packets_of_an_echo_are_no_speech() -> None:
    onsets = confirmed = untold = 0
    for index, way in ways(len(SEEDS), -10.0, seed=7, lost=0.02):
        sent = agent_voice(index)
        came = arriving(echo_of(sent, way), way)
        plain = Judged(came, sent)
        judged = Judged(came, sent, scores=plain.scores, lost=lost_in(way, came))
        confirmed += len(judged.confirmed())
        onsets += sum(kind == ONSET for _, kind, _ in judged.edges)
        untold += sum(kind == ONSET for _, kind, _ in plain.edges)
    assert confirmed <= 1
    assert onsets <= max(len(SEEDS) // 4, 1)
    assert untold > 2 * onsets


@pytest.mark.slow
@pytest.mark.usefixtures("voices")
def test_a_delay_that_jumps_is_found_again() -> None:
    for index, way in ways(1 if CHECKED else 4, -10.0, seed=13):
        sent = np.concatenate([agent_voice(index), agent_voice(index + 1)])
        echo, half = echo_of(sent, way), 5 * HEAR_HZ
        later = np.concatenate([echo[:half], np.zeros(int(0.13 * HEAR_HZ)), echo[half:]])
        judged = Judged(arriving(later, way), sent)
        assert judged.guard is not None
        assert judged.guard.delay_ms == pytest.approx(way.delay_ms + 22 + 130, abs=6)
        tail = judged.shares[(half + HEAR_HZ) // FRAME :]
        assert np.percentile([s for s in tail if s > 0], 10) > 0.7
        assert not [f for f in judged.confirmed() if f > (half + HEAR_HZ) // FRAME]


# -- the caller's --------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.usefixtures("voices")
@pytest.mark.parametrize(
    ("level_db", "ratio_db"),
    [(-20.0, None), (-20.0, 6.0), (-20.0, 0.0), (-10.0, -3.0), (0.0, 0.0), (0.0, -6.0)],
)
def test_who_speaks_over_the_echo_interrupts(level_db: float, ratio_db: float | None) -> None:
    told = counted = 0
    for index, way in ways(TALKS, level_db, seed=17):
        sent = agent_voice(index)
        echo, near = double_talk(sent, way, np.random.default_rng(index), ratio_db)
        alone = without_echo(way, near, len(echo)).confirmed()
        if not alone:
            continue
        counted += 1
        judged = Judged(arriving(echo, way, near), sent)
        begins = int(np.flatnonzero(near)[0]) // FRAME
        told += any(begins <= frame <= alone[0] + LATE_FRAMES for frame in judged.confirmed())
    assert counted >= 0.75 * TALKS
    share = 0.95 if ratio_db is None or ratio_db >= 0 else 0.8
    assert told >= (0.5 if CHECKED else share) * counted


@pytest.mark.slow
@pytest.mark.usefixtures("voices")
@pytest.mark.parametrize("lost", [0.02, 0.05])
def test_who_speaks_over_the_echo_interrupts_though_packets_are_lost(lost: float) -> None:
    told = counted = 0
    for index, way in ways(TALKS, -10.0, seed=17, lost=lost):
        sent = agent_voice(index)
        echo, near = double_talk(sent, way, np.random.default_rng(index), 0.0)
        alone = without_echo(way, near, len(echo)).confirmed()
        if not alone:
            continue
        counted += 1
        came = arriving(echo, way, near)
        judged = Judged(came, sent, lost=lost_in(way, came))
        begins = int(np.flatnonzero(near)[0]) // FRAME
        told += any(begins <= frame <= alone[0] + LATE_FRAMES for frame in judged.confirmed())
    assert counted >= 0.75 * TALKS
    assert told >= (0.5 if CHECKED else 0.8) * counted


@pytest.mark.usefixtures("voices")
def test_a_voice_without_an_echo_has_the_edges_it_had() -> None:
    """He begins when the agent has spoken for a while, as who interrupts does."""
    for index, way in ways(len(SEEDS), 0.0, seed=19):
        begins = index * HEAR_HZ
        said = caller_voice()[begins : begins + 4 * HEAR_HZ].astype(float)
        near = np.concatenate([np.zeros(int(2.5 * HEAR_HZ)), said])
        came = arriving(np.zeros(len(near)), way, near)
        plain = Judged(came)
        guarded = Judged(came, agent_voice(index), scores=plain.scores)
        assert guarded.edges == plain.edges
        assert np.percentile(guarded.voiced_shares(), 95) < 0.3
        assert guarded.guard is not None
        assert guarded.guard.looks > 0


@pytest.mark.usefixtures("voices")
def test_while_the_agent_is_silent_nothing_is_looked_at() -> None:
    came = caller_voice()[: 6 * HEAR_HZ]
    sent = agent_voice(0)[: 2 * 24_000]
    plain = Judged(came)
    silent = Judged(came, sent[:0], scores=plain.scores)
    assert silent.edges == plain.edges
    assert silent.guard is not None
    assert (silent.guard.looks, silent.guard.searches) == (0, 0)
    spoke = Judged(came, sent, scores=plain.scores)
    assert spoke.guard is not None
    # A window and the longest delay after its last word.
    most = (2.0 + 1.024 * 0.25 + 0.7 + 0.1) * HEAR_HZ / FRAME
    assert 0 < spoke.guard.looks <= most


# -- without recordings --------------------------------------------------------------------------


def heard(guard: EchoGuard, came: Floats, sent: Floats, shift: int = 0) -> list[float]:
    """The shares of all frames; ``shift`` is added to the caller's positions."""
    shares, packet = [], 0
    for i, frame in enumerate(echo_path.framed(int16(came))):
        end = (i + 1) * FRAME
        while packet * 20_000_000 <= end * 62_500:
            echo_path.send(guard, int16(sent), packet)
            packet += 1
        guard.hear(frame, end + shift, START_NS + end * 62_500)
        shares.append(guard.share())
    return shares


def test_where_the_callers_stream_began_is_no_matter(rng: np.random.Generator) -> None:
    sent = murmur(rng, 16_000, 3.0)
    came = np.concatenate([np.zeros(3000), 0.1 * sent])[: len(sent)]
    first = heard(EchoGuard(16_000), came, sent)
    assert heard(EchoGuard(16_000), came, sent, shift=1 << 30) == first
    assert max(first) > 0.9


def test_silence_explains_nothing_and_is_explained_by_nothing(rng: np.random.Generator) -> None:
    sent, quiet = murmur(rng, 16_000, 2.0), np.zeros(32_000)
    assert set(heard(EchoGuard(16_000), quiet, sent)) == {0.0}
    assert set(heard(EchoGuard(16_000), sent, quiet)) == {0.0}


def test_a_gap_in_either_stream_is_silence(rng: np.random.Generator) -> None:
    sent = murmur(rng, 16_000, 4.0)
    guard = EchoGuard(16_000)
    came = np.concatenate([np.zeros(1600), 0.3 * sent])
    shares = []
    for i, frame in enumerate(echo_path.framed(int16(came))):
        end = (i + 1) * FRAME
        for packet in range(i * 8 // 5, (i + 1) * 8 // 5):
            if not 50 <= packet < 75:
                echo_path.send(guard, int16(sent), packet)
        if not 40 <= i < 70:
            guard.hear(frame, end, START_NS + end * 62_500)
            shares.append(guard.share())
    assert shares[30] > 0.9
    assert shares[-1] > 0.9, "found again"


@pytest.mark.parametrize("rate_hz", [4000, 22_050, 44_100, 96_000])
def test_rates_out_of_range_are_refused(rate_hz: int) -> None:
    with pytest.raises(MisuseError, match="multiple of 4000"):
        EchoGuard(rate_hz)


@pytest.mark.parametrize(
    "misuse",
    [
        lambda g: g.sent(np.zeros(481, np.int16), 0),
        lambda g: g.sent(np.zeros(504, np.int16), 0),
        lambda g: g.sent(np.zeros(480, np.int16), -1),
        lambda g: g.hear(np.zeros(575, np.float32), 512, 0),
        lambda g: g.hear(np.zeros(576, np.float32), -1, 0),
        lambda g: g.hear(np.zeros(576, np.float32), 512, -1),
    ],
)
def test_misuse_is_refused(misuse: Callable[[EchoGuard], None]) -> None:
    guard = EchoGuard(24_000)
    with pytest.raises(MisuseError):
        misuse(guard)
    assert guard.delay_ms is None


def test_what_is_no_sound_is_refused() -> None:
    guard = EchoGuard()
    with pytest.raises(TypeError):
        guard.sent(np.zeros(480, np.float32), 0)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        guard.hear(np.zeros(576), 512, 0)  # type: ignore[arg-type]


def test_samples_that_are_no_numbers_explain_nothing(rng: np.random.Generator) -> None:
    sent = murmur(rng, 16_000, 2.0)
    guard = EchoGuard(16_000)
    heard(guard, np.concatenate([np.zeros(800), sent]), sent)
    for value in (math.nan, math.inf):
        guard.hear(np.full(576, value, np.float32), 70 * FRAME, START_NS + 2_100_000_000)
        assert 0.0 <= guard.share() <= 1.0
