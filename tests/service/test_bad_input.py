"""What strangers may send: each a precise status and a machine-readable body."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
import random
import struct
from typing import Any

import pytest

from fakes.calls import ANSWER_SDP, OFFER_SDP
from fakes.site import Site
from voicecore.errors import EngineError, PeerError
from voicecore.service import bodies

JSON = {"Content-Type": "application/json"}
BIG = bodies.BODY_LIMIT_BYTES


def answer(**changes: Any) -> bytes:
    body = {"session_id": "session-1", "answer": {"type": "answer", "sdp": ANSWER_SDP}, **changes}
    return json.dumps(body).encode()


BAD_ANSWERS: list[tuple[str, bytes, int, str]] = [
    ("nothing", b"", 400, "bad_json"),
    ("blank", b" \n", 400, "bad_json"),
    ("broken", b'{"answer":', 400, "bad_json"),
    ("two values", b"{} {}", 400, "bad_json"),
    ("not UTF-8", b'{"answer": "\xff\xfe"}', 400, "bad_json"),
    ("UTF-16", '{"answer": 1}'.encode("utf-16"), 400, "bad_json"),
    ("byte order mark", b"\xef\xbb\xbf{}", 400, "bad_json"),
    ("deep lists", b"[" * 100_000, 400, "bad_json"),
    ("deep objects", b'{"a":' * 40_000, 400, "bad_json"),
    ("deep but closed", b"[" * 100_000 + b"]" * 100_000, 400, "bad_json"),
    ("huge integer", b"1" * 200_000, 400, "bad_json"),
    ("NaN", b'{"answer": NaN}', 400, "bad_json"),
    ("infinity", b'{"answer": -Infinity}', 400, "bad_json"),
    ("control character", b'{"answer": "\x00"}', 400, "bad_json"),
    ("a list", b"[]", 422, "wrong_type"),
    ("null", b"null", 422, "wrong_type"),
    ("a number", b"1e999", 422, "wrong_type"),
    ("no answer", b"{}", 422, "missing_field"),
    ("answer is text", answer(answer="v=0"), 422, "wrong_type"),
    ("answer is null", answer(answer=None), 422, "wrong_type"),
    ("no sdp", answer(answer={"type": "answer"}), 422, "missing_field"),
    ("no type", answer(answer={"sdp": ANSWER_SDP}), 422, "missing_field"),
    ("an offer", answer(answer={"type": "offer", "sdp": ANSWER_SDP}), 422, "wrong_value"),
    ("sdp is a number", answer(answer={"type": "answer", "sdp": 5}), 422, "wrong_type"),
    (
        "lone surrogate",
        answer(answer={"type": "answer", "sdp": "v=0\ud800"}),
        422,
        "wrong_value",
    ),
    ("session id is a number", answer(session_id=7), 422, "wrong_type"),
    ("token is a list", answer(token=[]), 422, "wrong_type"),
    ("wrong token", answer(token="no"), 403, "wrong_token"),
    ("unknown session", answer(session_id="gone", token="no"), 404, "unknown_session"),
    ("unknown session, no token", answer(session_id="gone"), 404, "unknown_session"),
    ("not SDP", answer(answer={"type": "answer", "sdp": "hello"}), 400, "bad_sdp"),
    ("no audio", answer(answer={"type": "answer", "sdp": "v=0 no-audio"}), 422, "no_audio"),
    *(
        (
            f"an SDP of too many {unit}",
            answer(answer={"type": "answer", "sdp": "v=0\r\n" + piece * (most + 1)}),
            413,
            "sdp_too_large",
        )
        for unit, piece, most in (
            ("characters", "x", bodies.SDP_CHARS),
            ("lines", "\n", bodies.SDP_LINES),
            ("sections", "\nm=audio 9 RTP/AVP 0", bodies.SDP_SECTIONS),
            ("candidates", "a=candidate:1 ", bodies.SDP_CANDIDATES),
        )
    ),
    ("too long", answer(padding="x" * BIG), 413, "body_too_large"),
]


@pytest.mark.parametrize("blank", [b"\n", b" ", b"\t\r\n"])
async def test_what_may_be_left_out_may_not_be_blank(site: Site, blank: bytes) -> None:
    async with site.client.post("/api/voice/session", data=blank, headers=JSON) as reply:
        assert reply.status == 400
        assert (await reply.json())["error"]["code"] == "bad_json"


@pytest.mark.parametrize(
    ("body", "status", "code"), [row[1:] for row in BAD_ANSWERS], ids=[r[0] for r in BAD_ANSWERS]
)
async def test_bad_answers(site: Site, body: bytes, status: int, code: str) -> None:
    await site.open()
    reply = await site.client.post("/api/voice/answer", data=body, headers=JSON)
    assert (reply.status, (await reply.json())["error"]["code"]) == (status, code)
    assert reply.content_type == "application/json"
    assert site.manager.calls["session-1"].answer is None


BAD_CANDIDATES: list[tuple[object, int, str]] = [
    ({}, 422, "missing_field"),
    ([], 422, "wrong_type"),
    ("candidate", 422, "wrong_type"),
    ({"candidate": 5}, 422, "wrong_type"),
    ({"candidate": {}}, 422, "missing_field"),
    ({"candidate": {"candidate": None}}, 422, "wrong_type"),
    ({"candidate": {"candidate": "x" * 3000}}, 422, "wrong_value"),
    ({"candidate": {"candidate": "x", "sdpMid": 0}}, 422, "wrong_type"),
    ({"candidate": {"candidate": "x", "sdpMLineIndex": True}}, 422, "wrong_type"),
    ({"candidate": {"candidate": "x", "sdpMLineIndex": -1}}, 422, "wrong_type"),
    ({"candidate": {"candidate": "x", "sdpMLineIndex": 0.0}}, 422, "wrong_type"),
    ({"candidates": {}}, 422, "wrong_type"),
    ({"candidates": [{"candidate": "x"}] * 65}, 422, "too_many_candidates"),
]


@pytest.mark.parametrize(("body", "status", "code"), BAD_CANDIDATES)
async def test_bad_candidates(site: Site, body: object, status: int, code: str) -> None:
    await site.open()
    reply = await site.client.patch("/api/voice/session/session-1", json=body)
    assert (reply.status, (await reply.json())["error"]["code"]) == (status, code)
    assert site.manager.calls["session-1"].candidates == []


REQUESTS: list[tuple[str, str, dict[str, Any], int, str]] = [
    ("GET", "/nothing/here", {}, 404, "not_found"),
    ("GET", "/api/voice/session/a/b", {}, 404, "not_found"),
    ("GET", "/api/voice/session", {}, 405, "method_not_allowed"),
    ("PUT", "/api/voice/answer", {}, 405, "method_not_allowed"),
    ("POST", "/healthz", {}, 405, "method_not_allowed"),
    ("GET", "/api/voice/session/gone", {}, 404, "unknown_session"),
    ("DELETE", "/api/voice/session", {}, 422, "missing_field"),
    ("DELETE", "/api/voice/session/session-1", {}, 401, "token_missing"),
    ("GET", "/api/voice/session/session-1", {}, 401, "token_missing"),
    (
        "GET",
        "/api/voice/session/session-1",
        {"headers": {"Authorization": "Basic eDp5"}},
        401,
        "token_missing",
    ),
    (
        "GET",
        "/api/voice/session/session-1",
        {"headers": {"Authorization": "Bearer nope"}},
        403,
        "wrong_token",
    ),
    (
        "GET",
        "/api/voice/session/session-1",
        {"headers": {"Cookie": "voicecore_session=session-2.token-1"}},
        401,
        "token_missing",
    ),
    (
        "GET",
        "/api/voice/session/session-1",
        {"headers": {"Cookie": "voicecore_session=session-1.nope"}},
        403,
        "wrong_token",
    ),
    (
        "PATCH",
        "/api/voice/session/session-1",
        {"data": b"null", "headers": JSON},
        401,
        "token_missing",
    ),
    ("POST", "/api/voice/session", {"json": []}, 422, "wrong_type"),
    ("POST", "/api/voice/session", {"data": b"{", "headers": JSON}, 400, "bad_json"),
    ("POST", "/api/voice/session", {"data": {"a": "form"}}, 415, "unsupported_media_type"),
    ("POST", "/api/voice/offer", {"json": {"sdp": OFFER_SDP}}, 422, "missing_field"),
    (
        "POST",
        "/api/voice/offer",
        {"json": {"type": "answer", "sdp": OFFER_SDP}},
        422,
        "wrong_value",
    ),
    ("POST", "/api/voice/offer", {"json": {"type": "offer", "sdp": ""}}, 400, "bad_sdp"),
    (
        "POST",
        "/api/voice/offer",
        {"data": b"{}", "headers": {"Content-Type": "application/json; charset=latin-1"}},
        415,
        "unsupported_media_type",
    ),
]


@pytest.mark.parametrize(("method", "path", "options", "status", "code"), REQUESTS)
async def test_bad_requests(
    site: Site, method: str, path: str, options: dict[str, Any], status: int, code: str
) -> None:
    await site.open()
    site.client.session.cookie_jar.clear()
    reply = await site.client.request(method, path, **options)
    body = await reply.json()
    assert (reply.status, body["error"]["code"]) == (status, code)
    assert body["error"]["message"]
    assert reply.headers["Cache-Control"] == "no-store"
    assert ("Allow" in reply.headers) == (status == 405)
    assert ("WWW-Authenticate" in reply.headers) == (status == 401)


async def test_second_answer_is_a_conflict(site: Site) -> None:
    await site.open()
    post = site.client.post
    assert (await post("/api/voice/answer", data=answer(), headers=JSON)).status == 200
    reply = await post("/api/voice/answer", data=answer(), headers=JSON)
    assert (reply.status, (await reply.json())["error"]["code"]) == (409, "already_answered")


async def test_body_limit_holds_to_the_byte_and_without_a_length(site: Site) -> None:
    await site.open()
    room = BIG - len(answer(padding=""))
    exact = answer(padding="x" * room)
    assert len(exact) == BIG
    assert (await site.client.post("/api/voice/answer", data=exact, headers=JSON)).status == 200

    async def chunks() -> Any:
        for _ in range(BIG // 1024 + 1):
            yield b" " * 1024

    reply = await site.client.post("/api/voice/answer", data=chunks(), headers=JSON)
    assert (reply.status, (await reply.json())["error"]["code"]) == (413, "body_too_large")


async def test_compressed_bomb_is_stopped_at_the_limit(site: Site) -> None:
    reply = await site.client.post(
        "/api/voice/answer", data=b" " * (BIG * 40), headers=JSON, compress="deflate"
    )
    assert (reply.status, (await reply.json())["error"]["code"]) == (413, "body_too_large")


async def test_unexpected_errors_show_an_id_and_no_more(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    await site.open()
    site.manager.explode = RuntimeError("inner secret")
    with caplog.at_level(logging.ERROR):
        reply = await site.client.post("/api/voice/answer", data=answer(), headers=JSON)
    text = await reply.text()
    assert reply.status == 500
    assert "inner secret" not in text
    assert "Traceback" not in text
    error_id = json.loads(text)["error"]["message"].split()[-1]
    assert error_id in caplog.text
    assert "session-1" not in caplog.records[-1].getMessage()


async def test_engine_failure_asks_to_try_again(site: Site) -> None:
    site.manager.explode = EngineError("gone", engine="vad")
    reply = await site.client.post("/api/voice/session")
    assert (reply.status, reply.headers["Retry-After"]) == (503, "5")


async def test_cancelled_requests_are_not_answered(site: Site) -> None:
    """A client that goes away in mid-body leaves the server fit to serve the next."""

    async def endless() -> Any:
        yield b"{"
        await asyncio.Event().wait()

    post = site.client.post("/api/voice/answer", data=endless(), headers=JSON)
    task = asyncio.ensure_future(post)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (await site.client.get("/healthz")).status == 200


async def test_garbage_is_always_a_4xx_in_json(site: Site) -> None:
    seed = 20_260
    print(f"seed {seed}")
    chance = random.Random(seed)
    await site.open()
    whole = answer()
    for _ in range(200):
        body = bytearray(whole)
        for _ in range(chance.randint(1, 8)):
            position = chance.randrange(len(body))
            body[position : position + chance.randint(0, 3)] = chance.randbytes(
                chance.randint(0, 3)
            )
        path = chance.choice(["answer", "offer"])
        reply = await site.client.post(f"/api/voice/{path}", data=bytes(body), headers=JSON)
        parsed = await reply.json()
        if reply.status == 200:
            site.manager.calls["session-1"].answer = None
            continue
        assert 400 <= reply.status < 500, bytes(body)
        assert set(parsed["error"]) == {"code", "message"}


BOUNDS = [0, -0.0, 5e-324, 1.7976931348623157e308, 2**53 + 1, -(2**63)]
EDGES = [None, True, False, "", [], {}, *BOUNDS]
ODD_CHARACTERS = '"\\\b\f\n\r\t\0\x1f\x7f\x85\u2028\ufeff\ufffd\U0001f600\U0010ffff'


@pytest.fixture
def chance() -> random.Random:
    """Set VOICECORE_SEED to repeat a run."""
    seed = int(os.environ.get("VOICECORE_SEED") or random.SystemRandom().randrange(2**32))
    print(f"VOICECORE_SEED={seed}")
    return random.Random(seed)


def some_text(chance: random.Random) -> str:
    letters = "".join(map(chr, range(0x20, 0x250))) + ODD_CHARACTERS * 20
    return "".join(chance.choices(letters, k=chance.randrange(12)))


def some_value(chance: random.Random, depth: int = 4) -> object:
    """Any value that JSON has, nested at most ``depth`` deep."""
    kind = chance.randrange(6 if depth else 4)
    if kind == 0:
        return chance.choice(EDGES)
    if kind == 1:
        return chance.getrandbits(chance.randrange(1, 130)) * chance.choice((1, -1))
    if kind == 2:
        (number,) = struct.unpack("<d", chance.randbytes(8))
        return number if math.isfinite(number) else chance.random()
    if kind == 3:
        return some_text(chance)
    inner = [some_value(chance, depth - 1) for _ in range(chance.randrange(5))]
    return inner if kind == 4 else {some_text(chance): value for value in inner}


def test_every_json_value_is_read_back(chance: random.Random) -> None:
    for _ in range(500):
        value = some_value(chance)
        assert bodies.parse_json(json.dumps(value).encode()) == value
        assert bodies.parse_json(json.dumps(value, ensure_ascii=False).encode()) == value


def test_other_bytes_are_bad_json_and_nothing_else(chance: random.Random) -> None:
    """Noise, and JSON with a byte changed or its end cut off."""
    refused = 0
    for _ in range(500):
        raw = bytearray(json.dumps(some_value(chance), ensure_ascii=False).encode())
        raw[chance.randrange(len(raw))] = chance.randrange(256)
        for data in (bytes(raw), bytes(raw[: chance.randrange(len(raw))]), chance.randbytes(200)):
            try:
                bodies.parse_json(data)
            except PeerError as error:
                assert (error.code, error.status) == ("bad_json", 400)  # noqa: PT017
                refused += 1
    assert refused > 500
