"""What all parts of the bench look at: made once, when first asked for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from turns import dialogues, recogniser, stimuli
from turns.cases import Meeting, Recording, meetings, recordings
from turns.dialogues import Turn
from turns.endpoints import Case
from turns.listening import Heard, listen_all
from turns.recogniser import Decoded
from turns.stimuli import Stimulus

QUICK_TURNS = 24
TEXTS = ("reference", "recogniser")
"""Whose words a policy is given."""


class Corpus:
    """The recordings of ``folder`` and what is made of them; ``quick``: few of everything."""

    def __init__(self, folder: Path, *, quick: bool = False) -> None:
        self.folder = folder
        self.quick = quick

    @cached_property
    def recordings(self) -> list[Recording]:
        """Transcribed speech."""
        return recordings(self.folder, thin=3 if self.quick else 1)

    @cached_property
    def meetings(self) -> list[Meeting]:
        """Labelled meetings."""
        return meetings(self.folder)

    @cached_property
    def turns(self) -> list[Turn]:
        """The made turns, tuning and reporting half by turns."""
        count = QUICK_TURNS if self.quick else dialogues.TURNS
        return dialogues.made(self.recordings, self.folder, count=count)

    @cached_property
    def heard(self) -> list[Heard]:
        """What the VAD makes of each turn."""
        return listen_all([turn.pcm for turn in self.turns])

    @cached_property
    def decoded(self) -> list[Decoded]:
        """What the embedded recogniser makes of each turn; minutes, the first time."""
        return recogniser.decode([turn.pcm for turn in self.turns], self.heard)

    @cached_property
    def stimuli(self) -> list[Stimulus]:
        """What comes while the agent speaks."""
        return stimuli.stimuli(self.folder, self.recordings, quick=self.quick)

    def cases(self, text: str, half: str) -> Sequence[Case]:
        """The turns of one half with their text by ``reference`` or ``recogniser``."""
        every = zip(self.turns, self.heard, strict=True)
        if text == "reference":
            found = [Case(t, h, recogniser.by_reference(t.words, h)) for t, h in every]
        else:
            found = [
                Case(t, h, recogniser.by_recogniser(d, recogniser.parts(h), h))
                for (t, h), d in zip(every, self.decoded, strict=True)
            ]
        return [case for case in found if case.turn.half == half]
