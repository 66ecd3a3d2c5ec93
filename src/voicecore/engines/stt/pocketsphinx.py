"""Speech to text offline: pocketsphinx with the US English model of its wheel.

The parameters below trade accuracy for speed. Against the library's own they
decode in 0.23 instead of 0.60 of real time and finish within some 50 ms instead
of a second or three, at the same word error rate, because the mean cepstrum is
taken from the utterance (see ``pocketsphinx_worker``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

from voicecore.engines.options import LocalPath, Option
from voicecore.engines.stt.worker_stream import WorkerStt

# fwdflat decodes the whole utterance once more when it ends (1-3 s for 11-27 s of
# speech), bestpath searches its lattice; both come when the caller waits.
OPTIONS: Final[Mapping[str, Any]] = {
    "fwdflat": False,
    "bestpath": False,
    "maxhmmpf": 3000,
    "maxwpf": 10,
    "topn": 2,
}

_FILLER = re.compile(r"<[^>]*>|\[[^\]]*\]|\+\+[^+]*\+\+|\(\d+\)")


def clean_text(raw: str) -> str:
    """Lower-case words alone: no ``<sil>``, ``[SPEECH]``, ``++NOISE++`` or ``(2)`` marks."""
    return " ".join(_FILLER.sub(" ", raw).lower().split())


class PocketsphinxStt(WorkerStt):
    """A pool of decoders, one process each; a stream has one to itself.

    ``open()`` waits up to 3 s for a free one, in a line of twice as many
    callers as there are workers; then EngineError ``stt_busy``. Partial texts come
    about every 200 ms while they change. A decoder costs some 100 MB and a quarter
    of a core while its caller speaks, and half a second to load.
    """

    name = "pocketsphinx"
    coarse = True
    """"mm-hm" comes out as "og tom", "okay" as "look unique"."""

    def __init__(
        self,
        workers: Annotated[int, Option("recogniser processes, 1 to 64")] = 1,
        *,
        model: Annotated[str, LocalPath("a model laid out as model/en-us of the wheel")] = "",
        options: Annotated[Mapping[str, Any] | None, Option("settings of the decoder")] = None,
        finish_timeout_s: Annotated[float, Option("wait for the final text so long")] = 10.0,
        wait_s: Annotated[float, Option("wait for a free process so long")] = 3.0,
    ) -> None:
        """Make the pool; nothing is started.

        ``workers``: 1..64 processes. ``model``: a directory laid out as the
        wheel's ``model/en-us`` (``""``: that one). ``options``: decoder settings
        on top of :data:`OPTIONS`. ``finish_timeout_s``: how long ``finish()``
        waits. ``wait_s``: how long ``open()`` waits for a free worker.
        """
        super().__init__(
            "voicecore.engines.stt.pocketsphinx_worker",
            {"model": model, "options": {**OPTIONS, **(options or {})}},
            workers=workers,
            finish_timeout_s=finish_timeout_s,
            wait_s=wait_s,
            clean=clean_text,
        )
