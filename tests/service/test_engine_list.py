"""``--engines``: what is there, what is missing, and how it is read."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import pytest

from fakes.distribution import install, install_acme
from voicecore.engines.catalogue import BUILT_IN
from voicecore.service.__main__ import main
from voicecore.service.config import Settings
from voicecore.service.engine_list import as_json, collect, render, type_name

pytestmark = pytest.mark.usefixtures("clean_surroundings")


def whole(text: str, name: str, stage: str) -> list[str]:
    """The lines about one engine."""
    lines = text.partition(f"\n--{stage} ")[2].partition("\n--")[0].splitlines()
    found: list[str] = []
    for line in lines[1:]:
        head = line[4:].split(" ")[0] if len(line) > 4 and line[4] != " " else ""
        if head == name or (found and not head and line.startswith("      ")):
            found.append(" ".join(line.split()))
        elif found:
            break
    return found


def test_every_engine_is_listed_and_those_in_use_are_marked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--engines", "--stt", "stub,pocketsphinx", "--vad", "energy"]) == 0
    text = capsys.readouterr().out
    for entry in BUILT_IN:
        assert whole(text, entry.name, entry.stage), entry
    assert whole(text, "stub", "stt")[0].startswith("* stub ready")
    assert whole(text, "energy", "vad")[0].startswith("* energy ready")
    assert whole(text, "silero", "vad")[0].startswith("silero ")


def test_engines_are_listed_though_the_settings_are_wrong(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--engines", "--stt", "deepgrm"]) == 0
    out, errors = capsys.readouterr()
    assert whole(out, "deepgram", "stt")
    assert "did you mean deepgram?" in errors
    assert "as the defaults have them" in errors


def test_engines_rightly_named_are_looked_at_though_other_settings_are_wrong(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ELEVENLABS_API_KEY", raising=False)
    assert main(["--stt", "nosuch", "--tts", "elevenlabs", "--port", "99999"]) == 2
    port, stt, tts = sorted(capsys.readouterr().err.splitlines())
    assert stt.startswith("voicecore: --stt: wants one of")
    assert port.startswith("voicecore: --port: wants")
    assert tts.startswith("voicecore: tts = elevenlabs: needs its API key")


def test_an_engine_of_the_current_directory_is_listed(clean_surroundings: Path) -> None:
    (clean_surroundings / "own_voice.py").write_text(
        "from voicecore.engines.tts.stub import TtsStub as Own\n"
    )
    program = "import sys; sys.path[:] = [p for p in sys.path if p]\n"
    program += "from voicecore.service.__main__ import main\n"
    program += "sys.exit(main(['--engines', '--tts', 'own_voice:Own']))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert whole(done.stdout, "own_voice:Own", "tts")[0].startswith("* own_voice:Own ready")


def test_options_are_shown_with_the_values_in_force() -> None:
    text = render(collect(Settings(tts_voice="de", engine={"espeak": {"pitch": 70}})))
    lines = whole(text, "espeak", "tts")
    assert "voice = de a voice of espeak-ng, its language first (tts_voice)" in lines
    assert "pitch = 70 height of the voice, 0 to 99 (engine.espeak.pitch)" in lines
    assert "timeout_s = 5 a process silent for so long is replaced" in lines


def test_plugins_are_listed_with_their_distribution(
    packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_acme(packages)
    install(packages, "bad", {"voicecore.llm": {"bad": "bad_plugin:Llm"}}, {"bad_plugin": "1/0"})
    install(packages, "usurper", {"voicecore.tts": {"espeak": "usurper:Tts"}}, {})
    text = render(collect(Settings()))
    lines = whole(text, "acme", "stt")
    assert lines[0] == "acme not ready Acme's recogniser [plugin acme-voice 1.5]"
    assert lines[1].startswith("! needs its API key: set ACME_API_KEY, or ACME_API_KEY_FILE")
    assert "key: not set, ACME_API_KEY or ACME_API_KEY_FILE API key" in lines
    assert "model = large which model" in lines
    assert "folder: path its model" in lines
    assert whole(text, "bad", "llm")[1].startswith("! can't be imported: ZeroDivisionError")
    assert "! the plugin usurper 1.5 registers tts 'espeak'" in text
    monkeypatch.setenv("ACME_API_KEY", "acme-key-2")
    lines = whole(render(collect(Settings())), "acme", "stt")
    assert lines[0].startswith("acme ready")
    assert "key: set, ACME_API_KEY or ACME_API_KEY_FILE API key (ACME_API_KEY)" in lines


def test_an_own_engine_is_listed_where_it_is_chosen() -> None:
    text = render(collect(Settings(llm="voicecore.engines.llm.stub:LlmStub")))
    assert whole(text, "voicecore.engines.llm.stub:LlmStub", "llm")[0].startswith("* ")


def test_the_agent_takes_the_place_of_llm() -> None:
    text = render(collect(Settings(agent="my_agent:answer")))
    assert whole(text, "responder", "llm")[0].startswith("responder ")


def test_the_same_as_json() -> None:
    listed = json.loads(as_json(collect(Settings(stt="stub"))))
    assert list(listed["engines"]) == ["stt", "llm", "tts", "vad", "turn", "s2s"]
    (stub,) = [one for one in listed["engines"]["stt"] if one["name"] == "stub"]
    assert (stub["ready"], stub["in_use"], stub["plugin"]) == (True, True, None)
    assert stub["options"] == [
        {
            "name": "text",
            "type": "text",
            "help": "what it understands",
            "required": False,
            "secret": False,
            "origin": "stub_stt_text",
            "value": "hello",
        }
    ]
    (turn,) = listed["engines"]["turn"]
    assert not turn["ready"]
    assert "give turn = onnx:FILE or --engine onnx.path=..." in turn["problems"][0]


def test_names_are_never_broken_at_a_hyphen() -> None:
    text = " ".join(render(collect(Settings())).split())
    for name in ("openai-transcribe", "openai-realtime-stt"):
        assert f"engine.{name}.key_file" in text


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (str, "text"),
        (int, "whole number"),
        (float | None, "number"),
        (bool, "true or false"),
        (list[str], "list"),
        (Mapping[str, Any] | None, "table"),
        (Literal["a", "b"], "a or b"),
        (Literal["", "a"], "empty or a"),
        (str | PathLike[str] | None, "text or path"),
        (Path, "path"),
    ],
)
def test_types_as_people_call_them(kind: Any, name: str) -> None:
    assert type_name(kind) == name


def test_listing_loads_no_engines_library() -> None:
    program = (
        "import sys\n"
        "from voicecore.service.config import Settings\n"
        "from voicecore.service.engine_list import collect\n"
        "collect(Settings())\n"
        "heavy = {'onnxruntime', 'pocketsphinx', 'espeakng_loader', 'av', 'aiortc', 'torch',\n"
        "         'sherpa_onnx', 'faster_whisper', 'ctranslate2', 'piper', 'uvloop'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
