"""The SSE parser: any split of the bytes gives the same events."""

from __future__ import annotations

import random

import pytest

from voicecore.engines.wire.sse import SseEvent, SseParser
from voicecore.errors import PeerError

SEEDS = range(150)


def parse(*parts: bytes) -> list[SseEvent]:
    parser = SseParser()
    return [event for part in parts for event in parser.feed(part)]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\n", ["a"]),
        (b"data:a\n\n", ["a"]),
        (b"data:  a \n\n", [" a "]),
        (b"data: a\r\n\r\ndata: b\r\rdata: c\n\n", ["a", "b", "c"]),
        (b"data: a\ndata: b\n\n", ["a\nb"]),
        (b"data\n\n", [""]),
        (b"data:\n\n", [""]),
        (b": ping\n\n:\n\ndata: a\n\n", ["a"]),
        (b"\xef\xbb\xbfdata: a\n\n", ["a"]),
        (b"data: \xef\xbb\xbfa\n\n", ["\ufeffa"]),
        (b"id: 1\nretry: 5\nnonsense\nother: x\ndata: a\n\n", ["a"]),
        (b"data: a:b: c\n\n", ["a:b: c"]),
        ("data: gr\u00fc\u00df \U0001f44b\n\n".encode(), ["gr\u00fc\u00df \U0001f44b"]),
        (b"data: \xff\n\n", ["\ufffd"]),
        (b"data: unfinished", []),
        (b"data: unfinished\n", []),
        (b"event: ping\n\n", []),
        (b"\n\n\n", []),
        (b"", []),
    ],
)
def test_examples(stream: bytes, events: list[str]) -> None:
    expected = [SseEvent(data) for data in events]
    assert parse(stream) == expected
    assert parse(*(stream[i : i + 1] for i in range(len(stream)))) == expected


def test_event_types_last_for_one_event() -> None:
    assert parse(b"event: error\ndata: a\n\ndata: b\n\n") == [
        SseEvent("a", "error"),
        SseEvent("b", "message"),
    ]


def test_an_event_is_given_as_soon_as_its_blank_line_begins() -> None:
    """A CR is a line end already; the LF that may follow is not waited for."""
    parser = SseParser()
    assert parser.feed(b"data: a\r\n\r") == [SseEvent("a")]
    assert parser.feed(b"\n") == []
    assert parser.feed(b"data: b\n\n") == [SseEvent("b")]


@pytest.mark.parametrize("seed", SEEDS)
def test_any_split_gives_the_same_events(seed: int) -> None:
    print(f"seed {seed}")
    rng = random.Random(seed)
    alphabet = ["a", " ", ":", "data", "\u00e9", "\U0001f600", "[DONE]", "{}", "\ufeff"]
    stream, events = b"", []
    for _ in range(rng.randrange(1, 8)):
        lines, data = [], []
        for _ in range(rng.randrange(0, 5)):
            value = "".join(rng.choices(alphabet, k=rng.randrange(0, 6)))
            kind = rng.choice(["data", "data", ":", "x", "id"])
            lines.append(f"{kind}: {value}" if kind != ":" else f":{value}")
            if kind == "data":
                data.append(value)
        end = rng.choice(["\n", "\r\n", "\r"])
        stream += "".join(line + end for line in [*lines, ""]).encode()
        if data:
            events.append(SseEvent("\n".join(data)))
    cuts = sorted(rng.randrange(len(stream) + 1) for _ in range(rng.randrange(0, 12)))
    parts = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert parse(stream) == events
    assert parse(*parts) == events
    assert parse(*(stream[i : i + 1] for i in range(len(stream)))) == events


@pytest.mark.parametrize("stream", [b"data: " + b"a" * 100, b"data: aaaa\n" * 20])
def test_an_endless_event_is_refused(stream: bytes) -> None:
    parser = SseParser(limit_bytes=64)
    assert parser.feed(b"data: short\n\n" * 20) == [SseEvent("short")] * 20
    with pytest.raises(PeerError, match="longer than 64 bytes"):
        parser.feed(stream)
