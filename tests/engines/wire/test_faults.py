"""What can go wrong, said in one set of words, without a secret."""

from __future__ import annotations

import aiohttp
import pytest

from voicecore.engines.wire.faults import Faults, retry_after_s, shown_url

FAULTS = Faults("tts", "voice", key_hint="set VOICE_API_KEY")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("1.5", 1.5),
        ("-3", 0.0),
        ("nan", 0.0),
        ("inf", 3600.0),
        ("99999999", 3600.0),
        ("soon", 0.0),
        ("", 0.0),
        ("Mon, 30 Nov 2026 03:00:30 GMT", 30.0),
        ("Mon, 30 Nov 2026 02:00:00 GMT", 0.0),
    ],
)
def test_retry_after(value: str, seconds: float) -> None:
    now_s = 1796007600.0
    assert retry_after_s({"retry-after": value}, now_s) == seconds
    assert retry_after_s({}, now_s) == 0.0


@pytest.mark.parametrize(
    ("status", "code", "permanent"),
    [
        (401, "tts_key", True),
        (403, "tts_key", True),
        (404, "tts_http_status", True),
        (429, "tts_rate_limited", False),
        (500, "tts_http_status", False),
        (302, "tts_http_status", False),
    ],
)
def test_statuses(status: int, code: str, permanent: bool) -> None:
    error = FAULTS.of_status(status, {})
    assert (error.code, error.permanent, error.engine) == (code, permanent, "voice")
    if code == "tts_key":
        assert "set VOICE_API_KEY" in str(error)


def test_urls_are_shown_without_secrets() -> None:
    assert shown_url("wss://user:pw@host:1/x?key=abc") == "wss://host:1/x"
    error = FAULTS.of_exception(aiohttp.ClientPayloadError(), "https://u:pw@host/x?key=abc")
    assert str(error) == "voice: the connection to https://host/x broke"
    assert error.code == "tts_closed"


def test_an_engine_error_stays_what_it_is() -> None:
    error = FAULTS.bad_message("no text")
    assert FAULTS.of_exception(error, "http://x") is error
