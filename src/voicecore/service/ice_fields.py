"""The settings of how callers reach us: STUN and TURN."""

from __future__ import annotations

import ssl
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, SecretStr
from pydantic_settings import NoDecode

from voicecore.service.engine_fields import Secret
from voicecore.service.setting_types import (
    IceServer,
    check_ice_url,
    each,
    empty_to_none,
    setting,
    to_ice_servers,
    to_list,
)
from voicecore.transport import ice_servers as ice_server_urls

ICE = "ICE and TURN"

SHORTEST_TURN_SECRET = 16

IceUrlList = Annotated[
    list[str], NoDecode, BeforeValidator(to_list), AfterValidator(each(check_ice_url))
]
IceServerList = Annotated[list[IceServer], NoDecode, BeforeValidator(to_ice_servers)]


class IceFields(BaseModel):
    """A part of :class:`~voicecore.service.config.Settings`."""

    ice_servers: IceServerList = setting(
        ICE,
        list,
        "STUN and TURN servers with fixed credentials: URLs, or JSON objects with"
        " urls, username, credential",
        metavar="SERVERS",
    )
    turn_urls: IceUrlList = setting(
        ICE,
        list,
        "TURN servers that share turn_secret with us (coturn), the best first:"
        " by UDP, by TCP (?transport=tcp), over TLS (turns:)",
        metavar="URLS",
    )
    turn_secret: Secret = setting(
        ICE,
        SecretStr(""),
        "coturn's static-auth-secret: each caller gets credentials that expire;"
        " VOICECORE_TURN_SECRET_FILE names a file with it",
        metavar="SECRET",
    )
    turn_ttl_s: int = setting(
        ICE, 3600, "life of those credentials; not below max_call_s", ge=60, le=604_800
    )
    turn_ca: Annotated[Path | None, BeforeValidator(empty_to_none)] = setting(
        ICE,
        None,
        "PEM file with the authorities that turns: servers' certificates are checked by;"
        " unset: the system's",
        metavar="FILE",
    )
    ice_transport_policy: Literal["all", "relay", "relay_both"] = setting(
        ICE,
        "all",
        "relay: callers are told to use no way but through a TURN server, and are refused while"
        " there is none; relay_both: nor do we, whose addresses they then don't learn",
    )

    def ice_problems(self) -> list[str]:
        """What doesn't go together."""
        problems = []
        if bool(self.turn_urls) != bool(self.turn_secret.get_secret_value()):
            missing = "turn_secret" if self.turn_urls else "turn_urls"
            problems.append(
                f"turn_urls and turn_secret go together: {missing} is missing"
                " (a server with a fixed user name belongs in ice_servers)"
            )
        if self.turn_ca is not None:
            problems += _ca_problems(self.turn_ca)
        if self.ice_transport_policy != "all" and not self._has_relay:
            problems.append(
                f"ice_transport_policy = {self.ice_transport_policy} needs a TURN server:"
                " turn_urls with turn_secret, or one in ice_servers with username and credential"
                " (turns: over UDP doesn't count: nobody speaks it)"
            )
        return problems

    def ice_warnings(self) -> list[str]:
        """What is allowed but probably not meant."""
        if 0 < len(self.turn_secret.get_secret_value()) < SHORTEST_TURN_SECRET:
            return [
                f"turn_secret has less than {SHORTEST_TURN_SECRET} characters: whoever has a user"
                " name and its password can find it by trying (openssl rand -base64 32)"
            ]
        return []

    @property
    def _has_relay(self) -> bool:
        minted = SimpleNamespace(urls=self.turn_urls, username="minted", credential="minted")
        return bool(ice_server_urls.read([*self.ice_servers, minted])[1])


def _ca_problems(path: Path) -> list[str]:
    if not path.is_file():
        return [f"turn_ca: there is no file {path}"]
    try:
        ssl.create_default_context(cafile=str(path))
    except (OSError, ssl.SSLError):
        return [f"turn_ca: {path} can't be read as certificates in PEM form"]
    return []
