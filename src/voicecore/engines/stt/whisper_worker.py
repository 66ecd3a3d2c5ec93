"""The process in which Whisper decodes: whole utterances, one after the other."""

from __future__ import annotations

import os
import time
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from voicecore.core.transcript import SpokenWord
from voicecore.engines.framing import Kind
from voicecore.engines.stt.worker_utterance import (
    RATE_HZ,
    Reporter,
    Understood,
    serve_utterances,
)
from voicecore.engines.worker_side import Link, run_worker
from voicecore.errors import EngineError, MissingLibraryError

MAX_BYTES: Final = 60 * RATE_HZ * 2
# -54 dBFS. In silence the model finds words that its training data ended with.
QUIET: Final = 64
# Fast speech is some 8 tokens a second; what goes on beyond that repeats itself.
TOKENS_PER_S: Final = 12
MOST_TOKENS: Final = 200
# 20 dB below the utterance's mean for so long: the caller pauses, and the final text is
# about to be asked for, which a partial would hold up.
PAUSE_SAMPLES: Final = RATE_HZ * 150 // 1000
PAUSE_SHARE: Final = 0.1


class Recogniser:
    """The model, loaded from its directory."""

    def __init__(self, settings: dict[str, Any]) -> None:
        """Load the model and try it out, so that a wrong directory is told at start."""
        os.environ["HF_HUB_OFFLINE"] = "1"
        try:
            from faster_whisper import WhisperModel
        except ImportError as error:
            raise MissingLibraryError(
                'faster-whisper is not installed: pip install "voicecore[whisper]"'
            ) from error
        self.next_partial_s = 0.0
        """When there may be a partial again, on the monotonic clock: of all streams."""
        self._language = settings["language"] or None
        self._beam_size = settings["beam_size"]
        try:
            self._model = WhisperModel(
                settings["model"],
                device=settings["device"],
                compute_type=settings["compute_type"],
                cpu_threads=settings["threads"],
                num_workers=1,
                local_files_only=True,
            )
            self._transcribe(np.zeros(RATE_HZ // 10, np.float32), False)
        except Exception as error:
            raise EngineError(
                f"whisper: the model did not load ({type(error).__name__}): check whisper.model, "
                "whisper.device, whisper.compute_type and whisper.language",
                engine="whisper",
                code="stt_bad_model",
            ) from error

    def text(self, pcm: NDArray[np.int16]) -> str:
        """What is understood, without the times of words."""
        if _is_quiet(pcm):
            return ""
        return _joined(self._transcribe(_floats(pcm), False))

    def understand(self, pcm: NDArray[np.int16], first_sample: int) -> Understood:
        """What is understood; ``first_sample`` is where ``pcm`` begins in its stream."""
        if _is_quiet(pcm):
            return Understood("")
        segments = self._transcribe(_floats(pcm), True)
        offset_ms = first_sample * 1000 // RATE_HZ
        end_ms = offset_ms + len(pcm) * 1000 // RATE_HZ
        words = []
        for word in (word for segment in segments for word in segment.words or ()):
            start_ms = min(offset_ms + round(float(word.start) * 1000), end_ms)
            until_ms = min(offset_ms + round(float(word.end) * 1000), end_ms)
            confidence = round(float(word.probability), 3)
            words.append(SpokenWord(word.word.strip(), start_ms, until_ms, confidence))
        return Understood(_joined(segments), tuple(words))

    def _transcribe(self, samples: NDArray[np.float32], words: bool) -> list[Any]:
        most = min(MOST_TOKENS, 16 + TOKENS_PER_S * len(samples) // RATE_HZ)
        segments, _ = self._model.transcribe(
            samples,
            language=self._language,
            beam_size=self._beam_size,
            # One try: the usual six at growing temperatures would take six times as long.
            temperature=0.0,
            condition_on_previous_text=False,
            word_timestamps=words,
            max_new_tokens=most,
        )
        return list(segments)


def _floats(pcm: NDArray[np.int16]) -> NDArray[np.float32]:
    return pcm.astype(np.float32) / np.float32(32768.0)


def _is_quiet(pcm: NDArray[np.int16]) -> bool:
    return len(pcm) == 0 or max(int(pcm.max()), -int(pcm.min())) < QUIET


def _is_pausing(pcm: NDArray[np.int16]) -> bool:
    loudness = np.abs(pcm.astype(np.int32))
    return bool(loudness[-PAUSE_SAMPLES:].mean() < PAUSE_SHARE * loudness.mean())


def _joined(segments: list[Any]) -> str:
    return " ".join(segment.text.strip() for segment in segments).strip()


class WhisperUtterance:
    """One stream: its samples, the last minute of them at most."""

    def __init__(self, recogniser: Recogniser, partial_s: float, reporter: Reporter) -> None:
        self._recogniser = recogniser
        self._period_bytes = int(partial_s * RATE_HZ) * 2
        self._reporter = reporter
        self._pcm = bytearray()
        self._dropped_bytes = 0
        self._new_bytes = 0

    def push(self, pcm: bytes) -> None:
        """Take int16 samples; decode what there is if a partial is due."""
        self._pcm += pcm
        self._new_bytes += len(pcm)
        surplus = len(self._pcm) - MAX_BYTES
        if surplus > 0:
            del self._pcm[:surplus]
            self._dropped_bytes += surplus
        if self._period_bytes and self._new_bytes >= self._period_bytes:
            self._report()

    def finish(self) -> Understood:
        """Decode the utterance."""
        if self._reporter.cancelled:
            return Understood("")
        understood = self._recogniser.understand(self._samples(), self._dropped_bytes // 2)
        return Understood(understood.text, understood.words, self._dropped_bytes // 2)

    def cancel(self) -> None:
        """Nothing is left behind."""

    def _report(self) -> None:
        began_s = time.monotonic()
        if began_s < self._recogniser.next_partial_s or self._reporter.waited_for:
            return
        pcm = self._samples()
        if _is_pausing(pcm):
            return
        self._new_bytes = 0
        self._reporter.partial(lambda: self._recogniser.text(pcm))
        ended_s = time.monotonic()
        self._recogniser.next_partial_s = ended_s + 3.0 * (ended_s - began_s)

    def _samples(self) -> NDArray[np.int16]:
        return np.frombuffer(bytes(self._pcm), "<i2").astype(np.int16)


def serve(link: Link, settings: dict[str, Any]) -> None:
    """Answer frames until the server closes the pipe."""
    recogniser = Recogniser(settings)
    link.send_json(Kind.READY, 0, {})
    serve_utterances(link, partial(WhisperUtterance, recogniser, settings["partial_s"]))


if __name__ == "__main__":
    run_worker(serve)
