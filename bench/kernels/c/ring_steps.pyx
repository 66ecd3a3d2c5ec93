"""A ring's step as native code takes it: no Python, no GIL."""

from libc.stdint cimport int16_t

from voicecore._native.ring cimport AudioRing, RingReader


def copies(AudioRing ring, RingReader vad, RingReader stt, int steps):
    """``steps`` times: write 320 samples; copy 512 and 1600 out when they are there."""
    cdef int16_t block[320]
    cdef int16_t frame[512]
    cdef int16_t chunk[1600]
    cdef int i
    with nogil:
        for i in range(320):
            block[i] = <int16_t>i
        for i in range(steps):
            ring.write_from(block, 320)
            if vad.settle() >= 512:
                vad.take_into(frame, 512)
            if stt.settle() >= 1600:
                stt.take_into(chunk, 1600)


def views(AudioRing ring, RingReader vad, RingReader stt, int steps):
    """The same without copying: the first sample is looked at."""
    cdef int16_t block[320]
    cdef int i, seen = 0
    with nogil:
        for i in range(320):
            block[i] = <int16_t>i
        for i in range(steps):
            ring.write_from(block, 320)
            if vad.settle() >= 512:
                seen += ring.span(vad.at)[0]
                vad.at += 512
            if stt.settle() >= 1600:
                seen += ring.span(stt.at)[0]
                stt.at += 1600
    return seen
