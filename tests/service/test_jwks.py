"""Published keys: fetched once for many, anew at a bounded rate, and without them no entry."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric import rsa

from service.test_tokens import RSA_KEY, rs256
from voicecore.errors import CapacityError
from voicecore.service.access import jwks as module
from voicecore.service.access.jwks import AFTER_FAILURE_S, FOR_UNKNOWN_S, FRESH_S, STALE_S, Jwks
from voicecore.service.access.tokens import Tokens

SECOND = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def published(**keys: Any) -> bytes:
    entries = []
    for kid, key in keys.items():
        entry = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key()))
        entries.append({**entry, "kid": kid, "use": "sig"})
    return json.dumps({"keys": [{"kty": "oct", "k": "AA"}, "nonsense", *entries]}).encode()


class Issuer:
    """What is published, how often it was asked for, and the time."""

    def __init__(self, answer: bytes | Exception) -> None:
        self.answer, self.asked, self.now_s = answer, 0, 1000.0
        self.gate = asyncio.Event()
        self.gate.set()

    async def fetch(self, url: str) -> bytes:
        self.asked += 1
        await self.gate.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def jwks(self) -> Jwks:
        return Jwks("https://issuer.example/keys", self.fetch, lambda: self.now_s)


async def test_many_at_once_ask_once() -> None:
    issuer = Issuer(published(a=RSA_KEY))
    issuer.gate.clear()
    jwks = issuer.jwks()
    asking = [asyncio.create_task(jwks.key("a")) for _ in range(20)]
    impatient = asyncio.create_task(jwks.key("a"))
    await asyncio.sleep(0)
    impatient.cancel()
    issuer.gate.set()
    assert await asyncio.gather(*asking) == [RSA_KEY.public_key()] * 20
    assert issuer.asked == 1
    assert await jwks.key(None) == RSA_KEY.public_key(), "the only one needs no name"
    await jwks.close()


async def test_a_name_that_nobody_knows_is_looked_for_at_a_bounded_rate() -> None:
    issuer = Issuer(published(a=RSA_KEY))
    jwks = issuer.jwks()
    assert await jwks.key("a")
    issuer.answer = published(a=RSA_KEY, b=SECOND)
    for _ in range(50):
        assert await jwks.key("b") is None
    assert issuer.asked == 1
    issuer.now_s += FOR_UNKNOWN_S
    assert await jwks.key("b") == SECOND.public_key()
    assert await jwks.key(None) is None, "which of two?"
    for number in range(50):
        assert await jwks.key(f"made up {number}") is None
    assert issuer.asked == 2
    await jwks.close()


async def test_old_keys_serve_while_new_ones_are_fetched_and_no_longer() -> None:
    issuer = Issuer(published(a=RSA_KEY))
    jwks = issuer.jwks()
    await jwks.key("a")
    issuer.now_s += FRESH_S + 1
    issuer.answer = OSError("gone")
    assert await jwks.key("a"), "not waited for"
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert issuer.asked == 2
    assert await jwks.key("a")
    assert issuer.asked == 2, "a failed fetch is left alone for a while"
    issuer.now_s += STALE_S
    with pytest.raises(CapacityError) as caught:
        await jwks.key("a")
    assert (caught.value.code, caught.value.retry_after_s) == ("keys_unavailable", 5)
    issuer.answer = published(b=SECOND)
    with pytest.raises(CapacityError):
        await jwks.key("a")
    issuer.now_s += AFTER_FAILURE_S
    assert await jwks.key("b")
    assert await jwks.key("a") is None, "what is published no more is good no more"
    await jwks.close()


SMALL = rsa.generate_private_key(public_exponent=65537, key_size=1024)


@pytest.mark.parametrize(
    "answer",
    [b"", b"<html>", b"[]", b'{"keys": 1}', b'{"keys": []}', b'{"keys": [{"kty": "RSA"}]}',
     b"[" * 100_000, published(a=SMALL), OSError("no"), TimeoutError()],
    ids=range(10),
)  # fmt: skip
async def test_what_is_no_set_of_keys_is_as_none(
    answer: bytes | Exception, caplog: pytest.LogCaptureFixture
) -> None:
    jwks = Issuer(answer).jwks()
    with pytest.raises(CapacityError):
        await jwks.key("a")
    assert "jwks_url could not be used" in caplog.text
    await jwks.close()


async def test_closing_ends_a_fetch() -> None:
    issuer = Issuer(b"")
    issuer.gate.clear()
    jwks = issuer.jwks()
    asking = asyncio.create_task(jwks.key("a"))
    await asyncio.sleep(0)
    await jwks.close()
    with pytest.raises(CapacityError):
        await asking
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_over_http(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: dict[str, web.Response] = {}

    async def serve(request: web.Request) -> web.StreamResponse:
        if request.path == "/silent":
            await asyncio.Event().wait()
        return answers[request.path]

    app = web.Application()
    app.router.add_get("/{name}", serve)
    answers = {
        "/keys": web.Response(body=published(a=RSA_KEY)),
        "/away": web.Response(status=500, body=published(a=RSA_KEY)),
        "/elsewhere": web.Response(status=302, headers={"Location": "/keys"}),
        "/endless": web.Response(body=published(a=RSA_KEY) + b" " * 300_000),
    }
    monkeypatch.setattr(module, "_TIMEOUT_S", 0.2)
    async with TestServer(app) as server:
        tokens = Tokens(jwks=Jwks(str(server.make_url("/keys"))))
        token = jwt.encode({"exp": 2**33, "sub": "ann"}, RSA_KEY, "RS256", headers={"kid": "a"})
        assert (await tokens.principal(token)).name == "jwt:ann"
        assert (await tokens.principal(rs256())).name == "jwt:ann"
        for path in ("/away", "/elsewhere", "/endless", "/silent"):
            jwks = Jwks(str(server.make_url(path)))
            with pytest.raises(CapacityError):
                await jwks.key("a")
            await jwks.close()
