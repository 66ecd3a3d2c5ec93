"""What of a long call is sent: within the budget, newest first, never half of a tool's use."""

from __future__ import annotations

import random
from typing import Any

import pytest

from fakes.chat_calls import collect, running, talk
from fakes.chat_server import ChatServer, answer
from voicecore.core.conversation import Conversation, Message
from voicecore.engines.llm.history import message_tokens, tokens_of, within

JsonObject = dict[str, Any]
WORDS = ("hello", "the", "größe", "1,234", "{}", "日本語", "привет", "\n", "a" * 40)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("The quick brown fox jumps over the lazy dog.", 16),
        ("3.14159", 7),
        ("Überprüfung", 5),
        ("今天天气很好。", 11),
        ("Привет", 6),
    ],
)
def test_the_estimate(text: str, tokens: int) -> None:
    assert tokens_of(text) == tokens


def random_messages(rng: random.Random) -> list[JsonObject]:
    def text(most: int) -> str:
        return " ".join(rng.choices(WORDS, k=rng.randrange(1, most)))

    messages: list[JsonObject] = [{"role": "system", "content": text(20)}]
    for number in range(rng.randrange(1, 12)):
        if number or rng.random() < 0.7:
            messages.append({"role": "user", "content": text(40)})
        for round_ in range(rng.choice((0, 0, 1, 2))):
            ids = [f"{number}-{round_}-{i}" for i in range(rng.randrange(1, 4))]
            calls = [{"id": i, "function": {"name": "f", "arguments": text(5)}} for i in ids]
            messages.append({"role": "assistant", "content": None, "tool_calls": calls})
            messages += [
                {"role": "tool", "tool_call_id": i, "content": text(rng.choice((5, 2000)))}
                for i in ids
            ]
        if rng.random() < 0.8:
            messages.append({"role": "assistant", "content": text(60)})
    return messages


def newest_turn(messages: list[JsonObject]) -> list[JsonObject]:
    users = [i for i, m in enumerate(messages) if m["role"] == "user"]
    return messages[users[-1] :] if users else messages[1:]


def shape(message: JsonObject) -> JsonObject:
    """A message without what may be shortened of it."""
    return {**message, "content": None} if message["role"] == "tool" else message


@pytest.mark.parametrize("seed", range(200))
def test_any_history_is_brought_within_any_budget(seed: int) -> None:
    print("seed", seed)
    rng = random.Random(seed)
    messages = random_messages(rng)
    budget = rng.choice((300, 800, 2000, 8000))
    sent = within(messages, budget)
    shapes = [shape(m) for m in messages]
    # A system message, then the newest of the rest without a gap.
    assert [shape(m) for m in sent] == shapes[:1] + shapes[len(shapes) - len(sent) + 1 :]
    assert len(newest_turn(messages)) <= len(sent) - 1
    asked = [c["id"] for m in sent for c in m.get("tool_calls", ())]
    assert asked == [m["tool_call_id"] for m in sent if m["role"] == "tool"]
    cost = sum(map(message_tokens, sent))
    results = [m["content"] for m in sent if m["role"] == "tool"]
    if cost > budget:
        # Then it is the newest turn alone, and its results are as short as they may be.
        assert len(sent) == 1 + len(newest_turn(messages))
        assert all(tokens_of(text) <= 64 for text in results)
    assert all(tokens_of(text) <= max(budget // 4, 64) for text in results)
    whole = [m for m in messages if m in sent]
    if sum(map(message_tokens, messages)) <= budget and len(whole) == len(messages):
        assert sent == messages


def test_a_long_result_keeps_its_beginning_and_its_end() -> None:
    text = "BEGIN" + "x" * 60_000 + "END"
    messages: list[JsonObject] = [
        {"role": "user", "content": "Find it."},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
        {"role": "tool", "tool_call_id": "1", "content": text},
    ]
    short = within(messages, 4000)[-1]["content"]
    assert short.startswith("BEGINxxx")
    assert short.endswith("xxxEND")
    head, rest = short.split(" [… ")
    left_out, tail = rest.split(" characters left out …] ")
    assert len(head) + int(left_out) + len(tail) == len(text)
    assert 900 < tokens_of(short) <= 1000


def test_oldest_turns_go_first_and_the_system_prompt_stays() -> None:
    messages: list[JsonObject] = [{"role": "system", "content": "Be kind."}]
    for number in range(20):
        messages.append({"role": "user", "content": f"question {number} " + "x" * 90})
        messages.append({"role": "assistant", "content": f"answer {number} " + "y" * 90})
    sent = within(messages, 500)
    assert sent[0] == messages[0]
    assert sent[1]["content"].startswith("question ")
    assert sent[-1] == messages[-1]
    assert 0 < 500 - sum(map(message_tokens, sent)) < message_tokens(messages[1]) * 2


def test_a_system_message_under_way_keeps_its_place() -> None:
    said = [{"role": "user", "content": str(i) * 60} for i in range(9)]
    note = {"role": "system", "content": "The caller is known now."}
    sent = within([*said[:7], note, *said[7:]], 140)
    assert sent == [note, said[8]]
    assert within([*said[:8], note, said[8]], 200) == [said[7], note, said[8]]


async def sent_for(conversation: Conversation, **settings: Any) -> dict[str, Any]:
    async with ChatServer(answer("ok")) as server:
        async with running(server, **settings) as engine:
            await collect(engine, conversation)
        body: dict[str, Any] = server.exchanges[0].body
        return body


async def test_a_request_stays_within_the_context() -> None:
    conversation = talk(*(Message("user", f"word {i} " * 20) for i in range(300)))
    body = await sent_for(conversation, context_tokens=2000, system_prompt="Be brief.")
    messages = body["messages"]
    assert messages[0]["content"] == "Be brief."
    assert messages[-1]["content"] == "word 299 " * 20
    assert 1000 < sum(map(message_tokens, messages)) < 1500
    assert "max_tokens" not in body


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
async def test_the_length_of_a_reply_is_asked_for(field: str) -> None:
    body = await sent_for(talk(), max_reply_tokens=99, max_reply_field=field)
    assert body[field] == 99
    assert len({"max_tokens", "max_completion_tokens"} & body.keys()) == 1
