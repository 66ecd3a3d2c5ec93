"""A host's settings, divided among its workers.

The settings speak of the service as a whole: so many calls, so many recognisers, this
range of ports. Each worker gets a part, and the parts of ``max_calls`` are exactly it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from voicecore.service.config import Settings
from voicecore.service.config_load import ConfigError
from voicecore.service.engine_fields import cores

CERTIFICATE = "tls.pem"
"""In the workers' folder: the self-signed certificate that all of them show."""


def worker_count(settings: Settings) -> int:
    """How many workers there are to be; 1: the process itself is the service.

    One for each core where that is left open, but no more than calls. Raises ConfigError
    for more workers than there are calls or UDP ports to give them.
    """
    count = settings.workers or min(cores(), settings.call_limit)
    if settings.udp_port_min and not settings.workers:
        count = min(count, _ports(settings))
    problems = []
    if count > settings.call_limit:
        problems.append(
            f"workers: {count} can't share {settings.call_limit} calls (max_calls):"
            " each needs one at least"
        )
    if settings.udp_port_min and count > _ports(settings):
        problems.append(
            f"workers: {count} can't share {_ports(settings)} UDP ports"
            " (udp_port_min to udp_port_max)"
        )
    if settings.udp_port and settings.udp_port + count - 1 > 65535:
        problems.append(
            f"udp_port: {count} workers take so many ports from {settings.udp_port} on,"
            " and there are none above 65535"
        )
    if problems:
        raise ConfigError(problems)
    return count


def part_of(settings: Settings, worker: int, count: int, folder: Path) -> Settings:
    """The settings of ``worker`` (from 0) among ``count``, whose folder is ``folder``."""
    changes: dict[str, Any] = {
        "max_calls": _part(settings.call_limit, worker, count),
        "stt_workers": max(1, _part(settings.stt_worker_count, worker, count)),
        "tts_workers": max(1, _part(settings.tts_workers, worker, count)),
    }
    if not settings.stt_workers and settings.chain("stt")[0] != "pocketsphinx":
        # Left open, the other recognisers make one process, not one for each core.
        changes["stt_workers"] = 0
    if settings.udp_port:
        changes["udp_port"] = settings.udp_port + worker
    if settings.udp_port_min:
        below = sum(_part(_ports(settings), before, count) for before in range(worker))
        changes["udp_port_min"] = settings.udp_port_min + below
        mine = _part(_ports(settings), worker, count)
        changes["udp_port_max"] = changes["udp_port_min"] + mine - 1
    if settings.tls == "self":
        changes |= {"tls": "", "tls_cert": folder / CERTIFICATE, "tls_key": folder / CERTIFICATE}
    return settings.model_copy(update=changes)


def _ports(settings: Settings) -> int:
    return settings.udp_port_max - settings.udp_port_min + 1


def _part(total: int, worker: int, count: int) -> int:
    return total // count + (worker < total % count)
