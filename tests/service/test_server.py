"""One server in this process: order of starting and ending, and what goes wrong."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from fakes.calls import FakeManager
from voicecore._native import simd
from voicecore.engines.vad.model_file import find_model
from voicecore.errors import EngineError, MissingLibraryError, MisuseError
from voicecore.service import server as server_module
from voicecore.service import start_again
from voicecore.service.addresses import is_loopback, urls
from voicecore.service.config import Settings
from voicecore.service.config_load import ConfigError
from voicecore.service.directory import Alone, Directory
from voicecore.service.engine_factory import Engines
from voicecore.service.listening import admin_url_of
from voicecore.service.metrics import Metrics
from voicecore.service.server import Server
from voicecore.service.tls import make_certificate

STUBS: dict[str, Any] = {"stt": "stub", "llm": "stub", "tts": "stub", "vad": "energy", "port": 0}


def server(manager: FakeManager, **changes: Any) -> Server:
    def make(
        settings: Settings, engines: Engines, metrics: Metrics, directory: Directory
    ) -> FakeManager:
        return manager

    return Server(Settings(**{**STUBS, **changes}), lambda line: None, make)


async def status_of(url: str) -> int:
    async with aiohttp.ClientSession() as session, session.get(url) as reply:
        return reply.status


class GatedManager(FakeManager):
    """Is not ready before the gate opens."""

    def __init__(self) -> None:
        super().__init__()
        self.waits, self.gate = asyncio.Event(), asyncio.Event()

    async def start(self) -> None:
        self.waits.set()
        await self.gate.wait()
        await super().start()


async def test_listens_while_loading_and_is_ready_after() -> None:
    manager = GatedManager()
    one = server(manager)
    starting = asyncio.create_task(one.start())
    await asyncio.wait_for(manager.waits.wait(), 60)
    (url,) = one.urls
    assert await status_of(url + "healthz") == 200
    assert await status_of(url + "readyz") == 503
    manager.gate.set()
    await starting
    assert manager.started
    assert await status_of(url + "readyz") == 200
    assert "up to 3 calls at once (stt stub" in one.banner()[0]
    await one.close()
    assert manager.closed
    assert manager.draining
    assert asyncio.all_tasks() == {asyncio.current_task()}


class AwayManager(FakeManager):
    """Its first steps fail as told: the voice of the apology is away."""

    def __init__(self, *errors: EngineError) -> None:
        super().__init__()
        self.errors, self.seen = list(errors), asyncio.Event()

    async def start(self) -> None:
        if self.errors:
            raise self.errors.pop(0)
        await super().start()


async def test_a_provider_that_is_away_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start_again, "FIRST_WAIT_S", 0.001)
    away = EngineError("far: nothing answers", engine="far", code="tts_unreachable")
    manager = AwayManager(away, away)
    lines: list[str] = []
    answers: list[tuple[int, str]] = []
    one = Server(Settings(**STUBS), lines.append, lambda *_: manager)
    real = manager.start

    async def looked_at() -> None:
        if len(manager.errors) < 2:
            (url,) = one.urls
            async with aiohttp.ClientSession() as web, web.get(url + "readyz") as reply:
                answers.append((reply.status, await reply.text()))
        await real()

    monkeypatch.setattr(manager, "start", looked_at)
    await one.start()
    assert manager.started
    assert [status for status, _ in answers] == [503, 503]
    assert "an engine can't start yet: far: nothing answers" in answers[0][1]
    assert sum("far: nothing answers; tried again in" in line for line in lines) == 2
    assert await status_of(one.urls[0] + "readyz") == 200
    await one.close()


async def test_a_wrong_key_is_not_waited_for() -> None:
    refused = EngineError("far: no", engine="far", code="tts_key", permanent=True)
    one = server(AwayManager(refused))
    with pytest.raises(EngineError, match="far: no"):
        await one.start()
    await one.close()


async def test_the_vads_backend_goes_to_the_metrics_and_the_report() -> None:
    try:
        find_model()
    except MissingLibraryError as error:
        pytest.skip(str(error))
    lines: list[str] = []
    settings = Settings(**{**STUBS, "vad": "silero", "vad_backend": "native"})
    one = Server(settings, lines.append, lambda *_: FakeManager())
    await one.start()
    labels = {"backend": "native", "isa": simd.isa()}
    assert one.metrics.registry.get_sample_value("voicecore_vad_backend", labels) == 1
    assert f"vad silero: native {simd.isa()}" in lines
    await one.close()


async def test_one_failing_step_does_not_stop_the_end(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(FakeManager):
        async def close(self) -> None:
            raise RuntimeError("stuck")

    one = server(Failing())
    await one.start()
    (url,) = one.urls
    await one.close()
    assert "closing calls failed" in caplog.text
    with pytest.raises(aiohttp.ClientConnectorError):
        await status_of(url)


async def test_the_directory_is_there_as_long_as_requests_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whose session they name is another instance's: without it they would hear 404."""
    closed_to: list[str] = []

    class Watched(Alone):
        async def close(self) -> None:
            with pytest.raises(aiohttp.ClientConnectorError):
                await status_of(url)
            closed_to.append(url)

    monkeypatch.setattr(server_module, "build_directory", lambda *_: Watched())
    one = server(FakeManager())
    await one.start()
    (url,) = one.urls
    await one.close()
    assert closed_to == [url]


OPEN = {"allow_anonymous": True}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"host": "192.0.2.254", "port": 1, **OPEN}, "this machine has no such address"),
        ({"host": "no-such-host.invalid", **OPEN}, "can't listen on no-such-host.invalid"),
        ({"admin_host": "192.0.2.254", "admin_port": 1, "admin_token": "x"}, "see --admin-host"),
        ({"llm": "no_such_module:Thing"}, "llm = no_such_module:Thing"),
    ],
)
async def test_start_errors_say_what_to_change(changes: dict[str, Any], sentence: str) -> None:
    one = server(FakeManager(), **changes)
    with pytest.raises(ConfigError, match=sentence):
        await one.start()
    await one.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


def test_no_address_before_it_listens() -> None:
    with pytest.raises(MisuseError):
        _ = server(FakeManager()).urls


def test_addresses_to_open() -> None:
    assert urls("http", "127.0.0.1", 8080) == ["http://127.0.0.1:8080/"]
    assert urls("https", "voice.example", 443) == ["https://voice.example/"]
    assert urls("http", "::1", 80) == ["http://[::1]/"]
    assert urls("http", "0.0.0.0", 8080)[0] == "http://localhost:8080/"
    assert is_loopback("127.9.9.9")
    assert is_loopback("::1")
    assert is_loopback("localhost")
    assert not is_loopback("0.0.0.0")
    assert not is_loopback("voice.example")


async def test_banner_tells_where_and_hints_at_https_for_other_machines() -> None:
    one = server(FakeManager(), host="0.0.0.0", **OPEN)
    await one.start()
    text = "\n".join(one.banner())
    assert f"open {one.urls[0]}" in text
    assert "--tls self" in text
    await one.close()
    quiet = server(FakeManager())
    await quiet.start()
    assert "--tls" not in "\n".join(quiet.banner())
    await quiet.close()


@pytest.mark.parametrize(("host", "insists"), [("voice.example.org", True), ("localhost", False)])
async def test_browsers_shall_insist_on_the_owners_certificate(
    tmp_path: Path, host: str, insists: bool
) -> None:
    pem = tmp_path / "own.pem"
    pem.write_bytes(make_certificate(["localhost"], datetime.now(UTC)))
    one = server(FakeManager(), tls_cert=pem, tls_key=pem, allowed_hosts="voice.example.org")
    await one.start()
    (url,) = one.urls
    trust = ssl.create_default_context(cafile=str(pem))
    async with (
        aiohttp.ClientSession(headers={"Host": host}) as session,
        session.get(url.replace("127.0.0.1", "localhost") + "healthz", ssl=trust) as reply,
    ):
        assert reply.status == 200
        assert ("Strict-Transport-Security" in reply.headers) is insists
    await one.close()


async def test_the_admin_listener_comes_and_goes_with_the_server(unused_tcp_port: int) -> None:
    one = server(FakeManager(), admin_port=unused_tcp_port, admin_token="x")
    await one.start()
    assert admin_url_of(one.settings) == f"http://127.0.0.1:{unused_tcp_port}/admin/sessions"
    assert f"live calls: {admin_url_of(one.settings)}" in "\n".join(one.banner())
    assert await status_of(admin_url_of(one.settings)) == 401
    await one.close()
    with pytest.raises(aiohttp.ClientConnectorError):
        await status_of(admin_url_of(one.settings))
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize(("host", "scheme"), [("127.0.0.1", "http"), ("192.0.2.1", "https")])
def test_the_admin_token_leaves_the_machine_encrypted(host: str, scheme: str) -> None:
    """Where the public listener has a certificate, that is."""
    one = server(FakeManager(), tls="self", admin_host=host, admin_port=9, admin_token="x")
    assert admin_url_of(one.settings) == f"{scheme}://{host}:9/admin/sessions"
    assert admin_url_of(server(FakeManager()).settings) == ""


async def test_tls_self_warns_and_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    one = server(FakeManager(), tls="self")
    await one.start()
    assert "self-signed" in "\n".join(one.banner())
    trust = ssl.create_default_context(cafile=str(tmp_path / "voicecore" / "self-signed.pem"))
    (url,) = one.urls
    assert url.startswith("https://")
    path = url + "api/voice/session"
    async with aiohttp.ClientSession() as session, session.post(path, ssl=trust) as reply:
        assert reply.status == 200
        assert "Secure" in reply.headers["Set-Cookie"]
        assert "Strict-Transport-Security" not in reply.headers, "nothing to insist on"
    await one.close()
