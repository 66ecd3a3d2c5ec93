"""``python -m voicecore.testing ENGINE --stage STAGE``: a report on one engine.

Exit status: 0 if every promise is kept, 1 if not, 2 if it could not be tried.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import typing
import wave
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from voicecore.engines.catalogue import find_engine, names_of
from voicecore.engines.constructor import Parameter, is_made, parameters_of
from voicecore.engines.protocols import Pcm
from voicecore.errors import MisuseError, VoicecoreError
from voicecore.testing.conformance import STAGES, check_engine


def main(argv: Sequence[str] | None = None) -> int:
    """Run the checks, print the report."""
    arguments = _parser().parse_args(argv)
    given: dict[str, Any] = {"limit_s": arguments.limit_s, "stall_ms": arguments.stall_ms}
    given["said"] = arguments.said
    try:
        factory = engine_factory(arguments.stage, arguments.engine, arguments.engine_option)
        if arguments.audio:
            given["audio"] = read_wave(arguments.audio)
        if arguments.text:
            given["texts"] = tuple(arguments.text)
        only = tuple(arguments.only)
        report = asyncio.run(check_engine(arguments.stage, factory, only=only, **given))
    except VoicecoreError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(report)
    return 0 if report.passed else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m voicecore.testing",
        description="Check an engine against what its Protocol promises.",
    )
    parser.add_argument("engine", help="module:Class, or the name of an installed engine")
    parser.add_argument("--stage", required=True, choices=STAGES)
    parser.add_argument(
        "--engine-option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an argument for the engine's constructor; may be repeated",
    )
    parser.add_argument("--audio", type=Path, help="WAV, 16 bits, one channel, the engine's rate")
    parser.add_argument("--said", default="", help="words that are surely heard in --audio")
    parser.add_argument("--text", action="append", help="what is asked or spoken; may be repeated")
    parser.add_argument("--only", action="append", default=[], help="one check; may be repeated")
    parser.add_argument(
        "--limit-s", type=float, default=30.0, help="how long one call may take (%(default)g)"
    )
    parser.add_argument(
        "--stall-ms",
        type=float,
        default=100.0,
        help="how long the event loop may stand still (%(default)g)",
    )
    return parser


def engine_factory(stage: str, name: str, options: Sequence[str]) -> Callable[[], Any]:
    """What makes the engine; raises MisuseError for what can't be found or understood."""
    entry = find_engine(stage, name)
    if entry is None:
        known = ", ".join(names_of(stage))
        raise MisuseError(f"no {stage} engine {name!r}: module:Class, or one of {known}")
    found = entry.load()
    if not is_made(found):
        if options:
            raise MisuseError(f"{name} is an object, which takes no --engine-option")
        return lambda: found
    keywords = _keywords(parameters_of(found), options)

    def make() -> Any:
        try:
            return found(**keywords)
        except TypeError as error:
            raise MisuseError(f"{name} can't be made: {error}; see --engine-option") from error

    make()
    return make


def _keywords(parameters: Sequence[Parameter], options: Sequence[str]) -> dict[str, Any]:
    types = {parameter.name: parameter.type for parameter in parameters}
    keywords: dict[str, Any] = {}
    for parameter in parameters:
        variable = parameter.secret.variable if parameter.secret is not None else ""
        if variable in os.environ:
            keywords[parameter.name] = os.environ[variable]
    for option in options:
        name, equals, text = option.partition("=")
        if not equals:
            raise MisuseError(f"--engine-option {name}: write NAME=VALUE")
        keywords[name] = _value(name, text, types.get(name, str))
    return keywords


def _value(name: str, text: str, kind: Any) -> Any:
    """``text`` as a parameter of type ``kind`` takes it."""
    origin = typing.get_origin(kind) or kind
    try:
        if origin is bool:
            return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[
                text.lower()
            ]
        if origin in (int, float, Path):
            return origin(text)
        if origin is list:
            return text.split(",")
        if origin is dict:
            return json.loads(text)
    except (ValueError, KeyError) as error:
        wanted = getattr(origin, "__name__", str(origin))
        raise MisuseError(f"--engine-option {name}: {text!r} is no {wanted}") from error
    return text


def read_wave(path: Path) -> Pcm:
    """The samples of a WAV file of 16 bits and one channel."""
    try:
        with wave.open(str(path)) as file:
            if file.getsampwidth() != 2 or file.getnchannels() != 1:
                raise MisuseError(f"{path}: 16 bits and one channel are wanted")
            return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.int16)
    except (OSError, EOFError, wave.Error) as error:
        raise MisuseError(f"{path}: {error}") from error


if __name__ == "__main__":
    raise SystemExit(main())
