"""A call in which Whisper listens and piper speaks, where their packages and models are."""

from __future__ import annotations

from collections.abc import Callable

import aiohttp
import pytest

from caller.server import Server
from e2e.spoken import command, words_of
from e2e.test_talk import ask, calling
from engines.local_voices import piper_voice, whisper_directory


@pytest.fixture(scope="module")
def server(serve: Callable[..., Server]) -> Server:
    for package in ("faster_whisper", "piper"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    flags = ["--stt", "whisper", "--engine", f"whisper.model={whisper_directory()}"]
    flags += ["--tts", "piper", "--engine", f"piper.model={piper_voice()}"]
    return serve(*flags, "--engine", "whisper.language=en", "--max-calls", "4", "--greeting", "")


async def test_local_models_serve_a_call(http: aiohttp.ClientSession, server: Server) -> None:
    async with calling(http, server) as caller:
        text = await ask(caller)
        spoken = words_of(command()[0])
        assert len(words_of(text) & spoken) >= len(spoken) / 2, text
        done = await caller.event("agent_done", timeout_s=90)
        assert done["heard"] == str(done["text"]).strip()
        assert done["interrupted"] is False
