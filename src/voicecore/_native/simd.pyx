"""Which vector instructions the kernels use, chosen once from what the processor has.

The environment variable ``VOICECORE_ISA`` overrides the choice (``sse2``, ``avx2``,
``avx512``; ``neon`` on aarch64), so that each path can be tested on one machine.
"""

import os

from voicecore.errors import MisuseError

cdef extern from "simd.h" nogil:
    const vc_kernels* vc_kernels_at(int index) noexcept

ISA_VARIABLE = "VOICECORE_ISA"


def available() -> tuple[str, ...]:
    """Return the instruction sets this machine can run, the best first."""
    cdef int index = 0
    names = []
    while vc_kernels_at(index) != NULL:    # cold: names for people
        names.append((<bytes>vc_kernels_at(index).isa).decode("ascii"))
        index += 1
    return tuple(names)


def isa() -> str:
    """Return the instruction set in use: one of :func:`available`."""
    return (<bytes>kernels.isa).decode("ascii")


cdef const vc_kernels* _choose() except NULL:
    wanted = os.environ.get(ISA_VARIABLE)
    names = available()
    if not wanted:
        return vc_kernels_at(0)
    if wanted not in names:
        raise MisuseError(f"{ISA_VARIABLE}={wanted!r}: this machine has {', '.join(names)}",
                          code="unknown_isa")
    return vc_kernels_at(names.index(wanted))


kernels = _choose()
