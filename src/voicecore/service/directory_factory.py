"""Which directory a process has, by its settings."""

from __future__ import annotations

import time

from voicecore.service.config import Settings
from voicecore.service.config_load import ConfigError
from voicecore.service.directory import Alone, Directory
from voicecore.service.metrics import Metrics


def build_directory(settings: Settings, metrics: Metrics, worker: int | None = None) -> Directory:
    """The directory in Redis where ``redis_url`` is set; it connects when started.

    ``worker``: which of its host's processes this is, each a member of its own under the
    instance's URL. Raises ConfigError.
    """
    url = settings.redis_url.get_secret_value()
    if not url:
        return Alone()
    try:
        from voicecore.service.redis_directory.redis_book import RedisBook
    except ImportError:
        raise ConfigError(
            ["redis_url needs a library that is not here: pip install 'voicecore[redis]'"]
        ) from None
    from voicecore.service.directory_metrics import DirectoryMetrics
    from voicecore.service.redis_directory.book import Member, process_name
    from voicecore.service.redis_directory.client import RedisDirectory

    try:
        book = RedisBook(url, settings.redis_prefix)
    except (ValueError, TypeError):
        # Its text may hold the URL, and the URL a password.
        raise ConfigError(
            ["redis_url is no URL of Redis: it wants redis://host:6379/0, rediss:// for TLS"]
        ) from None
    me = Member(
        name=f"{settings.instance}-{worker or 0}",
        url=settings.advertise_url.rstrip("/"),
        process=process_name(time.time_ns()),
        lease_ms=round(settings.lease_s * 1000),
        cluster_limit=settings.cluster_max_calls,
    )
    return RedisDirectory(book, me, DirectoryMetrics(metrics.registry))
