"""Logging to standard error, as text or as one JSON object a line."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

from aiohttp.http_exceptions import HttpProcessingError

from voicecore.service.secret_text import masked


class JsonFormatter(logging.Formatter):
    """``{"time", "level", "logger", "message"}`` and ``error`` where there is one.

    ``worker`` stands in it where there are several.
    """

    def __init__(self, worker: int | None = None) -> None:
        super().__init__()
        self._fixed = {} if worker is None else {"worker": worker}

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the message holds."""
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": masked(record.getMessage()),
            **self._fixed,
        }
        if record.exc_info:
            entry["error"] = masked(self.formatException(record.exc_info))
        return json.dumps(entry, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """A line for people, with the traceback where there is one."""

    def __init__(self, worker: int | None = None) -> None:
        who = "" if worker is None else f"worker {worker} "
        super().__init__(f"%(asctime)s {who}%(levelname)-7s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """As everybody's, without the secrets that this process knows."""
        return masked(super().format(record))


def _without_peer_bytes(record: logging.LogRecord) -> bool:
    """Keep the line about bytes that are no HTTP, but not the traceback that quotes them."""
    if record.exc_info and isinstance(record.exc_info[1], HttpProcessingError):
        record.exc_info = None
        record.levelno, record.levelname = logging.INFO, "INFO"
    return True


def configure_logging(level: str, style: str, worker: int | None = None) -> None:
    """Send the root logger to stderr; ``style`` is ``text`` or ``json``.

    ``worker`` is this process's index where there are several.

    Third parties speak up from warnings on: their info lines hold addresses
    and SDP, which are not ours to log.
    """
    handler = logging.StreamHandler(sys.stderr)
    if style == "json":
        handler.setFormatter(JsonFormatter(worker))
    else:
        handler.setFormatter(TextFormatter(worker))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("voicecore").setLevel(level.upper())
    logging.getLogger("aiohttp.server").addFilter(_without_peer_bytes)
