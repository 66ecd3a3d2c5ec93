"""Keeps a request within a model's context: what of a long call is sent.

Tokens are estimated without a tokenizer, which every model has another one of, and
rather too many: a Latin letter or white space is a third of a token (English text has
about four to one, German three), a digit, a sign or a letter with an accent one, a
letter of another script one, an ideograph, kana or Hangul one and a half; a message
takes four more. (General knowledge of byte-pair encodings of 30,000 to 200,000 entries;
a call has no time to ask the server.)
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

JsonObject = dict[str, Any]

_LATIN = re.compile(r"[A-Za-z\s]+")
_WIDE = re.compile("[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]+")
_MESSAGE_TOKENS = 4
_LEAST_RESULT_TOKENS = 64
_MARK = " [… {} characters left out …] "


def tokens_of(text: str) -> int:
    """About how many tokens ``text`` is, rather too many."""
    latin = sum(map(len, _LATIN.findall(text)))
    wide = sum(map(len, _WIDE.findall(text)))
    return -(-(2 * latin + 9 * wide + 6 * (len(text) - latin - wide)) // 6)


def message_tokens(message: JsonObject) -> int:
    """About how many tokens a message of a request is."""
    text = message.get("content") or ""
    calls = message.get("tool_calls")
    extra = tokens_of(json.dumps(calls, ensure_ascii=False)) if calls else 0
    return _MESSAGE_TOKENS + tokens_of(text) + extra


def within(messages: Sequence[JsonObject], budget_tokens: int) -> list[JsonObject]:
    """Return what of ``messages`` to send, about ``budget_tokens`` at most.

    System messages and the newest turn (the user's last message and all behind it)
    always stay. A tool's result of more than a quarter of the budget is shortened in
    its middle. Then whole turns go, oldest first, so that a call never loses its
    result. If the newest turn alone is too much, its results share what is left.
    """
    system = [message for message in messages if message["role"] == "system"]
    left = budget_tokens - sum(map(message_tokens, system))
    kept: list[JsonObject] = []
    # From the newest: what doesn't fit is not even looked at.
    for turn in reversed(_turns(messages)):
        shortened = [_shortened(message, budget_tokens // 4) for message in turn]
        cost = sum(map(message_tokens, shortened))
        if kept and cost > left:
            break
        left -= cost
        kept = shortened + kept
    if left < 0:
        kept = _squeezed(kept, -left)
    dropped = len(messages) - len(system) - len(kept)
    sent: list[JsonObject] = []
    rest = iter(kept)
    for message in messages:
        if message["role"] == "system":
            sent.append(message)
        elif dropped:
            dropped -= 1
        else:
            sent.append(next(rest))
    return sent


def _turns(messages: Sequence[JsonObject]) -> list[list[JsonObject]]:
    """All but system messages; a user's message begins a turn.

    What stands before the first, a greeting say, is a turn too.
    """
    turns: list[list[JsonObject]] = []
    for message in messages:
        if message["role"] == "system":
            continue
        if message["role"] == "user" or not turns:
            turns.append([])
        turns[-1].append(message)
    return turns


def _squeezed(messages: list[JsonObject], excess: int) -> list[JsonObject]:
    """Take ``excess`` tokens out of the results, as far as they have them."""
    costs = [tokens_of(m["content"]) for m in messages if m["role"] == "tool"]
    if not costs:
        return messages
    limit = max((sum(costs) - excess) // len(costs), _LEAST_RESULT_TOKENS)
    return [_shortened(message, limit) for message in messages]


def _shortened(message: JsonObject, limit_tokens: int) -> JsonObject:
    if message["role"] != "tool":
        return message
    limit_tokens = max(limit_tokens, _LEAST_RESULT_TOKENS)
    text = message["content"]
    # No text has more tokens than this.
    if 3 * len(text) <= 2 * limit_tokens or (tokens := tokens_of(text)) <= limit_tokens:
        return message
    chars = len(text) * limit_tokens // tokens
    short = text
    while chars > 0:
        head = chars * 2 // 3
        mark = _MARK.format(len(text) - chars)
        short = text[:head] + mark + text[len(text) - (chars - head) :]
        if tokens_of(short) <= limit_tokens:
            break
        chars = chars * 9 // 10 - 1
    return {**message, "content": short}
