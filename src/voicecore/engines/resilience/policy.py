"""How long is waited for an engine, and how often it is asked again."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from voicecore.engines.resilience.backoff import Backoff
from voicecore.errors import MisuseError


@dataclass(frozen=True, slots=True)
class AnswerPolicy:
    """Of an engine that gives a stream: a language model, a synthesiser.

    ``first_item_s``: from asking to the first item, of one provider, all its attempts
    together. ``next_item_s``: between two items, where somebody waits for it.
    ``hedge_s``: after so long without a first item the next provider is asked beside,
    and the first to give one is taken; 0: only one at a time. ``attempts``: how often one
    provider is asked for the same. ``failures`` in a row open its circuit, for ``rest_s``
    at first.
    """

    first_item_s: float = 8.0
    next_item_s: float = 10.0
    hedge_s: float = 0.0
    attempts: int = 2
    failures: int = 3
    rest_s: float = 5.0
    backoff: Backoff = field(default_factory=Backoff)

    def __post_init__(self) -> None:
        _check(self, zero_is_off=("hedge_s",))


@dataclass(frozen=True, slots=True)
class HearingPolicy:
    """Of a recogniser.

    ``open_s``: until a stream is open. ``final_s``: from the end of the caller's turn to
    its text, of one provider that hears while he speaks; ``batch_final_s``: of one that
    begins then, or computes on this machine.
    ``stall_s``: so much of the caller's speech without a sign of understanding, and the
    connection is taken for dead. ``replay_s``: the audio kept for another connection, as
    far as no final text covers it; beyond, the oldest is forgotten. ``attempts``: how
    often an utterance is taken to one provider before the next of the chain is tried.
    ``failures`` in a row open a provider's circuit, for ``rest_s`` at first.
    """

    open_s: float = 5.0
    final_s: float = 2.0
    batch_final_s: float = 10.0
    stall_s: float = 2.0
    replay_s: float = 10.0
    attempts: int = 3
    failures: int = 4
    rest_s: float = 5.0
    backoff: Backoff = field(default_factory=Backoff)

    def __post_init__(self) -> None:
        _check(self)


def _check(policy: AnswerPolicy | HearingPolicy, zero_is_off: tuple[str, ...] = ()) -> None:
    for each in fields(policy):
        value = getattr(policy, each.name)
        good = value >= 0 if each.name in zero_is_off else each.name == "backoff" or value > 0
        if not good:
            raise MisuseError(f"{each.name} is {value}, wanted above 0")
