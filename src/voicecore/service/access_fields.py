"""The settings of who may open calls, how many, and who may look behind the scenes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, SecretStr

from voicecore.service.access.keys import SHORTEST_KEY, parse_keys
from voicecore.service.addresses import is_loopback
from voicecore.service.engine_fields import Secret
from voicecore.service.secret_text import check_secrets
from voicecore.service.setting_types import check_http_url, empty_to_none, setting

ACCESS, ADMIN = "Who may call", "Administration"

SEVERAL_SECRETS = frozenset({"api_keys"})
"""Settings that hold more than one secret: in a file they may have a line each."""
SHORTEST_JWT_SECRET_BYTES = 32
"""RFC 7518, section 3.2: as long as the hash."""

_RATE = re.compile(r"[1-9]\d{0,4} ?/ ?([1-9]\d{0,3} ?)?(second|minute|hour|day)s?")


def _rate(text: str) -> str:
    value = text.strip().lower()
    if value and _RATE.fullmatch(value) is None:
        raise ValueError("wants a rate such as 30/minute, or nothing for no limit")
    return value


def _optional_url(text: str) -> str:
    return check_http_url(text) if text.strip() else ""


def _keys(value: Any) -> Any:
    if isinstance(value, list | tuple):
        value = ",".join(map(str, value))
    if not isinstance(value, str):
        return value
    text = check_secrets(value)
    parse_keys(text)
    return text


def _jwt_secret(secret: SecretStr) -> SecretStr:
    if 0 < len(secret.get_secret_value().encode()) < SHORTEST_JWT_SECRET_BYTES:
        raise ValueError(
            f"wants {SHORTEST_JWT_SECRET_BYTES} bytes at least, drawn by chance"
            " (openssl rand -base64 48)"
        )
    return secret


Keys = Annotated[SecretStr, BeforeValidator(_keys)]
Rate = Annotated[str, AfterValidator(_rate)]


class AccessFields(BaseModel):
    """A part of :class:`~voicecore.service.config.Settings`."""

    allow_anonymous: bool = setting(
        ACCESS,
        False,
        "take calls from everybody who reaches us; without it, a host other than loopback"
        " needs api_keys or one of the jwt settings",
    )
    api_keys: Keys = setting(
        ACCESS,
        SecretStr(""),
        "who may open calls: NAME=KEY, several with commas or a line each;"
        " VOICECORE_API_KEYS_FILE names a file with them",
        metavar="KEYS",
    )
    jwt_secret: Annotated[Secret, AfterValidator(_jwt_secret)] = setting(
        ACCESS,
        SecretStr(""),
        "key of HS256 tokens that may open calls; VOICECORE_JWT_SECRET_FILE names a file with it",
        metavar="SECRET",
    )
    jwt_public_key: Annotated[Path | None, BeforeValidator(empty_to_none)] = setting(
        ACCESS, None, "PEM file with the public key of RS256 tokens", metavar="FILE"
    )
    jwks_url: Annotated[str, AfterValidator(_optional_url)] = setting(
        ACCESS, "", "where the public keys of RS256 tokens are published", metavar="URL"
    )
    jwt_issuer: str = setting(ACCESS, "", "what a token must name as iss", metavar="TEXT")
    jwt_audience: str = setting(ACCESS, "", "what a token must name as aud", metavar="TEXT")
    rate_per_key: Rate = setting(
        ACCESS, "600/minute", "calls that one key may open; empty: no limit", metavar="RATE"
    )
    rate_per_address: Rate = setting(
        ACCESS, "60/minute", "calls that one address may open; empty: no limit", metavar="RATE"
    )
    admin_host: str = setting(ADMIN, "127.0.0.1", "address of the admin listener", metavar="ADDR")
    admin_port: int = setting(
        ADMIN,
        0,
        "TCP port of the admin listener: live calls, drain, and then /metrics there alone; 0: none",
        ge=0,
        le=65535,
    )
    admin_token: Secret = setting(
        ADMIN,
        SecretStr(""),
        "what the admin listener asks for; VOICECORE_ADMIN_TOKEN_FILE names a file with it",
        metavar="TOKEN",
    )

    @property
    def needs_key(self) -> bool:
        """Whether opening a call takes a key or a token."""
        secrets = (self.api_keys, self.jwt_secret)
        named = any(secret.get_secret_value() for secret in secrets)
        return named or self.jwt_public_key is not None or bool(self.jwks_url)

    def access_problems(self, host: str) -> list[str]:
        """What leaves a door open that is probably not meant to be."""
        problems = self._token_problems()
        if not (is_loopback(host) or self.needs_key or self.allow_anonymous):
            problems.append(
                f"host {host} can be reached by other machines, and anybody there could call:"
                " give VOICECORE_API_KEYS=web=$(openssl rand -hex 24) (or jwt_secret,"
                " jwt_public_key, jwks_url), or say --allow-anonymous if that is meant"
            )
        if self.allow_anonymous and self.needs_key:
            problems.append(
                "allow_anonymous and keys (api_keys, jwt_secret, jwt_public_key, jwks_url) say"
                " the opposite: give one of them"
            )
        if self.admin_port and not self.admin_token.get_secret_value():
            problems.append("admin_port needs admin_token: who knows it may end calls")
        return problems

    def _token_problems(self) -> list[str]:
        problems = []
        file = self.jwt_public_key
        if file is not None and not file.is_file():
            problems.append(f"jwt_public_key: there is no file {file}")
        if file is not None and self.jwks_url:
            problems.append("jwt_public_key and jwks_url both say who signs: give one of them")
        if not (self.jwt_secret.get_secret_value() or file or self.jwks_url):
            problems += [
                f"{name} needs a way to check tokens: jwt_secret, jwt_public_key or jwks_url"
                for name in ("jwt_issuer", "jwt_audience")
                if getattr(self, name)
            ]
        return problems

    def access_warnings(self) -> list[str]:
        """What is allowed but probably not meant."""
        notes = []
        if self.jwks_url and not self.jwt_audience:
            notes.append("jwks_url without jwt_audience: tokens made for others are taken, too")
        parts = urlsplit(self.jwks_url)
        if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            notes.append("jwks_url without https: who is on the way may put in keys of his own")
        if self.allow_anonymous:
            notes.append("calls are taken from everybody who reaches us (allow_anonymous)")
        return notes + self._admin_warnings()

    def _admin_warnings(self) -> list[str]:
        token = self.admin_token.get_secret_value()
        if self.admin_port and len(token) < SHORTEST_KEY:
            return [
                f"admin_token has less than {SHORTEST_KEY} characters: it can be guessed"
                " (openssl rand -hex 24)"
            ]
        return []
