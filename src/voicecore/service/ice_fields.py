"""The settings of how callers reach us: STUN and TURN."""

from __future__ import annotations

from pathlib import Path
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

ICE = "ICE and TURN"

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
        ICE, list, "TURN servers that share turn_secret with us (coturn)", metavar="URLS"
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
    ice_transport_policy: Literal["all", "relay"] = setting(
        ICE, "all", "relay: callers are told to use no way but through a TURN server"
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
        if self.turn_ca is not None and not self.turn_ca.is_file():
            problems.append(f"turn_ca: there is no file {self.turn_ca}")
        if self.ice_transport_policy == "relay" and not self._has_relay:
            problems.append(
                "ice_transport_policy = relay needs a TURN server: turn_urls with turn_secret,"
                " or one in ice_servers"
            )
        return problems

    @property
    def _has_relay(self) -> bool:
        known = [url for server in self.ice_servers for url in server.urls if server.username]
        return any(url.startswith("turn") for url in [*self.turn_urls, *known])
