"""JSON Web Tokens (RFC 7519) that open calls: HS256 by a shared secret, RS256 by a public key.

What a token's header names as its algorithm chooses among our keys, never how one of them
is used: each key is good for its own algorithm alone (RFC 8725, section 3.1).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from voicecore.errors import PeerError
from voicecore.service.access.jwks import LEAST_RSA_BITS, Jwks
from voicecore.service.access.principal import Principal
from voicecore.service.config_load import ConfigError

LEEWAY_S = 30
"""How far the issuer's clock may be from ours."""
LONGEST_TOKEN = 7168
"""Characters. What aiohttp takes of a header line is 8190."""
_LONGEST_SUBJECT = 256

_WRONG: dict[type[Exception], str] = {
    jwt.ImmatureSignatureError: "the token is not valid yet (nbf or iat)",
    jwt.InvalidAudienceError: "the token is for somebody else (aud)",
    jwt.InvalidIssuerError: "the token is by somebody else (iss)",
    jwt.MissingRequiredClaimError: "the token lacks a claim that it must have (exp, iss or aud)",
}


class Tokens:
    """Reads tokens. Any of the three keys may be missing; then no such token is taken.

    ``issuer`` and ``audience``: what ``iss`` and ``aud`` must be; ``""`` for anything.
    """

    def __init__(
        self,
        *,
        secret: str = "",
        public_key: RSAPublicKey | None = None,
        jwks: Jwks | None = None,
        issuer: str = "",
        audience: str = "",
    ) -> None:
        self._secret = secret
        self._public_key = public_key
        self._jwks = jwks
        self._issuer, self._audience = issuer, audience
        self._options: Any = {
            "require": ["exp", *(["iss"] if issuer else []), *(["aud"] if audience else [])],
            "verify_iss": bool(issuer),
            "verify_aud": bool(audience),
        }

    async def principal(self, token: str) -> Principal:
        """Whom the token names. PeerError 401; CapacityError while its keys can't be had."""
        if len(token) > LONGEST_TOKEN:
            raise _refused("the token is too long")
        try:
            header = jwt.get_unverified_header(token)
            algorithm = header.get("alg")
            if algorithm == "HS256" and self._secret:
                return self._read(token, self._secret, "HS256")
            if algorithm == "RS256":
                key = await self._rsa_key(header.get("kid"))
                if key is not None:
                    return self._read(token, key, "RS256")
        except jwt.ExpiredSignatureError:
            raise PeerError(
                "the token has expired; get a new one", code="token_expired", status=401
            ) from None
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            # The latter two come of what a header may be instead of an object of texts.
            raise _refused(_WRONG.get(type(error), "the token is not valid here")) from None
        raise _refused("no key of ours goes with the token (alg, kid)")

    async def _rsa_key(self, kid: str | None) -> RSAPublicKey | None:
        return await self._jwks.key(kid) if self._jwks is not None else self._public_key

    def _read(self, token: str, key: str | RSAPublicKey, algorithm: str) -> Principal:
        claims = jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            audience=self._audience or None,
            issuer=self._issuer or None,
            leeway=LEEWAY_S,
            options=self._options,
        )
        # JSON may hold half of a surrogate pair; what rates are counted by is UTF-8.
        subject = str(claims.get("sub", "")).encode(errors="replace").decode()
        return Principal(f"jwt:{subject[:_LONGEST_SUBJECT]}")


def public_key_in(path: Path) -> RSAPublicKey:
    """The RSA key in a PEM file; ConfigError if there is none that is fit for use."""
    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError):
        key = None
    if not isinstance(key, RSAPublicKey):
        raise ConfigError(
            [f"jwt_public_key: {path} holds no RSA public key in PEM (-----BEGIN PUBLIC KEY-----)"]
        )
    if key.key_size < LEAST_RSA_BITS:
        raise ConfigError([f"jwt_public_key: {path} has {key.key_size} bits, too few to trust"])
    return key


def _refused(reason: str) -> PeerError:
    return PeerError(reason, code="wrong_key", status=401)
