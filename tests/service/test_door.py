"""The door in front of the routes that open a call."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from fakes.calls import OFFER_SDP, FakeManager
from fakes.site import MakeSite, Site
from service.test_tokens import SECRET, hs256, rs256
from voicecore.service.app import build_app
from voicecore.service.config import Settings
from voicecore.service.metrics import Metrics
from voicecore.service.readiness import Readiness

KEY = "k3y-0123456789abcdef"
KEYS = {"api_keys": f"web={KEY},phone={KEY}2"}
OFFER = {"type": "offer", "sdp": OFFER_SDP}
WAYS: list[tuple[str, Any]] = [("/api/voice/session", None), ("/api/voice/offer", OFFER)]


async def opened(site: Site, path: str, body: Any, **headers: str) -> tuple[int, str]:
    async with site.client.post(path, json=body, headers=headers) as reply:
        said = await reply.json()
        assert ("WWW-Authenticate" in reply.headers) == (reply.status == 401)
        assert KEY not in await reply.text()
        return reply.status, said.get("error", {}).get("code", "")


def refusals(site: Site, reason: str) -> float:
    name = "voicecore_calls_refused_total"
    return site.metrics.registry.get_sample_value(name, {"reason": reason}) or 0.0


@pytest.mark.parametrize(("path", "body"), WAYS)
async def test_opening_takes_a_key(make_site: MakeSite, path: str, body: Any) -> None:
    site = await make_site(**KEYS)
    assert await opened(site, path, body) == (401, "key_missing")
    for wrong in (f"Basic {KEY}", "Bearer", "Bearer  ", KEY):
        assert await opened(site, path, body, Authorization=wrong) == (401, "key_missing")
    for wrong in ("nope", "web", "a.b.c", KEY[:-1]):
        assert await opened(site, path, body, Authorization=f"Bearer {wrong}") == (401, "wrong_key")
        assert await opened(site, path, body, **{"X-API-Key": wrong}) == (401, "wrong_key")
    assert site.manager.active == 0
    assert refusals(site, "key_missing") == 5
    assert refusals(site, "wrong_key") == 8
    assert await opened(site, path, body, Authorization=f"bearer {KEY}") == (200, "")
    assert await opened(site, path, body, **{"X-API-Key": f"{KEY}2"}) == (200, "")
    assert site.manager.active == 2


async def test_the_path_can_be_written_in_other_ways_to_no_avail(make_site: MakeSite) -> None:
    site = await make_site(**KEYS)
    for path in ("/api/voice/%73ession", "/api/voice/./session", "/api/voice/session?x=/answer"):
        url = site.client.make_url("/").join(URL(path, encoded=True))
        async with site.client.session.post(url) as reply:
            assert reply.status == 401, path
    assert site.manager.active == 0


async def test_a_call_that_is_open_shows_its_own_token(make_site: MakeSite) -> None:
    site = await make_site(**KEYS)
    async with site.client.post("/api/voice/session", headers={"X-API-Key": KEY}) as reply:
        call = await reply.json()
    site.client.session.cookie_jar.clear()
    path = f"/api/voice/session/{call['session_id']}"
    for shown, status in ((call["token"], 200), (KEY, 403)):
        headers = {"Authorization": f"Bearer {shown}"}
        async with site.client.get(path, headers=headers) as reply:
            assert reply.status == status
    for path in ("/", "/healthz", "/readyz"):
        assert (await site.client.get(path)).status == 200


async def test_tokens_open_calls_beside_keys(make_site: MakeSite) -> None:
    site = await make_site(**KEYS, jwt_secret=SECRET, jwt_audience="us")
    for token, answer in (
        (hs256(), (200, "")),
        (KEY, (200, "")),
        (hs256(exp=1), (401, "token_expired")),
        (hs256(aud="them"), (401, "wrong_key")),
    ):
        shown = {"Authorization": f"Bearer {token}"}
        assert await opened(site, "/api/voice/session", None, **shown) == answer


async def test_without_published_keys_it_is_our_fault(make_site: MakeSite) -> None:
    site = await make_site(jwks_url="http://127.0.0.1:1/keys")
    async with site.client.post(
        "/api/voice/session", headers={"Authorization": f"Bearer {rs256()}"}
    ) as reply:
        assert reply.status == 503
        assert (await reply.json())["error"]["code"] == "keys_unavailable"
        assert int(reply.headers["Retry-After"]) > 0
    assert refusals(site, "keys_unavailable") == 1


async def test_failed_attempts_count_for_their_address(make_site: MakeSite) -> None:
    site = await make_site(**KEYS, trusted_proxies="127.0.0.1", rate_per_address="4/minute")
    guess = {"X-API-Key": "guessed", "X-Forwarded-For": "192.0.2.9"}
    for _ in range(4):
        assert await opened(site, "/api/voice/session", None, **guess) == (401, "wrong_key")
    right = {**guess, "X-API-Key": KEY}
    assert await opened(site, "/api/voice/session", None, **right) == (429, "rate_limited")
    async with site.client.post("/api/voice/session", headers=right) as reply:
        assert 0 < int(reply.headers["Retry-After"]) <= 60
    elsewhere = {**right, "X-Forwarded-For": "192.0.2.10"}
    assert await opened(site, "/api/voice/session", None, **elsewhere) == (200, "")
    assert refusals(site, "rate_limited") == 2


async def test_a_key_has_its_rate_wherever_it_is_shown(make_site: MakeSite) -> None:
    site = await make_site(9, **KEYS, trusted_proxies="127.0.0.1", rate_per_key="2/minute")
    answers = [
        await opened(
            site, "/api/voice/session", None,
            **{"X-API-Key": KEY, "X-Forwarded-For": f"192.0.2.{number}"},
        )
        for number in range(3)
    ]  # fmt: skip
    assert answers == [(200, ""), (200, ""), (429, "rate_limited")]
    assert await opened(site, "/api/voice/session", None, **{"X-API-Key": f"{KEY}2"}) == (200, "")


async def test_who_comes_by_a_unix_socket_went_through_a_door(tmp_path: Path) -> None:
    limits = {"rate_per_key": "1/hour", "rate_per_address": "1/hour"}
    app = build_app(Settings(**KEYS, **limits), FakeManager(9), Metrics(), Readiness(), tmp_path)
    runner = web.AppRunner(app)
    await runner.setup()
    path = str(tmp_path / "inner.sock")
    await web.UnixSite(runner, path).start()
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(path)) as inner:
        for _ in range(3):
            async with inner.post("http://localhost/api/voice/session") as reply:
                assert reply.status == 200
    await runner.cleanup()


async def test_neither_keys_nor_tokens_are_logged(
    make_site: MakeSite, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    site = await make_site(**KEYS, jwt_secret=SECRET)
    token = hs256()
    for shown in (KEY, token, token[:-2], "guessed-key-of-somebody"):
        await opened(site, "/api/voice/session", None, Authorization=f"Bearer {shown}")
    site.manager.explode = RuntimeError("broken")
    status, code = await opened(site, "/api/voice/session", None, **{"X-API-Key": KEY})
    assert (status, code) == (500, "internal")
    for secret in (KEY, SECRET, token, token[:-2], "guessed-key-of-somebody"):
        assert secret not in caplog.text
    metrics = site.metrics.render()[0].decode()
    assert "web" not in metrics
    assert '"ann' not in metrics


@pytest.mark.parametrize("hop", ["192.0.2.9:{}", "[2001:db8::9]:{}", "2001:db8::{}", "unknown{}"])
async def test_an_address_counts_however_a_proxy_writes_it(make_site: MakeSite, hop: str) -> None:
    site = await make_site(
        **KEYS, rate_per_address="2/hour", trusted_proxies="127.0.0.1,198.51.100.0/24"
    )
    answers = [
        await opened(
            site,
            "/api/voice/session",
            None,
            **{"X-API-Key": KEY, "X-Forwarded-For": f"{hop.format(1000 + port)}, 198.51.100.7"},
        )
        for port in range(3)
    ]
    assert answers == [(200, ""), (200, ""), (429, "rate_limited")]
