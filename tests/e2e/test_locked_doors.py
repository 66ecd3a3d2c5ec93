"""A service that wants to know who calls, and a stock caller with and without a key."""

from __future__ import annotations

import time
from pathlib import Path

import aiohttp
import jwt

from caller.server import running
from e2e.aiortc_caller import AiortcCaller
from e2e.spoken import counter, remark

KEY = "k3y-0123456789abcdef"
SECRET = "a secret of more than 32 bytes, for tests"
STUBS = ("--overload", "off", "--stt", "stub", "--llm", "stub", "--tts", "stub")


class Keyed(AiortcCaller):
    """A caller who shows a key when he opens the call, and the call's token afterwards."""

    def __init__(self, http: aiohttp.ClientSession, url: str, key: str) -> None:
        super().__init__(http, url)
        self._token = key


async def test_a_call_takes_a_key_and_none_of_it_is_written_down(
    http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    log = tmp_path / "service.log"
    token = jwt.encode({"sub": "ann", "exp": time.time() + 600, "aud": "us"}, SECRET)
    flags = ("--api-keys", f"web={KEY}", "--jwt-secret", SECRET, "--jwt-audience", "us")
    async with running(*STUBS, *flags, "--log-level", "debug", log=log) as server:
        for wrong, code in ((b"", "key_missing"), (b"guessed-0123456789", "wrong_key")):
            headers = {"X-API-Key": wrong.decode()}
            path = f"{server.url}/api/voice/session"
            async with http.post(path, headers=headers) as reply:
                assert (reply.status, (await reply.json())["error"]["code"]) == (401, code)
        for key, flow in ((KEY, "server_offers"), (token, "client_offers")):
            caller = Keyed(http, server.url, key)
            try:
                await caller.call(flow)
                assert caller.auth["Authorization"] != f"Bearer {key}"
                caller.say(remark())
                await caller.event("agent_done")
            finally:
                await caller.hang_up()
        name = "voicecore_calls_refused_total"
        assert await counter(http, server.url, name, reason="key_missing") == 1
        assert await counter(http, server.url, name, reason="wrong_key") == 1
    written = log.read_text()
    for secret in (KEY, SECRET, token, "guessed-0123456789"):
        assert secret not in written
