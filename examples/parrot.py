"""The shortest agent. Run it by ``python -m voicecore.service --agent examples.parrot:agent``."""

from voicecore import Conversation


async def agent(conversation: Conversation):
    """Repeat what was heard, and say what the caller cut off."""
    last = [m for m in conversation if m.role == "assistant"][-1:]
    if last and last[0].interrupted:
        yield f"You stopped me after: {last[0].text}. "
    yield f"You said: {conversation.last_user_text}."
