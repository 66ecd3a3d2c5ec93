"""Full transcripts, and the same cut at every word: what does completeness say of them?

A full text judged OPEN is answered late, a cut one judged COMPLETE is cut off.
Transcripts are those of the recordings' folder, each once, in three writings:

``bare``      lower case, no marks, as pocketsphinx writes
``marked``    punctuated as the transcript is; a full text ends in its mark
``stopped``   a full stop behind everything, also behind what was cut

Not counted: digits recorded one by one, which nobody said as a turn; texts that are
fragments themselves ("..." at an end); cuts between two sentences, where the text is
whole though the turn isn't. Half of the transcripts, by a hash of their words, is for
tuning the word lists and rules, the other for reporting; ``python -m turns.completeness
--misses`` lists what the tuning half gets wrong.
"""

from __future__ import annotations

import os
import re
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from report import ROOT
from voicecore.core.completeness import JUDGED, Completeness, Reason, completeness, reason_of
from voicecore.core.words import words_of

CASES = Path(os.environ.get("VOICECORE_CASES", ROOT.parent / "shared" / "cases"))
TEXT_COLUMN = {
    "backchannel_mfa": 1,
    "speech_asterisk8k": 3,
    "speech_jfk": 1,
    "speech_pocketsphinx": 1,
}
LAB = "speech_mfa_words/lab__acoustic_corpus.lab"


def transcripts(cases: Path = CASES) -> list[str]:
    """Each text once, in a fixed order, without the fragments; ``[]`` where there are none."""
    found = {
        columns[column].strip()
        for folder, column in TEXT_COLUMN.items()
        if (table := cases / folder / "transcripts.tsv").exists()
        for line in table.read_text(encoding="utf-8").splitlines()
        if not line.startswith("#") and len(columns := line.split("\t")) > column
    }
    if (lab := cases / LAB).exists():
        found.add(lab.read_text(encoding="utf-8").strip())
    told = {" ".join(words_of(_spoken(text))): _spoken(text) for text in sorted(found)}
    return [text for text in told.values() if "..." not in text]


def _spoken(text: str) -> str:
    """``text`` without remarks in brackets."""
    return re.sub(r"\s*\([^)]*\)", "", text)


def is_for_tuning(text: str) -> bool:
    """Whether ``text`` is of the half that word lists and rules may be tuned on."""
    return zlib.crc32(" ".join(words_of(text)).encode()) % 2 == 0


def cuts(text: str) -> Iterator[str]:
    """The beginnings of ``text``, but for whole sentences."""
    words = text.split()
    for count in range(1, len(words)):
        if not re.search(r"[.?!]$", words[count - 1]):
            yield " ".join(words[:count])


def bare(text: str) -> str:
    """As pocketsphinx writes."""
    return " ".join(words_of(text))


def marked(text: str) -> str:
    """As it stands."""
    return text


def stopped(text: str) -> str:
    """With a full stop, whatever it is."""
    return text.rstrip(".,;:!? ") + "."


WRITINGS: tuple[Callable[[str], str], ...] = (bare, marked, stopped)


def judge(
    texts: list[str], write: Callable[[str], str]
) -> tuple[Counter[Completeness], Counter[Completeness]]:
    """How often the full texts, and the cut ones, were judged what."""
    end = stopped if write is marked else write
    full = Counter(completeness(end(text), "en") for text in texts)
    cut = Counter(completeness(write(part), "en") for text in texts for part in cuts(text))
    return full, cut


def main() -> None:
    """Print the table; the tuning half's misses if asked."""
    texts = transcripts()
    if not texts:
        sys.exit(f"no transcripts under {CASES}: set VOICECORE_CASES")
    halves = {
        "tuning": [text for text in texts if is_for_tuning(text)],
        "report": [text for text in texts if not is_for_tuning(text)],
    }
    print(f"{'half':8}{'writing':9}{'text':6}{'count':>6}  complete  unknown     open")
    for half, chosen in halves.items():
        for write in WRITINGS:
            for kind, counts in zip(("full", "cut"), judge(chosen, write), strict=True):
                shares = (counts[c] / (counts.total() or 1) for c in Completeness)
                row = "".join(f"{share:9.1%}" for share in shares)
                print(f"{half:8}{write.__name__:9}{kind:6}{counts.total():6}{row}")
    if "--misses" in sys.argv:
        _print_misses(halves["tuning"])


def _print_misses(texts: list[str]) -> None:
    for text in texts:
        reason = reason_of(bare(text), "en")
        if JUDGED[reason] is Completeness.OPEN:
            print(f"full but {reason.name}: {bare(text)}")
        for part in cuts(text):
            reason = reason_of(bare(part), "en")
            if JUDGED[reason] is Completeness.COMPLETE or reason is Reason.PLAIN:
                print(f"cut but {reason.name}: {bare(part)} |")


if __name__ == "__main__":
    main()
