"""The admin listener: who may, what it shows, what it does; and what the public one has no more."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient, TestServer, make_mocked_request

from fakes.calls import FakeManager
from fakes.site import MakeSite
from fakes.virtual_loop import virtually
from voicecore.core.overload import OverloadLevel
from voicecore.errors import PeerError
from voicecore.service import admin_door
from voicecore.service.admin import PAGE_DIR, build_admin_app
from voicecore.service.admin_door import WRONG_AT_ONCE, WRONG_TOKEN_S, AdminDoor
from voicecore.service.config import Settings
from voicecore.service.crew import WorkerView
from voicecore.service.ending import Ending
from voicecore.service.metrics import Metrics
from voicecore.service.overview import OneProcess, as_row
from voicecore.service.readiness import Readiness
from voicecore.service.workers.administered import AllWorkers

TOKEN = "a-token-nobody-guesses-ü"
SESSIONS, DRAIN = "/admin/sessions", "/admin/drain"


def bearer(token: str = TOKEN) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def basic(token: str = TOKEN, user: str = "anybody") -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{token}".encode()).decode()}


@dataclass
class Admin:
    """An admin listener around a fake manager."""

    client: TestClient[web.Request, web.Application]
    manager: FakeManager
    ready: Readiness
    ending: Ending

    @property
    def origin(self) -> str:
        return str(self.client.make_url("/")).rstrip("/")

    async def seen(self) -> dict[str, Any]:
        async with self.client.get(SESSIONS, headers=bearer()) as reply:
            assert reply.status == 200
            body: dict[str, Any] = await reply.json()
            return body


@pytest.fixture
async def admin(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Admin]:
    monkeypatch.setattr(admin_door, "WRONG_TOKEN_S", 0.0)
    settings = Settings(admin_port=1, admin_token=TOKEN, instance="one")
    manager, ready, ending = FakeManager(), Readiness(), Ending(20)
    view = OneProcess(settings, manager, Metrics(), ready, ending)
    async with TestClient(TestServer(build_admin_app(settings, view))) as client:
        yield Admin(client, manager, ready, ending)


async def code_of(reply: ClientResponse) -> tuple[int, str]:
    return reply.status, (await reply.json())["error"]["code"]


# -- who may -----------------------------------------------------------------------------------

EVERYTHING = [
    ("GET", SESSIONS),
    ("DELETE", SESSIONS + "/session-1"),
    ("POST", DRAIN),
    ("GET", "/"),
    ("GET", "/admin/page/main.js"),
    ("GET", "/nothing"),
]


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "token_missing"),
        ({"Authorization": "Bearer"}, "token_missing"),
        ({"Authorization": f"Digest {TOKEN}"}, "token_missing"),
        (bearer("wrong"), "wrong_token"),
        (bearer(TOKEN + "x"), "wrong_token"),
        (basic("wrong"), "wrong_token"),
        (basic("", user=TOKEN), "wrong_token"),
        ({"Authorization": "Basic !!!"}, "wrong_token"),
        ({"Authorization": f"Basic {TOKEN}"}, "wrong_token"),
    ],
)
async def test_without_the_token_nothing_is_told_or_done(
    admin: Admin, headers: dict[str, str], code: str
) -> None:
    await admin.manager.open()
    for method, path in EVERYTHING:
        async with admin.client.request(method, path, headers=headers) as reply:
            assert await code_of(reply) == (401, code), path
            challenges = reply.headers.getall("WWW-Authenticate")
            assert [text.partition(" ")[0] for text in challenges] == ["Basic", "Bearer"]
            assert TOKEN not in await reply.text()
    assert (admin.manager.active, admin.manager.draining) == (1, False)


@pytest.mark.parametrize("headers", [bearer(), basic(), basic(user="")])
async def test_the_token_opens(admin: Admin, headers: dict[str, str]) -> None:
    async with admin.client.get(SESSIONS, headers=headers) as reply:
        assert reply.status == 200


@pytest.mark.parametrize("path", ["/metrics", "/healthz"])
async def test_probes_and_scrapers_need_none(admin: Admin, path: str) -> None:
    async with admin.client.get(path) as reply:
        assert reply.status == 200
        text = await reply.text()
    assert "voicecore_calls_opened_total" in text if path == "/metrics" else '"ok"' in text


def test_guessing_is_slow_and_never_keeps_the_right_one_out() -> None:
    door = AdminDoor(TOKEN, ()).middleware()

    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response()

    async def knock(token: str) -> int:
        return (await door(make_mocked_request("GET", SESSIONS, bearer(token)), handler)).status

    async def main() -> None:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        guesses = [asyncio.create_task(knock(f"guess {n}")) for n in range(WRONG_AT_ONCE)]
        await asyncio.sleep(0.5)
        with pytest.raises(PeerError) as caught:
            await knock("another")
        assert (caught.value.status, caught.value.code) == (429, "rate_limited")
        assert caught.value.retry_after_s
        assert await knock(TOKEN) == 200
        assert loop.time() - began_s == 0.5
        assert await asyncio.gather(*guesses) == [401] * WRONG_AT_ONCE
        assert loop.time() - began_s == WRONG_TOKEN_S
        assert await knock("another") == 401

    virtually(main())


# -- whose page ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path"), [("POST", DRAIN), ("DELETE", SESSIONS + "/session-1")])
@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "cross_site"),
        ({"Origin": "https://evil.example"}, "origin_not_allowed"),
        ({"Origin": "null"}, "origin_not_allowed"),
        ({"Sec-Fetch-Site": "cross-site"}, "cross_site"),
        ({"Sec-Fetch-Site": "same-origin"}, "cross_site"),
        ({"Origin": "ours", "Sec-Fetch-Site": "same-site"}, "cross_site"),
        ({"Origin": "ours", "Sec-Fetch-Site": "cross-site"}, "cross_site"),
    ],
)
async def test_another_sites_page_can_not_use_what_the_browser_remembers(
    admin: Admin, method: str, path: str, headers: dict[str, str], code: str
) -> None:
    await admin.manager.open()
    named = {k: admin.origin if v == "ours" else v for k, v in headers.items()}
    async with admin.client.request(method, path, headers=basic() | named) as reply:
        assert await code_of(reply) == (403, code)
    assert (admin.manager.active, admin.manager.draining) == (1, False)


@pytest.mark.parametrize("sends_site", [False, True])
async def test_our_own_page_can(admin: Admin, sends_site: bool) -> None:
    opened = await admin.manager.open()
    headers = basic() | {"Origin": admin.origin}
    if sends_site:
        headers["Sec-Fetch-Site"] = "same-origin"
    path = f"{SESSIONS}/{opened.session_id}"
    async with admin.client.delete(path, headers=headers) as reply:
        assert reply.status == 204
    assert admin.manager.active == 0


async def test_reading_is_no_other_pages_business_either(admin: Admin) -> None:
    headers = basic() | {"Origin": "https://evil.example"}
    async with admin.client.get(SESSIONS, headers=headers) as reply:
        assert await code_of(reply) == (403, "origin_not_allowed")
        assert "Access-Control-Allow-Origin" not in reply.headers


async def test_a_name_made_to_lead_here_is_refused(admin: Admin) -> None:
    for path in (SESSIONS, "/metrics"):
        headers = bearer() | {"Host": "evil.example"}
        async with admin.client.get(path, headers=headers) as reply:
            assert await code_of(reply) == (403, "host_not_allowed")


# -- what it shows --------------------------------------------------------------------------------


async def test_live_calls_and_how_the_server_is(admin: Admin) -> None:
    opened = await admin.manager.open()
    seen = await admin.seen()
    assert (seen["status"], seen["reasons"], seen["instance"]) == ("ready", [], "one")
    assert seen["calls"] == {"active": 1, "limit": 3}
    assert seen["drain_left_s"] is None
    assert [row["session_id"] for row in seen["sessions"]] == [opened.session_id]
    assert opened.token not in json.dumps(seen)


async def test_its_state_in_one_word(admin: Admin) -> None:
    admin.ready.wait_for("engines", "the engines are loading")
    seen = await admin.seen()
    assert (seen["status"], seen["reasons"]) == ("not_ready", ["the engines are loading"])
    admin.ready.done("engines")
    for _ in range(3):
        await admin.manager.open()
    assert (await admin.seen())["status"] == "full"
    admin.manager.draining = True
    assert (await admin.seen())["status"] == "draining"


def test_a_call_in_a_row() -> None:
    described = {
        "session_id": "s", "state": "hearing", "connection": "connected", "age_s": 61.5,
        "turn": 3, "codec": "opus", "pair": {"local": "relay", "remote": "srflx"},
        "mos": {"in": 4.12, "out": None},
        "media": {
            "received": 950.0, "lost": 50.0, "sent": 400.0, "remote_lost": 4.0,
            "round_trip_ms": 31.256, "malformed": 1.0,
        },
    }  # fmt: skip
    assert as_row(described) == {
        "session_id": "s", "state": "hearing", "connection": "connected", "age_s": 61.5,
        "turn": 3, "codec": "opus", "pair": {"local": "relay", "remote": "srflx"},
        "loss_percent": 5.0, "sent_loss_percent": 1.0, "mos_in": 4.12, "mos_out": None,
        "received": 950, "sent": 400, "round_trip_ms": 31.26,
    }  # fmt: skip


def test_a_call_without_media_has_no_figures() -> None:
    row = as_row({"session_id": "s", "state": "connecting", "media": {}})
    assert (row["loss_percent"], row["sent_loss_percent"], row["codec"]) == (None, None, None)
    silent = {"received": 0, "lost": 0, "sent": 0, "remote_lost": 0}
    assert as_row({"session_id": "s", "media": silent})["loss_percent"] is None


@pytest.mark.parametrize(
    ("accept", "query", "kind"),
    [
        ("text/html,application/xhtml+xml,*/*;q=0.8", "", "text/html"),
        ("text/html", "?format=json", "application/json"),
        ("application/json", "", "application/json"),
        ("*/*", "", "application/json"),
    ],
)
async def test_a_page_for_browsers_and_json_for_programs(
    admin: Admin, accept: str, query: str, kind: str
) -> None:
    headers = bearer() | {"Accept": accept}
    async with admin.client.get(SESSIONS + query, headers=headers) as reply:
        assert (reply.status, reply.content_type) == (200, kind)


async def test_every_reply_is_locked_up(admin: Admin) -> None:
    asked = [
        (SESSIONS, bearer() | {"Accept": "text/html"}), (SESSIONS, bearer()), (SESSIONS, {}),
        ("/admin/page/main.js", bearer()), ("/metrics", {}), ("/nothing", bearer()),
    ]  # fmt: skip
    for path, headers in asked:
        async with admin.client.get(path, headers=headers) as reply:
            policy = reply.headers["Content-Security-Policy"]
            assert policy.startswith("default-src 'none'; ")
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert reply.headers["Cache-Control"] == "no-store"
            assert reply.headers["X-Frame-Options"] == "DENY"
            assert reply.headers["X-Content-Type-Options"] == "nosniff"


async def test_the_page_needs_nothing_that_its_policy_forbids(admin: Admin) -> None:
    page = (PAGE_DIR / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=", page)
    wanted = set(re.findall(r'(?:src|href)="(page/[^"]+)"', page))
    assert len(wanted) >= 3
    for name in wanted:
        async with admin.client.get(f"/admin/{name}", headers=bearer()) as reply:
            assert reply.status == 200
    async with admin.client.get("/", headers=bearer(), allow_redirects=False) as reply:
        assert (reply.status, reply.headers["Location"]) == (302, SESSIONS)


# -- what it does ---------------------------------------------------------------------------------


async def test_hanging_up(admin: Admin) -> None:
    one, two = await admin.manager.open(), await admin.manager.open()
    path = f"{SESSIONS}/{one.session_id}"
    async with admin.client.delete(path, headers=bearer()) as reply:
        assert reply.status == 204
    assert list(admin.manager.calls) == [two.session_id]
    async with admin.client.delete(path, headers=bearer()) as reply:
        assert await code_of(reply) == (404, "unknown_session")


@pytest.mark.parametrize(
    ("body", "left_s"),
    [(None, 20), ({}, 20), ({"timeout_s": None}, 20), ({"timeout_s": 7.5}, 7.5)],
)
async def test_draining(admin: Admin, body: object, left_s: float) -> None:
    await admin.manager.open()
    async with admin.client.post(DRAIN, headers=bearer(), json=body) as reply:
        told = await reply.json()
        assert (reply.status, told["status"]) == (202, "draining")
        assert told["drain_left_s"] == pytest.approx(left_s, abs=1)
        assert told["calls"]["active"] == 1
    assert admin.manager.draining, "from the answer on nobody is taken"
    assert admin.ending.drains
    assert admin.ending.asked.is_set()
    seen = await admin.seen()
    assert (seen["status"], seen["sessions"][0]["session_id"]) == ("draining", "session-1")


async def test_draining_twice_is_draining_once(admin: Admin) -> None:
    for timeout_s in (5, 500):
        body = {"timeout_s": timeout_s}
        async with admin.client.post(DRAIN, headers=bearer(), json=body) as reply:
            assert (reply.status, (await reply.json())["drain_left_s"] <= 5) == (202, True)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"timeout_s": -1}, 422), ({"timeout_s": 90_000}, 422), ({"timeout_s": "5"}, 422),
        ({"timeout_s": True}, 422), ({"timeout_s": []}, 422), ([], 422), (5, 422),
    ],
)  # fmt: skip
async def test_a_drain_that_is_not_understood_is_none(
    admin: Admin, body: object, status: int
) -> None:
    async with admin.client.post(DRAIN, headers=bearer(), json=body) as reply:
        assert (reply.status, reply.content_type) == (status, "application/json")
    assert not admin.manager.draining
    assert not admin.ending.drains


async def test_bodies_are_small_json(admin: Admin) -> None:
    for data, kind, status in (
        (b"{", "application/json", 400),
        (b"{}", "text/plain", 415),
        (b" " * 5000, "application/json", 413),
        (b'{"timeout_s": 1e999}', "application/json", 422),
    ):
        headers = bearer() | {"Content-Type": kind}
        async with admin.client.post(DRAIN, headers=headers, data=data) as reply:
            assert reply.status == status
    assert not admin.manager.draining


# -- several workers as one ------------------------------------------------------------------


class FakeCrew:
    """Two workers with one call each; notes what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def workers(self) -> list[WorkerView]:
        return [
            WorkerView(n, "ready", OverloadLevel.NORMAL, 1, limit, takes_calls=True)
            for n, limit in enumerate((1, 2))
        ]

    async def sessions_of_all(self) -> list[dict[str, object]]:
        return [{"session_id": "_-0-a"}, {"session_id": "_-1-b"}]

    async def hang_up(self, session_id: str) -> None:
        self.told.append(session_id)

    async def drain_all(self, timeout_s: float | None = None) -> None:
        self.told.append(timeout_s)

    async def metrics(self) -> tuple[bytes, str]:
        return b"all of them", "text/plain"


async def test_workers_are_shown_and_led_as_one(admin: Admin) -> None:
    settings = Settings(admin_port=1, admin_token=TOKEN)
    one = OneProcess(settings, admin.manager, Metrics(), admin.ready, admin.ending)
    crew = FakeCrew()
    workers = AllWorkers(crew, one, timeout_s=20)
    for _ in range(3):
        await admin.manager.open()
    seen: Any = await workers.overview()
    assert seen["status"] == "ready", "there is room, though not in the worker that was asked"
    assert seen["calls"] == {"active": 2, "limit": 3}
    assert [row["session_id"] for row in seen["sessions"]] == ["_-0-a", "_-1-b"]
    assert [one["worker"] for one in seen["workers"]] == [0, 1]
    assert await workers.metrics() == (b"all of them", "text/plain")
    await workers.hang_up("_-1-b")
    with pytest.raises(PeerError, match="drain_timeout_s = 20 at most"):
        await workers.drain(21)
    assert not admin.ending.drains
    await workers.drain(5)
    assert crew.told == ["_-1-b", 5]
    seen = await workers.overview()
    assert (seen["status"], seen["drain_left_s"]) == ("draining", pytest.approx(5, abs=1))


# -- the public listener -----------------------------------------------------------------------


@pytest.mark.parametrize(("port", "status"), [(0, 200), (9, 404)])
async def test_metrics_are_told_in_one_place(make_site: MakeSite, port: int, status: int) -> None:
    site = await make_site(admin_port=port, admin_token=TOKEN)
    for path, wanted in (("/metrics", status), ("/healthz", 200), (SESSIONS, 404), (DRAIN, 404)):
        async with site.client.get(path) as reply:
            assert reply.status == wanted, path
