"""Keys: where they may come from, and that none is ever shown."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fakes.distribution import install_acme
from voicecore.service.config import Settings
from voicecore.service.config_load import ConfigError, load
from voicecore.service.logs import JsonFormatter, TextFormatter
from voicecore.service.secret_text import (
    MASK,
    SecretMask,
    check_secret,
    from_environment,
    masked,
    read_secret,
)

pytestmark = [pytest.mark.usefixtures("clean_surroundings"), pytest.mark.slow]
CANARY = "canary-6c1f0a9e-0123456789"
SRC = Path(__file__).parents[2] / "src"
STUBS = ["--llm", "stub", "--tts", "stub", "--vad", "energy", "--port", "0"]


@pytest.mark.parametrize("text", ["a key", "key\n", "key\r\n", ""])
def test_line_ends_are_no_part_of_a_key(text: str) -> None:
    assert check_secret(text) == text.rstrip("\r\n")


@pytest.mark.parametrize("sign", ["\n", "\r", "\0", "\t", "\x1b", "\x7f"])
def test_control_characters_are_refused_without_repeating_the_key(sign: str) -> None:
    with pytest.raises(ValueError, match="has a control character") as caught:
        check_secret(f"{CANARY}{sign}x")
    assert CANARY not in str(caught.value)


def test_a_key_in_a_file() -> None:
    Path("key").write_text(CANARY + "\n")
    assert read_secret("key") == CANARY


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "can't be read: No such file"),
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"\xff\xfe" + CANARY.encode(), "is not UTF-8"),
        (f"{CANARY}\nmore".encode(), "control character"),
        (CANARY.encode() * 10_000, "too long for a key"),
    ],
)
def test_files_that_hold_no_key(content: bytes | None, sentence: str) -> None:
    if content is not None:
        Path(CANARY).write_bytes(content)
    with pytest.raises(ValueError, match=sentence) as caught:
        read_secret(CANARY)
    assert CANARY not in str(caught.value), "a key given as a file's name is a key"
    with pytest.raises(ValueError, match="names no file"):
        read_secret("a\0b")


def test_variable_or_file_but_not_both() -> None:
    Path("key").write_text("filed")
    assert from_environment("K", {"K": "direct"}) == ("direct", "K")
    assert from_environment("K", {"K_FILE": "key", "K": ""}) == ("filed", "K_FILE")
    assert from_environment("K", {}) is None
    with pytest.raises(ValueError, match="K and K_FILE are both set"):
        from_environment("K", {"K": "direct", "K_FILE": "key"})
    with pytest.raises(ValueError, match="K_FILE: the file it names can't be read"):
        from_environment("K", {"K_FILE": "gone"})


@pytest.mark.parametrize("name", ["llm_key", "turn_secret"])
def test_secret_settings_come_from_files_too(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("key").write_text(CANARY + "\n")
    variable = f"VOICECORE_{name.upper()}_FILE"
    monkeypatch.setenv(variable, "key")
    loaded = load({"turn_urls": "turn:a.example"} if name == "turn_secret" else {})
    assert getattr(loaded.settings, name).get_secret_value() == CANARY
    assert loaded.origins[name] == variable
    assert loaded.warnings == ()
    monkeypatch.setenv(variable.removesuffix("_FILE"), "direct")
    with pytest.raises(ConfigError, match="are both set"):
        load({})


def test_a_flag_beats_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("key").write_text("filed-key")
    monkeypatch.setenv("VOICECORE_LLM_KEY_FILE", "key")
    loaded = load({"llm_key": "flagged"})
    assert loaded.settings.llm_key.get_secret_value() == "flagged"


def test_a_control_character_in_a_secret_setting() -> None:
    with pytest.raises(ConfigError, match="--llm-key: has a control character") as caught:
        load({"llm_key": f"{CANARY}\nx"})
    assert CANARY not in str(caught.value)


def test_settings_do_not_show_options() -> None:
    settings = Settings(engine=[f"deepgram.key={CANARY}"], llm_key=CANARY)
    assert CANARY not in repr(settings)
    assert CANARY not in str(settings)


def test_the_mask_takes_out_what_it_knows() -> None:
    mask = SecretMask()
    mask.add([CANARY, CANARY + "-long", "abc"])
    assert mask(f"{CANARY}-long {CANARY} abc") == f"{MASK} {MASK} abc"


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_logs_go_through_the_mask(formatter: logging.Formatter) -> None:
    masked.add([CANARY])
    try:
        raise RuntimeError(f"refused {CANARY}")
    except RuntimeError:
        record = logging.LogRecord("x", 30, "", 0, f"with {CANARY}", (), sys.exc_info())
    line = formatter.format(record)
    assert CANARY not in line
    assert line.count(MASK) == 2


def service(
    tmp_path: Path, *argv: str, variables: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the real service with Acme installed; whatever it does, it ends by itself."""
    folder = tmp_path / "site"
    if not folder.exists():
        install_acme(folder)
    paths = os.pathsep.join([str(folder), str(SRC)])
    return subprocess.run(
        [sys.executable, "-m", "voicecore.service", *argv],
        env={
            **os.environ,
            "PYTHONPATH": paths,
            "PYTHONDONTWRITEBYTECODE": "1",
            **(variables or {}),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


RUNS = [
    (["--print-config", "--stt", "acme"], 0, "ACME_API_KEY"),
    (["--print-config", "--engine", f"acme.key={CANARY}"], 0, "--engine"),
    (["--print-config", "--engine", f"acme.kye={CANARY}"], 0, "acme.kye"),
    (["--print-config", "--engine", f"acme.key_file={CANARY}"], 0, "acme.key_file"),
    (["--engines", "--stt", "acme"], 0, "ACME_API_KEY"),
    (["--engines=json", "--stt", "acme", "--engine", f"acme.key={CANARY}"], 0, '"secret": true'),
    (["--engines", "--stt", "acme", "--engine", "acme.fails=missing"], 0, "missing() failed"),
    ([*STUBS, "--stt", "acme", "--engine", f"acme.kye={CANARY}"], 2, "no option acme.kye"),
    ([*STUBS, "--stt", "acme", "--engine", f"acme.key={CANARY}\nx"], 2, "control character"),
    ([*STUBS, "--stt", "acme", "--engine", f"acme.key_file={CANARY}"], 2, "can't be read"),
    ([*STUBS, "--stt", "acme", "--engine", "acme.fails=made"], 2, "RuntimeError: no good"),
    ([*STUBS, "--stt", "acme", "--engine", "acme.fails=misuse"], 2, "no good"),
    ([*STUBS, "--stt", "acme", "--engine", "acme.fails=engine"], 1, "refused"),
    ([*STUBS, "--stt", "acme", "--engine", "acme.fails=start"], 1, "can't start with"),
    ([*STUBS, "--engine", f"acme:{CANARY}"], 2, "wants NAME.OPTION=VALUE"),
    ([*STUBS, "--llm", "openai", "--llm-key", f"{CANARY}\x01"], 2, "control character"),
]


@pytest.mark.parametrize(("argv", "code", "said"), RUNS, ids=[" ".join(r[0][-2:]) for r in RUNS])
def test_the_canary_is_in_nothing_that_the_service_prints(
    tmp_path: Path, argv: list[str], code: int, said: str
) -> None:
    variables = {} if any(CANARY in word for word in argv) else {"ACME_API_KEY": CANARY}
    done = service(tmp_path, "--log-level", "debug", *argv, variables=variables)
    printed = done.stdout + done.stderr
    assert done.returncode == code, printed
    assert said in printed
    assert CANARY not in printed
    if code == 2:
        assert "Traceback" not in printed


def test_the_list_for_programs_is_json(tmp_path: Path) -> None:
    done = service(tmp_path, "--engines=json", variables={"ACME_API_KEY": CANARY})
    listed = json.loads(done.stdout)
    (acme,) = [one for one in listed["engines"]["stt"] if one["name"] == "acme"]
    assert acme["plugin"] == "acme-voice 1.5"
    assert acme["ready"]
    key = acme["options"][0]
    assert (key["name"], key["origin"], "value" in key) == ("key", "ACME_API_KEY", False)
