"""How the agent's voice is sent, by what the network does to it: a pure function.

::

                    loss of 2%                      loss of 5%
        CLEAN  ------------------->  LOSSY  ------------------->  HEAVY
      CELT, the     within one       RED, else   within one        RED and FEC,
      configured     report          FEC          report           a lower bit rate
      bit rate  <-------------------        <-------------------
                  8 s below 1%                  8 s below 3%
                     <------------------------------------ (both at once)

Raising needs one report, lowering eight quiet seconds: a cycle takes more than that, so the
encoder is never switched to and fro in less. Beside the level stands a ceiling for all that is
sent: delay or jitter that rise while packets are lost say that the network is full, and more
bytes would only be lost too. It falls by a quarter at a time and rises again slowly.

RED goes first because it costs no encode (twice the bytes instead), where the far end takes it
and the ceiling has room. In-band FEC makes the encoder leave CELT for SILK, whose band is then
held at 8 kHz: that sounds better than hybrid at the same bit rate and costs less. Copies both
inside the packet and beside it mend a burst of two. What is chosen, with PESQ-WB for bursts of
exactly two (``bench/load/encoding.py`` measures it again; CPU in relation to the first row):

=============================  ====  =======  ==============================
setting (libopus, 24 kHz in)   CPU   kb/s     PESQ clean, at 5% / 10% loss
=============================  ====  =======  ==============================
CELT 64k                       1.0   64       4.47, 3.10 / 2.56
CELT 64k and RED               1.0   128      4.47, 3.61 / 3.27
FEC 64k, 8 kHz                 1.9   62       4.52, 3.71 / 3.15
FEC 48k, 8 kHz, and RED        2.1   92       4.46, 4.37 / 4.28
hybrid FEC 32k, complexity 5   6.4   31       4.32, 3.58 / 3.02
=============================  ====  =======  ==============================
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum

from voicecore.core.units import NS_PER_S

LOSSY = 0.015
"""Loss that raises: low enough for a true 2% to be seen although samples of it scatter. One
packet lost in a window of 50 is 2%; a receiver report tells of some 250."""

CLEAN = 0.01
"""Loss below which a window is clean. Between this and LOSSY the level holds."""

HEAVY = 0.05
"""Loss at which two packets in a row are often gone, which one copy doesn't mend."""

CALM = 0.03
"""Loss below which it is no longer heavy."""

WINDOW_PACKETS = 50
"""Reports are added up until they tell of so many (one second): one loss is then the 2%. To
raise nobody waits for the rest of them, to be clean they must all be known."""

HOLD_NS = 8 * NS_PER_S
"""Quiet time before a level is left. Receiver reports come up to 6.5 s apart, and it must be
noticed within 15 s of the first clean one."""

FEC_WINDOWS = 3
FEC_LOSSES = 2
"""In-band FEC, dearer than RED, waits for so many losses in so many windows: one is chance."""

STEP_DOWN = 0.75
STEP_UP = 1.25
"""Of the ceiling."""

STEP_DOWN_NS = 2 * NS_PER_S
"""The effect of a step shows after a round trip and a window."""

STEP_UP_NS = 5 * NS_PER_S
"""Nor does the ceiling turn round in less than this."""

DELAY_RISE_MS = 60.0
"""Of the round trip over its least: a queue of three packets."""

JITTER_RISE_MS = 30.0
"""More than a packet and a half."""

BASE_DRIFT_MS_PER_S = 2.0
"""How fast the least round trip is forgotten: a route may change for good."""

FEC_EXPECTED_LOSS = 10
"""What the encoder is told, in per cent. It sends copies from 6 on (5 keeps CELT), and 20 takes
more from the voice than it gives back under any loss."""

FEC_BANDWIDTH_HZ = 8_000
CLEAN_BANDWIDTH_HZ = 20_000

FEC_BITRATE_BPS = 40_000
"""Below, the copies take too much from the voice; at 20,000 the encoder leaves them out."""

HEAVY_BITRATE_BPS = 48_000
"""With heavy loss: with RED hardly more than the clean network carried."""

LEAST_RED_BITRATE_BPS = 24_000
"""Below, the copy takes more from the voice than it gives back."""


class Level(IntEnum):
    """What the network was found to do."""

    CLEAN = 0
    LOSSY = 1
    HEAVY = 2


@dataclass(frozen=True, slots=True)
class NetworkReport:
    """What the far end said since the last report, and how busy we are.

    ``loss`` is a fraction of ``packets`` (0 packets: nothing new). ``round_trip_ms`` and
    ``jitter_ms`` (the far end's, RFC 3550) are negative where unknown. ``overload`` is 0 to 3.
    """

    loss: float = 0.0
    packets: int = 0
    round_trip_ms: float = -1.0
    jitter_ms: float = -1.0
    overload: int = 0


@dataclass(frozen=True, slots=True)
class SendLimits:
    """What is configured and negotiated for a call; constant while it lasts.

    ``bitrate_bps`` is the codec's on a clean network; ``max_bitrate_bps`` bounds all that is
    sent, redundancy included; ``min_bitrate_bps`` is as low as the codec goes (28,000 is the
    least at which complexity 0 still sends copies). ``complexity`` is CELT's, ``fec_complexity``
    that of SILK and hybrid. ``red`` and ``fec``: the far end takes them.
    """

    bitrate_bps: int = 64_000
    min_bitrate_bps: int = 28_000
    max_bitrate_bps: int = 128_000
    complexity: int = 0
    fec_complexity: int = 0
    red: bool = False
    fec: bool = True


@dataclass(frozen=True, slots=True)
class SendSettings:
    """What :meth:`Outbound.configure` takes."""

    bitrate_bps: int
    complexity: int
    fec: bool
    expected_loss_percent: int
    red: bool
    max_bandwidth_hz: int = CLEAN_BANDWIDTH_HZ


@dataclass(frozen=True, slots=True)
class SendState:
    """What is remembered of a call; begin with ``SendState()``.

    Times are 0 for never. ``loss`` is that of the last full window, ``recent`` the packets
    lost in it and those before, newest first; ``packets`` and ``lost`` are of the next one.
    """

    level: Level = Level.CLEAN
    loss: float = 0.0
    recent: tuple[float, ...] = ()
    packets: int = 0
    lost: float = 0.0
    clean_since_ns: int = 0
    calm_since_ns: int = 0
    fec_due: bool = False
    ceiling_bps: int = 0
    turned_ns: int = 0
    base_ms: float = -1.0
    seen_ns: int = 0


def decide(
    state: SendState, report: NetworkReport, limits: SendLimits, now_ns: int
) -> tuple[SendState, SendSettings]:
    """Take a report (or, with none, let time pass) and say how to send from now on.

    Call it once a second with what came since, sooner for a loss, and when ``overload``
    changes. 25 µs a call.
    """
    state = _follow_delay(state, report, now_ns)
    lost, packets = state.lost + report.loss * report.packets, state.packets + report.packets
    state = _raise(replace(state, lost=lost, packets=packets), report)
    if packets >= WINDOW_PACKETS:
        state = _step_down(_take_window(state, now_ns), report, limits, now_ns)
    state = _step_up(_quiet_down(state, now_ns), limits, now_ns)
    return state, _settings(state, report, limits)


def _raise(state: SendState, report: NetworkReport) -> SendState:
    """Raise the level to what a window loses, or will at least lose when it is full.

    A window that ended with this report is looked at too, lest clean packets before the report
    thin what it says.
    """
    loss = max(
        report.loss * report.packets / max(report.packets, WINDOW_PACKETS),
        state.lost / max(state.packets, WINDOW_PACKETS),
    )
    level = Level.HEAVY if loss >= HEAVY else Level.LOSSY if loss >= LOSSY else Level.CLEAN
    if level is Level.CLEAN:
        return state
    # Half a packet of slack, since fractions come rounded (in 256ths).
    fec_due = state.fec_due or state.lost + sum(state.recent) > FEC_LOSSES - 0.5
    return replace(
        state,
        level=max(level, state.level),
        fec_due=fec_due,
        clean_since_ns=0,
        calm_since_ns=state.calm_since_ns if loss < CALM else 0,
    )


def _take_window(state: SendState, now_ns: int) -> SendState:
    loss = state.lost / state.packets
    return replace(
        state,
        loss=loss,
        recent=(state.lost, *state.recent)[: FEC_WINDOWS - 1],
        clean_since_ns=(state.clean_since_ns or now_ns) if loss < CLEAN else 0,
        calm_since_ns=(state.calm_since_ns or now_ns) if loss < CALM else 0,
        packets=0,
        lost=0.0,
    )


def _quiet_down(state: SendState, now_ns: int) -> SendState:
    def held(since_ns: int) -> bool:
        return since_ns > 0 and now_ns - since_ns >= HOLD_NS

    if state.level and held(state.clean_since_ns):
        return replace(state, level=Level.CLEAN, fec_due=False)
    if state.level is Level.HEAVY and held(state.calm_since_ns):
        return replace(state, level=Level.LOSSY)
    return state


# -- the ceiling --------------------------------------------------------------------------------


def _follow_delay(state: SendState, report: NetworkReport, now_ns: int) -> SendState:
    """Keep the least round trip, slowly forgotten."""
    passed_s = (now_ns - state.seen_ns) / NS_PER_S if state.seen_ns else 0.0
    base_ms = state.base_ms
    if base_ms >= 0:
        base_ms += BASE_DRIFT_MS_PER_S * passed_s
    if report.round_trip_ms >= 0:
        base_ms = report.round_trip_ms if base_ms < 0 else min(base_ms, report.round_trip_ms)
    return replace(state, base_ms=base_ms, seen_ns=now_ns)


def _is_full(state: SendState, report: NetworkReport) -> bool:
    """Whether a queue has built up somewhere: loss alone may be a bad radio link."""
    if state.loss < LOSSY:
        return False
    delayed = report.round_trip_ms >= 0 and report.round_trip_ms - state.base_ms > DELAY_RISE_MS
    return delayed or report.jitter_ms > JITTER_RISE_MS


def _step_down(
    state: SendState, report: NetworkReport, limits: SendLimits, now_ns: int
) -> SendState:
    if not _is_full(state, report):
        return state
    if state.ceiling_bps and now_ns - state.turned_ns < STEP_DOWN_NS:
        return state
    # From what is sent now: a ceiling above it would take steps without an effect.
    settings = _settings(state, report, limits)
    sent_bps = settings.bitrate_bps * (2 if settings.red else 1)
    ceiling_bps = max(int(sent_bps * STEP_DOWN), limits.min_bitrate_bps)
    return replace(state, ceiling_bps=ceiling_bps, turned_ns=now_ns)


def _step_up(state: SendState, limits: SendLimits, now_ns: int) -> SendState:
    if not state.ceiling_bps or now_ns - state.turned_ns < STEP_UP_NS:
        return state
    if not state.clean_since_ns:
        return state
    ceiling_bps = int(state.ceiling_bps * STEP_UP)
    if ceiling_bps >= limits.max_bitrate_bps:
        ceiling_bps = 0
    return replace(state, ceiling_bps=ceiling_bps, turned_ns=now_ns)


# -- settings -----------------------------------------------------------------------------------


def _settings(state: SendState, report: NetworkReport, limits: SendLimits) -> SendSettings:
    ceiling_bps = min(state.ceiling_bps or limits.max_bitrate_bps, limits.max_bitrate_bps)
    bitrate_bps = min(limits.bitrate_bps, ceiling_bps)
    complexity = 0 if report.overload else limits.complexity
    if state.level is Level.CLEAN:
        return SendSettings(_bounded(bitrate_bps, limits), complexity, False, 0, False)
    heavy = state.level is Level.HEAVY
    if heavy:
        bitrate_bps = min(bitrate_bps, HEAVY_BITRATE_BPS)
    red, bitrate_bps = _with_red(bitrate_bps, ceiling_bps, report, limits)
    fec = limits.fec and _is_fec_worth_it(state, report, red=red)
    if not fec:
        return SendSettings(_bounded(bitrate_bps, limits), complexity, False, 0, red)
    if not red:
        bitrate_bps = max(bitrate_bps, min(FEC_BITRATE_BPS, ceiling_bps))
    return SendSettings(
        bitrate_bps=_bounded(bitrate_bps, limits),
        complexity=0 if report.overload else limits.fec_complexity,
        fec=True,
        expected_loss_percent=FEC_EXPECTED_LOSS,
        red=red,
        max_bandwidth_hz=FEC_BANDWIDTH_HZ,
    )


def _with_red(
    bitrate_bps: int, ceiling_bps: int, report: NetworkReport, limits: SendLimits
) -> tuple[bool, int]:
    """Whether RED has room, and the codec's bit rate then.

    Under overload the bit rate gives way, because the other choice, FEC, costs CPU.
    """
    if not limits.red:
        return False, bitrate_bps
    if bitrate_bps * 2 <= ceiling_bps:
        return True, bitrate_bps
    if report.overload and ceiling_bps // 2 >= LEAST_RED_BITRATE_BPS:
        return True, ceiling_bps // 2
    return False, bitrate_bps


def _is_fec_worth_it(state: SendState, report: NetworkReport, *, red: bool) -> bool:
    if red:
        return state.level is Level.HEAVY and report.overload == 0
    if report.overload >= 2:  # CELT and its concealment cost the least
        return False
    return state.level is Level.HEAVY or state.fec_due


def _bounded(bitrate_bps: int, limits: SendLimits) -> int:
    return max(limits.min_bitrate_bps, min(bitrate_bps, limits.max_bitrate_bps))
