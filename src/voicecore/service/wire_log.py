"""What the HTTP server says of bytes that are no request: not with what they were.

aiohttp logs the line that it could not read, with a traceback, as an error. Anybody may send
such lines, as many as he likes; and in one whose header is malformed there may stand a key.
"""

from __future__ import annotations

import logging

from aiohttp.http_exceptions import HttpProcessingError


class _NoRequests(logging.Filter):
    """Lets nothing pass of a request that could not be read but, for who debugs, its kind."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is to be logged."""
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, HttpProcessingError):
            return True
        record.msg, record.args = "no HTTP request: %s", (type(error).__name__,)
        record.exc_info = record.exc_text = None
        record.levelno, record.levelname = logging.DEBUG, "DEBUG"
        return logging.getLogger("voicecore").isEnabledFor(logging.DEBUG)


def wire_logger() -> logging.Logger:
    """The logger to give to the HTTP server."""
    logger = logging.getLogger("voicecore.http")
    if not any(isinstance(one, _NoRequests) for one in logger.filters):
        logger.addFilter(_NoRequests())
    return logger
