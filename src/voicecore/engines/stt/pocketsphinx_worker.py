"""The process in which pocketsphinx decodes: one caller's utterance at a time.

The decoder never releases the GIL, so it lives here. Audio is decoded as it
comes; what is left to do at the end of an utterance is its last piece.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any, Final

from voicecore.engines.framing import Kind
from voicecore.engines.stt.worker_utterance import (
    RATE_HZ,
    Reporter,
    Understood,
    serve_utterances,
)
from voicecore.engines.worker_side import Link, run_worker
from voicecore.errors import MissingLibraryError

# Between two pieces the worker looks for a CANCEL. 100 ms decode in some 30 ms.
PIECE_BYTES: Final = RATE_HZ // 10 * 2
# The decoder subtracts the mean cepstrum (microphone, room, loudness). Its built-in
# start value fits no microphone in particular and costs the first words; 600 ms of
# the utterance itself serve better.
MEAN_BYTES: Final = RATE_HZ * 600 // 1000 * 2


class Recogniser:
    """Two decoders: the real one, and a trivial one that measures the mean cepstrum.

    The second knows a single keyword, so that it costs next to nothing: 3 MB, and
    some 20 ms for 600 ms of audio.
    """

    def __init__(self, model: str, options: dict[str, Any]) -> None:
        """Load the models; ``model`` is a directory laid out as the wheel's, or ``""`` for it."""
        try:
            import pocketsphinx
        except ImportError as error:
            raise MissingLibraryError(
                "pocketsphinx is not installed: pip install 'voicecore[demo]'"
            ) from error
        model = model or pocketsphinx.get_model_path("en-us")
        fixed = {"samprate": RATE_HZ, "loglevel": "FATAL", "hmm": f"{model}/en-us"}
        self._decoder: Any = pocketsphinx.Decoder(
            **fixed, lm=f"{model}/en-us.lm.bin", dict=f"{model}/cmudict-en-us.dict", **options
        )
        self._listener: Any = pocketsphinx.Decoder(**fixed, lm=None, dict=None)
        self._listener.add_word("forward", "F AO R W ER D", True)
        self._listener.add_keyphrase("any", "forward")
        self._listener.activate_search("any")
        self._first_mean: str = self._decoder.get_cmn(False)

    def begin(self, start: bytes) -> None:
        """Begin an utterance whose first audio is ``start`` (not yet decoded by this)."""
        self._listener.set_cmn(self._first_mean)
        self._listener.start_utt()
        mean = self._first_mean
        if start:
            self._listener.process_raw(start, False, False)
            mean = self._listener.get_cmn(True)
        self._listener.end_utt()
        self._decoder.set_cmn(mean)
        self._decoder.start_utt()

    def decode(self, pcm: bytes) -> None:
        """Go on with int16 samples at 16 kHz."""
        self._decoder.process_raw(pcm, False, False)

    def text(self) -> str:
        """What is understood so far, as the decoder writes it."""
        hypothesis = self._decoder.hyp()
        return hypothesis.hypstr if hypothesis is not None else ""

    def end(self) -> None:
        """End the utterance; :meth:`text` then gives the final one."""
        self._decoder.end_utt()


class PocketsphinxUtterance:
    """One stream: collects the first 600 ms, then decodes piece by piece."""

    def __init__(self, recogniser: Recogniser, reporter: Reporter) -> None:
        """Nothing is decoded before the first 600 ms are there, or the end."""
        self._recogniser = recogniser
        self._reporter = reporter
        self._held = bytearray()
        self._begun = False

    def push(self, pcm: bytes) -> None:
        """Take int16 samples; stops in the middle if the stream is cancelled."""
        if not self._begun:
            self._held += pcm
            if len(self._held) < MEAN_BYTES:
                return
            pcm = self._begin()
        self._decode(pcm)

    def finish(self) -> Understood:
        """Decode what is left; return the final text."""
        if not self._begun:
            self._decode(self._begin())
        self._recogniser.end()
        return Understood(self._recogniser.text())

    def cancel(self) -> None:
        """Leave the decoder ready for the next utterance."""
        if self._begun:
            self._recogniser.end()

    def _begin(self) -> bytes:
        pcm = bytes(self._held)
        self._held.clear()
        self._begun = True
        self._recogniser.begin(pcm[:MEAN_BYTES])
        return pcm

    def _decode(self, pcm: bytes) -> None:
        for start in range(0, len(pcm), PIECE_BYTES):
            if self._reporter.cancelled:
                return
            self._recogniser.decode(pcm[start : start + PIECE_BYTES])
            self._reporter.partial(self._recogniser.text)


def serve(link: Link, settings: dict[str, Any]) -> None:
    """Answer frames until the server closes the pipe."""
    started_s = time.monotonic()
    recogniser = Recogniser(settings["model"], settings["options"])
    link.send_json(Kind.READY, 0, {"load_s": round(time.monotonic() - started_s, 3)})
    serve_utterances(link, partial(PocketsphinxUtterance, recogniser))


if __name__ == "__main__":
    run_worker(serve)
