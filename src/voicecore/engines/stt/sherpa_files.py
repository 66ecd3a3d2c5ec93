"""What lies in a directory with a streaming model for sherpa-onnx.

The project's released directories hold ``tokens.txt`` and, depending on the kind of
model, ``encoder*``, ``decoder*`` and ``joiner*`` (transducer), the first two
(paraformer), or one file (CTC), each as ``.onnx``, mostly beside a quantised
``.int8.onnx`` of the same name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal, NamedTuple, get_args

from voicecore.engines.local_model import model_directory, one_file
from voicecore.errors import MissingLibraryError, MisuseError

Family = Literal[
    "auto", "transducer", "paraformer", "zipformer2_ctc", "nemo_ctc", "wenet_ctc", "t_one_ctc"
]

OPTION: Final = "sherpa.model"
WANTED: Final = (
    "tokens.txt and encoder*.onnx, decoder*.onnx, joiner*.onnx (a streaming transducer), "
    "the first two of these (paraformer), or one .onnx file (CTC, with sherpa.family)"
)

_INT8: Final = ".int8.onnx"


class SherpaFiles(NamedTuple):
    """The keyword arguments for ``OnlineRecognizer.from_<family>``."""

    family: str
    arguments: dict[str, str]


def find_files(directory: Path, family: str) -> SherpaFiles:
    """Look for the files of a model.

    Raises MissingLibraryError for what isn't there, MisuseError where it isn't clear
    which file is meant; both name the option and the files wanted.
    """
    if family not in get_args(Family):
        raise MisuseError(f"sherpa.family must be one of {', '.join(get_args(Family))}")
    model_directory(OPTION, directory, WANTED)
    names = sorted(entry.name for entry in directory.iterdir() if entry.name.endswith(".onnx"))
    if not (directory / "tokens.txt").is_file() or not names:
        lacking = "any .onnx file" if (directory / "tokens.txt").is_file() else "tokens.txt"
        raise MissingLibraryError(f"{OPTION} = {directory} lacks {lacking}; wanted: {WANTED}")
    parts = {
        part: [name for name in names if name.startswith(part)]
        for part in ("encoder", "decoder", "joiner")
    }
    if family == "auto":
        family = _guess(directory, parts)
    tokens = {"tokens": str(directory / "tokens.txt")}
    if family.endswith("_ctc"):
        return SherpaFiles(family, {**tokens, "model": _pick(directory, names, "the model", True)})
    wanted = ("encoder", "decoder", "joiner") if family == "transducer" else ("encoder", "decoder")
    for part in wanted:
        if not parts[part]:
            raise MissingLibraryError(f"{OPTION} = {directory} lacks {part}*.onnx of a {family}")
    # A transducer's decoder is an embedding and a small convolution: quantising it gains
    # nothing.
    chosen = {
        part: _pick(directory, parts[part], part, (family, part) != ("transducer", "decoder"))
        for part in wanted
    }
    return SherpaFiles(family, {**tokens, **chosen})


def _guess(directory: Path, parts: dict[str, list[str]]) -> str:
    if parts["joiner"]:
        return "transducer"
    if parts["encoder"] and parts["decoder"]:
        return "paraformer"
    raise MisuseError(
        f"{OPTION} = {directory} has no joiner*.onnx: if this is a CTC model, say which kind "
        f"by sherpa.family ({', '.join(get_args(Family)[3:])}); wanted: {WANTED}"
    )


def _pick(directory: Path, names: list[str], part: str, quantised: bool) -> str:
    """Of one model at two precisions the one that is ``quantised``, or isn't."""
    preferred = [name for name in names if name.endswith(_INT8) == quantised]
    return one_file(OPTION, directory, preferred or names, part)
