"""Events, actions and settings as JSON, and back: nothing is lost, nothing unknown is taken."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest

from voicecore.core import actions as act
from voicecore.core import events as ev
from voicecore.core.record_blocks import (
    AGENT,
    HEAD_BYTES,
    MOST_BYTES,
    RECORD,
    Head,
    check,
    pack,
    pack_audio,
    unpack_audio,
    unpack_head,
)
from voicecore.core.timeline import TIMELINE, VERSION, Anchor, Codec, Finish, Header, Step
from voicecore.core.transcript import SpokenWord, Transcript
from voicecore.core.turn_settings import TurnSettings
from voicecore.errors import MisuseError

KINDS = (*ev.ALL_EVENTS, *act.ALL_ACTIONS, Anchor, Finish)


def made(hint: Any, rng: random.Random, depth: int = 0) -> Any:
    """A random value of ``hint``."""
    origin, args = get_origin(hint), get_args(hint)
    simple = {
        int: lambda: rng.choice([0, -1, 1, rng.getrandbits(62)]),
        float: lambda: rng.choice([0.0, -1.5, rng.random(), math.inf, 3]),
        str: lambda: "".join(rng.choices('añ☃ \n"\\$\x00😀', k=rng.randrange(5))),
        bool: lambda: rng.random() < 0.5,
        bytes: lambda: rng.randbytes(rng.randrange(4)),
        type(None): lambda: None,
    }
    if hint in simple:
        return simple[hint]()
    if hint is object or hint is Any:
        choices: list[Any] = [int, float, str, bool, bytes, type(None), ev.Word]
        if depth < 3:
            choices += [tuple[object, ...], list[object], Mapping[str, object]]
        return made(rng.choice(choices), rng, depth + 1)
    if origin in (Union, UnionType):
        return made(rng.choice(args), rng, depth)
    if origin is Literal:
        return rng.choice(args)
    if origin is tuple and args[-1] is Ellipsis:
        return tuple(made(args[0], rng, depth) for _ in range(rng.randrange(3)))
    if origin is tuple:
        return tuple(made(arg, rng, depth) for arg in args)
    if origin is list:
        return [made(args[0], rng, depth) for _ in range(rng.randrange(3))]
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {made(str, rng): made(args[1], rng, depth) for _ in range(rng.randrange(3))}
    assert is_dataclass(hint), f"the test makes no {hint} yet"
    hints = get_type_hints(hint)
    return hint(**{f.name: made(hints[f.name], rng, depth) for f in fields(hint)})


def there_and_back(value: object) -> object:
    return TIMELINE.decode(json.loads(json.dumps(TIMELINE.encode(value), allow_nan=False)))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_event_and_action_comes_back_as_it_was(kind: type) -> None:
    print(f"seed {kind.__name__}")
    rng = random.Random(kind.__name__)
    for _ in range(100):
        value = made(kind, rng)
        back = there_and_back(value)
        assert back == value
        assert repr(back) == repr(value)


def test_a_step_and_a_header_come_back() -> None:
    event = ev.SpeechQueued(1, 0, 480, 240, (ev.Word(0, 5, 0), ev.Word(6, 9, 120)))
    notify = act.Notify("agent", {"turn": 1, "nested": {"$": (1, [2, (3,)])}})
    for step in (Step(5, event, (notify, act.End("x"))), Step(6, event, None), Step(7, event, ())):
        assert there_and_back(step) == step
    settings = TurnSettings(silence_ms=700, greeting="Hello.")
    header = Header(VERSION, "1", "id", "now", 5, 24_000, 16_000, settings, "told", {"vad": 3})
    assert there_and_back(header) == header


def test_what_is_no_number_has_a_name() -> None:
    (nan,) = there_and_back((math.nan,))  # type: ignore[misc]
    assert math.isnan(nan)
    assert there_and_back({"a": -math.inf}) == {"a": -math.inf}


def test_a_transcript_is_its_text() -> None:
    words = (SpokenWord("hello", 0, 300),)
    for kind in (ev.TranscriptPartial, ev.TranscriptFinal):
        plain = TIMELINE.encode(kind(1, Transcript("hello", words)))
        assert TIMELINE.decode(json.loads(json.dumps(plain))) == kind(1, "hello")


def test_an_integer_of_another_library_is_an_integer() -> None:
    class Index:
        def __index__(self) -> int:
            return 7

        def __int__(self) -> int:
            return 7

    assert TIMELINE.encode(ev.PlayoutDrained(Index())) == TIMELINE.encode(  # type: ignore[arg-type]
        ev.PlayoutDrained(7)
    )


@pytest.mark.parametrize("value", [object(), {1: 2}, {1, 2}, act.Notify("x", {"a": object()})])
def test_what_has_no_form_is_refused(value: object) -> None:
    with pytest.raises(MisuseError) as caught:
        TIMELINE.encode(value)
    assert caught.value.code == "unreadable_record"


ONSET = {"$": "SpeechOnset", "sample": 1, "at_ns": 2}


@pytest.mark.parametrize(
    ("plain", "says"),
    [
        ({"$": "Telepathy"}, "replay it with the voicecore that recorded it"),
        ({"$": 5}, "replay it with"),
        ({"$": ["a"]}, "replay it with"),
        (ONSET | {"loudness": 3}, "no field 'loudness'"),
        ({"$": "SpeechOnset", "sample": 1}, "lacks 'at_ns'"),
        (ONSET | {"sample": "1"}, "SpeechOnset.sample"),
        (ONSET | {"sample": True}, "SpeechOnset.sample"),
        (ONSET | {"sample": 1.0}, "SpeechOnset.sample"),
        (ONSET | {"sample": 1 << 63}, "too large"),
        ({"$": "Step", "now_ns": 1, "event": {"$": "Hold"}, "actions": []}, "Step.event"),
        ({"$": "Step", "now_ns": 1, "event": ONSET, "actions": [ONSET]}, "Step.actions"),
        ({"$": "Anchor", "now_ns": 1, "position": 2, "kind": "dance"}, "Anchor.kind"),
        ({"$": "float", "of": "1e5"}, "damaged"),
        ({"$": "bytes", "of": "abc"}, "damaged"),
        ({"$": "list", "items": {}}, "damaged"),
        ({"$": "map"}, "damaged"),
    ],
)
def test_what_is_not_known_is_refused(plain: Any, says: str) -> None:
    with pytest.raises(MisuseError, match=says) as caught:
        TIMELINE.decode(plain)
    assert caught.value.code == "unreadable_record"


def test_settings_that_contradict_each_other_are_refused_in_reading_too() -> None:
    plain = TIMELINE.encode(TurnSettings())
    assert isinstance(plain, dict)
    with pytest.raises(MisuseError, match="max_wait_ms"):
        TIMELINE.decode(plain | {"max_wait_ms": 1, "min_wait_ms": 2})


def test_a_field_added_since_takes_its_default() -> None:
    assert TIMELINE.decode({"$": "Flushed", "turn": 1, "position": 2}) == ev.Flushed(1, 2)


def test_a_record_nested_without_end_is_refused() -> None:
    plain: Any = 1
    for _ in range(1000):
        plain = [plain]
    with pytest.raises(MisuseError, match="nested"):
        TIMELINE.decode(plain)


class Colour(Enum):
    RED = "r"
    BLUE = "b"


@dataclass(frozen=True)
class Inner:
    colour: Colour
    sizes: tuple[int, str]


@dataclass(frozen=True)
class Outer:
    inner: Inner | None
    by_name: Mapping[str, Inner]


def test_types_within_types_are_found_by_their_annotations() -> None:
    codec = Codec([Outer])
    assert set(codec.types) == {Outer, Inner, Colour}
    inner = Inner(Colour.BLUE, (1, "x"))
    value = Outer(inner, {"a": inner})
    plain = json.loads(json.dumps(codec.encode(value)))
    assert codec.decode(plain) == value
    with pytest.raises(MisuseError, match="no such member"):
        codec.decode({"$": "Colour", "name": "GREEN"})
    with pytest.raises(MisuseError, match=r"Inner\.sizes"):
        codec.decode({"$": "Inner", "colour": {"$": "Colour", "name": "RED"}, "sizes": [1]})


def test_two_types_of_one_name_are_refused() -> None:
    other = type("Inner", (), {"__annotations__": {"x": int}})
    with pytest.raises(MisuseError, match="named Inner"):
        Codec([Inner, dataclass(other)])


def taken(block: bytes) -> Head:
    head = unpack_head(block[:HEAD_BYTES])
    check(head, block[HEAD_BYTES:])
    return head


def test_a_block_is_what_was_packed() -> None:
    block = pack_audio(AGENT, 480, 7, b"\1\2\3\4")
    head = taken(block)
    assert (head.kind, head.length) == (AGENT, len(block) - HEAD_BYTES)
    assert unpack_audio(block[HEAD_BYTES:]) == (480, 7, 2)


def test_every_flipped_bit_of_a_block_is_noticed() -> None:
    block = pack(RECORD, b'{"$":"Finish"}')
    for bit in range(len(block) * 8):
        bad = bytearray(block)
        bad[bit // 8] ^= 1 << bit % 8
        with pytest.raises(MisuseError):
            taken(bytes(bad))


def test_a_payload_has_a_bound() -> None:
    assert len(pack(RECORD, bytes(MOST_BYTES))) == MOST_BYTES + HEAD_BYTES
    with pytest.raises(MisuseError):
        pack(RECORD, bytes(MOST_BYTES + 1))
