"""How far a synthesiser has come in a text, so that another can go on."""

from __future__ import annotations

from voicecore.engines.protocols import SpeechChunk, WordMark


class SpokenSoFar:
    """Of one text, by one synthesiser after another.

    ``rest``: what the next one is to say. Marks of its chunks, which count from there,
    are given back as marks of the whole text and of all audio so far.
    """

    def __init__(self, text: str) -> None:
        self.rest = text
        self._text = text
        self._from_char = 0
        self._from_sample = 0
        self._samples = 0
        self._marks: list[WordMark] = []

    def add(self, chunk: SpeechChunk) -> SpeechChunk:
        """Note what was said; the chunk as one of the whole."""
        self._samples += len(chunk.pcm)
        if not (self._from_char or self._from_sample):
            self._marks += chunk.words
            return chunk
        words = tuple(self._of_whole(mark) for mark in chunk.words)
        self._marks += words
        return SpeechChunk(chunk.pcm, words)

    def break_off(self) -> bool:
        """The synthesiser failed here: whether another can go on.

        It begins with the word that was cut off, if one was. Without marks of what was
        said nobody knows where that is; with nothing said, it begins anew.
        """
        if self._samples > self._from_sample:
            last = next((m for m in reversed(self._marks) if m.sample < self._samples), None)
            if last is None or last.char_start < self._from_char:
                return False
            whole = last.end is not None and last.end <= self._samples
            self._from_char = last.char_end if whole else last.char_start
        self._from_sample = self._samples
        # What was announced and not said comes again.
        self._marks = [mark for mark in self._marks if mark.sample < self._samples]
        self.rest = self._text[self._from_char :]
        return True

    def _of_whole(self, mark: WordMark) -> WordMark:
        end = None if mark.end is None else mark.end + self._from_sample
        return WordMark(
            mark.char_start + self._from_char,
            mark.char_end + self._from_char,
            mark.sample + self._from_sample,
            end,
        )
