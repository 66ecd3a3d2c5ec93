"""Messages of OpenAI's Realtime API (GA) and what can be read off its answers.

Rests on the published reference of client and server events and the types of the
vendor's Python client: https://developers.openai.com/api/reference/resources/realtime.
Pure: dictionaries in and out.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from voicecore.core.conversation import Message
from voicecore.engines.protocols import Pcm
from voicecore.engines.wire.faults import Faults
from voicecore.errors import EngineError

RATE_HZ: Final = 24_000
"""The only rate of ``audio/pcm``: 16 bit, little-endian, mono."""

COMMIT_MIN_SAMPLES: Final = RATE_HZ // 10
"""A shorter input buffer can't be committed (``input_audio_buffer_commit_empty``)."""

Json = dict[str, Any]

_FORMAT: Final = {"type": "audio/pcm", "rate": RATE_HZ}
_EXACTLY: Final = (
    "Say exactly the text below, word for word, in the language it is written in. Add nothing, "
    "leave nothing out, answer nothing.\n\n"
)


def session_update(
    *,
    model: str,
    instructions: str,
    voice: str,
    transcription: Mapping[str, str],
    tools: Sequence[Mapping[str, Any]],
    options: Mapping[str, Any],
) -> Json:
    """The session's settings. Turns are ours to decide: ``turn_detection`` is null.

    ``transcription``: model, language… of what the caller says; empty: none. ``tools``
    as :attr:`ToolBox.specs` has them. ``options``: further fields of the session.
    """
    hearing = {
        "format": _FORMAT,
        "turn_detection": None,
        "transcription": dict(transcription) or None,
    }
    session: Json = {
        "type": "realtime",
        "model": model,
        "output_modalities": ["audio"],
        "audio": {"input": hearing, "output": {"format": _FORMAT, "voice": voice}},
    }
    if instructions:
        session["instructions"] = instructions
    if tools:
        session["tools"] = [{"type": "function", **tool["function"]} for tool in tools]
    return {"type": "session.update", "session": {**session, **options}}


def append(pcm: Pcm) -> str:
    """More of the caller's audio, as it is sent: there is nothing in it to be escaped."""
    audio = binascii.b2a_base64(np.ascontiguousarray(pcm, "<i2").data, newline=False).decode()
    return f'{{"type":"input_audio_buffer.append","audio":"{audio}"}}'


def create_response(say: str = "", *, tools: bool = True) -> Json:
    """Ask for an answer; ``say``: for this text alone, whatever was said before."""
    response: Json = {}
    if say:
        response |= {"instructions": _EXACTLY + say, "input": []}
    if say or not tools:
        response["tool_choice"] = "none"
    return {"type": "response.create", **({"response": response} if response else {})}


def truncate(item_id: str, content_index: int, audio_end_ms: int) -> Json:
    """Make unsaid what comes after ``audio_end_ms``; its transcript goes as a whole."""
    return {
        "type": "conversation.item.truncate",
        "item_id": item_id,
        "content_index": content_index,
        "audio_end_ms": audio_end_ms,
    }


def delete(item_id: str) -> Json:
    """Take an item out of the conversation."""
    return {"type": "conversation.item.delete", "item_id": item_id}


def create_item(item: Json) -> Json:
    """Put an item at the conversation's end."""
    return {"type": "conversation.item.create", "item": item}


def tool_result(call_id: str, output: str) -> Json:
    """What a tool answered."""
    return {"type": "function_call_output", "call_id": call_id, "output": output}


def message_items(message: Message) -> list[Json]:
    """A message of the conversation as items.

    The model's own words go as text, too: its audio can't be given back to it.
    """
    if message.role == "tool":
        return [tool_result(message.tool_call_id, message.text)]
    kind = "output_text" if message.role == "assistant" else "input_text"
    items: list[Json] = []
    if message.text:
        content = [{"type": kind, "text": message.text}]
        items.append({"type": "message", "role": message.role, "content": content})
    for call in message.tool_calls:
        items.append(
            {
                "type": "function_call",
                "call_id": call.call_id,
                "name": call.name,
                "arguments": call.arguments,
            }
        )
    return items


def history(messages: Iterable[Message], limit: int, unknown: str) -> list[Json]:
    """The newest ``limit`` messages for a new connection, without ``unknown`` texts.

    A tool's result is left out where the call it belongs to is.
    """
    items: list[Json] = []
    called: set[str] = set()
    for message in tuple(messages)[-limit:]:
        if message.role == "tool" and message.tool_call_id not in called:
            continue
        called |= {call.call_id for call in message.tool_calls}
        if message.text != unknown:
            items += message_items(message)
    return items


def parse(message: str | bytes, faults: Faults) -> Json:
    """A server's event, which has a ``type``; EngineError for anything else."""
    try:
        event = json.loads(message)
    except (ValueError, RecursionError):
        raise faults.bad_message("it is no JSON") from None
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        raise faults.bad_message("it is no object with a type")
    return event


def text_of(event: Json, *path: str) -> str:
    """The text at ``path``; ``""`` where there is none."""
    value: Any = event
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, str) else ""


def audio_of(event: Json, faults: Faults) -> Pcm:
    """The samples of a ``response.output_audio.delta``."""
    try:
        data = base64.b64decode(event["delta"], validate=True)
    except (KeyError, TypeError, ValueError, binascii.Error):
        raise faults.bad_message("its audio is no base64") from None
    if len(data) % 2:
        raise faults.bad_message("its audio has half a sample")
    return np.frombuffer(data, "<i2").astype(np.int16, copy=False)


def refusal(error: Any, faults: Faults) -> EngineError:
    """An ``error`` object of the server's in our words; its message may quote what was said."""
    fields = error if isinstance(error, dict) else {}
    code, kind = text_of(fields, "code"), text_of(fields, "type")
    word = next((w for w in (code, kind) if w and w.replace("_", "").isalnum()), "no code")[:64]
    if "rate_limit" in word or "quota" in word:
        permanent = "quota" in word
        return faults.error("rate_limited", f"the limit is used up ({word})", permanent=permanent)
    if word in ("invalid_api_key", "authentication_error", "permission_denied"):
        return faults.key_refused(word)
    if word == "session_expired":
        return faults.error("closed", "the provider's longest session is over")
    return faults.error("refused", f"the provider reported an error ({word})")
