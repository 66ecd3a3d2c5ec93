"""Words heard against the far end's own record of the samples it played, at random interruptions.

The embedded synthesiser speaks, a recorded voice interrupts it somewhere; what the conversation
keeps is compared with what an oracle reads off the decoded packets: a word counts when half of its
samples are among them. With the synthesiser's own marks, and with the estimate from text and
loudness alone, whose error is counted in words.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from report import Bar, Report
from turns import texts, words
from turns.barge_ins import POLICIES, STAGED, played_samples
from turns.corpus import Corpus
from turns.listening import RATE_HZ, STEP_SAMPLES
from turns.spoken import SpokenText, espeak
from turns.virtual_call import PACKET_NS, PLAY_HZ, AgentSpeech, VirtualCall
from voicecore._native.resample import Resampler
from voicecore.core.word_times import Word

RUNS = 200
SEED = 17
BORDER = PLAY_HZ * 20 // 1000
"""Words whose middle lies so near to the cut are counted apart (MEASURE)."""
_FADE = PLAY_HZ * 5 // 1000


def measure(report: Report, corpus: Corpus) -> None:
    """Bars: wrong words with marks, words off with the estimate."""
    runs = 20 if corpus.quick else RUNS
    wrong = border = 0
    errors: list[int] = []
    speeches = [agent_speech(spoken) for spoken in espeak(texts.texts(corpus.folder))]
    speeches = [speech for speech in speeches if len(speech.pcm) > 2 * PLAY_HZ]
    stimuli = [s for s in corpus.stimuli if s.group == "interruption" and s.fires]
    rng = np.random.default_rng(SEED)
    for _ in range(runs):
        speech = speeches[int(rng.integers(len(speeches)))]
        stimulus = stimuli[int(rng.integers(len(stimuli)))]
        at = int(rng.integers(0, len(speech.pcm) * RATE_HZ // PLAY_HZ))
        heard = stimulus.heard.later(at // STEP_SAMPLES * STEP_SAMPLES)
        phase_ns = int(rng.integers(0, PACKET_NS))
        for marked in (True, False):
            spoken = speech if marked else replace(speech, words=(), cuts=speech.words)
            call = VirtualCall(POLICIES[STAGED], heard, spoken, phase_ns=phase_ns, before_ms=0.0)
            call.run(lambda c: c.interrupted_ns is not None or c.played_out)
            played = played_samples(call)
            assert played is not None, "the far end's record is out of order"
            truth = heard_words(speech, played)
            # A dash between blanks is no word: nothing is to be heard of it.
            kept = sum(any(map(str.isalnum, word)) for word in call.heard_text.split())
            if not marked:
                errors.append(abs(kept - truth))
            elif kept != truth:
                near = [w for w in speech.words if abs(_middle(w) - played) <= BORDER]
                border += bool(near)
                wrong += not near
    report.rows.append(
        {"part": "words heard", "runs": runs, "wrong": wrong, "borderline": border,
         "estimate_off": np.bincount(errors).tolist()}
    )  # fmt: skip
    print(
        f"\nwords heard, {runs} interruptions: {wrong} wrong, {border} within 20 ms of the cut; "
        f"estimate off by 0, 1, 2 ... words: {np.bincount(errors).tolist()}"
    )
    report.bars += [
        Bar(f"words heard: wrong in {RUNS} interruptions, marks", wrong, "", "<=", 0),
        Bar("words heard: interruptions measured", runs, "", ">=", RUNS),
        Bar("words heard: median error without marks", float(np.median(errors)), "words", "<=", 1),
    ]
    for row in words.measure(corpus.folder, cuts=5 if corpus.quick else 20):
        report.rows.append({"part": "word estimate", **row})


def agent_speech(spoken: SpokenText) -> AgentSpeech:
    """What a synthesiser spoke, at the rate of G.711."""
    resampler = Resampler(spoken.rate_hz, PLAY_HZ)
    pcm = np.concatenate([resampler.process(spoken.pcm), resampler.flush()])
    scaled = tuple(
        Word(
            word.char_start,
            word.char_end,
            word.sample * PLAY_HZ // spoken.rate_hz,
            None if word.end is None else word.end * PLAY_HZ // spoken.rate_hz,
        )
        for word in spoken.words
    )
    return AgentSpeech(spoken.text, pcm, scaled)


def heard_words(speech: AgentSpeech, played: int) -> int:
    """How many of its words were heard: half of each one's samples lie before ``played``."""
    belongs = np.full(len(speech.pcm), -1)
    for i, word in enumerate(speech.words):
        belongs[word.sample : word.end] = i
    lengths = np.bincount(belongs[belongs >= 0], minlength=len(speech.words))
    heard = np.bincount(belongs[:played][belongs[:played] >= 0], minlength=len(speech.words))
    return int((2 * heard >= np.maximum(lengths, 1)).sum())


def _middle(word: Word) -> float:
    return (word.sample + (word.end or word.sample)) / 2
