"""Settings: layers, checks, error sentences, help and print-out."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError

from fakes.distribution import install, install_acme
from voicecore.service import cli
from voicecore.service.__main__ import main
from voicecore.service.config import Settings
from voicecore.service.config_load import NAMES, ConfigError, Loaded, flag_name, load, variable_name
from voicecore.service.engine_fields import cores

pytestmark = pytest.mark.usefixtures("clean_surroundings")


def load_from(*argv: str) -> Loaded:
    flags, config_file, _ = cli.parse(argv)
    return load(flags, config_file)


def problems_of(*argv: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_from(*argv)
    return "\n".join(caught.value.problems)


def test_defaults_need_nothing() -> None:
    loaded = load_from()
    assert (loaded.settings.host, loaded.settings.port) == ("127.0.0.1", 8080)
    assert loaded.origins == {}
    assert loaded.warnings == ()


def test_flags_beat_environment_beats_file_beats_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("voicecore.toml").write_text('port = 1\nhost = "127.0.0.1"\nsilence_ms = 500\n')
    monkeypatch.setenv("VOICECORE_PORT", "2")
    monkeypatch.setenv("VOICECORE_HOST", "127.0.0.2")
    loaded = load_from("--port", "3")
    settings = loaded.settings
    assert (settings.port, settings.host, settings.silence_ms) == (3, "127.0.0.2", 500)
    assert loaded.origins == {
        "port": "--port",
        "host": "VOICECORE_HOST",
        "silence_ms": "voicecore.toml: silence_ms",
    }


def test_file_by_flag_or_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("a.toml").write_text("port = 5")
    Path("b.toml").write_text("port = 6")
    monkeypatch.setenv("VOICECORE_CONFIG", "a.toml")
    assert load_from().settings.port == 5
    assert load_from("--config", "b.toml").settings.port == 6
    assert "--config: there is no file c.toml" in problems_of("--config", "c.toml")


def test_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOICECORE_LLM_KEY", "")
    monkeypatch.setenv("VOICECORE_PORT", "")
    assert load_from().settings.port == 8080


def test_every_setting_has_a_flag_and_a_variable_in_the_help(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.parse(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for name in NAMES:
        assert flag_name(name) + " " in text
        assert variable_name(name) in text


@pytest.mark.parametrize(
    "values",
    [
        "a.example,b.example",
        '["a.example", "b.example"]',
        " a.example , b.example ,",
    ],
)
def test_lists_from_a_variable(monkeypatch: pytest.MonkeyPatch, values: str) -> None:
    monkeypatch.setenv("VOICECORE_ALLOWED_HOSTS", values)
    assert load_from().settings.allowed_hosts == ["a.example", "b.example"]


def test_a_switch_that_is_off_may_stand_alone() -> None:
    settings = load_from("--allow-anonymous", "--host", "0.0.0.0", "--tls", "self").settings
    assert settings.allow_anonymous
    assert load_from("--allow-anonymous", "true").settings.allow_anonymous
    assert not load_from("--allow-anonymous", "false").settings.allow_anonymous
    assert "--allow-anonymous" in problems_of("--allow-anonymous", "perhaps")


def test_several_keys_from_a_list_or_a_text_of_lines() -> None:
    one, two = "web=0123456789abcdef", "phone=0123456789abcdeg"
    Path("voicecore.toml").write_text(f'api_keys = ["{one}", "{two}"]')
    assert load_from().settings.api_keys.get_secret_value() == f"{one},{two}"
    Path("voicecore.toml").write_text(f'api_keys = """\n{one}\n{two}\n"""')
    assert load_from().settings.api_keys.get_secret_value() == f"{one},{two}"
    Path("voicecore.toml").write_text("api_keys = 1234567890123456")
    assert "1234567890123456" not in problems_of()


def test_list_flags_repeat() -> None:
    loaded = load_from("--allowed-hosts", "a,b", "--allowed-hosts", "C.example")
    assert loaded.settings.allowed_hosts == ["a", "b", "c.example"]


def test_options_of_engines_add_up_over_the_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("voicecore.toml").write_text(
        'stt = ["deepgram", "stub"]\n[engine.deepgram]\nmodel = "a"\nlanguage = "de"\n'
        '[engine.stub]\ntext = "hi"\n'
    )
    monkeypatch.setenv("VOICECORE_ENGINE", "deepgram.model=b,deepgram.words=one,two")
    loaded = load_from("--engine", "deepgram.words=three", "--engine", "stub.seconds=1")
    assert loaded.settings.stt == "deepgram,stub"
    assert loaded.settings.chain("stt") == ("deepgram", "stub")
    assert loaded.settings.engine == {
        "deepgram": {"model": "b", "language": "de", "words": "three"},
        "stub": {"text": "hi", "seconds": "1"},
    }
    assert loaded.origins["engine.deepgram.language"] == "voicecore.toml: engine"
    assert loaded.origins["engine.deepgram.model"] == "VOICECORE_ENGINE"
    assert loaded.origins["engine.deepgram.words"] == "--engine"
    assert loaded.warnings == ()


def test_options_that_nobody_reads_are_a_warning() -> None:
    (warning,) = load_from("--engine", "deepgram.model=x").warnings
    assert warning == "engine.deepgram is given, but no stage has chosen deepgram"


def test_a_plugin_that_takes_a_name_of_ours_is_a_warning(packages: Path) -> None:
    install(packages, "usurper", {"voicecore.stt": {"deepgram": "usurper:Stt"}}, {})
    (warning,) = load_from().warnings
    assert warning.startswith("the plugin usurper 1.5 registers stt 'deepgram'")


def test_a_plugins_name_is_as_good_as_ours(packages: Path) -> None:
    assert "wants one of" in problems_of("--stt", "acme")
    install_acme(packages)
    assert load_from("--stt", "acme,stub").settings.stt == "acme,stub"
    assert "did you mean acme?" in problems_of("--stt", "akme")


def test_ice_servers_in_all_forms() -> None:
    Path("voicecore.toml").write_text(
        '[[ice_servers]]\nurls = "turn:a.example:3478"\nusername = "u"\ncredential = "p"\n'
    )
    (server,) = load_from().settings.ice_servers
    assert server.urls == ["turn:a.example:3478"]
    assert server.credential.get_secret_value() == "p"
    text = '[{"urls": ["stun:a.example", "stun:[2001:db8::1]:3478"]}]'
    (server,) = load_from("--ice-servers", text).settings.ice_servers
    assert len(server.urls) == 2
    assert len(load_from("--ice-servers", "stun:a,turns:b:5349").settings.ice_servers) == 2


BAD: list[tuple[list[str], list[str]]] = [
    (["--prot", "1"], ["there is no flag --prot", "did you mean --port?"]),
    (["stray"], ["there is no flag stray"]),
    (["--port"], ["--port", "expected one argument"]),
    (["--port", "http"], ["--port: wants a whole number, given 'http'"]),
    (["--port", "65536"], ["--port: wants 65535 or less, given '65536'"]),
    (["--threshold", "0"], ["--threshold: wants more than 0"]),
    (["--threshold", "nan"], ["--threshold: wants"]),
    (["--max-call-s", "inf"], ["--max-call-s: wants"]),
    (["--stt-chunk-ms", "10"], ["wants 20 or more"]),
    (["--stt-chunk-ms", "201"], ["wants 200 or less"]),
    (["--stt", "pocketsfinx"], ["--stt: wants one of", "did you mean pocketsphinx?"]),
    (["--stt", "deepgram,pocketsfinx"], ["did you mean pocketsphinx?"]),
    (["--stt", "stub,stub"], ["--stt: names stub twice"]),
    (["--tts", ","], ["--tts: wants at least one engine"]),
    (["--vad", "silero,energy"], ["--vad: wants one of silero, energy"]),
    (["--s2s", "openai-realtme"], ["did you mean openai-realtime?"]),
    (["--turn", "onxx"], ["--turn: wants one of onnx", "did you mean onnx?"]),
    (["--turn", "onnx:gone.onnx"], ["there is no file 'gone.onnx'"]),
    (["--engine", "deepgram"], ["--engine: wants NAME.OPTION=VALUE"]),
    (["--engine", "deepgrm.model=x"], ["there is no engine 'deepgrm'; did you mean deepgram?"]),
    (["--stt-bridge", "perhaps"], ["--stt-bridge: wants true or false, given 'perhaps'"]),
    (["--engine-retry-s", "0"], ["--engine-retry-s: wants 0.1 or more"]),
    (["--agent", "my agent"], ["wants module:name"]),
    (["--host", " "], ["--host: wants an address"]),
    (["--log-format", "xml"], ["--log-format: wants 'text' or 'json'"]),
    (["--tls", "yes"], ["--tls: wants '' or 'self'"]),
    (["--tls-cert", "nowhere.pem"], ["tls_key is missing", "there is no file nowhere.pem"]),
    (["--udp-port-min", "5000"], ["udp_port_min and udp_port_max go together"]),
    (
        ["--udp-port-min", "6000", "--udp-port-max", "5000"],
        ["udp_port_min 6000 is above udp_port_max 5000"],
    ),
    (
        ["--udp-port", "3479", "--udp-port-min", "6000", "--udp-port-max", "6001"],
        ["udp_port is for one port"],
    ),
    (["--public-ip", "203.0.113.7,203.0.113.8"], ["at most one IPv4 and one IPv6"]),
    (["--public-ip", "example.org"], ["wants IP addresses such as"]),
    (["--turn-urls", "turn:a.example"], ["turn_secret is missing"]),
    (["--turn-secret", "x"], ["turn_urls is missing"]),
    (["--turn-ca", "none.pem"], ["turn_ca: there is no file none.pem"]),
    (["--ice-transport-policy", "relay"], ["ice_transport_policy = relay needs a TURN server"]),
    (
        ["--ice-transport-policy", "relay_both", "--ice-servers", "turn:a"],
        ["relay_both needs a TURN server", "with username and credential"],
    ),
    (
        [
            *("--ice-transport-policy", "relay", "--turn-secret", "s"),
            *("--turn-urls", "turns:a?transport=udp"),
        ],
        ["nobody speaks it"],
    ),
    (["--turn-urls", "http://a"], ["--turn-urls: wants stun:, stuns:, turn: or turns:"]),
    (["--ice-servers", "[{'urls':"], ["looks like JSON but is not"]),
    (
        ["--ice-servers", '[{"urls": "stun:a", "usrname": "u"}]'],
        ["--ice-servers [0] [usrname]", "did you mean username?"],
    ),
    (["--ice-servers", '[{"urls": []}]'], ["wants at least one URL"]),
    (["--trusted-proxies", "10.0.0.0/99"], ["wants networks such as 10.0.0.0/8"]),
    (["--allowed-hosts", "http://a.example"], ["wants host names without scheme"]),
    (["--allowed-origins", "a.example"], ["wants origins such as https://app.example.org"]),
    (["--allowed-origins", "https://a.example/path"], ["without a path"]),
    (["--allowed-origins", "https://a.example:99999"], ["wants origins"]),
    (["--llm-url", "localhost:11434"], ["--llm-url: wants a URL such as"]),
    (["--vad-model-path", "gone.onnx"], ["there is no file gone.onnx"]),
    (["--vad-backend", "cuda"], ["--vad-backend", "native"]),
    (["--echo-canceller", "webrtc"], ["--echo-canceller", "speexdsp"]),
    (
        ["--echo-canceller", "speexdsp", "--echo-guard", "off"],
        ["echo_canceller = speexdsp needs echo_guard"],
    ),
]


@pytest.mark.parametrize(("argv", "sentences"), BAD, ids=[" ".join(row[0]) for row in BAD])
def test_wrong_settings_are_told_in_sentences(argv: list[str], sentences: list[str]) -> None:
    text = problems_of(*argv)
    for sentence in sentences:
        assert sentence in text
    assert "pydantic" not in text
    assert "Value error" not in text


def test_wrong_file_names_the_file_and_the_nearest_key() -> None:
    Path("voicecore.toml").write_text("silense_ms = 5\n")
    text = problems_of()
    assert "voicecore.toml: there is no setting 'silense_ms'; did you mean silence_ms?" in text
    Path("voicecore.toml").write_text("port = = 5\n")
    assert "voicecore.toml is not valid TOML" in problems_of()
    Path("voicecore.toml").write_text('port = "x"\n')
    assert "voicecore.toml: port: wants a whole number" in problems_of()


def test_misspelt_variable_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOICECORE_SILENSE_MS", "5")
    monkeypatch.setenv("VOICECORE_LIBOPUS", "/x")
    (warning,) = load_from().warnings
    assert warning.endswith("did you mean VOICECORE_SILENCE_MS?")


def test_kubernetes_service_link_is_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOICECORE_PORT", "tcp://10.0.0.1:80")
    assert "enableServiceLinks: false" in problems_of()


def test_wrong_secrets_are_never_repeated() -> None:
    Path("voicecore.toml").write_text("llm_key = 12345\n[[ice_servers]]\nurls='x'\ncredential=777")
    text = problems_of()
    assert "12345" not in text
    assert "777" not in text


def test_url_of_a_model_chooses_openai() -> None:
    loaded = load_from("--llm-url", "http://localhost:1/v1/", "--llm-model", "m")
    assert (loaded.settings.llm, loaded.settings.llm_url) == ("openai", "http://localhost:1/v1")
    assert loaded.origins["llm"] == "llm_url is given"
    kept = load_from("--llm-url", "http://localhost:1/v1", "--llm", "stub")
    assert kept.settings.llm == "stub"
    agent = load_from("--llm-url", "http://localhost:1/v1", "--agent", "a.b:c")
    assert agent.settings.agent == "a.b:c"


def test_call_limit_follows_the_recogniser() -> None:
    assert Settings().call_limit == 2 * cores()
    assert Settings(stt_workers=3).call_limit == 6
    assert Settings(stt="stub").call_limit == 200
    assert Settings(stt="deepgram,pocketsphinx").call_limit == 200
    assert Settings(stt="pocketsphinx,stub").call_limit == 2 * cores()
    assert Settings(max_calls=7).call_limit == 7


def test_settings_are_immutable_and_refuse_unknown_keywords() -> None:
    with pytest.raises(ValidationError):
        Settings(prot=5)
    with pytest.raises(ValidationError):
        Settings().port = 5  # type: ignore[misc]


def test_authorities_that_are_none_are_told_at_the_start() -> None:
    Path("ca.pem").write_text("-----BEGIN NOTHING-----")
    with pytest.raises(ConfigError, match=r"turn_ca: ca\.pem can't be read as certificates in PEM"):
        load_from("--turn-ca", "ca.pem")


def test_doubtful_settings_warn() -> None:
    few = Settings(udp_port_min=5000, udp_port_max=5001, max_calls=10)
    assert few.warnings == ["2 UDP ports can't carry 10 calls at once"]
    short = Settings(turn_urls="turn:a", turn_secret="s", turn_ttl_s=60)
    assert "turn_ttl_s" in short.warnings[0]
    assert "turn_secret has less than 16 characters" in short.warnings[1]
    assert not Settings(turn_urls="turn:a", turn_secret="s" * 16).warnings


def test_print_config_is_toml_that_reads_back_and_hides_secrets(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOICECORE_LLM_KEY", "key-secret")
    argv = [
        *("--llm-url", "http://me:url-secret@localhost:1/v1", "--llm-model", "m"),
        *("--turn-urls", "turn:a.example", "--turn-secret", "turn-secret-value"),
        *("--ice-servers", '[{"urls":"turn:b","username":"u","credential":"ice-secret"}]'),
        *("--greeting", 'Say "hi"\n\x7f', "--print-config"),
    ]
    assert main(argv) == 0
    text = capsys.readouterr().out
    for secret in ("key-secret", "url-secret", "turn-secret-value", "ice-secret"):
        assert secret not in text
    values = tomllib.loads(text)
    assert values["greeting"] == 'Say "hi"\n\x7f'
    assert values["ice_servers"][0]["username"] == "u"
    assert 'llm = "openai"  # from llm_url is given' in text
    assert "port = 8080  # default" in text
    assert '# llm_key = "********"  # from VOICECORE_LLM_KEY; not shown' in text


def test_print_config_shows_options_and_hides_keys(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, packages: Path
) -> None:
    install_acme(packages)
    Path("key").write_text("filed-secret")
    monkeypatch.setenv("ACME_API_KEY_FILE", "key")
    options = ["acme.model=small", "acme.words=a,b", "own.mod:Stt.x=1", "espeak.pitch=70"]
    argv = [word for option in options for word in ("--engine", option)]
    assert main(["--stt", "acme,stub", *argv, "--print-config"]) == 0
    text = capsys.readouterr().out
    assert "filed-secret" not in text
    assert 'stt = "acme,stub"  # from --stt' in text
    assert 'engine.acme.model = "small"  # from --engine' in text
    assert '# engine.acme.key = "********"  # from ACME_API_KEY_FILE; not shown' in text
    assert '# engine."own.mod:Stt".x = "********"' in text, "nobody knows what it is"
    Path("voicecore.toml").write_text(text)
    again = load_from().settings
    assert again.engine == {
        "acme": {"model": "small", "words": "a,b"},
        "espeak": {"pitch": "70"},
    }


def test_print_config_hides_passwords_in_addresses_of_engines(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--engine", "openai.url=http://me:url-secret@h/v1", "--print-config"]) == 0
    assert "url-secret" not in capsys.readouterr().out


def test_print_config_of_the_defaults_is_a_config_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--print-config"]) == 0
    Path("voicecore.toml").write_text(capsys.readouterr().out)
    assert load_from().settings == Settings()


def test_config_errors_exit_with_2_and_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--port", "x", "--silence-ms", "1"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("voicecore: --") for line in lines)
