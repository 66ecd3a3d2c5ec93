"""Real-time voice agents, and the audio core under them.

An agent is an async generator of text (``examples/parrot.py``)::

    from voicecore import Conversation

    async def agent(conversation: Conversation):
        yield f"You said: {conversation.last_user_text}"

run by ``python -m voicecore.service --agent module:agent``. Importing this
package loads no engine, no network code and no native module.
"""

from __future__ import annotations

from voicecore.core.conversation import Conversation, Message, ToolCall
from voicecore.core.protected import Protected
from voicecore.errors import (
    CapacityError,
    EngineError,
    MissingLibraryError,
    MisuseError,
    PeerError,
    VoicecoreError,
)

__all__ = [
    "CapacityError",
    "Conversation",
    "EngineError",
    "Message",
    "MissingLibraryError",
    "MisuseError",
    "PeerError",
    "Protected",
    "ToolCall",
    "VoicecoreError",
]
