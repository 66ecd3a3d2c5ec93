"""Agents that the end-to-end tests hand to the service by ``--agent e2e_agents:NAME``."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator

from voicecore.core.conversation import Conversation

STORY = " ".join(f"word{number:02d}" for number in range(1, 21))
"""One clause of twenty words: the cutter has no reason to cut it."""


async def storyteller(conversation: Conversation) -> AsyncIterator[str]:
    """The story first; afterwards the whole conversation as it is remembered, as JSON."""
    if len([m for m in conversation if m.role == "user"]) == 1:
        yield STORY
        return
    yield json.dumps([[m.role, m.text, m.interrupted] for m in conversation])


async def storyteller_twice(conversation: Conversation) -> AsyncIterator[str]:
    """The story, and once more; afterwards the whole conversation, as JSON."""
    if len([m for m in conversation if m.role == "user"]) <= 2:
        yield STORY
        return
    yield json.dumps([[m.role, m.text, m.interrupted] for m in conversation])


_asked = itertools.count(1)


async def clerk(conversation: Conversation) -> AsyncIterator[str]:
    """``A + B after 7 askings``: all that the caller said, and how often it was asked by now."""
    said = [m.text for m in conversation if m.role == "user"]
    # One clause, so one tone.
    yield f"{' + '.join(said)} after {next(_asked)} askings"


clerk.speculative = True  # type: ignore[attr-defined]
