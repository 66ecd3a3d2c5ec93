"""Makes what a probe says: src/voicecore/service/probe/phrase.wav.

Spoken by espeak-ng (its wheel espeakng-loader, by our own adapter), so it is nobody's voice
and nobody's recording; the sound a synthesiser makes is not covered by its licence. 8 kHz
mu-law: all that a recogniser for telephones wants, in 12 KB.

    python scripts/make_probe_phrase.py            # writes it anew
    python scripts/make_probe_phrase.py --check    # fails if it would become another
"""

from __future__ import annotations

import asyncio
import struct
import sys
from pathlib import Path

import numpy as np

from voicecore._native.g711 import ulaw_encode
from voicecore._native.resample import Resampler
from voicecore.engines.tts.espeak import EspeakTts

TEXT = "Hello, can you hear me?"
"""What an agent can answer without doing anything."""
VOICE, SPEED_WPM = "en-us", 150
RATE_HZ = 8_000
MARGIN = RATE_HZ // 20
PEAK = 16_384
TARGET = Path(__file__).parents[1] / "src/voicecore/service/probe/phrase.wav"


async def spoken() -> np.ndarray:
    """The phrase as int16 at 8 kHz, 50 ms of silence at its ends."""
    tts = EspeakTts(VOICE, speed_wpm=SPEED_WPM)
    await tts.start()
    try:
        pcm = np.concatenate([chunk.pcm async for chunk in tts.speak(TEXT)])
    finally:
        await tts.close()
    resampler = Resampler(tts.rate_hz, RATE_HZ)
    pcm = np.concatenate([resampler.process(pcm), resampler.flush()]).astype(np.float64)
    loud = np.flatnonzero(np.abs(pcm) > np.abs(pcm).max() / 50)
    pcm = pcm[max(loud[0] - MARGIN, 0) : loud[-1] + MARGIN]
    return np.rint(pcm * (PEAK / np.abs(pcm).max())).astype(np.int16)


def wav(ulaw: bytes) -> bytes:
    """``ulaw`` as a WAV file (format 7, ITU-T G.711 mu-law)."""
    form = struct.pack("<HHIIHHH", 7, 1, RATE_HZ, RATE_HZ, 1, 8, 0)
    fact = struct.pack("<I", len(ulaw))
    chunks = [(b"fmt ", form), (b"fact", fact), (b"data", ulaw + b"\xff" * (len(ulaw) % 2))]
    body = b"".join(name + struct.pack("<I", len(data)) + data for name, data in chunks)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WAVE" + body


def main() -> int:
    """Write the file, or compare it."""
    made = wav(ulaw_encode(asyncio.run(spoken())))
    if "--check" in sys.argv[1:]:
        same = TARGET.is_file() and TARGET.read_bytes() == made
        print(f"{TARGET.name}: {'as this script makes it' if same else 'is another'}")
        return 0 if same else 1
    TARGET.write_bytes(made)
    print(f"{TARGET.name}: {len(made)} bytes, {len(made) / RATE_HZ:.2f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
