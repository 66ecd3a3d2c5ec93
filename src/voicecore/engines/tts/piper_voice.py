"""A piper voice's two files, and what of them the server must know.

``<name>.onnx`` is the network, ``<name>.onnx.json`` its description (piper's own
format: the rate under ``audio``, speakers, the alphabet of its phonemes).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, NamedTuple

from voicecore.errors import MissingLibraryError, MisuseError

OPTION: Final = "piper.model"
WANTED: Final = "a voice's .onnx file with its .onnx.json beside it"


class Voice(NamedTuple):
    """A voice as its description has it. ``speaker`` is None where there is one alone."""

    rate_hz: int
    speaker: int | None


def read_voice(model: Path, speaker: str) -> Voice:
    """Look at a voice's description. ``speaker``: a name or number, ``""``: the first.

    Raises MissingLibraryError for a file that isn't there, MisuseError for one that is
    no voice, for an unknown speaker, and for Chinese voices with pinyin, which need a
    model that piper downloads.
    """
    config_path = Path(f"{model}.json")
    for path in (model, config_path):
        if not path.is_file():
            raise MissingLibraryError(f"{OPTION} = {model}: {path.name} isn't there; name {WANTED}")
    try:
        config: dict[str, Any] = json.loads(config_path.read_bytes())
        rate_hz = int(config["audio"]["sample_rate"])
        speakers = int(config["num_speakers"])
        names = {
            str(name): int(number) for name, number in config.get("speaker_id_map", {}).items()
        }
        kind = config.get("phoneme_type", "espeak")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise MisuseError(f"{OPTION} = {model}: {config_path.name} describes no voice") from error
    if not 8_000 <= rate_hz <= 48_000:
        raise MisuseError(f"{OPTION} = {model}: a rate of {rate_hz} Hz, not 8000..48000")
    if kind == "pinyin":
        raise MisuseError(f"{OPTION} = {model}: needs a model that piper downloads (g2pW)")
    return Voice(rate_hz, _speaker(speaker, speakers, names))


def _speaker(wanted: str, speakers: int, names: dict[str, int]) -> int | None:
    if speakers <= 1:
        return None
    if not wanted:
        return 0
    if wanted in names:
        return names[wanted]
    if wanted.isdecimal() and int(wanted) < speakers:
        return int(wanted)
    known = ", ".join(sorted(names)[:20])
    raise MisuseError(f"piper.speaker must be 0..{speakers - 1} or one of: {known}")
