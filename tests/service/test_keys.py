"""API keys: what may be written, what is wrong with the rest, and that nothing of it is told."""

from __future__ import annotations

import pytest

from voicecore.service.access.keys import MOST_KEYS, ApiKeys, parse_keys
from voicecore.service.config_load import ConfigError, load

KEY = "k3y-0123456789abcdef"
OTHER = "other=0123456789abcd=="


def test_keys_with_commas_and_lines() -> None:
    text = f"web={KEY}, phone={OTHER},\n\n  night.shift-2={KEY}x \n"
    assert parse_keys(text) == (("web", KEY), ("phone", OTHER), ("night.shift-2", KEY + "x"))
    assert parse_keys(" ,\n") == ()


WRONG: list[tuple[str, str]] = [
    (KEY, "entry 1 is not NAME=KEY"),
    (f"web={KEY},{KEY}", "entry 2 is not NAME=KEY"),
    (f"={KEY}", "entry 1: a name has"),
    (f"a b={KEY}", "entry 1: a name has"),
    (f"{'n' * 65}={KEY}", "entry 1: a name has"),
    ("web=", "entry 1: a key has 16 characters at least"),
    ("web=0123456789abcde", "entry 1: a key has 16 characters at least"),
    (f"web={KEY} {KEY}", "entry 1: a key has no blanks"),
    (f"web={KEY}ä", "entry 1: a key has no blanks"),
    (f"web={KEY},web={KEY}x", "entries 1 and 2 have the same name"),
    (f"web={KEY},phone=0123456789abcdef,tablet={KEY}", "entries 1 and 3 have the same key"),
    (",".join(f"n{i}={i:016}" for i in range(MOST_KEYS + 1)), f"{MOST_KEYS} are taken"),
]


@pytest.mark.parametrize(("text", "sentence"), WRONG, ids=[row[1][:30] for row in WRONG])
def test_what_is_wrong_is_told_by_its_place(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as caught:
        parse_keys(text)
    assert KEY not in str(caught.value)


def test_a_forgotten_name_is_not_told_either() -> None:
    padded = "c2VjcmV0LXNlY3JldA=="
    with pytest.raises(ValueError, match="entry 1") as caught:
        parse_keys(padded)
    assert padded[:8] not in str(caught.value)


def test_a_key_is_known_by_its_name_alone() -> None:
    keys = ApiKeys(parse_keys(f"web={KEY},phone={OTHER}"))
    assert keys.name_of(KEY) == "web"
    assert keys.name_of(OTHER) == "phone"
    for wrong in ("", "web", KEY[:-1], KEY + " ", KEY.upper(), "\udcff", f"web={KEY}"):
        assert keys.name_of(wrong) is None
    held = repr(vars(keys))
    assert KEY not in held
    assert OTHER not in held


def test_a_file_has_a_key_a_line(clean_surroundings, monkeypatch) -> None:
    file = clean_surroundings / "keys"
    file.write_text(f"web={KEY}\r\nphone={OTHER}\n")
    monkeypatch.setenv("VOICECORE_API_KEYS_FILE", str(file))
    settings = load({"host": "0.0.0.0"}).settings
    assert settings.needs_key
    assert parse_keys(settings.api_keys.get_secret_value()) == (("web", KEY), ("phone", OTHER))
    file.write_text(f"web={KEY}\nphone=short\n")
    with pytest.raises(ConfigError, match="VOICECORE_API_KEYS_FILE: entry 2"):
        load({})
    file.write_bytes(f"web={KEY}\0".encode())
    with pytest.raises(ConfigError, match="control character"):
        load({})


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"host": "0.0.0.0"}, "host 0.0.0.0 can be reached by other machines"),
        ({"host": "::"}, "--allow-anonymous"),
        ({"host": "voice.example"}, "VOICECORE_API_KEYS=web="),
        ({"jwt_secret": "short" * 6}, "--jwt-secret: wants 32 bytes"),
        ({"allow_anonymous": True, "api_keys": f"web={KEY}"}, "say the opposite"),
        ({"jwt_audience": "us"}, "jwt_audience needs a way to check tokens"),
        ({"jwt_public_key": "no/such.pem"}, "there is no file"),
        ({"rate_per_key": "0/minute"}, "wants a rate such as 30/minute"),
        ({"rate_per_address": "30/0 minutes"}, "wants a rate such as 30/minute"),
        ({"rate_per_address": "often"}, "wants a rate such as 30/minute"),
    ],
)
def test_open_doors_and_keys_of_no_use_end_the_start(
    clean_surroundings, settings: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(settings)
    assert sentence in str(caught.value)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"host": "127.0.0.1"},
        {"host": "localhost"},
        {"host": "0.0.0.0", "allow_anonymous": "true"},
        {"host": "0.0.0.0", "jwt_secret": "s" * 32},
        {"host": "0.0.0.0", "jwks_url": "https://issuer.example/keys", "jwt_audience": "us"},
        {"rate_per_key": "", "rate_per_address": "5 per minute".replace(" per ", "/")},
    ],
)
def test_doors_that_may_stand_so(clean_surroundings, settings: dict[str, object]) -> None:
    assert load(settings).settings


def test_what_is_allowed_but_odd_is_warned_of(clean_surroundings) -> None:
    secure = {"host": "0.0.0.0", "trusted_proxies": "10.0.0.0/8"}
    loaded = load({**secure, "jwks_url": "http://issuer.example/keys"})
    assert [note[:30] for note in loaded.warnings] == [
        "jwks_url without jwt_audience:", "jwks_url without https: who is"
    ]  # fmt: skip
    assert not load({"jwks_url": "http://127.0.0.1:1/keys", "jwt_audience": "us"}).warnings
    assert "everybody" in load({"allow_anonymous": True}).warnings[0]
    (warning,) = load({"host": "0.0.0.0", "jwt_secret": "s" * 32}).warnings
    assert "without HTTPS" in warning


def test_an_admin_token_that_others_may_learn_is_warned_of(clean_surroundings) -> None:
    admin = {"admin_port": 9090, "admin_token": KEY}
    assert not load(admin).warnings
    assert not load({**admin, "admin_host": "192.0.2.1", "tls": "self"}).warnings
    (warning,) = load({**admin, "admin_host": "192.0.2.1"}).warnings
    assert "admin_host 192.0.2.1 without HTTPS" in warning
    (warning,) = load({**admin, "admin_token": KEY[:15]}).warnings
    assert "admin_token" in warning
    assert KEY[:15] not in warning
