"""Tries an installed wheel: every kernel module, with ``[opus]`` a round trip of Opus too.

Without the extra (first argument empty) Opus must fail, with an error that names the choices.
"""

from __future__ import annotations

import ctypes.util
import importlib
import importlib.metadata
import pkgutil
import sys

import numpy as np

import voicecore
import voicecore._native as native
from voicecore.errors import MissingLibraryError

SPEECH = (8000 * np.sin(np.arange(4800) / 9)).astype(np.int16)


def imports() -> list[str]:
    """Import every native module; their names."""
    names = [module.name for module in pkgutil.iter_modules(native.__path__)]
    for name in names:
        importlib.import_module(f"voicecore._native.{name}")
    return names


def kernels() -> None:
    """A few kernels that need numpy alone, with known results."""
    from voicecore._native import g711
    from voicecore._native.jitter import JitterBuffer
    from voicecore._native.resample import Resampler
    from voicecore._native.ring import AudioRing

    ring = AudioRing(16_000)
    reader = ring.reader()
    ring.write(SPEECH)
    np.testing.assert_array_equal(reader.read(1600), SPEECH[:1600])
    assert len(Resampler(48_000, 16_000).process(SPEECH)) == 1600
    decoded = g711.ulaw_decode(g711.ulaw_encode(SPEECH)).astype(int)
    assert np.abs(decoded - SPEECH).max() <= 256
    jitter = JitterBuffer()
    jitter.push(1, 960, 0, b"packet")
    assert jitter.pop(0)[0] == "frame"


def opus_round_trip() -> str:
    """Encode and decode a frame; the library's version."""
    from voicecore._native.opus import Decoder, Encoder, library

    packet = Encoder(48_000).encode(SPEECH[:960])
    assert len(Decoder(16_000).decode(packet)) == 320
    return library()[1]


def opus_is_missing() -> str:
    """The error without any libopus, the system's included."""
    ctypes.util.find_library = lambda name: None  # type: ignore[assignment]
    try:
        said = opus_round_trip()
    except MissingLibraryError as error:
        said = str(error)
    if "pip install" not in said:
        raise SystemExit(f"no error that names the choices: {said}")
    return said


def main() -> None:
    """Run everything; any failure is an exception."""
    extra = sys.argv[1] if len(sys.argv) > 1 else ""
    others = [one.metadata["Name"] for one in importlib.metadata.distributions()]
    names = imports()
    kernels()
    said = opus_round_trip() if extra else opus_is_missing()
    print(f"voicecore{extra} with {', '.join(sorted(others))}: {len(names)} modules, kernels fine")
    print(f"  from {voicecore.__path__[0]}\n  opus: {said}")


if __name__ == "__main__":
    main()
