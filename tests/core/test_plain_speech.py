"""What is written for eyes is not spoken; what merely looks like it is."""

from __future__ import annotations

import random

import pytest

from core.driver import ScriptedCall
from core.replies import REPLIES
from voicecore.core import actions as act
from voicecore.core import events as ev
from voicecore.core.plain_speech import PlainSpeech
from voicecore.core.reply import Reply


def plain(text: str, sizes: list[int] | None = None) -> str:
    speech = PlainSpeech()
    said, at = "", 0
    for size in sizes or [len(text)]:
        said += speech.push(text[at : at + size])
        at += size
    return said + speech.push(text[at:]) + speech.flush()


TAKEN_OUT = [
    # Emphasis and code.
    ("**bold** *i* _i_ __b__ ~~no~~ `code`", "bold i i b no code"),
    ("***both*** and **a *b* c** and _a **b**_", "both and a b c and a b"),
    ("(*maybe*) “**yes**” **Note:** it", "(maybe) “yes” Note: it"),
    ("**-5 degrees** and *$3*", "-5 degrees and $3"),
    ("a**b**c", "abc"),
    ("``a ` b`` and `snake_case *x*`", "a ` b and snake_case *x*"),
    ("**Hello", "Hello"),
    ("- item **b", "item b."),
    # Lines.
    ("# Title\nText", "Title.\nText"),
    ("### Is it? \nText", "Is it?\nText"),
    ("Take:\n- milk\n* eggs,\n+ tea.\n• rum", "Take:\nmilk.\neggs,\ntea.\nrum."),
    ("Take:\n1. milk\n2) eggs\n   3. tea", "Take:\nmilk.\neggs.\ntea."),
    ("- [ ] one\n- [x] two\n  - three", "one.\ntwo.\nthree."),
    ("> said\n>> twice", "said\ntwice"),
    ("a\n---\nb\n***\n===\n- - -\n-\nc", "a\nb\nc"),
    ("| A | B |\n|---|:-:|\n| 1 | **2** |\nEnd", "A, B.\n1, 2.\nEnd"),
    ("你好\n- 苹果\n- 梨", "你好\n苹果。\n梨。"),
    ("Run:\n```python\nx = 1\n```\nDone.", "Run:\nDone."),
    ("~~~\ncode\n```\n~~~\nDone.", "Done."),
    ("Run:\n```\nnever ended", "Run:\n"),
    ("Say ```x``` now", "Say x now"),
    # Links.
    ("See [our page](https://a.b/c_(d)) or <https://x.y>.", "See our page or https://x.y."),
    ("[**bold** link](u) ![a picture](p.png) [a][b] x[^2]", "bold link a picture a x"),
    # HTML.
    ("<b>a</b> <span class='x'>b</span> c<br>d<br/>e", "a b c\nd\ne"),
    ("<p>One</p><p>Two</p>", "One\nTwo\n"),
    ("<think>\n**hm**\n</think>Hello.<!-- not this -->", "Hello."),
    ("Never ended <think>so it", "Never ended "),
    ("Tom &amp; Jerry &#39;s &lt;3", "Tom & Jerry 's <3"),
    # Emoji.
    ("Great 👍🏽 job 👩‍💻! 🇩🇪 ❤️ ok", "Great job ! ok"),
    ("🎉 Done 🎉\n👉 Next", "Done \nNext"),
    ("Press 1️⃣ or 2⃣.", "Press 1 or 2."),
    ("🏴󠁧󠁢󠁳󠁣󠁴󠁿 Scotland ☎ call", "Scotland call"),
    # Escapes.
    (r"\*not\* \# C:\Users", r"*not* # C:\Users"),
]

LEFT = [
    "5 * 3 is 15, 2*3*4 is 24, 2**3 is 8, 5* hotel",
    "snake_case, a_b, __, C#, #1, F#, -5 degrees, <3, a < b > c, ~5",
    "-5 degrees", "+49 123", "#1 of all", "#hashtag", "= 5", ">5 people", "_", "--",
    "1. Open it", "3. Mai ist frei.", "2024 was good", "It ended\n5. Mai war es.",
    "See https://a.b/c_d_e?x=*1*&y=_z_ or www.a.b/_x_ now.",
    "[1] and [laughs] and [a", "list[0] (x) ] )", "Hi! [", "Wow!", "a | b || c",
    "R&D, AT&T, &c, &nothing;", "<your name> <3 <", "C:\\new \\",
    "© 2024 ® ™ 5 ★ ♪ → ½ §", "नमस्ते क्‍ष", "Hello   there.\n\nYes.  ",
    "What is 3 * 4? It's 12.", "He said \"*\".",
]  # fmt: skip


@pytest.mark.parametrize(("text", "words"), TAKEN_OUT)
def test_what_is_for_eyes_is_taken_out(text: str, words: str) -> None:
    assert plain(text) == words


@pytest.mark.parametrize("text", LEFT)
def test_what_only_looks_like_it_is_left(text: str) -> None:
    assert plain(text) == text


@pytest.mark.parametrize(("language", "text"), REPLIES)
def test_plain_answers_are_left_as_they_are(language: str, text: str) -> None:
    assert plain(text) == text


@pytest.mark.parametrize("text", [text for text, _ in TAKEN_OUT] + LEFT)
def test_the_pieces_in_which_it_comes_change_nothing(text: str) -> None:
    whole = plain(text)
    assert plain(text, [1] * len(text)) == whole
    for cut in range(len(text)):
        assert plain(text, [cut]) == whole


ODD = (
    *("a", "Z ", " ", "\n", "*", "**", "_", "`", "```", "~~", "#", "# ", "- ", "1. ", "2) ", "| "),
    *("|", "---", "[", "]", "(", ")", "](", "![", "<", ">", "<b>", "</b>", "<br>", "<think>"),
    *("</think>", "<!--", "-->", "&", "amp;", ";", "\\", "👍", "\u200d", "\ufe0f", "1\ufe0f\u20e3"),
    *("http://a.b/", "www.", "!", ".", "“", "你", "\r\n", "\t", "> ", "• ", "=", "+ ", "x" * 120),
)


@pytest.mark.parametrize("seed", range(400))
def test_any_text_in_any_pieces(seed: int) -> None:
    print("seed", seed)
    rng = random.Random(seed)
    text = "".join(rng.choice(ODD) for _ in range(rng.choice((8, 40, 200))))
    whole = plain(text)
    assert plain(text, [1] * len(text)) == whole
    assert plain(text, [rng.randrange(1, 12) for _ in range(300)]) == whole


@pytest.mark.parametrize(
    "sign", ["*", "[", "[a](", "<", "</", "&a", "!", "`", "-", "_ ", "#", "\\"]
)
def test_endless_signs_are_let_go_of(sign: str) -> None:
    """What is held back is bounded, whatever comes."""
    speech = PlainSpeech()
    given = 0
    text = sign * 3000
    for at in range(0, len(text), 5):
        given += len(speech.push(text[at : at + 5]))
    assert len(speech.flush()) <= 2100


def test_a_word_is_given_as_soon_as_it_comes() -> None:
    speech = PlainSpeech()
    pieces = ("Hel", "lo", " there", ",", " **you", "**", " and")
    said = [speech.push(piece) for piece in pieces]
    assert said == ["Hel", "lo", " there", ",", " you", "", " and"]


def spoken(call: ScriptedCall) -> list[str]:
    return [action.text for action in call.of(act.Speak) if isinstance(action, act.Speak)]


def answer(*pieces: str, **settings: object) -> ScriptedCall:
    call = ScriptedCall(**settings)
    call.caller_says("Hello", 0, 1000)
    for piece in pieces:
        call.speak(call.send(ev.ReplyText(1, piece)))
    call.speak(call.send(ev.ReplyEnd(1)))
    call.at(call.now_ms + 50)
    call.play_to(call.written)
    return call


def test_shown_spoken_and_remembered_is_the_same() -> None:
    call = answer("**Two", "** items. ", "👍\n- mi", "lk\n- eg", "gs")
    assert spoken(call) == ["Two items.", "milk.", "eggs."]
    words = "Two items. \nmilk.\neggs."
    assert call.notes("agent")[-1]["text"] == words
    assert call.said[-1] == ("assistant", words)
    assert call.notes("agent_done")[-1]["unheard"] == ""


def test_it_can_be_switched_off() -> None:
    call = answer("**Two** items.", plain_speech=False)
    assert spoken(call) == ["**Two** items."]


def test_an_answer_of_nothing_but_code_is_no_answer() -> None:
    call = answer("```\nx\n```")
    assert spoken(call) == []
    assert call.said == [("user", "Hello")]


def test_what_the_operator_wrote_is_said_as_it_is() -> None:
    call = ScriptedCall(greeting="Press * now. *")
    assert spoken(call) == ["Press * now.", "*"]


@pytest.mark.parametrize("seed", range(100))
def test_a_reply_speaks_its_text_and_no_other(seed: int) -> None:
    print("seed", seed)
    rng = random.Random(seed)
    text = "".join(rng.choice(ODD) for _ in range(60))
    reply = Reply(1, 24_000, None, language="de")
    clauses, at = [], 0
    protected = rng.random() < 0.3
    while at < len(text):
        size = rng.randrange(1, 9)
        guarded = protected and rng.random() < 0.3
        clauses += reply.add_text(text[at : at + size], protected=guarded)
        at += size
    clauses += reply.end_text()
    # White space behind the last clause is nobody's.
    assert reply.text.startswith(reply.ledger.text)
    assert not reply.text[len(reply.ledger.text) :].strip()
    assert "".join("".join(c.text for c in clauses).split()) == "".join(reply.text.split())
    if not protected:
        assert reply.text == plain(text)
