"""Speech, a pause, speech: do the first three frames after the pause come out at full level?

Silence is sent as a constant packet without encoding, which resets the far
end's decoder but not our encoder. The first frames of the next words must not
suffer: their level is compared with that of an encoder fed zeros throughout.
"""

from __future__ import annotations

import numpy as np
from aiortc.codecs.opus import OpusDecoder
from aiortc.jitterbuffer import JitterFrame
from numpy.typing import NDArray

from caller.speech import recordings
from report import Bar, Report
from voicecore._native.opus import Encoder
from voicecore._native.outbound import Outbound
from voicecore._native.resample import Resampler

RATE_HZ = 24_000
FRAME = RATE_HZ // 50
GAPS_MS = (60, 100, 500, 2000)
_HEADER_BYTES = 12
_AUDIBLE = 1e-4
"""Frames below −40 dBFS in the reference have no level to speak of."""


async def measure(report: Report) -> None:
    """Add the bar: the worst of all recordings and gaps."""
    worst = 0.0
    for name, pcm in recordings(4):
        resampler = Resampler(48_000, RATE_HZ)
        speech = np.concatenate([resampler.process(pcm), resampler.flush()])
        speech = speech[: len(speech) // FRAME * FRAME]
        for gap_ms in GAPS_MS:
            error_db = _error_db(speech, gap_ms)
            worst = max(worst, error_db)
            report.rows.append(
                {"name": "pause", "speech": name, "gap_ms": gap_ms, "error_db": round(error_db, 2)}
            )
    print(f"first three frames after a pause: off by {worst:.2f} dB at most")
    report.bars.append(Bar("level error of the first frames after a pause", worst, "dB", "<=", 3))


def _error_db(speech: NDArray[np.int16], gap_ms: int) -> float:
    gap = gap_ms // 20
    # The part after the pause begins in the middle of a loud stretch: the hardest case.
    power = (speech.reshape(-1, FRAME).astype(np.float64) ** 2).mean(axis=1)
    again = speech[int(power.argmax()) * FRAME :]
    ours = _decode(_send(speech, again, gap))
    reference = _decode(
        _encode_all(np.concatenate([speech, np.zeros(gap * FRAME, np.int16), again]))
    )
    first = len(speech) // FRAME + gap
    errors = [
        abs(10 * np.log10(_power(ours[i]) / _power(reference[i])))
        for i in range(first, min(first + 3, len(reference), len(ours)))
        if _power(reference[i]) > _AUDIBLE
    ]
    return float(max(errors, default=0.0))


def _send(speech: NDArray[np.int16], again: NDArray[np.int16], gap: int) -> list[bytes]:
    outbound = Outbound(
        codec="opus", payload_type=111, ssrc=1, sequence=0, timestamp=0, rate_hz=RATE_HZ
    )
    outbound.write(speech, outbound.generation)
    packets = [outbound.next_packet() for _ in range(len(speech) // FRAME + gap)]
    outbound.write(again, outbound.generation)
    packets += [outbound.next_packet() for _ in range(len(again) // FRAME)]
    outbound.close()
    return [packet[_HEADER_BYTES:] for packet in packets]


def _encode_all(pcm: NDArray[np.int16]) -> list[bytes]:
    encoder = Encoder(RATE_HZ, bitrate_bps=64_000, complexity=0)
    return [encoder.encode(frame) for frame in pcm.reshape(-1, FRAME)]


def _decode(payloads: list[bytes]) -> list[NDArray[np.float64]]:
    decoder = OpusDecoder()
    frames = []
    for i, payload in enumerate(payloads):
        (frame,) = decoder.decode(JitterFrame(data=payload, timestamp=i * 960))
        frames.append(frame.to_ndarray().reshape(-1).astype(np.float64) / 32768)
    return frames


def _power(frame: NDArray[np.float64]) -> float:
    return float((frame**2).mean()) + 1e-12
