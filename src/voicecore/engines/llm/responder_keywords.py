"""Which skill a caller wants, by the words that survived the recogniser.

Each skill has groups of words with a weight; a group counts when all its words
are there, in any order. The skill with the highest sum wins if it reaches
:data:`THRESHOLD`. A long word also counts with one letter wrong, missing or too
many ("thank", "storey").
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

THRESHOLD: Final = 2.0
_SHORTEST_FUZZY: Final = 5

Weights = Mapping[str, float]

# In order of precedence: the first of several equal ones wins.
SKILLS: Final[Mapping[str, Weights]] = {
    "stop": {"stop": 2.5, "enough": 2.0, "quiet": 2.5, "shut up": 2.5, "be silent": 2.0},
    "again": {
        "repeat that": 4.0, "say that": 3.5, "say again": 4.0, "did say": 4.0, "pardon": 2.5,
        "once more": 2.5, "come again": 3.0, "again": 2.0, "last thing": 1.0,
    },
    "goodbye": {
        "goodbye": 3.5, "bye": 3.5, "hang up": 3.0, "see later": 2.5, "see you": 1.5,
        "farewell": 3.0, "good night": 2.5, "good bye": 3.5,
    },
    "continue": {
        "continue": 3.5, "go on": 3.0, "carry on": 3.0, "keep going": 3.0, "resume": 3.0,
        "next": 1.0, "what happened": 2.5, "happened next": 2.0, "rest story": 3.5,
        "tell more": 2.5, "went on": 2.0, "go ahead": 2.5, "where were": 2.5,
    },
    "story": {
        "story": 3.0, "stories": 3.0, "tale": 3.0, "tell me": 0.75, "long": 0.5,
        "lighthouse": 2.0, "tell something": 2.0,
    },
    "time": {
        "time": 2.0, "what time": 1.0, "what times": 2.5, "clock": 2.0, "hour": 1.5,
        "how late": 2.5, "it is": 0.25,
    },
    "date": {
        "date": 2.5, "what day": 2.5, "day is": 1.5, "day": 1.0, "today": 1.5, "month": 2.0,
        "weekday": 2.5, "today day": 0.5,
    },
    "identity": {
        "who are": 2.5, "yourself": 2.0, "who you": 2.0, "what are you": 2.0, "your name": 3.0,
        "you human": 3.0,
        "you robot": 3.0, "you real": 2.5, "person": 1.5, "machine": 1.5, "model": 2.0,
        "language model": 1.5, "artificial": 2.0, "intelligence": 2.0, "voicecore": 2.0,
        "chat": 1.0, "real model": 1.0, "computer": 1.5, "are you": 0.5, "bot": 2.0,
    },
    "help": {
        "help": 3.0, "can you do": 2.75, "what can you": 2.25, "able to": 2.0, "options": 2.0,
        "commands": 2.0, "what can ask": 2.5, "what can i": 2.0, "abilities": 2.0,
    },
    "thanks": {"thanks": 2.5, "cheers": 2.0, "grateful": 2.0},
    "how": {"how are you": 2.75, "how going": 2.0, "how doing": 2.0},
    "greet": {
        "hello": 2.0, "hi": 2.0, "hey": 2.0, "good morning": 2.5, "good afternoon": 2.5,
        "good evening": 2.5, "greetings": 2.0, "morning": 1.0,
    },
}  # fmt: skip

_WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")


def split_words(text: str) -> list[str]:
    """Lower-case words, without punctuation; an apostrophe within a word stays."""
    return _WORD.findall(text.lower().replace("’", "'"))


def choose_skill(text: str) -> str | None:
    """The name of the skill that fits ``text`` best, or None below the threshold.

    >>> choose_skill("uh what the time please")
    'time'
    """
    words = [part for word in split_words(text) for part in _plain(word)]
    scores = {name: score(words, weights) for name, weights in SKILLS.items()}
    best = max(scores, key=lambda name: scores[name])
    return best if scores[best] >= THRESHOLD else None


def score(words: Sequence[str], weights: Weights) -> float:
    """The sum of the weights of all groups whose words are all among ``words``."""
    return sum(
        weight
        for group, weight in weights.items()
        if all(_has(words, keyword) for keyword in group.split())
    )


def _has(words: Sequence[str], keyword: str) -> bool:
    if keyword in words:
        return True
    if len(keyword) < _SHORTEST_FUZZY:
        return False
    return any(word[0] == keyword[0] and _one_edit(word, keyword) for word in words)


def _one_edit(one: str, other: str) -> bool:
    """Whether one letter changed, lost or added makes ``one`` into ``other``."""
    if abs(len(one) - len(other)) > 1:
        return False
    start = 0
    shorter = min(len(one), len(other))
    while start < shorter and one[start] == other[start]:
        start += 1
    if len(one) == len(other):
        return one[start + 1 :] == other[start + 1 :]
    if len(one) < len(other):
        return one[start:] == other[start + 1 :]
    return one[start + 1 :] == other[start:]


def _plain(word: str) -> list[str]:
    """Undo contractions: "what's" is "what is", "you're" is "you are"."""
    stem, _, rest = word.partition("'")
    return [stem, {"s": "is", "re": "are", "m": "am", "ll": "will"}[rest]] if rest in (
        "s", "re", "m", "ll"
    ) else [word]  # fmt: skip
