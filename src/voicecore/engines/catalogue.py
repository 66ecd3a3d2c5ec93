"""Which engines there are: ours in a table, other people's by entry points.

A distribution registers its engines in the groups ``voicecore.stt``, ``voicecore.llm``,
``voicecore.tts``, ``voicecore.vad``, ``voicecore.turn`` and ``voicecore.s2s``::

    [project.entry-points."voicecore.stt"]
    acme = "acme_voice.recogniser:AcmeStt"

The name is what users write in a setting; the object is a class or function that is
called with keyword arguments (:mod:`voicecore.engines.options`). If it has a static method
``missing``, that is called before it with the same arguments and gives a sentence for each
thing that this machine lacks; it must be quick, and load nothing.

Nothing is imported before it is asked for: reading the table costs no engine's
libraries, and a plugin that can't be imported harms nobody who doesn't choose it.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from voicecore.errors import MisuseError

STAGES = {
    "stt": "speech to text",
    "llm": "what answers",
    "tts": "text to speech",
    "vad": "voice activity",
    "turn": "end of turn",
    "s2s": "speech to speech, in place of stt, llm and tts",
}
"""The stages of a call that take an engine, and what each is."""

_ENTRY_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


@dataclass(frozen=True, slots=True)
class EngineEntry:
    """One engine that can be chosen.

    ``target``: ``module:Class``. ``needs``: distributions that it can't do without,
    which voicecore's extra ``extra`` brings. ``home_key``: its own address wants a key,
    though other servers that it can be pointed at may not. ``plugin``: the name and
    version of the distribution that registers it, ``""`` for ours.
    """

    stage: str
    name: str
    target: str
    summary: str = ""
    extra: str = ""
    needs: tuple[str, ...] = ()
    home_key: bool = False
    plugin: str = ""

    def absent(self) -> list[str]:
        """What it needs and isn't installed."""
        return [name for name in self.needs if not _is_installed(name)]

    def load(self) -> Any:
        """Import what ``target`` names.

        Raises MisuseError (``engine_import``) with the reason, whatever the module did.
        """
        module_name, _, path = self.target.partition(":")
        try:
            found: Any = importlib.import_module(module_name)
            for part in path.split("."):
                found = getattr(found, part)
        except (Exception, SystemExit) as error:
            told = str(error).strip().partition("\n")[0]
            plain = isinstance(error, ImportError | AttributeError) and told
            reason = told if plain else f"{type(error).__name__}: {told}".rstrip(": ")
            raise MisuseError(f"can't be imported: {reason}", code="engine_import") from error
        return found


_EXTRAS = {
    "demo": ("pocketsphinx",),
    "espeak": ("espeakng-loader",),
    "piper": ("piper-tts",),
    "service": ("onnxruntime",),
    "sherpa": ("sherpa-onnx",),
    "whisper": ("faster-whisper",),
}
"""What an engine needs that says which extra of ours it comes with."""


def _own(
    stage: str, name: str, target: str, summary: str, extra: str = "", *, home_key: bool = False
) -> EngineEntry:
    target = f"voicecore.engines.{stage}.{target}"
    return EngineEntry(stage, name, target, summary, extra, _EXTRAS.get(extra, ()), home_key)


BUILT_IN = (
    _own("stt", "pocketsphinx", "pocketsphinx:PocketsphinxStt", "offline, small, English", "demo"),
    _own("stt", "deepgram", "deepgram:DeepgramStt", "Deepgram's streaming recogniser"),
    _own("stt", "deepgram-flux", "deepgram_flux:DeepgramFluxStt", "Deepgram Flux, turn by turn"),
    _own("stt", "assemblyai", "assemblyai:AssemblyAiStt", "AssemblyAI's streaming recogniser"),
    _own(
        "stt",
        "openai-transcribe",
        "openai_transcriptions:OpenAiTranscriptions",
        "any server with /v1/audio/transcriptions, an utterance at a time",
        home_key=True,
    ),
    _own(
        "stt",
        "openai-realtime-stt",
        "openai_realtime:OpenAiRealtimeStt",
        "transcription over OpenAI's realtime WebSocket",
        home_key=True,
    ),
    _own("stt", "sherpa", "sherpa:SherpaStt", "offline, a sherpa-onnx model", "sherpa"),
    _own("stt", "whisper", "whisper:WhisperStt", "offline, a faster-whisper model", "whisper"),
    _own("stt", "stub", "stub:SttStub", "understands always the same, for tests"),
    _own("llm", "responder", "responder:Responder", "offline, a small script that says what it is"),
    _own(
        "llm",
        "openai",
        "openai_chat:OpenAiChat",
        "any server with OpenAI's chat completions",
        home_key=True,
    ),
    _own("llm", "stub", "stub:LlmStub", "says always the same, for tests"),
    _own("tts", "espeak", "espeak:EspeakTts", "offline, many languages, word times", "espeak"),
    _own("tts", "flite", "flite:FliteTts", "offline, English, by the system's library"),
    _own("tts", "piper", "piper:PiperTts", "offline, a voice file of piper", "piper"),
    _own("tts", "elevenlabs", "elevenlabs:ElevenLabsTts", "ElevenLabs, a WebSocket for a call"),
    _own("tts", "cartesia", "cartesia:CartesiaTts", "Cartesia, a WebSocket for a call"),
    _own(
        "tts",
        "openai-speech",
        "openai_speech:OpenAiSpeech",
        "any server with /v1/audio/speech",
        home_key=True,
    ),
    _own("tts", "stub", "stub:TtsStub", "a tone, for tests"),
    _own("vad", "silero", "silero:SileroVad", "Silero's network, on kernels of our own"),
    _own("vad", "energy", "energy:EnergyVad", "level over the background"),
    _own("turn", "onnx", "onnx:OnnxTurn", "an ONNX model that hears the end of a turn", "service"),
    _own(
        "s2s",
        "openai-realtime",
        "openai_realtime:OpenAiRealtime",
        "a hosted model that hears and speaks, over OpenAI's realtime WebSocket",
    ),
)
"""Ours, in the order in which they are shown."""


@dataclass(frozen=True, slots=True)
class Plugins:
    """What other distributions register, and what was wrong with some of it."""

    entries: tuple[EngineEntry, ...]
    warnings: tuple[str, ...]


def built_in(stage: str) -> list[EngineEntry]:
    """Ours of one stage, in the order in which they are shown."""
    return [entry for entry in BUILT_IN if entry.stage == stage]


def read_plugins() -> Plugins:
    """Engines of installed distributions; reads metadata (some 10 ms), imports none.

    A name of ours stays ours, one that two distributions register goes to the first
    by the alphabet; ``warnings`` says so.
    """
    entries: dict[tuple[str, str], EngineEntry] = {}
    warnings: list[str] = []
    taken = {(entry.stage, entry.name) for entry in BUILT_IN}
    for stage in STAGES:
        for point in sorted(
            metadata.entry_points(group=f"voicecore.{stage}"), key=_by_distribution
        ):
            who = _distribution(point)
            key = (stage, point.name)
            told = f"the plugin {who} registers {stage} {point.name!r}"
            if _ENTRY_NAME.fullmatch(point.name) is None:
                warnings.append(f"{told}, which is no name: letters, digits, - and _ make one")
            elif key in taken:
                warnings.append(f"{told}, which is voicecore's own name and stays its own")
            elif key in entries:
                warnings.append(f"{told}, as {entries[key].plugin} does, which comes first")
            else:
                entries[key] = EngineEntry(stage, point.name, point.value, plugin=who)
    return Plugins(tuple(entries.values()), tuple(warnings))


def find_engine(stage: str, name: str) -> EngineEntry | None:
    """The engine of ``stage`` that is called ``name``; ``module:Class`` is one, too."""
    for entry in built_in(stage):
        if entry.name == name:
            return entry
    if is_target(name):
        return EngineEntry(stage, name, name)
    return next((e for e in read_plugins().entries if (e.stage, e.name) == (stage, name)), None)


def names_of(stage: str) -> list[str]:
    """All names that :func:`find_engine` knows for ``stage``, but for ``module:Class``."""
    others = (entry.name for entry in read_plugins().entries if entry.stage == stage)
    return [entry.name for entry in built_in(stage)] + sorted(others)


def namesakes(name: str) -> Iterable[EngineEntry]:
    """The engines of all stages that are called ``name``: they share their options."""
    return filter(None, (find_engine(stage, name) for stage in STAGES))


def is_target(text: str) -> bool:
    """Whether ``text`` has the form ``package.module:Name``."""
    return _TARGET.fullmatch(text) is not None


def _is_installed(distribution: str) -> bool:
    try:
        metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def _by_distribution(point: metadata.EntryPoint) -> tuple[str, str]:
    return _distribution(point), point.name


def _distribution(point: metadata.EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else "(unknown)"
