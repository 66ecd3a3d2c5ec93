"""What was heard, by the ledger and by an oracle that knows the word of each sample."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from voicecore.core.ledger import GAP, PlayoutLedger
from voicecore.core.playout_marks import PlayoutMarks
from voicecore.core.word_times import Pace, Word

RATE_HZ = 8_000
WORDS = ("one", "2", "three,", "“four”", "five.", "naïve", "7,000", "word's", "d’où", "日本", "x")


@dataclass
class Reply:
    """A reply as it is queued, and for each sample the word it belongs to (-1: none)."""

    ledger: PlayoutLedger
    owner: list[int] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)

    def heard(self, played: int, lost: list[tuple[int, int]]) -> list[bool]:
        """By counting samples."""
        gone = {sample for begin, end in lost for sample in range(begin, end)}
        total, got = [0] * len(self.spans), [0] * len(self.spans)
        for sample, word in enumerate(self.owner):
            if word >= 0:
                total[word] += 1
                got[word] += sample < played and sample not in gone
        return [2 * b >= a for a, b in zip(total, got, strict=True)]

    def expected(self, played: int, lost: list[tuple[int, int]]) -> tuple[str, int]:
        """Text and end of what was heard."""
        heard = self.heard(played, lost)
        if not any(heard):
            return "", 0
        last = len(heard) - 1 - heard[::-1].index(True)
        pieces: list[str] = []
        for (begin, end), was in zip(self.spans[: last + 1], heard, strict=False):
            if was:
                pieces.append(self.ledger.text[begin:end])
            elif pieces[-1:] != [GAP]:
                pieces.append(GAP)
        return " ".join(pieces), self.spans[last][1]


def make_reply(rng: random.Random) -> Reply:
    """Segments of marked words with pauses between, queued in chunks of any length."""
    reply = Reply(PlayoutLedger(RATE_HZ))
    for _ in range(rng.randrange(1, 5)):
        text, marks, owner = " " * rng.randrange(2), [], [-1] * rng.randrange(0, 80)
        lead, base = len(text), len(reply.ledger.text)
        for _ in range(rng.randrange(1, 9)):
            word = rng.choice(WORDS)
            length = rng.randrange(1, 400)
            marks.append(
                Word(len(text) - lead, len(text) - lead + len(word), len(owner),
                     len(owner) + length)
            )  # fmt: skip
            owner += [len(reply.spans)] * length
            owner += [-1] * rng.choice((0, 0, rng.randrange(200)))
            reply.spans.append((base + len(text), base + len(text) + len(word)))
            text += word + " "
        number, position, queued = reply.ledger.open_segment(text), len(reply.owner), 0
        while queued < len(owner):
            step = min(rng.randrange(1, 700), len(owner) - queued)
            due = [mark for mark in marks if mark.sample < queued + step]
            marks = marks[len(due) :]
            reply.ledger.add_audio(number, position + queued, step, due)
            queued += step
        reply.ledger.close_segment(number)
        reply.owner += owner
    return reply


def losses(rng: random.Random, length: int) -> list[tuple[int, int]]:
    """Lost packets of 20 ms, neighbours merged."""
    packets = [n for n in range(length // 160 + 1) if rng.random() < rng.choice((0, 0.1, 0.4))]
    merged: list[tuple[int, int]] = []
    for packet in packets:
        begin, end = packet * 160, packet * 160 + 160
        if merged and merged[-1][1] == begin:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((begin, end))
    return merged


def test_400_interruptions_with_losses_keep_exactly_the_words_heard() -> None:
    seed = 20_261
    print("seed", seed)
    rng = random.Random(seed)
    gaps = 0
    for _ in range(400):
        reply = make_reply(rng)
        played = rng.randrange(len(reply.owner) + 100)
        lost = losses(rng, len(reply.owner))
        heard = reply.ledger.heard(played, lost)
        text, end = reply.expected(played, lost)
        assert heard.text.split() == text.split()
        # White space behind the last word counts with it when its segment is over.
        assert len(reply.ledger.text[: heard.chars].rstrip()) == end
        assert heard.cut == (end < reply.spans[-1][1])
        assert reply.ledger.heard_chars(played, lost) == heard.chars
        assert reply.ledger.heard_text(played, lost) == heard.text
        gaps += GAP in text
    assert gaps > 50


def test_without_losses_what_is_heard_is_a_beginning_and_only_grows() -> None:
    seed = 31
    print("seed", seed)
    rng = random.Random(seed)
    for _ in range(30):
        reply = make_reply(rng)
        ends = [reply.ledger.heard(played) for played in range(0, len(reply.owner) + 50, 7)]
        assert [heard.chars for heard in ends] == sorted(heard.chars for heard in ends)
        assert all(heard.text == reply.ledger.text[: heard.chars].strip() for heard in ends)
        assert not ends[-1].cut


def ledger_of(text: str, words: list[Word], samples: int, **settings: object) -> PlayoutLedger:
    ledger = PlayoutLedger(RATE_HZ)
    ledger.open_segment(text)
    ledger.add_audio(0, 0, samples, words, **settings)  # type: ignore[arg-type]
    ledger.close_segment(0)
    return ledger


def test_half_a_word_is_a_word_and_a_sample_less_is_none() -> None:
    ledger = ledger_of("one two", [Word(0, 3, 0, 400), Word(4, 7, 400, 800)], 800)
    assert [ledger.heard_text(played) for played in (199, 200, 599, 600)] == [
        "", "one", "one", "one two",
    ]  # fmt: skip
    # 100 lost in the middle of the first word: 300 of 400 remain, of 400 played.
    assert ledger.heard_text(800, [(100, 200)]) == "one two"
    assert ledger.heard_text(800, [(100, 301)]) == "[...] two"
    assert ledger.heard(800, [(400, 800)]).cut


def test_the_pause_after_a_word_is_no_part_of_it() -> None:
    marks = [Word(0, 3, 0), Word(4, 7, 1600)]
    loud = bytes([70] * 10 + [5] * 10 + [70] * 10 + [5] * 20)
    ledger = ledger_of("It. Is.", marks, 4000, energy=loud)
    assert [(word.begin, word.end) for word in ledger.words()] == [(0, 800), (1600, 2400)]
    assert ledger.heard_text(2000) == "It. Is."


def test_words_near_the_cut_are_told() -> None:
    words = [Word(i * 2, i * 2 + 1, i * 300, i * 300 + 300) for i in range(4)]
    ledger = ledger_of("a b c d", words, 1200)
    # Middles at 150, 450, 750, 1050; 20 ms are 160 samples.
    assert ledger.heard(600).borderline == ("b", "c")
    assert ledger.heard(760).borderline == ("c",)


def test_what_was_on_its_way_was_not_heard_when_the_caller_began() -> None:
    words = [Word(i * 2, i * 2 + 1, i * 300, i * 300 + 300) for i in range(4)]
    ledger = ledger_of("a b c d", words, 1200)
    assert ledger.heard_at(1200, 700).text == "a b"
    assert ledger.heard_at(1200, 700, [(0, 300)]).text == "[...] b"
    assert ledger.heard_at(100, 700).text == ""


def test_a_voice_that_breaks_off_is_cut_at_its_last_word() -> None:
    ledger = PlayoutLedger(RATE_HZ)
    ledger.open_segment("alpha beta gamma delta epsilon zeta eta theta")
    ledger.add_audio(0, 0, RATE_HZ, energy=bytes([60] * 100))
    ledger.open_segment("never spoken")
    ledger.abandon()
    assert ledger.complete
    assert ledger.text in ("alpha beta", "alpha beta gamma", "alpha beta gamma delta")
    assert ledger.heard_text(RATE_HZ) == ledger.text


def test_a_reply_of_signs_alone_is_heard() -> None:
    ledger = PlayoutLedger(RATE_HZ)
    ledger.open_segment("... ")
    ledger.close_segment(0)
    assert ledger.heard(0).text == "..."
    ledger.open_segment("Hello.")
    assert ledger.heard(0).text == ""


def test_the_pace_is_learnt_for_the_replies_after() -> None:
    pace = Pace()
    for _ in range(20):
        slow = PlayoutLedger(RATE_HZ, pace)
        slow.open_segment("seven slow words are spoken in here")
        slow.add_audio(0, 0, RATE_HZ * 5, energy=bytes([60] * 500))
        slow.close_segment(0)
    fresh, learnt = (PlayoutLedger(RATE_HZ, known) for known in (None, pace))
    for ledger in (fresh, learnt):
        ledger.open_segment("seven slow words are spoken in here")
        ledger.add_audio(0, 0, RATE_HZ, energy=bytes([60] * 100))
    # A fifth of it is there; at an ordinary pace it would be nearly half.
    assert learnt.heard_chars(RATE_HZ) < fresh.heard_chars(RATE_HZ)
    assert learnt.heard_text(RATE_HZ) in ("seven", "seven slow")


@pytest.mark.parametrize("seed", range(5))
def test_a_far_end_that_confirms_marks_has_heard_whole_words(seed: int) -> None:
    print("seed", seed)
    rng = random.Random(seed)
    for _ in range(20):
        reply, marks = make_reply(rng), PlayoutMarks()
        ends = reply.ledger.word_ends(0, len(reply.owner))
        names = {marks.mark(end): end for end in ends}
        played = rng.randrange(len(reply.owner))
        for name, end in names.items():
            if end <= played:
                marks.confirm(name)
        confirmed = marks.clear()
        for name in names:  # a bridge tells all it held
            marks.confirm(name)
        assert marks.confirmed == confirmed == max((e for e in ends if e <= played), default=0)
        words = [span for span, end in zip(reply.spans, ends, strict=True) if end <= played]
        text = reply.ledger.text[: words[-1][1]] if words else ""
        assert reply.ledger.heard_text(confirmed).split() == text.split()
