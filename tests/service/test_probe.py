"""The probe's arguments, its phrase, its judgement of sound, and what it tells."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from aiortc import RTCIceServer
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame

from fakes.virtual_loop import virtually
from voicecore.service import __main__ as service
from voicecore.service.probe import cli, placing
from voicecore.service.probe.report import STAGES, Report, StageFailed, Stopwatch, from_json
from voicecore.service.probe.signaling import Signaling, Target
from voicecore.service.probe.sound import FRAME, RATE_HZ, Ear, Mouth, Phrase, load_phrase

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "URL"),
        (["ftp://x"], "http://"),
        (["http://"], "a host"),
        (["http://x", "--timeout", "1"], "3 to 600"),
        (["http://x", "--timeout", "nan"], "3 to 600"),
        (["http://x", "--ca", "/nowhere"], "no file /nowhere"),
        (["http://x", "--api-key", "k", "--key-file", "f"], "give one"),
        (["http://x", "--key-file", "/nowhere"], "--key-file"),
        (["http://x", "--turn-url", "x:y"], "--turn-url"),
        (["http://x", "--relay-only", "--client-offers"], "--turn-url"),
        (["http://x", "--json", "--text"], "--text"),
        (["http://x", "--what"], "--what"),
    ],
)
def test_arguments_that_can_t_be_used(
    argv: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert service.main(["probe", *argv]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "--help" in error


def test_the_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main(["--help"])
    assert exit_.value.code == 0
    text = capsys.readouterr().out
    for word in (*STAGES, "exit status", "Kubernetes", "cron", cli.KEY_VARIABLE, *vars(Report())):
        if word not in ("url", "flow"):
            assert word in text, word


def test_a_call_to_nobody_fails_at_http_and_tells_no_key(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(cli.KEY_VARIABLE, "canary-of-a-key")
    # The discard port: nobody listens there.
    assert service.main(["probe", "http://127.0.0.1:9/"]) == 1
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert (told["ok"], told["failed_stage"]) == (False, "http")
    assert "can't connect" in told["reason"]
    assert "canary" not in out + err
    assert "canary" not in repr(Target("http://x", "canary"))
    assert "canary" not in repr(placing.Wanted(Target("u"), ice_servers=(RTCIceServer("canary"),)))


def test_the_variables_of_the_probe_are_no_misspelt_settings(
    clean_surroundings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from voicecore.service.config_load import load

    for variable in (cli.KEY_VARIABLE, cli.TURN_VARIABLE):
        monkeypatch.setenv(variable, "x")
        monkeypatch.setenv(f"{variable}_FILE", "x")
    assert load({}).warnings == ()


# -- sound ------------------------------------------------------------------------------


def test_the_phrase_is_small_and_its_speech_ends_before_it_does() -> None:
    file = ROOT / "src/voicecore/service/probe/phrase.wav"
    assert file.stat().st_size < 20_000
    phrase = load_phrase()
    assert 1.0 < len(phrase.pcm) / RATE_HZ < 3.0
    silence = len(phrase.pcm) - phrase.speech_end
    assert 0 < silence < RATE_HZ // 5
    after = phrase.pcm[phrase.speech_end :].astype(float)
    assert np.sqrt((after**2).mean()) < np.abs(phrase.pcm).max() / 20


@pytest.mark.slow
def test_the_script_makes_the_same_phrase() -> None:
    pytest.importorskip("espeakng_loader")
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts/make_probe_phrase.py"), "--check"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_mouth_says_all_of_it_and_tells_when_the_speech_is_over() -> None:
    pcm = (np.arange(3 * FRAME + 100) % 3000 + 100).astype(np.int16)

    async def main() -> None:
        told: list[int] = []
        mouth = Mouth(Phrase(pcm, 2 * FRAME + 5), told.append)
        frame: Any = await mouth.recv()
        assert np.abs(frame.to_ndarray()).max() <= 3
        began_s = asyncio.get_running_loop().time()
        mouth.speak()
        said = []
        for count in range(4):
            assert len(told) == (count == 3)
            frame = await mouth.recv()
            said.append(frame.to_ndarray()[0])
        assert asyncio.get_running_loop().time() - began_s == pytest.approx(0.08)
        np.testing.assert_array_equal(np.concatenate(said)[: len(pcm)], pcm)
        assert np.abs(said[-1][100:]).max() <= 3
        assert len(told) == 1
        mouth.stop()
        with pytest.raises(MediaStreamError):
            await mouth.recv()

    virtually(main())


class Track:
    """Frames of these amplitudes, then the end."""

    def __init__(self, *amplitudes: int) -> None:
        self._amplitudes = iter(amplitudes)

    async def recv(self) -> AudioFrame:
        try:
            pcm = np.full((1, 2 * FRAME), next(self._amplitudes), np.int16)
        except StopIteration:
            raise MediaStreamError from None
        return AudioFrame.from_ndarray(pcm, format="s16", layout="stereo")


async def test_silence_is_no_answer_and_sound_is_measured() -> None:
    changes: list[bool] = []
    ear = Ear(lambda: changes.append(True))
    await ear.listen(Track(0, 3, 100))  # type: ignore[arg-type]
    assert ear.first_ns is not None
    assert (ear.loud_frames, ear.first_loud_ns, ear.level_dbfs) == (0, None, None)
    assert len(changes) == 3
    await ear.listen(Track(3277, 0, 3277))  # type: ignore[arg-type]
    assert (ear.loud_frames, ear.level_dbfs) == (2, -20.0)
    ear.begin()
    assert (ear.loud_frames, ear.first_loud_ns) == (0, None)


# -- what is told -----------------------------------------------------------------------


def test_a_report_survives_its_json() -> None:
    report = Report(ok=True, url="http://x", stages_ms={"http": 1.5}, packets={"lost": 1})
    assert from_json(report.as_json()) == report
    for text in ("[]", '{"ok": 1}', "{}"):
        with pytest.raises(ValueError, match="no report"):
            from_json(text)
    with pytest.raises(json.JSONDecodeError):
        from_json("")


def test_text_says_how_it_ended() -> None:
    report = Report(failed_stage="ice", reason="no way", stages_ms={"http": 2.0}, total_ms=9.0)
    assert report.as_text().splitlines() == [
        "      http        2 ms",
        "failed at ice: no way (9 ms in all)",
    ]


def test_a_stage_left_by_an_error_stays_the_one_under_way() -> None:
    now_ns = iter(range(0, 10**9, 10_000_000))
    report = Report()
    watch = Stopwatch(report, lambda: next(now_ns))
    with watch.stage("http"):
        pass
    with pytest.raises(StageFailed), watch.stage("ice"):
        raise StageFailed("no")
    assert (watch.under_way, report.stages_ms) == ("ice", {"http": 10.0})


# -- HTTP -------------------------------------------------------------------------------


async def answering(handler: Any) -> TestServer:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    server = TestServer(app)
    await server.start_server()
    return server


OPENED = {"session_id": "s1", "token": "t1", "offer": {"type": "offer", "sdp": "v=0"}}


async def test_the_owner_of_a_call_is_followed_and_a_key_is_not_given_away() -> None:
    seen: list[tuple[str, str | None]] = []

    async def owner(request: web.Request) -> web.Response:
        seen.append((request.path, request.headers.get("Authorization")))
        return web.json_response(OPENED)

    other = await answering(owner)

    async def balancer(request: web.Request) -> web.Response:
        if request.path.endswith("session"):
            assert request.headers["Authorization"] == "Bearer key"
            return web.json_response(OPENED)
        raise web.HTTPTemporaryRedirect(str(other.make_url(request.path)))

    first = await answering(balancer)
    signaling = Signaling(Target(str(first.make_url("")).rstrip("/"), "key"))
    try:
        await signaling.open()
        await signaling.answer("v=0")
        assert seen == [("/api/voice/answer", "Bearer t1")]
        with pytest.raises(StageFailed, match="another host"):
            await signaling.offer("v=0")
        await signaling.hang_up()
        await signaling.hang_up()
        assert seen[1:] == [("/api/voice/session/s1", "Bearer t1")]
    finally:
        await signaling.close()
        await first.close()
        await other.close()


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (503, '{"error": {"code": "at_capacity", "message": "full"}}', "503: at_capacity, full"),
        (500, "<html>", "HTTP status 500"),
        (200, "<html>", "is this a voicecore service"),
        (200, "{}", "names no session"),
        (200, '{"session_id": "s", "token": "t", "offer": 3}', "no offer"),
    ],
)
async def test_replies_that_open_nothing(status: int, body: str, said: str) -> None:
    async def reply(request: web.Request) -> web.Response:
        return web.Response(status=status, text=body)

    server = await answering(reply)
    signaling = Signaling(Target(str(server.make_url("")).rstrip("/")))
    try:
        with pytest.raises(StageFailed, match=said):
            await signaling.open()
    finally:
        await signaling.close()
        await server.close()


@pytest.mark.parametrize(
    ("sdp", "said"),
    [
        ("nonsense", "no audio"),
        ("m=audio nonsense\r\n", "can't take the server's offer"),
        ("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n", "no audio"),
    ],
)
async def test_an_offer_that_is_none_is_hung_up(sdp: str, said: str) -> None:
    hung_up: list[str] = []

    async def reply(request: web.Request) -> web.Response:
        if request.method == "DELETE":
            hung_up.append(request.path)
            return web.Response(status=204)
        return web.json_response({**OPENED, "offer": {"type": "offer", "sdp": sdp}})

    server = await answering(reply)
    try:
        target = Target(str(server.make_url("")).rstrip("/"))
        report = await placing.place_call(placing.Wanted(target))
    finally:
        await server.close()
    assert (report.failed_stage, report.session_id) == ("gathering", "s1"), report.reason
    assert said in str(report.reason)
    assert hung_up == ["/api/voice/session/s1"]


def test_authorities_that_can_t_be_read(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("nothing")
    with pytest.raises(StageFailed, match="PEM"):
        Target("https://x", ca=file).connector()
