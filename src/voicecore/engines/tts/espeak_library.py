"""espeak-ng by ctypes: the few functions and structures of its speak_lib.h we use.

For a worker process alone: the library keeps global state, and two syntheses
at once crash it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from voicecore.errors import EngineError, MissingLibraryError

EVENT_END: Final = 0  # closes the list of events of one callback
EVENT_WORD: Final = 1
EVENT_PHONEME: Final = 7

_AUDIO_OUTPUT_SYNCHRONOUS: Final = 2
_INITIALIZE_PHONEME_EVENTS: Final = 0x0001
_INITIALIZE_DONT_EXIT: Final = 0x8000
_PARAMETER_RATE: Final = 1
_PARAMETER_PITCH: Final = 3
_POSITION_CHARACTER: Final = 1
_CHARS_UTF8: Final = 1


class Event(ctypes.Structure):
    """``espeak_EVENT``: something happens at ``sample`` of the current synthesis.

    ``text_position`` counts characters (not bytes) from 1.
    """

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("name", ctypes.c_char * 8),  # of a phoneme; a union with a number and a pointer
    )


class Voice(ctypes.Structure):
    """``espeak_VOICE``: what a voice should be like; zero means no matter."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_char_p),
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("xx1", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    )


class Spoken(NamedTuple):
    """What is read from ``sample`` on: a word (``kind`` EVENT_WORD) of the text, or a phoneme.

    ``character`` counts from 0. A phoneme whose ``name`` begins with ``_`` is a pause.
    """

    kind: int
    character: int
    sample: int
    name: bytes


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(Event)
)

Sink = Callable[[bytes, list[Spoken]], bool]


class Espeak:
    """The library, loaded and set to one voice. One per process, one thread."""

    def __init__(self, voice: str, speed_wpm: int, pitch: int) -> None:
        """Raises MissingLibraryError without the wheel, EngineError for an unknown voice."""
        try:
            import espeakng_loader
        except ImportError as error:
            raise MissingLibraryError(
                "espeak-ng is not installed: pip install 'voicecore[espeak]'"
            ) from error
        library: Any = ctypes.CDLL(espeakng_loader.get_library_path())
        data = espeakng_loader.get_data_path().encode()
        self.rate_hz: int = library.espeak_Initialize(
            _AUDIO_OUTPUT_SYNCHRONOUS, 0, data, _INITIALIZE_DONT_EXIT | _INITIALIZE_PHONEME_EVENTS
        )
        if self.rate_hz <= 0:
            raise EngineError("espeak: the voice data did not load", engine="espeak")
        if not _set_voice(library, voice.encode()):
            raise EngineError("espeak: unknown voice", engine="espeak", code="unknown_voice")
        library.espeak_SetParameter(_PARAMETER_RATE, speed_wpm, 0)
        library.espeak_SetParameter(_PARAMETER_PITCH, pitch, 0)
        library.espeak_Synth.argtypes = [
            ctypes.c_char_p,
            ctypes.c_size_t,
            ctypes.c_uint,
            ctypes.c_int,
            ctypes.c_uint,
            ctypes.c_uint,
            ctypes.c_void_p,
            ctypes.c_void_p,
        ]
        self._library = library
        self._sink: Sink | None = None
        # The library keeps the pointer: the object must live as long as it does.
        self._callback = _Callback(self._called)
        library.espeak_SetSynthCallback(self._callback)

    def synthesise(self, text: str, sink: Sink) -> None:
        """Speak ``text`` into ``sink(pcm, spoken)``; returns when all is said.

        ``pcm`` is int16 in native order, often empty; what is ``spoken`` begins
        in it or, rarely, later. A sink that returns False stops the synthesis.
        ``text`` must hold no NUL and no surrogate.
        """
        data = text.encode() + b"\0"
        self._sink = sink
        try:
            status = self._library.espeak_Synth(
                data, len(data), 0, _POSITION_CHARACTER, 0, _CHARS_UTF8, None, None
            )
        finally:
            self._sink = None
        if status != 0:
            raise EngineError("espeak: synthesis failed", engine="espeak")

    def _called(self, wave: Any, samples: int, events: Any) -> int:
        spoken = []
        index = 0
        while (event := events[index]).type != EVENT_END:
            if event.type in (EVENT_WORD, EVENT_PHONEME):
                spoken.append(Spoken(event.type, event.text_position - 1, event.sample, event.name))
            index += 1
        pcm = ctypes.string_at(wave, samples * 2) if wave and samples > 0 else b""
        # 0 goes on, 1 stops.
        return 0 if self._sink is not None and self._sink(pcm, spoken) else 1


def _set_voice(library: Any, voice: bytes) -> bool:
    """Choose by name or file ("en-us", "en-us+f3"), else by language ("en-gb", "fr-fr")."""
    if library.espeak_SetVoiceByName(voice) == 0:
        return True
    wanted = Voice(languages=voice)
    return bool(library.espeak_SetVoiceByProperties(ctypes.byref(wanted)) == 0)
