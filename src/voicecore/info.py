"""``python -m voicecore.info``: what this installation is made of, and what it lacks.

Needs nothing but numpy, opens no socket, and loads no engine.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import sys
from collections.abc import Sequence
from importlib import metadata

from voicecore._native import echo_canceller, opus, simd, srtp
from voicecore.engines.catalogue import read_plugins
from voicecore.engines.vad.model_file import find_model
from voicecore.errors import VoicecoreError

EXTRAS = ("opus", "service", "demo", "espeak", "sherpa", "whisper", "piper")
"""Extras of the wheel that add something at run time."""


def main(argv: Sequence[str] | None = None) -> int:
    """Print what is found; 0, or 1 with ``--strict`` if something is missing."""
    parser = argparse.ArgumentParser(
        prog="python -m voicecore.info",
        description="Show which kernels, libraries and optional packages this installation uses.",
        epilog=f"{simd.ISA_VARIABLE} picks other kernels (one of: {', '.join(simd.available())}); "
        "VOICECORE_LIBOPUS, VOICECORE_LIBSRTP and VOICECORE_LIBSPEEXDSP name other libraries. "
        "What each engine needs: python -m voicecore.service --engines.",
    )
    parser.add_argument("--json", action="store_true", help="for machines, on one line")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if anything is missing")
    arguments = parser.parse_args(argv)
    found = collect()
    print(json.dumps(found) if arguments.json else render(found))
    return 1 if arguments.strict and found["missing"] else 0


def collect() -> dict[str, object]:
    """Everything :func:`main` shows, as plain data.

    ``missing`` holds a sentence for each thing that isn't there, saying what mends it.
    """
    missing: list[str] = []
    return {
        "voicecore": _version("voicecore") or "not installed (run from its source)",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.machine()}",
        "isa": simd.isa(),
        "isa_available": list(simd.available()),
        "numpy": _version("numpy"),
        "libopus": _libopus(missing),
        "libsrtp": _libsrtp(),
        "libspeexdsp": _libspeexdsp(),
        "silero_model": _silero(missing),
        "extras": _extras(),
        "plugins": _plugins(missing),
        "missing": missing,
    }


def render(found: dict[str, object]) -> str:
    """The same for people."""
    others = [name for name in _list(found["isa_available"]) if name != found["isa"]]
    kernels = f"{found['isa']}" + (f" (this machine also runs {', '.join(others)})" * bool(others))
    lines = [
        ("voicecore", found["voicecore"]),
        ("python", f"{found['python']}, {found['system']}, numpy {found['numpy']}"),
        ("kernels", kernels),
        ("libopus", found["libopus"] or "none"),
        ("libsrtp", found["libsrtp"] or "none, which only calls need"),
        ("speexdsp", found["libspeexdsp"] or "none, which only an echo canceller needs"),
        ("silero", found["silero_model"] or "none"),
    ]
    extras = found["extras"]
    assert isinstance(extras, dict)
    lines += [(f"[{name}]", _extra_line(name, packages)) for name, packages in extras.items()]
    lines += [("plugin", plugin) for plugin in _list(found["plugins"])]
    lines += [("missing", sentence) for sentence in _list(found["missing"])]
    return "\n".join(f"{name:10} {text}" for name, text in lines)


def _extra_line(name: str, packages: dict[str, str | None]) -> str:
    absent = [package for package, version in packages.items() if version is None]
    if absent:
        return f'no {", ".join(absent)}: pip install "voicecore[{name}]"'
    return ", ".join(f"{package} {version}" for package, version in packages.items())


def _list(value: object) -> list[str]:
    assert isinstance(value, list)
    return value


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _libopus(missing: list[str]) -> str | None:
    try:
        path, version = opus.library()
    except VoicecoreError as error:
        missing.append(str(error))
        return None
    return f"{version}, {path}"


def _libsrtp() -> str | None:
    """None isn't missing: the kernels alone do without."""
    try:
        path, version = srtp.library()
    except VoicecoreError:
        return None
    return f"{version}, {path}"


def _libspeexdsp() -> str | None:
    """None isn't missing: echo_canceller is off unless asked for."""
    try:
        return echo_canceller.library()
    except VoicecoreError:
        return None


def _silero(missing: list[str]) -> str | None:
    try:
        model = find_model()
    except VoicecoreError as error:
        missing.append(str(error))
        return None
    return f"{'known' if model.known else 'unknown'} weights, {model.path}"


def _plugins(missing: list[str]) -> list[str]:
    """Engines of other distributions, which are not imported here."""
    found = read_plugins()
    missing.extend(found.warnings)
    return [f"{entry.stage} {entry.name}, of {entry.plugin}" for entry in found.entries]


def _extras() -> dict[str, dict[str, str | None]]:
    """For each extra its packages, with the version installed or None."""
    try:
        wanted = metadata.requires("voicecore") or []
    except metadata.PackageNotFoundError:
        return {}
    extras: dict[str, dict[str, str | None]] = {name: {} for name in EXTRAS}
    for line in wanted:
        package = re.match(r"[\w.-]+", line)
        extra = re.search(r"extra == ['\"](\w+)['\"]", line)
        if package and extra and extra[1] in extras:
            extras[extra[1]][package[0]] = _version(package[0])
    return extras


if __name__ == "__main__":
    sys.exit(main())
