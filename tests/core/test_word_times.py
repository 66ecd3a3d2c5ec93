"""Word times from text and loudness: order, bounds, pauses, and pieces like the whole."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from voicecore.core.ledger import PlayoutLedger
from voicecore.core.speech_energy import quiet_runs
from voicecore.core.spoken_weight import spoken_weight
from voicecore.core.word_times import Word, complete_marks, estimate_words

RATE_HZ = 8_000
BLOCK = RATE_HZ // 100
CHARACTERS = (
    "abcdefghijklmnop aeiou   0123456789 .,;:!?…—-'\"“”$%&/@#*_()"
    "éßñçü живо 日本語 مرحبا \U0001f600\n\t²½٣"
)


def random_text(rng: random.Random) -> str:
    return "".join(rng.choice(CHARACTERS) for _ in range(rng.randrange(1, 160)))


def random_energy(rng: random.Random, blocks: int) -> bytes:
    """Stretches of speech and of silence."""
    energy = bytearray()
    while len(energy) < blocks:
        level = rng.choice((0, 20, 65, 75))
        energy += bytes(max(0, level + rng.randrange(-3, 4)) for _ in range(rng.randrange(1, 60)))
    return bytes(energy[:blocks])


def test_any_text_and_loudness_give_rising_words_within_the_audio() -> None:
    seed = 4_711
    print("seed", seed)
    rng = random.Random(seed)
    for _ in range(600):
        text, samples = random_text(rng), rng.randrange(1, 60_000)
        energy = random_energy(rng, rng.randrange(samples // BLOCK + 2))
        pace = rng.choice((None, rng.uniform(0.02, 0.5)))
        words = estimate_words(text, samples, energy, BLOCK, pace)
        within = [range(word.char_start, word.char_end) for word in words]
        assert all(a.stop <= b.start for a, b in pairwise(within))
        covered = {index for span in within for index in span}
        assert all(i in covered for i, character in enumerate(text) if character.isalnum())
        assert all(
            text[span.start : span.stop].split() == [text[span.start : span.stop]]
            for span in within
        )
        assert all(word.sample <= word.end for word in words)
        assert all(a.end <= b.sample for a, b in pairwise(words))
        if words and pace is None:
            assert words[0].sample >= 0
            assert words[-1].end <= samples


def test_what_is_heard_only_grows_and_ends_with_the_text() -> None:
    seed = 815
    print("seed", seed)
    rng = random.Random(seed)
    for _ in range(100):
        text, samples = random_text(rng), rng.randrange(2_000, 40_000)
        ledger = PlayoutLedger(RATE_HZ)
        ledger.open_segment(text)
        ledger.add_audio(0, 500, samples, energy=random_energy(rng, samples // BLOCK))
        if rng.random() < 0.5:
            ledger.close_segment(0)
        heard = [ledger.heard_chars(played) for played in range(0, samples + 1_000, 97)]
        assert heard == sorted(heard)
        assert 0 <= heard[0] <= heard[-1] <= len(text)
        ledger.close_segment(0)
        spoken = any(map(spoken_weight, text.split()))
        assert ledger.heard_chars(samples + 500) == (len(text) if spoken else 0)


def test_audio_in_pieces_gives_the_words_of_the_whole() -> None:
    seed = 99
    print("seed", seed)
    rng = random.Random(seed)
    for _ in range(100):
        text, samples = random_text(rng), rng.randrange(1_000, 40_000)
        energy = random_energy(rng, samples // BLOCK)
        whole, pieces = PlayoutLedger(RATE_HZ), PlayoutLedger(RATE_HZ)
        for ledger in (whole, pieces):
            ledger.open_segment(text)
        whole.add_audio(0, 0, samples, energy=energy)
        at, told = 0, 0
        while at < samples:
            step = min(rng.randrange(1, 3_000), samples - at)
            until = (at + step) // BLOCK
            pieces.add_audio(0, at, step, energy=energy[told:until])
            at, told = at + step, until
            pieces.heard_chars(rng.randrange(samples))  # asking in between changes nothing
        for ledger in (whole, pieces):
            ledger.close_segment(0)
        assert pieces.words() == whole.words()


def test_pauses_are_put_where_punctuation_asks_for_them() -> None:
    text = "Well, I have looked for it. There is none, sorry!"
    pause, speech = bytes([10] * 30), bytes([70] * 40)
    energy = pause + speech + pause + speech * 3 + pause + speech * 2 + pause + speech + pause
    words = estimate_words(text, len(energy) * BLOCK, energy, BLOCK)
    by_text = {text[w.char_start : w.char_end]: (w.sample // BLOCK, w.end // BLOCK) for w in words}
    assert by_text["Well,"] == (30, 70)
    assert by_text["I"][0] == 100
    assert (by_text["it."][1], by_text["There"][0]) == (220, 250)
    assert (by_text["none,"][1], by_text["sorry!"]) == (330, (360, 400))


def test_each_character_of_a_script_without_spaces_is_a_word() -> None:
    words = estimate_words("はい、VIP様。 ok", 900)
    assert [(word.char_start, word.char_end) for word in words] == [
        (0, 1), (1, 3), (3, 6), (6, 8), (9, 11),
    ]  # fmt: skip


def test_silence_at_the_ends_belongs_to_no_word() -> None:
    energy = bytes([0] * 50 + [70] * 100 + [0] * 70)
    words = estimate_words("one two three", 220 * BLOCK, energy, BLOCK)
    assert words[0].sample == 50 * BLOCK
    assert words[-1].end == 150 * BLOCK


def test_unfinished_audio_is_reckoned_at_the_known_pace() -> None:
    text = "one two three four five six seven eight nine ten"
    energy = bytes([0] * 20 + [70] * 80)
    words = estimate_words(text, 100 * BLOCK, energy, BLOCK, pace=1000.0 / RATE_HZ)
    assert words[0].sample == 20 * BLOCK
    assert words[-1].sample > 2 * RATE_HZ
    at = [spoken_weight("one"), words[1].sample - words[0].sample]
    assert at[1] == pytest.approx(at[0] * RATE_HZ / 1000.0, abs=1)


def test_quiet_stretches_within_are_pauses_from_80_ms_on() -> None:
    energy = bytes([5] * 2 + [70] * 5 + [5] * 7 + [70] * 5 + [5] * 8 + [70] * 5 + [39] * 1)
    assert quiet_runs(energy) == [(0, 2), (19, 27), (32, 33)]
    assert quiet_runs(b"") == []
    assert quiet_runs(bytes(30)) == []


@pytest.mark.parametrize(
    ("longer", "shorter"),
    [
        ("2024", "two"),
        ("1,250,000", "million"),
        ("$12.50", "dollars"),
        ("555-1234", "555"),
        ("FBI", "fib"),
        ("e.g.", "eg"),
        ("Dr.", "Dee"),
        ("created", "dreamed"),
        ("&", "—"),
        ("50%", "fifty"),
        ("10:30", "ten"),
        ("日本語", "日"),
        ("x²", "x"),
        ("नमस्ते", "न"),
    ],
)
def test_what_takes_longer_to_say_weighs_more(longer: str, shorter: str) -> None:
    assert spoken_weight(longer) > spoken_weight(shorter)


@pytest.mark.parametrize(("one", "other"), [("timed", "time"), ("B", "bee"), ("2", "two")])
def test_silent_letters_weigh_little(one: str, other: str) -> None:
    assert abs(spoken_weight(one) - spoken_weight(other)) < 100


@pytest.mark.parametrize("token", ["—", "...", "“”", "()", "\N{ZERO WIDTH SPACE}"])
def test_what_has_no_sound_weighs_nothing(token: str) -> None:
    assert spoken_weight(token) == 0


def test_endless_words_are_bounded() -> None:
    assert spoken_weight("9" * 5_000) == spoken_weight("x" * 3_000) < 60_000


def test_words_that_got_no_mark_share_the_one_before_them() -> None:
    text = "in the old house"
    marks = [Word(0, 2, 0), Word(11, 16, 1200, 1600)]
    words = complete_marks(text, marks, 2000)
    assert [text[word.char_start : word.char_end] for word in words] == text.split()
    assert [word.end for word in words[:-1]] == [word.sample for word in words[1:]]
    assert words[-1].end == 1600
