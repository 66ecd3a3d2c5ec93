"""Bad input on signaling with real calls behind it, and places and sockets that come back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from caller.server import Server
from e2e.aiortc_caller import AiortcCaller
from e2e.patience import until
from e2e.spoken import counter

LIMIT = 2
VIDEO_ONLY = (
    "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
    "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 VP8/90000\r\n"
)
ALIEN_CODEC = VIDEO_ONLY.replace("m=video", "m=audio").replace("VP8/90000", "G7221/16000")
BROKEN = ALIEN_CODEC.replace("G7221/16000", "opus/48000/2") + "a=setup:nonsense\r\n"


@pytest.fixture(scope="module")
def server(serve: Callable[..., Server]) -> Server:
    return serve(
        "--stt", "stub", "--llm", "stub", "--tts", "stub",
        "--max-calls", str(LIMIT), "--answer-timeout-s", "3",
    )  # fmt: skip


class Site:
    """The service's signaling, by hand."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http = http
        self._url = f"{url}/api/voice"

    async def ask(
        self, method: str, path: str, body: object = None, token: str = ""
    ) -> tuple[int, Any, Any]:
        """Status, JSON body (None: empty), headers."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        url = f"{self._url}/{path}"
        async with self._http.request(method, url, json=body, headers=headers) as reply:
            answer = await reply.json() if await reply.read() else None
            return reply.status, answer, reply.headers

    async def open(self) -> dict[str, Any]:
        status, opened, _ = await self.ask("POST", "session", {})
        assert status == 200, opened
        return opened

    async def answer(self, opened: dict[str, Any], sdp: str) -> tuple[int, str]:
        body = {"session_id": opened["session_id"], "answer": {"type": "answer", "sdp": sdp}}
        status, answer, _ = await self.ask("POST", "answer", body, opened["token"])
        return status, answer.get("error", {}).get("code", "")

    async def hang_up(self, opened: dict[str, Any]) -> None:
        status, *_ = await self.ask(
            "DELETE", f"session/{opened['session_id']}", token=opened["token"]
        )
        assert status == 204


@pytest.fixture
def site(http: aiohttp.ClientSession, server: Server) -> Site:
    return Site(http, server.url)


async def active_calls(http: aiohttp.ClientSession, server: Server) -> float:
    return await counter(http, server.url, "voicecore_calls_active")


@pytest.mark.parametrize(
    ("sdp", "status", "code"),
    [
        (VIDEO_ONLY, 422, "no_audio"),
        (ALIEN_CODEC, 422, "no_codec"),
        (BROKEN, 400, "bad_sdp"),
        ("garbage", 400, "bad_sdp"),
        ("v=0\r\nm=audio 9 RTP/AVP 0\r\n", 400, "bad_sdp"),
    ],
    ids=["no audio", "unknown codec", "broken", "garbage", "too little"],
)
async def test_offers_that_are_refused_take_no_place(
    http: aiohttp.ClientSession, server: Server, site: Site, sdp: str, status: int, code: str
) -> None:
    for _ in range(LIMIT + 1):
        got, body, _ = await site.ask("POST", "offer", {"type": "offer", "sdp": sdp})
        assert (got, body["error"]["code"]) == (status, code)
    assert await active_calls(http, server) == 0


@pytest.mark.parametrize(
    ("sdp", "status", "code"),
    [
        (VIDEO_ONLY, 422, "no_audio"),
        (ALIEN_CODEC, 422, "no_codec"),
        (BROKEN, 400, "bad_sdp"),
        ("garbage", 400, "bad_sdp"),
    ],
    ids=["no audio", "unknown codec", "broken", "garbage"],
)
async def test_answers_that_are_refused(site: Site, sdp: str, status: int, code: str) -> None:
    opened = await site.open()
    assert await site.answer(opened, sdp) == (status, code)
    await site.hang_up(opened)


async def test_an_answer_can_be_given_once(http: aiohttp.ClientSession, server: Server) -> None:
    caller = AiortcCaller(http, server.url)
    try:
        await caller.call()
        opened = {"session_id": caller.session_id, "token": caller.auth["Authorization"][7:]}
        again = Site(http, server.url)
        assert await again.answer(opened, VIDEO_ONLY) == (409, "already_answered")
    finally:
        await caller.hang_up()
    assert await again.answer(opened, VIDEO_ONLY) == (404, "unknown_session")


async def test_two_answers_at_once_are_not_both_taken(
    http: aiohttp.ClientSession, server: Server, site: Site
) -> None:
    caller = AiortcCaller(http, server.url)
    answers: list[Any] = []
    post = caller._post

    async def twice(path: str, body: Any) -> dict[str, Any]:
        if path != "answer":
            return await post(path, body)
        opened = {"session_id": caller.session_id, "token": caller.auth["Authorization"][7:]}
        sdp = body["answer"]["sdp"]
        answers.extend(await asyncio.gather(*(site.answer(opened, sdp) for _ in range(2))))
        return {}

    caller._post = twice  # type: ignore[method-assign]
    try:
        await caller.call()
    finally:
        await caller.hang_up()
    assert sorted(answers) == [(200, ""), (409, "already_answered")]


async def test_wrong_missing_and_foreign_tokens(site: Site) -> None:
    one, other = await site.open(), await site.open()
    path = f"session/{one['session_id']}"
    for method in ("GET", "DELETE"):
        assert (await site.ask(method, path, token="wrong"))[0] == 403
        assert (await site.ask(method, path, token=other["token"]))[0] == 403
        assert (await site.ask(method, path))[0] == 401
    wrong = {**one, "token": other["token"]}
    assert await site.answer(wrong, VIDEO_ONLY) == (403, "wrong_token")
    assert (await site.ask("GET", path, token=one["token"]))[0] == 200
    await site.hang_up(one)
    await site.hang_up(other)
    assert (await site.ask("GET", path, token=one["token"]))[0] == 404
    assert await site.answer(one, VIDEO_ONLY) == (404, "unknown_session")


async def test_the_limit_and_a_place_that_is_free_again(site: Site) -> None:
    held = [await site.open() for _ in range(LIMIT)]
    for path, body in (("session", {}), ("offer", {"type": "offer", "sdp": VIDEO_ONLY})):
        status, answer, headers = await site.ask("POST", path, body)
        assert (status, answer["error"]["code"]) == (503, "at_capacity")
        assert int(headers["Retry-After"]) >= 1
    await site.hang_up(held.pop())
    held.append(await site.open())
    for opened in held:
        await site.hang_up(opened)


async def test_an_unanswered_offer_lapses(
    http: aiohttp.ClientSession, server: Server, site: Site
) -> None:
    opened = [await site.open() for _ in range(LIMIT)]

    async def none_left() -> bool:
        return await active_calls(http, server) == 0

    await until(none_left, "the offers did not lapse")
    path = f"session/{opened[0]['session_id']}"
    assert (await site.ask("GET", path, token=opened[0]["token"]))[0] == 404
    lapsed = await counter(http, server.url, "voicecore_ice_results_total", result="unanswered")
    assert lapsed >= LIMIT


async def test_calls_share_the_media_ports_and_leave_nothing(
    http: aiohttp.ClientSession, server: Server, site: Site
) -> None:
    async def settled() -> bool:
        return await active_calls(http, server) == 0

    await until(settled, "calls of earlier tests are still there")
    before = server.usage()
    for _ in range(3):
        opened = [await site.open() for _ in range(LIMIT)]
        # One more at most for HTTP: calls share the media ports.
        assert server.usage().descriptors <= before.descriptors + 1
        for session in opened:
            await site.hang_up(session)
    caller = AiortcCaller(http, server.url)
    await caller.call()
    await caller.hang_up()

    async def as_before() -> bool:
        return server.usage().descriptors <= before.descriptors + 1

    await until(as_before, "descriptors are left over")
    assert server.usage().threads <= before.threads
