"""A third party's installed distribution with engines, made in a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

ACME = '''
"""Engines of a vendor that doesn't exist."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from voicecore.engines.options import LocalPath, Option, Secret
from voicecore.errors import EngineError, MisuseError


class AcmeStt:
    """Acme's recogniser.

    More is not shown.
    """

    name = "acme"
    rate_hz = 16_000

    def __init__(
        self,
        *,
        key: Annotated[str, Secret("API key", variable="ACME_API_KEY")],
        model: Annotated[Literal["small", "large"], Option("which model")] = "large",
        words: Annotated[list[str] | None, Option("words to expect")] = None,
        threads: Annotated[int, Option("threads, 1 to 8")] = 2,
        interim: Annotated[bool, Option("texts while the caller speaks")] = True,
        voices: Annotated[Mapping[str, Any] | None, Option("a table")] = None,
        folder: Annotated[str, LocalPath("its model")] = "",
        fails: Annotated[str, Option("at what it fails")] = "",
        clock: object = None,
    ) -> None:
        if not 1 <= threads <= 8:
            raise MisuseError(f"threads must be 1 to 8, got {threads}")
        if fails == "made":
            raise RuntimeError(f"no good: {key}")
        if fails == "misuse":
            raise MisuseError(f"no good: {key}")
        self.key = key
        self.given = (model, words, threads, interim, voices, folder)
        self.fails = fails

    @staticmethod
    def missing(fails: str = "", **options: object) -> list[str]:
        if fails == "missing":
            raise RuntimeError(f"no good: {options['key']}")
        return ["acme's library is not here"] if fails == "library" else []

    def __repr__(self) -> str:
        return f"AcmeStt({self.key})"

    async def start(self) -> None:
        if self.fails == "start":
            raise RuntimeError(f"can't start with {self.key}")
        if self.fails == "engine":
            raise EngineError(f"refused: {self.key}", engine="acme", code="stt_key", permanent=True)

    async def open(self, on_partial: Any) -> Any:
        raise NotImplementedError

    async def close(self) -> None:
        pass


class AcmeTts:
    """Acme's voice."""

    name = "acme"
    rate_hz = 16_000

    def __init__(
        self,
        *,
        key: Annotated[str, Secret("API key", variable="ACME_API_KEY")],
        voice: Annotated[str, Option("who speaks")] = "anna",
    ) -> None:
        self.voice = voice

    async def start(self) -> None:
        pass

    async def speak(self, text: str) -> Any:
        yield None

    async def close(self) -> None:
        pass
'''
"""A module with a recogniser that takes all kinds of options, and a voice of the same name."""

ACME_POINTS = {
    "voicecore.stt": {"acme": "acme_voice:AcmeStt"},
    "voicecore.tts": {"acme": "acme_voice:AcmeTts"},
}


def install(
    folder: Path,
    name: str,
    points: Mapping[str, Mapping[str, str]],
    modules: Mapping[str, str],
    version: str = "1.5",
) -> None:
    """Put it into ``folder``, which is to be on ``sys.path``."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = [
        line
        for group, entries in points.items()
        for line in (f"[{group}]", *(f"{key} = {target}" for key, target in entries.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    for module, text in modules.items():
        (folder / f"{module}.py").write_text(text)


def install_acme(folder: Path) -> None:
    """Acme, whose engines work as far as they need to for being chosen."""
    install(folder, "acme-voice", ACME_POINTS, {"acme_voice": ACME})
