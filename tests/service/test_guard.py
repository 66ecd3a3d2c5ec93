"""Host against DNS rebinding, Origin against other sites, proxies against forgery."""

from __future__ import annotations

import socket

import pytest

from fakes.site import MakeSite, Site
from voicecore.errors import PeerError
from voicecore.service.forwarded import ProxyTrust, parse_authority
from voicecore.service.guard import Guard
from voicecore.service.setting_types import check_origin

HOSTS: list[tuple[str, int]] = [
    ("localhost", 200),
    ("LOCALHOST:8080", 200),
    ("localhost.", 200),
    ("app.localhost:1", 200),
    ("127.0.0.1:8080", 200),
    ("192.0.2.7", 200),
    ("[::1]:8080", 200),
    ("[2001:db8::1]", 200),
    (socket.gethostname(), 200),
    (f"{socket.gethostname()}.local:8080", 200),
    ("voice.example.org", 200),
    ("a.wild.example", 200),
    ("evil.example", 403),
    ("evil.example:8080", 403),
    ("wild.example", 403),
    ("notvoice.example.org", 403),
    ("localhost.evil.example", 403),
    ("127.0.0.1.evil.example", 403),
    ("127.1", 403),
    ("0x7f.1", 403),
    ("2130706433", 403),
    ("a b", 400),
    ("user@localhost", 400),
    ("localhost:port", 400),
    ("localhost:99999", 400),
    ("[::1", 400),
    ("localhost/path", 400),
]


@pytest.mark.parametrize(("host", "status"), HOSTS)
async def test_host_is_checked(make_site: MakeSite, host: str, status: int) -> None:
    site = await make_site(allowed_hosts="voice.example.org,*.wild.example")
    for path in ("/", "/healthz"):
        reply = await site.client.get(path, headers={"Host": host})
        assert reply.status == status
    if status == 403:
        error = (await reply.json())["error"]
        assert error["code"] == "host_not_allowed"
        assert "--allowed-hosts" in error["message"]


async def test_any_host_passes_when_told_so(make_site: MakeSite) -> None:
    site = await make_site(allowed_hosts="*")
    assert (await site.client.get("/healthz", headers={"Host": "any.example"})).status == 200


ORIGINS: list[tuple[str, int]] = [
    ("{own}", 200),
    ("https://app.example.org", 200),
    ("HTTPS://APP.example.org:443", 200),
    ("http://app.example.org", 403),
    ("https://app.example.org:8443", 403),
    ("https://evil.example", 403),
    ("http://127.0.0.1:1", 403),
    ("null", 403),
    ("", 403),
    ("file://", 403),
    ("https://", 403),
    ("chrome-extension://abc", 403),
]


@pytest.mark.parametrize(("origin", "status"), ORIGINS)
async def test_origin_is_checked(make_site: MakeSite, origin: str, status: int) -> None:
    site = await make_site(allowed_origins="https://app.example.org")
    headers = {"Origin": origin.format(own=site.origin)}
    reply = await site.client.post("/api/voice/session", headers=headers)
    assert reply.status == status
    if status == 403:
        assert (await reply.json())["error"]["code"] == "origin_not_allowed"
        assert site.manager.active == 0


async def test_rebound_page_is_stopped_even_with_its_own_origin(site: Site) -> None:
    headers = {"Host": "evil.example:8080", "Origin": "http://evil.example:8080"}
    reply = await site.client.post("/api/voice/session", headers=headers)
    assert reply.status == 403


async def test_cors_for_allowed_origins_alone(make_site: MakeSite) -> None:
    site = await make_site(allowed_origins="https://app.example.org")
    there = {"Origin": "https://app.example.org"}
    preflight = {**there, "Access-Control-Request-Method": "PATCH"}
    reply = await site.client.options("/api/voice/session/x", headers=preflight)
    assert reply.status == 204
    assert reply.headers["Access-Control-Allow-Origin"] == "https://app.example.org"
    assert "PATCH" in reply.headers["Access-Control-Allow-Methods"]
    asked = reply.headers["Access-Control-Allow-Headers"].split(", ")
    assert asked == ["Authorization", "Content-Type", "X-API-Key"]
    reply = await site.client.get("/api/voice/session/gone", headers=there)
    assert reply.status == 404
    assert reply.headers["Access-Control-Allow-Origin"] == "https://app.example.org"
    assert "Origin" in reply.headers["Vary"]
    assert "X-Voicecore-Session" in reply.headers["Access-Control-Expose-Headers"]
    assert "Access-Control-Allow-Credentials" not in reply.headers
    preflight["Origin"] = "https://evil.example"
    reply = await site.client.options("/api/voice/session/x", headers=preflight)
    assert reply.status == 403
    assert "Access-Control-Allow-Origin" not in reply.headers
    reply = await site.client.post("/api/voice/session", headers={"Origin": site.origin})
    assert "Access-Control-Allow-Origin" not in reply.headers


@pytest.mark.parametrize("path", ["/healthz", "/nothing", "/api/voice/session/gone", "/metrics"])
async def test_what_is_no_page_is_shown_in_nobodys_frame(site: Site, path: str) -> None:
    headers = (await site.client.get(path)).headers
    assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Server"] == "voicecore"
    assert "Strict-Transport-Security" not in headers, "it came by plain HTTP"


async def test_options_that_is_no_preflight_is_a_wrong_method(site: Site) -> None:
    assert (await site.client.options("/api/voice/answer")).status == 405


@pytest.mark.parametrize("trusted", [True, False])
async def test_forwarded_headers_count_only_from_trusted_proxies(
    make_site: MakeSite, trusted: bool
) -> None:
    networks = "127.0.0.0/8" if trusted else "10.0.0.0/8"
    site = await make_site(trusted_proxies=networks, allowed_hosts="voice.example.org")
    headers = {
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "voice.example.org",
        "Origin": "https://voice.example.org",
    }
    reply = await site.client.post("/api/voice/session", headers=headers)
    assert reply.status == (200 if trusted else 403)
    if not trusted:
        assert "trusted_proxies" in (await reply.json())["error"]["message"]


async def test_forwarded_host_is_checked_as_well(make_site: MakeSite) -> None:
    site = await make_site(trusted_proxies="127.0.0.1")
    headers = {"X-Forwarded-Host": "good.localhost, evil.example"}
    assert (await site.client.get("/healthz", headers=headers)).status == 403


def test_trust_is_by_network_and_sees_mapped_addresses() -> None:
    trust = ProxyTrust(["10.0.0.0/8", "2001:db8::/32"])
    assert trust.trusts("10.1.2.3")
    assert trust.trusts("::ffff:10.1.2.3")
    assert trust.trusts("2001:db8::7")
    assert not trust.trusts("11.0.0.1")
    assert not trust.trusts("not an address")


def test_authority() -> None:
    assert parse_authority("Example.ORG.:80") == ("example.org", 80)
    assert parse_authority("[2001:DB8::1]") == ("2001:db8::1", None)
    with pytest.raises(PeerError, match="Host"):
        parse_authority("")


def test_origins_have_one_form() -> None:
    assert check_origin("https://A.example:443/") == "https://a.example"
    assert check_origin("http://[2001:db8::1]:8080") == "http://[2001:db8::1]:8080"


def test_machine_name_passes() -> None:
    guard = Guard([], [])
    guard.check_host(socket.gethostname().lower())
    with pytest.raises(PeerError):
        guard.check_host("")
