"""Fails when a hot loop of a native module touches Python, or nogil code may take the GIL.

Cython says of each line which C it became and how many calls into Python that takes
(``VOICECORE_BUILD=annotate python setup.py --version`` writes it below ``build/``, as pages to
look at too). Every loop counts as hot but those in constructors, and those whose first line
ends in a comment that begins with ``# cold:`` and gives the reason.
"""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
NATIVE = ROOT / "src" / "voicecore" / "_native"
PAGES = ROOT / "build" / "cython-annotate"

_LINE = re.compile(
    r"<pre class=\"cython line score-(?P<score>\d+)\".*?"
    r"<span class=\"\">\s*(?P<number>\d+)</span>: "
    r"(?P<source>.*?)</pre>(?:\s*<pre class='cython code[^']*'>(?P<code>.*?)</pre>)?",
    re.DOTALL,
)
_TEXT = '<span class="sd">'  # docstrings
_TAKES_GIL = re.compile(r"PyGILState_Ensure|__Pyx_ErrOccurredWithGIL")
_LOOP = re.compile(r"(for|while)\b")
_FUNCTION = re.compile(r"(?:cp?def|def)\b[^=(]*\b(\w+)\(")
CONSTRUCTORS = {"__cinit__", "__init__", "__dealloc__"}


@dataclass(frozen=True)
class Line:
    """One line of a ``.pyx``: ``score`` counts what it asks of Python."""

    number: int
    text: str
    score: int
    code: str

    @property
    def indent(self) -> int:
        """Spaces before it."""
        return len(self.text) - len(self.text.lstrip())

    @property
    def opens_loop(self) -> bool:
        """Whether a loop begins here."""
        return _LOOP.match(self.text.lstrip()) is not None


def lines_of(page: Path) -> list[Line]:
    """Read one of Cython's pages."""

    def plain(text: str | None) -> str:
        return html.unescape(re.sub(r"<[^>]*>", "", text or ""))

    return [
        Line(int(m["number"]), plain(m["source"]), int(m["score"]), plain(m["code"]))
        for m in _LINE.finditer(page.read_text(encoding="utf-8"))
        if _TEXT not in m["source"]
    ]


def hot_lines(lines: list[Line]) -> Iterator[Line]:
    """Yield the lines that run once for each turn of a hot loop.

    An exception ends the loop, so what raises it is left out.
    """
    function = ""
    raising = 0  # brackets of a raise statement still open
    loops: list[tuple[int, bool]] = []  # indent, whether hot
    for line in lines:
        if not line.text.strip():
            continue
        while loops and line.indent <= loops[-1][0]:
            loops.pop()
        if named := _FUNCTION.match(line.text.lstrip()):
            function = named[1]
        brackets = sum((c in "([{") - (c in ")]}") for c in line.text)
        raises = raising > 0 or line.text.lstrip().startswith("raise ")
        raising = raising + brackets if raises else 0
        if loops and loops[-1][1] and not raises:
            yield line
        if line.opens_loop:
            cold = "# cold: " in line.text or function in CONSTRUCTORS or line.indent == 0
            inside_cold = bool(loops) and not loops[-1][1]
            loops.append((line.indent, not (cold or inside_cold)))
            if loops[-1][1]:
                yield line


def complaints_about(page: Path) -> Iterator[str]:
    """Yield what is wrong with a module, a line each."""
    lines = lines_of(page)
    if not lines:
        yield f"{page.name}: not understood; has Cython changed its pages?"
    for line in hot_lines(lines):
        if line.score:
            yield f"{page.stem}.pyx:{line.number}: hot loop touches Python: {line.text.strip()}"
    for line in lines:
        if _TAKES_GIL.search(line.code):
            yield f"{page.stem}.pyx:{line.number}: may take the GIL back: {line.text.strip()}"


def main() -> int:
    """Annotate all modules, print what is wrong; 1 if anything is."""
    environment = os.environ | {"VOICECORE_BUILD": "annotate"}
    command = [sys.executable, "-W", "ignore", "setup.py", "--quiet", "--version"]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
    wrong = 0
    for source in sorted(NATIVE.glob("*.pyx")):
        page = next(PAGES.rglob(f"{source.stem}.html"))
        hot = sum(1 for _ in hot_lines(lines_of(page)))
        found = list(complaints_about(page))
        wrong += len(found)
        print(f"{source.name:16}{hot:4} lines in hot loops  {page.relative_to(ROOT)}")
        for complaint in found:
            print(f"  {complaint}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
