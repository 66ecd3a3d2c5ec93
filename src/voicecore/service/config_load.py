"""Where settings come from: flags over environment over file over defaults.

:func:`load` merges the layers, remembers for each value which layer gave it,
and turns everything that can be wrong into sentences that name the very flag,
variable or file at fault.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError
from pydantic_settings import EnvSettingsSource

from voicecore.engines.catalogue import read_plugins
from voicecore.errors import MisuseError
from voicecore.service.access.keys import parse_keys
from voicecore.service.access_fields import SEVERAL_SECRETS
from voicecore.service.config import ENV_PREFIX, Settings
from voicecore.service.engine_spec import EngineOptions, merge_options, option_name, to_options
from voicecore.service.secret_text import (
    FILE_SUFFIX,
    check_secret,
    check_secrets,
    from_environment,
    masked,
)
from voicecore.service.sentences import given, strip, wanted
from voicecore.service.setting_types import IceServer, nearest

DEFAULT_FILE = Path("voicecore.toml")
CONFIG_VARIABLE = ENV_PREFIX + "CONFIG"
NAMES = tuple(Settings.model_fields)

_OTHER_VARIABLES = frozenset(
    {"config", "cases", "libopus", "profile", "worker", "worker_dir", "worker_sockets"}
    | {f"probe_{name}{file}" for name in ("key", "turn_credential") for file in ("", "_file")}
)
"""Variables with our prefix that are read elsewhere and are no settings."""


class ConfigError(MisuseError):
    """The settings can't be used; ``problems`` has one sentence for each reason.

    ``rest``: the settings without those that are ``wrong`` by themselves, where that is
    all that is known to be: in it there may be more to complain of.
    """

    def __init__(
        self,
        problems: list[str],
        *,
        rest: Settings | None = None,
        wrong: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__("\n".join(problems), code="bad_config")
        self.problems = tuple(problems)
        self.rest = rest
        self.wrong = wrong


@dataclass(frozen=True)
class Loaded:
    """Settings, and for each name that is not at its default, who gave it."""

    settings: Settings
    origins: Mapping[str, str]
    file: Path | None
    warnings: tuple[str, ...]


def flag_name(name: str) -> str:
    """``stt_workers`` -> ``--stt-workers``."""
    return "--" + name.replace("_", "-")


def variable_name(name: str) -> str:
    """``stt_workers`` -> ``VOICECORE_STT_WORKERS``."""
    return ENV_PREFIX + name.upper()


def load(flags: Mapping[str, Any], config_file: str | None = None) -> Loaded:
    """Merge ``flags``, the environment, the TOML file and the defaults.

    ``flags`` holds only what was given. The file is ``config_file``, else the
    one in ``VOICECORE_CONFIG``, else ``./voicecore.toml`` if it exists. Raises
    :class:`ConfigError`.
    """
    path = _find_file(config_file)
    layers: list[tuple[Mapping[str, Any], Any]] = []
    if path is not None:
        layers.append((_read_file(path), lambda name: f"{path}: {name}"))
    environment = {k: v for k, v in EnvSettingsSource(Settings)().items() if v is not None}
    layers.append((environment, variable_name))
    layers.append((_secret_files(environment), lambda name: variable_name(name) + FILE_SUFFIX))
    layers.append((flags, flag_name))

    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for layer, describe in layers:
        for name, value in layer.items():
            origins[name] = describe(name)
            if name == "engine":
                values[name] = _more_options(values.get(name, {}), value, origins)
            else:
                values[name] = value
    try:
        settings = Settings(**values)
    except ValidationError as error:
        wrong = frozenset(str(name) for one in error.errors() for name in one["loc"][:1])
        rest = _without(wrong, values)
        raise ConfigError(_sentences(error, origins), rest=rest, wrong=wrong) from None
    if settings.llm != Settings.model_fields["llm"].default and "llm" not in origins:
        origins["llm"] = "llm_url is given"
    masked.add(_secrets_of(settings))
    warnings = (*_unknown_variables(), *settings.warnings, *read_plugins().warnings)
    return Loaded(settings, origins, path, warnings)


def _without(wrong: frozenset[str], values: Mapping[str, Any]) -> Settings | None:
    try:
        return Settings(**{name: value for name, value in values.items() if name not in wrong})
    except ValidationError:
        return None


def _more_options(under: EngineOptions, value: Any, origins: dict[str, str]) -> EngineOptions:
    """Options add up over the layers, and each has an origin of its own."""
    try:
        options = to_options(value)
    except ValueError as error:
        raise ConfigError([f"{origins['engine']}: {error}"]) from None
    for engine, table in options.items():
        for option in table:
            origins[option_name(engine, option)] = origins["engine"]
    return merge_options(under, options)


def _secret_files(environment: Mapping[str, Any]) -> dict[str, str]:
    """Secrets from the files that ``VOICECORE_<NAME>_FILE`` names."""
    found: dict[str, str] = {}
    problems = []
    for name in filter(_is_secret, NAMES):
        try:
            check = check_secrets if name in SEVERAL_SECRETS else check_secret
            secret = from_environment(variable_name(name), check=check)
        except ValueError as error:
            problems.append(str(error))
            continue
        if secret is not None and name not in environment:
            found[name] = secret[0]
    if problems:
        raise ConfigError(problems)
    return found


def _find_file(given: str | None) -> Path | None:
    named = given or os.environ.get(CONFIG_VARIABLE)
    if named:
        path = Path(named).expanduser()
        if not path.is_file():
            who = "--config" if given else CONFIG_VARIABLE
            raise ConfigError([f"{who}: there is no file {path}"])
        return path
    return DEFAULT_FILE if DEFAULT_FILE.is_file() else None


def _read_file(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            values = tomllib.load(file)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path} is not valid TOML: {error}"]) from None
    except OSError as error:
        raise ConfigError([f"{path} can't be read: {error.strerror}"]) from None
    problems = [f"{path}: {_unknown(name)}" for name in values if name not in NAMES]
    if problems:
        raise ConfigError(problems)
    return values


def _unknown(name: str) -> str:
    close = nearest(name.replace("-", "_"), NAMES)
    hint = f"; did you mean {close}?" if close else "; --help lists all settings"
    return f"there is no setting {name!r}{hint}"


def _unknown_variables() -> list[str]:
    """Variables that look like a misspelt setting.

    A warning only: other programs may set what begins like ours (Kubernetes
    puts ``<SERVICE>_SERVICE_HOST`` and the like into every container).
    """
    notes = []
    for variable in sorted(os.environ):
        name = variable.removeprefix(ENV_PREFIX).lower()
        if not variable.startswith(ENV_PREFIX) or name in NAMES or name in _OTHER_VARIABLES:
            continue
        of_file = name.removesuffix(FILE_SUFFIX.lower())
        if of_file != name and of_file in NAMES and _is_secret(of_file):
            continue
        close = nearest(name, NAMES)
        if close:
            notes.append(f"{variable} is no setting; did you mean {variable_name(close)}?")
    return notes


def _sentences(error: ValidationError, origins: Mapping[str, str]) -> list[str]:
    sentences: list[str] = []
    for detail in error.errors(include_url=False):
        location = detail["loc"]
        if not location:
            sentences.extend(strip(detail["msg"]).split("\n"))
            continue
        name = str(location[0])
        if name not in NAMES:
            sentences.append(_unknown(name))
            continue
        where = origins.get(name, name)
        inner = "".join(f" [{part}]" for part in location[1:])
        sentences.append(
            f"{where}{inner}: {wanted(detail, tuple(IceServer.model_fields))}{_given(name, detail)}"
        )
    return sentences


def _given(name: str, detail: Any) -> str:
    """`` , given ...`` unless the sentence says it or the value may be a secret."""
    value = detail.get("input")
    if detail["type"] in ("value_error", "extra_forbidden") or holds_secret(name):
        return ""
    if name == "port" and str(value).startswith("tcp://"):
        return (
            ", given a Kubernetes service link; set enableServiceLinks: false in the pod,"
            " or give --port"
        )
    return given(value)


def holds_secret(name: str) -> bool:
    """Whether the setting's value must never be shown as it is."""
    return name in ("ice_servers", "engine") or _is_secret(name)


def _secrets_of(settings: Settings) -> list[str]:
    """What may be shown nowhere of them; engines' keys are known when they are looked at."""
    held = [getattr(settings, name) for name in filter(_is_secret, NAMES)]
    held += [server.credential for server in settings.ice_servers]
    keys = [key for _, key in parse_keys(settings.api_keys.get_secret_value())]
    return [*keys, *(secret.get_secret_value() for secret in held)]


def _is_secret(name: str) -> bool:
    return Settings.model_fields[name].annotation is SecretStr
