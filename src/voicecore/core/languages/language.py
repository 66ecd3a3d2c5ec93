"""What a language's list of words holds."""

from __future__ import annotations

from dataclasses import dataclass, field

from voicecore.core.languages.abbreviations import Abbreviations
from voicecore.core.words import Phrases


@dataclass(frozen=True, slots=True)
class Language:
    """The phrases of one language that tell whose turn it is.

    All but the abbreviations are normalised as :func:`voicecore.core.words.words_of`
    does, so spelling in capitals, with hyphens or with commas doesn't matter.
    """

    acknowledgements: Phrases
    """Say "go on" and want no turn. No word that denies: "no" is an objection."""
    fillers: Phrases
    """Hold the turn while the speaker thinks."""
    interruptions: Phrases
    """Want the agent to stop, wherever in the utterance they stand."""
    answers: Phrases
    """Whole answers to a question, alone or one after the other."""
    whole: Phrases
    """Whole utterances whoever spoke before: greetings, thanks, farewells, "say that again"."""
    closings: Phrases
    """With one of these at its end, an utterance of two words or more is over, as a rule."""
    never_last: Phrases
    """Something must follow: articles, conjunctions, possessives, "I want"."""
    seldom_last: Phrases
    """Something follows as a rule: prepositions, auxiliaries, pronouns; but "where is it from"."""
    questions: Phrases
    """Begin a question, in which a word that is seldom last may be ("what is it for")."""
    conditions: Phrases
    """Begin a clause that another follows."""
    thing_openers: Phrases
    """Begin what is no more than a thing or a place: articles, possessives, prepositions."""
    digits: Phrases
    """Digits as said one by one in numbers of telephones, cards and accounts."""
    letter_words: Phrases
    """Words of one letter, which spell nothing when they stand alone ("a", "i")."""
    symbols: Phrases
    """Said in addresses; a name or an ending must follow."""
    abbreviations: Abbreviations = field(default_factory=Abbreviations)
    """Full stops that end no sentence."""
