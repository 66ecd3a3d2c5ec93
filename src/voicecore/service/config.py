"""Every setting of the service: its type, default, meaning and limits.

One class holds them all; the help text, the environment variables, the flags
and ``--print-config`` are made from it, so none can drift from the others.
Where values come from, and which of them wins, is in
:mod:`voicecore.service.config_load`.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from voicecore.service.access_fields import ACCESS, ADMIN, AccessFields
from voicecore.service.addresses import is_loopback
from voicecore.service.engine_fields import (
    CALLS_PER_STT_WORKER,
    DEFAULT_CALL_LIMIT,
    ENGINES,
    MODEL,
    EngineFields,
)
from voicecore.service.ice_fields import ICE, IceFields
from voicecore.service.operation_fields import INSTANCES, LIFE, REPORTS, OperationFields
from voicecore.service.record_fields import RECORDING, RecordFields
from voicecore.service.resilience_fields import RESILIENCE, ResilienceFields
from voicecore.service.setting_types import (
    check_address,
    check_host_name,
    check_network,
    check_origin,
    each,
    empty_to_none,
    group_of,
    setting,
    to_list,
)
from voicecore.service.turn_fields import BY_ITSELF, END, HEARING, INTERRUPTIONS, TurnFields

ENV_PREFIX = "VOICECORE_"


def _no_blank(value: str) -> str:
    if not value.strip():
        raise ValueError("wants an address or host name, for example 127.0.0.1 or 0.0.0.0")
    return value.strip()


OptionalPath = Annotated[Path | None, BeforeValidator(empty_to_none)]
TextList = Annotated[list[str], NoDecode, BeforeValidator(to_list)]
HostList = Annotated[TextList, AfterValidator(each(check_host_name))]
OriginList = Annotated[TextList, AfterValidator(each(check_origin))]
NetworkList = Annotated[TextList, AfterValidator(each(check_network))]
AddressList = Annotated[TextList, AfterValidator(each(check_address))]

NETWORK, HTTPS, CALLS = "Network", "HTTPS", "Calls"
AUDIO, LOGGING = "Speaking", "Logging"
GROUPS = (
    NETWORK, HTTPS, ACCESS, CALLS, ICE, ENGINES, MODEL, RESILIENCE, HEARING, END, INTERRUPTIONS,
    BY_ITSELF, AUDIO, RECORDING, LIFE, INSTANCES, ADMIN, REPORTS, LOGGING,
)  # fmt: skip
"""The headings of the settings in the order in which they are shown."""


class Settings(
    RecordFields,
    TurnFields,
    ResilienceFields,
    EngineFields,
    IceFields,
    AccessFields,
    OperationFields,
    BaseSettings,
):
    """The service's settings. Immutable; construct with keywords, or load them.

    Made directly, it looks at its keyword arguments alone: no file, no
    environment. Unknown keywords and values out of range raise pydantic's
    ``ValidationError``.
    """

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_ignore_empty=True, extra="forbid", frozen=True
    )

    host: Annotated[str, AfterValidator(_no_blank)] = setting(
        NETWORK, "127.0.0.1", "address to listen on; 0.0.0.0 or :: for all", metavar="ADDR"
    )
    port: int = setting(NETWORK, 8080, "TCP port; 0 takes a free one", ge=0, le=65535)
    allowed_hosts: HostList = setting(
        NETWORK,
        list,
        "host names that requests may name, beside IP addresses, localhost and this"
        " machine's name; *.domain and * are understood",
        metavar="NAMES",
    )
    allowed_origins: OriginList = setting(
        NETWORK, list, "web origins of other sites whose pages may call", metavar="ORIGINS"
    )
    trusted_proxies: NetworkList = setting(
        NETWORK,
        list,
        "networks of reverse proxies; X-Forwarded-For, -Proto and -Host count only from these",
        metavar="CIDRS",
    )

    tls: Literal["", "self"] = setting(
        HTTPS, "", "self: make and keep a self-signed certificate for the LAN", metavar="self"
    )
    tls_cert: OptionalPath = setting(
        HTTPS, None, "PEM file with the certificate and its chain", metavar="FILE"
    )
    tls_key: OptionalPath = setting(
        HTTPS, None, "PEM file with the certificate's private key", metavar="FILE"
    )

    max_calls: int = setting(
        CALLS,
        0,
        f"calls at once; 0: {CALLS_PER_STT_WORKER} per stt worker with pocketsphinx,"
        f" else {DEFAULT_CALL_LIMIT}",
        ge=0,
        le=100_000,
    )
    overload: Literal["auto", "off"] = setting(
        CALLS,
        "auto",
        "auto: spare work, then refuse calls, before audio breaks; off: the count alone decides",
    )
    answer_timeout_s: float = setting(
        CALLS, 30.0, "an offer without an answer lapses after this", ge=1, le=600
    )
    max_call_s: float = setting(CALLS, 3600.0, "a call ends after this", ge=1, le=604_800)
    udp_port: int = setting(
        CALLS, 0, "the UDP port for media of all calls; 0: any free one", ge=0, le=65535
    )
    media_rx_threads: int = setting(
        CALLS, 1, "threads that receive; more than one from some 300 calls on", ge=1, le=8
    )
    media_tx_threads: int = setting(CALLS, 1, "threads that send", ge=1, le=8)
    udp_port_min: int = setting(
        CALLS,
        0,
        "lowest UDP port where each call shall have one of its own; 0 for both: all share udp_port",
        ge=0,
        le=65535,
    )
    udp_port_max: int = setting(CALLS, 0, "highest of those", ge=0, le=65535)
    public_ip: AddressList = setting(
        CALLS,
        list,
        "addresses under which a 1:1 NAT shows this machine: one IPv4, one IPv6 or both",
        metavar="ADDRS",
    )
    public_ip_only: bool = setting(
        CALLS, False, "don't tell callers the machine's own address beside its public one"
    )

    vad_backend: Literal["auto", "native", "onnxruntime"] = setting(
        HEARING,
        "auto",
        "what computes Silero: auto takes our own kernels if they prove right at start,"
        " else onnxruntime; native or onnxruntime take that or fail",
    )
    opus_bitrate_bps: int = setting(AUDIO, 64_000, "Opus bit rate", ge=6000, le=510_000)
    opus_min_bitrate_bps: int = setting(
        AUDIO, 28_000, "as low as a bad network may take it", ge=6000, le=510_000
    )
    opus_max_bitrate_bps: int = setting(
        AUDIO, 128_000, "bound of all that is sent, redundancy included", ge=6000, le=1_020_000
    )
    adaptive: bool = setting(
        AUDIO, True, "follow the network: bit rate, error correction (FEC) and redundancy (RED)"
    )
    ask_for_red: bool = setting(
        AUDIO, False, "ask callers to send redundancy (RED): half as many gaps, twice the bytes"
    )
    ask_for_dtx: bool = setting(
        AUDIO, True, "ask callers to send next to nothing while they are silent: half the packets"
    )
    ask_for_wideband: bool = setting(
        AUDIO, True, "ask callers for speech up to 8 kHz, all that is heard: half the decoding"
    )
    opus_complexity: int = setting(AUDIO, 0, "Opus encoder effort", ge=0, le=10)

    log_level: Literal["debug", "info", "warning", "error"] = setting(
        LOGGING, "info", "debug, info, warning or error"
    )
    log_format: Literal["text", "json"] = setting(LOGGING, "text", "text or json lines")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Keywords alone: ``config_load`` merges the layers and remembers their origin."""
        return (init_settings,)

    @model_validator(mode="before")
    @classmethod
    def _url_chooses_openai(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("llm_url") and "llm" not in data:
            return {**data, "llm": "openai"}
        return data

    @model_validator(mode="after")
    def _fields_agree(self) -> Settings:
        problems = [
            *self._network_problems(),
            *self.access_problems(self.host),
            *self.ice_problems(),
            *self.operation_problems(),
            *self.engine_problems(),
            *self.turn_problems(),
            *self.record_problems(),
        ]
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _network_problems(self) -> list[str]:
        problems = []
        if (self.tls_cert is None) != (self.tls_key is None):
            missing = "tls_key" if self.tls_key is None else "tls_cert"
            problems.append(f"tls_cert and tls_key go together: {missing} is missing")
        if self.tls and self.tls_cert is not None:
            problems.append("tls = self makes its own certificate: give it or tls_cert, not both")
        for name, path in (("tls_cert", self.tls_cert), ("tls_key", self.tls_key)):
            if path is not None and not path.is_file():
                problems.append(f"{name}: there is no file {path}")
        if (self.udp_port_min == 0) != (self.udp_port_max == 0):
            problems.append("udp_port_min and udp_port_max go together: give both or neither")
        elif self.udp_port_min > self.udp_port_max:
            problems.append(
                f"udp_port_min {self.udp_port_min} is above udp_port_max {self.udp_port_max}"
            )
        if self.udp_port and self.udp_port_min:
            problems.append("udp_port is for one port, udp_port_min for a range: give one of them")
        versions = [ipaddress.ip_address(text).version for text in self.public_ip]
        if len(versions) != len(set(versions)):
            problems.append("public_ip takes at most one IPv4 and one IPv6 address")
        return problems

    @classmethod
    def in_order(cls) -> list[tuple[str, FieldInfo]]:
        """All settings, those of one heading together."""
        return sorted(cls.model_fields.items(), key=lambda item: GROUPS.index(group_of(item[1])))

    @property
    def call_limit(self) -> int:
        """Calls at once, with 0 resolved by the choice of recogniser."""
        return self.max_calls or self.calls_of_engines

    @property
    def warnings(self) -> list[str]:
        """What is allowed but probably not meant."""
        notes = [*self.engine_warnings(), *self.access_warnings()]
        encrypted = self.tls or self.tls_cert or self.trusted_proxies
        if not (is_loopback(self.host) or encrypted):
            notes.append(
                f"host {self.host} without HTTPS: keys, tokens and who is called can be read on the"
                " way, and browsers give no microphone (tls, tls_cert, or a proxy in"
                " trusted_proxies)"
            )
        if self.admin_port and not (is_loopback(self.admin_host) or encrypted):
            notes.append(
                f"admin_host {self.admin_host} without HTTPS: the admin token can be read on the"
                " way (tls_cert, or a network that is yours alone)"
            )
        if self.turn_urls and self.turn_ttl_s < self.max_call_s:
            notes.append("turn_ttl_s is below max_call_s: relayed calls may end with their ticket")
        notes += self.ice_warnings()
        ports = self.udp_port_max - self.udp_port_min + 1
        if self.udp_port_min and ports < self.call_limit:
            notes.append(f"{ports} UDP ports can't carry {self.call_limit} calls at once")
        return notes
