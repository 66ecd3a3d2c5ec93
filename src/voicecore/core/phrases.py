"""Whether what the caller says while the agent speaks wants the turn.

=====================  ==========================  ==============================
said                   by                          the agent
=====================  ==========================  ==============================
"mm-hm", "yeah okay"   :func:`is_backchannel`      goes on
"no no that's wrong"   :func:`is_interruption`     stops at once
anything else          neither                     stops if it is long enough
=====================  ==========================  ==============================

"yes" is a backchannel here: whoever asks about it has asked no question, since
the agent is still speaking. "no" is not: it may be meant.
"""

from __future__ import annotations

from voicecore.core.languages import language_of
from voicecore.core.words import consists_of, holds, words_of


def is_backchannel(text: str, language: str) -> bool:
    """Whether ``text`` is acknowledgement and hesitation, and nothing else.

    Any number of them in a row; False for ``""``, of which nothing is known.
    """
    known = language_of(language)
    return consists_of(words_of(text), known.acknowledgements, known.fillers)


def is_interruption(text: str, language: str) -> bool:
    """Whether a phrase that asks the agent to stop stands in ``text``, as whole words."""
    return holds(words_of(text), language_of(language).interruptions)


def is_filler(word: str, language: str) -> bool:
    """Whether ``word`` is a sound of hesitation ("um") that says nothing."""
    return words_of(word) in language_of(language).fillers
