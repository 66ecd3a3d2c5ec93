"""``--print-config``: the settings in force as TOML, each with where it comes from."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from pydantic import SecretStr

from voicecore.engines.catalogue import STAGES, find_engine
from voicecore.service.config import Settings
from voicecore.service.config_load import Loaded
from voicecore.service.engine_options import Look, look_at
from voicecore.service.engine_spec import option_name
from voicecore.service.secret_text import MASK
from voicecore.service.setting_types import IceServer, group_of


def render(loaded: Loaded) -> str:
    """The effective settings as TOML that can be read back, secrets left out.

    A comment after each value says where it came from. Settings that are
    unset or secret appear as comments, since TOML has no word for either.
    """
    lines = [f"# effective settings (file: {loaded.file or 'none'})"]
    title = ""
    for name, field in Settings.in_order():
        if group_of(field) != title:
            title = group_of(field)
            lines += ["", f"# {title}"]
        if name == "engine":
            lines += _options(loaded)
        else:
            lines.append(_line(name, getattr(loaded.settings, name), loaded.origins.get(name)))
    settings = loaded.settings
    lines += ["", f"# calls at once: {settings.call_limit}"]
    return "\n".join(lines) + "\n"


def _line(name: str, value: object, origin: str | None) -> str:
    where = f"from {origin}" if origin else "default"
    if isinstance(value, SecretStr):
        if not value.get_secret_value():
            return f"# {name} =  (unset)"
        return f'# {name} = "{MASK}"  # {where}; not shown'
    if value is None:
        return f"# {name} =  (unset)"
    if isinstance(value, str) and "://" in value:
        value = _without_password(str(value))
    return f"{name} = {toml_value(value)}  # {where}"


def _options(loaded: Loaded) -> list[str]:
    """The options that were given, and where the keys of the chosen engines come from."""
    settings, looks = loaded.settings, _looks(loaded.settings)
    lines = []
    for engine, table in settings.engine.items():
        known = [one for look in looks if look.entry.name == engine for one in look.parameters]
        public = {one.name for one in known} - {one.name for one in known if one.secret}
        for option, value in table.items():
            name = option_name(engine, option)
            # Who mistook key_file for key has not written down a file's name.
            shown = option in public or (option.endswith("_file") and _is_file(value))
            held: object = value if shown else SecretStr(str(value))
            lines.append(_line(name, held, loaded.origins.get(name)))
    for look in looks:
        for one in look.parameters:
            origin = look.origins.get(one.name, "")
            if one.secret and origin and not origin.startswith("engine."):
                name = option_name(look.entry.name, one.name)
                lines.append(f'# {name} = "{MASK}"  # from {origin}; not shown')
    return list(dict.fromkeys(lines)) or ["# engine =  (unset)"]


def _looks(settings: Settings) -> list[Look]:
    """At each chosen engine, and at each that has options."""
    pairs = [(stage, name) for stage in STAGES for name in settings.chain(stage)]
    pairs += [(stage, name) for name in settings.engine for stage in STAGES]
    entries = [find_engine(stage, name) for stage, name in dict.fromkeys(pairs)]
    return [look_at(entry, settings) for entry in entries if entry is not None]


def _is_file(value: object) -> bool:
    return isinstance(value, str) and Path(value).expanduser().is_file()


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{MASK}@{host}"))


def toml_value(value: object) -> str:
    """``value`` as a TOML literal: text, numbers, paths, lists, tables and ICE servers."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, SecretStr):
        return toml_value(MASK if value.get_secret_value() else "")
    if isinstance(value, str | Path):
        return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    if isinstance(value, IceServer):
        value = {name: getattr(value, name) for name in IceServer.model_fields}
    if isinstance(value, Mapping):
        pairs = (f"{_key(key)} = {toml_value(item)}" for key, item in value.items())
        return "{ " + ", ".join(pairs) + " }"
    raise TypeError(f"no TOML form for {type(value).__name__}")


def _key(key: object) -> str:
    plain = re.fullmatch(r"[\w-]+", str(key), re.ASCII) is not None
    return str(key) if plain else json.dumps(str(key))
