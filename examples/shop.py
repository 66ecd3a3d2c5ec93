"""An agent class with a greeting and a slow lookup that it talks over.

Run it by ``python -m voicecore.service --agent examples.shop:Shop``.
"""

import asyncio
from collections.abc import AsyncIterator

from voicecore import Conversation

PRICES = {"apple": 40, "banana": 25, "coffee": 320}


class Shop:
    """Answers what things cost; one object serves all calls."""

    greeting = "Welcome to the shop. Ask me what something costs."
    speculative = True
    """A price may be looked up in vain: a reply can begin while the caller still pauses."""

    async def reply(self, conversation: Conversation) -> AsyncIterator[str]:
        """Speak a first clause at once, look up while it is heard, then answer."""
        asked = [name for name in PRICES if name in conversation.last_user_text.lower()]
        if not asked:
            yield f"I sell {', '.join(PRICES)}. Which one?"
            return
        yield "One moment, I am looking that up for you. "
        await asyncio.sleep(0.5)
        for name in asked:
            yield f"One {name} costs {PRICES[name]} cents. "
