"""The settings that choose engines, and what is said to those of old standing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, SecretStr
from pydantic_settings import NoDecode

from voicecore.engines.catalogue import STAGES, built_in, find_engine, is_target, names_of
from voicecore.service.engine_spec import EngineOptions, to_chain, to_options
from voicecore.service.secret_text import check_secret
from voicecore.service.setting_types import check_http_url, empty_to_none, nearest, setting
from voicecore.service.turn_fields import HEARING

ENGINES, MODEL = "Engines", "Language model (llm = openai)"
CALLS_PER_STT_WORKER = 2
"""A recogniser takes 15-40% of a core while its caller speaks, and callers pause."""
DEFAULT_CALL_LIMIT = 200
MAX_STT_WORKERS = 64


def cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _check_name(stage: str, name: str) -> None:
    if find_engine(stage, name) is not None:
        return
    names = names_of(stage)
    close = nearest(name, names)
    hint = f"; did you mean {close}?" if close else ""
    raise ValueError(f"wants one of {', '.join(names)}, or module:Name{hint}")


def _chain_of(stage: str) -> AfterValidator:
    def check(value: str) -> str:
        names = value.split(",")
        if not value:
            raise ValueError("wants at least one engine; --engines lists them")
        for name in names:
            _check_name(stage, name)
            if names.count(name) > 1:
                raise ValueError(f"names {name} twice")
        return value

    return AfterValidator(check)


def _one_of(stage: str, *, optional: bool = False) -> AfterValidator:
    def check(value: str) -> str:
        if value or not optional:
            _check_name(stage, value)
        return value

    return AfterValidator(check)


def _turn_model(value: str) -> str:
    kind, found, path = value.partition(":")
    if kind == "onnx" and found:
        if not Path(path).is_file():
            raise ValueError(f"there is no file {path!r}")
    elif value:
        _check_name("turn", value)
    return value


def _module_or_empty(value: str) -> str:
    if value and not is_target(value):
        raise ValueError("wants module:name, for example my_agent:answer")
    return value


def _url_or_empty(value: str) -> str:
    return check_http_url(value) if value else value


def _listed(stage: str) -> str:
    return ", ".join(entry.name for entry in built_in(stage))


def _secret(value: Any) -> Any:
    return check_secret(value) if isinstance(value, str) else value


Chain = Annotated[str, BeforeValidator(to_chain)]
Secret = Annotated[SecretStr, BeforeValidator(_secret)]
_OptionTables = Annotated[EngineOptions, NoDecode, BeforeValidator(to_options)]


class EngineFields(BaseModel):
    """A part of :class:`~voicecore.service.config.Settings`."""

    stt: Annotated[Chain, _chain_of("stt")] = setting(
        ENGINES,
        "pocketsphinx",
        f"speech to text: {_listed('stt')}, a plugin's or module:Class; several: the first, and"
        " what takes over when it fails",
        metavar="NAMES",
    )
    llm: Annotated[Chain, _chain_of("llm")] = setting(
        ENGINES,
        "responder",
        f"what answers: {_listed('llm')}, a plugin's or module:Class; likewise; openai when"
        " llm_url is given",
        metavar="NAMES",
    )
    tts: Annotated[Chain, _chain_of("tts")] = setting(
        ENGINES,
        "espeak",
        f"text to speech: {_listed('tts')}, a plugin's or module:Class; likewise",
        metavar="NAMES",
    )
    vad: Annotated[str, _one_of("vad")] = setting(
        ENGINES, "silero", f"voice activity: {_listed('vad')}, a plugin's or module:Class"
    )
    turn: Annotated[str, AfterValidator(_turn_model)] = setting(
        ENGINES,
        "",
        "a turn-detection model that hears whether the caller has finished: onnx:FILE, a"
        " plugin's or module:Class; unset: words and pauses decide",
        metavar="SPEC",
    )
    s2s: Annotated[str, _one_of("s2s", optional=True)] = setting(
        ENGINES,
        "",
        f"a model that hears and speaks, in place of stt, llm and tts: {_listed('s2s')}, a"
        " plugin's or module:Class; unset: none",
    )
    engine: _OptionTables = setting(
        ENGINES,
        dict,
        "an option of an engine, as --engines lists them, for example deepgram.model=nova-3;"
        " a key is better in its own variable",
        metavar="NAME.OPTION=VALUE",
        repr=False,
    )
    stt_bridge: bool = setting(
        ENGINES,
        False,
        "hand the caller's own Opus or G.711 packets to a recogniser that takes them",
    )
    agent: Annotated[str, AfterValidator(_module_or_empty)] = setting(
        ENGINES, "", "an agent of your own; takes the place of llm", metavar="MODULE:NAME"
    )
    greeting: str | None = setting(
        ENGINES, None, "said when a call begins; unset: what the agent brings", metavar="TEXT"
    )
    stt_workers: int = setting(
        ENGINES,
        0,
        "recogniser processes; 0: one per core of pocketsphinx, else one",
        ge=0,
        le=MAX_STT_WORKERS,
    )
    tts_workers: int = setting(ENGINES, 1, "espeak processes", ge=1, le=256)
    tts_voice: str = setting(ENGINES, "en-us", "voice of espeak", metavar="VOICE")
    tts_speed_wpm: int = setting(ENGINES, 165, "words a minute of espeak", ge=80, le=450)
    stub_stt_text: str = setting(
        ENGINES, "hello", "what the stub recogniser understands", metavar="TEXT"
    )
    stub_tts_seconds: float = setting(
        ENGINES, 2.0, "length of the stub voice's tone", ge=0.02, le=600
    )
    stub_tts_lead_ms: float = setting(
        ENGINES, 0.0, "silence before the stub voice's tone", ge=0, le=10_000
    )

    llm_url: Annotated[str, AfterValidator(_url_or_empty)] = setting(
        MODEL,
        "",
        "base URL of an OpenAI-compatible API (.../v1); unset: OpenAI's own",
        metavar="URL",
    )
    llm_model: str = setting(MODEL, "", "model name at that API", metavar="NAME")
    llm_key: Secret = setting(
        MODEL,
        SecretStr(""),
        "its key; better in the variable than in a flag, or in a file named by"
        " VOICECORE_LLM_KEY_FILE",
        metavar="KEY",
    )
    llm_system_prompt: str = setting(
        MODEL,
        "You are a helpful voice assistant on a telephone call. Answer in one to three short"
        " spoken sentences, without lists, markup or emoji.",
        "instructions to the model",
        metavar="TEXT",
    )

    vad_model_path: Annotated[Path | None, BeforeValidator(empty_to_none)] = setting(
        HEARING, None, "Silero's ONNX file; unset: the installed one", metavar="FILE"
    )

    def engine_problems(self) -> list[str]:
        """What is missing, and options of engines that there aren't."""
        problems = []
        if self.vad_model_path is not None and not self.vad_model_path.is_file():
            problems.append(f"vad_model_path: there is no file {self.vad_model_path}")
        for name in self.engine:
            if not any(find_engine(stage, name) for stage in STAGES):
                everyone = {known for stage in STAGES for known in names_of(stage)}
                close = nearest(name, sorted(everyone))
                hint = f"; did you mean {close}?" if close else "; --engines lists them"
                problems.append(f"engine: there is no engine {name!r}{hint}")
        return problems

    def engine_warnings(self) -> list[str]:
        """Options that nobody will read."""
        used = {name for stage in STAGES for name in self.chain(stage)}
        return [
            f"engine.{name} is given, but no stage has chosen {name}"
            for name in self.engine
            if name not in used
        ]

    def chain(self, stage: str) -> tuple[str, ...]:
        """The engines of ``stage`` by name, the first first; ``()`` for an unset one."""
        value = str(getattr(self, stage))
        if stage == "turn" and value.startswith("onnx:"):
            return ("onnx",)
        return tuple(filter(None, value.split(",")))

    @property
    def stt_worker_count(self) -> int:
        """Recogniser processes, with 0 resolved to the number of cores."""
        return self.stt_workers or min(cores(), MAX_STT_WORKERS)

    @property
    def calls_of_engines(self) -> int:
        """How many calls the chosen recogniser can serve."""
        if self.chain("stt")[0] == "pocketsphinx" and not self.s2s:
            return CALLS_PER_STT_WORKER * self.stt_worker_count
        return DEFAULT_CALL_LIMIT
