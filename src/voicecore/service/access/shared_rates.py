"""Counts of rates in Redis, for all instances together."""

from __future__ import annotations

from limits.aio.storage import RedisStorage
from limits.errors import ConfigurationError

from voicecore.service.config_load import ConfigError

_NO_URL = "async+redis://"
"""The connections are ours; the library makes none of its own."""
_TIMEOUT_S = 0.5
"""A caller waits for it; beyond, each instance counts for itself."""


class SharedRates:
    """A storage for :class:`~voicecore.service.access.rates.Rates`, and its connections.

    ``url`` may hold a password, which stays here.
    """

    def __init__(self, url: str, prefix: str) -> None:
        try:
            from redis.asyncio import ConnectionPool

            self._pool = ConnectionPool.from_url(
                url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S
            )
            self.storage = RedisStorage(
                _NO_URL,
                implementation="redispy",
                wrap_exceptions=True,
                key_prefix=f"{prefix}:rate",
                connection_pool=self._pool,  # type: ignore[arg-type]
            )
        except (ImportError, ConfigurationError):
            raise ConfigError(
                ['redis_url needs the library redis: pip install "voicecore[redis]"']
            ) from None
        except ValueError:
            raise ConfigError(
                ["redis_url wants redis://host:port/0, rediss:// for TLS, or unix://"]
            ) from None

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.disconnect()
