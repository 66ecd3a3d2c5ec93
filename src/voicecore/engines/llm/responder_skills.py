"""What the responder says: pure functions of the conversation and the time.

Each skill returns the whole answer as text; streaming is the engine's work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from voicecore.core.conversation import Conversation, Message
from voicecore.engines.llm.responder_clock import say_date, say_time
from voicecore.engines.llm.responder_keywords import choose_skill, split_words
from voicecore.engines.llm.responder_numbers import find_sum
from voicecore.engines.llm.responder_story import STORY

GREETING: Final = (
    "Hello! This is the voicecore demo. Ask me for the time, a sum, or a long story, "
    "and interrupt me whenever you like."
)
CONTINUING: Final = "Where was I? Ah yes."
_HELP: Final = (
    "I can tell the time and the date, do sums like twelve times seven, repeat what you say, "
    "spell a word, and tell a long story. Interrupt the story, then say: go on."
)
_IDENTITY: Final = (
    "I am the responder that comes with voicecore: a short script, not a language model. "
    "I catch key words and know a few tricks. A real model is one setting away: "
    "point VOICECORE_LLM_URL at one, and it answers in my place."
)
_LONGEST_QUOTE: Final = 20  # words


def answer(conversation: Conversation, now: datetime) -> str:
    """The answer to what the caller said last; never empty."""
    text = conversation.last_user_text.strip()
    if not split_words(text):
        return "Sorry, I did not catch that."
    for exact in (find_sum, spell, echo):
        reply = exact(text)
        if reply is not None:
            return reply
    skill = choose_skill(text)
    return _SKILLS[skill](conversation, now) if skill is not None else fall_back(text)


def echo(text: str) -> str | None:
    """Repeat what follows "say" or "repeat after me"; None if that isn't asked for."""
    words = split_words(text)
    for position, word in enumerate(words[:5]):
        if word not in ("say", "repeat"):
            continue
        rest = words[position + 1 :]
        if not _asks_to_say(words[:position], rest):
            return None
        return _sentence(rest[2:] if rest[:2] == ["after", "me"] else rest)
    return None


def spell(text: str) -> str | None:
    """Spell the words after "spell"; None if that isn't asked for."""
    words = split_words(text)
    start = next((i + 1 for i, w in enumerate(words) if w in ("spell", "spelled", "spelling")), 0)
    wanted = [word for word in words[start:] if word not in ("the", "word", "for", "me", "please")]
    if not start or not wanted:
        return None
    return " ".join(
        f"{word[0].upper()}{word[1:]} is spelled {_letters(word)}." for word in wanted[:3]
    )


def go_on(conversation: Conversation, now: datetime) -> str:
    """Go on with what the caller cut off, from where he stopped hearing it."""
    for message in reversed(conversation.messages):
        if message.role != "assistant":
            continue
        if _worth_continuing(message):
            return f"{CONTINUING} {message.unheard.strip()}"
        if message.text.startswith(CONTINUING):
            break  # it was continued since, and heard to its end
    return "There is nothing left to go on with. Shall I tell you a story?"


def say_again(conversation: Conversation, now: datetime) -> str:
    """Say the last answer once more, with what was not heard of it."""
    for message in reversed(conversation.messages):
        whole = f"{message.text} {message.unheard}".strip()
        if message.role == "assistant" and whole:
            return f"I said: {whole}"
    return "I have not said anything yet."


def fall_back(text: str) -> str:
    """Say honestly what was understood and that it leads nowhere."""
    words = text.split()
    quote = " ".join(words[:_LONGEST_QUOTE]) + (" and so on" if len(words) > _LONGEST_QUOTE else "")
    return (
        f'I understood: "{quote}". I have no answer to that, being only a short script. '
        "Say help to hear what I can do."
    )


def _worth_continuing(message: Message) -> bool:
    return message.interrupted and len(message.unheard.split()) >= 3


def _asks_to_say(before: list[str], rest: list[str]) -> bool:
    """Tell "say hello" and "can you say hello" from "say that again" and "did you say"."""
    if not rest or rest == ["after", "me"] or rest[0] in ("that", "it", "again"):
        return False
    polite = {"can", "could", "would", "will", "please"}.intersection(before)
    return bool(polite) or before[-1:] not in (["you"], ["not"], ["to"])


def _letters(word: str) -> str:
    return ", ".join(word.replace("'", "").upper())


def _sentence(words: list[str]) -> str:
    text = " ".join(words)
    return text[0].upper() + text[1:] + "."


_SKILLS: Final[Mapping[str, Callable[[Conversation, datetime], str]]] = {
    "stop": lambda conversation, now: "All right. I am listening.",
    "again": say_again,
    "goodbye": lambda conversation, now: "Goodbye! It was nice talking to you.",
    "continue": go_on,
    "story": lambda conversation, now: STORY,
    "time": lambda conversation, now: say_time(now),
    "date": lambda conversation, now: say_date(now),
    "identity": lambda conversation, now: _IDENTITY,
    "help": lambda conversation, now: _HELP,
    "thanks": lambda conversation, now: "You are welcome.",
    "how": lambda conversation, now: "I am fine, as scripts always are. What can I do for you?",
    "greet": lambda conversation, now: "Hello! What can I do for you?",
}
