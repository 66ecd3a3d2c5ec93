"""What the Realtime client makes of single messages, fitting and misfitting ones."""

from __future__ import annotations

import base64
import json
import random
from typing import Any

import numpy as np
import pytest

from voicecore.core.conversation import Message, ToolCall
from voicecore.engines.s2s import realtime_wire as wire
from voicecore.engines.s2s.realtime_queue import ResponseQueue
from voicecore.engines.s2s.realtime_response import LONGEST_S, Response
from voicecore.engines.wire.faults import Faults
from voicecore.errors import EngineError

FAULTS = Faults("s2s", "openai-realtime")


class Server:
    """Notes what is sent, and tells of a response."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.queue = ResponseQueue(self.send, FAULTS)
        self.number = 0

    def send(self, message: dict[str, Any]) -> str:
        self.sent.append(message)
        return f"id_{len(self.sent)}"

    def kinds(self) -> list[str]:
        return [message["type"] for message in self.sent]

    def tell(self, kind: str, **fields: Any) -> None:
        self.queue.take({"type": kind, **fields})

    def created(self) -> str:
        self.number += 1
        response_id = f"resp_{self.number}"
        self.tell("response.created", response={"id": response_id})
        return response_id

    def item(self, response_id: str, item_id: str, kind: str = "message") -> None:
        self.tell(
            "response.output_item.added",
            response_id=response_id,
            item={"id": item_id, "type": kind},
        )

    def audio(self, response_id: str, item_id: str, ms: int) -> None:
        delta = base64.b64encode(bytes(2 * 24 * ms)).decode()
        about = {"response_id": response_id, "item_id": item_id, "content_index": 0}
        self.tell("response.output_audio.delta", **about, delta=delta)

    def done(self, response_id: str, status: str = "completed", **fields: Any) -> None:
        self.tell("response.done", response={"id": response_id, "status": status, **fields})


async def read(response: Response) -> list[Any]:
    pieces = []
    while (piece := await response.next(1.0)) is not None:
        pieces.append(piece if isinstance(piece, str) else len(piece))
    return pieces


# -- one response at a time ----------------------------------------------------------------------


async def test_the_next_response_is_asked_for_when_the_first_has_ended() -> None:
    server = Server()
    first = server.queue.ask({"type": "response.create"})
    one = server.created()
    server.queue.give_up(first, 0.0)
    dropped = server.queue.ask({"type": "response.create", "n": 2})
    third = server.queue.ask({"type": "response.create", "n": 3})
    assert server.kinds() == ["response.create", "response.cancel"]
    with pytest.raises(EngineError):
        await dropped.next(1.0)
    server.done(one, "cancelled")
    assert server.sent[-1]["n"] == 3
    two = server.created()
    server.item(two, "item")
    server.audio(two, "item", 100)
    server.done(two)
    assert await read(third) == [2400]
    assert server.queue.is_idle


async def test_a_response_that_waits_can_be_given_up_unasked() -> None:
    server = Server()
    server.queue.ask({"type": "response.create"})
    one = server.created()
    waiting = server.queue.ask({"type": "response.create"})
    server.queue.give_up(waiting, 0.0)
    server.done(one)
    assert server.kinds() == ["response.create"]


async def test_what_comes_of_another_response_is_not_taken() -> None:
    server = Server()
    response = server.queue.ask({"type": "response.create"})
    mine = server.created()
    server.item("resp_other", "item_other")
    server.audio("resp_other", "item_other", 100)
    server.done("resp_other")
    assert not server.queue.is_idle
    server.done(mine)
    assert response.items == []
    assert await read(response) == []


async def test_items_that_come_after_the_cancel_are_deleted() -> None:
    server = Server()
    response = server.queue.ask({"type": "response.create"})
    mine = server.created()
    server.queue.give_up(response, 0.0)
    server.item(mine, "late")
    server.audio(mine, "late", 100)
    server.done(mine, "cancelled")
    assert server.sent[-1] == {"type": "conversation.item.delete", "item_id": "late"}
    assert await read(response) == []


@pytest.mark.parametrize("seed", range(30))
def test_no_truncation_is_beyond_the_audio_and_what_was_heard_is_kept(seed: int) -> None:
    print(f"seed {seed}")
    rng = random.Random(seed)
    server = Server()
    response = server.queue.ask({"type": "response.create"})
    mine = server.created()
    lengths: dict[str, int] = {}
    for number in range(rng.randint(0, 4)):
        item = f"item_{number}"
        server.item(mine, item)
        lengths[item] = 0
        for _ in range(rng.randint(0, 3)):
            ms = rng.randint(1, 400)
            server.audio(mine, item, ms)
            lengths[item] += ms
    over = rng.random() < 0.5
    if over:
        server.done(mine)
    total = sum(lengths.values())
    heard = rng.choice([0.0, rng.uniform(0, total + 50)])
    rest = server.queue.give_up(response, heard)
    assert rest == pytest.approx(max(heard - total, 0.0))
    left = dict(lengths)
    for message in server.sent[1:]:
        if message["type"] == "conversation.item.truncate":
            assert 0 < message["audio_end_ms"] <= lengths[message["item_id"]]
            left[message["item_id"]] = message["audio_end_ms"]
        elif message["type"] == "conversation.item.delete":
            left[message["item_id"]] = 0
    assert sum(left.values()) == pytest.approx(min(heard, total), abs=1.0)
    assert ("response.cancel" in server.kinds()) == (not over)


async def test_an_answer_without_end_is_cut_off() -> None:
    server = Server()
    response = server.queue.ask({"type": "response.create"})
    mine = server.created()
    server.item(mine, "item")
    for _ in range(LONGEST_S // 10 + 5):
        server.audio(mine, "item", 10_000)
    assert server.kinds().count("response.cancel") == 1
    server.done(mine, "cancelled")
    assert sum(await read(response)) == LONGEST_S * wire.RATE_HZ


async def test_a_server_that_fails_by_itself_fails_the_response() -> None:
    server = Server()
    response = server.queue.ask({"type": "response.create"})
    error = {"type": "server_error", "code": None, "event_id": None}
    assert server.queue.refused({"type": "error", "error": error})
    with pytest.raises(EngineError) as caught:
        await response.next(1.0)
    assert caught.value.code == "s2s_refused"
    other = {"type": "invalid_request_error", "code": "x", "event_id": "id_99"}
    assert not server.queue.refused({"type": "error", "error": other})


async def test_a_request_that_is_refused_makes_way_for_the_next() -> None:
    server = Server()
    server.queue.ask({"type": "response.create"})
    server.queue.ask({"type": "response.create", "n": 2})
    error = {"type": "invalid_request_error", "code": "bad", "event_id": "id_1"}
    assert server.queue.refused({"type": "error", "error": error})
    assert server.sent[-1]["n"] == 2


async def test_an_answer_cut_by_a_limit_calls_no_tool() -> None:
    server = Server()
    response = server.queue.ask({"type": "response.create"})
    mine = server.created()
    call = {"type": "function_call", "call_id": "c", "name": "book", "arguments": '{"a'}
    server.tell("response.output_item.done", response_id=mine, item=call)
    server.done(mine, "incomplete", status_details={"reason": "max_output_tokens"})
    assert await read(response) == []
    assert response.calls == []


async def test_waiting_for_an_answer_has_an_end() -> None:
    response = Server().queue.ask({"type": "response.create"})
    with pytest.raises(EngineError) as caught:
        await response.next(0.01)
    assert caught.value.code == "s2s_timeout"


async def test_what_came_before_a_failure_is_read_first() -> None:
    server = Server()
    response = server.queue.ask({"type": "response.create"})
    mine = server.created()
    about = {"response_id": mine, "item_id": "item"}
    server.tell("response.output_audio_transcript.delta", **about, delta="Well, ")
    server.queue.lose(FAULTS.error("closed", "gone"))
    assert await response.next(1.0) == "Well, "
    with pytest.raises(EngineError):
        await response.next(1.0)


# -- messages ------------------------------------------------------------------------------


def test_audio_is_written_out_as_json() -> None:
    pcm = np.arange(-500, 500, dtype=np.int16)
    message = json.loads(wire.append(pcm[::2]))
    assert message["type"] == "input_audio_buffer.append"
    assert base64.b64decode(message["audio"]) == pcm[::2].astype("<i2").tobytes()


@pytest.mark.parametrize("delta", ["no base64!", base64.b64encode(b"abc").decode(), None, 5])
def test_audio_that_is_none(delta: Any) -> None:
    with pytest.raises(EngineError) as caught:
        wire.audio_of({"type": "response.output_audio.delta", "delta": delta}, FAULTS)
    assert caught.value.code == "s2s_bad_message"


@pytest.mark.parametrize("message", [b"\xff\xfe", "{", "[]", "{}", '{"type": 5}', "[" * 100_000])
def test_messages_that_are_none(message: str | bytes) -> None:
    with pytest.raises(EngineError) as caught:
        wire.parse(message, FAULTS)
    assert caught.value.code == "s2s_bad_message"


@pytest.mark.parametrize("seed", range(50))
def test_events_of_any_shape_break_nothing(seed: int) -> None:
    print(f"seed {seed}")
    rng = random.Random(seed)

    def anything(depth: int = 0) -> Any:
        values: list[Any] = [None, 0, 1.5, "x", "message", "function_call", [], {}, True]
        if depth < 3 and rng.random() < 0.6:
            names = ["id", "type", "item", "status", "status_details", "error", "code", "delta"]
            return {rng.choice(names): anything(depth + 1) for _ in range(3)}
        return rng.choice(values)

    server = Server()
    server.queue.ask({"type": "response.create"})
    mine = server.created()
    kinds = ["response.output_item.added", "response.output_item.done", "response.done",
             "response.output_audio_transcript.delta", "response.output_text.delta",
             "response.content_part.added", "response.created"]  # fmt: skip
    for _ in range(20):
        event = {name: anything() for name in ("item", "item_id", "delta", "response")}
        event |= {"type": rng.choice(kinds), "response_id": rng.choice([mine, anything()])}
        server.queue.take(event)
        server.queue.refused({"type": "error", "error": anything()})


def test_the_past_is_told_as_items() -> None:
    call = ToolCall("call_1", "weather", "{}")
    messages = [
        Message("system", "Be brief."),
        Message("user", "weather?"),
        Message("assistant", "", tool_calls=(call,)),
        Message("tool", "rain", tool_call_id="call_1"),
        Message("assistant", "It rains.", interrupted=True, unheard="Take care."),
        Message("user", "[unknown]"),
        Message("tool", "half", tool_call_id="call_0"),
    ]
    items = wire.history(messages, 50, "[unknown]")
    assert items == [
        {
            "type": "message",
            "role": "system",
            "content": [{"type": "input_text", "text": "Be brief."}],
        },
        {
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": "weather?"}],
        },
        {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_1", "output": "rain"},
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "It rains."}],
        },
    ]
    assert wire.history(messages, 4, "[unknown]") == items[-1:]


def test_errors_do_not_quote_what_was_said() -> None:
    secret = {"type": "x y", "code": "my card is 4711", "message": "my card is 4711"}
    assert "4711" not in str(wire.refusal(secret, FAULTS))
    assert wire.refusal(None, FAULTS).code == "s2s_refused"
    assert wire.refusal({"code": "invalid_api_key"}, FAULTS).permanent
