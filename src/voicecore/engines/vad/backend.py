"""What computes a VAD engine's network, where there is a choice."""

from __future__ import annotations

from typing import NamedTuple


class Backend(NamedTuple):
    """Who computes: ``name`` is ``"native"`` or ``"onnxruntime"``.

    ``isa`` is the instruction set of our kernels, ``""`` with onnxruntime, which
    chooses its own. ``reason`` says, for people, why it serves.
    """

    name: str
    isa: str
    reason: str
