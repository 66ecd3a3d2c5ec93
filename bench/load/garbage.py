"""What a stranger may send to a media port: by seed, and from the corpus of a fuzzer."""

from __future__ import annotations

import random

from caller.speech import cases_dir

_KINDS = 5


def packets(seed: int, count: int = 4096) -> list[bytes]:
    """Random bytes, RTP and RTCP of nobody, broken STUN and DTLS, and what the corpus has."""
    rng = random.Random(seed)
    corpus = _corpus()
    made = []
    for i in range(count):
        kind = i % (_KINDS + bool(corpus))
        if kind == 0:
            made.append(rng.randbytes(rng.randrange(1, 1200)))
        elif kind == 1:
            made.append(bytes([0x80, 111]) + rng.randbytes(10 + rng.randrange(40, 180)))
        elif kind == 2:
            made.append(bytes([0x81, rng.randrange(200, 208), 0, 7]) + rng.randbytes(44))
        elif kind == 3:
            made.append(_stun(rng))
        elif kind == 4:
            made.append(bytes([rng.randrange(20, 64), 254, 253]) + rng.randbytes(60))
        else:
            made.append(rng.choice(corpus))
    return made


def _stun(rng: random.Random) -> bytes:
    """A binding request with the right cookie, a name nobody has and a length that may lie."""
    body = bytes([0, 6, 0, 9]) + rng.randbytes(9) + bytes(3) + rng.randbytes(rng.randrange(32))
    length = len(body) if rng.random() < 0.5 else rng.randrange(1 << 16)
    head = bytes([0, 1]) + length.to_bytes(2, "big") + bytes.fromhex("2112a442")
    return head + rng.randbytes(12) + body


def _corpus() -> list[bytes]:
    folder = cases_dir()
    if folder is None:
        return []
    files = sorted((folder / "fuzz_webrtc").glob("*-corpus__*"))
    found = [file.read_bytes()[:1400] for file in files if not file.name.startswith("mdns")]
    return [data for data in found if data]
