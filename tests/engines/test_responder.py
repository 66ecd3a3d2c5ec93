"""The scripted answerer, as tables: what is understood, and what is said to it."""

from __future__ import annotations

import random
import string
from datetime import datetime, timedelta

import pytest

from voicecore.core.conversation import Conversation, Message
from voicecore.engines.llm.responder import Responder
from voicecore.engines.llm.responder_clock import say_date, say_time
from voicecore.engines.llm.responder_keywords import choose_skill
from voicecore.engines.llm.responder_numbers import find_sum
from voicecore.engines.llm.responder_skills import CONTINUING, answer
from voicecore.engines.llm.responder_story import STORY
from voicecore.engines.protocols import LlmEngine

NOW = datetime(2025, 11, 22, 15, 20)


def talk(*messages):
    conversation = Conversation()
    for message in messages:
        conversation.add(message if isinstance(message, Message) else Message("user", message))
    return answer(conversation, NOW)


@pytest.mark.parametrize(
    ("text", "skill"),
    [
        ("what time is it", "time"),
        ("what's the time", "time"),
        ("uh time please", "time"),
        ("can you tell me the time", "time"),
        ("what day is it today", "date"),
        ("what's the date", "date"),
        ("tell me a story", "story"),
        ("tommy a long story", "story"),
        ("please tell a storey", "story"),
        ("go on", "continue"),
        ("please continue", "continue"),
        ("and what happened next", "continue"),
        ("go on with the story", "continue"),
        ("hello", "greet"),
        ("hello there how are you", "how"),
        ("good morning", "greet"),
        ("who are you", "identity"),
        ("what's your name", "identity"),
        ("are you a real person", "identity"),
        ("are you a robot", "identity"),
        ("help", "help"),
        ("what can you do", "help"),
        ("thank you very much", "thanks"),
        ("thanks goodbye", "goodbye"),
        ("good bye", "goodbye"),
        ("stop", "stop"),
        ("what did you say", "again"),
        ("can you repeat that", "again"),
        ("what is the weather in paris", None),
        ("the quick brown fox", None),
        ("the", None),
    ],
)
def test_the_skill_that_is_wanted(text, skill):
    assert choose_skill(text) == skill


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        ("what is twelve times seven", "12 times 7 is 84."),
        ("well what is twelve times uh seven then", "12 times 7 is 84."),
        ("what's 12 x 7", "12 times 7 is 84."),
        ("two plus three times four", "2 plus 3 times 4 is 14."),
        ("add three and four", "3 plus 4 is 7."),
        ("subtract three from ten", "10 minus 3 is 7."),
        ("ten take away four", "10 minus 4 is 6."),
        ("multiply six by seven", "6 times 7 is 42."),
        ("divide ten by four", "10 divided by 4 is 2.5."),
        ("ten divided by three", "10 divided by 3 is about 3.333."),
        ("two hundred and five minus six", "205 minus 6 is 199."),
        ("three thousand four hundred and twelve plus eight", "3412 plus 8 is 3420."),
        ("a hundred plus one", "100 plus 1 is 101."),
        ("twenty one plus twenty two plus one", "21 plus 22 plus 1 is 44."),
        ("minus five plus three", "minus 5 plus 3 is minus 2."),
        ("three point five times two", "3.5 times 2 is 7."),
        ("1,200 + 34", "1200 plus 34 is 1234."),
        ("what is to plus for", "2 plus 4 is 6."),  # the recogniser's two and four
        ("what time is it", None),
        ("seven times", None),
        ("two and two", None),
        ("times plus minus", None),
    ],
)
def test_sums(text, reply):
    assert find_sum(text) == reply


def test_sums_that_have_no_answer():
    assert "divide by zero" in find_sum("five over zero")
    assert "more than I can say" in find_sum("times".join([" 999999999999 "] * 30))


@pytest.mark.parametrize(
    ("now", "time"),
    [
        ("15:20", "It is three twenty in the afternoon."),
        ("00:00", "It is midnight."),
        ("12:00", "It is noon."),
        ("00:05", "It is twelve oh five in the morning."),
        ("09:00", "It is nine o'clock in the morning."),
        ("18:13", "It is six thirteen in the evening."),
        ("23:59", "It is eleven fifty-nine at night."),
    ],
)
def test_times(now, time):
    assert say_time(datetime.fromisoformat(f"2025-01-01 {now}")) == time


def test_dates():
    assert say_date(NOW) == "Today is Saturday, the twenty-second of November."
    days = [datetime(2024, 1, 1) + timedelta(days=day) for day in range(366)]
    assert len({say_date(day) for day in days}) == 366
    assert say_date(days[29]) == "Today is Tuesday, the thirtieth of January."


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        ("say good night moon", "Good night moon."),
        ("please repeat after me one two three", "One two three."),
        ("can you say hello world", "Hello world."),
        ("how do you spell cat", "Cat is spelled C, A, T."),
        ("spell the word don't please", "Don't is spelled D, O, N, T."),
        ("what time is it", "It is three twenty in the afternoon."),
        ("what's the date today", "Today is Saturday, the twenty-second of November."),
        ("", "Sorry, I did not catch that."),
        ("…", "Sorry, I did not catch that."),
    ],
)
def test_answers(text, reply):
    assert talk(text) == reply


def test_it_says_what_it_is_and_how_to_replace_it():
    reply = talk("who are you")
    assert "not a language model" in reply
    assert "VOICECORE_LLM_URL" in reply


def test_fallback_quotes_what_was_understood():
    assert '"purple elephants dance"' in talk("purple elephants dance")
    assert "and so on" in talk("purple " * 50)


def test_story_is_long_enough_to_interrupt():
    words_per_second = 180 / 60  # faster than any of our voices
    assert len(STORY.split()) / words_per_second >= 90
    assert talk("tell me a story") == STORY


def cut(text, words):
    parts = text.split()
    return Message("assistant", " ".join(parts[:words]), True, " ".join(parts[words:]))


def test_story_goes_on_from_where_the_caller_stopped_hearing():
    reply = talk("tell me a story", cut(STORY, 40), "wait", Message("assistant", "Yes?"), "go on")
    assert reply == f"{CONTINUING} {' '.join(STORY.split()[40:])}"


def test_a_second_interruption_goes_on_from_there():
    first = cut(STORY, 40)
    second = cut(f"{CONTINUING} {first.unheard}", 60)
    reply = talk("a story", first, "continue", second, "continue")
    assert reply == f"{CONTINUING} {second.unheard}"


def test_a_continuation_heard_to_its_end_leaves_nothing():
    first = cut(STORY, 40)
    heard = Message("assistant", f"{CONTINUING} {first.unheard}")
    assert "nothing left" in talk("a story", first, "go on", heard, "go on")
    assert "nothing left" in talk("go on")


def test_a_cut_off_tail_of_a_short_answer_is_not_the_story():
    short = Message("assistant", "It is three twenty in the", True, "afternoon.")
    reply = talk("a story", cut(STORY, 40), "what time is it", short, "go on")
    assert reply.startswith(CONTINUING)


def test_the_last_answer_again_with_its_unheard_part():
    said = Message("assistant", "It is three", True, "twenty.")
    assert talk("time", said, "what did you say") == "I said: It is three twenty."
    assert talk("what did you say") == "I have not said anything yet."


VOCABULARY = (
    "what is two to plus hundred and thousand minus point spell say repeat after me times "
    "over zero divide by take away a story go on the you can that don't 12 3.5 - / ' é"
)


def test_never_empty_and_never_fails():
    seed = 4
    print("seed", seed)
    rng = random.Random(seed)
    vocabulary = VOCABULARY.split()
    for _ in range(700):
        text = " ".join(rng.choice(vocabulary) for _ in range(rng.randrange(9)))
        assert talk(text)
        assert talk("".join(rng.choice(string.printable) for _ in range(rng.randrange(30))))


async def test_engine_streams_the_answer_word_by_word():
    engine = Responder(clock=lambda: NOW)
    assert isinstance(engine, LlmEngine)
    assert engine.greeting
    conversation = Conversation()
    conversation.add(Message("user", "what time is it"))
    pieces = [piece async for piece in engine.reply(conversation)]
    assert pieces == ["It ", "is ", "three ", "twenty ", "in ", "the ", "afternoon."]
