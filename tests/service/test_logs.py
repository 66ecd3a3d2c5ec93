"""Log lines: one JSON object each, and no bytes of strangers."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Iterator

import aiohttp.http_exceptions
import pytest

from voicecore.service.call_scope import CallScope, within
from voicecore.service.logs import JsonFormatter, TextFormatter, configure_logging, tell


@pytest.fixture
def _restored() -> Iterator[None]:
    """Leave the root logger and the touched ones as they were."""
    root, theirs = logging.getLogger(), logging.getLogger("aiohttp.server")
    handlers, level, filters = root.handlers[:], root.level, theirs.filters[:]
    yield
    root.handlers[:], theirs.filters[:] = handlers, filters
    root.setLevel(level)
    logging.getLogger("voicecore").setLevel(logging.NOTSET)


def record(message: str, error: BaseException | None = None) -> logging.LogRecord:
    info = None if error is None else (type(error), error, None)
    return logging.LogRecord("voicecore.x", logging.WARNING, "", 0, message, (), info)


def test_lines_tell_which_worker_wrote_them() -> None:
    assert json.loads(JsonFormatter(worker=0).format(record("x")))["worker"] == 0
    assert "worker" not in json.loads(JsonFormatter().format(record("x")))
    assert " worker 2 WARNING " in TextFormatter(worker=2).format(record("x"))


def test_json_lines() -> None:
    line = JsonFormatter().format(record("two\nlines", ValueError("why")))
    assert "\n" not in line
    entry = json.loads(line)
    assert (entry["level"], entry["logger"], entry["message"]) == (
        "warning",
        "voicecore.x",
        "two\nlines",
    )
    assert entry["time"].endswith("+00:00")
    assert "ValueError: why" in entry["error"]


@pytest.mark.usefixtures("_restored")
def test_bytes_that_are_no_http_are_not_quoted(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "text")
    try:
        raise aiohttp.http_exceptions.BadHttpMessage("Authorization: Bearer abc")
    except aiohttp.http_exceptions.BadHttpMessage:
        logging.getLogger("aiohttp.server").error("Error", exc_info=sys.exc_info())
    errors = capsys.readouterr().err
    assert "Error" in errors
    assert "abc" not in errors


@pytest.mark.usefixtures("_restored")
def test_level_is_ours_alone(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "text")
    logging.getLogger("voicecore.service").info("ours")
    logging.getLogger("aioice").info("theirs")
    errors = capsys.readouterr().err
    assert "ours" in errors
    assert "theirs" not in errors


@pytest.mark.usefixtures("_restored")
async def test_lines_of_a_call_name_it_also_from_its_tasks(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging("info", "json")
    logger = logging.getLogger("voicecore.x")

    async def work() -> None:
        logger.warning("from a task")

    with within(CallScope("id-1")):
        task = asyncio.create_task(work())
        with within(CallScope("id-2")):
            tell(logger, "call ended", turns=3, mos_in=None)
        logger.warning("here")
    logger.warning("elsewhere")
    await task
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["message"], line.get("call")) for line in lines] == [
        ("call ended", "id-2"),
        ("here", "id-1"),
        ("elsewhere", None),
        ("from a task", "id-1"),
    ]
    assert lines[0]["turns"] == 3
    assert "mos_in" not in lines[0]


@pytest.mark.usefixtures("_restored")
def test_text_names_the_call_and_its_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "text")
    logger = logging.getLogger("voicecore.x")
    with within(CallScope("id-1")):
        tell(logger, "call ended", reason="hung_up", turns=3)
        tell(logging.getLogger("other"), "nothing", turns=1)
        try:
            raise ValueError("why")
        except ValueError:
            logger.exception("it failed")
    errors = capsys.readouterr().err
    assert "voicecore.x: call id-1: call ended reason=hung_up turns=3\n" in errors
    assert "call id-1: it failed\nTraceback" in errors
    assert "nothing" not in errors
