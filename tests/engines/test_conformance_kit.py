"""The conformance kit itself: good engines pass it, and each broken promise is told by name."""

from __future__ import annotations

import unittest
import wave

import numpy as np
import pytest

from fakes import faulty_engines as f
from voicecore.errors import MisuseError
from voicecore.testing import NotConforming, check_engine, conformance
from voicecore.testing.__main__ import main
from voicecore.testing.conformance import STAGES

pytestmark = pytest.mark.slow

GOOD = {
    "stt": f.GoodStt,
    "llm": f.GoodLlm,
    "tts": f.GoodTts,
    "vad": f.GoodVad,
    "turn": f.GoodTurn,
}

# What breaks a promise, and the check that tells.
BROKEN = [
    ("stt", f.RateInText, "has_the_protocol"),
    ("stt", f.FragileClose, "starts_and_closes_twice"),
    ("stt", f.FragileClose, "closes_unstarted"),
    ("stt", f.ForgetsToBeStarted, "says_so_before_start"),
    ("stt", f.ForgetsToBeStarted, "says_so_after_close"),
    ("stt", f.LeakingProcess, "leaves_nothing"),
    ("stt", f.stt(finish=f.finish_blocking), "keeps_the_loop_free"),
    ("stt", f.stt(finish=f.finish_with_key_error), "hears_an_utterance"),
    ("stt", f.stt(finish=f.finish_with_none), "hears_nothing_in_nothing"),
    ("stt", f.stt(finish=f.finish_never), "hears_an_utterance"),
    ("stt", f.stt(finish=f.finish_with_wild_words), "tells_words_in_order"),
    ("stt", f.stt(finish=f.finish_swallowing), "survives_a_cancelled_finish"),
    ("stt", f.stt(push=f.push_and_scribble), "leaves_the_audio_alone"),
    ("stt", f.stt(push=f.push_choosing), "takes_any_cut"),
    ("stt", f.stt(tell=f.tell_late), "is_silent_when_over"),
    ("stt", f.stt(tell=f.tell_from_a_thread), "hears_an_utterance"),
    ("stt", f.stt(cancel=f.cancel_leaving_a_task), "piles_up_nothing"),
    ("stt", f.stt(cancel=f.finish_with_key_error), "can_be_cancelled"),
    ("stt", f.SlowPocket, "serves_two_at_once"),
    ("stt", f.StuckSessionStt, "keeps_sessions"),
    ("stt", f.StuckSessionStt, "ends_streams_with_their_session"),
    ("stt", f.SessionClosedOnceStt, "keeps_sessions"),
    ("llm", f.WordlessLlm, "answers"),
    ("llm", f.BytesLlm, "answers"),
    ("llm", f.UnansweredCallLlm, "answers"),
    ("llm", f.WritingLlm, "leaves_the_conversation_alone"),
    ("llm", f.IteratorLlm, "can_be_closed_early"),
    ("tts", f.tts(f.nothing), "speaks"),
    ("tts", f.tts(f.floats), "speaks"),
    ("tts", f.tts(f.strided), "speaks"),
    ("tts", f.tts(f.one_buffer), "gives_its_chunks_away"),
    ("tts", f.tts(f.late_marks), "marks_words_in_order"),
    ("tts", f.tts(f.falling_marks), "marks_words_in_order"),
    ("tts", f.tts(f.marks_beyond), "marks_words_in_order"),
    ("tts", f.tts(f.no_emoji), "speaks_odd_texts"),
    ("tts", f.OneVoiceTts, "serves_two_at_once"),
    ("vad", f.SharedVad, "scores_in_order"),
    ("vad", f.SharedVad, "forgets_on_reset"),
    ("vad", f.HastyVad, "changes_no_stream_when_it_raises"),
    ("vad", f.LogitVad, "gives_probabilities"),
    ("vad", f.ScribblingVad, "leaves_frames_alone"),
    ("turn", f.PercentTurn, "gives_probabilities"),
    ("turn", f.BlockingTurn, "keeps_the_loop_free"),
]


@pytest.fixture(autouse=True)
def ends_what_the_leaky_ones_left():
    yield
    while f.PROCESSES:
        process = f.PROCESSES.pop()
        process.kill()
        process.communicate()


@pytest.mark.parametrize("stage", STAGES)
async def test_an_engine_that_keeps_its_promises_passes(stage):
    report = await check_engine(stage, GOOD[stage])
    assert report.passed, str(report)
    assert str(report).startswith(f"{stage} good: ")


async def test_sessions_are_looked_at_where_there_are_any():
    report = await check_engine("stt", f.GoodSessionStt)
    assert report.passed, str(report)
    skipped = {result.check.name for result in report.results if result.outcome == "skipped"}
    assert skipped == {"tells_what_is_settled", "fails_by_engine_errors"}


@pytest.mark.parametrize(
    ("stage", "engine", "told_by"), BROKEN, ids=lambda given: getattr(given, "__name__", given)
)
async def test_a_broken_promise_is_told_by_its_check(stage, engine, told_by):
    report = await check_engine(
        stage, engine, only=(told_by,), limit_s=0.5, stall_ms=60.0, settle_s=0.3
    )
    assert [result.check.name for result in report.failed] == [told_by]
    assert "FAIL" in str(report)
    for task in f.KEPT:
        task.cancel()
    f.KEPT.clear()


async def test_a_detector_must_be_quick():
    report = await check_engine("vad", f.SleepyVad, only=("is_quick",), stall_ms=5.0)
    assert not report.passed


async def test_what_an_engine_leaves_behind_is_laid_to_its_charge():
    report = await check_engine("stt", f.stt(cancel=f.cancel_leaving_a_task), settle_s=0.3)
    assert "leaves_nothing" in {result.check.name for result in report.failed}
    assert "forgotten" in str(report)
    for task in f.KEPT:
        task.cancel()
    f.KEPT.clear()


async def test_failures_are_looked_at_with_an_engine_that_fails():
    only = ("fails_by_engine_errors",)
    for broken, passes in (
        (f.Unreachable, True),
        (f.UnreachableByOsError, False),
        (f.GoodStt, False),
    ):
        report = await check_engine("stt", f.GoodStt, broken=broken, only=only)
        assert report.passed == passes, str(report)


async def test_an_engine_that_does_not_start_fails_all_the_rest():
    report = await check_engine("stt", f.Unreachable)
    assert not report.passed
    told = {result.check.name: result.reason for result in report.failed}
    assert "nothing answers" in told["hears_an_utterance"]
    assert len(report.results) == len(conformance.stt_checks())


async def test_what_was_said_must_be_heard():
    only = ("hears_an_utterance", "takes_any_cut", "serves_two_at_once", "hears_nothing_in_nothing")
    report = await check_engine("stt", f.GoodStt, said="Word!", only=only)
    assert report.passed, str(report)
    report = await check_engine("stt", f.GoodStt, said="word for word", only=only)
    assert [result.check.name for result in report.failed] == [*only[:1], *only[1:3]]
    assert "for word" not in str(report)


@pytest.mark.parametrize("check", conformance.llm_checks(), ids=str)
async def test_each_check_runs_alone(check):
    try:
        await check(f.GoodLlm)
    except unittest.SkipTest:
        assert check.name == "fails_by_engine_errors"


async def test_a_check_alone_is_strict_about_tasks():
    (check,) = (one for one in conformance.stt_checks() if one.name == "can_be_cancelled")
    with pytest.raises(NotConforming, match="forgotten"):
        await check(f.stt(cancel=f.cancel_leaving_a_task), settle_s=0.3)
    for task in f.KEPT:
        task.cancel()
    f.KEPT.clear()


async def test_unknown_stages_and_checks_are_misuse():
    with pytest.raises(MisuseError, match="stt, llm"):
        await check_engine("ears", f.GoodStt)
    with pytest.raises(MisuseError, match="no check hears_all"):
        await check_engine("stt", f.GoodStt, only=("hears_all",))


def test_names_are_told_apart_and_promises_are_one_line():
    for stage in STAGES:
        checks = getattr(conformance, f"{stage}_checks")()
        assert {check.stage for check in checks} == {stage}
        assert len({check.name for check in checks}) == len(checks)
        assert all(20 < len(check.promise) < 100 for check in checks)


def test_the_command_reports_and_its_status_tells(capsys):
    assert main(["fakes.faulty_engines:GoodVad", "--stage", "vad"]) == 0
    assert "promises kept" in capsys.readouterr().out
    command = ["fakes.faulty_engines:LogitVad", "--stage", "vad", "--only", "gives_probabilities"]
    assert main(command) == 1
    assert "FAIL gives_probabilities" in capsys.readouterr().out


def test_the_command_makes_engines_with_options(capsys, tmp_path):
    path = tmp_path / "speech.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(np.arange(8000, dtype="<i2").tobytes())
    command = ["stub", "--stage", "stt", "--engine-option", "text=one two", "--audio", str(path)]
    assert main(command) == 0
    command = ["stub", "--stage", "tts", "--engine-option", "seconds=0.5", "--text", "hi there"]
    assert main(command) == 0


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["nobody", "--stage", "stt"], "pocketsphinx"),
        (["no_such_module:Thing", "--stage", "stt"], "can't be imported"),
        (["stub", "--stage", "tts", "--engine-option", "seconds=long"], "'long' is no float"),
        (["stub", "--stage", "tts", "--engine-option", "seconds"], "NAME=VALUE"),
        (["stub", "--stage", "tts", "--engine-option", "colour=red"], "can't be made"),
        (["stub", "--stage", "tts", "--engine-option", "seconds=-1"], "0..600"),
        (["stub", "--stage", "stt", "--audio", "nowhere.wav"], "nowhere.wav"),
        (["stub", "--stage", "stt", "--only", "nonsense"], "no check nonsense"),
    ],
)
def test_what_the_command_cannot_do_is_said(command, told, capsys):
    assert main(command) == 2
    assert told in capsys.readouterr().err
