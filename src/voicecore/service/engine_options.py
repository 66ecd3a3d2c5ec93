"""What the settings say to one engine, checked against its constructor.

:func:`look_at` is asked by those who build engines and by those who only list them:
it imports the engine's module (not its libraries), and calls nothing but its
``missing``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from voicecore.engines.catalogue import EngineEntry, is_target, namesakes
from voicecore.engines.constructor import Parameter, is_made, keywords_of, parameters_of
from voicecore.errors import MisuseError
from voicecore.service.config import Settings
from voicecore.service.engine_spec import option_name
from voicecore.service.option_values import checked
from voicecore.service.secret_text import (
    FILE_SUFFIX,
    check_secret,
    from_environment,
    masked,
    read_secret,
)
from voicecore.service.setting_types import nearest

_FILE = FILE_SUFFIX.lower()
_EMPTY = (None, "")


@dataclass(frozen=True)
class Look:
    """One engine as this machine and the settings have it.

    ``values``: what it would be called with. ``origins``: for each value that is not a
    default, who gave it: a setting's name, ``engine.<name>.<option>``, a variable.
    ``problems``: a sentence for each reason why it can't be used; empty: ready.
    """

    entry: EngineEntry
    found: Any = field(repr=False)
    parameters: tuple[Parameter, ...]
    values: Mapping[str, Any] = field(repr=False)
    origins: Mapping[str, str]
    problems: tuple[str, ...]

    @property
    def secrets(self) -> list[str]:
        """The texts that may be shown nowhere."""
        named = {one.name for one in self.parameters if one.secret}
        return [str(value) for name, value in self.values.items() if name in named and value]


def look_at(
    entry: EngineEntry, settings: Settings, environment: Mapping[str, str] | None = None
) -> Look:
    """``entry`` with its options, and everything that is wrong with them. Raises nothing."""
    if is_target(entry.name):
        _see_the_current_directory()
    try:
        found = entry.load()
        parameters = parameters_of(found) if is_made(found) else ()
    except MisuseError as error:
        return Look(entry, None, (), {}, {}, tuple(_absent(entry)) or (str(error),))
    reader = _Reader(entry, settings, os.environ if environment is None else environment)
    if is_made(found):
        reader.read(parameters, keywords_of(found))
    reader.refuse_unknown(parameters)
    problems = [*_absent(entry), *reader.problems]
    look = Look(entry, found, parameters, reader.values, reader.origins, tuple(problems))
    masked.add(look.secrets)
    return look if problems else replace(look, problems=tuple(_missing(found, reader.values)))


def from_settings(stage: str, name: str, settings: Settings) -> dict[str, tuple[Any, str]]:
    """What settings of their own say to an engine, with their names; unset ones left out."""
    named = _OF_SETTINGS.get((stage, name), {})
    values = {option: (get(settings), setting) for option, (setting, get) in named.items()}
    plain = {
        option: (value.get_secret_value() if isinstance(value, SecretStr) else value, setting)
        for option, (value, setting) in values.items()
    }
    return {option: pair for option, pair in plain.items() if pair[0] not in _EMPTY}


_Setting = tuple[str, Callable[[Settings], Any]]


def _setting(name: str) -> _Setting:
    return name, attrgetter(name)


_OF_SETTINGS: dict[tuple[str, str], dict[str, _Setting]] = {
    ("stt", "pocketsphinx"): {"workers": ("stt_workers", attrgetter("stt_worker_count"))},
    # Unset, these make one process, not one for each core: each has its model in memory.
    ("stt", "sherpa"): {"workers": ("stt_workers", lambda s: s.stt_workers or None)},
    ("stt", "whisper"): {"workers": ("stt_workers", lambda s: s.stt_workers or None)},
    ("stt", "stub"): {"text": _setting("stub_stt_text")},
    ("llm", "openai"): {
        "url": _setting("llm_url"),
        "model": _setting("llm_model"),
        "key": _setting("llm_key"),
        "api_key": _setting("llm_key"),
        "system_prompt": _setting("llm_system_prompt"),
        "greeting": _setting("greeting"),
    },
    ("tts", "espeak"): {
        "voice": _setting("tts_voice"),
        "speed_wpm": _setting("tts_speed_wpm"),
        "workers": _setting("tts_workers"),
    },
    ("tts", "stub"): {
        "seconds": _setting("stub_tts_seconds"),
        "lead_ms": _setting("stub_tts_lead_ms"),
    },
    ("vad", "silero"): {
        "model_path": _setting("vad_model_path"),
        "backend": _setting("vad_backend"),
    },
    ("s2s", "openai-realtime"): {"greeting": _setting("greeting")},
    ("turn", "onnx"): {"path": ("turn = onnx:FILE", lambda s: s.turn.partition(":")[2])},
}
"""Which setting is which keyword of an engine; an option given by ``engine`` wins."""


class _Reader:
    """Gathers an engine's values, their origins and what is wrong with them."""

    def __init__(
        self, entry: EngineEntry, settings: Settings, environment: Mapping[str, str]
    ) -> None:
        self.values: dict[str, Any] = {}
        self.origins: dict[str, str] = {}
        self.problems: list[str] = []
        self._entry = entry
        self._settings = from_settings(entry.stage, entry.name, settings)
        self._given = settings.engine.get(entry.name, {})
        self._environment = environment

    def read(self, parameters: tuple[Parameter, ...], keywords: frozenset[str]) -> None:
        """The value of each parameter that has one."""
        for name, (value, origin) in self._settings.items():
            if name in keywords:
                self.values[name], self.origins[name] = value, origin
        # Keys last: whether one may be taken depends on the address.
        for one in sorted(parameters, key=lambda one: one.secret is not None):
            try:
                found = self._secret(one, parameters) if one.secret else self._plain(one)
            except ValueError as error:
                self.problems.append(str(error))
                continue
            if found is not None:
                self.values[one.name], self.origins[one.name] = found
            elif one.name not in self.values and (one.required or self._wants_key(one, parameters)):
                self.problems.append(self._wanting(one))

    def refuse_unknown(self, parameters: tuple[Parameter, ...]) -> None:
        """A sentence for each option that no engine of this name has."""
        own = _option_names(parameters)
        unknown = [name for name in self._given if name not in own]
        others = _options_of_namesakes(self._entry) if unknown else set()
        for name in unknown:
            if name not in others:
                close = nearest(name, sorted(own))
                hint = f"; did you mean {close}?" if close else "; --engines lists them"
                self.problems.append(f"there is no option {self._entry.name}.{name}{hint}")

    def _plain(self, one: Parameter) -> tuple[Any, str] | None:
        if one.name not in self._given:
            return None
        where = option_name(self._entry.name, one.name)
        value = checked(one, self._given[one.name], where)
        return value, where

    def _secret(self, one: Parameter, parameters: tuple[Parameter, ...]) -> tuple[str, str] | None:
        assert one.secret is not None
        direct, by_file = one.name in self._given, one.name + _FILE in self._given
        where = option_name(self._entry.name, one.name)
        if direct and by_file:
            raise ValueError(f"{where} and {where}{_FILE} are both given: give one of them")
        if direct or by_file:
            return self._given_secret(one, where, by_file)
        if one.name in self.values:
            return self.values[one.name], self.origins[one.name]
        variable = one.secret.variable
        if not variable or (not one.required and self._goes_elsewhere(parameters)):
            return None
        return from_environment(variable, self._environment)

    def _wants_key(self, one: Parameter, parameters: tuple[Parameter, ...]) -> bool:
        return (
            one.secret is not None and self._entry.home_key and not self._goes_elsewhere(parameters)
        )

    def _goes_elsewhere(self, parameters: tuple[Parameter, ...]) -> bool:
        """Whether the engine was given another server than its vendor's.

        Where it can do without a key, the vendor's must not reach that server only
        because it stands in the environment.
        """
        home = next((one.default for one in parameters if one.name == "url"), None)
        url = self.values.get("url", home)
        return bool(home) and urlsplit(str(url)).hostname != urlsplit(str(home)).hostname

    def _given_secret(self, one: Parameter, where: str, by_file: bool) -> tuple[str, str]:
        value = self._given[one.name + _FILE if by_file else one.name]
        where += _FILE if by_file else ""
        if not isinstance(value, str) or not value:
            raise ValueError(f"{where}: wants {'the name of a file' if by_file else 'text'}")
        try:
            return (read_secret(value) if by_file else check_secret(value)), where
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None

    def _wanting(self, one: Parameter) -> str:
        where = option_name(self._entry.name, one.name)
        if not one.secret:
            return f"needs {one.name}, {one.option.help}: give {self._ways(one.name)}"
        what = one.option.help.partition(",")[0].partition(";")[0]
        variable = one.secret.variable
        ways = f"{variable}, or {variable}{FILE_SUFFIX} to a file" if variable else where
        elsewhere = "" if one.required else f", or {self._ways('url')} for another server"
        return f"needs its {what}: set {ways} (or {where}{_FILE}){elsewhere}"

    def _ways(self, option: str) -> str:
        """How an option can be given: by a setting of its own, where there is one, or plainly."""
        plain = f"--engine {self._entry.name}.{option}=..."
        setting = _OF_SETTINGS.get((self._entry.stage, self._entry.name), {}).get(option)
        return f"{setting[0]} or {plain}" if setting else plain


def _see_the_current_directory() -> None:
    """As ``python -m`` does, also for the console script."""
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)


def _absent(entry: EngineEntry) -> list[str]:
    mend = f'pip install "voicecore[{entry.extra}]"'
    return [f"needs {name}, which is not installed: {mend}" for name in entry.absent()]


def _missing(found: Any, values: Mapping[str, Any]) -> list[str]:
    ask = getattr(found, "missing", None)
    if ask is None or not is_made(found):
        return []
    try:
        return [masked(str(sentence)) for sentence in ask(**values)]
    except Exception as error:
        # Of a plugin: whatever it is, it says that the engine can't be used like this.
        return [masked(f"its missing() failed: {type(error).__name__}: {error}")]


def _option_names(parameters: tuple[Parameter, ...]) -> set[str]:
    names = {one.name for one in parameters}
    return names | {one.name + _FILE for one in parameters if one.secret}


def _options_of_namesakes(entry: EngineEntry) -> set[str]:
    """What engines of other stages that share the name take (the stubs, a vendor's two)."""
    names: set[str] = set()
    for other in namesakes(entry.name):
        if other.stage != entry.stage:
            try:
                names |= _option_names(parameters_of(other.load()))
            except (MisuseError, TypeError):
                continue
    return names
