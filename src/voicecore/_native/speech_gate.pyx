# Plain C functions: Python calls them in half the time of Cython's own function type.
# cython: binding=False, embedsignature.format=clinic
"""From speech probabilities to edges, and from samples to the time they were due.

``voicecore.core.speech_gate`` explains the rule, ``speech_gate.h`` and ``media_clock.h`` are
its one implementation: the plane's threads run the C, these classes serve Python and tests.
"""

cimport cython
from cpython.buffer cimport PyBuffer_Release
from libc.stdint cimport int64_t

from voicecore._native._buffers cimport borrow_float32
from voicecore._native.simd cimport kernels

from voicecore.errors import MisuseError

cdef enum:
    SAMPLES_PER_MS = 16
    LONGEST_START_MS = 60_000
    MOST_SAMPLES = 4096
    MOST_POWERS = 32

cdef int64_t LAST_POSITION = <int64_t>1 << 40
cdef int64_t LAST_NS = <int64_t>1 << 62

BLOCK_SAMPLES = SPEECH_BLOCK_SAMPLES

ONSET = SPEECH_ONSET
CONFIRMED = SPEECH_CONFIRMED
RELEASED = SPEECH_RELEASED


def powers(samples) -> tuple[float, ...]:
    """Return the mean square of each 128 of ``samples`` (float32, shape (n,), at most 4,096).

    A shorter block at the end is averaged over its own length.  As a thread of the plane
    computes them; :func:`voicecore._native.pcm.block_power` is the general form.

    Raises:
        TypeError: not a contiguous 1-D float32 array.
        MisuseError: more than 4,096 samples.
    """
    cdef float found[MOST_POWERS]
    cdef Py_buffer view
    cdef Py_ssize_t n = borrow_float32(samples, &view, "samples")
    cdef int count = 0, i
    if n <= MOST_SAMPLES:
        count = speech_gate_powers(&kernels.pcm, <const float*>view.buf, <int>n, found)
    PyBuffer_Release(&view)
    if n > MOST_SAMPLES:
        raise MisuseError(f"at most {MOST_SAMPLES} samples, got {n}")
    return tuple([found[i] for i in range(count)])


cdef int _check_frame(int64_t start, int64_t end) except -1:
    if not 0 <= start <= end <= LAST_POSITION:
        raise MisuseError(f"a frame wants 0 <= start <= end <= 2**40, got {start} and {end}")
    return 0


cdef int _take(object powers, float* out) except -1:
    # Copies the powers of a frame; returns their number.
    cdef Py_ssize_t n = len(powers)
    cdef int i
    if n > SPEECH_BLOCKS:
        raise MisuseError(f"a frame has at most {SPEECH_BLOCKS} powers, got {n}")
    for i in range(<int>n):    # cold: threads of the plane have them in C
        out[i] = powers[i]
    return <int>n


cdef list _edges(const speech_edge* edges, int count):
    cdef int i
    return [(edges[i].kind, edges[i].sample) for i in range(count)]


@cython.final
cdef class SpeechGate:
    """Turns the frames of one caller into edges ``(kind, sample)``.

    A probability of ``threshold`` (above 0, below 1) opens the gate; it stays open down to
    ``threshold - 0.15`` (hysteresis, so that a wavering vowel is not cut).  ``start_ms`` (1 to
    60,000) of voiced frames in a row confirm an onset.  ``kind`` is :data:`ONSET`,
    :data:`CONFIRMED` or :data:`RELEASED`; positions are samples at 16 kHz, 0 to 2**40, and
    frames come in order.  Nothing allocates but the lists returned.  The GIL is kept: calls of
    several threads follow each other, though a stream in order wants one caller.

    Raises:
        MisuseError: an argument out of its range.
    """

    def __cinit__(self, *, double threshold=0.5, int64_t start_ms=64):
        if not 0.0 < threshold < 1.0:
            raise MisuseError(f"threshold must be between 0 and 1, got {threshold}")
        if not 0 < start_ms <= LONGEST_START_MS:
            raise MisuseError(f"start_ms must be 1 to {LONGEST_START_MS}, got {start_ms}")
        speech_gate_init(&self.gate, threshold, start_ms * SAMPLES_PER_MS)

    @property
    def voiced(self) -> bool:
        """Whether the latest frame counted as speech."""
        return self.gate.voiced

    @property
    def position(self) -> int:
        """End of the latest frame: all edges up to here are known; 0 before the first."""
        return self.gate.position

    @property
    def may_repeat(self) -> bool:
        """Whether the next frame may go unscored: nobody speaks, and this one was scored.

        A network that remembers wants all frames of an utterance and of the pause after it.
        """
        return speech_gate_may_repeat(&self.gate)

    @property
    def voice(self) -> tuple[bool, int, int, float, float]:
        """``(voiced, onset, loud_end, confidence, echo)`` of the utterance, a fresh tuple.

        While nobody speaks they are those of the last utterance, zeros before the first.
        ``onset``: the sample at which the gate opened.  ``loud_end``: the end of the last block
        within 25 dB of the utterance's loudest, to which a release would be dated now.
        ``confidence``: the mean probability of its scored frames, 0 to 1; what the gate holds or
        repeats is none.  ``echo``: the share of its energy that was told to be echo, 0 to 1.
        """
        cdef speech_voice voice
        speech_gate_voice(&self.gate, &voice)
        return bool(voice.voiced), voice.onset, voice.loud_end, voice.confidence, voice.echo

    def push(self, double probability, int64_t start, int64_t end, powers, *, double echo=0.0):
        """Take the frame of samples ``[start, end)``; return its edges, the oldest first.

        ``powers`` (at most 16) are the mean squares of its blocks of ``BLOCK_SAMPLES``.  A
        probability that is not a number is no speech.  ``echo``: the share of the frame's energy
        (0 to 1) that is explained by what we sent.  From 0.6 on it is no speech; confirmed speech goes
        on over two such frames.

        Raises:
            MisuseError: positions out of order or range, too many powers, or a share that is
                none.
        """
        cdef float known[SPEECH_BLOCKS]
        cdef speech_edge edges[SPEECH_EDGES]
        cdef int n = _take(powers, known)
        _check_frame(start, end)
        if not 0.0 <= echo <= 1.0:
            raise MisuseError(f"a share is 0 to 1, got {echo}")
        return _edges(edges, speech_gate_push(&self.gate, <float>probability, start, end, known,
                                              n, <float>echo, edges))

    def repeat(self, int64_t start, int64_t end, powers):
        """Take a frame that nobody scored: the latest probability stands for it.

        Arguments, return value and errors are those of :meth:`push`; what was sent explains
        nothing of it.
        """
        cdef float known[SPEECH_BLOCKS]
        cdef speech_edge edges[SPEECH_EDGES]
        cdef int n = _take(powers, known)
        _check_frame(start, end)
        return _edges(edges, speech_gate_repeat(&self.gate, start, end, known, n, edges))

    @property
    def may_pass(self) -> bool:
        """Whether frames of the far end's pause (DTX) may go unscored: nobody speaks."""
        return speech_gate_may_pass(&self.gate)

    def skip(self, int64_t start, int64_t end):
        """Pass over the far end's pause ``[start, end)``, which :attr:`may_pass` allowed.

        No score is wanted for it and a network's state stays as it was.  Returns ``[]``.

        Raises:
            MisuseError: positions out of order or range.
        """
        _check_frame(start, end)
        if speech_gate_may_pass(&self.gate):
            speech_gate_pass(&self.gate, end)
        return []

    def hold(self, int64_t start, int64_t end):
        """Take a frame made by concealment: the decision stands as it is.  Returns ``[]``.

        Raises:
            MisuseError: positions out of order or range.
        """
        _check_frame(start, end)
        speech_gate_hold(&self.gate, start, end)
        return []


@cython.final
cdef class MediaClock:
    """Maps positions of one stream (samples at ``rate_hz``) to local monotonic time (ns).

    Positions are at most 2**40 samples either way, times at most 2**62 ns.  The GIL is kept,
    as in :class:`SpeechGate`.

    Raises:
        MisuseError: ``rate_hz`` is not 8,000 to 192,000.
    """

    def __cinit__(self, int64_t rate_hz):
        if not 8000 <= rate_hz <= 192_000:
            raise MisuseError(f"rate_hz must be 8000 to 192000, got {rate_hz}")
        media_clock_init(&self.clock, <int>rate_hz)

    def observe(self, int64_t position, int64_t now_ns) -> None:
        """Note that the stream had reached ``position`` at ``now_ns``, which doesn't go back.

        Raises:
            MisuseError: out of range.
        """
        _check_position(position)
        if not -LAST_NS <= now_ns <= LAST_NS:
            raise MisuseError(f"now_ns must be within 2**62, got {now_ns}")
        media_clock_observe(&self.clock, position, now_ns)

    def time_of(self, int64_t sample) -> int:
        """Return when ``sample`` was due here (ns).

        Raises:
            MisuseError: out of range.
        """
        _check_position(sample)
        return media_clock_time(&self.clock, sample)


cdef int _check_position(int64_t position) except -1:
    if not -LAST_POSITION <= position <= LAST_POSITION:
        raise MisuseError(f"positions must be within 2**40 samples, got {position}")
    return 0
