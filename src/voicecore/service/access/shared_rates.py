"""Counts of rates in Redis, for all instances together."""

from __future__ import annotations

from typing import Any

from limits.aio.storage import RedisStorage
from limits.errors import ConfigurationError

from voicecore.service.config_load import ConfigError

_NO_URL = "async+redis://"
"""The connections are ours; the library makes none of its own."""
_TIMEOUT_S = 0.5
"""A caller waits for it; beyond, each instance counts for itself."""


class SharedRates:
    """A storage for :class:`~voicecore.service.access.rates.Rates`, and its connections.

    ``url`` may hold a password, which stays here. Keys begin with ``{prefix}:rate``, as the
    directory's do: one hash slot, and one pattern for a user of ours in Redis (docs/cluster.md).
    """

    def __init__(self, url: str, prefix: str) -> None:
        try:
            from voicecore.service.redis_directory.redis_book import client_of

            self._redis = client_of(url, _TIMEOUT_S)
            self.storage = _storage(self._redis, f"{{{prefix}}}:rate")
        except (ImportError, ConfigurationError):
            raise ConfigError(
                ['redis_url needs the library redis: pip install "voicecore[redis]"']
            ) from None
        except (ValueError, TypeError):
            raise ConfigError(
                ["redis_url wants redis://host:port/0, rediss:// for TLS, or unix://"]
            ) from None

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()


def _storage(client: Any, prefix: str) -> RedisStorage:
    from voicecore.service.redis_directory.redis_book import FAILURES

    class OverClient(RedisStorage):
        """The library's, over a client that it did not make: of one Redis, or of a cluster."""

        STORAGE_SCHEME = None  # type: ignore[assignment]

        def configure_bridge(self) -> None:
            self.bridge.storage = client  # type: ignore[attr-defined]
            self.bridge.connection_getter = lambda _: client  # type: ignore[attr-defined]

        @property
        def base_exceptions(self) -> tuple[type[Exception], ...]:
            return FAILURES

    return OverClient(_NO_URL, wrap_exceptions=True, implementation="redispy", key_prefix=prefix)
