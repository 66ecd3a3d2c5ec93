"""The settings of a service's life: its end, its processes, its neighbours, what it reports."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, SecretStr

from voicecore.service.engine_fields import Secret
from voicecore.service.setting_types import check_http_url, setting

LIFE, INSTANCES, REPORTS = "Running", "Many instances", "Reports"

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def _instance(text: str) -> str:
    name = text.strip().lower()
    if name and _NAME.fullmatch(name) is None:
        raise ValueError("wants a name as hosts have: lower-case letters, digits, dashes inside")
    return name


def _optional_url(text: str) -> str:
    return check_http_url(text) if text.strip() else ""


OptionalUrl = Annotated[str, AfterValidator(_optional_url)]


class OperationFields(BaseModel):
    """A part of :class:`~voicecore.service.config.Settings`."""

    drain_timeout_s: float = setting(
        LIFE,
        20.0,
        "what calls get to end by themselves when the service is told to stop (SIGTERM);"
        " those left hear a goodbye",
        ge=0,
        le=86_400,
    )
    workers: int = setting(
        LIFE, 1, "processes that share the port and the calls; 0: one for each core", ge=0, le=256
    )
    deep_check_s: float = setting(
        LIFE, 60.0, "/readyz?deep=1 places a real call at most this often", ge=1, le=86_400
    )

    instance: Annotated[str, AfterValidator(_instance)] = setting(
        INSTANCES, "", "this instance's name, unlike all others'; stands in session ids",
        metavar="NAME",
    )  # fmt: skip
    advertise_url: OptionalUrl = setting(
        INSTANCES, "", "where other instances send requests for our calls (307)", metavar="URL"
    )
    redis_url: Secret = setting(
        INSTANCES,
        SecretStr(""),
        "Redis that knows which instance has which call; VOICECORE_REDIS_URL_FILE names a file"
        " with it",
        metavar="URL",
    )
    redis_prefix: str = setting(
        INSTANCES, "voicecore", "what our keys in Redis begin with", metavar="TEXT"
    )
    cluster_max_calls: int = setting(
        INSTANCES, 0, "calls at once over all instances; 0: each one's own limit alone", ge=0
    )
    lease_s: float = setting(
        INSTANCES, 15.0, "an instance unheard of for so long is gone, and its calls", ge=1, le=600
    )

    otel_endpoint: OptionalUrl = setting(
        REPORTS,
        "",
        "OTLP/HTTP collector for a trace of each turn, as http://localhost:4318; needs"
        " voicecore[otel]",
        metavar="URL",
    )

    def operation_problems(self) -> list[str]:
        """What doesn't go together."""
        problems = []
        if self.redis_url.get_secret_value():
            for name in ("instance", "advertise_url"):
                if not getattr(self, name):
                    problems.append(f"redis_url needs {name}: others must find our calls")
        elif self.cluster_max_calls:
            problems.append("cluster_max_calls needs redis_url: nobody else counts over instances")
        return problems
