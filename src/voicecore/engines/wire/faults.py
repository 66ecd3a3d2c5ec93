"""What can go wrong with a provider, in the words of :class:`EngineError`.

The codes are ``<stage>_`` and one of: ``unreachable`` (no connection), ``timeout``,
``key`` (refused: wrong, expired or not allowed), ``rate_limited``, ``http_status``
(any other answer than the wanted), ``closed`` (the connection ended in the middle),
``half_open`` (it doesn't answer pings), ``bad_message`` (not what the protocol has),
``refused`` (the provider reported an error of its own), ``backlog`` (it takes less
than we send). Messages name the engine and say what to do; never a key, a text or a
URL's query.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit, urlunsplit

import aiohttp

from voicecore.errors import EngineError

_LONGEST_RETRY_AFTER_S = 3600.0


@dataclass(frozen=True, slots=True)
class Faults:
    """Makes the errors of one engine. ``key_hint``: where its key is set, for people."""

    stage: str
    engine: str
    key_hint: str = "check its API key"

    def error(
        self, kind: str, message: str, *, permanent: bool = False, retry_after_s: float = 0.0
    ) -> EngineError:
        """The error of code ``<stage>_<kind>``; ``message`` follows the engine's name."""
        return EngineError(
            f"{self.engine}: {message}",
            engine=self.engine,
            code=f"{self.stage}_{kind}",
            permanent=permanent,
            retry_after_s=retry_after_s,
        )

    def timed_out(self, what: str, limit_s: float) -> EngineError:
        """``what`` (``"no answer"``) has not come within ``limit_s``."""
        return self.error("timeout", f"{what} within {limit_s:g} s")

    def bad_message(self, reason: str) -> EngineError:
        """The provider sent what its protocol doesn't have."""
        return self.error("bad_message", f"the provider's message is malformed: {reason}")

    def key_refused(self, detail: str = "") -> EngineError:
        """The key is wrong, has expired or may not do this."""
        told = f" ({detail})" if detail else ""
        return self.error("key", f"the key was refused{told}: {self.key_hint}", permanent=True)

    def of_status(
        self, status: int, headers: Mapping[str, str], now_s: float | None = None
    ) -> EngineError:
        """An HTTP answer other than the wanted.

        ``now_s``: seconds since the epoch, for a Retry-After that is a date.
        """
        if status in (401, 403):
            return self.key_refused(f"HTTP {status}")
        if status == 429:
            wait_s = retry_after_s(headers, now_s)
            return self.error(
                "rate_limited",
                "the rate limit or the quota is used up (HTTP 429)",
                retry_after_s=wait_s,
            )
        hint = _HINTS.get(status, "the provider has a problem" if status >= 500 else "")
        return self.error(
            "http_status",
            f"answered HTTP {status}" + (f": {hint}" if hint else ""),
            permanent=status in _HINTS,
            retry_after_s=retry_after_s(headers, now_s),
        )

    def of_exception(self, error: BaseException, url: str) -> EngineError:
        """What aiohttp raised while connecting to, or reading from, ``url``."""
        where = shown_url(url)
        if isinstance(error, EngineError):
            return error
        if isinstance(error, aiohttp.WSServerHandshakeError):
            return self.of_status(error.status, error.headers or {})
        if isinstance(error, aiohttp.ClientSSLError):
            return self.error(
                "unreachable",
                f"TLS with {where} failed ({type(error).__name__}): check the server's "
                "certificate, and whether the URL should begin with ws: or http:",
            )
        if isinstance(error, TimeoutError):
            return self.error("timeout", f"no connection to {where} in time")
        if isinstance(error, aiohttp.ClientConnectorError):
            return self.error(
                "unreachable", f"nothing answers at {where}: check that it runs, and the URL"
            )
        if isinstance(error, aiohttp.ClientPayloadError | ConnectionError):
            return self.error("closed", f"the connection to {where} broke")
        return self.error(
            "unreachable", f"{where} did not answer as wanted ({type(error).__name__})"
        )


_HINTS = {
    400: "it doesn't accept the request; check the engine's settings",
    402: "the account has no credit",
    404: "check the URL and the model's or voice's name",
    422: "it doesn't accept the request; check the engine's settings",
}


def retry_after_s(headers: Mapping[str, str], now_s: float | None = None) -> float:
    """The header Retry-After (RFC 9110, 10.2.3) in seconds, 0..3600; 0 without a usable one."""
    value = next((v for k, v in headers.items() if k.lower() == "retry-after"), "").strip()
    try:
        seconds = float(value)
    except ValueError:
        if now_s is None or not value:
            return 0.0
        try:
            seconds = parsedate_to_datetime(value).timestamp() - now_s
        except ValueError:
            return 0.0
    return min(max(seconds, 0.0), _LONGEST_RETRY_AFTER_S) if seconds == seconds else 0.0


def shown_url(url: str) -> str:
    """``url`` without what may hold a secret: its query, and what stands before an @."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=""))
