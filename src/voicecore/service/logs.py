"""Logging to standard error, as text or as one JSON object a line.

What is logged while something is done for a call carries its session id
(``service/call_scope.py``). Messages are static text with ids and numbers, never what was
said or where a caller is (docs/metrics.md).
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime

from aiohttp.http_exceptions import HttpProcessingError

from voicecore.service.call_scope import current
from voicecore.service.secret_text import masked

Field = str | int | float | bool | None

_FIELDS = "voicecore_fields"


def tell(logger: logging.Logger, message: str, **fields: Field) -> None:
    """Log an event: a static ``message``, its numbers and words of the program beside it.

    They become members of the JSON object, ``name=value`` in text; None is left out.
    """
    if logger.isEnabledFor(logging.INFO):
        known = {name: value for name, value in fields.items() if value is not None}
        logger.info(message, extra={_FIELDS: known})


class JsonFormatter(logging.Formatter):
    """``{"time", "level", "logger", "message"}``; ``call``, fields and ``error`` where they are.

    ``worker`` stands in it where there are several.
    """

    def __init__(self, worker: int | None = None) -> None:
        super().__init__()
        self._fixed = {} if worker is None else {"worker": worker}

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the message holds."""
        entry: dict[str, Field] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": masked(record.getMessage()),
            **self._fixed,
        }
        if call := current().session_id:
            entry["call"] = call
        entry.update(_fields(record))
        if record.exc_info:
            entry["error"] = masked(self.formatException(record.exc_info))
        return json.dumps(entry, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """A line for people, with the traceback where there is one."""

    def __init__(self, worker: int | None = None) -> None:
        who = "" if worker is None else f"worker {worker} "
        super().__init__(f"%(asctime)s {who}%(levelname)-7s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line without a traceback: the call in front of the message, fields behind it."""
        if call := current().session_id:
            record.message = f"call {call}: {record.message}"
        fields = _fields(record).items()
        return " ".join([super().formatMessage(record), *(f"{k}={v}" for k, v in fields)])

    def format(self, record: logging.LogRecord) -> str:
        """As everybody's, without the secrets that this process knows."""
        return masked(super().format(record))


def _fields(record: logging.LogRecord) -> Mapping[str, Field]:
    found: Mapping[str, Field] = getattr(record, _FIELDS, {})
    return found


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
