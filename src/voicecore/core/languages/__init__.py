"""Word lists, one module a language. What is not certain is not in them."""

from __future__ import annotations

from voicecore.core.languages import de, en, es, fr, it, nl, pt
from voicecore.core.languages.language import Language

LANGUAGES: dict[str, Language] = {
    "de": de.GERMAN,
    "en": en.ENGLISH,
    "es": es.SPANISH,
    "fr": fr.FRENCH,
    "it": it.ITALIAN,
    "nl": nl.DUTCH,
    "pt": pt.PORTUGUESE,
}
"""By ISO 639-1 code."""


def language_of(tag: str) -> Language:
    """The lists for a BCP 47 tag (``en``, ``de-AT``, ``pt_BR``); English for an unknown one."""
    code = tag.replace("_", "-").partition("-")[0].strip().lower()
    return LANGUAGES.get(code, en.ENGLISH)


__all__ = ["LANGUAGES", "Language", "language_of"]
