"""The stages of a barge-in over all stimuli, beside "any speech interrupts".

The real session and the real playout in virtual time (``virtual_call``); the agent speaks a
steady tone, so its level is read off every packet. Times count from the stimulus's first speech
sample, words come as from a perfect recogniser. Bars are of the reporting half, which the policy's
thresholds were chosen with in view: fresh recordings would tell more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from report import Bar, Report
from turns.any_speech import by_group
from turns.corpus import Corpus
from turns.listening import due_ns
from turns.recogniser import by_reference
from turns.stimuli import Stimulus
from turns.virtual_call import FRAME, PACKET_NS, PLAY_HZ, AgentSpeech, SaidSoFar, VirtualCall
from voicecore.core import actions as act
from voicecore.core.turn_settings import TurnSettings

SEED = 13
STAGED = "staged"
POLICIES = {
    STAGED: TurnSettings(),
    "any speech interrupts": TurnSettings(bargein_policy="immediate"),
}
UNDISTURBED = ("backchannel", "backchannel_made", "cough_made", "breath", "keyboard", "city")
"""Groups that the bar names: they may not end the agent's sentence."""
FLUSH_MS = 500.0
STALE_RUNS = 1000
DOWN_DB = -12.0

_TONE_S = 12
_SETTLED_MS = 2500.0
"""So long after a stimulus every sound has been judged."""
_RAMP = PLAY_HZ // 100
_SUB = PLAY_HZ // 200


@dataclass(frozen=True)
class Outcome:
    """What became of one stimulus; ms after its first speech sample, None: it never happened.

    ``stale_ms``: from the decision to the last packet that still carried the agent's voice.
    ``exact``: whether what was played of an agent that went on is what it had to say.
    """

    stimulus: Stimulus
    duck_ms: float | None
    flush_ms: float | None
    stale_ms: float
    exact: bool


def measure(report: Report, corpus: Corpus) -> None:
    """One row a policy, half and group; bars of the staged policy."""
    for name, settings in POLICIES.items():
        print(
            f"\n{name:28}{'stimuli':>8}{'fires':>7}{'ducked':>8}{'duck ms':>9}{'p90':>6}"
            f"{'ended %':>9}{'ms':>6}{'p98':>6}"
        )
        outcomes = run_all(corpus.stimuli, settings)
        for half in ("tune", "report"):
            of_half = [o for o in outcomes if o.stimulus.half == half]
            _rows(report, name, half, of_half)
            if name == STAGED and half == "report":
                report.bars += _bars(of_half)
    _stale(report, corpus)


def _stale(report: Report, corpus: Corpus) -> None:
    """Seeded interruptions, under either policy: the last packet after the decision."""
    runs = 100 if corpus.quick else STALE_RUNS
    voices = [s for s in corpus.stimuli if s.group == "interruption" and s.fires]
    rng = np.random.default_rng(SEED)
    late = []
    for i in range(runs):
        settings = list(POLICIES.values())[i % 2]
        stimulus = voices[int(rng.integers(len(voices)))]
        outcome = run(stimulus, settings, int(rng.integers(0, PACKET_NS)))
        if outcome.flush_ms is not None:
            late.append(outcome.stale_ms)
    print(
        f"\n{len(late)} of {runs} seeded interruptions decided; decision to last stale packet:"
        f" median {np.median(late):.1f}, worst {max(late):.1f} ms"
    )
    report.rows.append({"part": "stale packets", "runs": runs, "decided": len(late)})
    report.bars += [
        Bar("decision to last stale packet, worst of seeded runs", max(late), "ms", "<=", 20),
        Bar("seeded runs of interruptions", runs, "", ">=", STALE_RUNS),
    ]


def run_all(stimuli: Sequence[Stimulus], settings: TurnSettings) -> list[Outcome]:
    """Every stimulus over a speaking agent, each at a packet phase of its own."""
    rng = np.random.default_rng(SEED)
    return [run(s, settings, int(rng.integers(0, PACKET_NS))) for s in stimuli]


def run(stimulus: Stimulus, settings: TurnSettings, phase_ns: int) -> Outcome:
    """One stimulus over a speaking agent."""
    first_ns = due_ns(stimulus.first)
    known = by_reference(stimulus.words, stimulus.heard)
    call = VirtualCall(
        settings,
        stimulus.heard,
        tone(),
        pcm=stimulus.pcm,
        texts=[SaidSoFar(k.at_ns, k.text) for k in known if not k.settled],
        final_text=stimulus.text or "",
        phase_ns=phase_ns,
    )
    settled_ns = due_ns(stimulus.last) + round(_SETTLED_MS * 1e6)
    # Five packets more show what still went out.
    call.run(
        lambda c: (c.interrupted_ns or settled_ns) + 5 * PACKET_NS < c.sent[-1].at_ns,
        most_ms=_TONE_S * 1000,
    )
    flushed_ns = call.interrupted_ns
    down_ns = _down_ns(call)
    return Outcome(
        stimulus,
        None if down_ns is None else (down_ns - first_ns) / 1e6,
        None if flushed_ns is None else (flushed_ns - first_ns) / 1e6,
        _stale_ms(call, flushed_ns),
        flushed_ns is not None or is_exact(call),
    )


@cache
def tone() -> AgentSpeech:
    """A steady tone, said to be words."""
    at = np.arange(_TONE_S * PLAY_HZ)
    pcm = (8000 * np.sin(2 * np.pi * 443 * at / PLAY_HZ)).astype(np.int16)
    return AgentSpeech("word " * 40, pcm)


# -- reading the far end's record ------------------------------------------------------------


def _down_ns(call: VirtualCall) -> int | None:
    """When the level is down by 12 dB: the first such 5 ms since the agent began."""
    begun = False
    for packet in call.sent:
        blocks = packet.pcm.reshape(-1, _SUB).astype(np.float64)
        level_db = 10 * np.log10(np.maximum((blocks**2).mean(axis=1), 1) / (8000**2 / 2))
        down = np.flatnonzero(level_db <= DOWN_DB)
        begun = begun or len(down) == 0
        if begun and len(down):
            return packet.at_ns + int(down[0]) * _SUB * 1_000_000_000 // PLAY_HZ
    return None


def _stale_ms(call: VirtualCall, flushed_ns: int | None) -> float:
    """From the decision to the last packet above -50 dBFS; 0: none came after it."""
    if flushed_ns is None:
        return 0.0
    loud = 32768 * 10 ** (-50 / 20)
    late = [
        packet.at_ns
        for packet in call.sent
        if packet.at_ns > flushed_ns and np.sqrt((packet.pcm.astype(float) ** 2).mean()) > loud
    ]
    return (late[-1] - flushed_ns) / 1e6 if late else 0.0


def is_exact(call: VirtualCall) -> bool:
    """Whether the far end's record is what was to be said: in order, no sample lost or doubled."""
    return played_samples(call) is not None


def played_samples(call: VirtualCall) -> int | None:
    """How many samples of what the agent has to say the far end played, read off its record.

    None if they aren't in order. The fade-out of a duck is heard beside them and isn't one of
    them, a fade-in is: a packet with a ramp is compared beyond it.
    """
    expected = call.coded
    position = ramps = 0
    for packet in call.sent:
        if not packet.pcm.any():
            continue
        # What is next to silent is sent as silence: nothing tells when it was played.
        rest = expected[position : position + FRAME]
        while len(rest) and _is_quiet(rest) and not np.array_equal(packet.pcm[: len(rest)], rest):
            position += FRAME
            rest = expected[position : position + FRAME]
        if np.array_equal(packet.pcm[: len(rest)], rest):
            position += len(rest)
        elif len(rest) > _RAMP and np.array_equal(packet.pcm[_RAMP : len(rest)], rest[_RAMP:]):
            position += len(rest)
            ramps += 1
        elif not packet.pcm[_RAMP:].any():
            ramps += 1
        else:
            return None
    return position if ramps <= 2 * len(call.times(act.Hold)) + 1 else None


def _is_quiet(pcm: NDArray[np.int16]) -> bool:
    return bool((np.abs(pcm.astype(np.int32)) <= 8).all())


# -- figures ---------------------------------------------------------------------------------


def _rows(report: Report, policy: str, half: str, outcomes: Sequence[Outcome]) -> None:
    for group, members in by_group([o.stimulus for o in outcomes]).items():
        names = {s.name for s in members}
        some = [o for o in outcomes if o.stimulus.name in names and o.stimulus.group == group]
        ducks, flushes = _sorted(o.duck_ms for o in some), _sorted(o.flush_ms for o in some)
        row = {
            "part": "barge-in stages",
            "policy": policy,
            "half": half,
            "group": group,
            "stimuli": len(some),
            "fires": sum(o.stimulus.fires for o in some),
            "ducked": len(ducks),
            "duck_ms_median": _at(ducks, 50),
            "duck_ms_p90": _at(ducks, 90),
            "ended_percent": 100 * len(flushes) / len(some),
            "flush_ms_median": _at(flushes, 50),
            "flush_ms_p98": _at(flushes, 98),
        }
        report.rows.append(row)
        print(
            f"  {half:8}{group:18}{row['stimuli']:>8}{row['fires']:>7}{row['ducked']:>8}"
            f"{_text(_at(ducks, 50)):>9}{_text(_at(ducks, 90)):>6}{row['ended_percent']:>9.0f}"
            f"{_text(_at(flushes, 50)):>6}{_text(_at(flushes, 98)):>6}"
        )


def _bars(outcomes: Sequence[Outcome]) -> list[Bar]:
    real = [o for o in outcomes if o.stimulus.group == "interruption" and o.stimulus.fires]
    no_matter = [o for o in outcomes if o.stimulus.group in UNDISTURBED]
    ducks = _sorted(o.duck_ms for o in real)
    kept = [o for o in no_matter if o.flush_ms is None]
    ended = [o for o in real if o.flush_ms is not None]
    in_time = [o for o in ended if (o.flush_ms or 0.0) <= FLUSH_MS]
    recorded = [o for o in no_matter if not o.stimulus.group.endswith("_made")]
    recorded_kept = [o for o in recorded if o.flush_ms is None]
    return [
        Bar("duck, median", _at(ducks, 50), "ms", "<=", 100),
        Bar("duck, p90", _at(ducks, 90), "ms", "<=", 180),
        Bar("backchannels and noises that don't end the sentence", _share(kept, no_matter),
            "%", ">=", 95),
        Bar("the same, recorded ones alone", _share(recorded_kept, recorded), "%", ">=", 95),
        Bar("... and it goes on exact to the sample", _share([o for o in kept if o.exact], kept),
            "%", ">=", 100),
        Bar("interruptions that end the sentence", _share(ended, real), "%", ">=", 98),
        Bar(f"... flushed within {FLUSH_MS:g} ms of the first speech sample",
            _share(in_time, real), "%", ">=", 98),
    ]  # fmt: skip


def _share(some: Sequence[Outcome], of: Sequence[Outcome]) -> float | None:
    return 100 * len(some) / len(of) if of else None


def _sorted(values: Iterable[float | None]) -> list[float]:
    return sorted(value for value in values if value is not None)


def _at(values: Sequence[float], percent: float) -> float | None:
    return float(np.percentile(values, percent)) if values else None


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"
