"""SECURITY.md names bounds; they are those of the code."""

from __future__ import annotations

from pathlib import Path

import pytest

from voicecore.service import bodies, connections, sites, voice_routes
from voicecore.service.access import jwks, keys, tokens, windows
from voicecore.service.config import Settings

PAGE = " ".join((Path(__file__).parents[1] / "SECURITY.md").read_text().split())
DEFAULTS = {name: field.default for name, field in Settings.model_fields.items()}


@pytest.mark.parametrize(
    "sentence",
    [
        f"a body | {bodies.BODY_LIMIT_BYTES // 1024} KiB, in {bodies.READ_TIMEOUT_S:.0f} s",
        f"{bodies.SDP_CHARS:,} characters, {bodies.SDP_LINES:,} lines, {bodies.SDP_SECTIONS}"
        f" sections, {bodies.SDP_CANDIDATES} candidates",
        f"{voice_routes.CANDIDATES_PER_REQUEST} a request, 64 a call,"
        f" {voice_routes.CANDIDATE_CHARS:,} characters each",
        f"(slow heads, idle ones) | {sites.IDLE_CONNECTION_S:.0f} s",
        f"| half of the descriptors, {connections.MOST:,} at most; of one address"
        f" {connections.MOST_OF_ONE_ADDRESS} |",
        f"a token | {tokens.LONGEST_TOKEN:,} characters",
        f"{tokens.LEEWAY_S} s of leeway",
        f"in {jwks.FOR_UNKNOWN_S:.0f} s | |",
        f"remembered for that | {windows.MOST_KEYS:,};",
        f"Keys have {keys.SHORTEST_KEY} characters at least",
        f"| {DEFAULTS['rate_per_address'].replace('/minute', ' a minute')}; 429",
        f"| {DEFAULTS['rate_per_key'].replace('/minute', ' a minute')}; 429",
        f"doesn't come through | {DEFAULTS['answer_timeout_s']:.0f} s | `answer_timeout_s`",
        f"a call | {DEFAULTS['max_call_s'] / 3600:.0f} h;",
    ],
)
def test_bounds_are_as_told(sentence: str) -> None:
    assert sentence in PAGE
