"""Tokens that open calls, and all the ways in which one can be none."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from voicecore.errors import PeerError
from voicecore.service.access.tokens import LEEWAY_S, LONGEST_TOKEN, Tokens, public_key_in
from voicecore.service.config_load import ConfigError

SECRET = "a secret of more than 32 bytes, for tests"
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PUBLIC = RSA_KEY.public_key()
PUBLIC_PEM = PUBLIC.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def claims(**more: Any) -> dict[str, Any]:
    given = {"sub": "ann", "exp": time.time() + 86_400, "iss": "issuer", "aud": "us", **more}
    return {name: value for name, value in given.items() if value is not None}


def hs256(**more: Any) -> str:
    return jwt.encode(claims(**more), SECRET, algorithm="HS256")


def rs256(**more: Any) -> str:
    return jwt.encode(claims(**more), RSA_KEY, algorithm="RS256")


def by_hand(header: dict[str, Any], key: bytes = b"", **more: Any) -> str:
    """A token that no library would make: signed with HMAC whatever its header says."""

    def part(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    signed = f"{part(json.dumps(header).encode())}.{part(json.dumps(claims(**more)).encode())}"
    mac = hmac.new(key, signed.encode(), hashlib.sha256).digest() if key else b""
    return f"{signed}.{part(mac)}"


@pytest.fixture
def tokens() -> Tokens:
    return Tokens(secret=SECRET, public_key=PUBLIC, issuer="issuer", audience="us")


async def test_good_tokens_name_their_subject(tokens: Tokens) -> None:
    for token in (hs256(), rs256(), rs256(aud=["them", "us"]), hs256(exp=time.time() - 5)):
        assert (await tokens.principal(token)).name == "jwt:ann"
    assert (await tokens.principal(hs256(sub=None))).name == "jwt:"
    odd = await tokens.principal(by_hand({"alg": "HS256"}, SECRET.encode(), sub="a\ud800"))
    assert odd.name.encode() == b"jwt:a?"
    long = await tokens.principal(hs256(sub="x" * 3000))
    assert len(long.name) < 300


REFUSED: dict[str, str] = {
    "expired": hs256(exp=time.time() - LEEWAY_S - 5),
    "no expiry": hs256(exp=None),
    "not yet": rs256(nbf=time.time() + 86_400),
    "issued tomorrow": rs256(iat=time.time() + 86_400),
    "somebody else's": hs256(aud="them"),
    "for nobody": hs256(aud=None),
    "by somebody else": rs256(iss="mallory"),
    "by nobody": rs256(iss=None),
    "another secret": jwt.encode(claims(), SECRET + "x", algorithm="HS256"),
    "another algorithm": jwt.encode(claims(), SECRET * 2, algorithm="HS512"),
    "no algorithm": by_hand({"alg": "none"}),
    "algorithm None": by_hand({"alg": "None"}),
    "the public key as a secret": by_hand({"alg": "HS256"}, PUBLIC_PEM),
    "HMAC called RS256": by_hand({"alg": "RS256"}, SECRET.encode()),
    "its own key": by_hand({"alg": "HS256", "jwk": {"kty": "oct", "k": "AAAA"}}, b"\0\0\0"),
    "its own address": by_hand({"alg": "HS256", "jku": "http://evil.example/"}, b"x"),
    "expiry is text": by_hand({"alg": "HS256"}, SECRET.encode(), exp="tomorrow"),
    "subject is a number": by_hand({"alg": "HS256"}, SECRET.encode(), sub=7),
    "a critical extension": by_hand({"alg": "HS256", "crit": ["b64"]}, SECRET.encode()),
    "a deep header": base64.urlsafe_b64encode(b"[" * 5000).decode() + ".e30.",
    "a header of another type": base64.urlsafe_b64encode(b"[1]").decode() + ".e30.",
    "algorithm is a list": by_hand({"alg": ["HS256"]}, SECRET.encode()),
    "key id is a list": by_hand({"alg": "RS256", "kid": []}, SECRET.encode()),
    "cut off": hs256()[:-3],
    "no parts": "hello",
    "empty parts": "..",
    "not base64": "ä.ö.ü",
    "too long": hs256(padding="x" * LONGEST_TOKEN),
}


@pytest.mark.parametrize("token", REFUSED.values(), ids=REFUSED.keys())
async def test_tokens_that_are_refused(tokens: Tokens, token: str) -> None:
    with pytest.raises(PeerError) as caught:
        await tokens.principal(token)
    expired = token == REFUSED["expired"]
    assert caught.value.status == 401
    assert caught.value.code == ("token_expired" if expired else "wrong_key")
    assert token not in str(caught.value)


async def test_each_algorithm_wants_a_key_of_its_own() -> None:
    for tokens, token in (
        (Tokens(secret=SECRET), rs256()),
        (Tokens(public_key=PUBLIC), hs256()),
        (Tokens(public_key=PUBLIC), by_hand({"alg": "HS256"}, b"")),
    ):
        with pytest.raises(PeerError, match=r"no key of ours|not valid here"):
            await tokens.principal(token)


async def test_issuer_and_audience_are_asked_for_only_if_given() -> None:
    tokens = Tokens(secret=SECRET)
    assert await tokens.principal(hs256(aud="anybody", iss="anybody"))
    assert await tokens.principal(hs256(aud=None, iss=None))


def test_a_file_with_a_public_key(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    file.write_bytes(PUBLIC_PEM)
    assert public_key_in(file) == PUBLIC
    curve = ec.generate_private_key(ec.SECP256R1()).public_key()
    small = rsa.generate_private_key(public_exponent=65537, key_size=1024).public_key()
    form = (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for wrong in (b"", b"hello", curve.public_bytes(*form), small.public_bytes(*form)):
        file.write_bytes(wrong)
        with pytest.raises(ConfigError, match="jwt_public_key"):
            public_key_in(file)
    with pytest.raises(ConfigError):
        public_key_in(tmp_path / "none")
