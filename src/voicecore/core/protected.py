"""Text that may not be interrupted."""

from __future__ import annotations


class Protected(str):
    """A piece of an answer that is spoken to its end, whoever speaks over it.

    For a legal notice and the like: ``yield Protected("This call is recorded.")``.
    What the caller says meanwhile is listened to and judged when it is over.
    """

    __slots__ = ()
