# Arithmetic on blocks of samples, from Python.  Native code calls kernels.pcm itself.
#
# One pattern throughout: int16 is full scale at 32768, float32 at 1.0; `out` is the caller's
# array or None for a fresh one.

cdef enum:
    # Giving the GIL away and taking it back costs as long as the work on so many samples.
    FEW_SAMPLES = 4096
