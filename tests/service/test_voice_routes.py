"""The signaling flows, over real HTTP."""

from __future__ import annotations

import json
from http.cookies import SimpleCookie
from typing import Any

import pytest
from aiohttp import ClientResponse

from fakes.calls import ANSWER_SDP, OFFER_SDP
from fakes.site import MakeSite, Site
from voicecore.errors import PeerError
from voicecore.service.voice_routes import candidates_in

JSON = {"Content-Type": "application/json"}
ANSWER = {"type": "answer", "sdp": ANSWER_SDP}


def bearer(opened: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {opened['token']}"}


async def error_of(reply: ClientResponse) -> tuple[int, str]:
    return reply.status, (await reply.json())["error"]["code"]


async def test_server_offers_and_client_answers(site: Site) -> None:
    opened = await site.open()
    assert opened["offer"] == {"type": "offer", "sdp": OFFER_SDP}
    assert (opened["ice_servers"], opened["ice_transport_policy"]) == ([], "all")
    body = {"session_id": opened["session_id"], "answer": ANSWER}
    site.client.session.cookie_jar.clear()
    reply = await site.client.post("/api/voice/answer", json=body, headers=bearer(opened))
    assert reply.status == 200
    assert reply.headers["Cache-Control"] == "no-store"
    assert site.manager.calls[opened["session_id"]].answer == ANSWER_SDP


async def test_a_reply_that_opens_a_session_names_it_for_balancers(
    make_site: MakeSite,
) -> None:
    site = await make_site(allowed_origins=["https://shop.test"])
    headers = {"Origin": "https://shop.test"}
    for path, body in (("session", None), ("offer", {"type": "offer", "sdp": OFFER_SDP})):
        reply = await site.client.post(f"/api/voice/{path}", json=body, headers=headers)
        opened = await reply.json()
        assert reply.headers["X-Voicecore-Session"] == opened["session_id"]
        assert "X-Voicecore-Session" in reply.headers["Access-Control-Expose-Headers"]
        url = f"/api/voice/session/{opened['session_id']}"
        again = await site.client.get(url, headers=bearer(opened))
        assert again.status == 200
        assert "X-Voicecore-Session" not in again.headers, "it opened nothing"


async def test_token_may_stand_in_the_body(site: Site) -> None:
    opened = await site.open()
    site.client.session.cookie_jar.clear()
    body = {"session_id": opened["session_id"], "token": opened["token"], "answer": ANSWER}
    assert (await site.client.post("/api/voice/answer", json=body)).status == 200


async def test_the_seeds_page_posts_the_answer_alone_as_text(site: Site) -> None:
    opened = await site.open()
    headers = {"Origin": site.origin, "Content-Type": "text/plain;charset=UTF-8"}
    data = json.dumps({"answer": ANSWER})
    reply = await site.client.post("/api/voice/answer", data=data, headers=headers)
    assert reply.status == 200
    assert (await reply.json())["session_id"] == opened["session_id"]


@pytest.mark.parametrize("kind", ["text/plain", None])
async def test_json_as_text_needs_an_origin_of_ours(site: Site, kind: str | None) -> None:
    await site.open()
    data = json.dumps({"answer": ANSWER}).encode()
    skip = ["Content-Type"] if kind is None else []
    headers = {} if kind is None else {"Content-Type": kind}
    post = site.client.post
    reply = await post("/api/voice/answer", data=data, headers=headers, skip_auto_headers=skip)
    assert await error_of(reply) == (415, "unsupported_media_type")
    headers["Origin"] = site.origin
    reply = await post("/api/voice/answer", data=data, headers=headers, skip_auto_headers=skip)
    assert reply.status == 200


async def test_cookie_is_for_scripts_and_other_sites_out_of_reach(site: Site) -> None:
    reply = await site.client.post("/api/voice/session")
    morsel = SimpleCookie(reply.headers["Set-Cookie"])["voicecore_session"]
    assert morsel["httponly"]
    assert morsel["samesite"] == "Strict"
    assert morsel["path"] == "/api/voice"
    assert not morsel["secure"]


async def test_cookie_is_secure_when_a_trusted_proxy_ends_tls(make_site: MakeSite) -> None:
    site = await make_site(trusted_proxies=["127.0.0.0/8"])
    headers = {"X-Forwarded-Proto": "https"}
    reply = await site.client.post("/api/voice/session", headers=headers)
    assert SimpleCookie(reply.headers["Set-Cookie"])["voicecore_session"]["secure"]


async def test_client_offers(site: Site) -> None:
    reply = await site.client.post("/api/voice/offer", json={"type": "offer", "sdp": OFFER_SDP})
    body = await reply.json()
    assert reply.status == 200
    assert (body["type"], body["sdp"]) == ("answer", ANSWER_SDP)
    servers = {"ice_servers", "ice_transport_policy"}
    assert set(body) == {"sdp", "type", "session_id", "token"} | servers
    assert "Set-Cookie" not in reply.headers
    state = await site.client.get(f"/api/voice/session/{body['session_id']}", headers=bearer(body))
    assert (await state.json())["answered"] is False


async def test_candidates_trickle(site: Site) -> None:
    opened = await site.open()
    path = f"/api/voice/session/{opened['session_id']}"
    one = {"candidate": "candidate:1 1 udp 1 192.0.2.1 9 typ host", "sdpMid": "0"}
    for body in (
        {"candidate": one},
        {"candidates": [{**one, "sdpMLineIndex": 0}, one]},
        {"candidate": None},
        None,
    ):
        data = json.dumps(body).encode()
        reply = await site.client.patch(path, data=data, headers=JSON)
        assert reply.status == 204
        assert await reply.read() == b""
    text = one["candidate"]
    assert site.manager.calls[opened["session_id"]].candidates == [
        (text, "0", None),
        (text, "0", 0),
        (text, "0", None),
        ("", None, None),
        ("", None, None),
    ]


def test_the_name_of_an_ice_restart_stands_in_the_candidate() -> None:
    one = {"candidate": "candidate:1 1 udp 1 192.0.2.1 9 typ host", "sdpMid": "0"}
    text = one["candidate"]
    for init, said in (
        ({**one, "usernameFragment": "a+/9"}, f"{text} ufrag a+/9"),
        ({**one, "candidate": f"{text} ufrag b"}, f"{text} ufrag b"),
        ({**one, "candidate": f"{text} ufrag b", "usernameFragment": "b"}, f"{text} ufrag b"),
        ({**one, "usernameFragment": None}, text),
        ({"candidate": "", "usernameFragment": ""}, ""),
        ({"candidate": "", "usernameFragment": "abcd"}, ""),
    ):
        assert candidates_in({"candidate": init})[0][0] == said
    for bad, code in ((7, "wrong_type"), ("a b", "wrong_value"), ("x" * 257, "wrong_value")):
        with pytest.raises(PeerError) as caught:
            candidates_in({"candidate": {**one, "usernameFragment": bad}})
        assert (caught.value.status, caught.value.code) == (422, code)


async def test_ice_restarts_by_the_sessions_own_token(make_site: MakeSite) -> None:
    secret = {"turn_urls": ["turn:turn.example:3478"], "turn_secret": "s" * 32}
    site = await make_site(**secret)
    opened = await site.open()
    path = f"/api/voice/session/{opened['session_id']}/restart"
    offer = {"type": "offer", "sdp": OFFER_SDP}
    site.manager.draining = True
    for headers, body in (({}, offer), (bearer(opened), offer), ({}, {**offer, **opened})):
        reply = await site.client.post(path, json={**body, **offer}, headers=headers)
        answer = await reply.json()
        assert reply.status == 200
        assert (answer["type"], answer["sdp"]) == ("answer", ANSWER_SDP)
        assert answer["session_id"] == opened["session_id"]
        assert answer["ice_servers"][0]["username"].endswith(opened["session_id"])
        assert "token" not in answer
        assert "Set-Cookie" not in reply.headers
    assert site.manager.calls[opened["session_id"]].restarts == 3
    site.client.session.cookie_jar.clear()
    assert await error_of(await site.client.post(path, json=offer)) == (401, "token_missing")
    wrong = {"Authorization": "Bearer no"}
    reply = await site.client.post(path, json=offer, headers=wrong)
    assert await error_of(reply) == (403, "wrong_token")
    for body, refused in (
        ({"type": "answer", "sdp": OFFER_SDP}, (422, "wrong_value")),
        ({"type": "offer"}, (422, "missing_field")),
        ({"type": "offer", "sdp": "nonsense"}, (400, "bad_sdp")),
        ({"type": "offer", "sdp": "v=0 other-certificate"}, (422, "other_certificate")),
        ([], (422, "wrong_type")),
    ):
        reply = await site.client.post(path, json=body, headers=bearer(opened))
        assert await error_of(reply) == refused
    gone = path.replace(opened["session_id"], "gone")
    assert await error_of(await site.client.post(gone, json=offer, headers=wrong)) == (
        404,
        "unknown_session",
    )


def test_bare_candidate_is_understood() -> None:
    assert candidates_in({"candidate": "x", "sdpMid": "audio", "sdpMLineIndex": 1}) == [
        ("x", "audio", 1)
    ]


@pytest.mark.parametrize("with_id", [True, False])
async def test_hang_up_by_cookie_forgets_the_cookie(site: Site, with_id: bool) -> None:
    opened = await site.open()
    tail = f"/{opened['session_id']}" if with_id else ""
    reply = await site.client.delete(f"/api/voice/session{tail}")
    assert reply.status == 204
    assert site.manager.active == 0
    assert 'voicecore_session=""' in reply.headers["Set-Cookie"]
    again = await site.client.delete(
        f"/api/voice/session/{opened['session_id']}", headers=bearer(opened)
    )
    assert await error_of(again) == (404, "unknown_session")


async def test_turn_credentials_come_with_the_offer(make_site: MakeSite) -> None:
    site = await make_site(turn_urls="turn:turn.example.org:3478", turn_secret="s3cret")
    opened = await site.open()
    (server,) = opened["ice_servers"]
    assert server["urls"] == ["turn:turn.example.org:3478"]
    assert server["username"].endswith(f":{opened['session_id']}")
    assert "s3cret" not in json.dumps(opened)


async def test_full_house_says_when_to_come_back(make_site: MakeSite) -> None:
    site = await make_site(limit=1)
    await site.open()
    for path, body in (("session", None), ("offer", {"type": "offer", "sdp": OFFER_SDP})):
        reply = await site.client.post(f"/api/voice/{path}", json=body)
        assert await error_of(reply) == (503, "at_capacity")
        assert reply.headers["Retry-After"] == "7"


async def test_no_call_before_ready_nor_while_draining(site: Site) -> None:
    site.ready.wait_for("engines", "the engines are loading")
    reply = await site.client.post("/api/voice/session")
    assert await error_of(reply) == (503, "not_ready")
    assert reply.headers["Retry-After"]
    site.ready.done("engines")
    site.manager.draining = True
    reply = await site.client.post("/api/voice/session")
    assert await error_of(reply) == (503, "draining")
