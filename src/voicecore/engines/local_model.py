"""Models that lie on this machine: looked for at start, never anywhere else."""

from __future__ import annotations

from pathlib import Path

from voicecore.errors import MissingLibraryError, MisuseError


def model_directory(option: str, path: Path, wanted: str) -> Path:
    """``path`` if it is a directory.

    ``option``: the setting it comes from; ``wanted``: what should be in it, for people.
    """
    if not path.is_dir():
        reason = "is a file" if path.exists() else "isn't there"
        raise MissingLibraryError(
            f"{option} = {path} {reason}: name a local directory with {wanted}"
        )
    return path


def need_files(option: str, directory: Path, names: tuple[str, ...]) -> None:
    """Raise MissingLibraryError unless ``directory`` has all of ``names``."""
    missing = [name for name in names if not (directory / name).is_file()]
    if missing:
        raise MissingLibraryError(
            f"{option} = {directory} lacks {', '.join(missing)}; wanted: {', '.join(names)}"
        )


def one_file(option: str, directory: Path, names: list[str], part: str) -> str:
    """The path of the only one of ``names``; MisuseError if there are several."""
    if len(names) > 1:
        raise MisuseError(
            f"{option} = {directory} has several for {part}: {', '.join(sorted(names))}; keep one"
        )
    return str(directory / names[0])
