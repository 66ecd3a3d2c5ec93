"""The process in which sherpa-onnx decodes: several callers' utterances in turn."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from voicecore.core.transcript import SpokenWord
from voicecore.engines.framing import Kind
from voicecore.engines.stt.sherpa_files import OPTION, find_files
from voicecore.engines.stt.worker_utterance import (
    RATE_HZ,
    Reporter,
    Understood,
    serve_utterances,
)
from voicecore.engines.worker_side import Link, run_worker
from voicecore.errors import EngineError, MissingLibraryError

# A streaming encoder looks a chunk ahead; the project's own examples append as much.
TAIL_SAMPLES: Final = RATE_HZ * 660 // 1000
# Models tell when a token begins; how long a word's last one sounds is an estimate.
TOKEN_MS: Final = 160
# From here on a character is a word of its own (CJK radicals and what follows).
_FIRST_IDEOGRAPH: Final = "\u2e80"


class Recogniser:
    """The library's recogniser with one model, and how its texts are to be written."""

    def __init__(self, settings: dict[str, Any]) -> None:
        """Load the model and try it out, so that one of another kind is told at start."""
        try:
            import sherpa_onnx
        except ImportError as error:
            raise MissingLibraryError(
                'sherpa-onnx is not installed: pip install "voicecore[sherpa]"'
            ) from error
        found = find_files(Path(settings["model"]), settings["family"])
        make = getattr(sherpa_onnx.OnlineRecognizer, f"from_{found.family}", None)
        if make is None:
            raise MissingLibraryError(
                f"this sherpa-onnx knows no {found.family}: pip install -U sherpa-onnx"
            )
        try:
            self.online: Any = make(
                **found.arguments, num_threads=settings["threads"], provider="cpu"
            )
            self._try()
        except (RuntimeError, ValueError, AssertionError) as error:
            raise EngineError(
                f"sherpa: the model of {OPTION} did not load as a {found.family}: check that it "
                "is a streaming one, whole, and sherpa.family",
                engine="sherpa",
                code="stt_bad_model",
            ) from error
        self._capitals = _all_capitals(Path(found.arguments["tokens"]))

    def written(self, text: str) -> str:
        """Small letters, if the model has capitals alone."""
        text = text.strip()
        return text.lower() if self._capitals else text

    def _try(self) -> None:
        stream = self.online.create_stream()
        stream.accept_waveform(RATE_HZ, np.zeros(TAIL_SAMPLES, np.float32))
        stream.input_finished()
        while self.online.is_ready(stream):
            self.online.decode_stream(stream)


def _all_capitals(tokens: Path) -> bool:
    symbols = (line.split(" ")[0] for line in tokens.read_text(encoding="utf-8").splitlines())
    return not any(
        character.islower()
        for symbol in symbols
        if not symbol.startswith(("<", "#"))  # <blk>, <sos/eos>, #0
        for character in symbol
    )


class SherpaUtterance:
    """One stream of the recogniser."""

    def __init__(self, recogniser: Recogniser, reporter: Reporter) -> None:
        self._recogniser = recogniser
        self._online = recogniser.online
        self._reporter = reporter
        self._stream: Any = self._online.create_stream()
        self._samples = 0

    def push(self, pcm: bytes) -> None:
        """Take int16 samples and decode what can be."""
        self._samples += len(pcm) // 2
        self._accept(np.frombuffer(pcm, "<i2").astype(np.float32) / 32768.0)

    def finish(self) -> Understood:
        """Decode the rest."""
        self._accept(np.zeros(TAIL_SAMPLES, np.float32))
        self._stream.input_finished()
        self._decode()
        result = self._online.get_result_all(self._stream)
        end_ms = self._samples * 1000 // RATE_HZ
        found = words_of(result.tokens, result.timestamps, result.ys_probs, end_ms)
        words = tuple(word._replace(text=self._recogniser.written(word.text)) for word in found)
        return Understood(self._recogniser.written(result.text), words)

    def cancel(self) -> None:
        """Nothing is left behind: the stream is freed with this object."""

    def _accept(self, samples: NDArray[np.float32]) -> None:
        self._stream.accept_waveform(RATE_HZ, samples)
        self._decode()

    def _decode(self) -> None:
        while self._online.is_ready(self._stream):
            if self._reporter.cancelled:
                return
            self._online.decode_stream(self._stream)
            self._reporter.partial(self._text)

    def _text(self) -> str:
        return self._recogniser.written(self._online.get_result_all(self._stream).text)


def words_of(
    tokens: Sequence[str], times_s: Sequence[float], log_probs: Sequence[float], end_ms: int
) -> Iterator[SpokenWord]:
    """Words and their times from tokens; none where a token has no time.

    A token that begins with a space (or U+2581, as sentencepiece writes it) begins a
    word, and so does an ideograph. ``log_probs``: of each token, or empty.
    ``end_ms``: the utterance's length, which no word outlasts.
    """
    if len(times_s) != len(tokens):
        return
    begins = [_begins_word(token, i == 0) for i, token in enumerate(tokens)]
    edges = [i for i, begin in enumerate(begins) if begin] + [len(tokens)]
    starts_ms = [min(round(time_s * 1000), end_ms) for time_s in times_s] + [end_ms]
    for first, after in pairwise(edges):
        pieces = [token.strip(" ▁") for token in tokens[first:after]]
        sounding = [first + i for i, piece in enumerate(pieces) if piece]
        if not sounding:
            continue
        last_ms = starts_ms[sounding[-1]] + TOKEN_MS
        chances = log_probs[first:after] if len(log_probs) == len(tokens) else ()
        yield SpokenWord(
            "".join(pieces),
            starts_ms[sounding[0]],
            min(last_ms, max(starts_ms[after], starts_ms[sounding[-1]])),
            round(min(1.0, math.exp(sum(chances) / len(chances))), 3) if chances else None,
        )


def _begins_word(token: str, first: bool) -> bool:
    return first or token[:1] in (" ", "▁") or token[:1] >= _FIRST_IDEOGRAPH


def serve(link: Link, settings: dict[str, Any]) -> None:
    """Answer frames until the server closes the pipe."""
    recogniser = Recogniser(settings)
    link.send_json(Kind.READY, 0, {})
    serve_utterances(link, partial(SherpaUtterance, recogniser))


if __name__ == "__main__":
    run_worker(serve)
