from __future__ import annotations

import random

import pytest

from voicecore.engines.framing import (
    HEADER,
    MAX_PAYLOAD,
    Frame,
    FrameParser,
    FramingError,
    Kind,
    pack,
    pack_json,
)


def test_any_cut_gives_the_same_frames():
    seed = 20240
    print("seed", seed)
    rng = random.Random(seed)
    kinds = list(Kind)
    frames = [
        Frame(rng.choice(kinds), rng.randrange(1 << 32), rng.randbytes(rng.choice([0, 1, 8, 700])))
        for _ in range(200)
    ]
    data = b"".join(pack(*frame) for frame in frames)
    for largest in (1, 7, 64, 5000, len(data)):
        parser = FrameParser()
        got, position = [], 0
        while position < len(data):
            step = rng.randint(1, largest)
            got += parser.feed(data[position : position + step])
            position += step
        assert got == frames


def test_longest_payload_passes_and_one_more_byte_does_not():
    payload = bytes(MAX_PAYLOAD)
    assert FrameParser().feed(pack(Kind.AUDIO, 1, payload)) == [Frame(Kind.AUDIO, 1, payload)]
    with pytest.raises(ValueError, match="at most"):
        pack(Kind.AUDIO, 1, payload + b"\0")
    with pytest.raises(FramingError):
        FrameParser().feed(HEADER.pack(MAX_PAYLOAD + 1, Kind.AUDIO, 1))


@pytest.mark.parametrize("kind", [0, 9, 255])
def test_unknown_kind_is_refused(kind):
    with pytest.raises(FramingError):
        FrameParser().feed(HEADER.pack(0, kind, 1))


def test_json_payloads():
    (frame,) = FrameParser().feed(pack_json(Kind.EVENT, 3, {"text": "é"}))
    assert frame.json() == {"text": "é"}
    for bad in (b"[1]", b"{", b"\xff"):
        with pytest.raises(FramingError):
            Frame(Kind.EVENT, 3, bad).json()
