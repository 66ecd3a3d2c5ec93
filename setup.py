"""Build of the native kernels: one table of extensions, one table of profiles.

Every ``.pyx`` in ``src/voicecore/_native`` is an extension; hand-written C (in its folder
``c``) that one of them needs stands in ``C_SOURCES``.  The environment variable
``VOICECORE_BUILD`` picks a row of ``PROFILES``::

    python setup.py build_ext --inplace                          # release
    VOICECORE_BUILD=debug python setup.py build_ext --inplace    # bounds checks on
    VOICECORE_BUILD=asan python setup.py build --build-base build/asan
    VOICECORE_BUILD=none pip install --editable .                # no compiling

Generated C and objects live under ``build/<profile>``, so that profiles never mix and a
generated ``jitter.c`` never hides a hand-written one.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy
from Cython.Build import cythonize
from Cython.Compiler import Options, PyrexTypes
from Cython.Compiler.Errors import error
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

NATIVE = Path("src/voicecore/_native")
NATIVE_C = NATIVE / "c"
JOBS = 2

RESAMPLER = ["resample_prototype.c", "resample_design.c", "resample_fir.c"]

# Extension -> hand-written C compiled into it.  What is not listed has none.
C_SOURCES: dict[str, list[str]] = {
    "echo": ["echo_guard.c"],
    "echo_canceller": [
        "echo_canceller.c",
        "echo_guard.c",
        "echo_reference.c",
        "functions.c",
        *RESAMPLER,
        "speexdsp_library.c",
    ],
    "features": ["features_plan.c", "fft_plan.c"],
    "g711": ["g711_conceal.c"],
    "inbound": ["echo_canceller.c", "echo_guard.c", "opus_packet.c"],
    "jitter": ["jitter.c"],
    "opus": ["functions.c", "opus_library.c"],
    "opus_packet": ["opus_packet.c"],
    "outbound": ["playout.c", "opus_packet.c"],
    "resample": RESAMPLER,
    "plane": [
        "address_map.c",
        "echo_canceller.c",
        "echo_guard.c",
        "echo_reference.c",
        "plane.c",
        "plane_hear.c",
        "plane_peer.c",
        "plane_queue.c",
        "plane_rx.c",
        "plane_tx.c",
        "plane_vad.c",
        "rtcp_cc_arrivals.c",
        "rtcp_cc_sent.c",
        "rtcp_read.c",
        "rtcp_write.c",
        *RESAMPLER,
    ],
    "rtcp": ["rtcp_read.c", "rtcp_write.c", "rtcp_cc_sent.c", "rtcp_cc_arrivals.c"],
    "silero": ["silero_pack.c"],
    "srtp": ["functions.c", "srtp_library.c"],
    "simd": ["simd_choose.c", "simd_base.c", "simd_avx2.c", "simd_avx512.c"],
}


@dataclass(frozen=True)
class Profile:
    """Compiler flags and Cython directives of one kind of build."""

    compile_args: list[str]
    link_args: list[str] = field(default_factory=list)
    macros: dict[str, str] = field(default_factory=dict)
    directives: dict[str, bool] = field(default_factory=dict)


_SANITIZE = ["-fsanitize=address,undefined", "-fno-omit-frame-pointer"]

# Never -ffast-math (its start-up code sets flush-to-zero for the whole process) and never
# -march=native (a wheel runs elsewhere).
PROFILES: dict[str, Profile] = {
    "release": Profile(["-O3", "-g0"]),
    "debug": Profile(
        ["-O0", "-g", "-UNDEBUG"],
        directives={
            "boundscheck": True,
            "wraparound": False,
            "cdivision": False,
            "initializedcheck": True,
        },
    ),
    "trace": Profile(
        ["-O0", "-g"],
        macros={"CYTHON_TRACE": "1", "CYTHON_TRACE_NOGIL": "1", "CYTHON_USE_SYS_MONITORING": "0"},
        directives={"linetrace": True, "profile": True},
    ),
    "asan": Profile(
        ["-O1", "-g", "-UNDEBUG", *_SANITIZE],
        link_args=_SANITIZE,
        # RTLD_DEEPBIND would bind libopus past the sanitizer's allocator, and an ifunc
        # resolver runs before the sanitizer is set up.
        macros={"VOICECORE_ASAN": "1"},
    ),
    # Compiles nothing: `make annotate` reads what Cython says of each line.
    "annotate": Profile([]),
}

DIRECTIVES: dict[str, object] = {
    "language_level": 3,
    "binding": True,
    "embedsignature": True,
    "boundscheck": False,
    "wraparound": False,
    "initializedcheck": False,
    "cdivision": True,
    "legacy_implicit_noexcept": False,
    # Objects that own C memory can't be pickled anyway, nor do we doctest compiled code.
    "auto_pickle": False,
    "autotestdict": False,
}


def _refuse_gil_in_kernel(pos, env, function_name=None, **_details) -> None:  # type: ignore[no-untyped-def]
    """Fail the build where Cython only hints: a nogil function that may take the GIL."""
    error(
        pos,
        f"{function_name or 'a nogil function'} may take the GIL back to look for an "
        "exception; declare it noexcept and return a status",
    )


# Cython has no switch for this hint; its one function is replaced.
PyrexTypes.write_noexcept_performance_hint = _refuse_gil_in_kernel
Options.warning_errors = True


def _extensions(profile: Profile) -> list[Extension]:
    headers = sorted(str(path) for path in NATIVE_C.glob("*.h"))
    build_dir = Path(f"build/cython-{NAME}")
    stamp = build_dir / "stamp"
    # Copies of headers that an earlier layout left here would be found before the real ones.
    for stale in build_dir.rglob("*.h"):
        stale.unlink()
    changed = not stamp.exists() or stamp.stat().st_mtime < Path(__file__).stat().st_mtime
    extensions = cythonize(
        [_extension(pyx, profile) for pyx in sorted(NATIVE.glob("*.pyx"))],
        include_path=["src"],
        build_dir=str(build_dir),
        compiler_directives={**DIRECTIVES, **profile.directives},
        nthreads=JOBS,
        force=changed,
        annotate=NAME == "annotate",
    )
    build_dir.mkdir(parents=True, exist_ok=True)
    stamp.touch()
    # Added only now: cythonize would copy these into the build folder, where jitter.c is the
    # name of the C generated from jitter.pyx.
    for extension in extensions:
        own = C_SOURCES.get(extension.name.rpartition(".")[2], [])
        extension.sources += [str(NATIVE_C / name) for name in own]
        extension.depends += [*headers, __file__]
    return extensions


def _extension(pyx: Path, profile: Profile) -> Extension:
    return Extension(
        f"voicecore._native.{pyx.stem}",
        [str(pyx)],
        include_dirs=[str(NATIVE_C), numpy.get_include()],
        libraries=["m", "dl", "pthread"],
        define_macros=[
            ("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION"),
            ("NPY_TARGET_VERSION", "NPY_1_25_API_VERSION"),
            *profile.macros.items(),
        ],
        extra_compile_args=[
            "-std=gnu11",
            # Lets lrintf and sqrtf be one instruction; nothing reads errno after them.
            "-fno-math-errno",
            # Nothing but the module's entry is for others: calls inside need no indirection.
            "-fvisibility=hidden",
            "-Wall",
            "-Wextra",
            "-Wno-unused-parameter",
            *profile.compile_args,
        ],
        extra_link_args=profile.link_args,
    )


class BuildExt(build_ext):
    """Keeps each profile's objects apart and rebuilds in place when the profile changes."""

    def finalize_options(self) -> None:
        """Choose a build folder per profile and compile two extensions at a time."""
        super().finalize_options()
        self.parallel = self.parallel or JOBS
        self.build_temp = str(Path(self.build_temp).parent / f"{Path(self.build_temp).name}-{NAME}")

    def run(self) -> None:
        """Build; an in-place tree last built with another profile is built anew."""
        stamp = Path("build/inplace-profile")
        if self.inplace:
            previous = stamp.read_text().strip() if stamp.exists() else ""
            self.force = self.force or previous != NAME
        super().run()
        if self.inplace:
            stamp.parent.mkdir(exist_ok=True)
            stamp.write_text(NAME + "\n")


NAME = os.environ.get("VOICECORE_BUILD", "release")
if NAME not in {*PROFILES, "none"}:
    choices = ", ".join([*PROFILES, "none"])
    raise SystemExit(f"VOICECORE_BUILD={NAME!r} is unknown; choose one of {choices}")

# "none" installs the package's metadata alone, for a tree whose modules are built in place.
setup(
    ext_modules=[] if NAME == "none" else _extensions(PROFILES[NAME]),
    cmdclass={"build_ext": BuildExt},
)
