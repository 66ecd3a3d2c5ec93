"""The media client in C (``c/client.h``): compiled for this run, and its structures."""

from __future__ import annotations

import atexit
import ctypes as ct
import functools
import os
import socket
import struct
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pylibsrtp
from numpy.typing import NDArray
from pylibsrtp import _binding

from caller.speech import FRAME_SAMPLES, Utterance
from voicecore._native.libs import find_libopus

FATE = np.dtype([("delay_us", "u4"), ("copies", "u4")])
SAID = np.dtype(
    [("at_ns", "i8"), ("first_ns", "i8"), ("last_ns", "i8"), ("utterance", "u4"), ("_", "u4")]
)
ARRIVAL = np.dtype(
    [
        ("at_ns", "i8"),
        ("timestamp", "u4"),
        ("offset", "u4"),
        ("sequence", "u2"),
        ("length", "u2"),
        ("payload_type", "u1"),
        ("flags", "u1"),
        ("transport_sequence", "u2"),
    ]
)
MARKER, LOST, COPY = 1, 2, 4
"""Flags of an arrival."""

SOCKETS = 8
"""Of a call, one for each local address."""

_PASSED = struct.Struct("=IIII128s")
_BRIDGE_BYTES = 4 << 20
_SOURCES = ("client", "calls", "packets", "loudness", "flood")


class _Payload(ct.Structure):
    _fields_ = (("data", ct.c_void_p), ("length", ct.c_uint32), ("reserved", ct.c_uint32))


class _Utterance(ct.Structure):
    _fields_ = (
        ("frames", ct.POINTER(_Payload)),
        ("count", ct.c_uint32),
        ("first", ct.c_uint32),
        ("last", ct.c_uint32),
        ("reserved", ct.c_uint32),
    )


class Route(ct.Structure):
    """``struct route``: through which of a call's sockets, to which ``sockaddr``."""

    _fields_ = (
        ("socket", ct.c_uint32),
        ("length", ct.c_uint32),
        ("remote", ct.c_uint64 * 16),  # aligned as sockaddr_storage is
    )


class CallSetup(ct.Structure):
    """``struct call_setup``; arrays and SRTP sessions behind the pointers stay the caller's."""

    _fields_ = (
        ("sockets", ct.c_int32 * SOCKETS),
        ("socket_count", ct.c_uint32),
        ("ssrc", ct.c_uint32),
        ("first_sequence", ct.c_uint16),
        ("payload_type", ct.c_uint8),
        ("transport_cc_id", ct.c_uint8),
        ("first_timestamp", ct.c_uint32),
        ("begin_ns", ct.c_int64),
        ("srtp_out", ct.c_void_p),
        ("srtp_in", ct.c_void_p),
        ("silence", _Payload),
        ("up", ct.c_void_p),
        ("down", ct.c_void_p),
        ("up_count", ct.c_uint32),
        ("down_count", ct.c_uint32),
        ("said", ct.c_void_p),
        ("said_capacity", ct.c_uint32),
        ("arrival_capacity", ct.c_uint32),
        ("arrivals", ct.c_void_p),
        ("arena", ct.c_void_p),
        ("arena_capacity", ct.c_uint32),
        ("nack", ct.c_uint32),
        ("dtx", ct.c_uint32),
        ("route", Route),
    )


class Counts(ct.Structure):
    """``struct call_counts``."""

    _fields_ = (
        *(
            (name, ct.c_uint64)
            for name in (
                "sent",
                "unsent",
                "received",
                "rejected",
                "logged",
                "unlogged",
                "kernel_drops",
                "reports_in",
                "nacks_in",
                "nacks_out",
                "repeated",
                "byes_in",
                "remote_lost",
                "other",
                "other_lost",
            )
        ),
        ("late_ns_max", ct.c_int64),
    )


@functools.cache
def library() -> ct.CDLL:
    """The compiled sources of ``c/``."""
    folder = tempfile.TemporaryDirectory(prefix="voicecore-load-")
    atexit.register(folder.cleanup)
    target = Path(folder.name) / "load.so"
    sources = [str(Path(__file__).parent / "c" / f"{name}.c") for name in _SOURCES]
    flags = ["-O2", "-std=gnu11", "-fPIC", "-shared"]
    libraries = ["-lm", "-ldl", "-lpthread"]
    compiler = os.environ.get("CC", "cc")
    subprocess.run([compiler, *flags, *sources, "-o", str(target), *libraries], check=True)
    lib = ct.CDLL(str(target))
    _check_layout(lib)
    lib.client_new.restype = ct.c_void_p
    lib.client_new.argtypes = [ct.c_char_p, ct.c_int, ct.c_uint32, ct.c_void_p, ct.c_uint32]
    lib.client_free.argtypes = [ct.c_void_p]
    lib.client_add.argtypes = [ct.c_void_p, ct.c_void_p]
    lib.client_say.argtypes = [ct.c_void_p, ct.c_int, ct.c_int64, ct.c_uint32]
    lib.client_route.argtypes = [ct.c_void_p, ct.c_int, ct.c_void_p]
    lib.client_counts.argtypes = [ct.c_void_p, ct.c_int, ct.c_void_p]
    lib.client_remove.argtypes = [ct.c_void_p, ct.c_int]
    lib.client_cpu_ns.argtypes = [ct.c_void_p]
    lib.client_cpu_ns.restype = ct.c_int64
    lib.loudness.argtypes = [ct.c_char_p, *[ct.c_void_p] * 3, ct.c_uint32, ct.c_void_p]
    lib.flood_start.restype = ct.c_void_p
    lib.flood_start.argtypes = [*[ct.c_void_p] * 2, ct.c_uint32, ct.c_void_p, *[ct.c_uint32] * 2]
    lib.flood_stop.argtypes = [ct.c_void_p]
    lib.flood_stop.restype = ct.c_uint64
    return lib


def _check_layout(lib: ct.CDLL) -> None:
    sizes = (ct.c_uint32 * 9)()
    lib.client_layout(sizes)
    ours = [FATE.itemsize, ct.sizeof(_Payload), ct.sizeof(_Utterance), SAID.itemsize]
    ours += [ARRIVAL.itemsize, ct.sizeof(Route), _PASSED.size, ct.sizeof(CallSetup)]
    ours.append(ct.sizeof(Counts))
    if list(sizes) != ours:
        raise RuntimeError(f"structures differ between C and Python: {list(sizes)} and {ours}")


def pointer(array: NDArray[Any] | None) -> int | None:
    """The address of an array's data, or NULL."""
    return None if array is None else int(array.ctypes.data)


@dataclass(frozen=True)
class Speech:
    """What callers say, and what they send between."""

    voices: Sequence[Utterance]
    silence: bytes


class Client:
    """The thread that carries the media of all calls, and the voices they may use.

    ``speech`` is by the band that it is coded in (Hz), the same voices in each.

    ``on_datagram(slot, socket, sockaddr, data)`` gets what is neither RTP nor
    RTCP, on the event loop that :meth:`attach` is called on.
    """

    def __init__(self, speech: Mapping[int, Speech], *, max_calls: int) -> None:
        self._lib = library()
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._theirs = theirs
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BRIDGE_BYTES)
        self._ours.setblocking(False)
        self._kept: list[Any] = []
        self._silence: dict[int, Any] = {}
        self._first: dict[int, int] = {}
        voices: list[Utterance] = []
        for band_hz, said in speech.items():
            self._silence[band_hz] = self._payloads([said.silence])[0]
            self._first[band_hz] = len(voices)
            voices += said.voices
        table = (_Utterance * len(voices))(*(self._utterance(voice) for voice in voices))
        self._kept.append(table)
        path = str(_binding.__file__).encode()
        self._client = self._lib.client_new(
            path, theirs.fileno(), max_calls, ct.addressof(table), len(voices)
        )
        if not self._client:
            raise RuntimeError("the media client can't start (libsrtp of pylibsrtp not found?)")

    def attach(self, loop: Any, on_datagram: Callable[[int, int, bytes, bytes], None]) -> None:
        """Deliver on ``loop`` until :meth:`close`."""
        self._loop = loop
        self._on_datagram = on_datagram
        loop.add_reader(self._ours.fileno(), self._read)

    def add(self, setup: CallSetup) -> int:
        """Begin a call's media; its slot."""
        slot = int(self._lib.client_add(self._client, ct.byref(setup)))
        if slot < 0:
            raise RuntimeError("the media client takes no more calls")
        return slot

    def silence(self, band_hz: int) -> Any:
        """What is sent between utterances."""
        return self._silence[band_hz]

    def say(self, slot: int, at_ns: int, voice: int, band_hz: int) -> None:
        """Let a call speak, not before ``at_ns``."""
        if self._lib.client_say(self._client, slot, at_ns, self._first[band_hz] + voice):
            raise RuntimeError("the call can't be given more to say")

    def route(self, slot: int, route: Route) -> None:
        """Send a call's packets another way."""
        self._lib.client_route(self._client, slot, ct.byref(route))

    def counts(self, slot: int) -> Counts:
        """What happened to a call so far; until its slot is used again."""
        counts = Counts()
        self._lib.client_counts(self._client, slot, ct.byref(counts))
        return counts

    def remove(self, slot: int) -> None:
        """End a call's media; afterwards nothing of its memory is touched."""
        self._lib.client_remove(self._client, slot)

    def cpu_s(self) -> float:
        """CPU seconds of the thread so far."""
        return float(self._lib.client_cpu_ns(self._client)) / 1e9

    def close(self) -> None:
        """Stop the thread."""
        self._loop.remove_reader(self._ours.fileno())
        self._lib.client_free(self._client)
        self._ours.close()
        self._theirs.close()

    def _read(self) -> None:
        for _ in range(64):  # then the loop has its turn
            try:
                message = self._ours.recv(4096)
            except BlockingIOError:
                return
            slot, number, length, _, address = _PASSED.unpack_from(message)
            self._on_datagram(slot, number, address[:length], message[_PASSED.size :])

    def _payloads(self, payloads: Sequence[bytes]) -> Any:
        made = (_Payload * len(payloads))()
        for slot, data in zip(made, payloads, strict=True):
            buffer = ct.create_string_buffer(data, len(data))
            self._kept.append(buffer)
            slot.data, slot.length = ct.addressof(buffer), len(data)
        self._kept.append(made)
        return made

    def _utterance(self, voice: Utterance) -> _Utterance:
        frames = self._payloads(voice.payloads)
        last = (voice.last_sample - 1) // FRAME_SAMPLES
        return _Utterance(frames, len(frames), voice.first_sample // FRAME_SAMPLES, last)


def srtp_context(session: pylibsrtp.Session) -> int:
    """The ``srtp_t`` of a session, which must outlive its use."""
    return int(_binding.ffi.cast("uintptr_t", session._srtp[0]))


def loudness(
    arena: NDArray[np.uint8], offsets: NDArray[np.uint32], lengths: NDArray[np.uint32]
) -> NDArray[np.float32]:
    """RMS (1.0: full scale) of Opus packets decoded in turn by libopus at 16 kHz."""
    rms = np.zeros(len(offsets), np.float32)
    offsets, lengths = np.ascontiguousarray(offsets), np.ascontiguousarray(lengths)
    path = str(find_libopus()).encode()
    pointers = [pointer(arena), pointer(offsets), pointer(lengths)]
    if library().loudness(path, *pointers, len(rms), pointer(rms)):
        raise RuntimeError("libopus can't be used for decoding")
    return rms
