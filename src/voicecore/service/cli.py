"""The command line: flags for every setting, and a help that teaches."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from voicecore.service.config import Settings
from voicecore.service.config_load import (
    CONFIG_VARIABLE,
    ConfigError,
    flag_name,
    variable_name,
)
from voicecore.service.setting_types import group_of, nearest

_INTRO = """\
Answer voice calls from browsers: hear, decide whose turn it is, answer, and
stop the moment the caller speaks. Without any setting it runs offline on
http://127.0.0.1:8080/.

Every setting can be given in three ways; the first found wins:
  a flag           --stt-workers 4
  a variable       VOICECORE_STT_WORKERS=4
  a TOML file      stt_workers = 4      (--config FILE, else ./voicecore.toml)
Lists take commas, or the flag again."""

_EXAMPLES = """\
examples:
  talk to it on this machine
      python -m voicecore.service
  from a phone in the same network (the browser warns about the certificate once)
      python -m voicecore.service --host 0.0.0.0 --tls self --allow-anonymous
  for those alone who have a key, which the page asks for
      VOICECORE_API_KEYS=web=$(openssl rand -hex 24) python -m voicecore.service \\
          --host 0.0.0.0 --tls self
  your own agent, an async generator of text in my_agent.py
      python -m voicecore.service --agent my_agent:answer
  a language model on this machine
      python -m voicecore.service --llm-url http://localhost:11434/v1 --llm-model llama3.2
  behind a reverse proxy that ends TLS
      python -m voicecore.service --trusted-proxies 10.0.0.0/8 --allowed-hosts voice.example.org
  callers behind strict firewalls, with coturn
      VOICECORE_TURN_SECRET=... python -m voicecore.service --turn-urls turn:turn.example.org:3478
  a hosted recogniser, and one that takes over when it fails
      DEEPGRAM_API_KEY=... python -m voicecore.service --stt deepgram,pocketsphinx \\
          --engine deepgram.language=de
  the engines there are, their options, and what each still needs
      python -m voicecore.service --engines
  is a service answering its callers? a real call, for cron and for people
      python -m voicecore.service probe http://127.0.0.1:8080/ --text
  see what it would run with, and where each value comes from
      python -m voicecore.service --print-config"""


class _Parser(argparse.ArgumentParser):
    """Raises :class:`ConfigError` in place of printing usage and exiting."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError([message])


class _Layout(argparse.RawDescriptionHelpFormatter):
    """Flags on a line of their own when long, help text in a wide column."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=100)


def build_parser() -> argparse.ArgumentParser:
    """The parser; all setting flags default to ``SUPPRESS``, i.e. not given."""
    parser = _Parser(
        prog="python -m voicecore.service",
        usage="%(prog)s [--config FILE] [--print-config | --engines] [settings]",
        description=_INTRO,
        epilog=_EXAMPLES,
        formatter_class=_Layout,
        allow_abbrev=False,
        add_help=False,
    )
    general = parser.add_argument_group("General")
    general.add_argument("-h", "--help", action="help", help="show this and exit")
    general.add_argument(
        "--config", metavar="FILE", help=f"TOML file with settings ({CONFIG_VARIABLE})"
    )
    general.add_argument(
        "--print-config",
        action="store_true",
        help="print the effective settings as TOML with the origin of each, and exit",
    )
    general.add_argument(
        "--engines",
        nargs="?",
        const="text",
        choices=("text", "json"),
        help="list the engines with their options, and what each still needs, and exit;"
        " --engines=json for programs",
    )
    groups: dict[str, Any] = {}
    for name, field in Settings.in_order():
        title = group_of(field)
        if title not in groups:
            groups[title] = parser.add_argument_group(title)
        _add_flag(groups[title], name, field)
    return parser


def parse(argv: Sequence[str]) -> tuple[dict[str, Any], str | None, str]:
    """Flags that were given, the ``--config`` file, and what to show in place of running.

    That is ``config``, ``engines``, ``engines-json`` or ``""``.

    Raises :class:`ConfigError` for what is no flag, naming the nearest one.
    ``--help`` prints and raises ``SystemExit(0)`` as argparse does.
    """
    parser = build_parser()
    known, unknown = parser.parse_known_args(list(argv))
    if unknown:
        flags = [flag_name(name) for name in Settings.model_fields]
        problems = []
        for word in [w for w in unknown if w.startswith("-")] or unknown:
            close = nearest(
                word.partition("=")[0], [*flags, "--config", "--print-config", "--engines"]
            )
            hint = f"; did you mean {close}?" if close else "; --help lists them"
            problems.append(f"there is no flag {word.partition('=')[0]}{hint}")
        raise ConfigError(problems)
    values = vars(known)
    config = values.pop("config")
    printing, listing = values.pop("print_config"), values.pop("engines")
    if printing:
        return values, config, "config"
    return values, config, {"text": "engines", "json": "engines-json"}.get(listing, "")


def _add_flag(group: Any, name: str, field: FieldInfo) -> None:
    extra = field.json_schema_extra
    metavar = str(extra["metavar"]) if isinstance(extra, dict) else ""
    default = field.get_default(call_default_factory=True)
    many = isinstance(default, list | dict)
    shown = _plain(default)
    note = f"default {shown}" if shown not in ("", "[]", "{}") and len(shown) <= 40 else ""
    if len(shown) > 40:
        note = "has a default, see --print-config"
    tail = ", ".join(part for part in (variable_name(name), note) if part)
    # A switch may stand alone: --allow-anonymous.
    switch: dict[str, Any] = {"nargs": "?", "const": "true"} if default is False else {}
    group.add_argument(
        flag_name(name),
        action="append" if many else "store",
        **switch,
        default=argparse.SUPPRESS,
        metavar=metavar or _kind(default),
        help=f"{field.description} [{tail}]".replace("%", "%%"),
    )


def _kind(default: object) -> str:
    if isinstance(default, bool):
        return "true|false"
    return "N" if isinstance(default, int | float) else "NAME"


def _plain(value: object) -> str:
    if value is None or isinstance(value, SecretStr):
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)
