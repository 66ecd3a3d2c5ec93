"""A streaming transducer for sherpa-onnx that hears tones: 500 Hz is "LOWER", 2 kHz "HIGH".

Its encoder is a matrix over the mean of nine log-mel frames, its decoder a table of what
may follow what, its joiner a sum: in form an LSTM transducer as icefall exports it (names
of metadata and shapes as sherpa-onnx's online-lstm-transducer-model.cc reads them).
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines import onnx_bytes as b

LOW_HZ, HIGH_HZ = 500, 2000
RATE_HZ = 16_000
TOKENS = ("<blk>", "▁LOW", "ER", "▁HIGH")

FLOAT, INT64 = 1, 7
_MELS = 80
_NEVER = -100.0


def write_transducer(directory: Path) -> Path:
    directory.mkdir(exist_ok=True)
    (directory / "tokens.txt").write_text(
        "".join(f"{token} {number}\n" for number, token in enumerate(TOKENS)), encoding="utf-8"
    )
    for name, data in (("encoder", _encoder()), ("decoder", _decoder()), ("joiner", _joiner())):
        (directory / f"{name}-tones.onnx").write_bytes(data)
    return directory


def tone(hz: float, ms: int) -> NDArray[np.int16]:
    at = np.arange(RATE_HZ * ms // 1000) / RATE_HZ
    return (8000 * np.sin(2 * np.pi * hz * at)).astype(np.int16)


def silence(ms: int) -> NDArray[np.int16]:
    return np.zeros(RATE_HZ * ms // 1000, np.int16)


def _mel(hz: float) -> float:
    return 1127.0 * math.log(1.0 + hz / 700.0)


def _bins(hz: float) -> slice:
    """The filters about ``hz`` of 80 from 20 to 7600 Hz."""
    at = (_mel(hz) - _mel(20)) / (_mel(7600) - _mel(20)) * (_MELS + 1) - 1
    return slice(round(at) - 1, round(at) + 2)


def _encoder() -> bytes:
    levels = np.zeros((_MELS, len(TOKENS)), np.float32)
    for column, hz in ((1, LOW_HZ), (2, LOW_HZ), (3, HIGH_HZ)):
        levels[_bins(hz), column] = 1 / 3
        levels[:, column] -= 1 / _MELS
    nodes = [
        b.node("ReduceMean", ["x"], ["mean"], _ints("axes", 1), _int("keepdims", 1)),
        b.node("MatMul", ["mean", "levels"], ["encoder_out"]),
        b.node("Identity", ["h"], ["next_h"]),
        b.node("Identity", ["c"], ["next_c"]),
    ]
    inputs = [
        b.value("x", FLOAT, ["N", 9, _MELS]),
        b.value("h", FLOAT, [1, "N", 1]),
        b.value("c", FLOAT, [1, "N", 1]),
    ]
    facts = {
        "model_type": "lstm",
        "num_encoder_layers": 1,
        "T": 9,
        "decode_chunk_len": 4,
        "rnn_hidden_size": 1,
        "d_model": 1,
    }
    return _model(nodes, {"levels": levels}, inputs, ["encoder_out", "next_h", "next_c"], facts)


def _decoder() -> bytes:
    follows = np.array(
        [
            [5, 0, _NEVER, 0],
            [5, _NEVER, 0, 0],
            [5, _NEVER, _NEVER, 0],
            [5, 0, _NEVER, _NEVER],
        ],
        np.float32,
    )
    nodes = [
        b.node("Gather", ["y", "last"], ["token"], _int("axis", 1)),
        b.node("Gather", ["follows", "token"], ["decoder_out"], _int("axis", 0)),
    ]
    constants = {"follows": follows, "last": np.array(1, np.int64)}
    facts = {"vocab_size": len(TOKENS), "context_size": 2}
    return _model(nodes, constants, [b.value("y", INT64, ["N", 2])], ["decoder_out"], facts)


def _joiner() -> bytes:
    nodes = [b.node("Add", ["encoder_out", "decoder_out"], ["logit"])]
    inputs = [b.value(name, FLOAT, ["N", len(TOKENS)]) for name in ("encoder_out", "decoder_out")]
    return _model(nodes, {}, inputs, ["logit"], {"joiner_dim": len(TOKENS)})


def _ints(name: str, *values: int) -> bytes:
    return b.attribute(name, b"".join(b.number(8, v) for v in values) + b.number(20, 7))


def _int(name: str, value: int) -> bytes:
    return b.attribute(name, b.number(3, value) + b.number(20, 2))


def _model(nodes, constants, inputs, outputs, facts) -> bytes:
    held = [
        b.tensor(name, array, INT64 if array.dtype == np.int64 else FLOAT)
        for name, array in constants.items()
    ]
    graph = b.graph(nodes, held, inputs) + b.part(2, "g")
    graph += b"".join(b.part(12, b.part(1, name)) for name in outputs)
    told = b"".join(b.part(14, b.part(1, k) + b.part(2, str(v))) for k, v in facts.items())
    return b.model(graph) + b.part(8, b.part(1, "") + b.number(2, 13)) + told
