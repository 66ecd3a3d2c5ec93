"""An engine's options: where they come from, what they may be, and what is said of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from fakes.distribution import install_acme
from voicecore.engines.catalogue import BUILT_IN, EngineEntry, find_engine
from voicecore.engines.constructor import keywords_of, parameters_of
from voicecore.service.config import Settings
from voicecore.service.engine_options import Look, from_settings, look_at
from voicecore.service.engine_spec import merge_options, option_name, to_chain, to_options

pytestmark = pytest.mark.usefixtures("clean_surroundings")
KEY = "acme-0123456789"
ANY_SERVER = """
from typing import Annotated
from voicecore.engines.options import Option, Secret

class Llm:
    def __init__(
        self,
        *,
        key: Annotated[str, Secret("API key", variable="K")] = "",
        url: Annotated[str, Option("the server")] = "https://home.example/v1",
    ) -> None: ...
"""


@pytest.fixture
def acme(packages: Path) -> EngineEntry:
    install_acme(packages)
    entry = find_engine("stt", "acme")
    assert entry is not None
    return entry


def look(entry: EngineEntry, environment: dict[str, str] | None = None, **options: Any) -> Look:
    """``options`` as a file gives them."""
    settings = Settings(engine={"acme": options})
    return look_at(entry, settings, {"ACME_API_KEY": KEY} if environment is None else environment)


@pytest.mark.parametrize("entry", BUILT_IN, ids=lambda entry: f"{entry.stage}-{entry.name}")
def test_each_engine_of_ours_can_be_configured(entry: EngineEntry) -> None:
    made = entry.load()
    assert made.__module__ == entry.target.partition(":")[0]
    for one in parameters_of(made):
        assert TypeAdapter(one.type)
        assert one.option.help
        assert not one.option.help.endswith("."), one.name
        if one.secret:
            assert re.fullmatch("[A-Z]+_API_KEY", one.secret.variable)
            assert one.name == "key"
    names = {one.name for one in parameters_of(made)}
    assert names <= keywords_of(made)
    if hasattr(made, "name") and isinstance(made.name, str):
        assert made.name in (entry.name, "stub")


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("deepgram.model=nova-3", {"deepgram": {"model": "nova-3"}}),
        ("a.b=c,d.e=f", {"a": {"b": "c"}, "d": {"e": "f"}}),
        (" a.b = c , a.d = ", {"a": {"b": "c", "d": ""}}),
        ("a.words=one,two,a.b=c", {"a": {"words": "one,two", "b": "c"}}),
        ("a.url=wss://h/?x=1,2", {"a": {"url": "wss://h/?x=1,2"}}),
        ("my.module:Stt.model=x", {"my.module:Stt": {"model": "x"}}),
        ('{"a": {"b": [1, 2]}}', {"a": {"b": [1, 2]}}),
        ("", {}),
    ],
)
def test_options_as_text(text: str, options: dict[str, Any]) -> None:
    assert to_options(text) == options


@pytest.mark.parametrize("text", ["model=x", "a.b", "a.=x", ".b=x", "a.b c=x", "=", "{", "[]"])
def test_what_is_no_option(text: str) -> None:
    with pytest.raises(ValueError, match=r"wants NAME\.OPTION=VALUE|is not; check its quotes"):
        to_options(text)


def test_a_table_that_is_none_is_told_without_its_value() -> None:
    with pytest.raises(ValueError, match=r"engine.deepgram wants a table") as caught:
        to_options({"deepgram": KEY})
    assert KEY not in str(caught.value)


def test_options_add_up() -> None:
    merged = merge_options({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}, "d": {"e": 4}})
    assert merged == {"a": {"b": 1, "c": 3}, "d": {"e": 4}}
    assert to_options(["a.b=1", "a.c=2,a.b=3"]) == {"a": {"b": "3", "c": "2"}}


def test_names_as_in_a_file() -> None:
    assert option_name("deepgram-flux", "model") == "engine.deepgram-flux.model"
    assert option_name("my.stt:Stt", "model") == 'engine."my.stt:Stt".model'


def test_chains() -> None:
    assert to_chain(" a, b ,") == "a,b"
    assert to_chain(["a", "b"]) == "a,b"
    assert to_chain(5) == 5


def test_text_becomes_what_the_constructor_wants(acme: EngineEntry, tmp_path: Path) -> None:
    seen = look(
        acme,
        model="small",
        words="one, two",
        threads="3",
        interim="off",
        voices='{"a": 1}',
        folder=str(tmp_path),
    )
    assert seen.problems == ()
    assert dict(seen.values) == {
        "key": KEY,
        "model": "small",
        "words": ["one", "two"],
        "threads": 3,
        "interim": False,
        "voices": {"a": 1},
        "folder": str(tmp_path),
    }
    assert seen.origins["threads"] == "engine.acme.threads"
    assert seen.origins["key"] == "ACME_API_KEY"


def test_tables_of_a_file_are_taken_as_they_are(acme: EngineEntry) -> None:
    seen = look(acme, words=["one"], threads=3, interim=False, voices={"a": 1})
    assert seen.problems == ()
    assert (seen.values["words"], seen.values["voices"]) == (["one"], {"a": 1})


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"modle": "x"}, "there is no option acme.modle; did you mean model?"),
        ({"zzz": "x"}, "there is no option acme.zzz; --engines lists them"),
        ({"clock": "x"}, "there is no option acme.clock"),
        ({"threads": "many"}, "engine.acme.threads: wants a whole number, given 'many'"),
        ({"threads": 1.5}, "engine.acme.threads: wants a whole number, given 1.5"),
        ({"interim": "perhaps"}, "engine.acme.interim: wants true or false, given 'perhaps'"),
        ({"model": "huge"}, "engine.acme.model: wants 'small' or 'large', given 'huge'"),
        ({"voices": "anna"}, "engine.acme.voices: wants a table, or JSON such as {...}"),
        ({"words": [1]}, "engine.acme.words[0]: wants text"),
        ({"folder": "/no/such"}, "engine.acme.folder: there is no file or directory /no/such"),
        ({"folder": 5}, "engine.acme.folder: wants a file or directory"),
        ({"key_file": 5}, "engine.acme.key_file: wants the name of a file"),
        ({"key": 12345}, "engine.acme.key: wants text"),
        ({"key": "x", "key_file": "y"}, "engine.acme.key and engine.acme.key_file are both given"),
        ({"fails": "library"}, "acme's library is not here"),
    ],
)
def test_wrong_options_are_told_in_sentences(
    acme: EngineEntry, options: dict[str, Any], sentence: str
) -> None:
    (problem,) = look(acme, **options).problems
    assert sentence in problem
    assert "pydantic" not in problem


def test_several_problems_at_once(acme: EngineEntry) -> None:
    assert len(look(acme, {}, modle="x", threads="y").problems) == 3


def test_a_missing_key_names_every_way_to_give_it(acme: EngineEntry) -> None:
    (problem,) = look(acme, {}).problems
    assert problem == (
        "needs its API key: set ACME_API_KEY, or ACME_API_KEY_FILE to a file"
        " (or engine.acme.key_file)"
    )


def test_an_option_of_a_namesake_is_no_mistake(acme: EngineEntry) -> None:
    seen = look(acme, voice="bert")
    assert seen.problems == ()
    assert "voice" not in seen.values


def test_an_option_wins_over_an_older_setting() -> None:
    espeak = find_engine("tts", "espeak")
    assert espeak is not None
    settings = Settings(tts_voice="de", tts_speed_wpm=200, engine={"espeak": {"voice": "fr"}})
    seen = look_at(espeak, settings)
    assert (seen.values["voice"], seen.origins["voice"]) == ("fr", "engine.espeak.voice")
    assert (seen.values["speed_wpm"], seen.origins["speed_wpm"]) == (200, "tts_speed_wpm")


def test_unset_settings_say_nothing() -> None:
    assert from_settings("llm", "openai", Settings()).keys() == {"system_prompt"}
    assert from_settings("turn", "onnx", Settings()) == {}


@pytest.mark.parametrize(
    ("url", "taken"),
    [
        (None, True),
        ("https://home.example/v2", True),
        ("http://other.example/v1", False),
        ("http://home.example.org/v1", False),
        ("not a URL", False),
    ],
)
def test_a_key_in_the_environment_goes_to_its_vendor_alone(
    packages: Path, url: str | None, taken: bool
) -> None:
    (packages / "any_server.py").write_text(ANY_SERVER)
    entry = EngineEntry("llm", "any_server:Llm", "any_server:Llm")
    options = {} if url is None else {"url": url}
    seen = look_at(entry, Settings(engine={entry.name: options}), {"K": KEY})
    assert ("key" in seen.values) is taken
    given = Settings(engine={entry.name: {**options, "key": "given-for-it"}})
    assert look_at(entry, given, {"K": KEY}).values["key"] == "given-for-it"


@pytest.mark.parametrize("name", ["openai-transcribe", "openai-speech", "openai"])
def test_the_vendors_own_server_wants_a_key_where_others_may_not(name: str) -> None:
    entry = next(entry for entry in BUILT_IN if entry.name == name)
    model = {"model": "m"}
    (problem,) = look_at(entry, Settings(engine={name: model}), {}).problems
    url = f"--engine {name}.url=..."
    url = f"llm_url or {url}" if name == "openai" else url
    assert problem == (
        "needs its API key: set OPENAI_API_KEY, or OPENAI_API_KEY_FILE to a file (or"
        f" engine.{name}.key_file), or {url} for another server"
    )
    local = {**model, "url": "http://127.0.0.1:8000/v1"}
    assert look_at(entry, Settings(engine={name: local}), {}).problems == ()
    seen = look_at(entry, Settings(engine={name: model}), {"OPENAI_API_KEY": KEY})
    assert (seen.problems, seen.values["key"]) == ((), KEY)


def test_an_extra_that_is_missing_is_named_with_its_cure() -> None:
    entry = EngineEntry(
        "stt", "big", "voicecore.engines.stt.stub:SttStub", extra="big", needs=("no-such-thing",)
    )
    (problem,) = look_at(entry, Settings()).problems
    assert problem == ('needs no-such-thing, which is not installed: pip install "voicecore[big]"')


def test_what_looks_at_an_engine_does_not_show_its_key(acme: EngineEntry) -> None:
    assert KEY not in repr(look(acme))
